"""Trials: folds of a labelled store or a separate test set, without sources that were trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radiossl.datasets.grouping import Grouping
from radiossl.evaluation.folds import Split, draw_folds, source_groups
from radiossl.evaluation.labels import Labels, store_labels
from radiossl.features.same_source import shows_picture
from radiossl.io.errors import RadiosslError, check_number, check_seed
from radiossl.io.files import PathLike
from radiossl.sky.positions import RADIUS_ARCSEC, match_sky
from radiossl.store.store import CutoutStore, open_store
from radiossl.weights.backbone import Backbone


@dataclass(frozen=True)
class Trial:
    """One split with a part of its labels."""

    split: Split  # rows to learn from, already reduced to the fraction, and rows to test on
    seed: int  # of the split and of the classifier
    fraction: float = 1.0  # of the available labels that is learnt from


@dataclass(frozen=True)
class Drawing:
    """How trials are drawn; see `labelled_set`."""

    folds: int = 5
    seeds: int = 5
    seed: int = 0
    fractions: tuple[float, ...] = (1.0,)
    group_radius_arcsec: float | None = RADIUS_ARCSEC


@dataclass(frozen=True)
class LabelledSet:
    """Labelled cutouts, and the trials on which every method is evaluated; made by `labelled_set`."""

    store: CutoutStore  # all labelled cutouts, those of a separate test set last
    classes: list[str]  # sorted
    truth: NDArray[np.int64]  # number of each cutout's class, shape (n,)
    trials: list[Trial]  # those of one seed and fraction together
    folds: int  # 0 for a separate test set
    drawing: Drawing
    #: equal for cutouts of one source, shape (n,); None: every cutout counts on its own
    groups: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()  # sentences about what was left out

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

    def without(self, rows: NDArray[np.int64], note: str) -> LabelledSet:
        """Return the set without some rows, its trials drawn anew in the same way."""
        tested = np.zeros(len(self.store), dtype=bool)
        if not self.folds:
            tested[self.tested] = True
        left = np.delete(np.arange(len(self.store)), rows)
        names = np.array(self.classes)[self.truth[left]]
        return _drawn(self.store.select(left), names, tested[left], self.drawing, (*self.notes, note))


def labelled_set(
    store: CutoutStore | PathLike,
    labels: Labels | str,
    *,
    test: tuple[CutoutStore, Labels] | CutoutStore | PathLike | None = None,
    group: Sequence[str] = (),
    grouping: Grouping | PathLike | None = None,
    where: str | None = None,
    folds: int = 5,
    seeds: int = 5,
    seed: int = 0,
    fractions: Sequence[float] = (1.0,),
    group_radius_arcsec: float | None = RADIUS_ARCSEC,
    keep_shared: bool = False,
) -> LabelledSet:
    """Draw the trials on which methods are evaluated.

    Parameters
    ----------
    store
        The labelled cutouts, or the path of their store.
    labels
        Their labels, or the name of the column that has them.
    test
        A separate test set: a store or its path, or a store and its labels. Without it, stratified folds are drawn from
        `store`. Seeds then draw the part of the labels and the classifier's randomness alone.
    group, grouping
        Classes made of several values of the column; see `radiossl.read_labels`.
    where
        Expression over the columns that labelled cutouts must satisfy.
    folds, seeds, seed
        The folds are drawn `seeds` times, with seeds `seed`, `seed` + 1, ...
    fractions
        Of the labels to learn from, above 0 and up to 1. They are drawn class by class, at least one object of each,
        and a smaller part is always contained in a larger one of the same split.
    group_radius_arcsec
        Cutouts linked by steps of this radius, and pictures without a position that look alike, share a fold
        (`radiossl.evaluation.folds.source_groups`); None draws every cutout on its own.
    keep_shared
        Whether to learn from sources of a separate test set, too.

    Raises
    ------
    RadiosslError
        If a class has too few objects, a fraction is out of range, or the test set has a class that the other lacks.

    See Also
    --------
    radiossl.evaluate : Evaluate a backbone on the trials.

    Examples
    --------
    >>> trials = radiossl.labelled_set("labelled", "fr_class", fractions=[1.0, 0.1])  # doctest: +SKIP
    """
    for fraction in fractions or (None,):
        check_number("label fraction", fraction, 0, 1, above=True)
    check_number("--seeds", seeds, 1, whole=True)
    check_seed(seed)

    def opened(which: CutoutStore | PathLike) -> tuple[CutoutStore, Labels]:
        cutouts = which if isinstance(which, CutoutStore) else open_store(which)
        if isinstance(labels, Labels):
            return cutouts, labels
        return cutouts, store_labels(cutouts, labels, group, grouping, where)

    cutouts, own = opened(store)
    drawing = Drawing(folds, seeds, seed, tuple(sorted(set(fractions), reverse=True)), group_radius_arcsec)
    mine = cutouts.select(own.rows)
    if test is None:
        return _drawn(mine, own.names, np.zeros(len(mine), dtype=bool), drawing, ())
    others, theirs = test if isinstance(test, tuple) else opened(test)
    unknown = sorted(set(theirs.classes) - set(own.classes))
    if unknown:
        raise RadiosslError(f"class {unknown[0]!r} of the test set does not occur among the labels to learn from")
    others = others.select(theirs.rows)
    notes: tuple[str, ...] = ()
    names = own.names
    shared = np.zeros(len(mine), dtype=bool) if keep_shared else shared_sources(mine, others)
    if shared.any():
        notes = (f"{shared.sum()} of {len(mine)} sources to learn from are in the test set and are left out",)
        mine, names = mine.select(~shared), names[~shared]
        if len(set(names.tolist())) < 2:
            raise RadiosslError(
                "--test: nearly all sources to learn from are in the test set, too; test on others, or keep them"
                " with --keep-shared"
            )
    tested = np.repeat([False, True], [len(mine), len(others)])
    names = np.concatenate([names, theirs.names])
    return _drawn(CutoutStore.joined(mine, others), names, tested, drawing, notes)


def _drawn(
    store: CutoutStore, names: NDArray[np.str_], tested: NDArray[np.bool_], drawing: Drawing, notes: tuple[str, ...]
) -> LabelledSet:
    """Draw folds of all rows, or take the `tested` ones as the test set if there are any."""
    numbers = range(drawing.seed, drawing.seed + drawing.seeds)
    radius = drawing.group_radius_arcsec
    groups = None if radius is None else source_groups(store, radius)
    if tested.any():
        whole = Split(np.flatnonzero(~tested), np.flatnonzero(tested))
        splits = [(whole, number) for number in numbers]
    else:
        drawn = draw_folds(names, drawing.folds, drawing.seeds, drawing.seed, groups)
        splits = [(split, number) for number, split in zip(np.repeat(numbers, drawing.folds), drawn, strict=True)]
    classes = sorted(set(names.tolist()))
    truth = np.searchsorted(classes, names).astype(np.int64)
    trials = [
        Trial(Split(_part(split.train, truth, fraction, [number, place]), split.test), int(number), fraction)
        for fraction in drawing.fractions
        for place, (split, number) in enumerate(splits)
    ]
    return LabelledSet(store, classes, truth, trials, 0 if tested.any() else drawing.folds, drawing, groups, notes)


def _part(rows: NDArray[np.int64], truth: NDArray[np.int64], fraction: float, seed: Sequence[int]) -> NDArray[np.int64]:
    if fraction == 1.0:
        return rows
    generator = np.random.default_rng([int(number) for number in seed])
    chosen = []
    for number in np.unique(truth[rows]):
        members = generator.permutation(rows[truth[rows] == number])
        chosen.append(members[: max(1, round(fraction * len(members)))])
    return np.sort(np.concatenate(chosen))


def shared_with_pretraining(
    backbone: Backbone, store: CutoutStore, radius_arcsec: float = RADIUS_ARCSEC
) -> NDArray[np.bool_] | None:
    """Tell which cutouts (n,) show a source that the backbone was trained on; None if its folder does not say.

    A source is shared if it lies within the radius of the centre of a training cutout, or within the largest circle in
    one. Cutouts without a position count as new.
    """
    sky = backbone.config.sky
    if sky is None or not np.isfinite(sky.ra_deg).any():
        return None
    reach = np.maximum(np.nan_to_num(sky.reach_arcsec.astype(float)), radius_arcsec)
    matches = match_sky(sky.ra_deg, sky.dec_deg, *store.positions, float(reach.max()))
    shared = np.zeros(len(store), dtype=bool)
    near = matches.separation_arcsec <= reach[matches.a]
    shared[matches.b[near]] = True
    return shared


def shared_sources(store: CutoutStore, other: CutoutStore, radius_arcsec: float = RADIUS_ARCSEC) -> NDArray[np.bool_]:
    """Tell which cutouts of a store show a source of another one: centres within the radius, or similar pictures.

    Pictures are compared where one of the two has no position (`radiossl.features.same_source.shows_picture`).
    """
    shared = shows_picture(store, other)
    shared[match_sky(*store.positions, *other.positions, radius_arcsec).a] = True
    return shared
