"""What a similarity means: how often a neighbour at it is of the query's class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.labels import read_labels
from radiossl.io.errors import RadiosslError
from radiossl.similarity.search import SimilarityIndex

#: Labelled cutouts that are asked for their neighbours, how many neighbours of each are looked at, and the fewest
#: labelled cutouts that tell anything.
_ASKED, _NEIGHBOURS, _FEWEST = 1000, 50, 30
_FOLDS = 5
#: Steps of similarity in which the measured shares are compared with the fitted ones.
_STEPS = 10


@dataclass(frozen=True)
class Calibration:
    """Shares of neighbours of the query's class by their similarity."""

    label: str  # column of the classes
    similarity: NDArray[np.float64]  # support of the fitted curve, shape (m,)
    share: NDArray[np.float64]  # the curve, which never falls, shape (m,)
    #: shape (n, 4): least and largest similarity of a tenth of the pairs, share of the same class, and standard error
    steps: NDArray[np.float64]
    asked: int  # how many labelled cutouts were asked
    chance: float  # share of the same class among all pairs of labelled cutouts
    error: float  # mean absolute difference of share and fit over the steps, on cutouts that the fit left out

    def __call__(self, similarity: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the share of neighbours at these similarities that are of the query's class."""
        return np.interp(similarity, self.similarity, self.share)

    @property
    def sentence(self) -> str:
        """What was measured, in words."""
        top = self.steps[-1]
        return (
            f"Of neighbours at a similarity above {top[0]:.3f}, {top[2]:.0%} are of the query's class in the column"
            f" {self.label}, of any two cutouts {self.chance:.0%}; measured on {self.asked:,} labelled cutouts and the"
            f" {_NEIGHBOURS} nearest of each, right to {self.error:.1%} on those that were left out."
        )


def calibrate_similarity(index: SimilarityIndex, label: str, seed: int = 0) -> Calibration:
    """Measure on the labelled cutouts of an index, at most 1,000, how often neighbours are of the same class."""
    from sklearn.isotonic import IsotonicRegression

    labels = read_labels(index.column(label), label)
    if len(labels.rows) < _FEWEST:
        raise RadiosslError(
            f"--label {label}: {len(labels.rows)} cutouts have a label, too few to say what similarities mean;"
            f" {_FEWEST} are needed"
        )
    known = np.isin(np.arange(len(index)), labels.rows)
    names = np.empty(len(index), object)
    names[labels.rows] = labels.names
    asked = np.sort(np.random.default_rng(seed).permutation(labels.rows)[:_ASKED])
    frames = index.search_many([index.query_by_row(int(row)) for row in asked], _NEIGHBOURS, known)
    similarity, found = (np.concatenate([frame[name].to_numpy() for frame in frames]) for name in ("similarity", "row"))
    query = np.repeat(np.arange(len(asked)), [len(frame) for frame in frames])
    same = (names[found] == names[asked][query]).astype(float)

    def fitted(chosen: NDArray[np.bool_]) -> IsotonicRegression:
        return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(similarity[chosen], same[chosen])

    fold = np.random.default_rng(seed).permutation(len(asked))[query] % _FOLDS
    others = np.zeros(len(same))
    for number in range(_FOLDS):
        others[fold == number] = fitted(fold != number).predict(similarity[fold == number])
    parts = np.array_split(np.argsort(similarity, kind="stable"), _STEPS)
    steps = [(*similarity[part[[0, -1]]], same[part].mean(), _error(same[part], query[part])) for part in parts]
    error = np.mean([abs(same[part].mean() - others[part].mean()) for part in parts])
    curve = fitted(np.ones(len(same), bool))
    counts = np.unique(labels.names, return_counts=True)[1]
    chance = float((counts * (counts - 1)).sum() / (counts.sum() * (counts.sum() - 1)))
    thresholds = curve.X_thresholds_, curve.y_thresholds_
    return Calibration(label, *thresholds, np.array(steps), len(asked), chance, float(error))


def _error(same: NDArray[np.float64], query: NDArray[np.int64]) -> float:
    """Standard error of a share; pairs of one query are not independent and count as one."""
    values = np.bincount(query, same) - same.mean() * np.bincount(query)
    return float(np.sqrt((values**2).sum()) / len(same))
