"""The column that says how large an object is: the baseline of every ranking, and what zoomed cutouts do not show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError

#: Columns of sizes, the first one that a table has is taken.
SIZE_COLUMNS = ("size_pixels", "las_arcsec", "size_arcsec", "extent_arcsec")


def size_column(table: FeatureTable) -> str | None:
    """Return the name of the column of a table that holds the size of the objects, or None.

    Parameters
    ----------
    table : FeatureTable
        A column counts if at least half of its values are known and positive, and they differ.
    """
    for name in SIZE_COLUMNS:
        if name in table.columns.column_names:
            values = _positive(table, name)
            known = np.isfinite(values)
            if known.mean() >= 0.5 and len(np.unique(values[known])) > 1:
                return name
    return None


def log_sizes(table: FeatureTable, name: str) -> NDArray[np.float64]:
    """Return the decimal logarithm of a column of sizes, the median where unknown or not positive, shape (n,).

    Raises
    ------
    RadiosslError
        If the column has no positive number.
    """
    values = _positive(table, name)
    known = np.isfinite(values)
    if not known.any():
        raise RadiosslError(f"column {name!r}: positive sizes were expected, it has none")
    return np.log10(np.where(known, values, np.median(values[known])))


def _positive(table: FeatureTable, name: str) -> NDArray[np.float64]:
    import pandas as pd

    values = pd.to_numeric(pd.Series(table.column(name)), errors="coerce").to_numpy(dtype=np.float64)
    return np.where(values > 0, values, np.nan)
