"""The labels of CRUMB: complete ones, with an entry for each parent set, and the basic ones derived from them.

The published basic labels of 29 sources do not follow from their complete labels: the rule that made them looks into
FR-DEEP's column where it should look into AT17's, so that every source that only AT17 has becomes FRI, also those that
AT17 calls FRII. The published totals of 1,006 FRI, 997 FRII and 97 hybrids (section 2.4 of Porter & Scaife 2023)
include them; corrected they are 977, 1,026 and 97. Labels are corrected here unless they are asked for as published.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import field_validator

from radiossl.datasets.published import Options
from radiossl.io.errors import RadiosslError

#: Basic classes, in the order of the batches' label numbers.
BASIC_CLASSES = ("FRI", "FRII", "hybrid")
FOUR_CLASSES = ("FRI", "FRII", "hybrid", "bent")
ABSENT = -1

Labels = Literal["corrected", "published"]


class LabelParent(NamedTuple):
    """One of the data sets that CRUMB combines (table 1 of the paper)."""

    column: str
    title: str
    #: For each of its label numbers, which of `FOUR_CLASSES` that is.
    classes: tuple[str, ...]
    #: Names of its column in other files, in lower case and without punctuation.
    aliases: tuple[str, ...] = ()


_MIRABEST = ("FRI", "bent", "bent", "FRI", "bent", "FRII", "FRII", "FRII", "hybrid", "hybrid")
#: In the order of the complete label, which is also the order in which the authors let them decide the basic label.
PARENTS = (
    LabelParent("mirabest", "MiraBest", _MIRABEST, ("mb",)),
    LabelParent("frdeep", "FR-DEEP", ("FRI", "FRII")),
    LabelParent("at17", "AT17", ("FRI", "FRII", "bent")),
    LabelParent("mbhybrid", "MiraBest Hybrid", ("hybrid", "hybrid"), ("mbhyb",)),
)
PRIORITY = tuple(parent.column for parent in PARENTS)


class CrumbOptions(Options):
    """Options of CRUMB."""

    #: Basic labels corrected or as published, which differ for 29 sources.
    labels: Labels = "corrected"
    #: Which parent's label is the basic one where they contradict each other, first the parent that wins; those that
    #: are not named come after the others in the authors' order. As text, names with commas between them.
    priority: tuple[str, ...] = PRIORITY

    @field_validator("priority", mode="before")
    @classmethod
    def _complete(cls, value: Any) -> tuple[str, ...]:
        named = value.replace(" ", "").split(",") if isinstance(value, str) else list(value)
        return _order(named)


def _order(named: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in named if name not in PRIORITY]
    if unknown or len(set(named)) != len(named):
        raise RadiosslError(f"expected each parent once, of {', '.join(PRIORITY)}")
    return (*named, *(name for name in PRIORITY if name not in named))


def complete_labels(values: ArrayLike, where: str | os.PathLike[str] = "complete labels") -> NDArray[np.int64]:
    """Return complete labels as an array of shape (n, 4); raise `RadiosslError` if they are none, naming `where`."""
    labels = np.asarray(values)
    if labels.ndim != 2 or labels.shape[1] != len(PARENTS) or labels.dtype.kind not in "iu":
        expected = f"expected whole numbers (n, {len(PARENTS)})"
        raise RadiosslError(f"{where}: {labels.dtype} of shape {labels.shape}, {expected}")
    for column, parent in zip(labels.T, PARENTS, strict=True):
        wrong = column[(column < ABSENT) | (column >= len(parent.classes))]
        if wrong.size:
            expected = f"expected -1 to {len(parent.classes) - 1}"
            raise RadiosslError(f"{where}: label {wrong[0]} in {parent.title}, {expected}")
    return labels.astype(np.int64)


def basic_labels(
    complete: ArrayLike, labels: Labels = "corrected", priority: Sequence[str] = PRIORITY
) -> NDArray[np.object_]:
    """Derive basic labels from complete ones, shape (n, 4): of `BASIC_CLASSES`, None where no parent has a label.

    ``published`` repeats the mistake described at the top of this module; `priority` is as in `CrumbOptions`.
    """
    rows = _classes(complete, priority, published=labels == "published")
    return np.array([_family(classes[0][1]) if classes else None for classes in rows], dtype=object)


def four_class_labels(complete: ArrayLike, priority: Sequence[str] = PRIORITY) -> NDArray[np.object_]:
    """Derive labels where bent sources are a separate class (section 3.1), shape (n,).

    The parent that decides the basic label decides here as well. FR-DEEP has no class for bent sources: those it calls
    FRI are bent if the next parent in the order that knows bent sources, and agrees on FRI, says so.
    """

    def four_class(classes: Sequence[tuple[LabelParent, str]]) -> str | None:
        decided = _family(classes[0][1]) if classes else None
        fine = (name for parent, name in classes if "bent" in parent.classes and _family(name) == "FRI")
        return next(fine, decided) if decided == "FRI" else decided

    return np.array(list(map(four_class, _classes(complete, priority))), dtype=object)


def contradictions(complete: ArrayLike) -> NDArray[np.bool_]:
    """Tell where parents disagree on FRI, FRII or hybrid (bent counts as FRI), shape (n,)."""
    rows = _classes(complete, PRIORITY)
    return np.array([len({_family(name) for _, name in classes}) > 1 for classes in rows], dtype=bool)


def parent_names(complete: ArrayLike) -> list[str]:
    """Return the parents of every source, with commas between them."""
    present = complete_labels(complete) != ABSENT
    return [",".join(name for name, there in zip(PRIORITY, row, strict=True) if there) for row in present]


def label_classes() -> dict[str, dict[str, str]]:
    """Return the basic class of every label of every parent, as merging catalogues needs it."""
    return {
        parent.column: {str(number): _family(name) for number, name in enumerate(parent.classes)} for parent in PARENTS
    }


def _classes(
    complete: ArrayLike, priority: Sequence[str], *, published: bool = False
) -> list[list[tuple[LabelParent, str]]]:
    """Return for every source the parents that have it, first the one that wins, and the class it has in each."""
    places = [PRIORITY.index(name) for name in _order(priority)]
    rows = []
    for numbers in complete_labels(complete).tolist():
        present = [(PARENTS[place], PARENTS[place].classes[numbers[place]]) for place in places if numbers[place] >= 0]
        if published:
            of_frdeep = "FRII" if numbers[PRIORITY.index("frdeep")] == 1 else "FRI"
            present = [(parent, of_frdeep if parent.column == "at17" else name) for parent, name in present]
        rows.append(present)
    return rows


def _family(name: str) -> str:
    return "FRI" if name == "bent" else name


def label_totals(complete: ArrayLike) -> dict[str, dict[str, int]]:
    """Count the basic classes, as ``published`` and ``corrected``."""
    counts = {kind: Counter(basic_labels(complete, kind)) for kind in get_args(Labels)[::-1]}
    return {kind: {name: found[name] for name in BASIC_CLASSES} for kind, found in counts.items()}


def explain_totals(complete: ArrayLike) -> str:
    """Say in one paragraph why the published and the corrected totals differ."""
    totals = label_totals(complete)
    listed = {kind: ", ".join(f"{count} {name}" for name, count in of.items()) for kind, of in totals.items()}
    moved = int((basic_labels(complete, "published") != basic_labels(complete)).sum())
    return (
        f"{len(np.asarray(complete))} sources: {listed['published']} as published, {listed['corrected']} corrected; "
        f"{moved} that only AT17 labels, as FRII, are published as FRI"
    )
