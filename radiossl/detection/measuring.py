"""Positions, sizes, fluxes and flags of the objects found in a mosaic."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.detection.merging import islands
from radiossl.detection.objects import Detection
from radiossl.store.statistics import PixelStatistics
from radiossl.survey.islands import extents_arcsec
from radiossl.survey.mosaic import Box, Mosaic

#: Local background and noise are measured around an object, out to half its size and at least this far.
_LEAST_MARGIN_PX = 15
#: Fewer pixels give no background or noise.
_LEAST_PIXELS = 50
_JANSKY = re.compile(r"(?P<prefix>[mun]?)Jy/(?P<per>beam|pixel)")
_PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}

#: Units of the columns in the FITS catalogue.
UNITS = {"ra_deg": "deg", "dec_deg": "deg", "extent_arcsec": "arcsec", "flux_jy": "Jy", "flux_error_jy": "Jy"}


def label_image(found: Sequence[Detection], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return an image of the objects' numbers, from 1 on, 0 elsewhere; shared pixels belong to the first object."""
    labels = np.zeros(shape, dtype=np.int32)
    for number in range(len(found), 0, -1):
        item = found[number - 1]
        x0, y0, width, height = item.extent
        labels[y0 : y0 + height, x0 : x0 + width][item.mask] = number
    return labels


def beam_area_px(mosaic: Mosaic) -> float:
    """Return the solid angle of the beam, a Gaussian, in pixels; NaN if the header has none."""
    if mosaic.beam is None:
        return math.nan
    area_arcsec2 = math.pi * mosaic.beam.major_arcsec * mosaic.beam.minor_arcsec / (4 * math.log(2))
    return area_arcsec2 / mosaic.pixel_scale_arcsec**2


def measure(found: Sequence[Detection], mosaic: Mosaic, labels: NDArray[np.int32]) -> pd.DataFrame:
    """Measure the objects of an open mosaic, a row each; `labels` is their `label_image`.

    - ``ra_deg``, ``dec_deg`` (ICRS), ``x``, ``y`` (0-based): centroid of the brightness above the background, to which
      pixels of other objects do not belong;
    - ``class``, ``score`` (of the class), ``source_score`` (of any class of sources), ``islands``;
    - ``x_min``, ``y_min``, ``x_max``, ``y_max``: first and last column and row; ``area_px``; ``extent_arcsec``: largest
      extent in any direction;
    - ``peak``, ``background``, ``rms`` in the mosaic's unit; ``snr``: peak above the background in rms;
    - ``flux_jy``, ``flux_error_jy``: sum above the background over the beam's area, and rms times the square root of
      the number of beams in it; NaN unless the mosaic is in jansky per beam, with a beam, or per pixel;
    - ``at_edge``: touches the mosaic's edge; ``near_blank``: has or touches a blank pixel; ``cut``: seen in no tile as
      a whole; ``merged``: merged from several;
    - ``mosaic``, ``label`` (number in the label image).
    """
    order = sorted(range(len(found)), key=lambda number: found[number].y0)
    boxes = [_around(found[number]) for number in order]
    rows: list[dict[str, Any]] = [{}] * len(found)
    for number, box, pixels in zip(order, boxes, mosaic.read_boxes(boxes), strict=True):
        others = box.cut_out(labels, -1)  # beyond the mosaic
        rows[number] = {"label": number + 1} | _one(found[number], box, pixels, others, mosaic)
    frame = pd.DataFrame(rows, columns=[name for name in COLUMNS if name not in ("ra_deg", "dec_deg")])
    ra_deg, dec_deg = mosaic.pixel_to_sky(frame["x"].to_numpy(float), frame["y"].to_numpy(float))
    return frame.assign(ra_deg=ra_deg, dec_deg=dec_deg)[list(COLUMNS)]


#: Columns of `measure` in their order.
COLUMNS = (
    *("ra_deg", "dec_deg", "class", "score", "source_score", "x", "y", "x_min", "y_min", "x_max", "y_max", "area_px"),
    *("islands", "extent_arcsec", "peak", "background", "rms", "snr", "flux_jy", "flux_error_jy"),
    *("at_edge", "near_blank", "cut", "merged", "mosaic", "label"),
)


def _around(item: Detection) -> Box:
    x0, y0, width, height = item.extent
    margin = max(_LEAST_MARGIN_PX, max(width, height) // 2)
    return Box(x0 - margin, y0 - margin, width + 2 * margin, height + 2 * margin)


def _one(
    item: Detection, box: Box, pixels: NDArray[np.float32], others: NDArray[np.int32], mosaic: Mosaic
) -> dict[str, Any]:
    from scipy.ndimage import binary_dilation

    own = item.within(box)
    known = np.isfinite(pixels)
    free = pixels[~own & (others == 0) & known]
    background, rms = 0.0, math.nan
    if free.size >= _LEAST_PIXELS:
        around = PixelStatistics.of(free)
        background, rms = around.background, around.rms
    rows, columns = np.nonzero(own & known)
    values = pixels[rows, columns].astype(np.float64) - background
    weights = np.maximum(values, 0)
    if rows.size == 0 or weights.sum() <= 0:  # only blank or dark pixels: the centre of the mask
        rows, columns = np.nonzero(own)
        weights = np.ones(rows.size)
    peak = float(values.max()) + background if values.size else math.nan
    x0, y0, width, height = item.extent
    centre = {"x": box.x0 + float(np.average(columns, weights=weights))}
    centre["y"] = box.y0 + float(np.average(rows, weights=weights))
    extent = extents_arcsec(mosaic, [x0 + width / 2], [y0 + height / 2], [np.nonzero(item.mask)])[0]
    return {
        **{"class": item.label, "score": item.score, "source_score": item.source_score},
        **centre,
        **{"x_min": x0, "y_min": y0, "x_max": x0 + width - 1, "y_max": y0 + height - 1},
        **{"area_px": item.area, "islands": islands(item.mask), "extent_arcsec": float(extent)},
        **{"peak": peak, "background": background, "rms": rms},
        "snr": (peak - background) / rms if rms > 0 else math.nan,
        **_flux(values, rms, mosaic),
        "at_edge": x0 == 0 or y0 == 0 or x0 + width == mosaic.shape[1] or y0 + height == mosaic.shape[0],
        "near_blank": bool((binary_dilation(own, np.ones((3, 3))) & ~known & (others >= 0)).any()),
        **{"cut": item.cut, "merged": item.merged, "mosaic": mosaic.path.name},
    }


def _flux(values: NDArray[np.float64], rms: float, mosaic: Mosaic) -> dict[str, float]:
    unit = _JANSKY.fullmatch(mosaic.unit)
    if unit is None:
        return {"flux_jy": math.nan, "flux_error_jy": math.nan}
    jansky = _PREFIXES[unit["prefix"]]
    beam = beam_area_px(mosaic) if unit["per"] == "beam" else 1.0
    # Noise is correlated within a beam, so that it adds up over beams, not over pixels.
    correlated = 1.0 if math.isnan(beam_area_px(mosaic)) else max(1.0, beam_area_px(mosaic))
    error = rms * math.sqrt(values.size * correlated) / beam
    return {"flux_jy": jansky * float(values.sum()) / beam, "flux_error_jy": jansky * error}
