"""Merging the detections of one source in overlapping tiles, or in several boxes of one tile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from scipy.spatial import ConvexHull

from radiossl.detection.objects import Detection

#: Objects that share this fraction of the smaller one's pixels are the same source.
SHARED_PART = 0.5
#: The same for two pieces that are both cut by their tiles: they share no more than the overlap of the tiles.
CUT_PART = 0.2
#: The whole of a source replaces a part of it with at most this many times its score, of which this fraction is inside.
_WHOLE_SCORE, _INSIDE = 2.0, 0.8
#: Side in pixels of the cells in which neighbours are looked up.
_CELL = 128


class _Grid:
    """Objects by the cells that their pixels' rectangle touches."""

    def __init__(self) -> None:
        self.objects: dict[int, Detection] = {}
        self._cells: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        self._next = 0

    def add(self, item: Detection) -> None:
        self.objects[self._next] = item
        for cell in _cells(item):
            self._cells[cell].add(self._next)
        self._next += 1

    def remove(self, number: int) -> None:
        for cell in _cells(self.objects.pop(number)):
            self._cells[cell].discard(number)

    def near(self, item: Detection) -> list[int]:
        """Numbers of the objects in the same cells, in the order in which they came."""
        return sorted({number for cell in _cells(item) for number in self._cells.get(cell, ())})


def _cells(item: Detection) -> Iterator[tuple[int, int]]:
    x0, y0, width, height = item.extent
    for row in range(y0 // _CELL, (y0 + height - 1) // _CELL + 1):
        for column in range(x0 // _CELL, (x0 + width - 1) // _CELL + 1):
            yield row, column


def merge(found: Iterable[Detection]) -> list[Detection]:
    """Merge the detections of each source in a mosaic; return them with the best first.

    Objects seen whole come first, the best first. A later one is dropped if it shares half of its pixels, or of the
    other's, with one seen whole before it; it is added, if both were cut by the edges of their tiles, to the other
    piece; and it is taken instead of parts that lie inside it, if it scores at least half as much: the whole of a
    source with two lobes beats its brighter lobe.

    Then an object that lies inside the convex hull of another one made of several islands, such as the core between two
    lobes, becomes one more island of it.
    """
    grid = _Grid()
    for item in sorted(found, key=lambda one: (one.cut, *_best_first(one))):
        _take(grid, item)
    kept = sorted(grid.objects.values(), key=lambda one: -one.area)
    return sorted(_with_islands(kept), key=_best_first)


def _best_first(item: Detection) -> tuple[float, float, int, int, str]:
    return (-item.source_score, -item.score, item.x0, item.y0, item.label)


def _take(grid: _Grid, item: Detection) -> None:
    """Add one object to those kept, or make it part of one of them, or drop it."""
    mates = {}
    for number in grid.near(item):
        other = grid.objects[number]
        part = item.shared(other) / min(item.area, other.area)
        if part >= (CUT_PART if item.cut and other.cut else SHARED_PART):
            mates[number] = other
    if not mates:
        grid.add(item)
        return
    pieces = item.cut and all(other.cut for other in mates.values())
    if not pieces and not all(_is_part(other, item) for other in mates.values()):
        return
    whole = max(mates.values(), key=lambda one: one.source_score) if pieces else item
    for number, other in mates.items():
        whole = whole if other is whole else whole.united(other)
        grid.remove(number)
    grid.add(whole.united(item) if pieces else whole)


def _is_part(part: Detection, whole: Detection) -> bool:
    return (
        not whole.cut
        and whole.area >= 2 * part.area
        and whole.source_score * _WHOLE_SCORE >= part.source_score
        and whole.shared(part) >= _INSIDE * part.area
    )


def islands(mask: NDArray[np.bool_]) -> int:
    """Return of how many connected parts a mask is made, diagonal neighbours connected."""
    return int(label(mask, structure=np.ones((3, 3)))[1])


def _with_islands(kept: list[Detection]) -> list[Detection]:
    """Make objects inside the hull of a larger one of several islands part of it; the largest come first."""
    grid, result = _Grid(), []
    for item in kept:
        grid.add(item)
    for number, item in list(grid.objects.items()):
        if number not in grid.objects:
            continue
        whole = item
        if islands(item.mask) > 1:
            hull = _hull(item)
            for mate in grid.near(item):
                other = grid.objects[mate]
                if mate > number and int((hull & other.within(item.extent)).sum()) >= _INSIDE * other.area:
                    whole = whole.united(other)
                    grid.remove(mate)
        result.append(whole)
    return result


def _hull(item: Detection) -> NDArray[np.bool_]:
    """Return the pixels, in the rectangle of an object, whose centres are in the convex hull of its pixels."""
    rows, columns = np.nonzero(item.mask)
    centres = np.stack([rows, columns], axis=1)
    corners = np.concatenate([centres + np.array([dy, dx]) for dy in (-0.5, 0.5) for dx in (-0.5, 0.5)])
    sides = ConvexHull(corners).equations  # outward normals and offsets
    grid = np.moveaxis(np.indices(item.mask.shape), 0, -1)
    return (grid @ sides[:, :2].T + sides[:, 2] <= 1e-9).all(axis=-1)
