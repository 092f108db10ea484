"""Tables of result folders, and the names of their files."""

from __future__ import annotations

import os

import pandas as pd

from radiossl.io.csv_cells import guarded_frame
from radiossl.io.files import atomic_file


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a data frame as CSV, atomically."""
    with atomic_file(path) as temporary:
        guarded_frame(frame).to_csv(temporary, index=False)


def file_stem(name: str) -> str:
    """Return a column's name with all that a file's name should not hold replaced."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
