"""What is inside a lasso, and selections as files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from radiossl.io.errors import RadiosslError
from radiossl.report.regions import write_regions
from radiossl.report.results import write_table
from radiossl.similarity.report import circle_radii, write_astropy_table


def rows_in_polygon(coordinates: NDArray[np.floating], x: ArrayLike, y: ArrayLike) -> NDArray[np.int64]:
    """Return which points lie inside a polygon.

    Parameters
    ----------
    coordinates
        Shape (n, 2).
    x, y
        Its corners, at least three; the last is joined to the first.
    """
    from matplotlib.path import Path as Outline

    corners = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    if len(corners) < 3 or not np.isfinite(corners).all():
        return np.zeros(0, np.int64)
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero(((coordinates >= low) & (coordinates <= high)).all(axis=1))
    return near[Outline(corners).contains_points(coordinates[near])]


def table_bytes(frame: pd.DataFrame, form: str) -> bytes:
    """Return a table as the content of a file; `form` is ``csv`` or ``fits``."""
    if form == "csv":
        return _written(lambda path: write_table(frame, path), "table.csv")
    return _written(lambda path: write_astropy_table(frame, path, "fits"), "table.fits")


def regions_bytes(frame: pd.DataFrame) -> bytes:
    """Return sources as a DS9 region file, each a circle around its cutout, labelled by its id.

    Raises
    ------
    RadiosslError
        If none of them has a position.
    """
    if not {"ra_deg", "dec_deg"} <= set(frame.columns) or not np.isfinite(frame["ra_deg"].astype(float)).any():
        raise RadiosslError("none of these sources has a position on the sky")
    labels = frame["cutout_id"].astype(str).tolist()
    return _written(
        lambda path: write_regions(frame["ra_deg"], frame["dec_deg"], labels, path, circle_radii(frame)),
        "selection.reg",
    )


def _written(write: Callable[[Path], object], name: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="radiossl-export-") as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()
