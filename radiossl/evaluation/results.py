"""What each method predicts in every trial; finished trials are kept, so that an interrupted evaluation goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.classifiers import Estimator
from radiossl.evaluation.metrics import classification_metrics
from radiossl.evaluation.predictions import Predictions
from radiossl.evaluation.trials import LabelledSet, Trial
from radiossl.io.files import atomic_file
from radiossl.io.progress import track

#: Version of the rules by which estimators work: predictions kept under earlier rules are not taken for those of today.
_RULES = 2


@dataclass(frozen=True)
class Method:
    """A named way of classifying: a backbone with a protocol, or a baseline.

    Attributes
    ----------
    name
        In tables and figures.
    estimator
        What learns and predicts.
    identity
        Everything that its predictions depend on beside the trial, as text.
    """

    name: str
    estimator: Estimator
    identity: str


@dataclass(frozen=True)
class EvaluationResult:
    """The predictions of a method in every trial.

    Attributes
    ----------
    method
        What was evaluated.
    labelled
        The set and its trials.
    probabilities
        One array (tested rows, classes) for each trial.
    """

    method: Method
    labelled: LabelledSet
    probabilities: list[NDArray[np.float64]]

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method.name

    def accuracies(self, fraction: float = 1.0) -> NDArray[np.float64]:
        """Accuracy of every trial at a label fraction."""
        return np.array([row["accuracy"] for row in self.scores(fraction)])

    def scores(self, fraction: float = 1.0) -> list[dict[str, float]]:
        """All metrics of every trial at a label fraction; see `classification_metrics`."""
        trials = zip(self.labelled.trials, self._all_scores, strict=True)
        return [scores for trial, scores in trials if trial.fraction == fraction]

    @cached_property
    def _all_scores(self) -> list[dict[str, float]]:
        return [classification_metrics(self._predictions([number])) for number in range(len(self.labelled.trials))]

    def predictions(self, fraction: float | None = None, seed: int | None = None) -> Predictions:
        """The predictions of every tested object once, in the order of the rows.

        At the largest fraction and with the first seed, if none is given.
        """
        wanted = self.labelled.fractions[0] if fraction is None else fraction
        chosen = self.labelled.seeds[0] if seed is None else seed
        trials = enumerate(self.labelled.trials)
        return self._predictions([n for n, trial in trials if trial.seed == chosen and trial.fraction == wanted])

    def correct(self, fraction: float | None = None) -> NDArray[np.bool_]:
        """Whether each tested object was classified correctly, shape (tested, seeds)."""
        return np.stack([self.predictions(fraction, seed).correct for seed in self.labelled.seeds], axis=1)

    def _predictions(self, numbers: Sequence[int]) -> Predictions:
        rows = np.concatenate([self.labelled.trials[number].split.test for number in numbers])
        values = np.concatenate([self.probabilities[number] for number in numbers])
        order = np.argsort(rows, kind="stable")
        ids = self.labelled.store.column("cutout_id")[rows[order]]
        return Predictions(self.labelled.classes, self.labelled.truth[rows[order]], values[order], ids)


def evaluate_method(method: Method, labelled: LabelledSet, kept: Path | None = None) -> EvaluationResult:
    """Let a method learn and predict in every trial.

    Parameters
    ----------
    method
        What is evaluated.
    labelled
        On what.
    kept
        Folder for the predictions of finished trials, with which an interrupted evaluation goes on. They are known by
        everything that they depend on, so that none is taken for another.
    """
    answers = []
    for trial in track(labelled.trials, method.name):
        file = None if kept is None else kept / f"{_trial_identity(method, labelled, trial)}.npy"
        if file is not None and file.is_file():
            answers.append(np.load(file, allow_pickle=False))
            continue
        answer = method.estimator(trial.split.train, trial.split.test, trial.seed)
        if file is not None:
            with atomic_file(file) as temporary:
                np.save(temporary, answer)
        answers.append(answer)
    return EvaluationResult(method, labelled, answers)


def _trial_identity(method: Method, labelled: LabelledSet, trial: Trial) -> str:
    digest = hashlib.sha256(f"{_RULES}\0{method.name}\0{method.identity}\0{trial.seed}\0{labelled.classes}".encode())
    ids = labelled.store.column("cutout_id").astype(str)
    for rows in (trial.split.train, trial.split.test):
        digest.update("\0".join(ids[rows]).encode() + labelled.truth[rows].tobytes())
        digest.update(labelled.store.pixel_key(rows))
        digest.update(b"" if labelled.groups is None else labelled.groups[rows].tobytes())
    return digest.hexdigest()[:32]
