"""Clusters of sources that look alike, found by k-means on the unit vectors of the features.

HDBSCAN was tried on features of FIRST sources: it leaves four of five sources without a cluster.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Numbers of clusters that are tried, as many as there are colours; and the fewest sources for each.
NUMBERS = range(2, 9)
_FEWEST = 5
#: Of numbers that separate the sources about as well (mean silhouettes this close), the largest is taken.
_AS_GOOD = 0.02
#: Sources that the number, and then the centres, are found from.
_MEASURED, _FITTED = 3000, 20_000
_BATCH = 8192
_TYPICAL = 6


@dataclass(frozen=True, eq=False)
class Clusters:
    """A partition of sources, the largest cluster first."""

    codes: NDArray[np.int64]  # cluster of each source, from 0, shape (n,)
    typical: list[NDArray[np.int64]]  # rows of the members nearest to each centre, nearest first

    @property
    def names(self) -> NDArray[np.str_]:
        """The name of each source's cluster: its number from 1, all with as many digits, shape (n,)."""
        digits = len(str(len(self.typical)))
        return np.array([f"{number:0{digits}}" for number in range(1, len(self.typical) + 1)])[self.codes]


def find_clusters(vectors: NDArray[np.floating], seed: int = 0) -> Clusters | None:
    """Partition sources by k-means, into a number of clusters that the silhouette (Rousseeuw 1987) decides.

    `vectors` are unit vectors, shape (n, feature_dim). None for fewer than 10 sources, or if all look the same.

    >>> import numpy as np
    >>> find_clusters(np.repeat(np.eye(3), 8, axis=0)).codes[::8].tolist()
    [0, 1, 2]
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import pairwise_distances_argmin_min, silhouette_score

    rng = np.random.default_rng(seed)
    sample = vectors[_some(rng, len(vectors), _FITTED)].astype(np.float32)
    measured = sample[_some(rng, len(sample), _MEASURED)]
    different = len(np.unique(measured, axis=0))
    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer different vectors than clusters
        for number in NUMBERS:
            if number <= min(len(measured) // _FEWEST, different - (different == len(measured))):
                codes = KMeans(number, n_init=2, random_state=seed).fit_predict(measured)
                scores[number] = silhouette_score(measured, codes)
        if not scores:
            return None
        number = max(number for number, score in scores.items() if score >= max(scores.values()) - _AS_GOOD)
        centres = KMeans(number, n_init=2, random_state=seed).fit(sample).cluster_centers_.astype(np.float32)
    batches = (vectors[start : start + _BATCH].astype(np.float32) for start in range(0, len(vectors), _BATCH))
    nearest = [pairwise_distances_argmin_min(batch, centres) for batch in batches]
    codes, distances = map(np.concatenate, zip(*nearest, strict=True))
    order = np.argsort(-np.bincount(codes, minlength=number), kind="stable")
    codes = np.argsort(order)[codes]
    members = (np.flatnonzero(codes == code) for code in range(number))
    return Clusters(codes, [rows[np.argsort(distances[rows], kind="stable")[:_TYPICAL]] for rows in members])


def _some(rng: np.random.Generator, count: int, most: int) -> NDArray[np.int64]:
    return np.sort(rng.choice(count, min(count, most), replace=False))
