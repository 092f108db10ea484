"""Where sources lie: on which mosaics, at which pixel, which mosaic shows each best, and whether mosaics agree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError, counted
from radiossl.io.progress import track
from radiossl.sky.angles import unit_vectors
from radiossl.sky.positions import chord_of
from radiossl.store.cutout import blank_fraction
from radiossl.store.statistics import MAD_TO_SIGMA
from radiossl.survey.catalogue import Catalogue
from radiossl.survey.cutting import Mosaics
from radiossl.survey.mosaic import Box, Mosaic

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


def locate_sources(catalogue: Catalogue, wanted: NDArray[np.int64], mosaics: Mosaics) -> Places:
    """Find some rows of a catalogue on mosaics.

    A tree of the sources picks those near a mosaic, so that the projection is only computed for them. Raises
    `RadiosslError` if none of them lies on any mosaic.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(catalogue.ra_deg[wanted], catalogue.dec_deg[wanted]))
    found, chord = [], math.inf
    for index in track(range(len(mosaics)), "reading headers"):
        mosaic = mosaics.open(index)
        centre, radius_deg = _footprint(mosaic)
        near = sorted(tree.query_ball_point(centre, chord_of(radius_deg * 3600)))
        found.append(_places_on(mosaic, index, catalogue, wanted[near]))
        if not len(found[-1]):
            chord = min(chord, float(tree.query(centre)[0]))
    places = Places(*(np.concatenate([getattr(part, field.name) for part in found]) for field in fields(Places)))
    if len(places) == 0:
        nearest_deg = 2 * math.degrees(math.asin(min(1.0, chord / 2)))
        raise RadiosslError(
            f"{catalogue.name}: none of {counted(wanted.size, 'source')} lies on the {counted(len(mosaics), 'mosaic')},"
            f" the nearest is {nearest_deg:.2f} degrees from the centre of one; check the position columns and their"
            " units"
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


# Which of several mosaics shows a source best -------------------------------------------------------------------------


#: Mosaics that overlap are compared at no more than this many sources.
_COMPARED = 24
#: Those count in which a pixel is this many times above the noise, the clearest ones only.
_CLEAR_SNR, _CLEAREST = 10.0, 8
#: Side of the field compared around a source, at least, in pixels of the first mosaic.
_COMPARED_PX = 48
#: Largest field that is read to be compared, in pixels.
_MOST_PIXELS = 2**24
#: Below this median correlation, mosaics do not show the same sky.
_SAME_SKY = 0.15


def source_boxes(
    places: Places, extent_arcsec: NDArray[np.float64] | None, size: int | None, box_factor: float, min_size: int
) -> NDArray[np.int64]:
    """Return x0, y0, width, height of boxes around sources, shape (n, 4).

    With `size`, that is their side in pixels. Otherwise they are square on the sky: `box_factor` times the extent of
    their source, at least `min_size` of the narrower pixels.
    """
    pixel = np.stack([places.pixel_width_arcsec, places.pixel_height_arcsec], axis=1)
    if size is not None:
        sides = np.full(pixel.shape, size)
    else:
        assert extent_arcsec is not None  # `cut_sources` has made sure
        side = np.maximum(box_factor * extent_arcsec[places.source], min_size * pixel.min(axis=1))
        # A little less, so that a box of 75 pixels is not one of 76 by the rounding of the pixel size.
        sides = np.ceil(np.minimum(side[:, None] / pixel, 2**31) - 0.01).astype(np.int64)
    corners = np.floor(np.stack([places.x, places.y], axis=1) - (sides - 1) / 2 + 0.5)
    return np.concatenate([corners.astype(np.int64), sides], axis=1)


def beyond_edge(boxes: NDArray[np.int64], places: Places) -> NDArray[np.float64]:
    """Return the fraction of each box that lies beyond its mosaic, known without reading it."""
    x0, y0, width, height = boxes.T.astype(float)
    inside_x = np.minimum(x0 + width, places.width) - np.maximum(x0, 0)
    inside_x = np.where(places.seamless, np.minimum(width, places.width), np.maximum(inside_x, 0))
    inside_y = np.minimum(y0 + height, places.height) - np.maximum(y0, 0)
    return 1 - inside_x * np.maximum(inside_y, 0) / (width * height)


def best_places(
    places: Places, boxes: NDArray[np.int64], mosaics: Mosaics, preferred: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Choose one place per source, where the least of its box is blank or beyond the edge; return rows of `places`.

    Among equals, a preferred place wins, then the one farthest from an edge, in angle. Boxes are only read where there
    is a choice, and of a source's boxes only as many as can still be better. Rows are in the order of the sources.
    """
    outside = np.round(beyond_edge(boxes, places), 12)
    preferred = np.ones(len(places), dtype=bool) if preferred is None else preferred
    order = np.lexsort((places.mosaic, -places.edge_arcsec, ~preferred, outside, places.source))
    _, first, counts = np.unique(places.source[order], return_index=True, return_counts=True)
    chosen = order[first]
    best = np.where(counts > 1, np.inf, 0.0)
    for rank in range(int(counts.max(initial=1))):
        # What lies beyond the edge is the least of a box that can be missing.
        open_sources = np.flatnonzero((counts > rank) & (best > 0))
        candidates = order[first[open_sources] + rank]
        hopeful = outside[candidates] < best[open_sources]
        open_sources, candidates = open_sources[hopeful], candidates[hopeful]
        if candidates.size == 0:
            break
        blank = np.empty(candidates.size)
        for row, pixels in read_places(places.take(candidates), boxes[candidates], mosaics, "comparing mosaics"):
            blank[row] = blank_fraction(pixels)
        better = blank < best[open_sources]
        best[open_sources[better]] = blank[better]
        chosen[open_sources[better]] = candidates[better]
    return chosen


def read_places(
    places: Places, boxes: NDArray[np.int64], mosaics: Mosaics, description: str
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the rows of `places` with the pixels of their boxes; mosaic by mosaic, from the bottom up."""
    order = np.lexsort((boxes[:, 0], boxes[:, 1], places.mosaic))
    indices, first = np.unique(places.mosaic[order], return_index=True)
    for index, rows in track(list(zip(indices.tolist(), np.split(order, first[1:]), strict=True)), description):
        with mosaics.open(index) as mosaic:
            yield from zip(rows.tolist(), mosaic.read_boxes([Box(*box) for box in boxes[rows].tolist()]), strict=True)


# Do they show the same sky? -------------------------------------------------------------------------------------------


def disagreements(places: Places, boxes: NDArray[np.int64], mosaics: Mosaics) -> list[str]:
    """Compare mosaics that hold the same sources; return a sentence about each pair of other skies or beams.

    Around up to 24 sources the brightness of one is correlated with that of the other at the same positions. Fields
    without a pixel ten times above the noise show nothing and do not count.
    """
    found, unlike = [], []
    for (one, other), rows in _pairs(places).items():
        with mosaics.open(one) as first, mosaics.open(other) as second:
            compared = [_correlation(first, second, boxes[row]) for row in rows[:: -(-len(rows) // _COMPARED)]]
        clear = sorted((pair for pair in compared if pair[0] >= _CLEAR_SNR), reverse=True)[:_CLEAREST]
        if clear and (typical := float(np.median([correlation for _, correlation in clear]))) < _SAME_SKY:
            found.append(
                f"{mosaics.labels[one]} and {mosaics.labels[other]} claim the same sky, but their pixels disagree "
                f"(correlation {typical:.2f} at {len(clear)} source{'s' * (len(clear) > 1)}): check their headers"
            )
        elif first.beam and second.beam and not 0.9 < first.beam.major_arcsec / second.beam.major_arcsec < 1.1:
            beams = f'{first.beam.major_arcsec:.3g}" and {second.beam.major_arcsec:.3g}"'
            pair = f"{mosaics.labels[one]} and {mosaics.labels[other]}"
            unlike.append(f"{pair} both show {len(rows)} sources, at beams of {beams}")
    if unlike:
        more = f" ({len(unlike)} pairs like this)" if len(unlike) > 1 else ""
        found.append(f"{unlike[0]}{more}: leave one out unless the cutouts may come from either")
    return found


def _pairs(places: Places) -> dict[tuple[int, int], list[int]]:
    """Return the rows of `places` on a first mosaic, for each pair of mosaics that share sources."""
    order = np.lexsort((places.mosaic, places.source))
    source, mosaic = places.source[order], places.mosaic[order].tolist()
    pairs: dict[tuple[int, int], list[int]] = {}
    step = 1
    while (same := np.flatnonzero(source[step:] == source[:-step])).size:
        for position in same.tolist():
            pairs.setdefault((mosaic[position], mosaic[position + step]), []).append(int(order[position]))
        step += 1
    return pairs


def _correlation(first: Mosaic, second: Mosaic, box: NDArray[np.int64]) -> tuple[float, float]:
    """Return S/N of the clearer image of a field, and the correlation of both; 0, 0 where too little is seen."""
    centre_x, centre_y = box[:2] + box[2:] / 2
    side = int(np.clip(box[2:].max(), _COMPARED_PX, 512))
    field = Box(int(centre_x - side / 2), int(centre_y - side / 2), side, side)
    here = first.read(*field)
    x, y = np.meshgrid(field.x0 + np.arange(side), field.y0 + np.arange(side))
    there_x, there_y = (np.round(part) for part in second.sky_to_pixel(*first.pixel_to_sky(x, y)))
    known = np.isfinite(here) & np.isfinite(there_x) & np.isfinite(there_y)
    if not known.any():
        return 0.0, 0.0
    there_x, there_y = there_x[known].astype(int), there_y[known].astype(int)
    around = Box(there_x.min(), there_y.min(), int(np.ptp(there_x)) + 1, int(np.ptp(there_y)) + 1)
    if around.width * around.height > _MOST_PIXELS:  # a far finer mosaic
        return 0.0, 0.0
    there = second.read(*around)[there_y - around.y0, there_x - around.x0]
    pair = np.stack([here[known], there])[:, np.isfinite(there)]
    if pair.shape[1] < 0.3 * side**2:
        return 0.0, 0.0
    pair -= np.median(pair, axis=1, keepdims=True)
    noise = MAD_TO_SIGMA * np.median(np.abs(pair), axis=1)
    if not (noise > 0).all():
        return 0.0, 0.0
    return float((pair.max(axis=1) / noise).max()), float(np.corrcoef(pair)[0, 1])
