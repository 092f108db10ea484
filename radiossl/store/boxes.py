"""Where the boxes of cutouts lie on the sky, and what they cover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiossl.sky.angles import angles_arcsec
from radiossl.sky.moc import boxes_moc
from radiossl.sky.positions import ROUNDING_ARCSEC, chord_of, known_positions
from radiossl.store.store import CutoutStore

if TYPE_CHECKING:
    from mocpy import MOC

_CHUNK = 4096


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


def shows_position(store: CutoutStore, ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> NDArray[np.bool_]:
    """Tell which cutouts show one of some positions, shape (number of cutouts,).

    Where the pixel size is known, a position is shown if it lies inside the cutout's box, widened on every side by the
    radius. Stores that do not know the sizes along each axis and the orientation of their pixels are taken to have
    square ones, north up. Elsewhere a position must lie within the radius of the centre. A cutout without position
    shows none.
    """
    from scipy.spatial import cKDTree

    chord_of(radius_arcsec)
    shown = np.zeros(len(store), dtype=bool)
    rows, centres = known_positions(*store.positions)
    _, sources = known_positions(ra, dec)
    if rows.size == 0 or len(sources) == 0:
        return shown
    sides, turn = pixel_shapes(store, rows)
    # Half sides in arcsec: y first, as in `shapes`.
    half = store.shapes[rows] / 2 * np.nan_to_num(sides) + radius_arcsec
    boxed: NDArray[np.bool_] = np.isfinite(sides.sum(axis=1))
    reach = np.where(boxed, np.hypot(*half.T), radius_arcsec)
    # A gnomonic box reaches a little farther on the plane than on the sphere, so the sphere's circle holds it.
    chords = chord_of(np.minimum(reach, 180 * 3600))
    tree = cKDTree(sources)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = tree.query_ball_point(centres[part], chords[part])
        counts = np.array([len(item) for item in found])
        if counts.sum() == 0:
            continue
        cutout = np.repeat(np.arange(start, start + len(found)), counts)
        source = sources[np.concatenate([np.asarray(item, dtype=np.int64) for item in found])]
        east, north = _plane_arcsec(centres[cutout], source)
        up = east * np.sin(turn[cutout]) + north * np.cos(turn[cutout])
        across = east * np.cos(turn[cutout]) - north * np.sin(turn[cutout])
        inside = (np.abs(across) <= half[cutout, 1]) & (np.abs(up) <= half[cutout, 0])
        inside |= angles_arcsec(centres[cutout], source) <= radius_arcsec + ROUNDING_ARCSEC
        shown[rows[cutout[np.where(boxed[cutout], inside, True)]]] = True
    return shown


def pixel_shapes(store: CutoutStore, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return heights and widths of pixels in arcsec, (n, 2), NaN if unknown, and position angles in radians, (n,)."""
    scale = store.column("pixel_scale_arcsec").astype(float)[rows]
    if "pixel_width_arcsec" not in store.columns:  # written by an older radiossl
        return np.stack([scale, scale], axis=1), np.zeros(len(rows))
    names = ("pixel_height_arcsec", "pixel_width_arcsec", "pixel_pa_deg")
    height, width, angle = (store.column(name).astype(float)[rows] for name in names)
    known = np.isfinite(height * width * angle)
    sides = np.stack([np.where(known, height, scale), np.where(known, width, scale)], axis=1)
    return sides, np.radians(np.where(known, angle, 0.0))


def _plane_arcsec(
    centre: NDArray[np.float64], point: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return offsets east and north of the centre on the tangent plane; infinite beyond the horizon."""
    east = np.stack([-centre[:, 1], centre[:, 0], np.zeros(len(centre))], axis=1)
    length = np.linalg.norm(east, axis=1, keepdims=True)
    east = np.where(length > 1e-12, east / np.maximum(length, 1e-12), [0.0, 1.0, 0.0])  # at a pole any east will do
    north = np.cross(centre, east)
    depth = np.einsum("ij,ij->i", centre, point)
    depth = np.where(depth > 0, depth, 1e-300)
    with np.errstate(over="ignore"):
        x, y = (np.degrees(np.einsum("ij,ij->i", axis, point) / depth) * 3600 for axis in (east, north))
    return x, y
