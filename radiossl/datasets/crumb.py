"""CRUMB: 2,100 radio galaxies of FIRST with the labels of four parent data sets (Porter & Scaife 2023).

Read from the official pickled batches, or as a catalogue from the list of sources they were built from. A *complete*
label has one entry per parent, -1 where a source is not in it; a *basic* label (FRI, FRII or hybrid) is derived from
it.

The published basic labels of 29 sources do not follow from their complete labels: the rule that made them looks into
FR-DEEP's column where it should look into AT17's, so that every source that only AT17 has becomes FRI, also those that
AT17 calls FRII. The published totals of 1,006 FRI, 997 FRII and 97 hybrids (section 2.4) include them; corrected they
are 977, 1,026 and 97. Labels are corrected here unless they are asked for as published.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pydantic import field_validator

from radiossl.datasets.fetch import Download
from radiossl.datasets.mirabest import batch_checksums, batch_files, missing_batches
from radiossl.datasets.pickles import batch_columns, batch_image, read_batch
from radiossl.datasets.published import Options, PublishedSet
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file, existing_file
from radiossl.store.cutout import Cutout
from radiossl.survey.catalogue import Catalogue, read_catalogue

SIDE = 150
PIXEL_SCALE_ARCSEC = 1.8
#: Basic classes, in the order of the batches' label numbers.
BASIC_CLASSES = ("FRI", "FRII", "hybrid")
FOUR_CLASSES = ("FRI", "FRII", "hybrid", "bent")
ABSENT = -1

Labels = Literal["corrected", "published"]


@dataclass(frozen=True)
class Parent:
    """One of the data sets that CRUMB combines (table 1 of the paper).

    Attributes
    ----------
    column
        Its column in stores and catalogues.
    title
        Its name in the paper.
    classes
        For each of its label numbers, which of `FOUR_CLASSES` that is.
    aliases
        Names of its column in other files, in lower case and without punctuation.
    """

    column: str
    title: str
    classes: tuple[str, ...]
    aliases: tuple[str, ...] = ()

    @property
    def knows_bent(self) -> bool:
        """Whether it tells bent sources from other FRI."""
        return "bent" in self.classes


#: In the order of the complete label, which is also the order in which the authors let them decide the basic label.
PARENTS = (
    Parent(
        "mirabest",
        "MiraBest",
        ("FRI", "bent", "bent", "FRI", "bent", "FRII", "FRII", "FRII", "hybrid", "hybrid"),
        ("mb",),
    ),
    Parent("frdeep", "FR-DEEP", ("FRI", "FRII")),
    Parent("at17", "AT17", ("FRI", "FRII", "bent")),
    Parent("mbhybrid", "MiraBest Hybrid", ("hybrid", "hybrid"), ("mbhyb",)),
)
PRIORITY = tuple(parent.column for parent in PARENTS)

_NAME = re.compile(r"(?P<ra>\d{1,3}\.\d+)_(?P<dec>[+-]\d{1,3}\.\d+)(?:\.png|\.fits(?:\.gz|\.fz)?)?")


# Names ----------------------------------------------------------------------------------------------------------------


def source_name(ra_deg: float, dec_deg: float) -> str:
    """Return the name of a source, such as ``222.036_+016.578``."""
    return f"{ra_deg:07.3f}_{dec_deg:+08.3f}"


def parse_name(name: str) -> tuple[float, float]:
    """Read right ascension and declination in degrees from a file name or path such as ``222.036_+016.578.png``.

    Raises
    ------
    RadiosslError
        If it is not of this form.
    """
    match = _NAME.fullmatch(str(name).replace("\\", "/").rsplit("/", 1)[-1])
    ra, dec = (float(match["ra"]), float(match["dec"])) if match else (np.nan, np.nan)
    if not (ra <= 360 and abs(dec) <= 90):
        raise RadiosslError(f"{name}: expected a name of a position in degrees such as 222.036_+016.578.png")
    return ra, dec


# Labels ---------------------------------------------------------------------------------------------------------------


class CrumbOptions(Options):
    """Options of CRUMB.

    Attributes
    ----------
    labels
        Basic labels ``corrected`` or as ``published``, which differ for 29 sources.
    priority
        Which parent's label is the basic one where they contradict each other, first the parent that wins; those that
        are not named come after the others in the authors' order. As text, names with commas between them.
    """

    labels: Labels = "corrected"
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
        raise RadiosslError(
            f"{where}: {labels.dtype} of shape {labels.shape}, expected whole numbers (n, {len(PARENTS)})"
        )
    for column, parent in zip(labels.T, PARENTS, strict=True):
        wrong = column[(column < ABSENT) | (column >= len(parent.classes))]
        if wrong.size:
            raise RadiosslError(
                f"{where}: label {wrong[0]} in {parent.title}, expected -1 to {len(parent.classes) - 1}"
            )
    return labels.astype(np.int64)


def basic_labels(
    complete: ArrayLike, labels: Labels = "corrected", priority: Sequence[str] = PRIORITY
) -> NDArray[np.object_]:
    """Derive basic labels from complete ones.

    Parameters
    ----------
    complete
        Shape (n, 4).
    labels
        ``published`` repeats the mistake described at the top of this module.
    priority
        Which parent decides where several have a label, see `CrumbOptions`.

    Returns
    -------
    ndarray
        Shape (n,), of `BASIC_CLASSES`; None where no parent has a label.
    """
    rows = _classes(complete, priority, published=labels == "published")
    return np.array([_family(classes[0][1]) if classes else None for classes in rows], dtype=object)


def four_class_labels(complete: ArrayLike, priority: Sequence[str] = PRIORITY) -> NDArray[np.object_]:
    """Derive labels of which bent sources are a class of their own (section 3.1), shape (n,).

    The parent that decides the basic label decides here as well. FR-DEEP has no class for bent sources: those it calls
    FRI are bent if the next parent in the order that knows bent sources, and agrees on FRI, says so.
    """
    return np.array([_four_class(classes) for classes in _classes(complete, priority)], dtype=object)


def contradictions(complete: ArrayLike) -> NDArray[np.bool_]:
    """Tell where parents disagree on FRI, FRII or hybrid (bent counts as FRI), shape (n,)."""
    rows = _classes(complete, PRIORITY)
    return np.array([len({_family(name) for _, name in classes}) > 1 for classes in rows], dtype=bool)


def parent_names(complete: ArrayLike) -> list[str]:
    """Return the parents of every source, with commas between them."""
    present = complete_labels(complete) != ABSENT
    return [",".join(name for name, there in zip(PRIORITY, row, strict=True) if there) for row in present]


def label_classes() -> dict[str, dict[str, str]]:
    """Return the basic class of every label of every parent, as merging of catalogues wants it."""
    return {
        parent.column: {str(number): _family(name) for number, name in enumerate(parent.classes)} for parent in PARENTS
    }


def _classes(
    complete: ArrayLike, priority: Sequence[str], *, published: bool = False
) -> list[list[tuple[Parent, str]]]:
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


def _four_class(classes: Sequence[tuple[Parent, str]]) -> str | None:
    if not classes:
        return None
    decided = _family(classes[0][1])
    fine = (name for parent, name in classes if parent.knows_bent and _family(name) == "FRI")
    return next(fine, decided) if decided == "FRI" else decided


def label_totals(complete: ArrayLike, priority: Sequence[str] = PRIORITY) -> dict[str, dict[str, int]]:
    """Count the basic classes, as ``published`` and ``corrected``."""
    kinds: tuple[Labels, ...] = ("published", "corrected")
    totals: dict[str, dict[str, int]] = {}
    for kind in kinds:
        found = basic_labels(complete, kind, priority)
        totals[kind] = {name: int((found == name).sum()) for name in BASIC_CLASSES}
    return totals


def explain_totals(complete: ArrayLike) -> str:
    """Say in one paragraph why the published and the corrected totals differ."""
    totals = label_totals(complete)
    listed = {kind: ", ".join(f"{count} {name}" for name, count in of.items()) for kind, of in totals.items()}
    moved = int((basic_labels(complete, "published") != basic_labels(complete)).sum())
    return (
        f"{len(np.asarray(complete))} sources: {listed['published']} as published, {listed['corrected']} corrected; "
        f"{moved} that only AT17 labels, as FRII, are published as FRI"
    )


# The catalogue --------------------------------------------------------------------------------------------------------


def read_crumb_catalogue(path: str | os.PathLike[str], options: CrumbOptions | None = None) -> pa.Table:
    """Read the list of sources that CRUMB was built from, with positions in degrees and all labels.

    Parameters
    ----------
    path
        The authors' text file (right ascension in **hours**, declination in degrees, four labels), or a table in any
        format of `read_catalogue` with columns of the parents' names; its right ascension is taken in hours if the name
        of its column says so (``ra_hours``).
    options
        How basic labels are made.

    Returns
    -------
    pyarrow.Table
        Columns ``name``, ``ra_deg``, ``dec_deg``, the four parents, ``basic_label``, ``published_label`` (what the
        authors published), ``four_class``, ``parents`` and ``contradiction``.

    Raises
    ------
    RadiosslError
        If the file cannot be read, a parent's column is missing or holds a number that is no label of it.
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


def write_crumb_catalogue(
    path: str | os.PathLike[str], out: str | os.PathLike[str], options: CrumbOptions | None = None
) -> pa.Table:
    """Write `read_crumb_catalogue` as a CSV that cutting and building take; return the table."""
    from pyarrow import csv

    table = read_crumb_catalogue(path, options)
    with atomic_file(out) as temporary:
        csv.write_csv(table, temporary)
    return table


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
        raise RadiosslError(
            f"{path}: {values.shape[1]} columns, expected {wide}: RA in hours, Dec, {', '.join(PRIORITY)}"
        )
    ra_hours, dec_deg = values[:, 0], values[:, 1]
    if np.any((ra_hours < 0) | (ra_hours >= 24)) or np.any(np.abs(dec_deg) > 90):
        raise RadiosslError(
            f"{path}: positions out of range, expected right ascension in hours and declination in degrees"
        )
    return ra_hours * 15, dec_deg, complete_labels(values[:, 2:].astype(np.int64), path)


def _parent_column(catalogue: Catalogue, parent: Parent) -> NDArray[np.int64]:
    known = (parent.column, *parent.aliases)
    names = [name for name in catalogue.columns.column_names if re.sub(r"[^a-z0-9]", "", name.lower()) in known]
    if len(names) != 1:
        found = ", ".join(catalogue.columns.column_names)
        raise RadiosslError(f"{catalogue.name}: {len(names)} columns of {parent.title} labels, expected one ({found})")
    column = catalogue.columns.column(names[0])
    if not pa.types.is_integer(column.type) or column.null_count:
        raise RadiosslError(
            f"{catalogue.name}: column {names[0]!r} is {column.type}, expected whole numbers, -1 if absent"
        )
    return column.to_numpy().astype(np.int64)


# Batches --------------------------------------------------------------------------------------------------------------

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
        ra, dec = parse_name(name)
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
