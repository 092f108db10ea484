"""CRUMB: 2,100 radio galaxies of FIRST with the labels of four parent data sets (Porter & Scaife 2023).

Read from the official pickled batches, or as a catalogue from the list of sources they were built from. A *complete*
label has one entry per parent, -1 where a source is not in it; a *basic* label (FRI, FRII or hybrid) is derived from
it, see `radiossl.datasets.crumb_labels`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.datasets.batches import batch_files, batched_reader, missing_batches
from radiossl.datasets.crumb_catalogue import source_name, source_position
from radiossl.datasets.crumb_labels import (
    ABSENT,
    BASIC_CLASSES,
    PARENTS,
    PRIORITY,
    CrumbOptions,
    basic_labels,
    complete_labels,
    contradictions,
    four_class_labels,
)
from radiossl.datasets.pickles import batch_columns, read_batch
from radiossl.io.errors import RadiosslError


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
    """The file names of a batch, its basic labels, and its complete ones, shape (n, parents)."""
    numbers, names, complete, _ = batch_columns(path, batch, "labels", "filenames", "complete_labels", "data")
    try:
        table = np.array([np.asarray(row, dtype=np.int64) for row in complete]).reshape(len(names), parents)
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
            # A source of none of the four parents has the label that whoever added it gave it.
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
