"""Out-of-distribution score: how far an object lies from those that a classifier learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.folds import Split, draw_folds, most_folds

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

    middle: NDArray[np.float32]  # medians of the columns, which stand for missing values, shape (d,)
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
    folds = min(_FOLDS, most_folds(names, groups))
    if folds < 2:
        splits = [(np.arange(len(features)), np.arange(len(features)))]
    else:
        splits = [(split.train, split.test) for split in draw_folds(names, folds, 1, seed, groups)]
    held_out = np.concatenate([_fitted(features[train]).scores(features[test]) for train, test in splits])
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
    known = distances[np.isfinite(distances)]
    return float(np.quantile(known, USUAL)) or 1.0 if known.size else 1.0


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
