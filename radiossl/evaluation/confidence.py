"""How far a prediction can be trusted: conformal prediction sets with a known coverage, and an outlier score.

A classifier always names a class. A conformal set holds every class whose probability is not unusually low for members
of that class, so that the set holds the true class in at least the wanted fraction of cases, class by class (Vovk et
al. 2005, section 4.5), as long as new objects are like those it was calibrated on. A set of two classes says "either";
an empty one says "neither of them".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.evaluation.folds import Split, draw_folds, most_folds


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
    each = pd.DataFrame(
        {"coverage": covered, "classes_per_set": sizes, "one_class": sizes == 1, "no_class": sizes == 0}
    )
    of_class = {name: truth == number for number, name in enumerate(classes)} | {"all": truth >= 0}
    rows = [
        {"class": name, "objects": int(n.sum())} | each[n].mean().to_dict() for name, n in of_class.items() if n.any()
    ]
    return pd.DataFrame(rows)


#: Fraction of objects like those learnt from that score below 1.
USUAL = 0.99
#: Principal components that are compared at most: more would cost time and add little.
_COMPONENTS = 256
#: Standard deviations at which the distance in a single column ends.
_FARTHEST = 10.0
_FOLDS = 5


@dataclass(frozen=True)
class Novelty:
    """Distances of objects from those learnt from, in units of what one in a hundred like them exceeds."""

    middle: NDArray[np.float32]  # medians of the columns, used for missing values, shape (d,)
    spread: NDArray[np.float32]  # standard deviations of the columns, shape (d,)
    #: of standardised columns: unit covariance of the rows learnt from, shape (d, components)
    whitening: NDArray[np.float32]
    unit: float  # distance that 1 % of rows like those learnt from exceed

    @property
    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """What a file keeps of it beside the unit."""
        return {"middle": self.middle, "spread": self.spread, "whitening": self.whitening}

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the out-of-distribution score of each row, shape (n,): above 1 is unusual; NaN if all is missing."""
        missing = ~np.isfinite(features)
        distances = np.linalg.norm(_standard(features, self.middle, self.spread) @ self.whitening, axis=1)
        return np.where(missing.all(axis=1), np.nan, distances / self.unit)


def fit_novelty(features: NDArray[np.floating], groups: NDArray[np.int64] | None = None, seed: int = 0) -> Novelty:
    """Learn what is usual: the Mahalanobis distance on standardised columns with shrunken covariance.

    Covariances are shrunken as by Ledoit & Wolf (2004). The distance that is usual is measured on held-out folds, since
    rows that the covariance was estimated from lie nearer than others. Features of shape (n, d) may be NaN; rows of one
    source, with equal `groups`, stay in one fold.

    >>> rng = np.random.default_rng(0)
    >>> novelty = fit_novelty(rng.normal(size=(500, 4)))
    >>> bool((novelty.scores(rng.normal(size=(1000, 4))) > 1).mean() < 0.03)
    True
    """
    names = np.zeros(len(features), dtype=np.int64)
    folds, every = min(_FOLDS, most_folds(names, groups)), np.arange(len(features))
    splits = [Split(every, every)] if folds < 2 else draw_folds(names, folds, 1, seed, groups)
    held_out = np.concatenate([_fitted(features[split.train]).scores(features[split.test]) for split in splits])
    return replace(_fitted(features), unit=_unit(held_out))


def held_out_scores(features: NDArray[np.floating], splits: Sequence[Split]) -> NDArray[np.float64]:
    """Return the out-of-distribution score of the tested rows of all splits, in the order of the rows.

    The splits test every row once. Each is seen from the rows that its split learns from; the unit comes from the
    tested rows of the other splits.
    """
    parts = [_fitted(features[split.train]).scores(features[split.test]) for split in splits]
    units = [_unit(np.concatenate([*parts[:place], *parts[place + 1 :]] or parts)) for place in range(len(parts))]
    scores = np.concatenate([part / unit for part, unit in zip(parts, units, strict=True)])
    return scores[np.argsort(np.concatenate([split.test for split in splits]), kind="stable")]


def _unit(distances: NDArray[np.float64]) -> float:
    """Return the distance that a new object exceeds with a probability of at most 1 - `USUAL`, as in `fit_thresholds`.

    A quantile between two distances would be exceeded more often. Fewer than 99 can promise no more than their largest.
    """
    known = np.sort(distances[np.isfinite(distances)])
    place = min(int(np.ceil(round((len(known) + 1) * USUAL, 9))), len(known))
    return float(known[place - 1]) or 1.0 if known.size else 1.0


def _fitted(features: NDArray[np.floating]) -> Novelty:
    from sklearn.covariance import ledoit_wolf

    known = np.isfinite(features)
    middle = np.zeros(features.shape[1])
    some = known.any(axis=0)
    middle[some] = np.nanmedian(np.where(known, features, np.nan)[:, some], axis=0)
    spread = np.where(known, features - middle, 0).std(axis=0)
    spread[spread == 0] = 1
    standard = _standard(features, middle, spread)
    _, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    vectors = vectors[:, ::-1][:, :_COMPONENTS]
    covariance = ledoit_wolf(standard @ vectors, assume_centered=True)[0]
    variances, turned = np.linalg.eigh(covariance)
    whitening = (vectors @ turned) / np.sqrt(np.maximum(variances, 1e-12))
    return Novelty(middle.astype(np.float32), spread.astype(np.float32), whitening.astype(np.float32), 1.0)


def _standard(
    features: NDArray[np.floating], middle: NDArray[np.floating], spread: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Standardised columns; one that hardly varied among the rows learnt from must not decide alone."""
    centred = np.where(np.isfinite(features), features - middle, 0).astype(np.float64)
    return np.clip(centred / spread, -_FARTHEST, _FARTHEST)
