"""Colours of the map: of each point for few sources, of each pixel for many."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.maps.colours import ClassColours, NumberColours
from radiossl.report.html import format_value

Colours = NumberColours | ClassColours | None
Limits = tuple[float, float, float, float]

_COLOUR_MAP = "viridis"
_DIMMED = 0.13
_SHADES = 256
#: Points are drawn as discs of so many pixels beyond their own.
_DISC = 1


@dataclass(frozen=True)
class Theme:
    """What differs between a dark and a light page.

    Attributes
    ----------
    name
        ``dark`` or ``light``.
    plain
        Colour of points that are not coloured by a column.
    unknown
        Colour of points whose value is missing.
    span
        The part of the colour map that stands out from the page, 0 to 1.
    black
        What stands for black, which is a class's colour.
    """

    name: str
    plain: str
    unknown: str
    span: tuple[float, float]
    black: str

    def shades(self) -> NDArray[np.uint8]:
        """Return the colours of numbers, from low to high, shape (256, 3)."""
        from matplotlib import colormaps

        return np.asarray(colormaps[_COLOUR_MAP](np.linspace(*self.span, _SHADES), bytes=True))[:, :3]

    def classes(self, colours: ClassColours) -> list[str]:
        """Return the colour of each class."""
        return [self.black if colour == "#000000" else colour for colour in colours.colours]


DARK = Theme("dark", "#5aa9e6", "#59626c", (0.2, 1.0), "#ffffff")
LIGHT = Theme("light", "#2a6db0", "#c4c9ce", (0.0, 0.88), "#000000")


def point_colours(colours: Colours, count: int, theme: Theme, shown: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Return the colour of every point, shape (count, 4), red, green, blue, alpha; dimmed where it is not `shown`."""
    if colours is None:
        rgb = np.tile(_rgb([theme.plain]), (count, 1))
    elif isinstance(colours, ClassColours):
        rgb = _rgb([*theme.classes(colours), theme.unknown])[colours.codes]  # unknown is -1, the last
    else:
        known = np.isfinite(colours.values)
        places = np.where(known, _places(colours), 0)
        rgb = np.where(known[:, None], theme.shades()[places], _rgb([theme.unknown]))
    alpha = np.full(count, 220) if shown is None else np.where(shown, 255, round(255 * _DIMMED))
    return np.column_stack([rgb, alpha]).astype(np.uint8)


def draw_raster(
    coordinates: NDArray[np.floating],
    colours: Colours,
    theme: Theme,
    limits: Limits,
    size: tuple[int, int],
    shown: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Draw many sources: their number in each pixel, the mean of their values, or a blend of their classes.

    Parameters
    ----------
    coordinates
        Shape (n, 2).
    colours
        How they are coloured; None for their number.
    theme
        Of the page.
    limits
        Left, right, bottom, top.
    size
        Width and height in pixels.
    shown
        All others are dimmed, shape (n,); None shows all.

    Returns
    -------
    array
        Shape (height, width, 4), the lowest row first; transparent where there is no source.
    """
    frame = pd.DataFrame({"x": coordinates[:, 0], "y": coordinates[:, 1]})
    if isinstance(colours, NumberColours):
        frame["value"] = colours.values
    elif isinstance(colours, ClassColours):
        names = [*map(str, range(len(colours.names))), "unknown"]
        frame["class"] = pd.Categorical.from_codes(np.where(colours.codes < 0, len(names) - 1, colours.codes), names)
    if shown is None:
        return _drawn(frame, colours, theme, limits, size)
    back, front = (_drawn(frame[part], colours, theme, limits, size) for part in (~shown, shown))
    back[..., 3] = np.rint(back[..., 3] * _DIMMED)
    return np.where(front[..., 3:] > 0, front, back)


def _drawn(
    frame: pd.DataFrame,
    colours: Colours,
    theme: Theme,
    limits: Limits,
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    import datashader as ds
    from datashader import transfer_functions as tf

    canvas = ds.Canvas(*size, x_range=limits[:2], y_range=limits[2:])
    image: Any
    if not len(frame):
        return np.zeros((size[1], size[0], 4), np.uint8)
    if colours is None:
        image = tf.shade(canvas.points(frame, "x", "y", ds.count()), cmap=theme.plain, how="log", min_alpha=140)
    elif isinstance(colours, ClassColours):
        counts = canvas.points(frame, "x", "y", ds.by("class", ds.count()))
        key = dict(zip(map(str, range(len(colours.names))), theme.classes(colours), strict=True))
        image = tf.shade(counts, color_key=key | {"unknown": theme.unknown}, how="log", min_alpha=110)
    else:
        means = canvas.points(frame, "x", "y", ds.mean("value"))
        how = "log" if colours.logarithmic else "linear"
        shades = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in theme.shades()]
        image = tf.shade(means, cmap=shades, how=how, span=(colours.low, colours.high))
        unknown = canvas.points(frame[frame["value"].isna()], "x", "y", ds.count())
        image = tf.stack(tf.shade(unknown, cmap=theme.unknown, how="linear"), image)
    # Single sources stay visible where there are few, without swelling crowds.
    image = tf.dynspread(image, threshold=0.6, max_px=2 + _DISC)
    return image.to_numpy().view(np.uint8).reshape(*image.shape, 4)


def legend_html(colours: Colours, name: str, label: str, count: int, theme: Theme) -> str:
    """Return what the colours mean: the classes with their counts, or a bar for the numbers of a column.

    Parameters
    ----------
    colours : NumberColours, ClassColours or None
        None for the number of sources.
    name, label : str
        Of the column; the label has its unit.
    count : int
        Number of sources.
    theme : Theme
        Of the page.
    """
    if colours is None:
        return f'<div class="rs-legend"><span>{count:,} sources</span></div>'
    if isinstance(colours, ClassColours):
        counts = np.bincount(colours.codes + 1, minlength=len(colours.names) + 1)
        entries = list(zip(theme.classes(colours), colours.names, counts[1:], strict=True))
        entries += [(theme.unknown, "unknown", counts[0])] if counts[0] else []
        swatches = "".join(
            f'<span><i style="background:{colour}"></i>{escape(text)} <small>{number:,}</small></span>'
            for colour, text, number in entries
        )
        return f'<div class="rs-legend">{swatches}</div>'
    bar = ", ".join(f"rgb({red},{green},{blue})" for red, green, blue in theme.shades()[::15])
    ticks = (np.geomspace if colours.logarithmic else np.linspace)(colours.low, colours.high, 3)
    ramp = f'<i style="background:linear-gradient(90deg, {bar})"></i>'
    numbers = "".join(f"<span>{escape(format_value(float(tick), name))}</span>" for tick in ticks)
    scale = " · logarithmic" if colours.logarithmic else ""
    return (
        f'<div class="rs-legend"><span class="rs-scale">{ramp}{numbers}</span>'
        f"<span>{escape(label)}<small>{scale}</small></span></div>"
    )


def _places(colours: NumberColours) -> NDArray[np.int64]:
    """Where each value lies among the shades."""
    low, high, values = colours.low, colours.high, colours.values
    if colours.logarithmic:
        low, high, values = np.log(low), np.log(high), np.log(values)
    unit = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    return np.nan_to_num(np.clip(np.rint(unit * (_SHADES - 1)), 0, _SHADES - 1)).astype(np.int64)


def _rgb(colours: list[str]) -> NDArray[np.uint8]:
    return np.array([[int(colour[start : start + 2], 16) for start in (1, 3, 5)] for colour in colours], np.uint8)
