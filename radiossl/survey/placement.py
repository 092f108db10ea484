"""Where sources lie: on which mosaics, and at which pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track
from radiossl.sky.angles import unit_vectors
from radiossl.survey.catalogue import Catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.mosaic import Mosaic

#: Points along each edge of a mosaic from which the circle around it is estimated.
_EDGE_POINTS = 17


@dataclass(frozen=True, eq=False)
class Places:
    """Pairs of a source and a mosaic that holds it, arrays of shape (n,).

    Attributes
    ----------
    source, mosaic
        Indices.
    x, y
        Position in pixels of the mosaic.
    pixel_width_arcsec, pixel_height_arcsec
        Size of the pixels there.
    edge_arcsec
        Distance to the mosaic's nearest edge.
    height, width
        Shape of the mosaic.
    seamless
        Whether the mosaic has no edge on the left and on the right (`Mosaic.is_seamless`).
    """

    source: NDArray[np.int64]
    mosaic: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    pixel_width_arcsec: NDArray[np.float64]
    pixel_height_arcsec: NDArray[np.float64]
    edge_arcsec: NDArray[np.float64]
    height: NDArray[np.int64]
    width: NDArray[np.int64]
    seamless: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Places:
        """Return the pairs `rows`, indices or a mask."""
        return Places(*(getattr(self, field.name)[rows] for field in fields(Places)))


class Locator:
    """Finds sources on mosaics, one mosaic after the other.

    A tree of the sources picks those near a mosaic, so that the projection is only computed for them.

    Attributes
    ----------
    nearest_deg
        For mosaics that hold no source: the least distance between a source and a mosaic's centre.
    """

    def __init__(self, ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        """Take the ICRS positions of all sources, and the indices of those to look for, at least one."""
        from scipy.spatial import cKDTree

        self._ra, self._dec, self._rows = ra_deg, dec_deg, rows
        self._tree = cKDTree(unit_vectors(ra_deg[rows], dec_deg[rows]))
        self.nearest_deg = math.inf

    def find(self, mosaic: Mosaic, index: int) -> Places:
        """Return the places of the sources on a mosaic, which gets the number `index`."""
        centre, radius_deg = _footprint(mosaic)
        # On the unit sphere an angle is a chord; 180 degrees is the whole sky.
        near = self._rows[sorted(self._tree.query_ball_point(centre, 2 * math.sin(math.radians(radius_deg) / 2)))]
        x, y = mosaic.sky_to_pixel(self._ra[near], self._dec[near]) if near.size else (np.empty(0), np.empty(0))
        height, width = mosaic.shape
        across = np.inf if mosaic.is_seamless else np.minimum(x, width - 1 - x) + 0.5
        along = np.minimum(y, height - 1 - y) + 0.5
        inside = (x >= -0.5) & (x <= width - 0.5) & (along >= 0)  # False where the projection gives NaN
        count = int(inside.sum())
        if count == 0:
            chord = float(self._tree.query(centre)[0])
            self.nearest_deg = min(self.nearest_deg, 2 * math.degrees(math.asin(min(1.0, chord / 2))))
        pixel = mosaic.pixel_shape(x[inside], y[inside])
        scale = mosaic.pixel_scale_arcsec
        known = np.isfinite(pixel.width_arcsec * pixel.height_arcsec)
        pixel_width, pixel_height = (np.where(known, side, scale) for side in pixel[:2])
        edge = np.minimum(np.broadcast_to(across, x.shape)[inside] * pixel_width, along[inside] * pixel_height)
        return Places(
            source=near[inside],
            mosaic=np.full(count, index),
            x=x[inside],
            y=y[inside],
            pixel_width_arcsec=pixel_width,
            pixel_height_arcsec=pixel_height,
            edge_arcsec=edge,
            height=np.full(count, height),
            width=np.full(count, width),
            seamless=np.full(count, mosaic.is_seamless),
        )


def locate_sources(
    catalogue: Catalogue,
    wanted: NDArray[np.int64],
    mosaics: Mosaics,
    seen: Callable[[int, Mosaic], None] = lambda index, mosaic: None,
) -> Places:
    """Find some rows of a catalogue on mosaics; `seen` is called with each mosaic's index and header.

    Raises
    ------
    RadiosslError
        If none of them lies on any mosaic.
    """
    locator = Locator(catalogue.ra_deg, catalogue.dec_deg, wanted)
    found = []
    for index in track(range(len(mosaics)), "reading headers"):
        mosaic = mosaics.open(index)
        seen(index, mosaic)
        found.append(locator.find(mosaic, index))
    places = join_places(found)
    if len(places) == 0:
        raise RadiosslError(
            f"{catalogue.name}: none of {wanted.size} sources lies on the {len(mosaics)} mosaic(s), the nearest is "
            f"{locator.nearest_deg:.2f} degrees from the centre of one; check the position columns and their units"
        )
    return places


def join_places(parts: Iterable[Places]) -> Places:
    """Return the places of all `parts`, at least one, as one."""
    parts = list(parts)
    return Places(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Places)))


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
