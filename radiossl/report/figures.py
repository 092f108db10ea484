"""How every figure looks: size, colours, type and files; and the figures that several subjects share."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

#: Okabe & Ito (2008), safe for colour-blind readers.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C8C8C"
#: Of the things that a figure tells apart, in this order.
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "#E69F00")
#: Of classes, which may be more; brown instead of black, which is invisible on a dark page.
CLASS_COLOURS = (*PALETTE, "#F0E442", "#8B5A2B")

_DPI = 150
FONT = 9
#: Settings of matplotlib in which figures are drawn.
STYLE: Any = {
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), FONT),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), FONT - 1),
    "axes.titlelocation": "left",
    # Paper behind the words, so that no curve crosses them.
    **{"legend.facecolor": "white", "legend.edgecolor": "none", "legend.framealpha": 0.85},
    "text.parse_math": False,  # a "$" in a catalogue is no formula
}
#: Of the files: the same figure gives the same bytes, and a PDF has letters that can be searched.
_FILES: Any = {"svg.hashsalt": "radiossl", "pdf.fonttype": 42}
_NO_DATE: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_GREYS = re.compile(r"#(([0-9a-f]{2})\2\2)\b")
#: In place of black and white on a dark page: its --ink and --paper in page.css.
_DARK_INK, _DARK_PAPER = (228, 231, 234), (20, 23, 26)
#: Classes beyond this are too many for numbers in the cells of a confusion matrix.
_MOST_CLASSES_WITH_NUMBERS = 15
#: Of numbers on pale and on dark cells; no greys, which change with the theme.
ON_PALE, ON_DARK = "#08306b", "#f7fbff"


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Return an empty Agg figure of this size in inches; it needs no display and leaves no global state behind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Figure = Figure(figsize=(width, height), dpi=_DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, out: PathLike) -> None:
    """Write a figure as PNG, and beside it as SVG and PDF for a paper, each atomically."""
    import matplotlib

    with matplotlib.rc_context(_FILES):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, for all files
        tight = figure.get_tightbbox().padded(0.08)  # so that long labels are never cut
        for kind, metadata in _NO_DATE.items():
            paper = "white" if kind == "png" else "none"  # vectors lie on whatever paper they are put on
            with atomic_file(Path(out).with_suffix(f".{kind}")) as temporary:
                figure.savefig(temporary, format=kind, facecolor=paper, bbox_inches=tight, metadata=metadata)


def themed(svg: str) -> str:
    """Return an SVG file of `save_figure` whose paper is clear and whose greys follow the theme of the page."""
    greys = sorted({"000000", *(match[1] for match in _GREYS.finditer(svg))})
    light = "".join(f"--g{grey}:#{grey};" for grey in greys)
    dark = "".join(f"--g{grey}:{_on_dark(int(grey[:2], 16) / 255)};" for grey in greys)
    style = f"<style>svg{{fill:var(--g000000);{light}}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    svg = _GREYS.sub(r"var(--g\1)", svg)
    return re.sub(r"(<svg\b[^>]*>)", lambda match: match[1] + style, svg, count=1)


def _on_dark(brightness: float) -> str:
    ends = zip(_DARK_INK, _DARK_PAPER, strict=True)
    return "#" + "".join(f"{round(ink + (paper - ink) * brightness):02x}" for ink, paper in ends)


def plain_axes(axes: Axes) -> Axes:
    """Give axes the look of this package: two spines, small type."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=FONT - 1)
    axes.set_facecolor("none")
    return axes


@contextmanager
def drawn_panels(
    out: PathLike,
    width: float,
    height: float,
    *,
    xlabel: str = "",
    ylabels: Sequence[str] = ("",),
    ratios: Sequence[float] = (1,),
) -> Iterator[list[Axes]]:
    """Yield axes above each other that share x, in the look of this package; write the figure when the body ends.

    Sizes are in inches, labels with units; `ratios` are those of the heights of the panels.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        panels = figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios, squeeze=False)[:, 0].tolist()
        for axes, ylabel in zip(panels, ylabels, strict=True):
            plain_axes(axes).set_ylabel(ylabel)
        panels[-1].set_xlabel(xlabel)
        yield panels
        save_figure(figure, out)


@contextmanager
def drawn_row(
    out: PathLike, width: float, height: float, titles: Sequence[str], *, xlabel: str = "", rows: int = 1
) -> Iterator[list[Axes]]:
    """Yield axes side by side, in one row or several, each with its title; see `drawn_panels`."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        columns = -(-len(titles) // rows)
        panels = [plain_axes(figure.add_subplot(rows, columns, place + 1)) for place in range(len(titles))]
        for axes, title in zip(panels, titles, strict=True):
            axes.set(title=title, xlabel=xlabel)
        yield panels
        save_figure(figure, out)


@contextmanager
def drawn_axes(out: PathLike, width: float, height: float, *, xlabel: str = "", ylabel: str = "") -> Iterator[Axes]:
    """Yield a single pair of axes; see `drawn_panels`."""
    with drawn_panels(out, width, height, xlabel=xlabel, ylabels=[ylabel]) as (axes,):
        yield axes


def curve_styles() -> Iterator[dict[str, Any]]:
    """Colour and stroke of one curve after the other; beyond 24 they begin again."""
    for stroke, colour in itertools.cycle(itertools.product(["-", "--", ":", "-."], PALETTE)):
        yield {"color": colour, "linestyle": stroke, "linewidth": 1.5}


def draw_banded(
    axes: Axes,
    name: str,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    style: dict[str, Any],
) -> None:
    """Draw points with intervals, joined where they are neighbours: a point that is NaN leaves a gap."""
    axes.fill_between(x, low, high, color=style["color"], alpha=0.18, linewidth=0)
    axes.vlines(x, low, high, color=style["color"], alpha=0.6, linewidth=0.8)  # a point between gaps has no band
    axes.plot(x, y, label=shorten(name, 28), marker="o", markersize=3.5, **style)


def plain_numbers(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis as they are, where matplotlib would write powers of ten as formulae."""
    from matplotlib.ticker import LogFormatterSciNotation

    class Plain(LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain(labelOnlyBase=False))


def legend_beside(axes: Axes, **options: Any) -> None:
    """Put the legend to the right of the axes, where it hides nothing."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), **options)


def confusion_matrix(matrix: ArrayLike, class_names: Sequence[str], *, out: PathLike) -> None:
    """Draw a confusion matrix (n, n): counts and their fraction of the row, which is also the colour.

    Rows are true classes, columns predicted ones. Beyond 15 classes there is a colour bar instead of numbers.
    """
    counts = np.asarray(matrix)
    number = len(class_names)
    if number == 0 or counts.shape != (number, number):
        raise RadiosslError(f"{out}: a confusion matrix of shape {counts.shape} for {number} class names")
    totals = counts.sum(axis=1, keepdims=True)
    fractions = counts / np.maximum(totals, 1)
    names = [shorten(str(name)) for name in class_names]
    margin = 0.6 + 0.075 * max(map(len, names))  # of the names, in inches
    slanted = max(map(len, names)) > 8 or number > 6
    side = min(8.0, 0.75 * max(number, 3))
    height = side + (margin if slanted else 0.5)
    with drawn_axes(out, side + margin + 0.5, height, xlabel="predicted class", ylabel="true class (number)") as axes:
        image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(number), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
        axes.set_yticks(range(number), [f"{name} ({total:g})" for name, total in zip(names, totals[:, 0], strict=True)])
        for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
            label.set(fontsize=FONT, rotation_mode="anchor")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        if number > _MOST_CLASSES_WITH_NUMBERS:
            axes.figure.colorbar(image, ax=axes, shrink=0.5, label="fraction of the true class")
            return
        for (row, column), fraction in np.ndenumerate(fractions):
            text = f"{counts[row, column]:g}" + (f"\n{fraction:.0%}" if totals[row, 0] else "")
            colour = ON_DARK if fraction > 0.55 else ON_PALE
            axes.text(column, row, text, ha="center", va="center", fontsize=FONT - 1, color=colour)


def score_bars(
    rows: Sequence[tuple[str, float, float | None]], *, out: PathLike, xlabel: str, highlight: Collection[str] = ()
) -> None:
    """Draw scores as horizontal bars from 0, first row on top, such as a backbone's beside its baselines.

    Each has a name, a mean and a spread (one standard deviation; None or NaN if unknown). A mean that is NaN is written
    as "none", without a bar. Names in `highlight` are no baselines: blue, the others grey.
    """
    if not rows:
        raise RadiosslError(f"{out}: no score to draw")
    names = [shorten(str(name), 40) for name, _, _ in rows]
    means = np.array([mean for _, mean, _ in rows], dtype=float)
    spreads = np.array([spread for _, _, spread in rows], dtype=float)  # None is NaN
    colours = [BLUE if name in highlight else GREY for name, _, _ in rows]
    positions = np.arange(len(rows))
    with drawn_axes(out, 6.0, 0.9 + 0.34 * len(rows), xlabel=xlabel) as axes:
        axes.barh(positions, np.nan_to_num(means), height=0.62, color=colours)
        drawn = np.isfinite(spreads) & np.isfinite(means)
        style: dict[str, Any] = {"fmt": "none", "ecolor": "black", "elinewidth": 1, "capsize": 2.5}
        axes.errorbar(means[drawn], positions[drawn], xerr=spreads[drawn], **style)
        for position, mean, spread in zip(positions, means, np.nan_to_num(spreads), strict=True):
            end = max(np.nan_to_num(mean) + spread, 0.0)
            text = "none" if np.isnan(mean) else f"{mean:.3f}" + (f" ± {spread:.3f}" if spread else "")
            axes.annotate(text, (end, position), (5, 0), textcoords="offset points", va="center", fontsize=FONT - 1)
        axes.set_yticks(positions, names, fontsize=FONT)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()


def file_stem(name: str) -> str:
    """Return a column's name with all that the name of a figure's file should not hold replaced."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def shorten(text: str, length: int = 24) -> str:
    """Return text of at most this many characters, the end of a longer one replaced by an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"
