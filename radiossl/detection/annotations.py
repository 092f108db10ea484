"""Annotated images in COCO's format: which objects are where, with their pixels."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco
from pydantic import BaseModel, BeforeValidator, Field, FiniteFloat

from radiossl.io.errors import RadiosslError, check_number
from radiossl.io.files import PathLike, read_json
from radiossl.io.settings import validated
from radiossl.io.values import as_text

#: Corners farther than this many pixels from the image's are no outlines; filling them would take all memory.
_FARTHEST_PX = 1e6


@dataclass(frozen=True)
class TrueObject:
    """An annotated object."""

    category: str
    #: its pixels, at least one, as a compressed run-length encoding of COCO, the first row of the file first
    pixels: dict[str, Any]
    crowd: bool = False  # stands for several objects that nobody separated: neither trained on nor counted

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Its pixels, shape (height, width) of the image."""
        return coco.decode(self.pixels).astype(bool)


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its objects."""

    image_id: str  # in the annotation file, as text
    file_name: str  # relative to the folder of the images
    shape: tuple[int, int]  # (height, width) in pixels
    objects: tuple[TrueObject, ...] = ()


@dataclass(frozen=True)
class Annotations:
    """The content of an annotation file."""

    path: Path
    classes: tuple[str, ...]  # in the order of their ids in the file
    images: tuple[AnnotatedImage, ...]  # in the order of the file

    def select(self, rows: Iterable[int]) -> Annotations:
        """Return some of the images, by their places."""
        return Annotations(self.path, self.classes, tuple(self.images[row] for row in rows))

    def counts(self) -> dict[str, int]:
        """Return how many objects there are of each class."""
        names = Counter(known.category for image in self.images for known in image.objects if not known.crowd)
        return {name: names[name] for name in self.classes}


#: Ids are compared as text, so that 7 and "7" are one and "07" is another.
_Id = Annotated[str, BeforeValidator(lambda value: as_text(value) if isinstance(value, (int, float, str)) else value)]


class _Named(BaseModel):
    id: _Id
    name: Annotated[str, BeforeValidator(as_text)]


class _Image(BaseModel):
    id: _Id
    file_name: str
    height: int = Field(ge=1, le=_FARTHEST_PX)
    width: int = Field(ge=1, le=_FARTHEST_PX)


class _Object(BaseModel):
    id: _Id | None = None
    image_id: _Id
    category_id: _Id
    segmentation: list[Any] | dict[str, Any] | None = None
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    iscrowd: bool | None = False


class _File(BaseModel):
    images: list[_Image]
    annotations: list[_Object]
    categories: list[_Named]


def read_annotations(path: PathLike) -> Annotations:
    """Read a COCO file.

    Outlines are polygons or run-length encodings; an object without one is the rectangle of its ``bbox``. Objects
    without a pixel in their image and exact repetitions, which no detector can find, are left out with a warning. A
    file that lists no image, and an object with an impossible outline, or of an image or class that is not listed,
    raise a `RadiosslError`.
    """
    path = Path(path)
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise RadiosslError(f"{path}: not a COCO annotation file; expected images, annotations and categories in it")
    file = validated(_File, content, f"{path}: not the COCO format")
    classes = {entry.id: entry.name for entry in file.categories}
    images = {entry.id: entry for entry in file.images}
    if len(images) < len(file.images) or len({entry.file_name for entry in file.images}) < len(file.images):
        raise RadiosslError(f"{path}: two images have one id or one file")
    if len(set(classes.values())) < len(file.categories):
        raise RadiosslError(f"{path}: two classes have one id or one name")
    if not images or not classes:
        raise RadiosslError(f"{path}: lists no {'class' if images else 'image'}")
    for entry in file.images:
        if PurePosixPath(entry.file_name).is_absolute() or ".." in PurePosixPath(entry.file_name).parts:
            raise RadiosslError(f"{path}: file_name {entry.file_name}: expected a path inside the folder of the images")
    objects = _objects(file, path)
    ordered = sorted(classes, key=lambda one: (0, int(one), one) if one.isdecimal() else (1, 0, one))
    annotated = tuple(
        AnnotatedImage(number, entry.file_name, (entry.height, entry.width), tuple(objects[number]))
        for number, entry in images.items()
    )
    return Annotations(path, tuple(classes[one] for one in ordered), annotated)


def _objects(file: _File, path: Path) -> dict[str, list[TrueObject]]:
    """The objects of each image, by its id; warns of those that are left out or have no outline."""
    names = {entry.id: entry.name for entry in file.categories}
    shapes = {entry.id: (entry.height, entry.width) for entry in file.images}
    objects: dict[str, list[TrueObject]] = {number: [] for number in shapes}
    seen, empty, repeated, boxes = set(), [], [], []
    for place, entry in enumerate(file.annotations, start=1):
        name = entry.id or f"number {place}"
        where = f"{path}: object {name}"
        if entry.image_id not in shapes:
            raise RadiosslError(f"{where}: is of image {entry.image_id}, which is not listed")
        if entry.category_id not in names:
            raise RadiosslError(f"{where}: is of class {entry.category_id}, which is not listed")
        pixels = _outline(entry.segmentation, shapes[entry.image_id], where)
        boxed = pixels is None
        if pixels is None:
            pixels = _rectangle(entry.bbox, shapes[entry.image_id], where)
        known = TrueObject(names[entry.category_id], pixels, bool(entry.iscrowd))
        key = (entry.image_id, known.category, pixels["counts"], known.crowd)
        if coco.area(pixels) == 0:
            empty.append(name)
        elif key in seen:
            repeated.append(name)
        else:
            seen.add(key)
            boxes += [name] if boxed else []
            objects[entry.image_id].append(known)
    total = len(file.annotations)
    if empty and len(empty) == total:
        raise RadiosslError(f"{path}: none of its {total} objects has a pixel in its image; coordinates are in pixels")
    problems = {"left out, without a pixel in their image": empty, "left out, the same as others": repeated}
    problems["without an outline, their boxes are taken for it"] = boxes
    for problem, found in problems.items():
        if found:
            warnings.warn(f"{path}: {len(found)} of {total} objects {problem}; the first is {found[0]}", stacklevel=3)
    return objects


def _outline(segmentation: Any, shape: tuple[int, int], where: str) -> dict[str, Any] | None:
    """Pixels of polygons or of a run-length encoding, compressed; None if there is no outline."""
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation, shape, where)
    try:
        if segmentation and not any(isinstance(part, (list, dict)) for part in segmentation):
            segmentation = [segmentation]  # one polygon that is not in a list
        polygons = [np.asarray(part, dtype=float).ravel() for part in segmentation or ()]
    except (TypeError, ValueError, OverflowError):
        raise RadiosslError(f"{where}: an outline that is not of numbers; expected polygons x, y, x, y, ...") from None
    for polygon in polygons:
        if len(polygon) % 2:
            raise RadiosslError(f"{where}: a polygon of {len(polygon)} numbers; expected pairs of x and y")
        if not (np.abs(polygon) < _FARTHEST_PX).all():
            raise RadiosslError(f"{where}: a polygon with a corner at no pixel or {_FARTHEST_PX:,.0f} pixels away")
    kept = [polygon.tolist() for polygon in polygons if len(polygon) >= 6]  # some tools leave points and lines behind
    return coco.merge(coco.frPyObjects(kept, *shape)) if kept else None


def _rectangle(bbox: Sequence[float] | None, shape: tuple[int, int], where: str) -> dict[str, Any]:
    if bbox is None:
        raise RadiosslError(f"{where}: has no outline; expected 'segmentation' with polygons or a run-length encoding")
    left, top, width, height = bbox
    if width < 0 or height < 0:
        raise RadiosslError(f"{where}: a box of {width:g} x {height:g} pixels; expected x, y, width and height")
    corners = [left, top, left + width, top, left + width, top + height, left, top + height]
    pixels = _outline([corners], shape, where)
    assert pixels is not None  # of four corners
    return pixels


def _run_lengths(encoded: dict[str, Any], shape: tuple[int, int], where: str) -> dict[str, Any]:
    """A run-length encoding, compressed; pycocotools does not notice one that does not fill its image."""
    size, counts = encoded.get("size"), encoded.get("counts")
    if not isinstance(size, list) or not isinstance(counts, (list, str)):
        raise RadiosslError(f"{where}: has no outline; expected 'size' and 'counts' in its run-length encoding")
    if tuple(size) != shape:
        raise RadiosslError(f"{where}: a mask of {size} pixels in an image of {list(shape)}")
    try:
        runs = np.array(counts, dtype=float) if isinstance(counts, list) else _decompressed(counts)
        whole = runs.ndim == 1 and bool(((runs >= 0) & (runs % 1 == 0)).all())
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise RadiosslError(f"{where}: a damaged run-length encoding; expected whole numbers of pixels")
    if runs.sum() != shape[0] * shape[1]:
        lengths = f"run lengths of {runs.sum():.0f} pixels in an image of {shape[0] * shape[1]}"
        raise RadiosslError(f"{where}: {lengths}; it is damaged or of another image")
    return coco.frPyObjects({"size": list(shape), "counts": runs.astype(np.uint32).tolist()}, *shape)


def _decompressed(counts: str) -> NDArray[np.int64]:
    """The runs in COCO's compressed text: digits of 5 bits, the lowest first; from the fourth run on a difference."""
    digits = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    last = digits & 32 == 0
    if not len(digits) or not last[-1] or digits.min() < 0 or digits.max() > 63:
        raise ValueError("not a number")
    begin = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    place = np.arange(len(digits)) - np.repeat(begin, np.diff([*begin, len(digits)]))
    if place.max() > 10:
        raise ValueError("a number of too many digits")
    runs = np.add.reduceat((digits & 31) << 5 * place, begin)
    runs -= np.where(digits[last] & 16, 1 << 5 * (place[last] + 1), 0)  # negative
    for parity in (1, 2):
        runs[parity::2] = np.cumsum(runs[parity::2])
    return runs


def draw_images(annotations: Annotations, fraction: float, balanced: bool, seed: int) -> Annotations:
    """Draw part of the images, at least one (Riggi et al. 2024, sections 4.2 and 4.4).

    With one seed, less is always part of more. With `balanced`, images of rare classes come first: the chance of an
    image, without replacement, is in proportion to the mean of 1/frequency of the classes of its objects (images
    without objects as the commonest class).
    """
    check_number("--fraction", fraction, 0, 1, above=True)
    counts = annotations.counts()
    if not any(counts.values()):
        raise RadiosslError(f"{annotations.path}: annotates no object; there is nothing to learn from")
    if fraction == 1:
        return annotations
    rng = np.random.default_rng(seed)
    weights = np.ones(len(annotations.images))
    if balanced:
        for row, image in enumerate(annotations.images):
            rarity = [1 / counts[known.category] for known in image.objects if not known.crowd]
            weights[row] = np.mean(rarity) if rarity else 1 / max(counts.values())
    # Efraimidis & Spirakis 2006: sorting by these keys draws one by one without replacement.
    order = np.argsort(-(rng.random(len(weights)) ** (weights.max() / weights)), kind="stable")
    drawn = annotations.select(np.sort(order[: max(1, round(fraction * len(weights)))]).tolist())
    if not any(drawn.counts().values()):
        what = f"no object in the {len(drawn.images)} images drawn from {annotations.path}"
        raise RadiosslError(f"--fraction {fraction:g}: {what}; take more of them, or another --seed")
    return drawn
