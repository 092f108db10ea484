"""The list of sources that CRUMB was built from, as a catalogue with positions in degrees and all labels."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.datasets.crumb_labels import (
    PARENTS,
    PRIORITY,
    CrumbOptions,
    LabelParent,
    basic_labels,
    complete_labels,
    contradictions,
    four_class_labels,
    parent_names,
)
from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file
from radiossl.survey.catalogue import Catalogue, read_catalogue

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

    Raises `RadiosslError` if the file cannot be read, a parent's column is missing or holds a number that is no label
    of it.

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
        raise RadiosslError(
            f"{path}: {values.shape[1]} columns, expected {wide}: RA in hours, Dec, {', '.join(PRIORITY)}"
        )
    ra_hours, dec_deg = values[:, 0], values[:, 1]
    if np.any((ra_hours < 0) | (ra_hours >= 24)) or np.any(np.abs(dec_deg) > 90):
        raise RadiosslError(
            f"{path}: positions out of range, expected right ascension in hours and declination in degrees"
        )
    return ra_hours * 15, dec_deg, complete_labels(values[:, 2:].astype(np.int64), path)


def _parent_column(catalogue: Catalogue, parent: LabelParent) -> NDArray[np.int64]:
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
