"""CRUMB: 2,100 radio galaxies of FIRST with the labels of four parent data sets (Porter & Scaife 2023).

Read from the official pickled batches, or as a catalogue from the list of sources they were built from. A *complete*
label has one entry per parent, -1 where a source is not in it; a *basic* label (FRI, FRII or hybrid) is derived from
it.

The published basic labels of 29 sources do not follow from their complete labels: the rule that made them looks into
FR-DEEP's column where it should look into AT17's, so that every source that only AT17 has becomes FRI, also those that
AT17 calls FRII. The published totals of 1,006 FRI, 997 FRII and 97 hybrids (section 2.4 of Porter & Scaife 2023)
include them; corrected they are 977, 1,026 and 97. Labels are corrected here unless they are asked for as published.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pydantic import field_validator

from radiossl.datasets.batches import (
    BASIC_CLASSES,
    batch_columns,
    batch_files,
    batched_reader,
    missing_batches,
    read_batch,
)
from radiossl.datasets.published import Options
from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.catalogue.columns import plain

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
        return _order(value.replace(" ", "").split(",") if isinstance(value, str) else value)


def _order(named: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in named if name not in PRIORITY]
    if unknown or len(set(named)) != len(named):
        raise RadiosslError(f"expected each parent once, of {', '.join(PRIORITY)}")
    return (*named, *(name for name in PRIORITY if name not in named))


def complete_labels(values: ArrayLike, where: str | os.PathLike[str] = "complete labels") -> NDArray[np.int64]:
    """Return complete labels as an array of shape (n, 4); raise `RadiosslError` if they are none, naming `where`."""
    labels = np.asarray(values)
    whole = labels.dtype.kind in "iu" or (labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all()))
    if labels.ndim != 2 or labels.shape[1] != len(PARENTS) or not whole:
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


# The list of sources --------------------------------------------------------------------------------------------------

_NAME = re.compile(r"(?P<ra>\d{1,3}\.\d+)_(?P<dec>[+-]\d{1,3}\.\d+)(?:\.png|\.fits(?:\.gz|\.fz)?)?")


def source_name(ra_deg: float, dec_deg: float) -> str:
    """Return the name of a source, such as ``222.036_+016.578``."""
    return f"{ra_deg:07.3f}_{dec_deg:+08.3f}"


def source_position(name: str) -> tuple[float, float]:
    """Read right ascension and declination in degrees from a file name or path such as ``222.036_+016.578.png``.

    Raises `RadiosslError` if it is not of this form.
    """
    match = _NAME.fullmatch(str(name).replace("\\", "/").rsplit("/", 1)[-1])
    ra, dec = (float(match["ra"]), float(match["dec"])) if match else (np.nan, np.nan)
    if not (ra <= 360 and abs(dec) <= 90):
        raise RadiosslError(f"{name}: expected a name of a position in degrees such as 222.036_+016.578.png")
    return ra, dec


def read_crumb_catalogue(path: str | os.PathLike[str], options: CrumbOptions | None = None) -> pa.Table:
    """Read the list of sources that CRUMB was built from, with positions in degrees and all labels.

    It is the authors' text file (right ascension in **hours**, declination in degrees, four labels), or a table in any
    format of `read_catalogue` with columns of the parents' names; its right ascension is taken in hours if the name of
    its column says so (``ra_hours``). ``published_label`` is what the authors published. Raises `RadiosslError` if the
    file cannot be read, a parent's column is missing or holds a number that is no label of it.
    """
    options = options or CrumbOptions()
    path = existing_file(path)
    if path.suffix.lower() == ".txt":
        ra_deg, dec_deg, complete = _read_plain(path)
    else:
        catalogue = read_catalogue(path)
        ra_deg, dec_deg = catalogue.ra_deg, catalogue.dec_deg
        complete = complete_labels(np.stack([_parent_column(catalogue, parent) for parent in PARENTS], axis=1), path)
    columns: dict[str, Any] = {
        "name": [source_name(ra, dec) for ra, dec in zip(ra_deg, dec_deg, strict=True)],
        "ra_deg": ra_deg,
        "dec_deg": dec_deg,
        **dict(zip(PRIORITY, complete.T, strict=True)),
        "basic_label": basic_labels(complete, options.labels, options.priority),
        "published_label": basic_labels(complete, "published"),
        "four_class": four_class_labels(complete, options.priority),
        "parents": parent_names(complete),
        "contradiction": contradictions(complete),
    }
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def table_labels(table: pa.Table) -> NDArray[np.int64]:
    """Return the complete labels of a catalogue's rows, shape (n, 4)."""
    return complete_labels(np.stack([table.column(name).to_numpy() for name in PRIORITY], axis=1))


def _read_plain(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    try:
        values = np.loadtxt(path, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise RadiosslError(f"{path}: not a readable list of sources ({error})") from None
    wide = 2 + len(PARENTS)
    if values.shape[0] == 0 or values.shape[1] != wide:
        expected = f"expected {wide}: RA in hours, Dec, {', '.join(PRIORITY)}"
        raise RadiosslError(f"{path}: {values.shape[1]} columns, {expected}")
    ra_hours, dec_deg = values[:, :2].T
    if np.any((ra_hours < 0) | (ra_hours >= 24)) or np.any(np.abs(dec_deg) > 90):
        expected = "expected right ascension in hours and declination in degrees"
        raise RadiosslError(f"{path}: positions out of range, {expected}")
    return ra_hours * 15, dec_deg, complete_labels(values[:, 2:], path)


def _parent_column(catalogue: Catalogue, parent: LabelParent) -> NDArray[np.int64]:
    names = [name for name in catalogue.columns.column_names if plain(name) in (parent.column, *parent.aliases)]
    if len(names) != 1:
        found = ", ".join(catalogue.columns.column_names)
        raise RadiosslError(f"{catalogue.name}: {len(names)} columns of {parent.title} labels, expected one ({found})")
    column = catalogue.columns.column(names[0])
    if not pa.types.is_integer(column.type) or column.null_count:
        expected = "expected whole numbers, -1 if absent"
        raise RadiosslError(f"{catalogue.name}: column {names[0]!r} is {column.type}, {expected}")
    return column.to_numpy().astype(np.int64)


# The batches ----------------------------------------------------------------------------------------------------------


def _columns(source: Path, _: CrumbOptions) -> pa.Schema:
    names = ("basic_label", "four_class", "parents", "contradiction", "batch_label", "batch", "split")
    labels = [(name, pa.bool_() if name == "contradiction" else pa.string()) for name in names]
    return pa.schema([*((name, pa.int64()) for name in _all_parents(source)), *labels])


def _all_parents(source: Path) -> tuple[str, ...]:
    """Return the names of the complete label's entries: the four, and those that a build with more has written down."""
    meta = source / "batches.meta"
    further = read_batch(meta).get("parents", ())[len(PARENTS) :] if meta.is_file() else ()
    return (*PRIORITY, *map(str, further))


def _labels(path: Path, batch: dict[str, Any], parents: int) -> tuple[list[str], NDArray[Any], NDArray[np.int64]]:
    numbers, names, complete, _ = batch_columns(path, batch, "labels", "filenames", "complete_labels", "data")
    try:
        entries = np.array([np.asarray(row) for row in complete]).reshape(len(names), parents)
        table = entries.astype(np.int64)
        if (table != entries).any():
            raise ValueError
    except (TypeError, ValueError):
        raise RadiosslError(f"{path}: complete labels that are not {parents} whole numbers each") from None
    labels = np.asarray(numbers)
    if labels.dtype.kind not in "iu" or not np.all((labels >= 0) & (labels < len(BASIC_CLASSES))):
        raise RadiosslError(f"{path}: basic labels other than 0, 1 and 2 ({', '.join(BASIC_CLASSES)})")
    complete_labels(table[:, : len(PARENTS)], path)
    return [str(name) for name in names], np.array(BASIC_CLASSES, dtype=object)[labels], table


def _facts(path: Path, batch: dict[str, Any], options: CrumbOptions) -> Iterator[dict[str, Any]]:
    parents = _all_parents(path.parent)
    names, in_file, labels = _labels(path, batch, len(parents))
    four = labels[:, : len(PARENTS)]
    basic, four_class = basic_labels(four, options.labels, options.priority), four_class_labels(four, options.priority)
    contradicted = contradictions(four)
    for row, name in enumerate(names):
        ra, dec = source_position(name)
        complete = dict(zip(parents, labels[row].tolist(), strict=True))
        extra = complete | {
            # A source of none of the four parents has the label with which it was added.
            "basic_label": basic[row] or in_file[row],
            "four_class": four_class[row] or in_file[row],
            "parents": ",".join(parent for parent, label in complete.items() if label != ABSENT),
            "contradiction": bool(contradicted[row]),
            "batch_label": in_file[row],
        }
        yield {"cutout_id": source_name(ra, dec), "file": name, "ra_deg": ra, "dec_deg": dec, "extra": extra}


def _remarks(source: Path, options: CrumbOptions) -> list[str]:
    """Compare the labels in the files with those that follow from the complete labels."""
    parents = len(_all_parents(source))
    paths = [source / part for part in batch_files(source, options)]
    _, labels, tables = zip(*(_labels(path, read_batch(path), parents) for path in paths), strict=True)
    complete, in_file = np.concatenate(tables)[:, : len(PARENTS)], np.concatenate(labels)
    known = (complete != ABSENT).any(axis=1)
    corrected = basic_labels(complete, "corrected")
    moved = known & (corrected != in_file) & (basic_labels(complete, "published") == in_file)
    odd = known & (corrected != in_file) & ~moved
    remarks = missing_batches(source, options)
    if moved.any():
        use = "are corrected here" if options.labels == "corrected" else "are kept"
        remarks.append(f"{moved.sum()} basic labels that say FRI where AT17, the only parent, says FRII {use}")
    if odd.any():
        remarks.append(
            f"{odd.sum()} basic labels in the batches follow from their complete labels by no rule of the authors; "
            "basic_label is derived from the complete label, batch_label is what the batch says"
        )
    return remarks


READER = batched_reader(_facts, options=CrumbOptions, columns=_columns, remarks=_remarks)
