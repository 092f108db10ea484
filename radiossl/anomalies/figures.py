"""Figures of an anomaly search: how scores are distributed, what thresholds select, what a scan found.

`out` is the PNG file to write in all of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.report.figures import BLUE, FONT, GREY, ORANGE, PALETTE, drawn_axes, legend_beside, plain_numbers, shorten

if TYPE_CHECKING:
    import pandas as pd

    from radiossl.anomalies.quality import AnomalyLabels, ThresholdCurves

_Out = str | os.PathLike[str]
_MOST_BINS = 60
#: Colours of the labels that are not anomalous, in order.
_COLOURS = [*(colour for colour in PALETTE if colour != ORANGE), "#AA4499"]


def score_histogram(scores: NDArray[np.floating], labels: AnomalyLabels | None, *, out: _Out, xlabel: str) -> None:
    """Draw the distribution of scores (Riggi et al. 2024, figure 12, left), labelled objects on their own."""
    low, high = float(scores.min()), float(scores.max())
    bins = int(np.clip(2 * np.sqrt(len(scores)), 10, _MOST_BINS))
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1).tolist()
    with drawn_axes(out, 5.2, 3.4, xlabel=xlabel, ylabel="objects") as axes:
        axes.hist(scores, edges, histtype="step", color="black", linewidth=1.2, label=f"all ({len(scores)})")
        if labels is not None:
            sought = scores[labels.rows[labels.anomalous]]
            others = scores[labels.rows[~labels.anomalous]]
            axes.hist(sought, edges, color=ORANGE, alpha=0.55, label=f"anomalous ({len(sought)})")
            axes.hist(others, edges, histtype="step", color=BLUE, linewidth=1.4, label=f"other labels ({len(others)})")
            axes.legend()
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
        axes.set_ylim(bottom=0.6)


def threshold_figure(curves: ThresholdCurves, *, out: _Out, xlabel: str) -> None:
    """Draw recall, precision and contamination against the threshold (Riggi et al. 2024, figure 12, right)."""
    x, crossing = curves.thresholds, curves.crossing
    with drawn_axes(out, 6.4, 3.6, xlabel=f"threshold on the {xlabel}", ylabel="fraction") as axes:
        axes.plot(x, curves.recall, color=ORANGE, linewidth=1.6, label="recall (completeness)")
        axes.plot(x, curves.precision, color=ORANGE, linewidth=1.6, linestyle="--", label="precision (reliability)")
        for (name, part), colour in zip(curves.contamination.items(), _COLOURS, strict=False):
            axes.plot(x, part, color=colour, linewidth=1.1, label=f"contamination: {shorten(name)}")
        if curves.unlabelled.max() > 0:
            axes.plot(x, curves.unlabelled, color="black", linewidth=1.0, linestyle=":", label="without label (of all)")
        axes.axvline(x[crossing], color=GREY, linewidth=0.9, linestyle=":")
        axes.plot(x[crossing], curves.recall[crossing], marker="o", markersize=5, color=ORANGE, zorder=5)
        note = f"{curves.recall[crossing]:.2f} at {x[crossing]:.3f}"
        axes.annotate(note, (x[crossing], 1.0), (4, 2), textcoords="offset points", fontsize=FONT - 1, color="0.3")
        axes.set_ylim(-0.02, 1.08)
        legend_beside(axes)


def scan_figure(table: pd.DataFrame, *, out: _Out, baselines: Mapping[str, float]) -> None:
    """Draw the AUC of every scanned forest: a line for each set of features against ``max_samples``.

    `table` is that of `Scan`; `baselines` have the AUC of other scores by name: horizontal lines.
    """
    if not len(table):
        raise RadiosslError(f"{out}: no scan to draw")
    once = table.drop_duplicates(["features", "max_samples"])
    names = [str(value) for value in once["max_samples"].unique()]
    with drawn_axes(out, 6.4, 3.4, xlabel="max_samples", ylabel="AUC") as axes:
        colours = [ORANGE, *_COLOURS]
        for (features, rows), colour in zip(once.groupby("features", sort=False), colours, strict=False):
            places = [names.index(str(value)) for value in rows["max_samples"]]
            label = "all features" if features == "all" else f"best {features} features"
            axes.plot(places, rows["auc"], color=colour, marker="o", markersize=3, linewidth=1.2, label=label)
        strokes = ["--", ":", "-.", (0, (1, 3))] * len(baselines)
        for (name, area), stroke in zip(baselines.items(), strokes, strict=False):
            axes.axhline(area, color=GREY, linewidth=1.0, linestyle=stroke, label=shorten(name))
        axes.set_xticks(range(len(names)), names, rotation=45)
        legend_beside(axes)


def importance_figure(importance: NDArray[np.integer], *, out: _Out, top: int = 30) -> None:
    """Draw the importance of the `top` features (Riggi et al. 2024, figure A.2), those without any left out."""
    from matplotlib.ticker import MaxNLocator

    order = np.argsort(-importance, kind="stable")[:top]
    order = order[: max(1, int((importance[order] > 0).sum()))]
    width = max(3.2, 0.21 * len(order) + 0.9)
    with drawn_axes(out, width, 2.8, xlabel="number of the feature", ylabel="splits") as axes:
        axes.bar(range(len(order)), importance[order], color=BLUE, width=0.7)
        axes.set_xticks(range(len(order)), [str(number) for number in order], rotation=90)
        axes.tick_params(axis="x", labelsize=FONT - 2, length=0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
