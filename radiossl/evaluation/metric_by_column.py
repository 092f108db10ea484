"""Scores of a classifier as a function of a column of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from radiossl.evaluation.calibration import Predictions
from radiossl.evaluation.intervals import ONE_SIGMA, wilson_half_width, wilson_interval
from radiossl.io.errors import RadiosslError

Metric = Literal["f1", "accuracy", "recall"]
F1Interval = Literal["clarke", "exact"]


@dataclass(frozen=True)
class MetricByColumn:
    """Scores in bins of a column; NaN where not defined."""

    metric: Metric
    edges: NDArray[np.float64]  # in the column's unit, shape (bins + 1,); a bin holds its lower edge, the last one both
    centres: NDArray[np.float64]  # median of the values in each bin, shape (bins,)
    counts: NDArray[np.int64]  # objects in each bin, shape (bins,)
    classes: list[str]  # whose scores these are: those of the predictions, or ``all`` for the accuracy
    scores: NDArray[np.float64]  # shape (classes, bins), as low, high and trials
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    trials: NDArray[np.int64]  # objects that each score rests on
    missing: int  # objects left out because the column is NaN or infinite for them
    outside: int  # objects left out because they are in none of the bins


def metric_by_column(
    predictions: Predictions,
    values: ArrayLike,
    *,
    bins: int = 8,
    edges: Sequence[float] | NDArray[np.floating] | None = None,
    metric: Metric = "f1",
    f1_interval: F1Interval = "clarke",
    level: float = ONE_SIGMA,
) -> MetricByColumn:
    """Score a classifier in bins of a column, such as angular size, signal-to-noise ratio or redshift.

    Of the objects in a bin, the F1 score of a class rests on those n = TP + FP + FN that are of the class, or predicted
    to be. Clarke et al. (2020) take TP of n as successes and draw the half width of Wilson's interval of that
    proportion to both sides of F1; their published program (SDSS_ML_analysis.py) shows how. That is ``clarke``, cut off
    here at 0 and 1; bins with a single true positive, which they leave out, are kept. But the proportion J = TP / n is
    not F1: F1 = 2J / (1 + J). ``exact`` takes the ends of Wilson's interval of J through this equation: about half as
    wide where F1 is near 1, and as well founded as the interval of an accuracy. Accuracy and recall are proportions
    themselves and have Wilson's interval.

    `values` is the column for the same objects, shape (n,); what is NaN or infinite is counted and left out. There are
    `bins` bins with equally many objects, fewer where many values are equal, or those between the rising `edges`.
    """
    from scipy.special import ndtri

    if metric not in get_args(Metric) or f1_interval not in get_args(F1Interval):
        raise RadiosslError(
            f"metric {metric!r} with interval {f1_interval!r}: choose among {get_args(Metric)} and "
            f"{get_args(F1Interval)}"
        )
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (len(predictions),):
        raise RadiosslError(f"{len(predictions)} predictions, but a column of shape {column.shape}")
    known = np.isfinite(column)
    if bins < 1:
        raise RadiosslError(f"bins must be at least 1, not {bins}")
    borders = quantile_edges(column, bins) if edges is None else np.asarray(edges, dtype=np.float64)
    if edges is None and len(borders) < 2:
        raise RadiosslError("a column needs at least two different values to be divided into bins")
    if borders.ndim != 1 or len(borders) < 2 or not (np.diff(borders) > 0).all():
        raise RadiosslError(f"edges of bins must be two or more rising numbers, not {borders}")
    number = len(borders) - 1
    place = np.searchsorted(borders, column, side="right") - 1
    place[column == borders[-1]] = number - 1
    inside = known & (place >= 0) & (place < number)
    place, truth, predicted = place[inside], predictions.truth[inside], predictions.predicted[inside]
    if metric == "accuracy":
        names, right, counted = ["all"], (truth == predicted)[None], np.ones((1, len(truth)), dtype=bool)
    else:
        names = predictions.classes
        of_class, said = (values == np.arange(len(names))[:, None] for values in (truth, predicted))
        right, counted = of_class & said, of_class | said if metric == "f1" else of_class
    successes, trials = (
        np.stack([np.bincount(place[row], minlength=number) for row in chosen]) for chosen in (right, counted)
    )
    proportion = successes / np.where(trials > 0, trials, np.nan)
    low, high = wilson_interval(successes, trials, level)
    scores = proportion
    if metric == "f1":
        scores = _f1(proportion)
        if f1_interval == "exact":
            low, high = _f1(low), _f1(high)
        else:
            z = float(ndtri((1 + level) / 2))
            half = wilson_half_width(proportion, np.where(trials > 0, trials, np.nan), z)
            low, high = np.clip(scores - half, 0, 1), np.clip(scores + half, 0, 1)
    return MetricByColumn(
        metric=metric,
        edges=borders,
        centres=pd.Series(column[inside]).groupby(place).median().reindex(range(number)).to_numpy(),
        counts=np.bincount(place, minlength=number),
        classes=list(names),
        scores=scores,
        low=low,
        high=high,
        trials=trials,
        missing=int((~known).sum()),
        outside=int((known & ~inside).sum()),
    )


def quantile_edges(values: NDArray[np.float64], bins: int, tail: float = 0.0) -> NDArray[np.float64]:
    """Return edges of bins with equally many finite values, without this fraction at either end; fewer if equal."""
    known = values[np.isfinite(values)]
    return np.unique(np.quantile(known, np.linspace(tail, 1 - tail, bins + 1))) if known.size else known


def _f1(jaccard: NDArray[np.float64]) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN) from TP / (TP + FP + FN)."""
    return 2 * jaccard / (1 + jaccard)
