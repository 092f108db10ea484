"""The numbers of a detector and of its training, each with its default and range."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

#: Where a run folder has what it was started with.
SETTINGS_FILE = "settings.json"
#: How often prediction sets hold the true class of validation objects.
COVERAGE_FILE = "coverage.csv"


class DetectorDesign(BaseModel):
    """Sizes of the heads on the backbone, which set the cost of a training step beside the backbone's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pyramid: int = Field(default=96, ge=16, multiple_of=8)  # channels of the feature pyramid
    box_units: int = Field(default=256, ge=16)  # of the two layers that predict classes and boxes
    mask_units: int = Field(default=64, ge=16, multiple_of=8)  # channels of the two layers that predict masks
    anchors: int = Field(default=128, ge=8)  # sampled from each image in a training step (caesar-mrcnn: 512)
    rois: int = Field(default=64, ge=8)  # regions, as well
    most: int = Field(default=50, ge=1)  # largest number of objects in an image


class DetectionTraining(BaseModel):
    """How a detector is trained; `radiossl.io.settings.apply_settings` changes it as ``--set`` does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(default=224, ge=64, le=1024, multiple_of=32)  # side in pixels of the network's input
    epochs: int = Field(default=12, ge=1)  # 250 in Riggi et al. 2024, section 4.3, with another optimiser
    batch_size: int = Field(default=4, ge=1)  # images per training step
    lr: float = Field(default=7e-4, gt=0)  # of AdamW after the warm-up; it falls to zero as a cosine
    backbone_lr: float = Field(default=0.3, gt=0)  # of a fine-tuned backbone, as a fraction of `lr`
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.05, ge=0, le=0.5)  # fraction of the steps over which the learning rate rises
    clip_norm: float = Field(default=5.0, gt=0)  # gradients are clipped to this norm
    rotate: bool = True  # half of the images by any angle, besides right angles and mirroring
    clip_percentile: float = Field(default=99.9, gt=50, le=100)  # brighter pixels are clipped; see `FieldPreprocessing`
    fraction: float = Field(default=1.0, gt=0, le=1)  # of the training images; see `draw_images`
    balanced: bool = False  # rare classes are drawn first
    monitor_epochs: int = Field(default=4, ge=1)  # AP is measured after this many, and at the end
    monitor_images: int = Field(default=150, ge=1)  # on at most this many validation images, the first ones
    checkpoint_minutes: float = Field(default=5.0, gt=0)  # between checkpoints: what a killed run can lose
    seed: int = Field(default=0, ge=0, lt=2**32)  # of the initial weights, the draw, the order and the augmentation
    design: DetectorDesign = DetectorDesign()
