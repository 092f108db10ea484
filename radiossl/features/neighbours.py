"""Neighbours in feature space by cosine similarity, and classification by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.neighbors import KNeighborsClassifier


def knn_predict(
    train: NDArray[np.floating], labels: NDArray[Any], test: NDArray[np.floating], k: int = 20
) -> NDArray[Any]:
    """Predict labels by a majority vote of the k neighbours with the highest cosine similarity.

    Parameters
    ----------
    train, test
        Features, shapes (n, d) and (m, d).
    labels
        Of the training features, shape (n,).
    k
        Number of neighbours (20 in Slijepcevic et al. 2022, section 3); all of them if there are fewer.

    Returns
    -------
    ndarray
        Shape (m,).
    """
    return nearest_neighbours(train, labels, k).predict(test)


def nearest_neighbours(train: NDArray[np.floating], labels: NDArray[Any], k: int) -> KNeighborsClassifier:
    """Return the fitted classifier of `knn_predict`, for its votes."""
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=min(k, len(train)), metric="cosine", algorithm="brute")
    return classifier.fit(train, labels)


def unit(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return features scaled to length 1, shape (n, d), float32; zeros stay zeros."""
    vectors = np.ascontiguousarray(features, dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
