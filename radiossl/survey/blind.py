"""Blind cutouts: windows over whole mosaics, with or without sources."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np

from radiossl.io.errors import check_number
from radiossl.io.progress import track
from radiossl.store.cutout import Cutout
from radiossl.store.schema import store_schema
from radiossl.store.writing import EmptyStoreError, shard_jobs
from radiossl.survey.cutting import CuttingResult, Mosaics, OnError, Piece, check_limits, cut_pieces, make_store
from radiossl.survey.finding import mosaic_stem
from radiossl.survey.mosaic import Box, Mosaic

#: Windows are assigned to shards in runs of about this many bytes.
_RUN_BYTES = 2**24
#: Why a window gave no cutout.
BLANK = "blank"


def cut_blind(
    mosaics: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    size: int = 256,
    overlap: float = 0.5,
    max_blank: float = 0.4,
    workers: int | None = 1,
    on_error: OnError = "stop",
    scheduler: str | None = None,
    hdu: str | int | None = None,
) -> CuttingResult:
    """Cut mosaics into overlapping windows, with or without sources (Riggi et al. 2024, section 2.2).

    Parameters
    ----------
    mosaics
        FITS files, folders of them, or glob patterns; see `radiossl.survey.finding.find_mosaics`.
    out
        Folder of the new store.
    size
        Side of a window in pixels.
    overlap
        Fraction of a window's side that it shares with the next, from 0 to below 1. The last window of a row or column
        is moved inwards to end at the edge; a mosaic smaller than a window gives one window, padded with blank pixels.
    max_blank
        Windows with a larger fraction of blank pixels, padding included, are left out, and so are those whose centre
        is not on the sky; from 0 to below 1.
    workers
        Processes of this machine, for which Dask is needed if there is more than one; None takes one per core if there
        are more than a few shards and Dask is installed.
    on_error
        ``stop`` at a mosaic that cannot be read, or ``skip`` it: then every mosaic is read once before, those that
        cannot be read are listed with the reason in the store's `skipped.csv`, and the rest is done.
    scheduler
        Address of a running Dask scheduler, whose workers cut instead; they must see the mosaics and `out` under the
        same names as this process.
    hdu
        Name or number of the part of each file that holds the image; see `Mosaic.open`.

    Raises
    ------
    RadiosslError
        If a parameter is out of range, a mosaic cannot be read, `out` is taken or no window passes.

    See Also
    --------
    radiossl.survey.sources.cut_sources : Cut boxes around sources instead.

    Examples
    --------
    >>> result = cut_blind([mosaic_file], folder / "windows", size=64, overlap=0.5)
    >>> result.store.pixels(0).shape
    (64, 64)
    """
    check_limits(size=size, max_blank=max_blank)
    check_number("--overlap", overlap, 0, 1, below=True)
    found = Mosaics.find(mosaics, on_error, hdu)
    runs = _plan(found, size, overlap)
    jobs = [tuple(job) for job in shard_jobs([(run, (run.stop - run.start) * size**2) for run in runs])]
    provenance = {
        "command": "cutouts blind",
        "parameters": {"size": size, "overlap": overlap, "max_blank": max_blank},
        **found.provenance(),
    }
    windows = partial(_windows, size=size, overlap=overlap, max_blank=max_blank, hdu=hdu)
    pool: dict[str, Any] = {"workers": workers, "scheduler": scheduler}
    try:
        store, again = make_store(out, jobs, windows, store_schema(), provenance, found, **pool)
    except EmptyStoreError:
        reason = f"every window is more than {max_blank:.0%} blank, allow more with --max-blank"
        raise found.nothing_there(reason) from None
    not_cut = {BLANK: sum(run.stop - run.start for run in runs) - len(store)}
    return CuttingResult(store, len(found), not_cut, found.skipped, again, tuple(found.doubts()))


def window_starts(length: int, size: int, overlap: float) -> list[int]:
    """Return the first pixels of the windows along one axis of a mosaic; negative if the window is larger than it."""
    if length <= size:
        return [-((size - length) // 2)]
    step = max(1, round(size * (1 - overlap)))
    starts = list(range(0, length - size + 1, step))
    return starts if starts[-1] == length - size else [*starts, length - size]


def window_boxes(shape: tuple[int, int], size: int, overlap: float) -> list[Box]:
    """Return the windows over a mosaic of this shape, row by row; see `window_starts`."""
    rows, columns = (window_starts(length, size, overlap) for length in shape)
    return [Box(x0, y0, size, size) for y0 in rows for x0 in columns]


@dataclass(frozen=True)
class _Run:
    """Windows `start` to `stop` of a mosaic, counted row by row."""

    path: str
    label: str
    start: int
    stop: int


def _plan(mosaics: Mosaics, size: int, overlap: float) -> list[_Run]:
    runs: list[_Run] = []
    step = max(1, _RUN_BYTES // (4 * size**2))
    for index, label in enumerate(track(mosaics.labels, "reading headers")):
        mosaic = mosaics.open(index)
        count = math.prod(len(window_starts(length, size, overlap)) for length in mosaic.shape)
        path = str(mosaics.paths[index].absolute())
        runs += [_Run(path, label, start, min(start + step, count)) for start in range(0, count, step)]
    return runs


def _windows(
    job: Sequence[_Run], size: int, overlap: float, max_blank: float, hdu: str | int | None
) -> Iterator[Cutout]:
    for (path, label), runs in groupby(job, key=lambda run: (run.path, run.label)):
        with Mosaic.open(path, hdu) as mosaic:
            parts = list(runs)  # consecutive, so that they are one range
            boxes = window_boxes(mosaic.shape, size, overlap)[parts[0].start : parts[-1].stop]
            corners = np.array([(box.x0, box.y0) for box in boxes])
            x, y = (corners + (size - 1) / 2).T
            places = zip(boxes, x.tolist(), y.tolist(), *(a.tolist() for a in mosaic.pixel_to_sky(x, y)), strict=True)
            stem = mosaic_stem(label)
            pieces = [
                Piece(f"{stem}_x{box.x0:05d}_y{box.y0:05d}", box, x, y, ra, dec)
                for box, x, y, ra, dec in places
                if math.isfinite(ra)
            ]
            yield from cut_pieces(mosaic, label, pieces, max_blank)
