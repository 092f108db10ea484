"""The numbers of a detector and of its training, each with its default and range."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

#: Where a run folder has what it was started with.
SETTINGS_FILE = "settings.json"
#: How often prediction sets hold the true class of validation objects.
COVERAGE_FILE = "coverage.csv"


class DetectorDesign(BaseModel):
    """Sizes of the heads on the backbone, which set the cost of a training step beside the backbone's own.

    Attributes
    ----------
    pyramid
        Channels of the feature pyramid.
    box_units
        Units of the two layers that predict classes and boxes.
    mask_units
        Channels of the two layers that predict masks.
    anchors, rois
        Anchors and regions sampled from each image in a training step (caesar-mrcnn: 512 of each).
    most
        Largest number of objects in an image.
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

    `radiossl.io.settings.apply_settings` changes it as ``--set`` does.

    Attributes
    ----------
    image_size
        Side in pixels of the network's input.
    epochs
        Passes over the training images (250 in Riggi et al. 2024, section 4.3, with another optimiser).
    batch_size
        Images per training step.
    lr
        Learning rate of AdamW after the warm-up; it falls to zero as a cosine.
    backbone_lr
        Learning rate of a fine-tuned backbone as a fraction of `lr`.
    weight_decay
        Weight decay of AdamW.
    warmup
        Fraction of the steps over which the learning rate rises.
    clip_norm
        Gradients are clipped to this norm.
    rotate
        Rotate half of the images by a random angle, in addition to right angles and mirroring.
    clip_percentile
        Brighter pixels are clipped; see `radiossl.detection.images.FieldPreprocessing`.
    fraction, balanced
        Fraction of the training images to use, and whether rare classes are drawn first; see
        `radiossl.detection.annotations.draw_images`.
    monitor_epochs, monitor_images
        AP is measured after this many epochs, and at the end, on the first of the validation images, up to this number.
    checkpoint_minutes
        Minutes between checkpoints: what a killed run can lose.
    seed
        Random seed of the initial weights, the draw, the order and the augmentation.
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
