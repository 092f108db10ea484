"""The sky that a cutout store covers, as a multi-order coverage map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiossl.sky.moc import boxes_moc
from radiossl.store.boxes import pixel_shapes
from radiossl.store.store import CutoutStore

if TYPE_CHECKING:
    from mocpy import MOC


def store_moc(store: CutoutStore, order: int | None = None) -> MOC:
    """Return the sky that the cutouts of a store show, boxes of their size and orientation.

    Parameters
    ----------
    store
        The store. Cutouts without a position are left out; of those whose pixel size is unknown, 60 arcsec are taken.
    order
        See `radiossl.sky.moc.boxes_moc`.

    Raises
    ------
    RadiosslError
        If no cutout has a position.

    See Also
    --------
    radiossl.sky.moc.write_moc : Write it as FITS.
    """
    sides, turn = pixel_shapes(store, np.arange(len(store)))
    height, width = (store.shapes * sides).T
    return boxes_moc(store.column("ra_deg"), store.column("dec_deg"), width, height, np.degrees(turn), order)
