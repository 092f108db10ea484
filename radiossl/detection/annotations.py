"""Annotated images in COCO's format: which objects are where, with their outlines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import read_json

#: What a run-length encoding that holds compressed text is made of.
_RLE_KEYS = {"size", "counts"}


@dataclass(frozen=True)
class TrueObject:
    """An annotated object.

    Attributes
    ----------
    category
        Name of its class.
    segmentation
        Polygons, each a flat list x, y, x, y, ..., or a run-length encoding (``size`` and ``counts``), as in COCO:
        pixels are squares from 0 to 1, the first row of the file is the first.
    crowd
        Stands for several objects that nobody told apart: neither learnt nor counted.
    """

    category: str
    segmentation: Any
    crowd: bool = False


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its objects.

    Attributes
    ----------
    image_id
        Number in the annotation file.
    file_name
        Relative to the folder of the images.
    shape
        (height, width) in pixels.
    objects
        What is annotated in it.
    """

    image_id: int
    file_name: str
    shape: tuple[int, int]
    objects: tuple[TrueObject, ...] = ()

    def mask(self, number: int) -> NDArray[np.bool_]:
        """Return the pixels of an object, shape (height, width)."""
        from pycocotools import mask as coco

        return coco.decode(self.encoded(number)).astype(bool)

    def encoded(self, number: int) -> dict[str, Any]:
        """Return an object's pixels as a compressed run-length encoding of COCO."""
        from pycocotools import mask as coco

        outline = self.objects[number].segmentation
        if isinstance(outline, list):
            return coco.merge(coco.frPyObjects(outline, *self.shape))
        return coco.frPyObjects(outline, *self.shape) if isinstance(outline["counts"], list) else outline


@dataclass(frozen=True)
class Annotations:
    """The content of an annotation file.

    Attributes
    ----------
    path
        The file.
    classes
        Names in the order of their numbers in the file.
    images
        In the order of the file.
    """

    path: Path
    classes: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Annotations:
        """Return some of the images, by their places."""
        return Annotations(self.path, self.classes, tuple(self.images[row] for row in rows))

    def counts(self) -> dict[str, int]:
        """Return how many objects there are of each class."""
        names = [known.category for image in self.images for known in image.objects if not known.crowd]
        return {name: names.count(name) for name in self.classes}


def read_annotations(path: str | os.PathLike[str]) -> Annotations:
    """Read a COCO file.

    Raises
    ------
    RadiosslError
        If it is missing or damaged, lists no image, or an object lacks an outline, an image or a class.
    """
    path = Path(path)
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise RadiosslError(f"{path}: not a COCO annotation file; expected images, annotations and categories in it")
    try:
        classes = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        sizes = {entry["id"]: (int(entry["height"]), int(entry["width"])) for entry in content["images"]}
        names = {entry["id"]: str(entry["file_name"]) for entry in content["images"]}
        objects: dict[int, list[TrueObject]] = {number: [] for number in sizes}
        for entry in content["annotations"]:
            where = f"{path}: object {entry['id']}"
            if entry["image_id"] not in sizes:
                raise RadiosslError(f"{where}: is of image {entry['image_id']}, which is not listed")
            if entry["category_id"] not in classes:
                raise RadiosslError(f"{where}: is of class {entry['category_id']}, which is not listed")
            outline = _outline(entry.get("segmentation"), sizes[entry["image_id"]], where)
            crowd = bool(entry.get("iscrowd", 0))
            objects[entry["image_id"]].append(TrueObject(classes[entry["category_id"]], outline, crowd))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, RadiosslError):
            raise
        raise RadiosslError(f"{path}: not the COCO format ({type(error).__name__}: {error})") from None
    if len(sizes) < len(content["images"]):
        raise RadiosslError(f"{path}: two images have one id")
    if len(set(classes.values())) < len(content["categories"]):
        raise RadiosslError(f"{path}: two classes have one id or one name")
    if not sizes or not classes:
        raise RadiosslError(f"{path}: lists no {'class' if sizes else 'image'}")
    images = [AnnotatedImage(i, names[i], sizes[i], tuple(objects[i])) for i in sizes]
    return Annotations(path, tuple(classes[number] for number in sorted(classes)), tuple(images))


def _outline(segmentation: Any, shape: tuple[int, int], where: str) -> Any:
    """Check an outline; polygons of fewer than three corners, which some tools leave behind, are dropped."""
    if isinstance(segmentation, list):
        kept = [polygon for polygon in segmentation if len(polygon) >= 6 and len(polygon) % 2 == 0]
        if kept and np.isfinite(np.concatenate([np.asarray(polygon, dtype=float) for polygon in kept])).all():
            return kept
    elif isinstance(segmentation, dict) and segmentation.keys() >= _RLE_KEYS:
        if tuple(segmentation["size"]) == shape:
            return segmentation
        raise RadiosslError(f"{where}: a mask of {segmentation['size']} pixels in an image of {list(shape)}")
    raise RadiosslError(f"{where}: has no outline; expected 'segmentation' with polygons or a run-length encoding")


def draw_images(annotations: Annotations, fraction: float, balanced: bool, seed: int) -> Annotations:
    """Draw part of the images (Riggi et al. 2024, sections 4.2 and 4.4).

    Parameters
    ----------
    annotations
        What to draw from.
    fraction
        Of the images, above 0 and up to 1; at least one is drawn. With one seed, less is always part of more.
    balanced
        Draw images of rare classes first: the chance of an image is in proportion to the mean of 1/frequency of the
        classes of its objects (images without objects as the commonest class), without replacement.
    seed
        Of the draw.

    Raises
    ------
    RadiosslError
        If the fraction is out of range.
    """
    if not 0 < fraction <= 1:
        raise RadiosslError(f"--fraction {fraction:g}: expected more than 0 and at most 1")
    if fraction == 1:
        return annotations
    rng = np.random.default_rng(seed)
    weights = np.ones(len(annotations.images))
    if balanced:
        counts = annotations.counts()
        for row, image in enumerate(annotations.images):
            rarity = [1 / counts[known.category] for known in image.objects if not known.crowd]
            weights[row] = np.mean(rarity) if rarity else 1 / max(counts.values())
    # Efraimidis & Spirakis 2006: sorting by these keys draws one by one without replacement.
    order = np.argsort(-(rng.random(len(weights)) ** (weights.max() / weights)), kind="stable")
    return annotations.select(np.sort(order[: max(1, round(fraction * len(weights)))]))
