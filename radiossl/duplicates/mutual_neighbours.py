"""Pairs of rows that are among each other's nearest neighbours in feature space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radiossl.features.neighbours import unit
from radiossl.features.vector_index import VectorIndex
from radiossl.io.progress import track

#: Above this number of rows, neighbours are searched in the nearest clusters only.
_EXACT_ROWS = 100_000
_BLOCK = 4096
#: Cosines of float32 features are no more exact than this.
_ROUNDING = 1e-6


def mutual_neighbours(features: NDArray[np.floating], k: int = 10) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of rows of which each is among the k nearest of the other by cosine similarity.

    Rows that are equal in every bit are linked in a chain, however many there are.

    The search is exact up to 100,000 rows; above, it is in the nearest clusters (`VectorIndex`). Rows are of shape (m,
    2), the smaller one first, in order. Beside them are ratios, shape (m,): the distance 1 - similarity, divided by the
    geometric mean of the two rows' distances to their k-th neighbours (local scaling, Zelnik-Manor & Perona 2004). The
    scale of a backbone's similarities drops out.
    """
    total = len(features)
    keys, counts, far = neighbour_keys(features, k)
    marks = np.array([hash(row.tobytes()) for row in features])
    order = np.argsort(marks, kind="stable")  # of copies, the smaller row first
    chained = (order[:-1] * total + order[1:])[marks[order[1:]] == marks[order[:-1]]]
    rows = np.stack(np.divmod(np.union1d(keys[counts == 2], chained), total), axis=1)
    distance = np.maximum(1 - cosine_of_pairs(features, rows), 0)
    scale = np.sqrt(np.maximum(far[rows[:, 0]], 0) * np.maximum(far[rows[:, 1]], 0))
    # Where all k neighbours are copies there is no scale, and a copy is as close as can be.
    return rows, np.divide(distance, scale, out=np.zeros(len(rows)), where=scale > _ROUNDING)


def neighbour_keys(
    features: NDArray[np.floating], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return all pairs in which one is among the k nearest of the other by cosine similarity.

    As keys, smaller row * n + larger row, ascending, shape (m,); with counts, in how many of the two lists of
    neighbours each is, 1 or 2; and the distance 1 - similarity of every row to its k-th neighbour, shape (n,).
    """
    total = len(features)
    k = min(k, total - 1)
    found = np.empty((total, k), dtype=np.int64)
    far = np.empty(total)
    index = VectorIndex.from_features(features, _EXACT_ROWS)
    for start in track(range(0, total, _BLOCK), "searching neighbours"):
        stop = min(start + _BLOCK, total)
        # One more than k, since a row finds itself; among more than k copies of it, perhaps not.
        similarities, neighbours = index.search(features[start:stop], k + 1)
        own = neighbours == np.arange(start, stop)[:, None]
        own[~own.any(axis=1), -1] = True
        found[start:stop] = neighbours[~own].reshape(-1, k)
        far[start:stop] = 1 - similarities[~own].reshape(-1, k)[:, -1]
    first, second = np.repeat(np.arange(total), k), found.ravel()
    known = second >= 0  # an inexact search may come back with fewer
    keys = np.minimum(first, second)[known] * total + np.maximum(first, second)[known]
    keys, counts = np.unique(keys, return_counts=True)
    return keys, counts, far


def cosine_of_pairs(features: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the cosine similarity of pairs of rows, shape (m,) for `rows` of shape (m, 2)."""
    cosines = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        first, second = (unit(features[part[:, side]]).astype(np.float64) for side in (0, 1))
        cosines[start : start + len(part)] = np.einsum("ij,ij->i", first, second)
    return cosines
