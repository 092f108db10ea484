"""The predictions of each method in every trial; finished trials are kept for an interrupted evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.calibration import Predictions
from radiossl.evaluation.classifiers import Estimator, inner_folds
from radiossl.evaluation.confidence import fit_thresholds, held_out_sets, prediction_sets
from radiossl.evaluation.metrics import classification_metrics
from radiossl.evaluation.trials import LabelledSet, Trial
from radiossl.io.files import atomic_file
from radiossl.io.progress import track

#: Version of the estimators: predictions kept by earlier versions are not used.
_RULES = 2


@dataclass(frozen=True)
class Method:
    """A named way of classifying: a backbone with a protocol, or a baseline."""

    name: str  # in tables and figures
    estimator: Estimator
    identity: str  # everything that its predictions depend on beside the trial, as text


@dataclass(frozen=True)
class EvaluationResult:
    """The predictions of a method in every trial."""

    name: str  # of the method
    labelled: LabelledSet
    probabilities: list[NDArray[np.float64]]  # one array (tested rows, classes) for each trial
    #: For a separate test set, predictions of the rows learnt from by inner folds, to calibrate prediction sets: their
    #: classes and probabilities, for each trial. Empty where there are none.
    held_out: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=list)

    def accuracies(self, fraction: float = 1.0) -> NDArray[np.float64]:
        """Accuracy of every trial at a label fraction."""
        return np.array([row["accuracy"] for row in self.scores(fraction)])

    def scores(self, fraction: float = 1.0) -> list[dict[str, float]]:
        """All metrics of every trial at a label fraction; see `classification_metrics`."""
        trials = zip(self.labelled.trials, self.all_scores, strict=True)
        return [scores for trial, scores in trials if trial.fraction == fraction]

    @cached_property
    def all_scores(self) -> list[dict[str, float]]:
        """All metrics of every trial."""
        return [classification_metrics(self._predictions([number])) for number in range(len(self.labelled.trials))]

    def predictions(self, seed: int | None = None) -> Predictions:
        """The predictions of every tested object once, in the order of the rows, at the largest fraction.

        With the first seed, if none is given.
        """
        return self._predictions(self._numbers(seed))

    def correct(self) -> NDArray[np.bool_]:
        """Whether each tested object was classified correctly, shape (tested, seeds)."""
        return np.stack([self.predictions(seed=seed).correct for seed in self.labelled.seeds], axis=1)

    def sets(self, coverage: float = 0.9) -> NDArray[np.bool_] | None:
        """The prediction set of each tested object with the first seed, shape (tested, classes).

        Thresholds come from the other folds or, for a separate test set, from inner folds of what is learnt from; None
        where neither is possible (`radiossl.evaluation.confidence`).
        """
        numbers = self._numbers()
        predictions = self._predictions(numbers)
        if self.labelled.folds:
            tests = [self.labelled.trials[number].split.test for number in numbers]
            fold = np.repeat(np.arange(len(tests)), [len(rows) for rows in tests])
            fold = fold[np.argsort(np.concatenate(tests), kind="stable")]
            return held_out_sets(predictions.probabilities, predictions.truth, fold, coverage)
        if not self.held_out or not len(self.held_out[numbers[0]][0]):
            return None
        truth, probabilities = self.held_out[numbers[0]]
        return prediction_sets(predictions.probabilities, fit_thresholds(probabilities, truth, coverage))

    def _numbers(self, seed: int | None = None) -> list[int]:
        wanted = self.labelled.seeds[0] if seed is None else seed, self.labelled.fractions[0]
        return [number for number, t in enumerate(self.labelled.trials) if (t.seed, t.fraction) == wanted]

    def _predictions(self, numbers: Sequence[int]) -> Predictions:
        rows = np.concatenate([self.labelled.trials[number].split.test for number in numbers])
        values = np.concatenate([self.probabilities[number] for number in numbers])
        order = np.argsort(rows, kind="stable")
        ids = self.labelled.store.column("cutout_id")[rows[order]]
        return Predictions(self.labelled.classes, self.labelled.truth[rows[order]], values[order], ids)


def evaluate_method(
    method: Method, labelled: LabelledSet, kept: Path | None = None, inner: bool = False
) -> EvaluationResult:
    """Let a method learn and predict in every trial.

    The folder `kept` holds the predictions of finished trials, from which an interrupted evaluation goes on; they are
    identified by everything that they depend on. With `inner`, and a separate test set, the training rows are predicted
    by inner folds, too; see `EvaluationResult.held_out`.
    """

    def answer(trial: Trial) -> NDArray[np.float64]:
        file = None if kept is None else kept / f"{_trial_identity(method, labelled, trial)}.npy"
        if file is not None and file.is_file():
            return np.asarray(np.load(file, allow_pickle=False))
        probabilities = method.estimator(trial.split.train, trial.split.test, trial.seed)
        if file is not None:
            with atomic_file(file) as temporary:
                np.save(temporary, probabilities)
        return probabilities

    answers, held_out = [], []
    for trial in track(labelled.trials, method.name):
        answers.append(answer(trial))
        if inner and not labelled.folds:
            splits = inner_folds(labelled.truth, trial.split.train, labelled.groups, trial.seed)
            parts = [answer(Trial(split, trial.seed, trial.fraction)) for split in splits]
            rows = np.concatenate([np.empty(0, np.int64), *(split.test for split in splits)])
            none = np.empty((0, len(labelled.classes)))
            held_out.append((labelled.truth[rows], np.concatenate([none, *parts])))
    return EvaluationResult(method.name, labelled, answers, held_out)


def _trial_identity(method: Method, labelled: LabelledSet, trial: Trial) -> str:
    digest = hashlib.sha256(f"{_RULES}\0{method.name}\0{method.identity}\0{trial.seed}\0{labelled.classes}".encode())
    ids = labelled.store.column("cutout_id").astype(str)
    for rows in (trial.split.train, trial.split.test):
        digest.update("\0".join(ids[rows]).encode() + labelled.truth[rows].tobytes())
        digest.update(labelled.store.pixel_key(rows))
        digest.update(b"" if labelled.groups is None else labelled.groups[rows].tobytes())
    return digest.hexdigest()[:32]
