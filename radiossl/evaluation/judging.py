"""Judging several ways of telling classes apart on the same trials: folds or a test set, drawn anew with each seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.classifiers import ClassifierMethod
from radiossl.evaluation.folds import Split, draw_folds, position_groups
from radiossl.evaluation.labels import Labels
from radiossl.evaluation.metrics import classification_metrics
from radiossl.evaluation.predictions import Predictions
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file
from radiossl.io.progress import track
from radiossl.sky.positions import RADIUS_ARCSEC
from radiossl.store.store import CutoutStore


@dataclass(frozen=True)
class Trial:
    """One split with a part of its labels.

    Attributes
    ----------
    split
        Rows to learn from, already reduced to the fraction, and rows to test on.
    seed
        From which the split was drawn, and which the classifier gets.
    fraction
        Of the labels that could have been learnt from.
    """

    split: Split
    seed: int
    fraction: float = 1.0


@dataclass(frozen=True)
class LabelledSet:
    """Labelled cutouts, and the trials on which everything is judged.

    Attributes
    ----------
    store
        All labelled cutouts, those of a separate test set last.
    classes
        Names of the classes, sorted.
    truth
        Number of each cutout's class, shape (n,).
    trials
        All of them, those of one seed and fraction together.
    folds
        How many; 0 for a separate test set.
    """

    store: CutoutStore
    classes: list[str]
    truth: NDArray[np.int64]
    trials: list[Trial]
    folds: int

    @property
    def seeds(self) -> list[int]:
        """The seeds of the trials."""
        return sorted({trial.seed for trial in self.trials})

    @property
    def fractions(self) -> list[float]:
        """The label fractions of the trials, the largest first."""
        return sorted({trial.fraction for trial in self.trials}, reverse=True)

    @property
    def tested(self) -> NDArray[np.int64]:
        """All rows that are tested, in ascending order."""
        return np.unique(np.concatenate([trial.split.test for trial in self.trials]))


def labelled_set(
    store: CutoutStore,
    labels: Labels,
    *,
    test: tuple[CutoutStore, Labels] | None = None,
    folds: int = 5,
    seeds: int = 5,
    seed: int = 0,
    fractions: Sequence[float] = (1.0,),
    group_radius_arcsec: float | None = RADIUS_ARCSEC,
) -> LabelledSet:
    """Draw the trials.

    Parameters
    ----------
    store, labels
        The labelled cutouts.
    test
        A separate test set; without it, stratified folds are drawn from `store`. Seeds then draw the part of the labels
        and the classifier's randomness alone.
    folds, seeds, seed
        The folds are drawn `seeds` times, from seeds `seed`, `seed` + 1, ...
    fractions
        Of the labels to learn from, above 0 and up to 1. They are drawn class by class, at least one object of each,
        and a smaller part is always contained in a larger one of the same split.
    group_radius_arcsec
        See `radiossl.evaluation.folds.draw_folds`; None draws every cutout on its own.

    Raises
    ------
    RadiosslError
        If a class has too few objects, a fraction is out of range, or the test set has a class that the other lacks.
    """
    bad = [fraction for fraction in fractions if not 0 < fraction <= 1]
    if bad or not fractions:
        raise RadiosslError(f"label fraction {bad[0] if bad else '(none)'}: expected more than 0 and at most 1")
    mine = store.select(labels.rows)
    numbers = range(seed, seed + seeds)
    if test is None:
        names, both = labels.names, mine
        groups = None if group_radius_arcsec is None else position_groups(mine, group_radius_arcsec)
        drawn = draw_folds(names, folds, seeds, seed, groups)
        splits = [(split, number) for number, split in zip(np.repeat(numbers, folds), drawn, strict=True)]
    else:
        unknown = sorted(set(test[1].classes) - set(labels.classes))
        if unknown:
            raise RadiosslError(f"class {unknown[0]!r} of the test set does not occur among the labels to learn from")
        names = np.concatenate([labels.names, test[1].names])
        both = CutoutStore.joined(mine, test[0].select(test[1].rows))
        whole = Split(np.arange(len(mine)), np.arange(len(mine), len(both)))
        splits = [(whole, number) for number in numbers]
    classes = sorted(set(names.tolist()))
    truth = np.searchsorted(classes, names).astype(np.int64)
    trials = [
        Trial(Split(_part(split.train, truth, fraction, [number, place]), split.test), int(number), fraction)
        for fraction in sorted(set(fractions), reverse=True)
        for place, (split, number) in enumerate(splits)
    ]
    return LabelledSet(both, classes, truth, trials, folds if test is None else 0)


def _part(rows: NDArray[np.int64], truth: NDArray[np.int64], fraction: float, seed: Sequence[int]) -> NDArray[np.int64]:
    if fraction == 1.0:
        return rows
    generator = np.random.default_rng([int(number) for number in seed])
    chosen = []
    for number in np.unique(truth[rows]):
        members = generator.permutation(rows[truth[rows] == number])
        chosen.append(members[: max(1, round(fraction * len(members)))])
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True)
class Contender:
    """A way of telling classes apart, by name.

    Attributes
    ----------
    name
        In tables and figures.
    method
        What learns and tells.
    identity
        Everything that its answers depend on beside the trial, as text.
    """

    name: str
    method: ClassifierMethod
    identity: str


@dataclass(frozen=True)
class Judgement:
    """What a contender said in every trial.

    Attributes
    ----------
    contender
        Who.
    labelled
        The set and its trials.
    probabilities
        One array (tested rows, classes) for each trial.
    """

    contender: Contender
    labelled: LabelledSet
    probabilities: list[NDArray[np.float64]]

    @property
    def name(self) -> str:
        """The contender's name."""
        return self.contender.name

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

    def predictions(self, fraction: float | None = None) -> Predictions:
        """The predictions of every tested object once, in the order of the rows: those of the first seed.

        At the largest fraction, if none is given.
        """
        wanted = self.labelled.fractions[0] if fraction is None else fraction
        first = self.labelled.seeds[0]
        trials = enumerate(self.labelled.trials)
        return self._predictions([n for n, trial in trials if trial.seed == first and trial.fraction == wanted])

    def _predictions(self, numbers: Sequence[int]) -> Predictions:
        rows = np.concatenate([self.labelled.trials[number].split.test for number in numbers])
        values = np.concatenate([self.probabilities[number] for number in numbers])
        order = np.argsort(rows, kind="stable")
        ids = self.labelled.store.column("cutout_id")[rows[order]]
        return Predictions(self.labelled.classes, self.labelled.truth[rows[order]], values[order], ids)


def judge(contender: Contender, labelled: LabelledSet, kept: Path | None = None) -> Judgement:
    """Let a contender learn and tell in every trial.

    Parameters
    ----------
    contender
        Who is judged.
    labelled
        On what.
    kept
        Folder in which the answers of finished trials are kept, so that an interrupted judgement goes on where it was.
        They are known by everything they depend on, so that none is taken for another.
    """
    answers = []
    for trial in track(labelled.trials, contender.name):
        file = None if kept is None else kept / f"{_trial_identity(contender, labelled, trial)}.npy"
        if file is not None and file.is_file():
            answers.append(np.load(file, allow_pickle=False))
            continue
        answer = contender.method(trial.split.train, trial.split.test, trial.seed)
        if file is not None:
            with atomic_file(file) as temporary:
                np.save(temporary, answer)
        answers.append(answer)
    return Judgement(contender, labelled, answers)


def _trial_identity(contender: Contender, labelled: LabelledSet, trial: Trial) -> str:
    digest = hashlib.sha256(f"{contender.name}\0{contender.identity}\0{trial.seed}\0{labelled.classes}".encode())
    ids = labelled.store.column("cutout_id").astype(str)
    for rows in (trial.split.train, trial.split.test):
        digest.update("\0".join(ids[rows]).encode() + labelled.truth[rows].tobytes())
        digest.update(labelled.store.pixel_key(rows))
    return digest.hexdigest()[:32]
