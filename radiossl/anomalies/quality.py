"""How well an anomaly score finds what a person calls remarkable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.anomalies.scores import rank_fractions
from radiossl.evaluation.intervals import ONE_SIGMA
from radiossl.evaluation.labels import read_labels
from radiossl.io.errors import RadiosslError
from radiossl.io.files import one_or_more

#: Fractions of a ranking within which recall is given.
TOP_FRACTIONS = (0.05, 0.1)

#: Test sets drawn again with replacement.
_DRAWS = 1000


_COMPARISONS = {">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less}


@dataclass(frozen=True)
class AnomalyLabels:
    """Which of some objects a person calls anomalous."""

    rows: NDArray[np.int64]  # of the table that have a label, shape (n,)
    names: NDArray[np.str_]  # their labels as text, shape (n,)
    anomalous: NDArray[np.bool_]  # whether the label counts as anomalous, shape (n,); both answers occur


def read_anomaly_labels(values: NDArray[Any], column: str, anomalous: Sequence[str]) -> AnomalyLabels:
    """Turn a column into labels; `anomalous` are values that count as such, or one comparison, as ``>=4``."""
    anomalous = one_or_more(anomalous)
    if not anomalous:
        raise RadiosslError(f'--label {column}: say which values are anomalous, as in --anomalous ">=4"')
    labels = read_labels(values, column)
    sign = next((sign for sign in _COMPARISONS if anomalous[0].startswith(sign)), None)
    if sign and len(anomalous) == 1:
        limit = pd.to_numeric(anomalous[0].removeprefix(sign), errors="coerce")
        if np.isnan(limit):
            raise RadiosslError(f"--anomalous {anomalous[0]}: expected a number after {sign}")
        ratings = pd.to_numeric(pd.Series(labels.names), errors="coerce").to_numpy(dtype=float)
        if np.isnan(ratings).any():
            other = str(labels.names[np.isnan(ratings)][0])
            raise RadiosslError(f"column {column!r}: --anomalous compares numbers, it holds {other!r}")
        called = _COMPARISONS[sign](ratings, limit)
    else:
        absent = [value for value in anomalous if value not in labels.classes]
        if absent:
            there = ", ".join(labels.classes[:20])
            raise RadiosslError(f"--anomalous {absent[0]}: not a value of column {column!r}, which has {there}")
        called = np.isin(labels.names, list(anomalous))
    if called.all() or not called.any():
        number = "all" if called.all() else "none"
        raise RadiosslError(f"--anomalous {' '.join(anomalous)}: {number} of the {len(called)} labels are, both needed")
    return AnomalyLabels(labels.rows, labels.names, called)


def ranking_quality(scores: NDArray[np.floating], anomalous: NDArray[np.bool_]) -> dict[str, float]:
    """Measure how well a ranking of labelled objects finds the anomalous ones.

    ``auc``: area under the ROC curve. ``average_precision``. ``recall@5%`` and ``recall@10%``: fraction of the
    anomalous ones among that part of the labelled objects with the highest scores (at least one object); the best that
    is possible is the part divided by the fraction of anomalous ones, where that is below 1. ``crossing``: recall where
    it equals precision, which is where as many are taken as are anomalous. Objects of equal score are taken in random
    order: what is given is the mean over such orders.
    """
    codes = np.unique(-np.asarray(scores, dtype=np.float64), return_inverse=True)[1]
    return _quality(codes, anomalous, np.ones(len(codes)))


def _quality(codes: NDArray[np.int64], anomalous: NDArray[np.bool_], weights: NDArray[np.float64]) -> dict[str, float]:
    """`ranking_quality` of objects that occur several times; codes number the scores from the highest."""
    length = int(codes.max()) + 1
    right = np.bincount(codes, weights * anomalous, length)
    wrong = np.bincount(codes, weights * ~anomalous, length)
    sought, total = right.sum(), weights.sum()
    taken = np.concatenate([[0.0], np.cumsum(right + wrong)])
    hit = np.concatenate([[0.0], np.cumsum(right)])
    below = wrong.sum() - np.cumsum(wrong) + wrong / 2
    step = (right > 0) & (taken[1:] > 0)
    result = {
        "auc": float((right * below).sum() / (sought * wrong.sum())),
        "average_precision": float((right * hit[1:])[step] @ (1 / taken[1:][step]) / sought),
    }
    for part in TOP_FRACTIONS:
        result[f"recall@{part:.0%}"] = float(np.interp(max(1.0, np.round(part * total)), taken, hit) / sought)
    return result | {"crossing": float(np.interp(sought, taken, hit) / sought)}


def bootstrap_auc(
    scores: NDArray[np.floating], anomalous: NDArray[np.bool_], groups: NDArray[np.int64] | None = None, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of one standard deviation of the AUC over labelled objects drawn again.

    Of several scores, shape (m, n), it is that of their mean AUC. Objects of one group, such as those near each other
    on the sky, are drawn together. Draws without both kinds are left out.
    """
    ranked = [np.unique(-one, return_inverse=True)[1] for one in np.atleast_2d(np.asarray(scores, dtype=np.float64))]
    members = np.arange(len(anomalous)) if groups is None else np.unique(groups, return_inverse=True)[1]
    number = int(members.max()) + 1
    rng = np.random.default_rng(seed)
    areas = []
    for _ in range(_DRAWS):
        weights = np.bincount(rng.integers(0, number, number), minlength=number)[members].astype(np.float64)
        if weights[anomalous].any() and weights[~anomalous].any():
            areas.append(np.mean([_quality(codes, anomalous, weights)["auc"] for codes in ranked]))
    low, high = np.quantile(areas, [(1 - ONE_SIGMA) / 2, (1 + ONE_SIGMA) / 2])
    return float(low), float(high)


def compare_scores(
    scores: Mapping[str, Sequence[NDArray[np.floating]]], labels: AnomalyLabels, groups: NDArray[np.int64] | None = None
) -> pd.DataFrame:
    """Compare several scores by the same labels.

    By name there are scores of all objects of the table, shape (n,), one array for each seed. Returns a row for each:
    ``name``, ``seeds``, the means over the seeds of all that `ranking_quality` gives and their standard deviations
    (``..._std``), ``auc_low`` and ``auc_high`` (of that mean, over objects drawn again by the groups of the labelled
    objects, see `bootstrap_auc`), and the ranks of the anomalous among all objects, labelled or not: ``rank_in_all``
    (median of `rank_fractions`) and ``recall_in_all@5%``, ``recall_in_all@10%``.
    """
    rows = []
    for name, seeds in scores.items():
        found = []
        for one in seeds:
            places = rank_fractions(one)[labels.rows[labels.anomalous]]
            found.append(
                ranking_quality(one[labels.rows], labels.anomalous)
                | {"rank_in_all": float(np.median(places))}
                | {f"recall_in_all@{part:.0%}": float((places > 1 - part).mean()) for part in TOP_FRACTIONS}
            )
        each, row = pd.DataFrame(found), {"name": name, "seeds": len(seeds)}
        for key in each:
            row |= {key: each[key].mean(), f"{key}_std": each[key].std(ddof=1)}
        low, high = bootstrap_auc(np.array([one[labels.rows] for one in seeds]), labels.anomalous, groups)
        rows.append(row | {"auc_low": low, "auc_high": high})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class ThresholdCurves:
    """What is selected by each threshold (Riggi et al. 2024, figure 12); all of shape (m,)."""

    #: every score of a labelled object, falling; an object is selected from the threshold on
    thresholds: NDArray[np.float64]
    recall: NDArray[np.float64]  # fraction of the anomalous objects that are selected
    precision: NDArray[np.float64]  # fraction of the selected labelled objects that are anomalous (reliability)
    #: For each other label, the fraction of the selected labelled objects that have it; with the precision they add up
    #: to 1, as in table 4 of Riggi et al. (2024).
    contamination: dict[str, NDArray[np.float64]]
    unlabelled: NDArray[np.float64]  # fraction of all selected objects that have no label
    crossing: int  # index of the threshold at which recall and precision are equal, or nearest to it

    def at_crossing(self) -> dict[str, float]:
        """One row of table 4: threshold, recall, precision and contamination where the curves cross."""
        row = {name: float(getattr(self, name)[self.crossing]) for name in ("recall", "precision", "unlabelled")}
        parts = {f"contamination[{name}]": float(part[self.crossing]) for name, part in self.contamination.items()}
        return {"threshold": float(self.thresholds[self.crossing])} | row | parts


#: Labels beyond this many are drawn as one.
_MOST_LABELS = 6
_OTHERS = "all others"


def threshold_curves(scores: NDArray[np.floating], labels: AnomalyLabels) -> ThresholdCurves:
    """Measure recall, precision and contamination by label at every threshold of a score, shape (n,), of all objects.

    Where more than six labels are not anomalous, the five most frequent are kept apart.
    """
    negative, codes = np.unique(-scores[labels.rows], return_inverse=True)
    taken = np.cumsum(np.bincount(codes))
    hit = np.cumsum(np.bincount(codes, labels.anomalous))
    kinds = pd.Series(labels.names[~labels.anomalous]).value_counts().index.tolist()
    kept = kinds if len(kinds) <= _MOST_LABELS else kinds[: _MOST_LABELS - 1]
    names = np.where(np.isin(labels.names, kept), labels.names, _OTHERS)
    parts = {
        name: np.cumsum(np.bincount(codes, ~labels.anomalous & (names == name))) / taken
        for name in [*sorted(kept), *([_OTHERS] if len(kept) < len(kinds) else [])]
    }
    everything = np.searchsorted(np.sort(-scores), negative, side="right")
    sought = int(labels.anomalous.sum())
    crossing = int(np.abs(taken - sought).argmin())
    return ThresholdCurves(-negative, hit / sought, hit / taken, parts, 1 - taken / everything, crossing)
