"""Where sources lie: on which mosaics, and at which pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track
from radiossl.sky.angles import unit_vectors
from radiossl.sky.positions import chord_of
from radiossl.survey.catalogue import Catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.mosaic import Mosaic

#: Points along each edge of a mosaic from which the circle around it is estimated.
_EDGE_POINTS = 17


@dataclass(frozen=True, eq=False)
class Places:
    """Pairs of a source and a mosaic that holds it, arrays of shape (n,)."""

    #: Indices.
    source: NDArray[np.int64]
    mosaic: NDArray[np.int64]
    #: Position in pixels of the mosaic, and the size of the pixels there.
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    pixel_width_arcsec: NDArray[np.float64]
    pixel_height_arcsec: NDArray[np.float64]
    #: Distance to the mosaic's nearest edge.
    edge_arcsec: NDArray[np.float64]
    #: Shape of the mosaic, and whether it has no edge on the left and on the right (`Mosaic.is_seamless`).
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    seamless: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Places:
        """Return the pairs `rows`, indices or a mask."""
        return Places(*(getattr(self, field.name)[rows] for field in fields(Places)))


def _places_on(mosaic: Mosaic, index: int, catalogue: Catalogue, near: NDArray[np.int64]) -> Places:
    """Return those of the rows `near` of a catalogue that lie on a mosaic, which gets the number `index`."""
    ra, dec = catalogue.ra_deg[near], catalogue.dec_deg[near]
    x, y = mosaic.sky_to_pixel(ra, dec) if near.size else (np.empty(0), np.empty(0))
    height, width = mosaic.shape
    across = np.full(x.shape, np.inf) if mosaic.is_seamless else np.minimum(x, width - 1 - x) + 0.5
    along = np.minimum(y, height - 1 - y) + 0.5
    inside = (x >= -0.5) & (x <= width - 0.5) & (along >= 0)  # False where the projection gives NaN
    x, y = x[inside], y[inside]
    shape = mosaic.pixel_shape(x, y)
    known = np.isfinite(shape.width_arcsec * shape.height_arcsec)
    across_arcsec, along_arcsec = (np.where(known, side, mosaic.pixel_scale_arcsec) for side in shape[:2])
    edge = np.minimum(across[inside] * across_arcsec, along[inside] * along_arcsec)
    of_mosaic = [np.full(len(x), value) for value in (index, height, width, mosaic.is_seamless)]
    return Places(near[inside], of_mosaic[0], x, y, across_arcsec, along_arcsec, edge, *of_mosaic[1:])


def locate_sources(
    catalogue: Catalogue,
    wanted: NDArray[np.int64],
    mosaics: Mosaics,
    seen: Callable[[int, Mosaic], None] = lambda index, mosaic: None,
) -> Places:
    """Find some rows of a catalogue on mosaics; `seen` is called with each mosaic's index and header.

    A tree of the sources picks those near a mosaic, so that the projection is only computed for them. Raises
    `RadiosslError` if none of them lies on any mosaic.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(catalogue.ra_deg[wanted], catalogue.dec_deg[wanted]))
    found, chord = [], math.inf
    for index in track(range(len(mosaics)), "reading headers"):
        mosaic = mosaics.open(index)
        seen(index, mosaic)
        centre, radius_deg = _footprint(mosaic)
        near = sorted(tree.query_ball_point(centre, chord_of(radius_deg * 3600)))
        found.append(_places_on(mosaic, index, catalogue, wanted[near]))
        if not len(found[-1]):
            chord = min(chord, float(tree.query(centre)[0]))
    places = Places(*(np.concatenate([getattr(part, field.name) for part in found]) for field in fields(Places)))
    if len(places) == 0:
        nearest_deg = 2 * math.degrees(math.asin(min(1.0, chord / 2)))
        raise RadiosslError(
            f"{catalogue.name}: none of {wanted.size} sources lies on the {len(mosaics)} mosaic(s), the nearest is "
            f"{nearest_deg:.2f} degrees from the centre of one; check the position columns and their units"
        )
    return places


def _footprint(mosaic: Mosaic) -> tuple[NDArray[np.float64], float]:
    """Return a unit vector and a radius in degrees around it that holds the whole mosaic."""
    height, width = mosaic.shape
    along = np.linspace(0, 1, _EDGE_POINTS)
    border_x = np.concatenate([along, along, np.zeros(_EDGE_POINTS), np.ones(_EDGE_POINTS), [0.5]]) * width - 0.5
    border_y = np.concatenate([np.zeros(_EDGE_POINTS), np.ones(_EDGE_POINTS), along, along, [0.5]]) * height - 0.5
    ra, dec = mosaic.pixel_to_sky(border_x, border_y)
    vectors = unit_vectors(ra, dec)
    if not np.isfinite(vectors).all():  # the projection ends inside the image: an all-sky map
        return np.array([1.0, 0.0, 0.0]), 180.0
    angles = np.degrees(np.arccos(np.clip(vectors[:-1] @ vectors[-1], -1, 1)))
    # The border is sampled, so a little is added; beyond a hemisphere it no longer bounds the inside.
    radius = 1.05 * float(angles.max()) + 2 * mosaic.pixel_scale_arcsec / 3600
    return vectors[-1], radius if radius < 60 else 180.0
