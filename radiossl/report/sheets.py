"""Pictures of cutouts: brightness stretches, contact sheets and galleries of neighbours."""

from __future__ import annotations

import math
import os
import textwrap
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file
from radiossl.report.figures import shorten
from radiossl.store.statistics import MAD_TO_SIGMA

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Stretch = Literal["zscale", "asinh", "log", "minmax"]
STRETCHES: tuple[Stretch, ...] = get_args(Stretch)

#: Blank pixels; inferno, the default colour map, holds no grey.
BLANK_COLOUR = (140, 140, 140)
COLOUR_MAP = "inferno"
QUERY_COLOUR = "#0072B2"

_DPI = 150
_FONT_POINTS = 6.5
_LINE_INCHES = 1.3 * _FONT_POINTS / 72
_CHARACTER_INCHES = 0.56 * _FONT_POINTS / 72
_CAPTION_LINES = 3
_GAP_INCHES = 0.08


class Picture(NamedTuple):
    """An image and what to write under it."""

    image: ArrayLike
    caption: str = ""


class Neighbour(NamedTuple):
    """An image found by a search, its score, and what to write under it (its position on the sky, say)."""

    image: ArrayLike
    score: float
    caption: str = ""


# Brightness -----------------------------------------------------------------------------------------------------------


def stretch(pixels: ArrayLike, how: Stretch = "zscale") -> NDArray[np.float64]:
    """Map brightness to [0, 1] for display.

    Parameters
    ----------
    pixels
        Image of any shape; non-finite pixels are blank.
    how
        ``zscale``: linear between the limits of astropy's `ZScaleInterval`, for noise and faint emission.
        ``asinh``: from one sigma below the background to the maximum, linear near the noise, logarithmic above.
        ``log``: logarithmic over a factor of 1000 from the background to the maximum.
        ``minmax``: linear between the extremes.

    Returns
    -------
    array of the same shape
        Blank pixels stay NaN. A constant image is 0.
    """
    if how not in STRETCHES:
        raise RadiosslError(f"stretch {how!r} is unknown; there are {', '.join(STRETCHES)}")
    image = np.array(pixels, dtype=np.float64)
    image[~np.isfinite(image)] = np.nan
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return image
    if finite.min() == finite.max():
        return np.where(np.isnan(image), np.nan, 0.0)
    largest = np.abs(finite).max()  # brought to 1, so that no difference of huge values overflows
    image, finite = image / largest, finite / largest
    low, high = _limits(finite, how)
    scaled = np.clip((image - low) / (high - low), 0.0, 1.0)
    if how == "log":
        return np.log1p(1000 * scaled) / math.log1p(1000)
    if how == "asinh":
        softening = max(3 * _noise(finite) / (high - low), 1e-3)
        return np.arcsinh(scaled / softening) / math.asinh(1 / softening)
    return scaled


def _limits(finite: NDArray[np.float64], how: Stretch) -> tuple[float, float]:
    """What `stretch` maps to 0 and to 1 in an image that is not constant, never outside its own extremes."""
    minimum, maximum = float(finite.min()), float(finite.max())
    low, high = minimum, maximum
    if how == "asinh":
        low = max(minimum, float(np.median(finite)) - _noise(finite))
    elif how == "log":
        low = float(np.median(finite))
    elif how == "zscale":
        from astropy.visualization import ZScaleInterval

        limits = ZScaleInterval().get_limits(finite)
        low, high = max(minimum, float(limits[0])), min(maximum, float(limits[1]))
    # Equal where most pixels have one value, as in 8-bit images with a black sky.
    return (low, high) if high > low else (minimum, maximum)


def _noise(finite: NDArray[np.float64]) -> float:
    """Standard deviation of the noise from the median absolute deviation."""
    return MAD_TO_SIGMA * float(np.median(np.abs(finite - np.median(finite))))


def as_rgb(
    image: ArrayLike, *, how: Stretch = "zscale", colour_map: str = COLOUR_MAP, strips: bool = False
) -> NDArray[np.uint8]:
    """Colour an image for display.

    Parameters
    ----------
    image
        Shape (H, W) or (1, H, W) in brightness units, which is stretched; or (3, H, W) in [0, 1], which is not.
    how
        See `stretch`.
    colour_map
        Matplotlib name.
    strips
        Show the three channels side by side through the colour map instead of as red, green and blue.

    Returns
    -------
    array
        Shape (H, W, 3), or (H, 3 W + gaps, 3) with `strips`; blank pixels are grey. Row order is kept.
    """
    array = np.asarray(image, dtype=np.float64)
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        return _coloured(stretch(array, how), colour_map)
    if array.ndim != 3 or array.shape[0] != 3:
        raise RadiosslError(f"an image of shape {array.shape} cannot be drawn; expected (H, W), (1, H, W) or (3, H, W)")
    if strips:
        gap = np.full((array.shape[1], max(1, array.shape[2] // 40), 3), 255, np.uint8)
        first, second, third = (_coloured(channel, colour_map) for channel in array)
        return np.concatenate([first, gap, second, gap, third], axis=1)
    blank = ~np.isfinite(array).all(axis=0)
    rgb = np.rint(255 * np.clip(np.where(blank, 0.0, array), 0.0, 1.0)).astype(np.uint8)
    rgb[:, blank] = np.array(BLANK_COLOUR, np.uint8)[:, None]
    return np.moveaxis(rgb, 0, -1)


def _coloured(unit: NDArray[np.float64], colour_map: str) -> NDArray[np.uint8]:
    import matplotlib

    rgb: NDArray[np.uint8] = matplotlib.colormaps[colour_map](unit, bytes=True)[..., :3]
    rgb[~np.isfinite(unit)] = BLANK_COLOUR
    return rgb


# Sheets ---------------------------------------------------------------------------------------------------------------


def image_grid(
    images: Sequence[ArrayLike],
    captions: Sequence[str] | None = None,
    *,
    out: str | os.PathLike[str],
    columns: int | None = None,
    title: str | None = None,
    how: Stretch = "zscale",
    colour_map: str = COLOUR_MAP,
    strips: bool = False,
    cell_inches: float = 1.4,
) -> None:
    """Draw a contact sheet as PNG, first row of pixels at the bottom (FITS row order).

    Parameters
    ----------
    images
        See `as_rgb`; they may differ in size, each is fitted into its cell with square pixels.
    captions
        One per image; long ones are wrapped, then shortened.
    out
        PNG file to write.
    columns
        Images in a row; by default the sheet is a little wider than high, at most 12 columns.
    title
        Above the sheet.
    how, colour_map, strips
        See `as_rgb`.
    cell_inches
        Side of a cell, at 150 dots per inch.
    """
    if len(images) == 0:
        raise RadiosslError(f"{out}: no image to draw")
    if captions is not None and len(captions) != len(images):
        raise RadiosslError(f"{out}: {len(captions)} captions for {len(images)} images")
    if columns is None:
        columns = min(12, math.ceil(math.sqrt(1.3 * len(images))))
    columns = max(1, min(columns, len(images)))
    width = cell_inches * (3 if strips else 1)
    lines = [_caption_lines(caption, width) for caption in captions or [""] * len(images)]
    tops, height = _row_tops([lines[start : start + columns] for start in range(0, len(lines), columns)], cell_inches)
    sheet = _Sheet(columns * (width + _GAP_INCHES) + _GAP_INCHES, height, title)
    for index, (image, caption) in enumerate(zip(images, lines, strict=True)):
        row, column = divmod(index, columns)
        rgb = as_rgb(image, how=how, colour_map=colour_map, strips=strips)
        sheet.draw(rgb, _GAP_INCHES + column * (width + _GAP_INCHES), tops[row], width, cell_inches, caption)
    sheet.save(out)


def neighbour_gallery(
    queries: Sequence[Picture | tuple[ArrayLike, str]],
    neighbours: Sequence[Sequence[Neighbour | tuple[ArrayLike, float, str]]],
    *,
    out: str | os.PathLike[str],
    title: str | None = None,
    score_name: str = "similarity",
    descending: bool = True,
    how: Stretch = "zscale",
    colour_map: str = COLOUR_MAP,
    cell_inches: float = 1.4,
) -> None:
    """Draw queries and what was found for them, one row each: the framed query, then its neighbours, best first.

    Parameters
    ----------
    queries
        Images with captions.
    neighbours
        For every query its neighbours; they are put in order here.
    out
        PNG file to write.
    title
        Above the gallery.
    score_name
        What the scores are, written above the neighbours.
    descending
        The highest score is the best; set to false for distances. Scores that are NaN come last.
    how, colour_map
        See `as_rgb`.
    cell_inches
        Side of an image, at 150 dots per inch.
    """
    if len(queries) == 0:
        raise RadiosslError(f"{out}: no query to draw")
    if len(neighbours) != len(queries):
        raise RadiosslError(f"{out}: {len(neighbours)} lists of neighbours for {len(queries)} queries")
    ranked = [sorted(row, key=lambda found: _rank(found[1], descending)) for row in neighbours]
    cells = [
        [(image, _caption_lines(caption, cell_inches))]
        + [(found, _caption_lines(f"{score:.3f}\n{text}", cell_inches)) for found, score, text in row]
        for (image, caption), row in zip(queries, ranked, strict=True)
    ]
    step = cell_inches + _GAP_INCHES
    divide = 3 * _GAP_INCHES  # between a query and its neighbours
    tops, height = _row_tops([[lines for _, lines in row] for row in cells], cell_inches, _LINE_INCHES + _GAP_INCHES)
    columns = max(map(len, cells))
    left_edges = [2 * _GAP_INCHES, *(2 * _GAP_INCHES + divide + step * column for column in range(1, columns))]
    sheet = _Sheet(left_edges[-1] + step + _GAP_INCHES, height, title)
    sheet.write("query", left_edges[0] + cell_inches / 2, _GAP_INCHES, weight="bold", color=QUERY_COLOUR)
    if columns > 1:
        order = f"by {score_name}, {'highest' if descending else 'lowest'} first"
        sheet.write(order, left_edges[1], _GAP_INCHES, ha="left", color="0.35")
    for top, row in zip(tops, cells, strict=True):
        for left, (picture, lines) in zip(left_edges, row, strict=False):
            rgb = as_rgb(picture, how=how, colour_map=colour_map)
            sheet.draw(rgb, left, top, cell_inches, cell_inches, lines)
        sheet.frame(left_edges[0], top, cell_inches, cell_inches)
    sheet.save(out)


def _rank(score: float, descending: bool) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(score) else (False, -score if descending else score)


def _caption_lines(caption: str, width_inches: float) -> list[str]:
    """Wrap a caption to a cell's width and at most `_CAPTION_LINES` lines."""
    width = max(4, int(width_inches / _CHARACTER_INCHES))
    lines = [part for line in str(caption).splitlines() for part in textwrap.wrap(line, width)]
    if len(lines) > _CAPTION_LINES:
        lines = [*lines[: _CAPTION_LINES - 1], lines[_CAPTION_LINES - 1][: width - 1] + "…"]
    return lines


def _row_tops(rows: Sequence[Sequence[list[str]]], cell: float, header: float = 0.0) -> tuple[list[float], float]:
    """Where each row of cells begins below `header`, given their caption lines, and the height of it all, in inches."""
    heights = [cell + 1.5 * _GAP_INCHES + _LINE_INCHES * max(map(len, row)) for row in rows]
    edges = header + _GAP_INCHES + np.cumsum([0.0, *heights])
    return edges[:-1].tolist(), float(edges[-1])


class _Sheet:
    """A figure measured in inches from its top left corner.

    All images share one `Axes`: one for each would take most of the time of a large sheet.
    """

    def __init__(self, width: float, height: float, title: str | None) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        room = 0.3 if title else 0.0
        self.figure: Figure = Figure(figsize=(width, height + room), dpi=_DPI, facecolor="white")
        FigureCanvasAgg(self.figure)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.extent = (0.0, width, height, -room)  # y grows downwards
        if title:
            self.write(
                shorten(title, int(0.7 * width / _CHARACTER_INCHES)), _GAP_INCHES, -room + 0.1, size=9, ha="left"
            )

    def write(self, text: str, x: float, y: float, **style: Any) -> None:
        style = {"ha": "center", "va": "top", "size": _FONT_POINTS, "color": "0.1", **style}
        # parse_math is off because a "$" in a catalogue is no formula.
        self.axes.text(x, y, text, parse_math=False, **style)

    def draw(
        self, rgb: NDArray[np.uint8], left: float, top: float, width: float, height: float, caption: list[str]
    ) -> None:
        """Fit an image into a cell, pixels square, and write its caption below the cell."""
        scale = min(width / rgb.shape[1], height / rgb.shape[0])
        drawn_width, drawn_height = scale * rgb.shape[1], scale * rgb.shape[0]
        x, y = left + (width - drawn_width) / 2, top + (height - drawn_height) / 2
        # extent is (left, right, bottom, top): with origin "lower" the first row of pixels lies at the bottom.
        self.axes.imshow(rgb, origin="lower", extent=(x, x + drawn_width, y + drawn_height, y), aspect="auto")
        if caption:
            self.write("\n".join(caption), left + width / 2, top + height + 0.06, linespacing=1.15)

    def frame(self, left: float, top: float, width: float, height: float) -> None:
        from matplotlib.patches import Rectangle

        pad = 0.02
        style: dict[str, Any] = {"fill": False, "edgecolor": QUERY_COLOUR, "linewidth": 2.0}
        self.axes.add_patch(Rectangle((left - pad, top - pad), width + 2 * pad, height + 2 * pad, **style))

    def save(self, out: str | os.PathLike[str]) -> None:
        self.axes.set_xlim(*self.extent[:2])
        self.axes.set_ylim(*self.extent[2:])
        with atomic_file(out) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # drawn as a box, which says enough
            self.figure.savefig(temporary, format="png", pil_kwargs={"compress_level": 4})
