"""The figures that several tasks share: training curves, confusion matrices and scores beside their baselines."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe & Ito (2008), told apart with every colour vision.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C8C8C"
#: Of the things that a figure tells apart, in this order.
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "#E69F00")

_DPI = 150
_FONT = 9
#: Classes beyond this are too many for numbers in the cells of a confusion matrix.
_MOST_CLASSES_WITH_NUMBERS = 15
#: Columns of metrics.csv that are drawn, with what stands at the axis and the colour.
_CURVES = {
    "loss": ("loss", BLUE),
    "lr": ("learning rate", GREY),
    "feature_std": ("feature spread (0 = collapsed)", GREEN),
    "knn_accuracy": ("kNN accuracy", ORANGE),
}


def new_figure(width: float, height: float) -> Figure:
    """Return an empty Agg figure of this size in inches; it needs no display and leaves no global state behind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, out: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_file(out) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", pad_inches=0.08)  # long labels are never cut


def plain_axes(axes: Axes) -> Axes:
    """Give axes the look of this package: two spines, small type."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=_FONT - 1)
    return axes


def training_curves(metrics: pd.DataFrame, *, out: str | os.PathLike[str], title: str | None = None) -> None:
    """Draw what a training run recorded, one panel each for loss, learning rate, feature spread and kNN accuracy.

    Parameters
    ----------
    metrics
        The run's metrics.csv: column ``step`` or ``epoch``, and any of ``loss``, ``lr``, ``feature_std`` and
        ``knn_accuracy``. Columns that are absent or empty have no panel; empty cells are passed over.
    out
        PNG file to write.
    title
        Above the panels.

    Raises
    ------
    RadiosslError
        If there is nothing to draw.
    """
    curves = [name for name in _CURVES if name in metrics and metrics[name].notna().any()]
    if not curves:
        raise RadiosslError(f"{out}: no training curve to draw; expected columns among {', '.join(_CURVES)}")
    against = next((name for name in ("step", "epoch") if name in metrics), None)
    positions = metrics[against] if against else metrics.index.to_series()
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    figure = new_figure(3.6 * columns, 2.3 * rows + (0.3 if title else 0))
    for number, name in enumerate(curves):
        label, colour = _CURVES[name]
        axes = plain_axes(figure.add_subplot(rows, columns, number + 1))
        _curve(axes, positions, metrics[name], colour)
        axes.set_title(label, fontsize=_FONT, loc="left")
        axes.set_xlabel(against or "row", fontsize=_FONT)
        if name in ("lr", "feature_std"):
            axes.set_ylim(bottom=0)
    _set_title(figure, title)
    save_figure(figure, out)


def _curve(axes: Axes, positions: pd.Series, values: pd.Series, colour: str) -> None:
    """Draw a curve; a long noisy one pale, with its running median on top."""
    known = values.notna()
    x, y = positions[known], values[known]
    marker = "o" if len(y) <= 30 else None
    if len(y) > 200:
        axes.plot(x, y, color=colour, alpha=0.3, linewidth=0.6)
        y = y.rolling(max(5, len(y) // 50), center=True, min_periods=1).median()
    axes.plot(x, y, color=colour, linewidth=1.5, marker=marker, markersize=3)


def confusion_matrix(
    matrix: ArrayLike, class_names: Sequence[str], *, out: str | os.PathLike[str], title: str | None = None
) -> None:
    """Draw a confusion matrix: counts and their fraction of the row, which is also the colour.

    Parameters
    ----------
    matrix
        Counts, shape (n, n); rows are true classes, columns predicted ones.
    class_names
        The n names, in order. Beyond 15 classes there is a colour bar instead of numbers.
    out
        PNG file to write.
    title
        Above the matrix.
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
    figure = new_figure(side + margin + 0.5, side + (margin if slanted else 0.5) + (0.3 if title else 0))
    axes = figure.add_subplot()
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(number), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    axes.set_yticks(range(number), [f"{name} ({total:g})" for name, total in zip(names, totals[:, 0], strict=True)])
    for label in [*axes.get_xticklabels(), *axes.get_yticklabels()]:
        label.set(fontsize=_FONT, parse_math=False, rotation_mode="anchor")
    axes.set_xlabel("predicted class", fontsize=_FONT)
    axes.set_ylabel("true class (number)", fontsize=_FONT)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    if number <= _MOST_CLASSES_WITH_NUMBERS:
        for (row, column), fraction in np.ndenumerate(fractions):
            text = f"{counts[row, column]:g}" + (f"\n{fraction:.0%}" if totals[row, 0] else "")
            colour = "white" if fraction > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=_FONT - 1, color=colour)
    else:
        bar = figure.colorbar(image, ax=axes, shrink=0.5)
        bar.set_label("fraction of the true class", fontsize=_FONT)
        bar.ax.tick_params(labelsize=_FONT - 1)
    _set_title(figure, title)
    save_figure(figure, out)


def score_bars(
    rows: Sequence[tuple[str, float, float | None]],
    *,
    out: str | os.PathLike[str],
    xlabel: str,
    title: str | None = None,
    highlight: Collection[str] = (),
) -> None:
    """Draw scores as horizontal bars from 0, first row on top, such as a backbone's beside its baselines.

    Parameters
    ----------
    rows
        Name, mean and spread (one standard deviation; None or NaN if unknown) of each. A mean that is NaN is written
        as "none", without a bar.
    out
        PNG file to write.
    xlabel
        What the score is.
    title
        Above the bars.
    highlight
        Names of the bars that are not baselines: blue, the others grey.
    """
    if not rows:
        raise RadiosslError(f"{out}: no score to draw")
    names = [shorten(str(name), 40) for name, _, _ in rows]
    means = np.array([mean for _, mean, _ in rows], dtype=float)
    spreads = np.array([np.nan if spread is None else spread for _, _, spread in rows], dtype=float)
    colours = [BLUE if name in highlight else GREY for name, _, _ in rows]
    positions = np.arange(len(rows))
    figure = new_figure(6.0, 0.9 + 0.34 * len(rows) + (0.3 if title else 0))
    axes = plain_axes(figure.add_subplot())
    axes.barh(positions, np.nan_to_num(means), height=0.62, color=colours)
    drawn = np.isfinite(spreads) & np.isfinite(means)
    style: dict[str, Any] = {"fmt": "none", "ecolor": "black", "elinewidth": 1, "capsize": 2.5}
    axes.errorbar(means[drawn], positions[drawn], xerr=spreads[drawn], **style)
    for position, mean, spread in zip(positions, means, np.nan_to_num(spreads), strict=True):
        end = max(np.nan_to_num(mean) + spread, 0.0)
        text = "none" if np.isnan(mean) else f"{mean:.3f}" + (f" ± {spread:.3f}" if spread else "")
        axes.annotate(text, (end, position), (5, 0), textcoords="offset points", va="center", fontsize=_FONT - 1)
    axes.set_yticks(positions, names)
    for label in axes.get_yticklabels():
        label.set(fontsize=_FONT, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xlabel(xlabel, fontsize=_FONT)
    _set_title(figure, title)
    save_figure(figure, out)


def shorten(text: str, length: int = 24) -> str:
    """Return text of at most so many characters, the end of a longer one replaced by three dots."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _set_title(figure: Figure, title: str | None) -> None:
    if title:
        figure.suptitle(title, fontsize=_FONT + 1, x=0.01, ha="left", parse_math=False)
