"""CRUMB: 2,100 radio galaxies of FIRST with the labels of four parent data sets (Porter & Scaife 2023).

Read from the official pickled batches, or as a catalogue from the list of sources they were built from. A *complete*
label has one entry per parent, -1 where a source is not in it; a *basic* label (FRI, FRII or hybrid) is derived from
it, see `radiossl.datasets.crumb_labels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.datasets.crumb_catalogue import source_name, source_position
from radiossl.datasets.crumb_labels import (
    ABSENT,
    BASIC_CLASSES,
    FOUR_CLASSES,
    PARENTS,
    PRIORITY,
    CrumbOptions,
    basic_labels,
    complete_labels,
    contradictions,
    four_class_labels,
    parent_names,
)
from radiossl.datasets.download import Download
from radiossl.datasets.mirabest import batch_checksums, batch_files, missing_batches
from radiossl.datasets.pickles import batch_columns, batch_image, read_batch
from radiossl.datasets.published import PublishedSet
from radiossl.io.errors import RadiosslError
from radiossl.store.cutout import Cutout

SIDE = 150
PIXEL_SCALE_ARCSEC = 1.8
_LABEL_COLUMNS = pa.schema(
    [
        ("basic_label", pa.string()),
        ("four_class", pa.string()),
        ("parents", pa.string()),
        ("contradiction", pa.bool_()),
        ("batch_label", pa.string()),
        ("batch", pa.string()),
        ("split", pa.string()),
    ]
)


def _columns(source: Path, _: CrumbOptions) -> pa.Schema:
    return pa.schema([*((name, pa.int64()) for name in _all_parents(source)), *_LABEL_COLUMNS])


def _all_parents(source: Path) -> tuple[str, ...]:
    """Return the names of the complete label's entries: the four, and those that a build with more has written down."""
    meta = source / "batches.meta"
    further = read_batch(meta).get("parents", ())[len(PARENTS) :] if meta.is_file() else ()
    return (*PRIORITY, *map(str, further))


@dataclass(frozen=True)
class _Batch:
    """The columns of one batch; `further` are the labels of parents beyond the four, shape (n, m)."""

    names: list[str]
    images: list[Any]
    numbers: NDArray[np.int64]
    complete: NDArray[np.int64]
    further: NDArray[np.int64]

    @property
    def basic(self) -> NDArray[np.object_]:
        """The basic labels as they stand in the file."""
        return np.array(BASIC_CLASSES, dtype=object)[self.numbers]


def _read_columns(path: Path, parents: int) -> _Batch:
    numbers, images, names, complete = batch_columns(
        path, read_batch(path), "labels", "data", "filenames", "complete_labels"
    )
    try:
        table = np.array([np.asarray(row, dtype=np.int64) for row in complete]).reshape(len(names), parents)
    except (TypeError, ValueError):
        raise RadiosslError(f"{path}: complete labels that are not {parents} whole numbers each") from None
    labels = np.asarray(numbers)
    if labels.dtype.kind not in "iu" or not np.all((labels >= 0) & (labels < len(BASIC_CLASSES))):
        raise RadiosslError(f"{path}: basic labels other than 0, 1 and 2 ({', '.join(BASIC_CLASSES)})")
    four = complete_labels(table[:, : len(PARENTS)], path)
    return _Batch([str(name) for name in names], images, labels.astype(np.int64), four, table[:, len(PARENTS) :])


def _read_part(source: Path, part: str, options: CrumbOptions) -> Iterator[Cutout]:
    path = source / part
    parents = _all_parents(source)
    batch = _read_columns(path, len(parents))
    in_file = batch.basic
    basic = basic_labels(batch.complete, options.labels, options.priority)
    four = four_class_labels(batch.complete, options.priority)
    four_parents = parent_names(batch.complete)
    contradicted = contradictions(batch.complete)
    for row, (name, image) in enumerate(zip(batch.names, batch.images, strict=True)):
        ra, dec = source_position(name)
        further = dict(zip(parents[len(PARENTS) :], batch.further[row].tolist(), strict=True))
        listed = [four_parents[row], *(parent for parent, label in further.items() if label != ABSENT)]
        yield Cutout(
            cutout_id=source_name(ra, dec),
            # The images were written from FITS arrays row by row: their first row is the lowest in declination.
            pixels=batch_image(path, image, SIDE, row),
            mosaic=name.replace("\\", "/").rsplit("/", 1)[-1],
            ra_deg=ra,
            dec_deg=dec,
            x=(SIDE - 1) / 2,
            y=(SIDE - 1) / 2,
            pixel_scale_arcsec=PIXEL_SCALE_ARCSEC,
            unit="8-bit",
            extra={
                **dict(zip(PRIORITY, batch.complete[row].tolist(), strict=True)),
                **further,
                # A source of none of the four parents has the label that whoever added it gave it.
                "basic_label": basic[row] or in_file[row],
                "four_class": four[row] or in_file[row],
                "parents": ",".join(filter(None, listed)),
                "contradiction": bool(contradicted[row]),
                "batch_label": in_file[row],
                "batch": part,
                "split": "test" if part == "test_batch" else "train",
            },
        )


def _remarks(source: Path, options: CrumbOptions) -> list[str]:
    """Compare the labels in the files with those that follow from the complete labels."""
    parents = len(_all_parents(source))
    batches = [_read_columns(source / part, parents) for part in batch_files(source, options)]
    complete = np.concatenate([batch.complete for batch in batches])
    in_file = np.concatenate([batch.basic for batch in batches])
    known = (complete != ABSENT).any(axis=1)
    corrected = basic_labels(complete, "corrected")
    moved = known & (corrected != in_file) & (basic_labels(complete, "published") == in_file)
    odd = known & (corrected != in_file) & ~moved
    remarks = list(missing_batches(source, options))
    if moved.any():
        use = "are corrected here" if options.labels == "corrected" else "are kept"
        remarks.append(f"{moved.sum()} basic labels that say FRI where AT17, the only parent, says FRII {use}")
    if odd.any():
        remarks.append(
            f"{odd.sum()} basic labels in the batches follow from their complete labels by no rule of the authors; "
            "basic_label is derived from the complete label, batch_label is what the batch says"
        )
    return remarks


def _any_parent(*columns: str) -> str:
    """Return the expression for sources that any of these parents has."""
    return " or ".join(f"{column} >= 0" for column in columns)


def _no_parent(columns: Iterable[str]) -> str:
    return " and ".join(f"{column} < 0" for column in columns)


SELECTIONS = {
    "mirabest": _any_parent("mirabest"),
    "fr-deep": _any_parent("frdeep"),
    "at17": _any_parent("at17"),
    "mirabest-hybrid": _any_parent("mbhybrid"),
    "mirabest-with-hybrids": _any_parent("mirabest", "mbhybrid"),
    "without-mirabest": _no_parent(["mirabest", "mbhybrid"]),
    "two-class": "basic_label != 'hybrid'",
    "four-class": f"four_class in {list(FOUR_CLASSES)}",
    "bent": "four_class == 'bent'",
    "undisputed": "not contradiction",
}

_MD5 = (
    "004e97220b29da803cf67e762ade4b52",
    "a05122141382c3ccec5d5c717a582b16",
    "aada5e8eab52732b3d171b158081bfa7",
    "ebc353fb9059dbeb44da28a50e6092bc",
    "5d9459f61a710b27b3a790d3686fb14d",
    "965c62bfff96acf83245e68ca42e0c10",
)

CRUMB = PublishedSet(
    name="crumb",
    title="CRUMB: FIRST images, 7 batches of 300, with the labels of four parent sets",
    reference="Porter & Scaife 2023, Machine Learning and the Physical Sciences (NeurIPS); doi:10.5281/zenodo.7948346",
    terms="labels as published by the authors; FIRST images for scholarly, educational and private non-commercial use",
    source="the folder of its batches",
    columns=_columns,
    parts=batch_files,
    read=_read_part,
    options=CrumbOptions,
    selections=SELECTIONS,
    notes=(
        "basic labels are corrected for 29 sources that only AT17 has and calls FRII; labels=published has them as FRI",
        "the label columns of the parents are -1 where a source is not in that parent",
    ),
    remarks=_remarks,
    downloads=(
        Download(
            url="http://www.jb.man.ac.uk/research/MiraBest/CRUMB/CRUMB_batches.tar.gz",
            md5="a33c0564b99d66fb825e224a0392bc78",
            contents=batch_checksums(
                "CRUMB_batches", _MD5, "0cd9c3869700b720f4adcadba79d793c", "58f77558538ea5cd398fea6300201332"
            ),
        ),
    ),
)
