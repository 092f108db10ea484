"""Out-of-distribution score: how far an object lies from those that a classifier learnt from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.folds import draw_folds, most_folds

#: Fraction of objects like those learnt from that score below 1.
USUAL = 0.99
#: Principal components that are compared at most: beyond them covariances cost more than they tell.
_COMPONENTS = 256
_FOLDS = 5


@dataclass(frozen=True)
class Novelty:
    """Distances of objects from those learnt from, in units of what one in a hundred like them exceeds.

    Attributes
    ----------
    middle
        Medians of the columns, which stand for missing values, shape (d,).
    whitening
        Projection after which the rows learnt from have unit covariance, shape (d, components).
    unit
        Distance that 1 % of rows like those learnt from exceed.
    """

    middle: NDArray[np.float32]
    whitening: NDArray[np.float32]
    unit: float

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the out-of-distribution score of each row, shape (n,): above 1 is unusual; NaN if all is missing."""
        missing = ~np.isfinite(features)
        centred = np.where(missing, 0, features - self.middle).astype(np.float32)
        distances = np.linalg.norm(centred @ self.whitening, axis=1).astype(np.float64)
        return np.where(missing.all(axis=1), np.nan, distances / self.unit)


def fit_novelty(features: NDArray[np.floating], groups: NDArray[np.int64] | None = None, seed: int = 0) -> Novelty:
    """Learn what is usual: the Mahalanobis distance on standardised columns with shrunken covariance.

    Covariances are shrunken as by Ledoit & Wolf (2004). The distance that is usual is measured on held-out folds, since
    rows that the covariance was estimated from lie nearer than others.

    Parameters
    ----------
    features
        Shape (n, d), NaN where missing.
    groups
        Rows of one source, which stay in one fold, shape (n,).
    seed
        Random seed of the folds.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> novelty = fit_novelty(rng.normal(size=(500, 4)))
    >>> bool((novelty.scores(rng.normal(size=(1000, 4))) > 1).mean() < 0.03)
    True
    """
    names = np.zeros(len(features), dtype=np.int64)
    folds = min(_FOLDS, most_folds(names, groups))
    if folds < 2:
        splits = [(np.arange(len(features)), np.arange(len(features)))]
    else:
        splits = [(split.train, split.test) for split in draw_folds(names, folds, 1, seed, groups)]
    held_out = [_fitted(features[train]).scores(features[test]) for train, test in splits]
    fitted = _fitted(features)
    unit = float(np.nanquantile(np.concatenate(held_out), USUAL)) if np.isfinite(features).any() else 1.0
    return Novelty(fitted.middle, fitted.whitening, unit or 1.0)


def _fitted(features: NDArray[np.floating]) -> Novelty:
    from sklearn.covariance import ledoit_wolf

    known = np.isfinite(features)
    middle = np.zeros(features.shape[1])
    some = known.any(axis=0)
    middle[some] = np.nanmedian(np.where(known, features, np.nan)[:, some], axis=0)
    centred = np.where(known, features - middle, 0).astype(np.float64)
    spread = centred.std(axis=0)
    spread[spread == 0] = 1
    standard = centred / spread
    _, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    vectors = vectors[:, ::-1][:, :_COMPONENTS]
    covariance = ledoit_wolf(standard @ vectors, assume_centered=True)[0]
    inner, turned = np.linalg.eigh(covariance)
    whitening = (vectors @ turned) / np.sqrt(np.maximum(inner, 1e-12)) / spread[:, None]
    return Novelty(middle.astype(np.float32), whitening.astype(np.float32), 1.0)
