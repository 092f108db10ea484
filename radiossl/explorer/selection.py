"""Which sources are chosen, by a lasso or by filters, and selections as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError
from radiossl.maps.figures import ClassColours, NumberColours
from radiossl.report.sky_links import write_regions
from radiossl.similarity.report import circle_radii, write_astropy_table
from radiossl.survey.received import temporary_folder

if TYPE_CHECKING:
    from radiossl.explorer.session import Session


def rows_in_polygon(coordinates: NDArray[np.floating], x: ArrayLike, y: ArrayLike) -> NDArray[np.int64]:
    """Return which points of shape (n, 2) lie inside a polygon of at least three corners."""
    from matplotlib.path import Path as Outline

    corners = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    if len(corners) < 3 or not np.isfinite(corners).all():
        return np.zeros(0, np.int64)
    low, high = corners.min(axis=0), corners.max(axis=0)
    near = np.flatnonzero(((coordinates >= low) & (coordinates <= high)).all(axis=1))
    return near[Outline(corners).contains_points(coordinates[near])]


def chosen_rows(session: Session, chosen_by: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """Return the rows of the sources that were chosen; None for no choice.

    `chosen_by` comes from an address, so it may be anything: empty, ``{"lasso": map, "corners": "x y x y ..."}``,
    ``{"ids": [...]}``, or ``{"filters": {column: wanted}}``, where wanted is ``[low, high]`` for numbers, an empty text
    is no limit, and ``[class, ...]`` for classes. Raises `RadiosslError` if there is no such column, or none yet, and
    KeyError, ValueError, TypeError or AttributeError if it is none of these.
    """
    if not chosen_by:
        return None
    if "ids" in chosen_by:
        return session.rows_of([str(name) for name in chosen_by["ids"]])
    if "lasso" in chosen_by:
        corners = np.array(chosen_by["corners"].split(), dtype=float).reshape(-1, 2)
        return rows_in_polygon(session.maps.coordinates[chosen_by["lasso"]], corners[:, 0], corners[:, 1])
    masks = [_filtered(session.shown.colours(name), wanted) for name, wanted in chosen_by["filters"].items()]
    return np.flatnonzero(np.logical_and.reduce(masks))


def _filtered(values: NumberColours | ClassColours, wanted: Sequence[str]) -> NDArray[np.bool_]:
    if isinstance(values, ClassColours):
        return np.isin(values.codes, [values.names.index(name) for name in wanted])
    low, high = (float(text or default) for text, default in zip(wanted, ("-inf", "inf"), strict=True))
    return (values.values >= low) & (values.values <= high)


def table_bytes(frame: pd.DataFrame, form: str) -> bytes:
    """Return a table as the content of a file; `form` is ``csv`` or ``fits``."""
    if form == "csv":
        return _written(lambda path: write_table(frame, path))
    return _written(lambda path: write_astropy_table(frame, path, "fits"))


def regions_bytes(frame: pd.DataFrame) -> bytes:
    """Return sources as a DS9 region file, each a circle around its cutout, labelled by its id."""
    if not {"ra_deg", "dec_deg"} <= set(frame.columns) or not np.isfinite(frame["ra_deg"].astype(float)).any():
        raise RadiosslError("none of these sources has a position on the sky")
    labels = frame["cutout_id"].astype(str).tolist()
    return _written(lambda path: write_regions(frame["ra_deg"], frame["dec_deg"], labels, path, circle_radii(frame)))


def _written(write: Callable[[Path], object]) -> bytes:
    with temporary_folder() as folder:
        path = folder / "selection"
        write(path)
        return path.read_bytes()
