"""Figures of a classifier's scores: over all thresholds, against a column or the number of labels, and calibration.

`out` is the PNG file to write in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike
from radiossl.report.figures import (
    BLUE,
    FONT,
    GREY,
    curve_styles,
    draw_banded,
    drawn_axes,
    drawn_panels,
    legend_beside,
    plain_numbers,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from radiossl.evaluation.calibration import Reliability
    from radiossl.evaluation.metric_by_column import MetricByColumn
    from radiossl.evaluation.metrics import PrecisionRecallCurve, RocCurve

_METRIC_NAMES = {"f1": "F1 score", "accuracy": "accuracy", "recall": "recall (completeness)"}


def roc_curves(curves: Mapping[str, RocCurve], *, out: PathLike) -> None:
    """Draw ROC curves by name, with the area under each and the diagonal of a random classifier."""
    _refuse_nothing(curves, out)
    labels = {"xlabel": "false positive rate", "ylabel": "true positive rate (completeness)"}
    with drawn_axes(out, 4.0, 3.9, **labels) as axes:
        _from_0_to_1(axes).plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        for (name, curve), style in zip(curves.items(), curve_styles(), strict=False):
            label = f"{shorten(name, 28)} ({curve.area:.3f})"
            axes.plot(curve.false_positive_rate, curve.true_positive_rate, label=label, **style)
        axes.legend(title="area under the curve", loc="lower right")


def precision_recall_curves(curves: Mapping[str, PrecisionRecallCurve], *, out: PathLike) -> None:
    """Draw precision against recall by name, with each average precision, and each prevalence as a dotted line."""
    _refuse_nothing(curves, out)
    with drawn_axes(out, 5.3, 3.9, xlabel="recall (completeness)", ylabel="precision (reliability)") as axes:
        _from_0_to_1(axes)
        for (name, curve), style in zip(curves.items(), curve_styles(), strict=False):
            axes.axhline(curve.prevalence, color=style["color"], linestyle=":", linewidth=1, alpha=0.7)
            label = f"{shorten(name, 28)} ({curve.average_precision:.3f})"
            # Steps, as the average precision counts them: a line between two thresholds promises what neither gives.
            axes.step(curve.recall, curve.precision, where="post", label=label, **style)
        legend_beside(axes, title="average precision")


def reliability_diagram(reliability: Reliability, *, out: PathLike) -> None:
    """Draw accuracy against confidence, with intervals, above a histogram of the confidences."""
    xlabel, ylabels = "confidence (probability of the predicted class)", ["accuracy", "objects"]
    with drawn_panels(out, 3.8, 4.8, xlabel=xlabel, ylabels=ylabels, ratios=[3, 1]) as (upper, lower):
        upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1)
        drawn = reliability.counts > 0
        x, y = reliability.confidence[drawn], reliability.accuracy[drawn]
        lengths = [y - reliability.low[drawn], reliability.high[drawn] - y]
        upper.errorbar(x, y, yerr=lengths, fmt="none", ecolor=BLUE, elinewidth=1, capsize=2.5)
        upper.plot(x, y, color=BLUE, linewidth=1.2, marker="o", markersize=4)
        upper.set(xlim=(0, 1), ylim=(-0.02, 1.02))
        note = f"expected calibration\nerror {reliability.error:.3f}"
        upper.text(0.03, 0.97, note, transform=upper.transAxes, va="top", fontsize=FONT - 1)
        widths = np.diff(reliability.edges)
        lower.bar(reliability.edges[:-1], reliability.counts, widths, align="edge", color=BLUE, alpha=0.6)


def metric_against_column(result: MetricByColumn, *, out: PathLike, xlabel: str, logarithmic: bool = False) -> None:
    """Draw scores in bins of a column with their intervals, above the number of objects in each bin."""
    if logarithmic and result.edges[0] <= 0:
        raise RadiosslError(f"{out}: bins from {result.edges[0]:g} cannot have a logarithmic axis")
    lost = {"unknown": result.missing, "outside": result.outside}
    left_out = [f"{number} {what}" for what, number in lost.items() if number]
    xlabel += f"   (left out: {', '.join(left_out)})" if left_out else ""
    ylabels = [_METRIC_NAMES[result.metric], "objects"]
    with drawn_panels(out, 5.2, 4.2, xlabel=xlabel, ylabels=ylabels, ratios=[3, 1]) as (upper, lower):
        for row, (name, style) in enumerate(zip(result.classes, curve_styles(), strict=False)):
            draw_banded(upper, name, result.centres, result.scores[row], result.low[row], result.high[row], style)
        lowest = np.nanmin(result.low) if np.isfinite(result.low).any() else 0.0
        upper.set_ylim(max(-0.02, np.floor((lowest - 0.02) * 10) / 10), 1.02)  # a round number below all intervals
        if result.classes != ["all"]:
            legend_beside(upper)
        widths = np.diff(result.edges)
        lower.bar(result.edges[:-1], result.counts, widths, align="edge", color="0.72", edgecolor="white")
        if logarithmic:
            lower.set_xscale("log")
            plain_numbers(lower.xaxis)


@dataclass(frozen=True)
class BandedCurve:
    """A score with its uncertainty at each of several places, such as fractions of the labels; all of shape (n,)."""

    places: NDArray[np.float64]
    scores: NDArray[np.float64]
    low: NDArray[np.float64]  # ends of the band
    high: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = {np.shape(part) for part in (self.places, self.scores, self.low, self.high)}
        if len(shapes) > 1 or np.ndim(self.places) != 1 or not np.size(self.places):
            raise RadiosslError(f"a curve needs equally many places, scores, lows and highs, not shapes {shapes}")


def label_fraction_curves(curves: Mapping[str, BandedCurve], *, out: PathLike, ylabel: str) -> None:
    """Draw scores against the fraction of the labels used (Riggi et al. 2024, figure 7), with bands."""
    _refuse_nothing(curves, out)
    if not all((np.asarray(curve.places) > 0).all() for curve in curves.values()):
        raise RadiosslError("label fractions must be above 0: their axis is logarithmic")
    with drawn_axes(out, 5.2, 3.6, xlabel="fraction of the labels", ylabel=ylabel) as axes:
        _draw_curves(axes, curves)
        axes.set_xscale("log")
        _fraction_ticks(axes, np.unique(np.concatenate([curve.places for curve in curves.values()])))
        legend_beside(axes)


def banded_curves(curves: Mapping[str, BandedCurve], *, out: PathLike, xlabel: str, ylabel: str) -> None:
    """Draw scores against a quantity on a linear axis, with bands; a single curve gets no legend."""
    _refuse_nothing(curves, out)
    with drawn_axes(out, 5.2, 3.6, xlabel=xlabel, ylabel=ylabel) as axes:
        _draw_curves(axes, curves)
        if len(curves) > 1:
            legend_beside(axes)


def _draw_curves(axes: Axes, curves: Mapping[str, BandedCurve]) -> None:
    for (name, curve), style in zip(curves.items(), curve_styles(), strict=False):
        order = np.argsort(curve.places)
        x, y, low, high = (np.asarray(part)[order] for part in (curve.places, curve.scores, curve.low, curve.high))
        draw_banded(axes, name, x, y, low, high, style)


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


def _from_0_to_1(axes: Axes) -> Axes:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
    return axes


def _refuse_nothing(curves: Mapping[str, object], out: PathLike) -> None:
    if not curves:
        raise RadiosslError(f"{out}: no curve to draw")
