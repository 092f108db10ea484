"""What the page shows, without any web code: sources, pixels, places on the map, neighbours, ratings."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.explorer.any_table import ImageColumn
from radiossl.explorer.clusters import Clusters, find_clusters
from radiossl.explorer.columns import ColourColumns
from radiossl.explorer.kept import KeptLabels
from radiossl.explorer.maps import Maps
from radiossl.explorer.pictures import picture_png
from radiossl.features.feature_file import FeatureFile
from radiossl.features.table import FeatureTable, seen_field_px
from radiossl.features.vector_index import VectorIndex
from radiossl.io.errors import RadiosslError
from radiossl.ratings.journal import RatingsFile
from radiossl.report.sheets import Stretch, central_pixels
from radiossl.similarity.queries import Crop
from radiossl.similarity.search import Query, SimilarityIndex, nearest_row, parse_position, separations_arcsec
from radiossl.sky.positions import match_sky
from radiossl.store.store import CutoutStore
from radiossl.survey.catalogue import read_catalogue
from radiossl.survey.received import saved_catalogue, saved_upload, shown_name, temporary_folder

if TYPE_CHECKING:
    from radiossl.weights.backbone import Backbone

_log = logging.getLogger(__name__)

#: What the pixels of sources come from.
Pixels: TypeAlias = CutoutStore | ImageColumn
NEIGHBOURS = 24
_HELD_PICTURES = 4096
#: Beyond so many sources unit vectors are kept in float16: a million of dimension 512 take 1 GB then, not 2.
_EXACT_ROWS = 100_000
#: Name of the column of clusters.
CLUSTER = "cluster"


@dataclass(frozen=True)
class Files:
    """What an explorer is opened with."""

    features: Path
    weights: str | os.PathLike[str] | None = None  # for uploads; None for the backbone that the table names
    map_folder: Path = Path("map")  # of `radiossl map`; made, if it is not there, when the page asks for a UMAP
    ratings: Path = Path("ratings.csv")
    labels: Path = Path("labels.csv")
    scores: Path | None = None  # CSV with starting scores, such as anomalies.csv; None to make them
    who: str = ""  # whose ratings these are
    seed: int = 0
    second: Path | None = None  # feature table of another backbone, or a map of it, to be shown beside the first map


class Session:
    """The sources of a feature table, for any number of pages.

    Opening reads all columns and lays the map out; `load` reads the features, which neighbours need.
    """

    def __init__(self, files: Files, store: Pixels | None) -> None:
        self.files = files
        self.file = FeatureFile(files.features)
        self.columns: pa.Table = self.file.columns().combine_chunks()
        self.metadata = self.file.metadata
        if len(self) == 0:
            raise RadiosslError(f"{files.features}: has no rows, there is nothing to explore")
        self._ids = self.columns.column("cutout_id").cast(pa.string())
        if pc.count_distinct(self._ids).as_py() != len(self):
            raise RadiosslError(f"{files.features}: two sources have the same cutout_id; make them unique")
        self.store = store
        self.store_rows = _rows_in_store(self._ids, store)
        self.ratings = RatingsFile(files.ratings, files.who)
        self.labels = KeptLabels(files.labels)
        places = self._positions()
        missing = 0 if places is None else np.count_nonzero(~np.isfinite(np.add(*places)))
        if missing:
            _log.warning("%d of %d sources have no position, so there is no map of the sky", missing, len(self))
        self.maps = Maps(self.file, files.map_folder, self._ids, files.seed, None if missing else places, files.second)
        self.index: SimilarityIndex | None = None
        self.progress = 0.0
        self.trouble = ""
        self._backbone: Backbone | None = None
        self._weights_lock = Lock()
        self.clusters: Clusters | None = None
        self.shown = ColourColumns(self.columns)
        self.picture = lru_cache(_HELD_PICTURES)(self._drawn_picture)
        #: Another table, or the same one written again, has another key.
        written = f"{files.features.absolute()} {self.file.path.stat().st_mtime_ns}"
        self.key = hashlib.sha256(written.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.file)

    def _positions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Right ascension and declination in degrees, NaN where unknown; None if all are."""
        if not {"ra_deg", "dec_deg"} <= set(self.columns.column_names):
            return None
        ra, dec = (self.columns.column(name).to_numpy().astype(float) for name in ("ra_deg", "dec_deg"))
        return (ra, dec) if np.isfinite(ra + dec).any() else None

    # Features ---------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the features into memory; `index` is there afterwards, or `trouble` says why not."""

        def done(part: float) -> None:
            self.progress = part

        try:
            self.index = SimilarityIndex.from_vectors(read_vectors(self.file, done), self.columns, self.metadata)
        except RadiosslError as error:
            self.trouble = str(error)

    def load_beside(self, *then: Callable[[], None]) -> Thread:
        """Do `load`, and what follows it, in a separate thread."""

        def work() -> None:
            self.load()
            for act in then if self.index is not None else ():
                act()

        thread = Thread(target=work, name="features", daemon=True)
        thread.start()
        return thread

    def find_clusters(self) -> None:
        """Find clusters of the sources, once the features are loaded; see `radiossl.explorer.clusters`."""
        self.clusters = find_clusters(self.known_index.vectors.array, self.files.seed)
        if self.clusters is not None:
            self.shown.later[CLUSTER] = self.clusters.names

    @property
    def known_index(self) -> SimilarityIndex:
        """The index of the features; raise `RadiosslError` while they are being read."""
        if self.index is None:
            raise RadiosslError(self.trouble or f"the features are being read ({self.progress:.0%}); try again")
        return self.index

    @cached_property
    def table(self) -> FeatureTable:
        """The columns with the unit vectors of the features, once these are loaded."""
        return FeatureTable(self.columns, self.known_index.vectors.array, self.metadata)

    # Sources ----------------------------------------------------------------------------------------------------------

    def cutout_id(self, row: int) -> str:
        """Return the id of a source."""
        return str(self._ids[row].as_py())

    def cutout_ids(self, rows: NDArray[np.integer]) -> list[str]:
        """Return the ids of sources."""
        return [str(name) for name in self._ids.take(pa.array(rows)).to_pylist()]

    def row_of(self, cutout_id: str) -> int | None:
        """Return the row of a source; None if no source has this id."""
        row = pc.index(self._ids, pa.scalar(cutout_id, pa.string())).as_py()
        return None if row < 0 else int(row)

    def rows_of(self, cutout_ids: list[str]) -> NDArray[np.int64]:
        """Return the rows of those sources that are there, in the order of the table."""
        return np.flatnonzero(pc.is_in(self._ids, value_set=pa.array(cutout_ids, pa.string())).to_numpy())

    def find(self, text: str) -> int:
        """Return the row of a source by its id, or of the one nearest to a position as `parse_position` reads it."""
        text = text.strip()
        row = self.row_of(text)
        if row is not None:
            return row
        position = parse_position(text)
        if position is None:
            raise RadiosslError(f"{text!r} is neither an id of a source nor a position such as 187.70 12.39")
        if not {"ra_deg", "dec_deg"} <= set(self.columns.column_names):
            raise RadiosslError("the sources have no positions")
        ra, dec = (self.columns.column(name).to_numpy() for name in ("ra_deg", "dec_deg"))
        return nearest_row(separations_arcsec(*position, ra, dec), text)

    def details(self, row: int) -> dict[str, Any]:
        """Return all that is known of a source, by column."""
        known = self.columns.slice(row, 1).to_pylist()[0]
        return known | {name: values[row].item() for name, values in self.shown.later.items()}

    def rows_frame(self, rows: NDArray[np.integer]) -> pd.DataFrame:
        """Return all that is known of some sources, one row each, with their ratings and labels if they have any."""
        frame = self.columns.take(pa.array(rows)).to_pandas()
        for name, values in self.shown.later.items():
            frame[name] = values[rows]
        ids = frame["cutout_id"].astype(str)
        frame["rating"] = ids.map(self.ratings.last).astype("Int64")
        if len(self.labels.labels):
            frame["label"] = ids.map(self.labels.labels)
        return frame

    def pixels(self, row: int) -> NDArray[np.float32] | None:
        """Return the part of a cutout that the backbone saw; None where there are no pixels."""
        if self.store is None or self.store_rows[row] < 0:
            return None
        field_px = seen_field_px(self.metadata)
        pixels = self.store.pixels(int(self.store_rows[row]))
        return None if pixels is None else central_pixels(pixels, field_px)

    def _drawn_picture(self, row: int, how: Stretch, colour_map: str, side: int) -> bytes | None:
        """Return a source as a picture, see `picture_png`; None where there are no pixels."""
        pixels = self.pixels(row)
        return None if pixels is None else picture_png(pixels, how, colour_map, side)

    # Neighbours -------------------------------------------------------------------------------------------------------

    def neighbours(self, row: int, k: int = NEIGHBOURS) -> pd.DataFrame:
        """Return the sources most like one, best first: columns ``row`` and ``similarity``."""
        return self.known_index.search(self.known_index.query_by_row(row), k)[["row", "similarity"]]

    def match_upload(self, data: bytes, radius_arcsec: float) -> NDArray[np.int64]:
        """Return the sources nearest to the positions of an uploaded catalogue, no farther away than a radius."""
        ours = self._positions()
        if ours is None:
            raise RadiosslError("the sources have no positions")
        with temporary_folder() as folder:
            path = saved_catalogue(data, folder)
            try:
                catalogue = read_catalogue(path)
            except RadiosslError as error:  # it names a temporary file
                raise RadiosslError(str(error).replace(str(path), "the catalogue")) from None
        matches = match_sky(catalogue.ra_deg, catalogue.dec_deg, *ours, radius_arcsec)
        order = np.lexsort((matches.separation_arcsec, matches.a))
        nearest = np.unique(matches.a[order], return_index=True)[1]
        rows = matches.b[order][nearest]
        if not len(rows):
            raise RadiosslError(f"no source within {radius_arcsec:g} arcsec of the {len(catalogue)} positions")
        return np.unique(rows)

    def search_upload(self, data: bytes, name: str, crop: Crop = "auto") -> tuple[Query, pd.DataFrame]:
        """Search for the sources most like an uploaded image; return the query, and what `neighbours` returns.

        `data` is the file, `name` what its sender calls it; for `crop` see `radiossl.similarity.queries.frame_query`.
        Raises `RadiosslError` if the file is refused (see `saved_upload`) or cannot be read, or there are no weights or
        no features yet.
        """
        index, name = self.known_index, shown_name(name)
        with temporary_folder() as folder:
            path = saved_upload(data, folder)
            backbone = self._loaded_backbone()
            try:
                query = index.query_by_file(path, backbone, crop)
            except RadiosslError as error:  # it names a temporary file
                raise RadiosslError(str(error).replace(str(path), name)) from None
        query = replace(query, name=name)
        return query, index.search(query, NEIGHBOURS)[["row", "similarity"]]

    def _loaded_backbone(self) -> Backbone:
        from radiossl.weights.backbone import load_backbone

        with self._weights_lock:
            if self._backbone is None:
                weights = self.files.weights or self.metadata.get("weights")
                if not weights:
                    raise RadiosslError("no weights: start with --weights, the backbone of the features")
                self._backbone = load_backbone(os.fspath(weights))
            return self._backbone


def read_vectors(file: FeatureFile, done: Callable[[float], None], exact_rows: int = _EXACT_ROWS) -> VectorIndex:
    """Read the features of a file piece by piece into an index; its `array` holds them without a second copy.

    `done` is called now and then with the part that has been read, 0 to 1. Of more than `exact_rows` rows similarities
    are rounded to about 0.0001.
    """
    kind: Literal["flat", "flat-fp16"] = "flat" if len(file) <= exact_rows else "flat-fp16"
    return VectorIndex.from_batches(file.batches(), file.dimension, kind, lambda count: done(count / len(file)))


def _rows_in_store(ids: pa.ChunkedArray, store: Pixels | None) -> NDArray[np.int64]:
    """The row of each source in the store, -1 for those that are not there."""
    if store is None:
        return np.full(len(ids), -1)
    theirs = store.table.column("cutout_id").cast(pa.string())
    if ids.equals(theirs):
        return np.arange(len(ids))
    rows = pc.index_in(ids, value_set=theirs)
    found = rows.fill_null(-1).to_numpy().astype(np.int64)
    if (found < 0).all():
        raise RadiosslError(f"{store}: has none of the sources; give the store of the features (--store)")
    return found
