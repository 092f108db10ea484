"""Texts in CSV files that a spreadsheet would run as formulas: written with an apostrophe, which reading takes off.

A cell such as ``=HYPERLINK(...)`` in a published catalogue is run by the spreadsheet that opens our result. Texts that
begin so are given an apostrophe, as spreadsheets mark texts; numbers and coordinates such as ``+12:30`` stay.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: After any number of apostrophes, so that what had one before comes back with one.
_FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-](?![\d\s.:,]*(?:[eE][+-]?\d+)?$))")


def guarded(value: Any) -> Any:
    """Return a cell in its written form; only texts change.

    Examples
    --------
    >>> guarded("=1+1"), guarded("+12 30"), guarded("J1200+10"), unguarded(guarded("'=1+1"))
    ("'=1+1", '+12 30', 'J1200+10', "'=1+1")
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def unguarded(value: Any) -> Any:
    """Return a cell that was read as it was before `guarded`."""
    return value[1:] if isinstance(value, str) and value.startswith("'") and _FORMULA.match(value) else value


def csv_format(path: Path, needed: Sequence[str]) -> dict[str, str]:
    """Return how `pandas.read_csv` is to read a CSV that has some columns: its ``sep`` and its ``encoding``.

    Spreadsheets write semicolons where a comma is the decimal mark, and UTF-16 with tabs as "Unicode text". The mark
    is that with which these columns, or most columns, are there; text without a mark of its encoding is UTF-8, or
    `RadiosslError` is raised.
    """
    with path.open("rb") as file:
        encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        with path.open(encoding=encoding, newline="") as text:
            head = text.readline()
            while text.read(1 << 20):  # all of it is in this encoding
                pass
    except UnicodeError:
        head = "\0"
    if "\0" in head:
        raise RadiosslError(f"{path}: is not in UTF-8; save it again as CSV in UTF-8")
    names = {mark: {name.strip() for name in next(csv.reader([head], delimiter=mark), [])} for mark in ",;\t"}
    best = max(names, key=lambda mark: (set(needed) <= names[mark], len(names[mark])))
    return {"sep": best, "encoding": encoding}


def write_csv_rows(path: str | os.PathLike[str], head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, atomically."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([guarded(cell) for cell in row] for row in (head, *rows))


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a data frame as CSV, atomically, without its index."""
    with atomic_file(path) as temporary:
        guarded_frame(frame).to_csv(temporary, index=False)


def unguarded_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a data frame of `read_csv` as it was before `guarded_frame`."""
    return guarded_frame(frame, unguarded)


def guarded_frame(frame: pd.DataFrame, change: Callable[[Any], Any] = guarded) -> pd.DataFrame:
    """Return a data frame for `to_csv`, names of columns included."""
    frame = frame.copy(deep=False)
    for place, kind in enumerate(frame.dtypes):
        if str(kind) in ("object", "string", "str", "category", "string[pyarrow]", "large_string[pyarrow]"):
            column = frame.iloc[:, place]
            changed = column.map(change, na_action="ignore")
            if not changed.equals(column):
                frame.isetitem(place, changed)
    return frame.set_axis([change(name) for name in frame.columns], axis=1)


def write_arrow_csv(table: pa.Table, path: str | os.PathLike[str]) -> None:
    """Write an Arrow table as CSV, atomically."""
    from pyarrow import csv as arrow_csv

    with atomic_file(path) as temporary:
        arrow_csv.write_csv(guarded_table(table), temporary)


def unguarded_table(table: pa.Table) -> pa.Table:
    """Return an Arrow table that was read from a CSV as it was before `guarded_table`."""
    return guarded_table(table, unguarded)


def guarded_table(table: pa.Table, change: Callable[[Any], Any] = guarded) -> pa.Table:
    """Return an Arrow table for `pyarrow.csv.write_csv`, names of columns included."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            column = table.column(place)
            if pc.any(pc.match_substring_regex(column, r"^['=@+\t\r-]")).as_py():
                values = [change(value) for value in column.to_pylist()]
                table = table.set_column(place, field, pa.chunked_array([pa.array(values, field.type)]))
    return table.rename_columns([change(name) for name in table.column_names])
