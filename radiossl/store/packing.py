"""Cutouts as rows of a store: measured, and packed into Arrow record batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.store.cutout import Cutout
from radiossl.store.schema import PIXELS
from radiossl.store.statistics import PixelStatistics

BATCH_ROWS = 64
_BATCH_BYTES = 64 * 2**20


def cutout_batches(cutouts: Iterable[Cutout | pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Measure cutouts and pack them into record batches of a store's schema; what is packed already stays as it is."""
    rows: list[dict[str, Any]] = []
    held = 0
    for cutout in cutouts:
        if isinstance(cutout, pa.RecordBatch):
            yield cutout
            continue
        rows.append(_row(cutout))
        held += rows[-1][PIXELS].nbytes
        if len(rows) == BATCH_ROWS or held >= _BATCH_BYTES:
            yield _batch(rows, schema)
            rows, held = [], 0
    if rows:
        yield _batch(rows, schema)


def _row(cutout: Cutout) -> dict[str, Any]:
    pixels = np.asarray(cutout.pixels, dtype=np.float32)
    finite = np.isfinite(pixels)
    blank = pixels.size - np.count_nonzero(finite)
    if blank:
        pixels = np.where(finite, pixels, np.float32(np.nan))
    # Not by `asdict`, whose deep copies take a third of the time of cutting.
    known = {name: value for name, value in vars(cutout).items() if name not in ("beam", "extra")}
    beam = {} if cutout.beam is None else {f"beam_{name}": value for name, value in vars(cutout.beam).items()}
    return {
        **known,
        PIXELS: pixels,
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "blank_fraction": blank / pixels.size,
        **beam,
        **vars(PixelStatistics.of(pixels, cutout.noise)),
        **cutout.extra,
    }


def _batch(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        pixel_column([row[PIXELS] for row in rows])
        if name == PIXELS
        else pa.array([row.get(name) for row in rows], type=kind, from_pandas=False)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def pixel_column(images: Sequence[NDArray[np.float32]]) -> pa.ListArray:
    """Return images as a column of a store: lists of their pixels."""
    offsets = np.cumsum([0] + [image.size for image in images], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate([image.ravel() for image in images])))


def pixel_views(column: pa.ChunkedArray) -> list[NDArray[np.float32]]:
    """Return the flat pixels of every row of such a column, as views of its memory or mapped file."""
    views: list[NDArray[np.float32]] = []
    for chunk in column.chunks:
        flat = chunk.values.to_numpy(zero_copy_only=True)
        views += [flat[start:stop] for start, stop in pairwise(chunk.offsets.to_numpy())]
    return views
