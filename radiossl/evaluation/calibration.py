"""Predicted class probabilities of a test set, accuracy against confidence, and the temperature that corrects it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.intervals import wilson_interval
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


#: Temperatures that are looked at, far beyond what a network needs.
TEMPERATURES = (0.02, 50.0)


@dataclass(frozen=True)
class Reliability:
    """Confidence (probability of the predicted class) against accuracy in bins of confidence; an empty bin is NaN."""

    edges: NDArray[np.float64]  # shape (bins + 1,); a bin holds its upper edge, the first one its lower edge too
    confidence: NDArray[np.float64]  # means over the objects of each bin, shape (bins,)
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]  # Wilson interval of the accuracy
    high: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean over all objects of the gap between confidence and accuracy of their bin."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float(np.nansum(self.counts * gaps) / self.counts.sum())


def reliability(predictions: Predictions, bins: int = 10) -> Reliability:
    """Compare confidence and accuracy in bins of equal width from 0 to 1 (Guo et al. 2017, section 2).

    The interval of each accuracy is one of one standard deviation.
    """
    if bins < 1:
        raise RadiosslError(f"reliability: bins must be at least 1, not {bins}")
    edges = np.linspace(0, 1, bins + 1)
    confidence = predictions.probabilities.max(axis=1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    right = np.bincount(place, weights=predictions.correct, minlength=bins)
    number = np.where(counts > 0, counts, np.nan)
    mean = np.bincount(place, weights=confidence, minlength=bins) / number
    low, high = wilson_interval(right, counts)
    return Reliability(edges, mean, right / number, low, high, counts)


def log_probabilities(probabilities: NDArray[np.floating], learnt: int) -> NDArray[np.float64]:
    """Return the logarithms of class probabilities (n, classes), none of them below 1 / (learnt + classes).

    A class that was never seen among n objects is that probable by Laplace's rule, so that no classifier that learnt
    from n objects can know of a smaller probability. Neighbours and forests say 0.

    >>> np.exp(log_probabilities(np.array([[1.0, 0.0]]), 8)).round(2)
    array([[1. , 0.1]])
    """
    return np.log(np.maximum(probabilities, 1 / (learnt + np.shape(probabilities)[1])))


def fit_temperature(log_probabilities: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Find the temperature that makes the truth of a validation set most likely (Guo et al. 2017, section 4.2).

    It is above 1 for an overconfident classifier. One without a single error on the validation set can never be
    overconfident: its temperature means nothing but that, and is near the lower end of `TEMPERATURES`. Takes logits or
    logarithms of probabilities, shape (n, classes), and the numbers of the true classes; fitting on the objects that
    are evaluated afterwards would flatter.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits = _finite(log_probabilities)
    if np.shape(truth) != (len(logits),) or not len(logits):
        raise RadiosslError(f"temperature: {len(logits)} rows of logits, but truth has shape {np.shape(truth)}")
    rows = np.arange(len(logits))

    def negative_log_likelihood(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[rows, truth].mean())

    low, high = np.log(TEMPERATURES)
    # The likelihood is log-concave in 1 / temperature, so that there is one minimum only.
    found = minimize_scalar(negative_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def apply_temperature(log_probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Return the probabilities of logits (or logarithms of probabilities) at a temperature, shape (n, classes).

    The most probable class of an object stays what it was.
    """
    from scipy.special import softmax

    if not 0 < temperature < np.inf:
        raise RadiosslError(f"temperature: must be a positive number, not {temperature}")
    return softmax(_finite(log_probabilities) / temperature, axis=1)


def _finite(log_probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    logits = np.asarray(log_probabilities, dtype=np.float64)
    if logits.ndim != 2:
        raise RadiosslError(f"temperature: logits must have shape (n, classes), not {logits.shape}")
    if not np.isfinite(logits).all():
        raise RadiosslError("temperature: logits must be finite; raise probabilities of 0 before the logarithm")
    return logits
