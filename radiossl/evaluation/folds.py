"""Folds for cross-validation: stratified by class, and never with one source on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.features.same_source import same_pictures
from radiossl.io.errors import RadiosslError, check_number, check_seed
from radiossl.sky.positions import RADIUS_ARCSEC, groups_by_position, linked_groups
from radiossl.store.store import CutoutStore


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to test on."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def source_groups(store: CutoutStore, radius_arcsec: float = RADIUS_ARCSEC) -> NDArray[np.int64]:
    """Number the groups of cutouts that may show one source, shape (n,).

    Cutouts are linked whose centres are within the radius. One without a position is linked to those that look like it
    (`radiossl.features.same_source.same_pictures`): the same picture twice, another bit depth, turned or mirrored.
    """
    ra, dec = store.positions
    groups = groups_by_position(ra, dec, radius_arcsec)
    lost = np.flatnonzero(~np.isfinite(ra + dec))
    if not lost.size:
        return groups
    pairs = same_pictures(store.select(lost), store, turned=True)
    return linked_groups(len(store), np.stack([lost[pairs[:, 0]], pairs[:, 1]], axis=1), groups)


def draw_folds(
    names: NDArray[Any], folds: int, seeds: int = 1, seed: int = 0, groups: NDArray[np.int64] | None = None
) -> list[Split]:
    """Draw stratified folds in which all members of a group are on the same side.

    They are drawn `seeds` times, from seeds `seed`, `seed` + 1, ..., and returned in that order. Where no group has two
    members, or there are no groups, they are those of scikit-learn's `StratifiedKFold`, shuffled with the same seed. A
    class with fewer objects, or in fewer groups, than there are folds is refused.
    """
    from sklearn.model_selection import StratifiedKFold

    check_number("--folds", folds, 2, whole=True)
    check_number("--seeds", seeds, 1, whole=True)
    check_seed(seed)
    classes, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    if counts.min() < folds:
        raise RadiosslError(
            f"class {str(classes[counts.argmin()])!r} has {counts.min()} objects: too few for {folds} folds (--folds)"
        )
    numbers = range(seed, seed + seeds)
    if groups is None or len(np.unique(groups)) == len(names):
        folders = [StratifiedKFold(folds, shuffle=True, random_state=number) for number in numbers]
        return [Split(*rows) for folder in folders for rows in folder.split(names, names)]
    table = pd.crosstab(groups, codes).to_numpy()  # objects of every class in every group
    places = (table > 0).sum(axis=0)
    if places.min() < folds:
        raise RadiosslError(
            f"class {str(classes[places.argmin()])!r} is in only {places.min()} groups of positions: too few for"
            f" {folds} folds (--folds, or a smaller --group-radius)"
        )
    member = np.unique(groups, return_inverse=True)[1]
    dealt = [_deal(table, folds, np.random.default_rng(number))[member] for number in numbers]
    parts = [fold == part for fold in dealt for part in range(folds)]
    return [Split(np.flatnonzero(~part), np.flatnonzero(part)) for part in parts]


def most_folds(names: NDArray[Any], groups: NDArray[np.int64] | None = None) -> int:
    """Return how many folds `draw_folds` can make: the objects, or groups, of the smallest class."""
    objects = np.arange(len(names)) if groups is None else groups
    return min(len(np.unique(objects[names == name])) for name in np.unique(names))


def _deal(table: NDArray[np.int64], folds: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Give every group a fold, the largest first, each to the fold that has the least share of its classes."""
    order = generator.permutation(len(table))
    order = order[np.argsort(-table[order].sum(axis=1), kind="stable")]
    weight = 1 / table.sum(axis=0) ** 2  # the sum of squared shares grows least where their product is least
    held = np.zeros((folds, table.shape[1]))
    turns = generator.permutation(folds)  # which fold is the first among equals
    fold = np.empty(len(table), dtype=np.int64)
    for group in order:
        cost = held @ (weight * table[group])
        ranked = np.lexsort((turns, held.sum(axis=1), np.round(cost, 15)))
        fold[group] = ranked[0]
        held[ranked[0]] += table[group]
    return fold
