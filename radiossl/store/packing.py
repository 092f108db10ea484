"""Cutouts as rows of a store: measured, and packed into Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from radiossl.store.cutout import Cutout, blank_fraction
from radiossl.store.schema import PIXELS
from radiossl.store.statistics import STATISTICS, PixelStatistics

BATCH_ROWS = 64
_BATCH_BYTES = 64 * 2**20


def cutout_batches(cutouts: Iterable[Cutout], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Measure cutouts and pack them into record batches of a store's schema."""
    rows: list[dict[str, Any]] = []
    held = 0
    for cutout in cutouts:
        rows.append(_row(cutout))
        held += rows[-1][PIXELS].nbytes
        if len(rows) == BATCH_ROWS or held >= _BATCH_BYTES:
            yield _batch(rows, schema)
            rows, held = [], 0
    if rows:
        yield _batch(rows, schema)


def _row(cutout: Cutout) -> dict[str, Any]:
    pixels = np.asarray(cutout.pixels, dtype=np.float32)
    pixels = np.where(np.isfinite(pixels), pixels, np.float32(np.nan))
    beam = cutout.beam
    return {
        "cutout_id": cutout.cutout_id,
        PIXELS: pixels,
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "mosaic": cutout.mosaic,
        "ra_deg": cutout.ra_deg,
        "dec_deg": cutout.dec_deg,
        "x": cutout.x,
        "y": cutout.y,
        "pixel_scale_arcsec": cutout.pixel_scale_arcsec,
        "pixel_width_arcsec": cutout.pixel_width_arcsec,
        "pixel_height_arcsec": cutout.pixel_height_arcsec,
        "pixel_pa_deg": cutout.pixel_pa_deg,
        "blank_fraction": blank_fraction(pixels),
        "unit": cutout.unit,
        "beam_major_arcsec": beam.major_arcsec if beam else None,
        "beam_minor_arcsec": beam.minor_arcsec if beam else None,
        "beam_pa_deg": beam.pa_deg if beam else None,
        **dict(zip(STATISTICS, PixelStatistics.of(pixels).as_array().tolist(), strict=True)),
        **cutout.extra,
    }


def _batch(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for column in schema:
        if column.name == PIXELS:
            offsets = np.cumsum([0] + [row[PIXELS].size for row in rows], dtype=np.int32)
            flat = np.concatenate([row[PIXELS].ravel() for row in rows])
            columns.append(pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat)))
        else:
            values = [row.get(column.name) for row in rows]
            columns.append(pa.array(values, type=column.type, from_pandas=False))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
