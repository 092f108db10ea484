"""The numbers of a detector and of its training, each with its default and range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from radiossl.io.errors import RadiosslError


class DetectorDesign(BaseModel):
    """Sizes of what stands on the backbone; they are what a step costs beside the backbone itself.

    Attributes
    ----------
    pyramid
        Channels of the feature pyramid.
    box_units
        Units of the two layers that tell classes and boxes.
    mask_units
        Channels of the two layers that draw masks.
    anchors, rois
        Anchors and regions of an image that a training step learns from (caesar-mrcnn: 512 of each).
    most
        Objects of an image that are kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pyramid: int = Field(default=96, ge=16, multiple_of=8)
    box_units: int = Field(default=256, ge=16)
    mask_units: int = Field(default=64, ge=16, multiple_of=8)
    anchors: int = Field(default=128, ge=8)
    rois: int = Field(default=64, ge=8)
    most: int = Field(default=50, ge=1)


class DetectionTraining(BaseModel):
    """How a detector is trained.

    Attributes
    ----------
    image_size
        Side in pixels of what the network sees.
    epochs
        Passes over the training images (250 in Riggi et al. 2024, section 4.3, with another optimiser).
    batch_size
        Images in a step.
    lr
        Learning rate of AdamW after the warm-up, falling to zero with a cosine.
    backbone_lr
        The same for a pretrained backbone, as a fraction of `lr`.
    weight_decay
        Of AdamW.
    warmup
        Fraction of the steps over which the learning rate rises.
    clip_norm
        Largest norm of the gradient.
    rotate
        Turn half of the images by any angle, beside right angles and mirroring.
    clip_percentile
        Of `radiossl.detection.images.FieldPreprocessing`.
    fraction, balanced
        Part of the training images, and whether rare classes come first: `radiossl.detection.annotations.draw_images`.
    monitor_epochs, monitor_images
        AP is measured every so many epochs, and at the end, on so many validation images, the first ones.
    checkpoint_minutes
        How much of a killed run is lost at most.
    seed
        Of the new weights, the draw, the order and the augmentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(default=224, ge=64, le=1024, multiple_of=32)
    epochs: int = Field(default=12, ge=1)
    batch_size: int = Field(default=4, ge=1)
    lr: float = Field(default=7e-4, gt=0)
    backbone_lr: float = Field(default=0.3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.05, ge=0, le=0.5)
    clip_norm: float = Field(default=5.0, gt=0)
    rotate: bool = True
    clip_percentile: float = Field(default=99.9, gt=50, le=100)
    fraction: float = Field(default=1.0, gt=0, le=1)
    balanced: bool = False
    monitor_epochs: int = Field(default=4, ge=1)
    monitor_images: int = Field(default=150, ge=1)
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    seed: int = Field(default=0, ge=0)
    design: DetectorDesign = DetectorDesign()

    @classmethod
    def of(cls, changes: Mapping[str, Any]) -> DetectionTraining:
        """Change some of the defaults; keys of `design` as ``design.rois``.

        Raises
        ------
        RadiosslError
            If a key is unknown or a value out of range.
        """
        nested: dict[str, Any] = {}
        for key, value in changes.items():
            section, dot, name = key.rpartition(".")
            (nested.setdefault(section, {}) if dot else nested)[name] = value
        try:
            return cls.model_validate(nested)
        except ValidationError as error:
            first = error.errors()[0]
            raise RadiosslError(f"setting {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
