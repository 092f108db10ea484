"""Which of several mosaics shows a source best, and whether mosaics of one piece of sky agree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from radiossl.io.progress import track
from radiossl.store.cutout import blank_fraction
from radiossl.store.statistics import MAD_TO_SIGMA
from radiossl.survey.cutting import Mosaics
from radiossl.survey.mosaic import Box, Mosaic
from radiossl.survey.placement import Places

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
    """Compare mosaics that hold the same sources; return a sentence about each pair that shows different skies.

    Around up to 24 sources the brightness of one is correlated with that of the other at the same positions. Fields
    without a pixel ten times above the noise cannot tell and do not count.
    """
    found = []
    for (one, other), rows in _pairs(places).items():
        with mosaics.open(one) as first, mosaics.open(other) as second:
            compared = [_correlation(first, second, boxes[row]) for row in rows[:: -(-len(rows) // _COMPARED)]]
        clear = sorted((pair for pair in compared if pair[0] >= _CLEAR_SNR), reverse=True)[:_CLEAREST]
        if clear and (typical := float(np.median([correlation for _, correlation in clear]))) < _SAME_SKY:
            found.append(
                f"{mosaics.labels[one]} and {mosaics.labels[other]} claim the same sky, but their pixels disagree "
                f"(correlation {typical:.2f} at {len(clear)} source{'s' * (len(clear) > 1)}): check their headers"
            )
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
