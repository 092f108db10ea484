"""What stands behind the page, without any web code: sources, pixels, places on the map, neighbours, ratings."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.explorer.kept import KeptLabels
from radiossl.explorer.maps import Maps
from radiossl.explorer.pictures import picture_url
from radiossl.explorer.uploads import saved_upload, shown_name, temporary_folder
from radiossl.explorer.vectors import read_vectors
from radiossl.features.feature_file import FeatureFile
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.ratings.journal import RatingsFile
from radiossl.report.results import central_pixels
from radiossl.report.sheets import Stretch
from radiossl.similarity.search import Query, SimilarityIndex, nearest_row, parse_position, separations_arcsec
from radiossl.store.schema import BASE_SCHEMA
from radiossl.store.store import CutoutStore

if TYPE_CHECKING:
    from radiossl.weights.backbone import Backbone

NEIGHBOURS = 24
#: A column of text colours the map if it has at most so many different values.
_MOST_CLASSES = 200
#: Such a column colours it at first if it has few, and above all if its name has one of these words.
_FEW_CLASSES = 20
_CLASS_WORDS = ("label", "class", "kind", "type", "morph")
_HELD_PICTURES = 4096


@dataclass(frozen=True)
class Files:
    """What an explorer is opened with.

    Attributes
    ----------
    features
        Feature table.
    weights
        Backbone of the features, for uploaded images; None if there is none.
    map_folder
        Result folder of `radiossl map`; one that does not exist yet is made when the page asks for a UMAP.
    ratings, labels
        CSV files that ratings and labels are kept in.
    scores
        CSV with starting scores, such as anomalies.csv; None to make them.
    who
        Whose ratings these are.
    seed
        Of everything random.
    """

    features: Path
    weights: Path | None = None
    map_folder: Path | None = None
    ratings: Path = Path("ratings.csv")
    labels: Path = Path("labels.csv")
    scores: Path | None = None
    who: str = ""
    seed: int = 0


class Session:
    """The sources of a feature table, for any number of pages.

    Opening reads all columns and lays the map out; `load` reads the features, which neighbours need.

    Parameters
    ----------
    files
        See `Files`.
    store
        Where the cutouts' pixels are; None shows none.

    Raises
    ------
    RadiosslError
        If a file is missing, damaged or of other sources.
    """

    def __init__(self, files: Files, store: CutoutStore | None) -> None:
        self.files = files
        self.file = FeatureFile(files.features)
        self.columns: pa.Table = self.file.columns().combine_chunks()
        self.metadata = self.file.metadata
        if len(self) == 0:
            raise RadiosslError(f"{files.features}: has no rows, there is nothing to explore")
        self._ids = self.columns.column("cutout_id").cast(pa.string())
        if pc.count_distinct(self._ids).as_py() != len(self):
            raise RadiosslError(f"{files.features}: a cutout_id stands there twice; it must name every source once")
        self.store = store
        self.store_rows = _rows_in_store(self._ids, store)
        self.ratings = RatingsFile(files.ratings, files.who)
        self.labels = KeptLabels(files.labels)
        self.maps = Maps(self.file, files.map_folder, self._ids, files.seed, self._positions())
        self.index: SimilarityIndex | None = None
        self.vectors: NDArray[np.floating] | None = None
        self.progress = 0.0
        self.trouble = ""
        self._backbone: Backbone | None = None
        self._weights_lock = Lock()
        #: Columns that came up later, such as an anomaly score.
        self.extra: dict[str, NDArray[np.float64]] = {}
        self.picture_url = lru_cache(_HELD_PICTURES)(self._picture_url)

    def __len__(self) -> int:
        return len(self.file)

    def _positions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Right ascension and declination in degrees; None unless all are known."""
        if not {"ra_deg", "dec_deg"} <= set(self.columns.column_names):
            return None
        ra, dec = (self.columns.column(name).to_numpy().astype(float) for name in ("ra_deg", "dec_deg"))
        return (ra, dec) if np.isfinite(ra).all() and np.isfinite(dec).all() else None

    # Features ---------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Read the features into memory; `index` is there afterwards, or `trouble` says why not."""

        def done(part: float) -> None:
            self.progress = part

        try:
            index = read_vectors(self.file, done)
            self.vectors = index.array
            self.index = SimilarityIndex.from_vectors(index, self.columns, self.metadata)
        except RadiosslError as error:
            self.trouble = str(error)

    def load_beside(self, then: Callable[[], None]) -> Thread:
        """Do `load`, and what is to follow it, in a thread of its own."""

        def work() -> None:
            self.load()
            if self.index is not None:
                then()

        thread = Thread(target=work, name="features", daemon=True)
        thread.start()
        return thread

    @cached_property
    def table(self) -> FeatureTable:
        """The columns with the unit vectors of the features, once these are loaded."""
        if self.vectors is None:
            raise RadiosslError("the features are still being read")
        return FeatureTable(self.columns, self.vectors, self.metadata)

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
        """Return the row of a source by its id, or of the one nearest to a position as `parse_position` reads it.

        Raises
        ------
        RadiosslError
            If it is neither, or no source is near enough.
        """
        text = text.strip()
        row = self.row_of(text)
        if row is not None:
            return row
        position = parse_position(text)
        if position is None:
            raise RadiosslError(f"{text!r} is no id of a source and no position such as 187.70 12.39")
        if not {"ra_deg", "dec_deg"} <= set(self.columns.column_names):
            raise RadiosslError("the sources have no positions")
        ra, dec = (self.columns.column(name).to_numpy() for name in ("ra_deg", "dec_deg"))
        return nearest_row(separations_arcsec(*position, ra, dec), text)

    def details(self, row: int) -> dict[str, Any]:
        """Return all that is known of a source, by column."""
        known = self.columns.slice(row, 1).to_pylist()[0]
        return known | {name: float(values[row]) for name, values in self.extra.items()}

    def rows_frame(self, rows: NDArray[np.integer]) -> pd.DataFrame:
        """Return all that is known of some sources, one row each, with their ratings and labels if they have any."""
        frame = self.columns.take(pa.array(rows)).to_pandas()
        for name, values in self.extra.items():
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
        field_px = self.metadata.get("preprocessing", {}).get("field_px")
        return central_pixels(self.store.pixels(int(self.store_rows[row])), field_px)

    def _picture_url(self, row: int, how: Stretch, colour_map: str, side: int) -> str | None:
        """Return a source as a picture, see `picture_url`; None where there are no pixels."""
        pixels = self.pixels(row)
        return None if pixels is None else picture_url(pixels, how, colour_map, side)

    # Colours ----------------------------------------------------------------------------------------------------------

    def colour_columns(self) -> list[str]:
        """Return the names of the columns that can colour the map, later ones first."""
        return [*self.extra, *self._colour_columns]

    def class_of(self, row: int) -> str:
        """Return the class of a source, empty if it has none."""
        name = self.class_column
        value = None if name is None else self.columns.column(name)[row].as_py()
        return "" if value is None else str(value)

    @cached_property
    def class_column(self) -> str | None:
        """The column of classes that colours the map at first; None if there is none."""
        names = [name for name in self._colour_columns if _is_text(self.columns.column(name).type)]
        names = [name for name in names if 2 <= pc.count_distinct(self.columns.column(name)).as_py() <= _FEW_CLASSES]
        catalogue = [name for name in names if name not in BASE_SCHEMA.names]
        called = [name for name in catalogue if any(word in name.lower() for word in _CLASS_WORDS)]
        return next(iter([*called, *catalogue]), None)

    @cached_property
    def _colour_columns(self) -> list[str]:
        return [name for name in self.columns.column_names if _can_colour(self.columns.column(name))]

    def colour_table(self, name: str) -> FeatureTable:
        """Return a table with this column, without features, for `column_colours`.

        Raises
        ------
        RadiosslError
            If it is none of `colour_columns`.
        """
        if name not in self.colour_columns():
            raise RadiosslError(f"no column {name!r} that could colour the map")
        column = pa.array(self.extra[name]) if name in self.extra else self.columns.column(name)
        table = pa.table({"cutout_id": self._ids, name: column})
        return FeatureTable(table, np.empty((len(self), 0), np.float32))

    # Neighbours -------------------------------------------------------------------------------------------------------

    def neighbours(self, row: int, k: int = NEIGHBOURS) -> pd.DataFrame:
        """Return the sources most like one, best first: columns ``row`` and ``similarity``.

        Raises
        ------
        RadiosslError
            While the features are not loaded.
        """
        if self.index is None:
            raise RadiosslError(self.trouble or f"the features are being read ({self.progress:.0%})")
        return self.index.search(self._query(row), k)[["row", "similarity"]]

    def _query(self, row: int) -> Query:
        assert self.index is not None
        return Query(self.cutout_id(row), self.index.vectors.vectors([row])[0], row)

    def search_upload(self, data: bytes, name: str, k: int = NEIGHBOURS) -> tuple[Query, pd.DataFrame]:
        """Search for the sources most like an uploaded image; return the query, and what `neighbours` returns.

        Raises
        ------
        RadiosslError
            If the file is refused (see `saved_upload`) or cannot be read, or there are no weights or no features yet.
        """
        if self.index is None:
            raise RadiosslError(self.trouble or f"the features are being read ({self.progress:.0%}); try again")
        name = shown_name(name)
        with temporary_folder() as folder:
            path = saved_upload(data, folder)
            backbone = self._loaded_backbone()
            try:
                query = self.index.query_by_file(path, backbone)
            except RadiosslError as error:  # it speaks of a file of ours
                raise RadiosslError(str(error).replace(str(path), name)) from None
        query = replace(query, name=name)
        return query, self.index.search(query, k)[["row", "similarity"]]

    def _loaded_backbone(self) -> Backbone:
        from radiossl.weights.backbone import load_backbone

        with self._weights_lock:
            if self._backbone is None:
                folder = self.files.weights
                if folder is None:
                    raise RadiosslError("no weights: start with --weights, the backbone of the features")
                self._backbone = load_backbone(os.fspath(folder))
            return self._backbone


def _rows_in_store(ids: pa.ChunkedArray, store: CutoutStore | None) -> NDArray[np.int64]:
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


def _can_colour(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if pa.types.is_floating(kind):
        return bool(pc.any(pc.is_finite(column)).as_py())
    if _is_text(kind):
        return 0 < pc.count_distinct(column).as_py() <= _MOST_CLASSES
    return (pa.types.is_integer(kind) or pa.types.is_boolean(kind)) and column.null_count < len(column)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))
