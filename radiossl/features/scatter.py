"""Mean and principal axes of rows that come a batch at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Scatter:
    """Collects of batches of rows what their principal components need, in float64.

    Parameters
    ----------
    dimension
        Of a row.
    """

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
