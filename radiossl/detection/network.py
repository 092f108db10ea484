"""Mask R-CNN on a released backbone: its settings, the network, and the folder of a trained one."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

import radiossl
from radiossl.detection.confidence import DetectorConfidence
from radiossl.detection.images import FieldPreprocessing, Reader
from radiossl.detection.objects import is_source
from radiossl.images.preprocess import Preprocessing
from radiossl.io.checksums import file_sha256
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, atomic_folder, read_json, write_json
from radiossl.io.schema import Settings
from radiossl.io.settings import validated
from radiossl.weights.architecture import Architecture
from radiossl.weights.device import parse_device
from radiossl.weights.folder import CONFIG_FILE
from radiossl.weights.tensors import WEIGHTS_FILE, check_weights, load_state, load_tensors, save_tensors

#: Where a run folder has what it was started with.
SETTINGS_FILE = "settings.json"
#: The detector in its run folder.
FOLDER = "detector"
#: How often prediction sets hold the true class of validation objects.
COVERAGE_FILE = "coverage.csv"


class DetectorDesign(Settings):
    """Sizes of the heads on the backbone, which set the cost of a training step beside the backbone's own."""

    pyramid: int = Field(default=96, ge=16, multiple_of=8)  # channels of the feature pyramid
    box_units: int = Field(default=256, ge=16)  # of the two layers that predict classes and boxes
    mask_units: int = Field(default=64, ge=16, multiple_of=8)  # channels of the two layers that predict masks
    anchors: int = Field(default=128, ge=8)  # sampled from each image in a training step (caesar-mrcnn: 512)
    rois: int = Field(default=64, ge=8)  # regions, as well
    most: int = Field(default=50, ge=1)  # largest number of objects in an image


class DetectionTraining(Settings):
    """How a detector is trained; `radiossl.io.settings.apply_settings` changes it as ``--set`` does."""

    image_size: int = Field(default=224, ge=64, le=1024, multiple_of=32)  # side in pixels of the network's input
    epochs: int = Field(default=12, ge=1)  # 250 in Riggi et al. 2024, section 4.3, with another optimiser
    batch_size: int = Field(default=4, ge=1)  # images per training step
    lr: float = Field(default=7e-4, gt=0)  # of AdamW after the warm-up; it falls to zero as a cosine
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


Mode = Literal["frozen", "finetune", "scratch"]
_SECTION = "radiossl_detector"

#: Features of these strides make up the pyramid; a coarser one is added by pooling.
_STRIDES = (4, 8, 16, 32)
#: Anchors on each level of the pyramid, in pixels of the input: radio sources are small (caesar-mrcnn has 4 to 128).
_ANCHORS = ((8, 12), (16, 24), (32, 48), (64, 96), (128, 192))
_RATIOS = (0.5, 1.0, 2.0)
#: Boxes of this side in pixels take their features from stride 16, half as large ones from stride 8, and so on;
#: torchvision's 224 is meant for photographs.
_CANONICAL = 112
#: Samples along either side of a bin: sources are a few bins wide, and the gradient costs its square on one core.
_SAMPLES = 1
_GROUPS = 8
#: Objects below this score are not listed; of two boxes with a larger overlap than this, the better one is kept.
LEAST_SCORE, _SUPPRESSION = 0.05, 0.5


class DetectorConfig(BaseModel):
    """What is known of a detector besides its weights; the section ``radiossl_detector`` of its config.json."""

    model_config = ConfigDict(frozen=True)

    backbone: Architecture  # architecture of the backbone
    preprocessing: Preprocessing  # see `FieldPreprocessing`, also for the next two
    clip_percentile: float = 99.9
    infrared: bool = False
    classes: tuple[str, ...]  # the network's number 0 is the background
    mode: Mode  # whether the backbone was kept frozen, fine-tuned or trained from scratch
    design: DetectorDesign = DetectorDesign()  # sizes of the heads on the backbone
    field_px: int  # median side in pixels of the training images: the default size of the tiles of a mosaic
    reader: Reader = "plain"  # how the training images were read
    training: dict[str, Any] = {}  # how it was trained, and on what

    @property
    def field(self) -> FieldPreprocessing:
        """From an image to the network's input."""
        return FieldPreprocessing(self.preprocessing, self.clip_percentile, self.infrared)


class _Levels(nn.Module):
    """A timm network that returns its last four stages, by name."""

    def __init__(self, network: nn.Module, seen: Preprocessing) -> None:
        super().__init__()
        self.network = network
        known: Any = getattr(network, "feature_info", []) if hasattr(network, "forward_intermediates") else []
        strides = [stage["reduction"] for stage in known]
        self.stages = [number for number, stride in enumerate(strides) if stride in _STRIDES]
        if [strides[number] for number in self.stages] != list(_STRIDES):
            raise RadiosslError(f"a backbone with strides {strides} cannot carry a detector; expected 4, 8, 16 and 32")
        self.channels = [known[number]["num_chs"] for number in self.stages]
        try:
            with torch.no_grad():
                self.eval()(torch.zeros(1, seen.channels, seen.size, seen.size))
        except Exception as error:  # timm and torch raise nearly anything
            reason = " ".join(str(error).split())[:200]
            raise RadiosslError(f"--image-size {seen.size}: the backbone cannot take such images ({reason})") from None
        self.train()

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        features = self.network.forward_intermediates(images, indices=self.stages, intermediates_only=True)  # type: ignore[operator]
        return OrderedDict((str(number), level) for number, level in enumerate(features))


class _Pyramid(nn.Module):
    """Backbone and feature pyramid, as torchvision's detectors expect them."""

    def __init__(self, network: nn.Module, seen: Preprocessing, channels: int) -> None:
        from torchvision.ops import FeaturePyramidNetwork
        from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

        super().__init__()
        self.body = _Levels(network, seen)
        pooled = LastLevelMaxPool()
        self.fpn = FeaturePyramidNetwork(self.body.channels, channels, extra_blocks=pooled, norm_layer=_norm)
        self.out_channels = channels

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(self.body(images))


def _norm(channels: int) -> nn.GroupNorm:
    """Group normalisation, with which heads train from scratch in small batches (He, Girshick & Dollár 2019)."""
    return nn.GroupNorm(_GROUPS, channels)


class _NoTransform(nn.Module):
    """Replaces torchvision's transform: images come at their size, and masks stay 28 x 28 until they are drawn."""

    def forward(self, images: Tensor, targets: list[dict[str, Tensor]] | None) -> tuple[Any, Any]:
        from torchvision.models.detection.image_list import ImageList

        height, width = images.shape[-2:]
        return ImageList(images, [(height, width)] * len(images)), targets

    def postprocess(self, result: list[dict[str, Tensor]], *_: object) -> list[dict[str, Tensor]]:
        return result


class Detector(nn.Module):
    """Mask R-CNN that takes preprocessed images.

    It has a `config`, a `name` (where it was loaded from) and `sha256`, the hash of its weights file ("" if it was
    never saved); `confidence` is None if it was trained without validation images.
    """

    confidence: DetectorConfidence | None = None

    def __init__(
        self, config: DetectorConfig, network: nn.Module | None = None, name: str = "", sha256: str = ""
    ) -> None:
        """Take a bare backbone network, or make one with random weights."""
        from torchvision.models.detection import MaskRCNN
        from torchvision.models.detection.anchor_utils import AnchorGenerator
        from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
        from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
        from torchvision.ops import MultiScaleRoIAlign

        super().__init__()
        self.config, self.name, self.sha256 = config, name, sha256
        design, seen = config.design, config.preprocessing
        backbone = _Pyramid(network or config.backbone.build(seen.channels, seen.size), seen, design.pyramid)
        count = 1 + len(config.classes)
        levels = [str(number) for number in range(len(_STRIDES))]
        side = 7
        model = MaskRCNN(
            backbone,
            rpn_anchor_generator=AnchorGenerator(_ANCHORS, (_RATIOS,) * len(_ANCHORS)),
            box_roi_pool=MultiScaleRoIAlign(levels, side, _SAMPLES, canonical_scale=_CANONICAL),
            box_head=TwoMLPHead(design.pyramid * side**2, design.box_units),
            box_predictor=FastRCNNPredictor(design.box_units, count),
            mask_roi_pool=MultiScaleRoIAlign(levels, 14, _SAMPLES, canonical_scale=_CANONICAL),
            mask_head=MaskRCNNHeads(design.pyramid, (design.mask_units,) * 2, 1, norm_layer=_norm),
            mask_predictor=MaskRCNNPredictor(design.mask_units, design.mask_units, count),
            rpn_pre_nms_top_n_train=500,
            rpn_post_nms_top_n_train=200,
            rpn_pre_nms_top_n_test=300,
            rpn_post_nms_top_n_test=100,
            rpn_batch_size_per_image=design.anchors,
            box_batch_size_per_image=design.rois,
        )
        model.transform = _NoTransform()
        self.model = model

    @property
    def backbone(self) -> nn.Module:
        """The bare backbone network."""
        return self.model.backbone.body.network

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def set_training(self) -> Detector:
        """Put what is trained into training mode: everything, or all but a frozen backbone and its batch statistics."""
        self.train()
        if self.config.mode == "frozen":
            self.backbone.eval().requires_grad_(False)
        return self

    def forward(self, images: Tensor, targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Losses by name; needs training mode."""
        return self.model(images, targets)

    @torch.inference_mode()
    def find(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Find the objects in images (n, channels, size, size), the best first; needs evaluation mode.

        torchvision lists an object once for each possible class, as COCO's metric expects. Here every object is listed
        once, with the probabilities of all classes, and boxes of all classes suppress each other. For each image
        there are ``boxes`` (m, 4), ``probabilities`` (m, classes), ``features`` (m, pyramid channels), the means of the
        pyramid in the proposals, and ``masks`` (m, 28, 28).
        """
        from torchvision.ops import clip_boxes_to_image

        listed, _ = self.model.transform(images, None)
        features = self.model.backbone(images)
        proposals, _ = self.model.rpn(listed, features)
        heads, sizes = self.model.roi_heads, listed.image_sizes
        pooled = heads.box_roi_pool(features, proposals, sizes)
        logits, offsets = heads.box_predictor(heads.box_head(pooled))
        vectors = pooled.mean(dim=(2, 3))
        probabilities = logits.softmax(dim=1)[:, 1:]
        labels = probabilities.argmax(dim=1)
        decoded = heads.box_coder.decode(offsets, proposals)  # (regions, 1 + classes, 4)
        boxes = clip_boxes_to_image(decoded[torch.arange(len(labels), device=labels.device), labels + 1], sizes[0])
        counts = [len(part) for part in proposals]
        found = []
        for parts in zip(*(part.split(counts) for part in (boxes, probabilities, vectors)), strict=True):
            kept = self._kept(*parts[:2])
            names = ("boxes", "probabilities", "features")
            found.append({name: part[kept] for name, part in zip(names, parts, strict=True)})
        regions = heads.mask_roi_pool(features, [part["boxes"] for part in found], sizes)
        heat = heads.mask_predictor(heads.mask_head(regions)).sigmoid()
        for part, own in zip(found, heat.split([len(part["boxes"]) for part in found]), strict=True):
            part["masks"] = own[torch.arange(len(own), device=own.device), part["probabilities"].argmax(dim=1) + 1]
        return found

    def _kept(self, boxes: Tensor, probabilities: Tensor) -> Tensor:
        """Which boxes of an image are objects, the best first, by the probability of their kind."""
        from torchvision.ops import nms

        sources = torch.tensor([is_source(name) for name in self.config.classes], device=boxes.device)
        kind = sources[probabilities.argmax(dim=1)]
        scores = torch.where(kind, probabilities[:, sources].sum(dim=1), probabilities[:, ~sources].sum(dim=1))
        wide = (boxes[:, 2:] - boxes[:, :2] >= 1).all(dim=1)
        able = (wide & (scores >= LEAST_SCORE)).nonzero().flatten()
        return able[nms(boxes[able], scores[able], _SUPPRESSION)][: self.config.design.most]


def save_detector(path: PathLike, detector: Detector) -> None:
    """Write a detector's folder atomically; raise `RadiosslError` if its training diverged."""
    check_weights(detector.state_dict(), str(path))
    with atomic_folder(path, "detector") as folder:
        save_tensors(detector, folder / WEIGHTS_FILE)
        known = {"version": radiossl.__version__, "sha256": file_sha256(folder / WEIGHTS_FILE)}
        write_json(folder / CONFIG_FILE, {_SECTION: detector.config.model_dump() | known})
        if detector.confidence is not None:
            detector.confidence.save(folder)


def detector_name(path: Path) -> str:
    """Return what a detector is called: by the folder of its run."""
    return path.parent.name if path.name == FOLDER and not (path / FOLDER).is_dir() else path.name


def load_detector(path: PathLike, device: str | torch.device = "cpu") -> Detector:
    """Load a detector that `train_detector` made, in evaluation mode, from its folder or that of its run."""
    path = Path(path)
    folder = path / FOLDER if (path / FOLDER / CONFIG_FILE).is_file() else path
    file, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    if not file.is_file():
        raise RadiosslError(f"{path}: no such detector; a folder with {WEIGHTS_FILE} and {CONFIG_FILE} was expected")
    raw = read_json(file)
    ours = raw.get(_SECTION) if isinstance(raw, dict) else None
    if not isinstance(ours, dict):
        raise RadiosslError(f"{file}: has no {_SECTION!r} section; not a detector written by radiossl")
    config = validated(DetectorConfig, ours, f"{file}: damaged or from a newer radiossl")
    tensors = load_tensors(weights)
    detector = Detector(config, name=str(path), sha256=file_sha256(weights))
    load_state(detector, tensors, str(weights), f"a detector on {config.backbone.name}")
    if detector.sha256 != ours.get("sha256"):
        raise RadiosslError(f"{weights}: not the weights that {CONFIG_FILE} describes (sha256 differs)")
    detector.confidence = DetectorConfidence.load(folder, len(config.classes))
    return detector.to(parse_device(device)).eval()
