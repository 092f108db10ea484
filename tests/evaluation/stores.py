"""Stores made from others."""

import numpy as np
import pyarrow as pa

from radiossl.store.store import CutoutStore


def unplaced(store, rows=None):
    """The same store, without the positions of these rows, or of all."""
    ra = store.column("ra_deg").astype(float).copy()
    ra[slice(None) if rows is None else rows] = np.nan
    place = store.columns.index("ra_deg")
    return CutoutStore(store.paths, store.table.set_column(place, "ra_deg", pa.array(ra)), store._views)


def with_column(store, name, values):
    """The same store with another column."""
    return CutoutStore(store.paths, store.table.append_column(name, pa.array(values)), store._views)
