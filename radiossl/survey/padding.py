"""Zeros and other numbers that mean "not observed", as opposed to zeros that were measured or made on purpose.

Many mosaics are padded with exact zeros instead of NaN. A solid region of them is no coverage in an image that has its
noise: of noise about half is negative. An image without negative pixels has been clipped, as published cutouts are, and
its zeros are the sky: they stay. So do single zeros, which coarsely quantised noise has too.

Other programs write a number that no brightness has: one beyond `BRIGHTEST`, such as 1e20 or -1e30, or one far below
all others again and again, such as -9999.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radiossl.io.compiling import exact_kernel
from radiossl.survey.fits_image import HIGHEST_MARKER

#: Least fraction of negative pixels among those that are not 0 for an image to have its noise.
_LEAST_NEGATIVE = 0.05
#: Side of the smallest solid square of zeros that no noise has: stored exactly, and in steps.
_SIDE, _SIDE_IN_STEPS = 3, 16
#: With fewer different values than this fraction of the pixels, the noise is stored in steps.
_LEAST_DISTINCT = 0.5
#: Markers occur so often, and are so many times farther from the median than all other numbers.
_MARKED, _FARTHER = 9, 4.0
#: Folders and markers in them that were announced.
_announced: set[tuple[Path, float]] = set()
_log = logging.getLogger(__name__)


def blank_marker(values: NDArray[np.floating]) -> float:
    """Return the number that means "not observed" among some pixels of an image, NaN if there is none.

    >>> noise = np.random.default_rng(0).normal(size=1000)
    >>> blank_marker(np.append(noise, np.full(50, -9999.0))), blank_marker(noise)
    (-9999.0, nan)
    """
    lowest = float(np.min(values, initial=0.0))
    others = values[values > lowest]
    if lowest > HIGHEST_MARKER or not lowest.is_integer() or not others.size or values.size - others.size < _MARKED:
        return float("nan")
    middle = float(np.median(others))
    return lowest if middle - lowest > _FARTHER * (middle - float(others.min())) else float("nan")


def announced_marker(path: Path, values: NDArray[np.floating]) -> float:
    """Return the `blank_marker` of an image, and say so, once for all images of a folder."""
    marker = blank_marker(values)
    if not np.isnan(marker) and (path.parent, marker) not in _announced:
        _announced.add((path.parent, marker))
        _log.warning("%s: pixels of %g are taken as not observed, as in all images of this folder", path, marker)
    return marker


def padding_side(values: NDArray[np.floating]) -> int:
    """Return the side in pixels of a square of zeros that means padding in an image; 0 if its zeros are to be kept.

    Given are some of the image's pixels that are neither 0 nor blank, shape (n,).
    """
    if np.count_nonzero(values < 0) <= _LEAST_NEGATIVE * values.size:
        return 0
    return _SIDE if np.unique(values).size >= _LEAST_DISTINCT * values.size else _SIDE_IN_STEPS


def zero_padding(pixels: NDArray[np.floating], side: int) -> NDArray[np.bool_]:
    """Return which pixels belong to a solid region of zeros, shape (height, width).

    A region is connected by the sides of its pixels and holds a square of `side` pixels; where it touches the border of
    the image, it is taken to go on beyond it.
    """
    from scipy.ndimage import label, maximum_filter, minimum_filter

    zero = pixels == 0
    solid = np.zeros_like(zero)
    for axis in (0, 1):
        margin = [(0, 0), (0, 0)]
        margin[axis] = (side - 1, side - 1)
        wide = np.pad(zero, margin, mode="edge")
        # The origins of an even window shrink to one side and grow to the other.
        core = minimum_filter(wide, side, mode="constant", cval=0)
        opened = maximum_filter(core, side, mode="constant", cval=0, origin=-(side % 2 == 0))
        solid |= opened[side - 1 : -(side - 1)] if axis == 0 else opened[:, side - 1 : -(side - 1)]
    regions, count = label(zero)
    is_padding = np.zeros(count + 1, dtype=bool)
    is_padding[regions[solid & zero]] = True
    is_padding[0] = False
    return is_padding[regions]


@exact_kernel
def may_be_solid(pixels: NDArray[np.floating], side: int) -> bool:
    """Return quickly whether zeros may be solid: every square of `side` pixels holds a block of a fixed grid."""
    block = (side + 1) // 2
    rows, columns = min(block, pixels.shape[0]), min(block, pixels.shape[1])
    return (
        _holds_block(pixels, rows, columns)
        or _holds_block(pixels[:1], 1, columns)  # on the border a run is enough
        or _holds_block(pixels[-1:], 1, columns)
        or _holds_block(pixels[:, :1], rows, 1)
        or _holds_block(pixels[:, -1:], rows, 1)
    )


@exact_kernel
def _holds_block(pixels: NDArray[np.floating], rows: int, columns: int) -> bool:
    for y in range(0, pixels.shape[0] - rows + 1, rows):
        for x in range(0, pixels.shape[1] - columns + 1, columns):
            block = pixels[y : y + rows, x : x + columns]
            # Two opposite corners rule out most blocks, also where noise in steps is full of single zeros.
            if block[0, 0] == 0 and block[-1, -1] == 0 and np.all(block == 0):
                return True
    return False
