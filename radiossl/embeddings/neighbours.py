"""Classification by nearest neighbours in feature space, the plainest judge of a representation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=min(k, len(train)), metric="cosine", algorithm="brute")
    return classifier.fit(train, labels).predict(test)
