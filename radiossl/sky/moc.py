"""Coverage of the sky as multi-order coverage maps (MOC, IVOA standard), which Aladin, TOPCAT and mocpy read."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from radiossl.io.errors import RadiosslError, check_number
from radiossl.io.files import atomic_file
from radiossl.sky.positions import RADIUS_ARCSEC

if TYPE_CHECKING:
    from mocpy import MOC

#: Cells are this fraction of a box at most, but not coarser or finer than these orders.
_CELL, _ORDERS = 0.125, (8, 18)
#: Side of a HEALPix cell of order 0 in arcsec.
_BASE_ARCSEC = math.degrees(math.sqrt(math.pi / 3)) * 3600


def boxes_moc(
    ra_deg: ArrayLike,
    dec_deg: ArrayLike,
    width_arcsec: ArrayLike,
    height_arcsec: ArrayLike,
    pa_deg: ArrayLike = 0.0,
    order: int | None = None,
) -> MOC:
    """Return the map of everything inside boxes around ICRS positions; those without a position are left out.

    Sides that are unknown (NaN) are taken to be 60 arcsec long; `pa_deg` is the position angle of the sides that
    `height_arcsec` measures, north through east. `order` is the HEALPix order of the finest cells, by default such that
    they are an eighth of a small box at most. A cell that touches a box belongs to the map, so the map never misses a
    part. Raises `RadiosslError` if no box has a position.

    Examples
    --------
    >>> moc = boxes_moc([150.0, 150.5], [2.0, 2.0], 120.0, 60.0)
    >>> moc.contains_skycoords(SkyCoord([150.01, 150.25], [2.0, 2.0], unit="deg")).tolist()
    [True, False]
    """
    import astropy.units as u
    from mocpy import MOC

    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(values, dtype=float))
                                    for values in (ra_deg, dec_deg, width_arcsec, height_arcsec, pa_deg)))  # fmt: skip
    ra, dec, width, height, angle = (values[np.isfinite(columns[0]) & np.isfinite(columns[1])] for values in columns)
    if ra.size == 0:
        raise RadiosslError("no position is known, so there is no sky coverage to map")
    width, height = (np.where(np.isfinite(side), side, RADIUS_ARCSEC) for side in (width, height))
    if order is not None:
        check_number("order of the map", order, 0, 29, whole=True)
    else:
        small = max(float(np.percentile(np.minimum(width, height), 10)), 1.0)
        order = int(np.clip(math.ceil(math.log2(_BASE_ARCSEC / (_CELL * small))), *_ORDERS))
    upright = height >= width  # mocpy wants the longer half side first, and its direction
    return MOC.from_boxes(
        lon=ra * u.deg,
        lat=dec * u.deg,
        a=np.where(upright, height, width) / 2 * u.arcsec,
        b=np.where(upright, width, height) / 2 * u.arcsec,
        angle=np.where(upright, angle, angle + 90) % 180 * u.deg,
        max_depth=order,
        n_threads=1,
        union_strategy="large_boxes",
    )


def write_moc(moc: MOC, path: str | os.PathLike[str]) -> None:
    """Write a map as FITS, all or nothing."""
    with atomic_file(Path(path)) as temporary:
        moc.save(temporary, format="fits", overwrite=True)
