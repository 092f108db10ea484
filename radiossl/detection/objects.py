"""A detected object: its class, scores, box and pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy.ndimage import map_coordinates

from radiossl.survey.mosaic import Box

#: Names of classes that are no real sources, in lower case.
_NOT_SOURCES = frozenset(
    {"spurious", "flagged"} | {f"{n}{s}" for n in ("sidelobe", "artefact", "artifact") for s in ("", "s")}
)


@dataclass(frozen=True, eq=False)
class Detection:
    """An object in an image or mosaic."""

    probabilities: Mapping[str, float]  # of each class by its name; the rest up to 1 is the probability of background
    #: left, lower, right and upper edge, predicted by the network, in pixels that are squares from 0 to 1
    box: tuple[float, float, float, float]
    x0: int  # first column of `mask`
    y0: int  # first row of `mask`
    mask: NDArray[np.bool_]  # a rectangle of pixels, of which at least one is true
    cut: bool = False  # touches an edge of its tile that is not an edge of the mosaic
    merged: bool = False  # from several
    #: means of the network's pyramid around it, (channels,); not kept in files
    features: NDArray[np.float32] | None = None
    outlier_score: float = math.nan  # above 1: unlike 99 % found in validation images; NaN if unknown

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def score(self) -> float:
        """Probability of that class."""
        return self.probabilities[self.label]

    @property
    def source_score(self) -> float:
        """Probability of any class of its kind, real sources or artefacts.

        A network that cannot decide between two classes of galaxies can still be sure of a source.
        """
        kind = is_source(self.label)
        return sum(part for name, part in self.probabilities.items() if is_source(name) == kind)

    @property
    def area(self) -> int:
        """Number of its pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def extent(self) -> Box:
        """The rectangle of its pixels."""
        return Box(self.x0, self.y0, self.mask.shape[1], self.mask.shape[0])

    def shifted(self, columns: int, rows: int) -> Detection:
        """Return the object in an image that begins this many pixels earlier."""
        left, low, right, high = self.box
        box = (left + columns, low + rows, right + columns, high + rows)
        return replace(self, box=box, x0=self.x0 + columns, y0=self.y0 + rows)

    def within(self, box: Box) -> NDArray[np.bool_]:
        """Return its pixels in a rectangle, shape (height, width)."""
        return Box(box.x0 - self.x0, box.y0 - self.y0, box.width, box.height).cut_out(self.mask, False)

    def whole(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return its pixels in an image (height, width)."""
        return self.within(Box(0, 0, shape[1], shape[0]))

    def cropped(self, shape: tuple[int, int]) -> Detection | None:
        """Return the object without what is outside an image (height, width); None if nothing is inside."""
        x0, y0, width, height = self.extent
        if x0 >= 0 and y0 >= 0 and x0 + width <= shape[1] and y0 + height <= shape[0]:
            return self
        inside = self.whole(shape)
        if not inside.any():
            return None
        x0, y0, tight = _tight(inside)
        return replace(self, x0=x0, y0=y0, mask=tight)

    def shared(self, other: Detection) -> int:
        """Return how many pixels two objects share."""
        return int(np.count_nonzero(self.mask & other.within(self.extent)))

    def united(self, other: Detection) -> Detection:
        """Return this object with another's pixels added; it is cut if both are."""
        x0, y0 = min(self.x0, other.x0), min(self.y0, other.y0)
        right = max(self.x0 + self.mask.shape[1], other.x0 + other.mask.shape[1])
        high = max(self.y0 + self.mask.shape[0], other.y0 + other.mask.shape[0])
        around = Box(x0, y0, right - x0, high - y0)
        (left, low, far, top), (a, b, c, d) = self.box, other.box
        box = min(left, a), min(low, b), max(far, c), max(top, d)
        mask = self.within(around) | other.within(around)
        return replace(self, box=box, x0=x0, y0=y0, mask=mask, cut=self.cut and other.cut, merged=True)

    def outlines(self) -> list[NDArray[np.float64]]:
        """Return the closed lines around its islands and holes, each (n, 2) of x and y, integers at pixel centres."""
        padded = np.pad(self.mask.astype(float), 1)
        lines = contour_generator(z=padded).lines(0.5)
        return [np.asarray(line) + np.array([self.x0 - 1, self.y0 - 1]) for line in lines]

    def encoded(self, shape: tuple[int, int]) -> dict[str, Any]:
        """Return its pixels in an image (height, width) as a compressed run-length encoding of COCO."""
        return run_lengths(self.whole(shape))


def as_plain(item: Detection) -> dict[str, Any]:
    """Return an object as JSON can hold it."""
    return {
        **{"probabilities": dict(item.probabilities), "box": item.box, "x0": item.x0, "y0": item.y0},
        **{"shape": item.mask.shape, "pixels": run_lengths(item.mask)["counts"].decode("ascii"), "cut": item.cut},
        "outlier_score": None if math.isnan(item.outlier_score) else item.outlier_score,
    }


def from_plain(entry: dict[str, Any]) -> Detection:
    """Return the object from the result of `as_plain`."""
    mask = coco.decode({"size": entry["shape"], "counts": entry["pixels"].encode("ascii")}).astype(bool)
    left, low, right, high = entry["box"]
    place, score = ((left, low, right, high), entry["x0"], entry["y0"]), entry.get("outlier_score")
    unusual = math.nan if score is None else score
    return Detection(entry["probabilities"], *place, mask, entry["cut"], outlier_score=unusual)


def draw_object(
    probabilities: Mapping[str, float],
    box: tuple[float, float, float, float],
    heat: NDArray[np.floating],
    shape: tuple[int, int],
    features: NDArray[np.float32] | None = None,
    outlier_score: float = math.nan,
) -> Detection | None:
    """Draw a network's square mask into its box in an image (height, width); None if no pixel of it is in the image.

    `heat`, shape (m, m), is the probability of belonging to the object, stretched over the box and interpolated
    linearly.
    """
    left, low, right, high = box
    x0, y0 = max(0, int(np.floor(left))), max(0, int(np.floor(low)))
    x1, y1 = min(shape[1], int(np.ceil(right))), min(shape[0], int(np.ceil(high)))
    if x0 >= x1 or y0 >= y1 or right <= left or high <= low:
        return None
    side = heat.shape[0]
    columns = (np.arange(x0, x1) + 0.5 - left) / (right - left) * side - 0.5
    rows = (np.arange(y0, y1) + 0.5 - low) / (high - low) * side - 0.5
    mask = map_coordinates(heat, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest") >= 0.5
    if not mask.any():
        return None
    x, y, tight = _tight(mask)
    return Detection(probabilities, box, x0 + x, y0 + y, tight, features=features, outlier_score=outlier_score)


def _tight(mask: NDArray[np.bool_]) -> tuple[int, int, NDArray[np.bool_]]:
    """The rectangle around what is true in a mask: its first column and row, and the mask in it."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask (height, width) as a compressed run-length encoding of COCO."""
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


def is_source(label: str) -> bool:
    """Tell a class of real sources from artefacts and flagged objects (Riggi et al. 2024, section 4.2)."""
    return label.lower() not in _NOT_SOURCES
