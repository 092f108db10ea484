"""Figures of a classifier's scores: over all thresholds, against a column or the number of labels, and calibration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.report.figures import BLUE, GREY, PALETTE, new_figure, plain_axes, save_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from radiossl.evaluation.calibration import Reliability
    from radiossl.evaluation.metric_by_column import MetricByColumn
    from radiossl.evaluation.metrics import PrecisionRecallCurve, RocCurve

_FONT = 9
#: Curves beyond the palette repeat it with other strokes.
_STROKES = ["-", "--", ":", "-."]
_METRIC_NAMES = {"f1": "F1 score", "accuracy": "accuracy", "recall": "recall (completeness)"}


def roc_curves(curves: Mapping[str, RocCurve], *, out: str | os.PathLike[str], title: str | None = None) -> None:
    """Draw ROC curves, with the area under each in the legend and the diagonal of a classifier that knows nothing.

    Parameters
    ----------
    curves
        By name, such as `radiossl.evaluation.metrics.roc_points` returns them.
    out
        PNG file to write.
    title
        Above the curves.

    Raises
    ------
    RadiosslError
        If there is no curve.
    """
    _refuse_nothing(curves, out)
    figure, axes = _square(title)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    for (name, curve), style in zip(curves.items(), _styles(), strict=False):
        label = f"{shorten(name, 28)} ({curve.area:.3f})"
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, label=label, **style)
    axes.set_xlabel("false positive rate", fontsize=_FONT)
    axes.set_ylabel("true positive rate (completeness)", fontsize=_FONT)
    _legend(axes, "area under the curve", loc="lower right")
    save_figure(figure, out)


def precision_recall_curves(
    curves: Mapping[str, PrecisionRecallCurve], *, out: str | os.PathLike[str], title: str | None = None
) -> None:
    """Draw precision against recall, with each average precision in the legend and each prevalence as a dotted line.

    Parameters
    ----------
    curves
        By name, such as `radiossl.evaluation.metrics.precision_recall_points` returns them.
    out
        PNG file to write.
    title
        Above the curves.

    Raises
    ------
    RadiosslError
        If there is no curve.
    """
    _refuse_nothing(curves, out)
    figure, axes = _square(title)
    for (name, curve), style in zip(curves.items(), _styles(), strict=False):
        axes.axhline(curve.prevalence, color=style["color"], linestyle=":", linewidth=1, alpha=0.7)
        label = f"{shorten(name, 28)} ({curve.average_precision:.3f})"
        # Steps, as the average precision counts them: a line between two thresholds promises what none of them gives.
        axes.step(curve.recall, curve.precision, where="post", label=label, **style)
    axes.set_xlabel("recall (completeness)", fontsize=_FONT)
    axes.set_ylabel("precision (reliability)", fontsize=_FONT)
    _legend(axes, "average precision")
    save_figure(figure, out)


def reliability_diagram(reliability: Reliability, *, out: str | os.PathLike[str], title: str | None = None) -> None:
    """Draw accuracy against confidence, with intervals, above a histogram of the confidences.

    Parameters
    ----------
    reliability
        What `radiossl.evaluation.calibration.reliability` returns.
    out
        PNG file to write.
    title
        Above the diagram.
    """
    figure = new_figure(3.8, 4.8 + (0.3 if title else 0))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    plain_axes(upper).plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
    drawn = reliability.counts > 0
    x, y = reliability.confidence[drawn], reliability.accuracy[drawn]
    # A proportion of 0 or 1 is at the end of its own interval, where rounding may make a length negative.
    lengths = np.maximum([y - reliability.low[drawn], reliability.high[drawn] - y], 0)
    upper.errorbar(x, y, yerr=lengths, fmt="none", ecolor=BLUE, elinewidth=1, capsize=2.5)
    upper.plot(x, y, color=BLUE, linewidth=1.2, marker="o", markersize=4)
    upper.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    upper.set_ylabel("accuracy", fontsize=_FONT)
    note = f"expected calibration\nerror {reliability.error:.3f}"
    upper.text(0.03, 0.97, note, transform=upper.transAxes, va="top", fontsize=_FONT - 1)
    widths = np.diff(reliability.edges)
    plain_axes(lower).bar(reliability.edges[:-1], reliability.counts, widths, align="edge", color=BLUE, alpha=0.6)
    lower.set_xlabel("confidence (probability of the predicted class)", fontsize=_FONT)
    lower.set_ylabel("objects", fontsize=_FONT)
    _title(figure, title)
    save_figure(figure, out)


def metric_against_column(
    result: MetricByColumn,
    *,
    out: str | os.PathLike[str],
    xlabel: str,
    title: str | None = None,
    logarithmic: bool = False,
) -> None:
    """Draw scores in bins of a column with their intervals, above the number of objects in each bin.

    Parameters
    ----------
    result
        What `radiossl.evaluation.metric_by_column.metric_by_column` returns.
    out
        PNG file to write.
    xlabel
        What the column is, with its unit.
    title
        Above the scores.
    logarithmic
        Whether the column has a logarithmic axis.

    Raises
    ------
    RadiosslError
        If a logarithmic axis is asked for and a bin begins at 0 or below.
    """
    if logarithmic and result.edges[0] <= 0:
        raise RadiosslError(f"{out}: bins from {result.edges[0]:g} cannot have a logarithmic axis")
    figure = new_figure(5.2, 4.2 + (0.3 if title else 0))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    plain_axes(upper)
    for row, (name, style) in enumerate(zip(result.classes, _styles(), strict=False)):
        _banded(upper, name, result.centres, result.scores[row], result.low[row], result.high[row], style)
    upper.set_ylim(_bottom(result.low), 1.02)
    upper.set_ylabel(_METRIC_NAMES[result.metric], fontsize=_FONT)
    if result.classes != ["all"]:
        _legend(upper)
    widths = np.diff(result.edges)
    plain_axes(lower).bar(result.edges[:-1], result.counts, widths, align="edge", color="0.72", edgecolor="white")
    if logarithmic:
        lower.set_xscale("log")
        lower.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    left_out = [
        f"{number} {what}" for number, what in ((result.missing, "unknown"), (result.outside, "outside")) if number
    ]
    lower.set_xlabel(xlabel + (f"   (left out: {', '.join(left_out)})" if left_out else ""), fontsize=_FONT)
    lower.set_ylabel("objects", fontsize=_FONT)
    _title(figure, title)
    save_figure(figure, out)


@dataclass(frozen=True)
class BandedCurve:
    """A score with its uncertainty at each of several places.

    Attributes
    ----------
    places
        Such as fractions of the labels that were used, shape (n,).
    scores
        Shape (n,).
    low, high
        Ends of the band, shape (n,).
    """

    places: NDArray[np.float64]
    scores: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = {np.shape(part) for part in (self.places, self.scores, self.low, self.high)}
        if len(shapes) > 1 or np.ndim(self.places) != 1 or not np.size(self.places):
            raise RadiosslError(f"a curve needs equally many places, scores, lows and highs, not shapes {shapes}")


def label_fraction_curves(
    curves: Mapping[str, BandedCurve],
    *,
    out: str | os.PathLike[str],
    ylabel: str,
    baselines: Mapping[str, float] | None = None,
    xlabel: str = "fraction of the labels",
    title: str | None = None,
) -> None:
    """Draw scores against the fraction of the labels used (Riggi et al. 2024, figure 7), with bands and baselines.

    Parameters
    ----------
    curves
        By name.
    out
        PNG file to write.
    ylabel
        What the score is.
    baselines
        Scores that use no label, or all of them, by name: dashed grey lines.
    xlabel
        What the fraction is of.
    title
        Above the curves.

    Raises
    ------
    RadiosslError
        If there is no curve, or a fraction is not above 0.
    """
    _refuse_nothing(curves, out)
    if not all((np.asarray(curve.places) > 0).all() for curve in curves.values()):
        raise RadiosslError("label fractions must be above 0: their axis is logarithmic")
    figure = new_figure(5.2, 3.6 + (0.3 if title else 0))
    axes = plain_axes(figure.add_subplot())
    for (name, curve), style in zip(curves.items(), _styles(), strict=False):
        order = np.argsort(curve.places)
        x, y, low, high = (np.asarray(part)[order] for part in (curve.places, curve.scores, curve.low, curve.high))
        _banded(axes, name, x, y, low, high, style)
    axes.set_xscale("log")
    fractions = np.unique(np.concatenate([curve.places for curve in curves.values()]))
    _fraction_ticks(axes, fractions)
    for name, score in (baselines or {}).items():
        axes.axhline(score, color=GREY, linestyle="--", linewidth=1, zorder=1)
        axes.annotate(
            shorten(name, 28),
            (1, score),
            (4, 0),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            va="center",
            fontsize=_FONT - 2,
            color="0.35",
            parse_math=False,
        )
    axes.set_xlabel(xlabel, fontsize=_FONT)
    axes.set_ylabel(ylabel, fontsize=_FONT)
    _legend(axes)
    _title(figure, title)
    save_figure(figure, out)


def banded_curves(
    curves: Mapping[str, BandedCurve],
    *,
    out: str | os.PathLike[str],
    xlabel: str,
    ylabel: str,
    title: str | None = None,
) -> None:
    """Draw scores against a quantity on a linear axis, with bands.

    Parameters
    ----------
    curves
        By name; a single one gets no legend. `BandedCurve.places` is the quantity.
    out
        PNG file to write.
    xlabel, ylabel
        What the axes are.
    title
        Above the curves.

    Raises
    ------
    RadiosslError
        If there is no curve.
    """
    _refuse_nothing(curves, out)
    figure = new_figure(5.2, 3.6 + (0.3 if title else 0))
    axes = plain_axes(figure.add_subplot())
    for (name, curve), style in zip(curves.items(), _styles(), strict=False):
        _banded(axes, name, curve.places, curve.scores, curve.low, curve.high, style)
    axes.set_xlabel(xlabel, fontsize=_FONT)
    axes.set_ylabel(ylabel, fontsize=_FONT)
    if len(curves) > 1:
        _legend(axes)
    _title(figure, title)
    save_figure(figure, out)


def _fraction_ticks(axes: Axes, fractions: NDArray[np.float64]) -> None:
    """Write the fractions that were measured as percentages, leaving out those too near to the one before."""
    from matplotlib.ticker import FixedLocator, NullLocator

    shown: list[float] = []
    nearest = np.log(fractions[-1] / fractions[0]) / 9  # no more than ten of them
    for fraction in fractions.tolist():
        if not shown or np.log(fraction / shown[-1]) >= nearest:
            shown.append(fraction)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")


def _styles() -> Iterable[dict[str, Any]]:
    """Colour and stroke of one curve after the other; more curves than styles are drawn as the first ones again."""
    while True:
        for stroke in _STROKES:
            for colour in PALETTE:
                yield {"color": colour, "linestyle": stroke, "linewidth": 1.5}


def _square(title: str | None) -> tuple[Figure, Axes]:
    """Return square axes from 0 to 1 on both sides."""
    figure = new_figure(4.0, 3.9 + (0.2 if title else 0))
    axes = plain_axes(figure.add_subplot())
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    _title(figure, title)
    return figure, axes


def _banded(
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


def _bottom(low: NDArray[np.float64]) -> float:
    """Lower end of an axis of scores: a round number below all intervals."""
    lowest = np.nanmin(low) if np.isfinite(low).any() else 0.0
    return float(max(-0.02, np.floor((lowest - 0.02) * 10) / 10))


def _legend(axes: Axes, heading: str | None = None, **where: Any) -> None:
    legend = axes.legend(title=heading, title_fontsize=_FONT - 1, fontsize=_FONT - 1, frameon=False, **where)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _title(figure: Figure, title: str | None) -> None:
    if title:
        figure.suptitle(title, fontsize=_FONT + 1, x=0.01, ha="left", parse_math=False)


def _refuse_nothing(curves: Mapping[str, object], out: str | os.PathLike[str]) -> None:
    if not curves:
        raise RadiosslError(f"{out}: no curve to draw")
