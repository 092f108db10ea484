"""Feature tables for other programs: FITS and VOTable for TOPCAT, HATS for LSDB."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa

from radiossl.features.feature_file import FeatureFile
from radiossl.features.hats import write_hats
from radiossl.features.rows import FEATURES
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file
from radiossl.io.locks import only_writer

Format = Literal["fits", "votable", "hats"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export_features(features: str | os.PathLike[str], out: str | os.PathLike[str], form: Format) -> int:
    """Write a feature table in another format.

    Parameters
    ----------
    features
        Parquet file, or folder of such, from `radiossl embed`.
    out
        FITS or VOTable file to write, or the folder of a HATS catalogue (see `write_hats`).
    form
        ``fits`` or ``votable``: all columns, the features as a column of vectors; the table is read into memory.
        ``hats``: partitioned by position.

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
        table = _astropy_table(FeatureTable.read(features))
        with atomic_file(out) as temporary, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of keywords longer than a FITS card's
            options: dict[str, Any] = {} if form == "fits" else {"tabledata_format": "binary2"}
            table.write(temporary, format=form, overwrite=True, **options)
    return 0


def _astropy_table(table: FeatureTable) -> Any:
    """Return the table with missing numbers and texts masked."""
    from astropy.table import MaskedColumn, Table

    made = Table()
    for name in table.columns.column_names:
        column = table.columns.column(name)
        missing = column.is_null().to_numpy()
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
            values = column.fill_null(0).to_numpy()
        else:
            values = np.array([("" if value is None else str(value)) for value in column.to_pylist()], dtype=str)
        made[name] = MaskedColumn(values, mask=missing) if missing.any() else values
    made[FEATURES] = table.features
    made.meta["RADIOSSL"] = json.dumps(table.metadata)
    return made
