"""Scores beside each other: their uncertainty, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.benchmark.measures import Score
from radiossl.evaluation.intervals import holm


def standard_error(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Standard error of a mean over objects of which those of one group are not independent."""
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))


def paired_probability(difference: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Probability of a mean difference as large as this one by chance: paired t-test over groups, two-sided.

    Returns
    -------
    float
        1 where all differences are 0.
    """
    from scipy.stats import ttest_1samp

    sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=difference)
    if len(sums) < 2 or not sums.any():
        return 1.0
    return float(ttest_1samp(sums, 0.0).pvalue) if np.ptp(sums) > 0 else 0.0


def summarise(scores: dict[tuple[str, str], dict[str, list[Score]]], reference: str) -> pd.DataFrame:
    """One row for each task, measure and method.

    Parameters
    ----------
    scores
        By task and measure, then by method: one `Score` for each initialisation, of the same objects in the same order.
    reference
        The method that all others are compared with.

    Returns
    -------
    DataFrame
        ``task``, ``measure``, ``method``, ``objects``, ``score``, its ``standard_error``, ``lowest`` and ``highest`` of
        the initialisations, ``difference`` from the reference and its ``probability`` by chance, corrected for all
        measures of that method.
    """
    rows = []
    for (task, measure), methods in scores.items():
        means = {name: np.mean([score.values for score in each], axis=0) for name, each in methods.items()}
        for name, each in methods.items():
            values, groups, single = means[name], each[0].groups, [float(score.values.mean()) for score in each]
            compared = reference in means and name != reference
            difference = values - means[reference] if compared else np.array([np.nan])
            rows.append(
                {
                    "task": task,
                    "measure": measure,
                    "method": name,
                    "objects": len(values),
                    "score": float(values.mean()),
                    "standard_error": standard_error(values, groups),
                    "lowest": min(single),
                    "highest": max(single),
                    "difference": float(difference.mean()),
                    "probability": paired_probability(difference, groups) if compared else np.nan,
                }
            )
    frame = pd.DataFrame(rows)
    for name in _unique(frame["method"]):
        chosen = (frame["method"] == name) & frame["probability"].notna()
        if chosen.any():
            frame.loc[chosen, "probability"] = holm(frame.loc[chosen, "probability"])
    return frame


def _unique(values: Sequence[str] | pd.Series) -> list[str]:
    return list(dict.fromkeys(values))
