"""Feature tables for other programs: FITS and VOTable for TOPCAT, CSV for spreadsheets, HATS for LSDB."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from radiossl.features.feature_file import FeatureFile
from radiossl.features.hats import write_hats
from radiossl.features.other_formats import write_astropy
from radiossl.features.rows import FEATURES
from radiossl.features.table import FeatureTable
from radiossl.io.csv_cells import guarded_frame
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file
from radiossl.io.locks import only_writer
from radiossl.io.progress import track

Format = Literal["fits", "votable", "csv", "hats"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export_table(features: str | os.PathLike[str], out: str | os.PathLike[str], form: Format) -> int:
    """Write a feature table in another format.

    Parameters
    ----------
    features
        Parquet file, or folder of such, from `radiossl embed`.
    out
        FITS, VOTable or CSV file to write, or the folder of a HATS catalogue (see `write_hats`).
    form
        ``fits`` or ``votable``: all columns, the features as a column of vectors; the table is read into memory.
        ``csv``: all columns, then feature_0, feature_1 and so on. ``hats``: partitioned by position.

    Returns
    -------
    int
        How many rows were left out: those without a position in a HATS catalogue.

    Raises
    ------
    RadiosslError
        If the table cannot be read, `form` is unknown, or `out` cannot be written.
    """
    if form not in FORMATS:
        raise RadiosslError(f"--format {form}: expected one of {', '.join(FORMATS)}")
    out = Path(out)
    with only_writer(out):
        if form == "hats":
            return write_hats(FeatureFile(features), out)
        if out.is_dir():
            raise RadiosslError(f"{out}: is a folder, a file was to be written; choose another --out")
        if form == "csv":
            _write_csv(FeatureFile(features), out)
            return 0
        table = FeatureTable.read(features)
        write_astropy(table.columns, out, form, {FEATURES: table.features}, table.metadata)
    return 0


def _write_csv(features: FeatureFile, out: Path) -> None:
    """Write the columns, then the features as feature_0, feature_1 and so on, batch by batch."""
    names = [f"feature_{number}" for number in range(features.dimension)]
    with atomic_file(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        batches = track(features.batches_with_columns(), "writing", total=features.batch_count)
        for number, (columns, vectors) in enumerate(batches):
            frame = columns.to_pandas(types_mapper=pd.ArrowDtype)
            whole = pd.concat([frame, pd.DataFrame(vectors, columns=names)], axis=1)
            guarded_frame(whole).to_csv(stream, index=False, header=number == 0)
