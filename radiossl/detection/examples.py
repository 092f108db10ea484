"""Annotated images, and the examples that a detector is trained on: preprocessed once, augmented at every step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch import Tensor

from radiossl.detection.annotations import AnnotatedImage, Annotations, read_annotations
from radiossl.detection.images import CONTRASTS, FieldPreprocessing, Frame, Reader, read_planes
from radiossl.detection.objects import run_lengths
from radiossl.images.augment import chance, uniform
from radiossl.images.parallel import map_on_cores
from radiossl.io.errors import RadiosslError, check_choice
from radiossl.io.files import PathLike
from radiossl.io.progress import track

#: Largest signal that half precision holds, with room for interpolation.
_HALF_MAX = 6e4
#: Images prepared at a time, between two steps of the progress bar.
_CHUNK = 8


@dataclass(frozen=True)
class AnnotatedSet:
    """A set of annotated images, the folder that they are in, and how their pixels are read; see `open_annotated`."""

    annotations: Annotations
    folder: Path
    reader: Reader = "plain"

    def planes(self, image: AnnotatedImage, infrared: bool = False) -> NDArray[np.float32]:
        """Read an image, shape (planes, height, width); raise `RadiosslError` if it is not as annotated."""
        path = self.folder / image.file_name
        planes = read_planes(path, self.reader, infrared)
        if planes.shape[1:] != image.shape:
            raise RadiosslError(
                f"{path}: {planes.shape[2]} x {planes.shape[1]} pixels, but {image.shape[1]} x {image.shape[0]} in"
                f" {self.annotations.path}; these are not the annotated images"
            )
        return planes

    @cached_property
    def hashes(self) -> list[str]:
        """The `pixel_hash` of each image."""
        return map_on_cores(lambda image: pixel_hash(self.planes(image)), self.annotations.images)


def open_annotated(
    annotations: AnnotatedSet | PathLike, images: PathLike | None = None, reader: Reader = "plain"
) -> AnnotatedSet:
    """Return the images of a COCO file; a set that is open already is returned as it is.

    They are in the folder `images`, by default that of the file. `reader` is ``plain``, or ``radiogalaxynet`` for its
    radio images in two colours.
    """
    if isinstance(annotations, AnnotatedSet):
        return annotations
    check_choice("--reader", reader, Reader)
    folder = Path(annotations).parent if images is None else Path(images)
    if not folder.is_dir():
        raise RadiosslError(f"--images {folder}: no such folder")
    return AnnotatedSet(read_annotations(annotations), folder, reader)


def pixel_hash(planes: NDArray[np.float32]) -> str:
    """Return a short hash of the pixels of a radio image, which identifies it under any name."""
    return hashlib.sha256(str(planes.shape[1:]).encode() + np.ascontiguousarray(planes[0]).tobytes()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Examples:
    """Preprocessed images with their objects in the network's pixels."""

    prepared: Tensor  # of `FieldPreprocessing.prepare`, float16, shape (n, k, size, size)
    contrasts: Tensor  # of `FieldPreprocessing.contrast_limits`, (n, 16, 2), for networks that see zscale; else empty
    labels: list[Tensor]  # for each image the numbers of its objects' classes, from 1 on, shape (m,)
    masks: list[list[dict[str, Any]]]  # for each image the compressed run-length encodings of its objects
    hashes: list[str]  # for each image its `pixel_hash`

    def __len__(self) -> int:
        return len(self.prepared)

    def small_objects(self, side: float) -> int:
        """Return how many objects are narrower or lower than this many pixels of the network's input."""
        return sum(int((coco.toBbox(masks)[:, 2:] < side).any(axis=1).sum()) for masks in self.masks if masks)

    def target(self, row: int) -> tuple[Tensor, Tensor]:
        """Return the labels (m,) and masks (m, size, size), uint8, of an image."""
        size = self.prepared.shape[-1]
        if not self.masks[row]:
            return self.labels[row], torch.zeros(0, size, size, dtype=torch.uint8)
        decoded = np.ascontiguousarray(np.moveaxis(coco.decode(self.masks[row]), -1, 0))
        return self.labels[row], torch.from_numpy(decoded)


def load_examples(source: AnnotatedSet, preprocessing: FieldPreprocessing, classes: tuple[str, ...]) -> Examples:
    """Read and preprocess all images of a set; objects of other classes than these, number 1 first, are ignored."""
    images = source.annotations.images
    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    zscale = preprocessing.preprocessing.mode == "sigma-zscale"
    numbers = {name: number for number, name in enumerate(classes, start=1)}

    def one(image: AnnotatedImage) -> tuple[Tensor, Tensor, Tensor, list[dict[str, Any]], str]:
        planes = source.planes(image, preprocessing.infrared)
        prepared = preprocessing.prepare(planes).clamp_(-_HALF_MAX, _HALF_MAX).half()
        contrasts = preprocessing.contrast_limits(planes) if zscale else torch.empty(0)
        frame = Frame(image.shape, preprocessing.preprocessing.size)
        known = [item for item in image.objects if item.category in numbers and not item.crowd]
        masks = [run_lengths(frame.mask_to_network(item.mask)) for item in known]
        labels = torch.tensor([numbers[item.category] for item in known], dtype=torch.int64)
        return prepared, contrasts, labels, masks, pixel_hash(planes)

    done = [item for chunk in track(chunks, "preparing images") for item in map_on_cores(one, chunk)]
    prepared, contrasts, labels, masks, hashes = zip(*done, strict=True)
    return Examples(torch.stack(prepared), torch.stack(contrasts), list(labels), list(masks), list(hashes))


#: Objects of which less than this part is left in the image after a rotation are not trained on.
_LEAST_PART = 0.5
#: Smallest width and height, in pixels of the network's input, of an object to train on.
LEAST_SIDE = 2.0
#: For backbones with a noise floor, as in the recipe `radiossl`: the floor in sigma, and the power of the brightness.
_FLOOR_SIGMA, _LOG_GAMMA = (2.5, 6.0), 0.3

Target = dict[str, Tensor]


def training_batch(
    examples: Examples, rows: list[int], preprocessing: FieldPreprocessing, rotate: bool, generator: torch.Generator
) -> tuple[Tensor, list[Target]]:
    """Return augmented images (n, channels, size, size), and targets as torchvision's detectors take them.

    Those are ``boxes`` (m, 4), ``labels`` (m,) and ``masks`` (m, size, size). Images are mirrored at random and rotated
    by right angles, with `rotate` half of them also by any angle (which blurs), and changed in brightness: a random
    contrast of zscale from 0.25 to 0.4 (Riggi et al. 2024, section 4.3), or for backbones with a noise floor a random
    floor and power.
    """
    n = len(rows)
    mirrored, quarter = chance(n, 0.5, generator), torch.randint(4, (n,), generator=generator)
    turned = chance(n, 0.5 if rotate else 0.0, generator)
    angle = uniform(n, (-45.0, 45.0), generator)
    contrast = torch.randint(len(CONTRASTS), (n,), generator=generator)
    floor, gamma = uniform(n, _FLOOR_SIGMA, generator), uniform(n, (-_LOG_GAMMA, _LOG_GAMMA), generator).exp()
    images, targets = [], []
    for place, row in enumerate(rows):
        labels, masks = examples.target(row)
        area = masks.flatten(1).sum(dim=1)
        image = examples.prepared[row].float()
        pair = [part.flip(-1) if mirrored[place] else part for part in (image, masks)]
        pair = [part.rot90(int(quarter[place]), dims=(-2, -1)) for part in pair]
        if turned[place]:
            pair = [_rotated(part, float(angle[place])) for part in pair]
        images.append(pair[0])
        targets.append(_target(labels, pair[1], area))
    how: dict[str, Tensor] = {"gamma": gamma}
    if preprocessing.preprocessing.mode == "floor-stretch":
        how["floor"] = floor
    elif preprocessing.preprocessing.mode == "sigma-zscale":
        how = {"contrast": examples.contrasts[torch.tensor(rows), contrast]}
    return preprocessing.finish(torch.stack(images), **how), targets


def _rotated(images: Tensor, angle_deg: float) -> Tensor:
    """Rotate (k, size, size) around the centre by linear interpolation; corners from outside are 0."""
    from torchvision.transforms.v2.functional import InterpolationMode, rotate

    if len(images) == 0:
        return images
    turned = rotate(images.float(), angle_deg, InterpolationMode.BILINEAR)
    return turned if images.is_floating_point() else (turned >= 0.5).to(images.dtype)


def _target(labels: Tensor, masks: Tensor, area: Tensor) -> Target:
    """Boxes around what is left of the masks; objects that are mostly gone are left out."""
    from torchvision.ops import masks_to_boxes

    kept = masks.flatten(1).sum(dim=1) >= (_LEAST_PART * area).clamp_min(1)
    labels, masks = labels[kept], masks[kept]
    boxes = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])  # edges of pixels instead of their centres
    kept = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(dim=1)
    return {"boxes": boxes[kept], "labels": labels[kept], "masks": masks[kept]}
