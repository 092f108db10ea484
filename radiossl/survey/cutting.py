"""From mosaics to a cutout store: blind windows and cutouts centred on sources.

Blind cutouts (`blind_cutouts`) tile a mosaic with overlapping windows, the "hulk" sets of Riggi et al. 2024, section
2.2; source cutouts (`source_cutouts`) are boxes around catalogued sources, their "banner" sets. Both plan first, from
headers alone, and then cut shard by shard with one mosaic open at a time.
"""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file
from radiossl.io.progress import track
from radiossl.store.cutout import Cutout, blank_fraction
from radiossl.store.store import (
    CutoutStore,
    EmptyStoreError,
    FinishedStoreError,
    cutout_batches,
    open_store,
    shard_jobs,
    store_schema,
    write_store,
)
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.mosaic import Box, Mosaic, find_mosaics, mosaic_labels, mosaic_stem, nothing_there
from radiossl.survey.placement import Places, best_places, find_sources
from radiossl.survey.readable import OnError, readable_mosaics

#: File inside the store that lists the sources without a cutout.
NOT_CUT = "not_cut.csv"
#: File inside the store that lists the mosaics that could not be read.
SKIPPED = "skipped.csv"
#: Windows are dealt out to shards in runs of about this many bytes.
_RUN_BYTES = 2**24

OUTSIDE, TOO_SMALL, BLANK = "outside", "too small", "blank"
NO_POSITION, NO_EXTENT = "no position", "no extent"


@dataclass(frozen=True)
class CuttingResult:
    """What a run of cutting made.

    Attributes
    ----------
    store
        The finished store.
    mosaics
        How many mosaics were given.
    not_cut
        How many windows or sources gave no cutout, by reason.
    skipped
        What is wrong with each mosaic that was left out, by its name.
    again
        Whether the same cutting was finished before, so that nothing was cut.
    """

    store: CutoutStore
    mosaics: int
    not_cut: dict[str, int]
    skipped: dict[str, str] = field(default_factory=dict)
    again: bool = False


@dataclass(frozen=True)
class _Survey:
    """Facts about the mosaics that go into the store's provenance."""

    mosaics: list[dict[str, Any]]
    facts: dict[str, Any]


# Blind windows --------------------------------------------------------------------------------------------------------


def blind_cutouts(
    mosaics: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    size: int = 256,
    overlap: float = 0.5,
    max_blank: float = 0.4,
    workers: int | None = 1,
    on_error: OnError = "stop",
    scheduler: str | None = None,
) -> CuttingResult:
    """Cut mosaics into overlapping windows, whatever is in them (Riggi et al. 2024, section 2.2).

    Parameters
    ----------
    mosaics
        FITS files, folders of them, or glob patterns.
    out
        Folder of the new store.
    size
        Side of a window in pixels.
    overlap
        Fraction of a window's side that it shares with the next, from 0 to below 1. The last window of a row or column
        is moved inwards to end at the edge; a mosaic smaller than a window gives one window, padded with blank pixels.
    max_blank
        Windows with a larger fraction of blank pixels, padding included, are left out; from 0 to below 1.
    workers
        Processes of this machine, for which Dask is needed if there is more than one; None takes one per core if there
        are more than a few shards and Dask is installed.
    on_error
        ``stop`` at a mosaic that cannot be read, or ``skip`` it: then every mosaic is read once before, those that
        cannot be read are listed with the reason in the store's `skipped.csv`, and the rest is done.
    scheduler
        Address of a running Dask scheduler, whose workers cut instead; they must see the mosaics and `out` under the
        same names as this process.

    Raises
    ------
    RadiosslError
        If a parameter is out of range, a mosaic cannot be read, `out` is taken or no window passes.
    """
    _check(size=size, max_blank=max_blank)
    if not 0 <= overlap < 1:
        raise RadiosslError(f"overlap of {overlap}: expected a fraction from 0 to below 1")
    paths, labels, skipped = _readable(mosaics, on_error)
    runs, survey = _plan_windows(paths, labels, size, overlap)
    jobs = [tuple(job) for job in shard_jobs([(run, (run.stop - run.start) * size**2) for run in runs])]
    schema = store_schema()
    provenance = {
        "command": "cutouts blind",
        "parameters": {"size": size, "overlap": overlap, "max_blank": max_blank},
        "mosaics": survey.mosaics,
        "survey": survey.facts,
    }
    batches = partial(_blind_batches, size=size, overlap=overlap, max_blank=max_blank, schema=schema)

    def beside(folder: Path, _: list[str]) -> None:
        _write_skipped(folder / SKIPPED, skipped)

    try:
        store, again = _cut(out, jobs, batches, schema, provenance, workers, scheduler, beside)
    except EmptyStoreError:
        raise nothing_there(
            paths, f"every window is more than {max_blank:.0%} blank, allow more with --max-blank"
        ) from None
    windows = sum(run.stop - run.start for run in runs)
    return CuttingResult(store, len(paths), {BLANK: windows - len(store)}, skipped, again)


def window_starts(length: int, size: int, overlap: float) -> list[int]:
    """Return the first pixels of the windows along one axis of a mosaic; below 0 if the window is larger than it."""
    if length <= size:
        return [-((size - length) // 2)]
    step = max(1, round(size * (1 - overlap)))
    starts = list(range(0, length - size + 1, step))
    return starts if starts[-1] == length - size else [*starts, length - size]


@dataclass(frozen=True)
class _Run:
    """Windows `start` to `stop` of a mosaic, counted row by row."""

    path: str
    label: str
    start: int
    stop: int


def _plan_windows(
    paths: Sequence[Path], labels: Sequence[str], size: int, overlap: float
) -> tuple[list[_Run], _Survey]:
    runs: list[_Run] = []
    facts = _Facts()
    step = max(1, _RUN_BYTES // (4 * size**2))
    for path, label in track(list(zip(paths, labels, strict=True)), "reading headers"):
        mosaic = Mosaic.open(path)
        facts.add(mosaic, label)
        count = math.prod(len(window_starts(length, size, overlap)) for length in mosaic.shape)
        runs += [_Run(str(path.absolute()), label, start, min(start + step, count)) for start in range(0, count, step)]
    return runs, facts.survey()


def _blind_batches(
    job: Sequence[_Run], *, size: int, overlap: float, max_blank: float, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    return cutout_batches(_blind_of(job, size, overlap, max_blank), schema)


def _blind_of(job: Sequence[_Run], size: int, overlap: float, max_blank: float) -> Iterator[Cutout]:
    for (path, label), runs in groupby(job, key=lambda run: (run.path, run.label)):
        with Mosaic.open(path) as mosaic:
            parts = list(runs)  # consecutive, so that they are one range
            boxes = window_boxes(mosaic.shape, size, overlap)[parts[0].start : parts[-1].stop]
            corners = np.array([(box.x0, box.y0) for box in boxes])
            x, y = (corners + (size - 1) / 2).T
            ra, dec = mosaic.pixel_to_sky(x, y)
            for index, (box, pixels) in enumerate(zip(boxes, mosaic.read_boxes(boxes), strict=True)):
                if blank_fraction(pixels) <= max_blank:
                    yield Cutout(
                        cutout_id=f"{mosaic_stem(label)}_x{box.x0:05d}_y{box.y0:05d}",
                        pixels=pixels,
                        mosaic=label,
                        ra_deg=float(ra[index]),
                        dec_deg=float(dec[index]),
                        x=float(x[index]),
                        y=float(y[index]),
                        pixel_scale_arcsec=mosaic.pixel_scale_arcsec,
                        unit=mosaic.unit,
                        beam=mosaic.beam,
                    )


def window_boxes(shape: tuple[int, int], size: int, overlap: float) -> list[Box]:
    """Return the windows over a mosaic of this shape, row by row; see `window_starts`."""
    rows, columns = (window_starts(length, size, overlap) for length in shape)
    return [Box(x0, y0, size, size) for y0 in rows for x0 in columns]


# Cutouts of sources ---------------------------------------------------------------------------------------------------


def source_cutouts(
    mosaics: Sequence[str | os.PathLike[str]],
    catalogue: Catalogue | str | os.PathLike[str],
    out: str | os.PathLike[str],
    size: int | None = None,
    box_factor: float = 1.5,
    min_size: int = 32,
    min_extent_arcsec: float | None = None,
    max_blank: float = 0.4,
    workers: int | None = 1,
    on_error: OnError = "stop",
    scheduler: str | None = None,
) -> CuttingResult:
    """Cut a box around every source of a catalogue ("banner" sets, Riggi et al. 2024, section 2.2).

    A source on several mosaics is cut once, where it is farthest from an edge and, if there is such a mosaic, not
    blank. The position in the store is the source's own; the first pixel of its box is
    ``floor(x - (width - 1) / 2 + 0.5)``, so that the source is within half a pixel of the cutout's centre.

    Parameters
    ----------
    mosaics
        FITS files, folders of them, or glob patterns.
    catalogue
        The sources, or a file for `read_catalogue`. Its columns become columns of the store, those with a name of the
        store's own with ``cat_`` before it.
    out
        Folder of the new store. Sources without a cutout are listed in its `not_cut.csv` with the reason.
    size
        Side of all boxes in pixels; None makes each `box_factor` times the source's extent.
    box_factor
        Side of a box in units of the source's largest angular size.
    min_size
        Smallest side of a box in pixels, for sources of small extent.
    min_extent_arcsec
        Sources of smaller extent are left out (Slijepcevic et al. 2022, section 2).
    max_blank
        Cutouts with a larger fraction of blank pixels, padding included, are left out; from 0 to below 1.
    workers
        Processes of this machine, for which Dask is needed if there is more than one; None takes one per core if there
        are more than a few shards and Dask is installed.
    on_error
        ``stop`` at a mosaic that cannot be read, or ``skip`` it: then every mosaic is read once before, those that
        cannot be read are listed with the reason in the store's `skipped.csv`, and the rest is done.
    scheduler
        Address of a running Dask scheduler, whose workers cut instead; they must see the mosaics and `out` under the
        same names as this process.

    Raises
    ------
    RadiosslError
        If a parameter is out of range, extents are needed and the catalogue has none, a mosaic cannot be read, `out` is
        taken or no source can be cut.
    """
    _check(size=size, min_size=min_size, max_blank=max_blank)
    if not box_factor > 0:
        raise RadiosslError(f"box factor of {box_factor}: expected more than 0")
    if not isinstance(catalogue, Catalogue):
        catalogue = read_catalogue(catalogue)
    if catalogue.extent_arcsec is None and (size is None or min_extent_arcsec is not None):
        wanted = "--extent" if min_extent_arcsec is not None else "--extent, or the box in pixels with --size"
        raise RadiosslError(
            f"{catalogue.name}: no column is known to be the extent; name it with {wanted} "
            f"(its columns are {', '.join(catalogue.columns.column_names)})"
        )
    paths, labels, skipped = _readable(mosaics, on_error)
    reasons = _excluded(catalogue, needs_extent=size is None, min_extent_arcsec=min_extent_arcsec)
    places, survey = _place(catalogue, paths, labels, reasons)
    places = best_places(places, paths)
    boxes = _boxes(places, catalogue, size, box_factor, min_size)
    possible = _padding(boxes, places) <= max_blank
    reasons[places.source[~possible]] = BLANK
    order = np.flatnonzero(possible)
    order = order[np.lexsort((boxes[order, 0], boxes[order, 1], places.mosaic[order]))]
    jobs = _source_jobs(catalogue, places.take(order), boxes[order], paths, labels)
    schema = store_schema(catalogue.columns.schema)
    provenance = {
        "command": "cutouts sources",
        "parameters": {
            "size": size,
            "box_factor": box_factor if size is None else None,
            "min_size": min_size if size is None else None,
            "min_extent_arcsec": min_extent_arcsec,
            "max_blank": max_blank,
        },
        "catalogue": {"name": catalogue.name, "sources": len(catalogue), "sha256": catalogue.fingerprint()},
        "mosaics": survey.mosaics,
        "survey": survey.facts,
    }
    batches = partial(_source_batches, max_blank=max_blank, schema=schema)

    def note_blank(cut: Iterable[str]) -> None:
        made = set(cut)
        for row in places.source[order]:
            if catalogue.ids[row] not in made:
                reasons[row] = BLANK

    def beside(folder: Path, cut: list[str]) -> None:
        note_blank(cut)
        _write_not_cut(folder / NOT_CUT, catalogue, reasons)
        _write_skipped(folder / SKIPPED, skipped)

    try:
        store, again = _cut(out, jobs, batches, schema, provenance, workers, scheduler, beside)
    except EmptyStoreError:
        used = [paths[index] for index in np.unique(places.mosaic)]
        raise nothing_there(
            used, f"every box is more than {max_blank:.0%} blank, allow more with --max-blank"
        ) from None
    if again:
        note_blank(store.column("cutout_id"))
    return CuttingResult(store, len(paths), dict(Counter(reasons[reasons != ""].tolist())), skipped, again)


def _excluded(catalogue: Catalogue, *, needs_extent: bool, min_extent_arcsec: float | None) -> NDArray[Any]:
    """Return why each source cannot be cut anywhere, shape (n,); empty text if it can."""
    reasons = np.full(len(catalogue), "", dtype=object)
    extent = catalogue.extent_arcsec
    if extent is not None and (needs_extent or min_extent_arcsec is not None):
        reasons[~(np.isfinite(extent) & (extent >= 0))] = NO_EXTENT
        if min_extent_arcsec is not None:
            reasons[extent < min_extent_arcsec] = TOO_SMALL
    reasons[~(np.isfinite(catalogue.ra_deg) & np.isfinite(catalogue.dec_deg))] = NO_POSITION
    return reasons


def _place(
    catalogue: Catalogue, paths: Sequence[Path], labels: Sequence[str], reasons: NDArray[Any]
) -> tuple[Places, _Survey]:
    """Find all sources without a reason against them on the mosaics; write into `reasons` which are outside."""
    wanted = np.flatnonzero(reasons == "")
    if wanted.size == 0:
        listed = ", ".join(f"{count} {reason}" for reason, count in Counter(reasons.tolist()).items())
        raise RadiosslError(f"{catalogue.name}: no source is left to cut ({listed})")
    facts = _Facts()
    places = find_sources(catalogue, wanted, paths, lambda index, mosaic: facts.add(mosaic, labels[index]))
    reasons[np.setdiff1d(wanted, places.source)] = OUTSIDE
    return places, facts.survey()


def _source_jobs(
    catalogue: Catalogue, places: Places, boxes: NDArray[np.int64], paths: Sequence[Path], labels: Sequence[str]
) -> list[_SourceJob]:
    # Lists first: taking single numbers out of arrays is slow.
    facts = zip(
        places.mosaic.tolist(),
        catalogue.ids[places.source].tolist(),
        boxes.tolist(),
        places.x.tolist(),
        places.y.tolist(),
        catalogue.ra_deg[places.source].tolist(),
        catalogue.dec_deg[places.source].tolist(),
        strict=True,
    )
    names = [str(path.absolute()) for path in paths]
    sources = [
        _Source(names[mosaic], labels[mosaic], str(cutout_id), Box(*box), x, y, ra_deg, dec_deg)
        for mosaic, cutout_id, box, x, y, ra_deg, dec_deg in facts
    ]
    columns = catalogue.columns.take(places.source)
    shards = shard_jobs([(source, source.box.width * source.box.height) for source in sources])
    starts = np.cumsum([0, *map(len, shards)])
    return [
        _SourceJob(tuple(shard), columns.slice(start, len(shard)))
        for shard, start in zip(shards, starts[:-1].tolist(), strict=True)
    ]


def _boxes(
    places: Places, catalogue: Catalogue, size: int | None, box_factor: float, min_size: int
) -> NDArray[np.int64]:
    """Return x0, y0, width, height of the sources' boxes, shape (n, 4)."""
    if size is not None:
        side = np.full(places.source.size, size)
    else:
        assert catalogue.extent_arcsec is not None  # `source_cutouts` has made sure
        extent = catalogue.extent_arcsec[places.source]
        # A little less, so that a box of 75 pixels is not one of 76 by the rounding of the pixel size.
        side = np.maximum(np.ceil(box_factor * extent / places.scale_arcsec - 1e-6), min_size)
        side = np.minimum(side, 2**31).astype(np.int64)
    x0 = np.floor(places.x - (side - 1) / 2 + 0.5)
    y0 = np.floor(places.y - (side - 1) / 2 + 0.5)
    return np.stack([x0, y0, side, side], axis=1).astype(np.int64)


def _padding(boxes: NDArray[np.int64], places: Places) -> NDArray[np.float64]:
    """Return the fraction of each box that lies beyond its mosaic, known without reading it."""
    x0, y0, width, height = boxes.T.astype(float)
    inside_x = np.minimum(x0 + width, places.width) - np.maximum(x0, 0)
    inside_y = np.minimum(y0 + height, places.height) - np.maximum(y0, 0)
    return 1 - np.maximum(inside_x, 0) * np.maximum(inside_y, 0) / (width * height)


@dataclass(frozen=True)
class _Source:
    """A source and the box to cut."""

    path: str
    label: str
    cutout_id: str
    box: Box
    x: float
    y: float
    ra_deg: float
    dec_deg: float


@dataclass(frozen=True)
class _SourceJob:
    """One shard: sources in the order of mosaics and rows, and their catalogue columns, which the provenance hashes."""

    sources: tuple[_Source, ...]
    columns: pa.Table = field(repr=False)


def _source_batches(job: _SourceJob, *, max_blank: float, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    return cutout_batches(_sources_of(job, max_blank), schema)


def _sources_of(job: _SourceJob, max_blank: float) -> Iterator[Cutout]:
    columns = job.columns.to_pylist() if job.columns.num_columns else [{}] * len(job.sources)
    pairs = zip(job.sources, columns, strict=True)
    for path, group in groupby(pairs, key=lambda pair: pair[0].path):
        members = list(group)
        with Mosaic.open(path) as mosaic:
            boxes = [source.box for source, _ in members]
            for (source, extra), pixels in zip(members, mosaic.read_boxes(boxes), strict=True):
                if blank_fraction(pixels) <= max_blank:
                    yield Cutout(
                        cutout_id=source.cutout_id,
                        pixels=pixels,
                        mosaic=source.label,
                        ra_deg=source.ra_deg,
                        dec_deg=source.dec_deg,
                        x=source.x,
                        y=source.y,
                        pixel_scale_arcsec=mosaic.pixel_scale_arcsec,
                        unit=mosaic.unit,
                        beam=mosaic.beam,
                        extra=extra,
                    )


def _write_not_cut(path: Path, catalogue: Catalogue, reasons: NDArray[Any]) -> None:
    rows = np.flatnonzero(reasons != "")
    if rows.size == 0:
        return
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "ra_deg", "dec_deg", "reason"])
        for row in rows:
            writer.writerow([catalogue.ids[row], catalogue.ra_deg[row], catalogue.dec_deg[row], reasons[row]])


# Both -----------------------------------------------------------------------------------------------------------------


def _readable(
    mosaics: Sequence[str | os.PathLike[str]], on_error: OnError
) -> tuple[list[Path], list[str], dict[str, str]]:
    """Readable mosaics, their names, and what is wrong with those that are left out."""
    paths = find_mosaics(mosaics)
    label_of = dict(zip(paths, mosaic_labels(paths), strict=True))
    readable, damaged = readable_mosaics(paths, on_error)
    return readable, [label_of[path] for path in readable], {label_of[path]: text for path, text in damaged.items()}


def _write_skipped(path: Path, skipped: dict[str, str]) -> None:
    if skipped:
        with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("mosaic", "reason"), *skipped.items()])


def _cut(
    out: str | os.PathLike[str],
    jobs: Sequence[Any],
    batches: Callable[[Any], Iterable[pa.RecordBatch]],
    schema: pa.Schema,
    provenance: dict[str, Any],
    workers: int | None,
    scheduler: str | None,
    beside: Callable[[Path, list[str]], None],
) -> tuple[CutoutStore, bool]:
    """Write the store; also return whether the same command has done so before."""
    write = partial(write_store, workers=workers, scheduler=scheduler, beside=beside)
    try:
        return write(out, jobs, batches, schema, provenance), False
    except FinishedStoreError:
        return open_store(out), True


class _Facts:
    """Collects what the mosaics are while their headers go by."""

    def __init__(self) -> None:
        self._mosaics: list[dict[str, Any]] = []
        self._surveys: set[str] = set()
        self._units: set[str] = set()
        self._scales: list[float] = []
        self._beams: list[float] = []

    def add(self, mosaic: Mosaic, label: str) -> None:
        file = mosaic.path.stat()
        self._mosaics.append({"name": label, "bytes": file.st_size, "modified_ns": file.st_mtime_ns})
        self._surveys |= {mosaic.survey} - {""}
        self._units |= {mosaic.unit} - {""}
        self._scales.append(mosaic.pixel_scale_arcsec)
        if mosaic.beam is not None:
            self._beams.append(mosaic.beam.major_arcsec)

    def survey(self) -> _Survey:
        return _Survey(
            self._mosaics,
            {
                "names": sorted(self._surveys),
                "units": sorted(self._units),
                "pixel_scale_arcsec": [min(self._scales), max(self._scales)],
                "beam_major_arcsec": [min(self._beams), max(self._beams)] if self._beams else None,
            },
        )


def _check(*, max_blank: float, **pixels: int | None) -> None:
    for name, value in pixels.items():
        if value is not None and value < 1:
            raise RadiosslError(f"{name.replace('_', '-')} of {value} pixels: expected at least 1")
    if not 0 <= max_blank < 1:
        raise RadiosslError(f"max-blank of {max_blank}: expected a fraction from 0 to below 1")
