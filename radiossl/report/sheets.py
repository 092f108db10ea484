"""Pictures of cutouts: brightness stretches, contact sheets, and galleries of a page."""

from __future__ import annotations

import base64
import io
import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiossl.io.errors import RadiosslError, check_choice
from radiossl.io.files import PathLike, atomic_file
from radiossl.io.replacing import OURS, check_replaceable
from radiossl.report.figures import new_figure, shorten
from radiossl.store.cutout import Beam
from radiossl.store.statistics import MAD_TO_SIGMA

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from radiossl.store.store import CutoutStore

Stretch = Literal["zscale", "asinh", "log", "minmax"]
STRETCHES: tuple[Stretch, ...] = get_args(Stretch)
#: Of all pictures unless another is asked for: structure in bright sources and faint emission are both seen.
STRETCH: Stretch = "asinh"

#: Blank pixels; inferno, the default colour map, holds no grey.
BLANK_COLOUR = (140, 140, 140)
COLOUR_MAP = "inferno"
QUERY_COLOUR = "#0072B2"
#: Of letters on sheets, whose paper is clear: as far from white as from a dark page (contrast 4.2).
_INK = "#7b7b7b"

#: Pictures in a row of a sheet or gallery.
COLUMNS = 6

_FONT_POINTS = 6.5
_LINE_INCHES = 1.3 * _FONT_POINTS / 72
_CHARACTER_INCHES = 0.56 * _FONT_POINTS / 72
_CAPTION_LINES = 3
_GAP_INCHES = 0.08
#: Degrees, minutes and seconds of arc.
_UNITS = ((3600.0, "°"), (60.0, "′"), (1.0, "″"))


@dataclass(frozen=True)
class Picture:
    """An image to show, with what is known of it."""

    image: ArrayLike  # see `as_rgb`
    caption: str = ""  # its first line is what counts most, such as rank and similarity
    pixel_arcsec: float = math.nan  # for the scale bar; NaN if unknown
    beam: Beam | None = None  # for its ellipse, if known
    framed: bool = False  # as a query is; a framed picture after others begins a new row

    @property
    def scale_text(self) -> str:
        """Pixel scale and beam in words; empty if unknown."""
        known = [f"{self.pixel_arcsec:.3g}″ per pixel"] if math.isfinite(self.pixel_arcsec) else []
        if self.beam is not None:
            known.append(f"beam {self.beam.major_arcsec:.3g}″ × {self.beam.minor_arcsec:.3g}″")
        return ", ".join(known)

    def scale_bar(self, width_px: int) -> tuple[float, str] | None:
        """Length in pixels of a bar of a round angle, at most a third of the width, and that angle; None if unknown."""
        if not (math.isfinite(self.pixel_arcsec) and self.pixel_arcsec > 0):
            return None
        most = self.pixel_arcsec * width_px / 3
        unit, sign = next(((unit, sign) for unit, sign in _UNITS if most >= unit), _UNITS[-1])
        decade = 10.0 ** math.floor(math.log10(most / unit))
        angle = next(step * decade for step in (5, 2, 1) if step * decade <= most / unit * (1 + 1e-9))
        return angle * unit / self.pixel_arcsec, f"{angle:g}{sign}"


def cutout_pictures(cutouts: CutoutStore, captions: Sequence[str], field_px: int | None = None) -> list[Picture]:
    """Return the cutouts of a store as pictures, the central `field_px` alone if given, as the backbone saw them."""
    return [
        Picture(central_pixels(cutout.pixels, field_px), caption, cutout.pixel_scale_arcsec or math.nan, cutout.beam)
        for cutout, caption in zip(cutouts, captions, strict=True)
    ]


def central_pixels(pixels: NDArray[np.float32], side: int | None) -> NDArray[np.float32]:
    """The central `side` x `side` pixels of an image, or all of it where it is smaller or `side` is None."""
    if side is None:
        return pixels
    top, left = (max(0, (length - side) // 2) for length in pixels.shape)
    return pixels[top : top + side, left : left + side]


def begins_row(pictures: Sequence[Picture], number: int) -> bool:
    """Whether a picture is the first framed one after others, which begins a new row."""
    return pictures[number].framed and number > 0 and not pictures[number - 1].framed


def stretch(pixels: ArrayLike, how: Stretch = STRETCH) -> NDArray[np.float64]:
    """Map the brightness of an image of any shape to [0, 1] for display; blank pixels are NaN, a constant image is 0.

    ``zscale``: linear between the limits of astropy's `ZScaleInterval`, for noise and faint emission. ``asinh``: from
    one sigma below the background to the maximum, linear near the noise, logarithmic above. ``log``: logarithmic over a
    factor of 1000 from the background to the maximum. ``minmax``: linear between the extremes.
    """
    check_choice("--stretch", how, STRETCHES)
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
    image: ArrayLike, *, how: Stretch = STRETCH, colour_map: str = COLOUR_MAP, strips: bool = False
) -> NDArray[np.uint8]:
    """Colour an image for display, shape (H, W, 3); blank pixels are grey, and the order of rows is kept.

    One of shape (H, W) or (1, H, W) in brightness units is stretched; one of (3, H, W) in [0, 1] is not. With `strips`
    the three channels stand side by side through the colour map, shape (H, 3 W + gaps, 3), instead of as red, green and
    blue.
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


def image_grid(
    images: Sequence[Picture | ArrayLike],
    captions: Sequence[str] | None = None,
    *,
    out: PathLike,
    columns: int = COLUMNS,
    title: str | None = None,
    how: Stretch = STRETCH,
    colour_map: str = COLOUR_MAP,
    strips: bool = False,
    cell_inches: float = 1.4,
) -> None:
    """Draw a contact sheet as PNG, first row of pixels at the bottom (FITS row order), with scale bars and beams.

    Images, as in `as_rgb`, may differ in size: each is fitted into its cell with square pixels. They have one caption
    each unless they are pictures; long ones are wrapped, then shortened. A cell is drawn at 150 dots per inch.
    """
    check_replaceable(out, OURS, "contact sheet of radiossl")
    if len(images) == 0:
        raise RadiosslError(f"{out}: no image to draw")
    captions = [""] * len(images) if captions is None else captions
    if len(captions) != len(images):
        raise RadiosslError(f"{out}: {len(captions)} captions for {len(images)} images")
    each = zip(images, captions, strict=True)
    pictures = [one if isinstance(one, Picture) else Picture(one, caption) for one, caption in each]
    rows: list[list[Picture]] = []
    for number, picture in enumerate(pictures):
        if not rows or len(rows[-1]) == columns or begins_row(pictures, number):
            rows.append([])
        rows[-1].append(picture)
    width = cell_inches * (3 if strips else 1)
    lines = [[_caption_lines(picture.caption, width) for picture in row] for row in rows]
    heights = [cell_inches + 1.5 * _GAP_INCHES + _LINE_INCHES * max(map(len, row)) for row in lines]
    tops = _GAP_INCHES + np.cumsum([0.0, *heights])
    sheet = _Sheet(max(map(len, rows)) * (width + _GAP_INCHES) + _GAP_INCHES, float(tops[-1]), title)
    for row, captioned, top in zip(rows, lines, tops.tolist(), strict=False):
        for column, (picture, caption) in enumerate(zip(row, captioned, strict=True)):
            rgb = as_rgb(picture.image, how=how, colour_map=colour_map, strips=strips)
            left = _GAP_INCHES + column * (width + _GAP_INCHES)
            sheet.draw(picture, rgb, left, top, width, cell_inches)
            if caption:
                below = (left + width / 2, top + cell_inches + 0.06)
                sheet.write("\n".join(caption), *below, linespacing=1.15)
    sheet.save(out)


def _caption_lines(caption: str, width_inches: float) -> list[str]:
    """Wrap a caption to a cell's width and at most `_CAPTION_LINES` lines."""
    width = max(4, int(width_inches / _CHARACTER_INCHES))
    lines = [part for line in str(caption).splitlines() for part in textwrap.wrap(line, width)]
    if len(lines) > _CAPTION_LINES:
        lines = [*lines[: _CAPTION_LINES - 1], lines[_CAPTION_LINES - 1][: width - 1] + "…"]
    return lines


class _Sheet:
    """A figure measured in inches from its top left corner.

    All images share one `Axes`: one for each would take most of the time of a large sheet.
    """

    def __init__(self, width: float, height: float, title: str | None) -> None:
        room = 0.3 if title else 0.0
        self.figure = new_figure(width, height + room, layout=None)
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.extent = (0.0, width, height, -room)  # y grows downwards
        if title:
            title = shorten(title, int(0.7 * width / _CHARACTER_INCHES))
            self.write(title, _GAP_INCHES, -room + 0.1, size=9, ha="left")

    def write(self, text: str, x: float, y: float, **style: Any) -> None:
        style = {"ha": "center", "va": "top", "size": _FONT_POINTS, "color": _INK, **style}
        # parse_math is off because a "$" in a catalogue is no formula.
        self.axes.text(x, y, text, parse_math=False, **style)

    def draw(
        self, picture: Picture, rgb: NDArray[np.uint8], left: float, top: float, width: float, height: float
    ) -> None:
        """Fit a coloured picture into a cell, pixels square, with its scale bar, beam and frame."""
        from matplotlib.patches import Ellipse, Rectangle
        from matplotlib.patheffects import withStroke

        scale = min(width / rgb.shape[1], height / rgb.shape[0])
        drawn_width, drawn_height = scale * rgb.shape[1], scale * rgb.shape[0]
        x, y = left + (width - drawn_width) / 2, top + (height - drawn_height) / 2
        right, bottom = x + drawn_width, y + drawn_height
        # extent is (left, right, bottom, top): with origin "lower" the first row of pixels lies at the bottom.
        self.axes.imshow(rgb, origin="lower", extent=(x, right, bottom, y), aspect="auto")
        style: dict[str, Any]
        halo = [withStroke(linewidth=1.6, foreground="black")]
        if (bar := picture.scale_bar(rgb.shape[1])) is not None:
            end = right - 0.06
            self.axes.plot([end - bar[0] * scale, end], [bottom - 0.06] * 2, color="white", lw=1, path_effects=halo)
            style = {"ha": "right", "va": "bottom", "color": "white", "path_effects": halo}
            self.write(bar[1], end, bottom - 0.08, **style)
        if picture.beam is not None and picture.pixel_arcsec > 0:
            inches = scale / picture.pixel_arcsec
            major, minor = picture.beam.major_arcsec * inches, picture.beam.minor_arcsec * inches
            centre = (x + 0.06 + major / 2, bottom - 0.06 - major / 2)
            # y grows downwards, so that an angle from north through east, which is left, is negative.
            style = {"facecolor": "white", "edgecolor": "black", "linewidth": 0.5, "zorder": 3}
            self.axes.add_patch(Ellipse(centre, minor, major, angle=-picture.beam.pa_deg, **style))
        if picture.framed:
            pad = 0.02
            style = {"fill": False, "edgecolor": QUERY_COLOUR, "linewidth": 2.0}
            self.axes.add_patch(Rectangle((left - pad, top - pad), width + 2 * pad, height + 2 * pad, **style))

    def save(self, out: PathLike) -> None:
        self.axes.set_xlim(*self.extent[:2])
        self.axes.set_ylim(*self.extent[2:])
        with atomic_file(out) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing")  # drawn as a box, which says enough
            paper: dict[str, Any] = {"facecolor": "none", "metadata": {"Software": OURS}}
            self.figure.savefig(temporary, format="png", pil_kwargs={"compress_level": 4}, **paper)


#: Longest side of a picture in pixels; larger ones are averaged.
_MOST_PX = 400

DIALOG = """<dialog id="enlarged" aria-label="Enlarged picture"><div></div><p></p><form method="dialog">
<button type="button" value="-1">Previous</button><button type="button" value="1">Next</button><button>Close</button>
</form></dialog>
"""
SCRIPT = Path(__file__).with_name("gallery.js").read_text(encoding="utf-8")


def gallery_html(pictures: Sequence[Picture]) -> str:
    """Return pictures as a grid of at most six in a row."""
    items = []
    for number, picture in enumerate(pictures):
        kinds = ["framed"] * picture.framed + ["first"] * begins_row(pictures, number)
        label = escape("Enlarge " + (" ".join(picture.caption.split()) or "picture"))
        items.append(
            f'<li class="{" ".join(kinds)}" data-scale="{escape(picture.scale_text)}"><button type="button"'
            f' aria-label="{label}">{_svg(picture)}</button><p>{escape(picture.caption)}</p></li>'
        )
    return f"<ul>{''.join(items)}</ul>"


def _svg(picture: Picture) -> str:
    """A picture, north up, with its scale bar and beam."""
    from PIL import Image

    rgb = as_rgb(picture.image)[::-1]
    height, width = rgb.shape[:2]
    image = Image.fromarray(rgb)
    image = image.reduce(max(1, -(-max(width, height) // _MOST_PX))).quantize(256, dither=Image.Dither.NONE)
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    marks = ""
    side = max(width, height)
    line, edge = side / 100, side / 25
    if (bar := picture.scale_bar(width)) is not None:
        end, y = width - edge, height - edge
        marks += (
            f'<path d="M{end - bar[0]:.2f} {y:.2f}H{end:.2f}" stroke="#000" stroke-width="{2 * line:.2f}"/>'
            f'<path d="M{end - bar[0]:.2f} {y:.2f}H{end:.2f}" stroke="#fff" stroke-width="{line:.2f}"/>'
            f'<text x="{end:.2f}" y="{y - 2 * line:.2f}" text-anchor="end" font-size="{side / 13:.2f}" fill="#fff"'
            f' stroke="#000" stroke-width="{line:.2f}" paint-order="stroke">{bar[1]}</text>'
        )
    if picture.beam is not None and picture.pixel_arcsec > 0:
        beam, double = picture.beam, 2 * picture.pixel_arcsec
        major, minor = beam.major_arcsec / double, beam.minor_arcsec / double
        x, y = edge + major, height - edge - major
        marks += (
            f'<ellipse cx="{x:.2f}" cy="{y:.2f}" rx="{minor:.2f}" ry="{major:.2f}" fill="#fff" stroke="#000"'
            f' stroke-width="{line / 2:.2f}" transform="rotate({-picture.beam.pa_deg:.1f} {x:.2f} {y:.2f})"/>'
        )
    return (
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true"><image width="{width}" height="{height}"'
        f' href="{source}"/>{marks}</svg>'
    )
