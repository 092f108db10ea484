"""Calibration of a forest: probabilities, prediction sets and an out-of-distribution score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.calibration import apply_temperature, fit_temperature, log_probabilities
from radiossl.evaluation.conformal import fit_thresholds, held_out_sets
from radiossl.evaluation.novelty import Novelty

_ARRAYS = ("thresholds", "novelty_middle", "novelty_spread", "novelty_whitening")


@dataclass(frozen=True)
class ForestCalibration:
    """Learnt on held-out folds, applied to a forest of all rows."""

    temperature: float  # of the probabilities (Guo et al. 2017)
    learnt: int  # rows that a forest of the folds learnt from; see `log_probabilities`
    coverage: float  # of the prediction sets
    thresholds: NDArray[np.float64]  # of the prediction sets; see `fit_thresholds`
    novelty: Novelty  # the out-of-distribution score

    def probabilities(self, raw: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return calibrated probabilities of a forest's raw ones, shape (n, classes)."""
        return apply_temperature(log_probabilities(raw, self.learnt), self.temperature)

    def to_file(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and numbers that `from_file` makes the same of."""
        arrays = (self.thresholds, self.novelty.middle, self.novelty.spread, self.novelty.whitening)
        about = {"temperature": self.temperature, "learnt": self.learnt, "coverage": self.coverage}
        return dict(zip(_ARRAYS, arrays, strict=True)), {**about, "novelty_unit": self.novelty.unit}

    @classmethod
    def from_file(cls, arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> ForestCalibration:
        """Restore from what was read of a file; raise `KeyError`, `TypeError` or `ValueError` if it is damaged."""
        thresholds, middle, spread, whitening = (arrays[name] for name in _ARRAYS)
        temperature, unit = float(about["temperature"]), float(about["novelty_unit"])
        if not (temperature > 0 and unit > 0 and thresholds.ndim == 1):
            raise ValueError("its calibration does not fit")
        if not (whitening.shape[:1] == middle.shape == spread.shape and (spread > 0).all()):
            raise ValueError("its out-of-distribution score does not fit")
        middle, spread, whitening = (part.astype(np.float32) for part in (middle, spread, whitening))
        novelty = Novelty(middle, spread, whitening, unit)
        return cls(temperature, int(about["learnt"]), float(about["coverage"]), thresholds.astype(float), novelty)


def calibrate(
    raw: NDArray[np.float64], truth: NDArray[np.int64], fold: NDArray[np.int64], coverage: float, novelty: Novelty
) -> tuple[ForestCalibration, NDArray[np.float64], NDArray[np.bool_]]:
    """Fit a calibration on probabilities (n, classes) by forests that did not see the rows; `fold` is that of each row.

    Returns the calibration, fitted on all rows, and what scores may be made of: the probabilities and sets of each row
    by a calibration fitted on the other folds, both of shape (n, classes).
    """
    learnt = len(truth) - int(np.bincount(fold).max())
    logarithms = log_probabilities(raw, learnt)
    probabilities = np.empty_like(raw)
    for number in np.unique(fold):
        tested = fold == number
        temperature = fit_temperature(logarithms[~tested], truth[~tested])
        probabilities[tested] = apply_temperature(logarithms[tested], temperature)
    sets = held_out_sets(probabilities, truth, fold, coverage)
    temperature = fit_temperature(logarithms, truth)
    thresholds = fit_thresholds(apply_temperature(logarithms, temperature), truth, coverage)
    return ForestCalibration(temperature, learnt, coverage, thresholds, novelty), probabilities, sets
