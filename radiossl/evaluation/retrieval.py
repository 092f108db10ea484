"""Retrieval scores: do the nearest neighbours of an object in feature space have the same class?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError

#: Similarities held at a time: 32 MiB for any number of objects.
_ENTRIES = 2**23


@dataclass(frozen=True)
class RetrievalScore:
    """A score of searches, one for each object."""

    mean: float  # over all objects that have another one of their class to be found
    per_class: dict[str, float]  # over the objects of each class; NaN for a class of one


def precision_at_k(features: NDArray[np.floating], labels: NDArray[Any], k: int) -> RetrievalScore:
    """Fraction of the k nearest neighbours (cosine similarity, the object itself left out) of the object's own class.

    Where the k-th neighbour is as similar as others, the mean over all choices among them is taken: features that have
    collapsed to a point score like neighbours at random. A class with no more than k objects cannot reach 1. Features
    are of shape (n, d), labels of shape (n,).
    """
    _check(features, labels)
    if not 1 <= k < len(features):
        raise RadiosslError(f"precision at k: k must be from 1 to {len(features) - 1} (objects less one), not {k}")
    names, codes = np.unique(labels, return_inverse=True)
    scores = np.empty(len(features))
    for rows, similarities in _similarities(features):
        own = codes[rows, None] == codes  # (rows, n)
        last = np.partition(similarities, -k, axis=1)[:, -k, None]
        nearer, tied = similarities > last, similarities == last
        open_places = k - nearer.sum(axis=1)
        chance = (tied & own).sum(axis=1) / tied.sum(axis=1)
        scores[rows] = ((nearer & own).sum(axis=1) + open_places * chance) / k
    return _summary(scores, names, codes)


def mean_average_precision(features: NDArray[np.floating], labels: NDArray[Any]) -> RetrievalScore:
    """Mean average precision of searches by cosine similarity, the object itself left out.

    The average precision of one search is the mean, over the objects of the query's class, of the precision among all
    objects that are at least as similar as that one. Features are of shape (n, d), labels of shape (n,).
    """
    _check(features, labels)
    names, codes = np.unique(labels, return_inverse=True)
    scores = np.full(len(features), np.nan)
    for rows, similarities in _similarities(features):
        own = (codes[rows, None] == codes) & (similarities > -np.inf)
        for row, (every, mask) in enumerate(zip(similarities, own, strict=True), start=rows.start):
            if mask.any():
                ranked, found = np.sort(every), np.sort(every[mask])
                at_least_all = len(ranked) - np.searchsorted(ranked, found)
                at_least_own = len(found) - np.searchsorted(found, found)
                scores[row] = (at_least_own / at_least_all).mean()
    return _summary(scores, names, codes)


def _check(features: NDArray[np.floating], labels: NDArray[Any]) -> None:
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(features) < 2:
        raise RadiosslError(
            f"retrieval: expected features (n, d) and labels (n,) of at least 2 objects, not {features.shape} and "
            f"{labels.shape}"
        )
    if not np.isfinite(features).all():
        raise RadiosslError("retrieval: features must be finite")


def _similarities(features: NDArray[np.floating]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Cosine similarities of some rows to all, (rows, n), each object to itself -inf; features of 0 are like none."""
    lengths = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    unit: NDArray[np.float32] = (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    step = max(1, _ENTRIES // len(unit))
    for start in range(0, len(unit), step):
        rows = slice(start, min(start + step, len(unit)))
        similarities = unit[rows] @ unit.T
        similarities[np.arange(rows.stop - start), np.arange(start, rows.stop)] = -np.inf
        yield rows, similarities


def _summary(scores: NDArray[np.float64], names: NDArray[Any], codes: NDArray[np.intp]) -> RetrievalScore:
    members = np.bincount(codes)
    per_class = np.bincount(codes, weights=scores) / members
    per_class[members < 2] = np.nan
    searched = scores[members[codes] > 1]
    mean = float(searched.mean()) if searched.size else float("nan")
    return RetrievalScore(mean, {str(name): float(value) for name, value in zip(names, per_class, strict=True)})
