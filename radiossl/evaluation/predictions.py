"""Predicted class probabilities of a test set, beside the true classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError

#: Probabilities of an object may miss a sum of 1 by this much.
_SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Predictions:
    """Class probabilities of n objects whose class is known; a `RadiosslError` says what does not fit."""

    classes: list[str]  # sorted; there may be classes that no object has
    truth: NDArray[np.int64]  # number of each object's class, shape (n,)
    probabilities: NDArray[np.float64]  # shape (n, classes); every row sums to 1 within 1e-6
    ids: NDArray[Any]  # what the objects are called, shape (n,)

    def __post_init__(self) -> None:
        number = len(self.truth)
        if number == 0:
            raise RadiosslError("predictions: there is no object; at least one is needed")
        if self.classes != sorted(set(self.classes)):
            raise RadiosslError(f"predictions: classes must be sorted and different, not {self.classes}")
        if self.probabilities.shape != (number, len(self.classes)):
            raise RadiosslError(
                f"predictions: {number} objects and {len(self.classes)} classes need probabilities of shape "
                f"{(number, len(self.classes))}, not {self.probabilities.shape}"
            )
        if self.truth.shape != (number,) or self.ids.shape != (number,):
            raise RadiosslError(
                f"predictions: truth and ids must both have shape (n,), not {self.truth.shape} and {self.ids.shape}"
            )
        if not np.issubdtype(self.truth.dtype, np.integer):
            raise RadiosslError(f"predictions: truth must hold numbers of classes, not {self.truth.dtype}")
        if self.truth.min() < 0 or self.truth.max() >= len(self.classes):
            raise RadiosslError(f"predictions: truth must be numbers from 0 to {len(self.classes) - 1}")
        within = (self.probabilities >= 0) & (self.probabilities <= 1 + _SUM_TOLERANCE)  # false for NaN too
        bad = np.flatnonzero(~within.all(axis=1) | ~(abs(self.probabilities.sum(axis=1) - 1) <= _SUM_TOLERANCE))
        if bad.size:
            raise RadiosslError(
                f"predictions: probabilities of object {self.ids[bad[0]]} are {self.probabilities[bad[0]]}; expected "
                "numbers from 0 to 1 that sum to 1"
            )

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Number of the most probable class of each object, the first of equals, shape (n,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the most probable class is the true one, shape (n,)."""
        return self.predicted == self.truth
