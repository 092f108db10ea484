"""Figures of a map of features: points, or what falls into a pixel, coloured by a column; cutouts at their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.files import PathLike, one_or_more
from radiossl.report.figures import CLASS_COLOURS, FONT, drawn_axes, plain_numbers, shorten
from radiossl.report.sheets import as_rgb, central_pixels
from radiossl.store.store import CutoutStore

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Of matplotlib, for numbers.
COLOUR_MAP = "viridis"
#: Integers with at most this many different values are classes.
_INTEGER_CLASSES = 12
#: Percentiles between which numbers are coloured, and the ratio of these from which on the scale is logarithmic.
_ROBUST, _DECADES = (1.0, 99.0), 5.0


#: What can be coloured: numbers, truth values and text.
_COLOURED = (
    *(pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary),
)


@dataclass(frozen=True)
class NumberColours:
    """How a column of numbers is coloured."""

    values: NDArray[np.float64]  # shape (n,), NaN where unknown
    low: float  # what the lower end of the colours stands for
    high: float
    logarithmic: bool  # only if all values are positive


@dataclass(frozen=True)
class ClassColours:
    """How a column of classes is coloured."""

    codes: NDArray[np.int64]  # index into `names`, shape (n,); -1 where unknown
    names: tuple[str, ...]  # the last may gather the rarest classes
    colours: tuple[str, ...]  # one for each name


def column_colours(table: FeatureTable, name: str, most: int = 16) -> NumberColours | ClassColours:
    """Decide how a column is coloured.

    Text, truth values and integers with at most 12 different values are classes: colours by Okabe & Ito (2008), or
    shades in order if they are consecutive integers such as a score. The `most` most frequent classes get a colour of
    their own; all rarer ones share grey. Everything else is numbers: from the 1st to the 99th percentile, logarithmic
    if all are positive and these differ by more than a factor of 5.
    """
    series = pd.Series(table.column(name))
    kind = table.columns.schema.field(name).type
    if series.isna().all():
        raise RadiosslError(f"--colour {name}: the column has no value")
    if not any(test(kind) for test in _COLOURED):
        raise RadiosslError(f"--colour {name}: a column of {kind} cannot be coloured; expected numbers or classes")
    different = series.dropna().unique()
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and len(different) > _INTEGER_CLASSES):
        values = series.to_numpy(dtype=float)
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise RadiosslError(f"--colour {name}: the column has no finite value")
        low, high = (float(limit) for limit in np.percentile(finite, _ROBUST))
        logarithmic = bool(finite.min() > 0 and high > _DECADES * low)
        return NumberColours(np.where(np.isfinite(values), values, np.nan), low, high, logarithmic)
    whole = pa.types.is_integer(kind)
    order = np.sort(different.astype(np.int64)) if whole else np.array(sorted(different))
    codes, names = pd.Categorical(series, categories=order).codes.astype(np.int64), [str(value) for value in order]
    if whole and len(order) > 2 and (np.diff(order) == 1).all():
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        shades = [to_hex(colormaps[COLOUR_MAP](value)) for value in np.linspace(0, 0.95, len(order))]
        return ClassColours(codes, tuple(names), tuple(shades))
    return _gather_rare(codes, names, most)


def colour_scales(table: FeatureTable, names: Sequence[str]) -> dict[str, NumberColours | ClassColours]:
    """Return how each column is coloured, see `column_colours`; raise `RadiosslError` if one cannot be."""
    names = one_or_more(names)
    if taken := {"x", "y", "fitted"} & set(names):
        raise RadiosslError(f"--colour {taken.pop()}: map.parquet has its own column of that name")
    return {name: column_colours(table, name) for name in dict.fromkeys(names)}


def _gather_rare(codes: NDArray[np.int64], names: list[str], most: int) -> ClassColours:
    palette = [CLASS_COLOURS[index % len(CLASS_COLOURS)] for index in range(most)]
    if len(names) <= most:
        return ClassColours(codes, tuple(names), tuple(palette[: len(names)]))
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    kept = np.sort(np.argsort(-counts, kind="stable")[:most])
    new = np.full(len(names) + 1, most)
    new[kept] = np.arange(most)
    new[-1] = -1  # unknown stays unknown
    others = f"{counted(len(names) - most, 'other')}"
    return ClassColours(new[codes], (*(names[k] for k in kept), others), (*palette, "#8C8C8C"))


#: With more sources, a raster is drawn instead of one point for each source.
RASTER_ABOVE = 50_000

_MARKERS = "o^"
_UNKNOWN = "#C8C8C8"
#: Of a map and of a page, in inches.
_WIDTH, _WIDTH_TO_HEIGHT, _PAGE = 6.2, 1.2, 10.0
_THUMBNAIL_COLUMNS, _THUMBNAIL_ROWS, _THUMBNAIL_PX = 24, 20, 72
#: Points beyond these are a picture inside of SVG and PDF files.
_VECTORS = 2000

#: Left, right, bottom and top of a map.
Limits = tuple[float, float, float, float]


def draw_map(
    coordinates: NDArray[np.floating],
    colours: NumberColours | ClassColours | None,
    *,
    out: PathLike,
    label: str,
    backdrop: NDArray[np.floating] | None = None,
    raster_above: int = RASTER_ABOVE,
) -> None:
    """Draw a map as PNG: points, or beyond `raster_above` sources the mean (or blend of classes) in each pixel.

    Coordinates have shape (n, 2); without colours the number of sources is drawn, as Clarke et al. (2020) do. `label`
    is that of the colour bar or legend; `backdrop`, shape (m, 2), has the sources of an existing map, drawn in pale
    grey below.
    """
    limits = map_limits(coordinates if backdrop is None else np.concatenate([coordinates, backdrop]))
    dense = len(coordinates) > raster_above
    with _map_axes(out, limits if dense or colours is not None else _room_for_cells(limits, len(coordinates))) as axes:
        if backdrop is not None:
            _draw_backdrop(axes, backdrop, "#E4E4E4")
        if colours is None:
            _draw_density(axes, coordinates, limits, dense)
        elif isinstance(colours, NumberColours):
            _draw_numbers(axes, coordinates, colours, limits, label, dense)
        else:
            _draw_classes(axes, coordinates, colours, limits, label, dense)


def map_limits(coordinates: NDArray[np.floating]) -> Limits:
    """Return (left, right, bottom, top) around the points, with one scale for both axes and the frame's proportions."""
    low, high = coordinates.min(axis=0).astype(float), coordinates.max(axis=0).astype(float)
    centre, half = (low + high) / 2, 0.52 * np.maximum(high - low, 1e-6)
    height = max(half[1], half[0] / _WIDTH_TO_HEIGHT)
    width = height * _WIDTH_TO_HEIGHT
    return float(centre[0] - width), float(centre[0] + width), float(centre[1] - height), float(centre[1] + height)


def thumbnail_cells(
    coordinates: NDArray[np.floating], limits: Limits, columns: int, rows: int
) -> dict[tuple[int, int], int]:
    """Choose the sources whose cutouts are drawn: in each cell of a grid over the map the one nearest to its centre.

    Returns the source by the (row, column) of the cell, counted from the lower left.
    """
    left, right, bottom, top = limits
    place = (coordinates - [left, bottom]) / [(right - left) / columns, (top - bottom) / rows]
    cell = np.clip(np.floor(place).astype(np.int64), 0, [columns - 1, rows - 1])
    off_centre = np.square(place - cell - 0.5).sum(axis=1)
    number = cell[:, 1] * columns + cell[:, 0]
    order = np.lexsort((off_centre, number))
    cells, first = np.unique(number[order], return_index=True)
    return {divmod(int(n), columns): int(order[i]) for n, i in zip(cells, first, strict=True)}


def draw_thumbnails(
    coordinates: NDArray[np.floating],
    cutout_ids: Sequence[str],
    store: CutoutStore,
    *,
    out: PathLike,
    field_px: int | None = None,
) -> None:
    """Draw cutouts where they lie on the map, at most half a cell of the grid away from their place, none over another.

    Of each the central `field_px` pixels are shown, as the backbone saw them.
    """
    limits = map_limits(coordinates)
    chosen = thumbnail_cells(coordinates, limits, _THUMBNAIL_COLUMNS, _THUMBNAIL_ROWS)
    cutouts = store.select_ids([cutout_ids[source] for source in chosen.values()])
    side = _THUMBNAIL_PX
    canvas = np.zeros((_THUMBNAIL_ROWS * side, _THUMBNAIL_COLUMNS * side, 4), np.uint8)
    for number, (row, column) in enumerate(chosen):
        image = _thumbnail(central_pixels(cutouts.pixels(number), field_px), side - 4)
        y, x = row * side + 2, column * side + 2
        canvas[y : y + image.shape[0], x : x + image.shape[1], :3] = image
        canvas[y : y + image.shape[0], x : x + image.shape[1], 3] = 255
    with _map_axes(out, limits, width=_THUMBNAIL_COLUMNS * side / 150 + 0.8) as axes:
        _draw_backdrop(axes, coordinates, _UNKNOWN)
        _show(axes, canvas, limits, interpolation="antialiased")


@contextmanager
def _map_axes(out: PathLike, limits: Limits, width: float = _WIDTH) -> Iterator[Axes]:
    with drawn_axes(out, width, width / _WIDTH_TO_HEIGHT) as axes:
        axes.set(xlim=limits[:2], ylim=limits[2:], box_aspect=1 / _WIDTH_TO_HEIGHT)
        size = FONT * max(1.0, width / _PAGE)  # a map that is wider than a page is shown as wide as that
        axes.tick_params(labelsize=size)
        axes.set_xlabel("map x", fontsize=size)
        axes.set_ylabel("map y", fontsize=size)
        yield axes
        axes.set(xlim=limits[:2], ylim=limits[2:])


def _draw_backdrop(axes: Axes, coordinates: NDArray[np.floating], colour: str) -> None:
    points = coordinates[:: max(1, -(-len(coordinates) // RASTER_ABOVE))]
    _draw_points(axes, points, _point_size(len(points)), color=colour, zorder=0)


def _draw_points(axes: Axes, points: NDArray[np.floating], size: float, **style: Any) -> Any:
    """Draw points, as a picture inside of vector files if there are many."""
    return axes.scatter(points[:, 0], points[:, 1], s=size, linewidths=0, rasterized=len(points) > _VECTORS, **style)


def _show(axes: Axes, image: NDArray[Any], limits: Limits, interpolation: str = "nearest", **style: Any) -> Any:
    return axes.imshow(image, origin="lower", extent=limits, aspect="auto", interpolation=interpolation, **style)


def _cells_across(sources: int) -> int:
    """Hexagons in a row of a map of how many sources lie where."""
    return int(np.clip(np.sqrt(sources) / 2, 12, 60))


def _room_for_cells(limits: Limits, sources: int) -> Limits:
    """The limits of a map, wider by a cell on each side: cells at its edge are not cut."""
    left, right, bottom, top = limits
    x, y = ((end - start) / _cells_across(sources) for start, end in ((left, right), (bottom, top)))
    return left - x, right + x, bottom - y, top + y


def _draw_density(axes: Axes, coordinates: NDArray[np.floating], limits: Limits, dense: bool) -> None:
    from matplotlib.colors import LogNorm

    if dense:
        counts = _raster(coordinates, limits, None)
        counts[counts == 0] = np.nan
        _colour_bar(axes, _show(axes, counts, limits, norm=LogNorm(vmin=1)), "sources in a pixel")
        return
    across = _cells_across(len(coordinates))
    grid = (across, max(1, round(across / _WIDTH_TO_HEIGHT / np.sqrt(3))))
    drawn = axes.hexbin(*coordinates.T, gridsize=grid, extent=limits, mincnt=1, bins="log", linewidths=0.1)
    _colour_bar(axes, drawn, "sources in a cell")


def _draw_numbers(
    axes: Axes, coordinates: NDArray[np.floating], colours: NumberColours, limits: Limits, label: str, dense: bool
) -> None:
    from matplotlib.colors import LogNorm, Normalize

    high = colours.high if colours.high > colours.low else colours.low + max(abs(colours.low) * 1e-6, 1e-12)
    norm = (LogNorm if colours.logarithmic else Normalize)(colours.low, high)
    known = np.isfinite(colours.values)
    drawn: Any
    if dense:
        means = _raster(coordinates[known], limits, colours.values[known])
        drawn = _show(axes, means, limits, norm=norm, cmap=COLOUR_MAP)
    else:
        _draw_points(axes, coordinates[~known], _point_size(len(coordinates)) / 2, color=_UNKNOWN)
        style = {"c": colours.values[known], "norm": norm, "cmap": COLOUR_MAP}
        drawn = _draw_points(axes, coordinates[known], _point_size(int(known.sum())), **style)
        if not known.all():
            _legend(axes, [("o", _UNKNOWN, f"unknown ({int((~known).sum()):,})")], "", inside=True)
    below, above = colours.values[known].min() < colours.low, colours.values[known].max() > high
    ends = ("both" if above else "min") if below else ("max" if above else "neither")
    _colour_bar(axes, drawn, f"mean of {label}" if dense else label, ends)


def _draw_classes(
    axes: Axes, coordinates: NDArray[np.floating], colours: ClassColours, limits: Limits, label: str, dense: bool
) -> None:
    counts = np.bincount(colours.codes + 1, minlength=len(colours.names) + 1)
    markers = [_MARKERS[index // len(CLASS_COLOURS) % len(_MARKERS)] for index in range(len(colours.names))]
    entries = [
        ("s" if dense else marker, colour, f"{shorten(name)} ({count:,})")
        for marker, colour, name, count in zip(markers, colours.colours, colours.names, counts[1:], strict=True)
    ]
    if counts[0]:
        entries.append(("s" if dense else "o", _UNKNOWN, f"unknown ({counts[0]:,})"))
    if dense:
        _show(axes, _blended(coordinates, colours, limits), limits)
    else:
        unknown = colours.codes < 0
        size = _point_size(int((~unknown).sum()))  # a few known ones must not drown in the others
        _draw_points(axes, coordinates[unknown], _point_size(len(coordinates)) / 2, color=_UNKNOWN)
        # In random order, or the class drawn last would hide the others; one call for each marker.
        order = np.random.default_rng(0).permutation(np.flatnonzero(~unknown))
        for marker in dict.fromkeys(markers):
            shown = order[(np.array(markers) == marker)[colours.codes[order]]]
            point_colours = np.array(colours.colours)[colours.codes[shown]]
            _draw_points(axes, coordinates[shown], size, c=point_colours, marker=marker)
    _legend(axes, entries, label)


def _raster(
    coordinates: NDArray[np.floating], limits: Limits, values: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """The number of sources in each pixel, or the mean of their values (NaN where there is none); first row lowest."""
    import datashader

    frame = pd.DataFrame({"x": coordinates[:, 0], "y": coordinates[:, 1], "value": 0.0 if values is None else values})
    what = datashader.count() if values is None else datashader.mean("value")
    return _canvas(len(frame), limits).points(frame, "x", "y", what).to_numpy().astype(float)


def _blended(coordinates: NDArray[np.floating], colours: ClassColours, limits: Limits) -> NDArray[np.uint8]:
    """RGBA image: colours of the classes mixed by their number in each pixel, opaque where there are many sources."""
    import datashader
    from datashader.transfer_functions import shade

    names = [*map(str, range(len(colours.names))), "unknown"]
    category = pd.Categorical.from_codes(np.where(colours.codes < 0, len(names) - 1, colours.codes), names)
    frame = pd.DataFrame({"x": coordinates[:, 0], "y": coordinates[:, 1], "class": category})
    counts = _canvas(len(frame), limits).points(frame, "x", "y", datashader.by("class", datashader.count()))
    key = dict(zip(names, [*colours.colours, _UNKNOWN], strict=True))
    image = shade(counts, color_key=key, how="log", min_alpha=90)
    return image.to_numpy().view(np.uint8).reshape(*image.shape, 4)


def _canvas(count: int, limits: Limits) -> Any:
    import datashader

    # So many pixels that a source is still seen: finer ones would leave single sources too small.
    height = int(np.clip(np.sqrt(count), 100, 500))
    return datashader.Canvas(round(_WIDTH_TO_HEIGHT * height), height, x_range=limits[:2], y_range=limits[2:])


def _colour_bar(axes: Axes, drawn: Any, label: str, extend: str = "neither") -> None:
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.8, extend=extend, pad=0.02, label=label)
    if bar.ax.get_yscale() == "log":
        plain_numbers(bar.ax.yaxis)


def _legend(axes: Axes, entries: Sequence[tuple[str, str, str]], title: str, inside: bool = False) -> None:
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"linestyle": "", "markersize": 5, "markeredgewidth": 0}
    handles = [Line2D([], [], marker=marker, color=colour, **style) for marker, colour, _ in entries]
    where: dict[str, Any] = {"bbox_to_anchor": (0.0 if inside else 1.02, 1.0), "alignment": "left"}
    axes.legend(handles, [text for *_, text in entries], title=title, loc="upper left", handletextpad=0.3, **where)


def _thumbnail(pixels: NDArray[np.float32], side: int) -> NDArray[np.uint8]:
    """A cutout fitted into a square of `side` pixels, coloured; first row lowest, as in the cutout."""
    from PIL import Image

    rgb = as_rgb(pixels)
    scale = side / max(rgb.shape[:2])
    size = tuple(max(1, round(scale * length)) for length in rgb.shape[1::-1])
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(rgb).resize(size, how))


def _point_size(count: int) -> float:
    return float(np.clip(30_000 / max(count, 1), 0.6, 16))
