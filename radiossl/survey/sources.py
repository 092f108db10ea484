"""Cutouts of sources: boxes around the sources of a catalogue, or around what is found in the mosaics themselves."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError, check_number, listed
from radiossl.store.cutout import Cutout
from radiossl.store.schema import store_schema
from radiossl.store.writing import EmptyStoreError, shard_jobs
from radiossl.survey.catalogue import Catalogue, read_catalogue
from radiossl.survey.cutting import (
    LEAST_SKY,
    NOT_CUT,
    SKY_AROUND_BOX,
    CuttingResult,
    Mosaics,
    OnError,
    Piece,
    check_limits,
    cut_pieces,
    make_store,
    write_rows,
)
from radiossl.survey.extents import measure_extents
from radiossl.survey.islands import FoundSources, find_islands
from radiossl.survey.mosaic import Box, Mosaic
from radiossl.survey.placement import Places, best_places, beyond_edge, disagreements, locate_sources, source_boxes

#: Why a source has no cutout.
OUTSIDE, BEYOND_EDGE, BLANK = "outside", "beyond the edge", "blank"
TOO_SMALL, NO_POSITION, NO_EXTENT = "too small", "no position", "no extent"
#: Column of the store with the extents that were measured.
MEASURED = "measured_extent_arcsec"


def cut_sources(
    mosaics: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    catalogue: Catalogue | str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    size: int | None = None,
    box_factor: float = 1.5,
    min_size: int = 32,
    min_extent_arcsec: float | None = None,
    max_blank: float = 0.4,
    workers: int | None = 1,
    on_error: OnError = "stop",
    scheduler: str | None = None,
    hdu: str | int | None = None,
    threshold: float = 5.0,
    measure: bool = False,
) -> CuttingResult:
    """Cut a box around every source of a catalogue ("banner" sets, Riggi et al. 2024, section 2.2).

    A source on several mosaics is cut once, from the mosaic on which the least of its box is blank or beyond the edge,
    and among equals where it is farthest from an edge. The position in the store is the source's own; its box
    begins at pixel ``floor(x - (width - 1) / 2 + 0.5)``, so that the source is within half a pixel of the centre. Its
    `background` and `rms` are measured on a field of at least 64 pixels, and twice as wide as a box that is as large as
    its source asks for, since the source fills most of it.

    Parameters
    ----------
    mosaics, workers, on_error, scheduler, hdu
        See `radiossl.survey.blind.cut_blind`.
    catalogue
        The sources, or a file for `read_catalogue`; None finds them in the mosaics, see
        `radiossl.survey.islands.detect_sources`, and cuts each from a mosaic in which it was found. The catalogue's
        columns become columns of the store, those with a name of the store's own with ``cat_`` before it.
    out
        Folder of the new store. Sources without a cutout are listed in its `not_cut.csv` with the reason.
    size
        Side of all boxes in pixels; None makes each `box_factor` times the source's extent, square on the sky.
    box_factor
        Side of a box in units of the source's largest angular size.
    min_size
        Smallest side of a box in pixels, for sources of small extent (of the narrower side if pixels are oblong).
    min_extent_arcsec
        Sources of smaller extent are left out (Slijepcevic et al. 2022, section 2).
    max_blank
        Cutouts with a larger fraction of blank pixels, padding included, are left out; from 0 to below 1.
    threshold
        Without a catalogue: least brightness of a source in units of the noise.
    measure
        Take the extents from the islands that the mosaics show around the catalogue's positions, see
        `radiossl.survey.extents.measure_extents`; they become the column `measured_extent_arcsec`.

    Raises
    ------
    RadiosslError
        If a parameter is out of range, extents are needed and the catalogue has none, a mosaic cannot be read, `out` is
        taken or no source can be cut.

    See Also
    --------
    radiossl.survey.blind.cut_blind : Cut windows over whole mosaics instead.
    radiossl.survey.catalogue.read_catalogue : Name the columns of an unusual catalogue.

    Examples
    --------
    >>> result = cut_sources([mosaic_file], catalogue_file, folder / "boxes", size=64)
    >>> len(result.store), result.not_cut
    (3, {})
    """
    check_limits(size=size, min_size=min_size, max_blank=max_blank)
    check_number("--box-factor", box_factor, 0, above=True)
    check_number("--threshold", threshold, 0, above=True)
    if min_extent_arcsec is not None:
        check_number("--min-extent", min_extent_arcsec, 0)
    if catalogue is not None and not isinstance(catalogue, Catalogue):
        catalogue = read_catalogue(catalogue)
    needs_extent = not measure and (size is None or min_extent_arcsec is not None)
    if catalogue is not None:  # what would stop it is said at once
        store_schema(catalogue.columns.schema)
        if catalogue.extent_arcsec is None and needs_extent:
            what = "no column is known to be the extent; give the box in pixels with --size, or use `radiossl cutouts"
            what += " sources`, with --extent COLUMN or --measure-extents"
            there = listed(catalogue.columns.column_names)
            raise RadiosslError(f"{catalogue.name}: {what} (its columns are {there})")
    found = Mosaics.find(mosaics, on_error, hdu)
    islands = find_islands(found, threshold) if catalogue is None else None
    sources = islands.catalogue if islands is not None else catalogue
    assert sources is not None
    extents: dict[str, Any] = {"needs_extent": size is None, "min_extent_arcsec": min_extent_arcsec}
    reasons = _excluded(sources) if measure else _excluded(sources, **extents)
    wanted = np.flatnonzero(_left(sources, reasons))
    places = locate_sources(sources, wanted, found)
    reasons[np.setdiff1d(wanted, places.source)] = OUTSIDE
    if measure:
        sources, places = _measured(sources, places, found, reasons, extents)
    schema = store_schema(sources.columns.schema)
    boxes = source_boxes(places, sources.extent_arcsec, size, box_factor, min_size)
    notes = [] if size is not None or measure or islands else _doubts_of_extents(sources, places)
    notes += disagreements(places, boxes, found) if len(found) > 1 else []
    rows = _choose(places, boxes, found, islands)
    places, boxes = places.take(rows), boxes[rows]
    possible = beyond_edge(boxes, places) <= max_blank
    reasons[places.source[~possible]] = BEYOND_EDGE
    order = np.flatnonzero(possible)
    order = order[np.lexsort((boxes[order, 0], boxes[order, 1], places.mosaic[order]))]
    jobs = _jobs(sources, places.take(order), boxes[order], found)
    boxed = {"box_factor": box_factor, "min_size": min_size} if size is None else {"box_factor": None, "min_size": None}
    limits: dict[str, Any] = {"min_extent_arcsec": min_extent_arcsec, "max_blank": max_blank, "measure": measure}
    sky = SKY_AROUND_BOX if size is None else 1
    if size is None or size < LEAST_SKY:  # other noise than an earlier version's, which is not to come beside it
        limits["noise_field"] = sky
    provenance = {
        "command": "cutouts sources",
        "parameters": {"size": size, **boxed, **limits},
        "catalogue": {"name": sources.name, "sources": len(sources), "sha256": sources.fingerprint()},
        **found.provenance(),
    }

    def note_blank(cut: Iterable[str]) -> None:
        made = set(cut)
        reasons[[row for row in places.source[order] if sources.ids[row] not in made]] = BLANK

    def beside(folder: Path, cut: list[str]) -> None:
        note_blank(cut)
        rows = np.flatnonzero(reasons != "")
        facts = zip(*(of[rows] for of in (sources.ids, sources.ra_deg, sources.dec_deg, reasons)), strict=True)
        write_rows(folder / NOT_CUT, ("id", "ra_deg", "dec_deg", "reason"), list(facts))

    cutouts = partial(_cutouts, max_blank=max_blank, hdu=hdu, sky=sky)
    running: dict[str, Any] = {"workers": workers, "scheduler": scheduler, "beside": beside}
    try:
        store, again = make_store(out, jobs, cutouts, schema, provenance, found, **running)
    except EmptyStoreError:
        reason = f"every box is more than {max_blank:.0%} blank or beyond the edge, allow more with --max-blank"
        raise found.nothing_there(reason, np.unique(places.mosaic)) from None
    if again:
        note_blank(store.column("cutout_id"))
    not_cut = dict(Counter(reasons[reasons != ""].tolist()))
    count = None if islands is None else len(sources)
    read = [f"{sources.name}: {note}" for note in sources.notes]
    return CuttingResult(store, len(found), not_cut, found.skipped, again, (*read, *notes, *found.doubts()), count)


def _excluded(
    catalogue: Catalogue, *, needs_extent: bool = False, min_extent_arcsec: float | None = None
) -> NDArray[Any]:
    """Return why each source cannot be cut anywhere, shape (n,); empty text if it can."""
    reasons = np.full(len(catalogue), "", dtype=object)
    extent = catalogue.extent_arcsec
    if extent is not None and (needs_extent or min_extent_arcsec is not None):
        reasons[~(np.isfinite(extent) & (extent >= 0))] = NO_EXTENT
        if min_extent_arcsec is not None:
            reasons[extent < min_extent_arcsec] = TOO_SMALL
    reasons[~(np.isfinite(catalogue.ra_deg) & np.isfinite(catalogue.dec_deg))] = NO_POSITION
    return reasons


def _measured(
    catalogue: Catalogue, places: Places, mosaics: Mosaics, reasons: NDArray[Any], extents: dict[str, Any]
) -> tuple[Catalogue, Places]:
    """Return a catalogue with measured extents, and the places of what can be cut; write into `reasons` what cannot."""
    measured = measure_extents(places, mosaics, len(catalogue))
    columns = catalogue.columns
    if MEASURED in columns.column_names:
        columns = columns.drop_columns([MEASURED])
    columns = columns.append_column(MEASURED, pa.array(measured, from_pandas=True))
    catalogue = replace(catalogue, extent_arcsec=measured, columns=columns)
    found_out = _excluded(catalogue, **extents)
    reasons[reasons == ""] = found_out[reasons == ""]
    return catalogue, places.take(_left(catalogue, reasons)[places.source])


def _doubts_of_extents(catalogue: Catalogue, places: Places) -> list[str]:
    """Return a sentence on extents that are all smaller than a pixel, as degrees are that are read as arcsec."""
    assert catalogue.extent_arcsec is not None  # `cut_sources` has made sure
    largest = float(catalogue.extent_arcsec[places.source].max(initial=0))
    if not 0 < largest < places.pixel_width_arcsec.min(initial=np.inf):
        return []
    what = f'no source is larger than {largest:.2g}", less than a pixel'
    return [f"{catalogue.name}: {what}; if the extents are not in arcsec, name their unit with --extent-unit"]


def _left(catalogue: Catalogue, reasons: NDArray[Any]) -> NDArray[np.bool_]:
    left: NDArray[np.bool_] = reasons == ""
    if not left.any():
        counts = ", ".join(f"{count} {reason}" for reason, count in Counter(reasons.tolist()).items())
        raise RadiosslError(f"{catalogue.name}: no source is left to cut ({counts})")
    return left


def _choose(
    places: Places, boxes: NDArray[np.int64], mosaics: Mosaics, islands: FoundSources | None
) -> NDArray[np.int64]:
    """Return the rows of the places to cut, one per source; what was found, where it was found."""
    if islands is None:
        return best_places(places, boxes, mosaics)
    rows = np.flatnonzero(islands.shows(places.source, places.mosaic))
    preferred = islands.home[places.source[rows]] == places.mosaic[rows]
    return rows[best_places(places.take(rows), boxes[rows], mosaics, preferred)]


@dataclass(frozen=True)
class _Job:
    """One shard: pieces in the order of mosaics and rows, and their catalogue columns, which the provenance hashes."""

    pieces: tuple[tuple[str, str, Piece], ...]
    columns: pa.Table = field(repr=False)


def _jobs(catalogue: Catalogue, places: Places, boxes: NDArray[np.int64], mosaics: Mosaics) -> list[_Job]:
    # Lists first: taking single numbers out of arrays is slow.
    own = [of[places.source] for of in (catalogue.ids, catalogue.ra_deg, catalogue.dec_deg)]
    facts = zip(*(of.tolist() for of in (places.mosaic, boxes, places.x, places.y, *own)), strict=True)
    names = [str(path.absolute()) for path in mosaics.paths]
    pieces = [
        (names[mosaic], mosaics.labels[mosaic], Piece(str(cutout_id), Box(*box), x, y, ra_deg, dec_deg))
        for mosaic, box, x, y, cutout_id, ra_deg, dec_deg in facts
    ]
    columns = catalogue.columns.take(places.source)
    shards = shard_jobs([(piece, piece[2].box.width * piece[2].box.height) for piece in pieces])
    starts = accumulate(map(len, shards), initial=0)
    return [_Job(tuple(shard), columns.slice(start, len(shard))) for shard, start in zip(shards, starts, strict=False)]


def _cutouts(job: _Job, max_blank: float, hdu: str | int | None, sky: int) -> Iterator[Cutout]:
    columns = job.columns.to_pylist() if job.columns.num_columns else [{}] * len(job.pieces)
    pairs = zip(job.pieces, columns, strict=True)
    for (path, label), group in groupby(pairs, key=lambda pair: pair[0][:2]):
        members = list(group)
        pieces = [piece for (_, _, piece), _ in members]
        with Mosaic.open(path, hdu) as mosaic:
            yield from cut_pieces(mosaic, label, pieces, max_blank, [extra for _, extra in members], sky)
