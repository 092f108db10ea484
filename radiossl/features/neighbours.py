"""Neighbours in feature space by cosine similarity, classification by them, and principal axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.neighbors import KNeighborsClassifier


def nearest_neighbours(train: NDArray[np.floating], labels: NDArray[Any], k: int = 20) -> KNeighborsClassifier:
    """Return a classifier by a vote of the k nearest training features, each weighted by cosine similarity.

    Features are (n, d), labels (n,). By default k is that of Slijepcevic et al. 2022, section 3; all features vote if
    there are fewer.
    """
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(min(k, len(train)), metric="cosine", algorithm="brute", weights=_similarity)
    return classifier.fit(train, labels)


def _similarity(distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights of neighbours at cosine distances, shape (n, k), nearest first.

    A neighbour counts by its cosine similarity, so that even numbers of votes do not end in a tie, which the first
    class by name would win. One that is not similar at all counts next to nothing; of equally similar ones the first.
    """
    similarity = np.maximum(1 - distances.astype(np.float64), 1e-9)
    return similarity * np.linspace(1, 1 - 1e-9, distances.shape[1])


def unit(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return features scaled to length 1, shape (n, d), float32; zeros stay zeros."""
    vectors = np.ascontiguousarray(features, dtype=np.float32)
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (odd := ~((lengths > 1e-12) & (lengths < np.inf))[:, 0]).any():  # or float32 does not hold the squares
        largest = np.abs(vectors[odd]).max(axis=1, keepdims=True)
        vectors = vectors.copy()
        vectors[odd] /= np.where(largest > 0, largest, 1)
        lengths[odd] = np.linalg.norm(vectors[odd], axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


class Scatter:
    """Collects of batches of rows of a dimension what their principal components need, in float64."""

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self._origin = np.zeros(dimension)
        self._total = np.zeros(dimension)
        self._products = np.zeros((dimension, dimension))

    def add(self, rows: NDArray[np.floating]) -> None:
        """Take in rows of shape (n, dimension)."""
        if not self.count:
            self._origin = rows.mean(axis=0, dtype=np.float64)  # near the mean, the products below lose no digits
        centred = rows - self._origin
        self._total += centred.sum(axis=0)
        self._products += centred.T @ centred
        self.count += len(rows)

    def mean_and_covariance(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean and the covariance of the rows so far, shapes (dimension,) and (dimension, dimension)."""
        offset = self._total / self.count
        return self._origin + offset, self._products / self.count - np.outer(offset, offset)

    def principal_axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and principal axes of the rows so far, and the variances along them, the largest first.

        Each axis is a row, whose entry of the largest size is positive.
        """
        mean, covariance = self.mean_and_covariance()
        variances, axes = np.linalg.eigh(covariance)
        axes = axes[:, ::-1].T
        largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
        return mean, axes * np.sign(largest)[:, None], variances[::-1]
