"""Prediction sets: the classes that cannot be excluded for an object, with a known coverage (conformal prediction).

A classifier always names a class. A conformal set holds every class whose probability is not unusually low for members
of that class, so that the set holds the true class in at least the wanted fraction of cases, class by class (Vovk et
al. 2005, section 4.5), as long as new objects are like those it was calibrated on. A set of two classes says "either";
an empty one says "neither of them".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def fit_thresholds(
    probabilities: NDArray[np.floating], truth: NDArray[np.integer], coverage: float = 0.9
) -> NDArray[np.float64]:
    """Return how far below 1 the probability of each class may be for it to stay in the set, shape (classes,).

    Fitted on probabilities (n, classes) of objects that the classifier did not learn from, so that the sets of the
    fraction `coverage` of the objects of each class hold it. Infinite for a class with fewer than coverage / (1 -
    coverage) objects, which can then never be excluded.

    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    >>> fit_thresholds(probabilities, np.array([0, 0, 1, 1]), coverage=0.5).round(2)
    array([0.2, 0.4])
    """
    classes = probabilities.shape[1]
    thresholds = np.full(classes, np.inf)
    for number in range(classes):
        scores = np.sort(1 - probabilities[truth == number, number])
        place = int(np.ceil(round((len(scores) + 1) * coverage, 9)))
        if place <= len(scores):
            thresholds[number] = scores[place - 1]
    return thresholds


def prediction_sets(probabilities: NDArray[np.floating], thresholds: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell which classes are in the set of each object, shape (n, classes)."""
    return np.asarray(1 - probabilities <= thresholds)


def held_out_sets(
    probabilities: NDArray[np.floating], truth: NDArray[np.integer], fold: NDArray[np.integer], coverage: float = 0.9
) -> NDArray[np.bool_]:
    """Return the sets of objects by thresholds fitted on all other folds than theirs, shape (n, classes)."""
    sets = np.zeros(probabilities.shape, dtype=bool)
    for number in np.unique(fold):
        tested = fold == number
        thresholds = fit_thresholds(probabilities[~tested], truth[~tested], coverage)
        sets[tested] = prediction_sets(probabilities[tested], thresholds)
    return sets


def set_texts(sets: NDArray[np.bool_], classes: Sequence[str]) -> list[str]:
    """Write sets of classes as text, such as ``FRI|FRII``; an empty set as "none".

    >>> set_texts(np.array([[True, False], [True, True], [False, False]]), ["FRI", "FRII"])
    ['FRI', 'FRI|FRII', 'none']
    """
    kinds, kind = np.unique(sets, axis=0, return_inverse=True)
    texts = ["|".join(np.array(classes)[row]) or "none" for row in kinds]
    return [texts[number] for number in kind.reshape(-1)]


def coverage_table(sets: NDArray[np.bool_], truth: NDArray[np.integer], classes: Sequence[str]) -> pd.DataFrame:
    """Return, for each class and over all, how often sets hold the true class and how many classes they hold.

    Columns: ``class``, ``objects``, ``coverage``, ``classes_per_set``, ``one_class`` and ``no_class`` (fractions of
    sets).
    """
    sizes = sets.sum(axis=1)
    covered = sets[np.arange(len(truth)), truth]
    rows = []
    for name, chosen in [*((name, truth == number) for number, name in enumerate(classes)), ("all", truth >= 0)]:
        if chosen.any():
            row = {"class": name, "objects": int(chosen.sum()), "coverage": float(covered[chosen].mean())}
            row |= {"classes_per_set": float(sizes[chosen].mean()), "one_class": float((sizes[chosen] == 1).mean())}
            rows.append(row | {"no_class": float((sizes[chosen] == 0).mean())})
    return pd.DataFrame(rows)
