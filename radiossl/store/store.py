"""The cutout store: a folder with one memory-mapped Arrow row per cutout, and `store.json`.

The folder is also a Hugging Face dataset (`datasets.load_from_disk`). It is written shard by shard, each shard renamed
into place when complete and `store.json` last of all, so that an interrupted store can be completed but never be read
as whole.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel

from radiossl.io.errors import RadiosslError, check_columns, counted
from radiossl.io.expressions import rows_where
from radiossl.io.files import read_json
from radiossl.io.settings import validated
from radiossl.sky.angles import check_declinations, unit_vectors
from radiossl.store.cutout import Beam, Cutout, check_unique
from radiossl.store.packing import cutout_batches, pixel_views
from radiossl.store.pictures import contact_sheet, store_html
from radiossl.store.schema import BASE_SCHEMA, FORMAT, PARTIAL, PIXELS, VERSION, FileName, store_schema
from radiossl.store.statistics import STATISTICS

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image


class CutoutStore:
    """Cutouts on disk, read as they are needed.

    Made by `open_store`. A store may join several folders, and `select` gives a part of it; neither copies pixels.

    Attributes
    ----------
    paths
        The folders.
    table
        All columns but the pixels, as a `pyarrow.Table` with one row per cutout.
    """

    def __init__(self, paths: Sequence[Path], table: pa.Table, views: Sequence[NDArray[np.float32]]) -> None:
        self.paths = tuple(paths)
        self.table = table
        self._views = list(views)

    def __len__(self) -> int:
        return self.table.num_rows

    def __repr__(self) -> str:
        return f"CutoutStore({self._named()}: {counted(len(self), 'cutout')})"

    def _repr_html_(self) -> str:
        return store_html(self)

    @overload
    def __getitem__(self, row: int | str) -> Cutout: ...

    @overload
    def __getitem__(self, row: slice | Sequence[int] | NDArray[Any]) -> CutoutStore: ...

    def __getitem__(self, row: int | str | slice | Sequence[int] | NDArray[Any]) -> Cutout | CutoutStore:
        """Return a cutout by its row or id, or the store of several: a slice, indices or a mask."""
        if isinstance(row, slice):
            return self.select(np.arange(len(self))[row])
        if not isinstance(row, (str, int, np.integer)):
            return self.select(row)
        index = self.index_of(row) if isinstance(row, str) else int(row)
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self}: no row {index}")
        return self._cutout(index % len(self))

    def __iter__(self) -> Iterator[Cutout]:
        """Yield the cutouts, one after the other."""
        return map(self._cutout, range(len(self)))

    def _cutout(self, index: int) -> Cutout:
        known = self.table.slice(index, 1).to_pylist()[0]
        beam = [known[name] for name in ("beam_major_arcsec", "beam_minor_arcsec", "beam_pa_deg")]
        own = [part.name for part in fields(Cutout) if part.name in known]
        return Cutout(
            pixels=self.pixels(index),
            beam=None if beam[0] is None else Beam(*beam),
            extra={name: value for name, value in known.items() if name not in BASE_SCHEMA.names},
            **{name: known[name] for name in own},
        )

    def to_pandas(self) -> pd.DataFrame:
        """Return all columns but the pixels as a data frame, one row per cutout."""
        return self.table.to_pandas()

    def show(self, number: int = 12, seed: int = 0, side: int = 160) -> Image.Image:
        """Return a picture of some of the cutouts, which Jupyter shows; `save` writes it.

        Parameters
        ----------
        number
            How many cutouts, drawn at random if there are more.
        seed
            Random seed.
        side
            Side in pixels of each cutout in the picture.

        See Also
        --------
        radiossl.report.sheets.image_grid : with captions, scales and a choice of stretches.
        """
        return contact_sheet(self, number, seed, side)

    def _named(self) -> str:
        return ", ".join(map(str, self.paths)) or "in memory"

    @property
    def columns(self) -> list[str]:
        """Names of the columns, without the pixels."""
        return self.table.column_names

    @property
    def positions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Right ascensions and declinations of the centres in degrees (ICRS), NaN where unknown, shape (n,) each."""
        ra, dec = (self.column(name).astype(float) for name in ("ra_deg", "dec_deg"))
        check_declinations(dec, self._named())
        return ra, dec

    def column(self, name: str) -> NDArray[Any]:
        """Return a column as an array, missing numbers as NaN; raise `RadiosslError` if there is none of that name."""
        check_columns([name], self.columns, self._named())
        return self.table.column(name).to_pandas().to_numpy()

    @cached_property
    def shapes(self) -> NDArray[np.int64]:
        """Heights and widths in pixels, shape (n, 2)."""
        return np.stack([self.column("height"), self.column("width")], axis=1).astype(np.int64)

    @cached_property
    def statistics(self) -> NDArray[np.float64]:
        """The stored `PixelStatistics` of all cutouts, shape (n, 10), in the order of `STATISTICS`."""
        return np.stack([self.column(name) for name in STATISTICS], axis=1).astype(np.float64)

    def pixels(self, index: int) -> NDArray[np.float32]:
        """Return the pixels of one cutout, shape (height, width), a read-only view of the file."""
        height, width = self.shapes[index]
        return self._views[index].reshape(height, width)

    def select(self, rows: NDArray[Any] | Sequence[int]) -> CutoutStore:
        """Return the store of these rows only: indices, or a mask with one entry per cutout."""
        rows = np.asarray(rows)
        if rows.dtype == bool:
            if rows.shape != (len(self),):
                raise RadiosslError(f"a mask of {rows.shape[0]} entries for a store of {counted(len(self), 'cutout')}")
            rows = np.flatnonzero(rows)
        return CutoutStore(self.paths, self.table.take(pa.array(rows, pa.int64())), [self._views[i] for i in rows])

    def pixel_key(self, rows: Any = slice(None)) -> bytes:
        """Return size and statistics of these rows, compared in place of pixels where not all can be read.

        A source may be cut otherwise in another store, under the same id.
        """
        return self.shapes[rows].tobytes() + self.statistics[rows].tobytes()

    def select_ids(
        self, ids: Iterable[str], ra_deg: ArrayLike | None = None, dec_deg: ArrayLike | None = None
    ) -> CutoutStore:
        """Return the store of the cutouts with these ids, in their order.

        Positions distinguish cutouts of one id, as when the sources of every field are numbered from 0; without them
        the second row of an id is the second cutout of that id. Raises `RadiosslError` if one is not there, or has the
        id of several cutouts that cannot be distinguished.
        """
        rows_of: dict[str, list[int]] = {}
        for row, cutout_id in enumerate(self.column("cutout_id")):
            rows_of.setdefault(cutout_id, []).append(row)
        ids = list(ids)
        if missing := next((cutout_id for cutout_id in ids if cutout_id not in rows_of), None):
            raise RadiosslError(f"{self}: has no cutout {missing!r}; give the store of the features (--store)")
        if len(rows_of) == len(self):
            return self.select(np.array([rows_of[cutout_id][0] for cutout_id in ids], dtype=np.int64))
        unknown = np.full(len(ids), np.nan)
        ra, dec = (unknown if given is None else np.asarray(given, float) for given in (ra_deg, dec_deg))
        own = unit_vectors(*self.positions)
        asked = unit_vectors(ra, dec)
        seen: Counter[str] = Counter()
        rows = np.empty(len(ids), np.int64)
        for number, cutout_id in enumerate(ids):
            among = rows_of[cutout_id]
            distances = np.linalg.norm(own[among] - asked[number], axis=1)
            if len(among) > 1 and not np.isnan(distances).any():
                rows[number] = among[int(distances.argmin())]
            elif seen[cutout_id] < len(among):
                rows[number] = among[seen[cutout_id]]
            else:
                raise RadiosslError(
                    f"{self}: {len(among)} cutouts have the id {cutout_id!r}, and it is not clear which is meant"
                )
            seen[cutout_id] += 1
        return self.select(rows)

    def where(self, expression: str) -> CutoutStore:
        """Return the store of the cutouts for which an expression over the columns holds.

        Parameters
        ----------
        expression
            Such as ``las_arcsec > 20 and rms < 2e-4``; see `radiossl.io.expressions`. Where a missing value leaves it
            open, it does not hold.

        Raises
        ------
        RadiosslError
            If the expression cannot be evaluated, or is not true or false for every cutout.
        """
        return self.select(self.holds(expression))

    def holds(self, expression: str) -> NDArray[np.bool_]:
        """Return for which cutouts an expression over the columns holds; see `where`."""
        return rows_where(self.table, expression)

    @classmethod
    def from_cutouts(cls, cutouts: Iterable[Cutout], extra: pa.Schema | None = None) -> CutoutStore:
        """Return a store in memory, of no folder.

        Parameters
        ----------
        cutouts
            What it is to hold.
        extra
            Schema of their further columns.

        Raises
        ------
        RadiosslError
            If there is none, or two have the same id.

        Examples
        --------
        >>> import numpy as np
        >>> cutout = Cutout("a", np.zeros((4, 5), np.float32), "m.fits", 10.0, 20.0, 2.0, 1.5, 1.8)
        >>> CutoutStore.from_cutouts([cutout]).pixels(0).shape
        (4, 5)
        """
        schema = store_schema(extra)
        table = pa.Table.from_batches(cutout_batches(cutouts, schema), schema)
        if not len(table):
            raise RadiosslError("no cutout was given")
        store = cls((), table.drop_columns([PIXELS]), pixel_views(table.column(PIXELS)))
        check_unique(store.column("cutout_id"), "cutouts")
        return store

    def without_folder(self) -> CutoutStore:
        """Return the same cutouts as a store in memory, whose folder may be removed: what is mapped stays readable."""
        return CutoutStore((), self.table, self._views)

    @classmethod
    def joined(cls, *stores: CutoutStore) -> CutoutStore:
        """Return several stores as one; columns that some of them lack are filled with nulls."""
        paths = list(dict.fromkeys(path for store in stores for path in store.paths))
        try:
            tables = _with_types_of_the_others([store.table for store in stores])
            table = pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowTypeError as error:
            raise RadiosslError(f"{', '.join(map(str, paths))}: columns of different types ({error})") from None
        return cls(paths, table, [view for store in stores for view in store._views])

    def index_of(self, cutout_id: str) -> int:
        """Return the row of a cutout by its id; raise `RadiosslError` if there is none."""
        found = np.flatnonzero(self.column("cutout_id") == cutout_id)
        if found.size == 0:
            raise RadiosslError(f"{self._named()}: no cutout with id {cutout_id!r}")
        return int(found[0])


def _with_types_of_the_others(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Let columns without any value take the type that the same column has in other tables."""
    columns = [pair for table in tables[::-1] for pair in zip(table.column_names, table.columns, strict=True)]
    kinds = {name: column.type for name, column in columns if not _is_empty(column)}  # of the first that has one

    def typed(table: pa.Table) -> pa.Table:
        for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
            if kinds.get(name, column.type) != column.type and _is_empty(column):
                table = table.set_column(place, name, pa.nulls(len(table), kinds[name]))
        return table

    return list(map(typed, tables))


def _is_empty(column: pa.ChunkedArray) -> bool:
    if pa.types.is_string(column.type) and column.null_count < len(column):
        return set(column.unique().to_pylist()) <= {None, ""}
    return column.null_count == len(column)


class _Shard(BaseModel):
    file: FileName
    rows: int
    bytes: int


class _Manifest(BaseModel):
    """What is read of `store.json`."""

    version: int
    shards: list[_Shard]


def open_store(*paths: str | os.PathLike[str]) -> CutoutStore:
    """Open one or more cutout stores as one.

    Columns that some of them lack are filled with nulls.

    Raises
    ------
    RadiosslError
        If a folder is not a store, was interrupted while being written, or has been damaged since.
    """
    if not paths:
        raise RadiosslError("no cutout store was given")
    stores = []
    for folder in map(Path, paths):
        for entry in store_manifest(folder)["shards"]:
            file = folder / entry["file"]
            if file.exists() and (size := file.stat().st_size) != entry["bytes"]:
                expected = f"expected {entry['bytes']}: the store is cut short, make it again"
                raise RadiosslError(f"{file}: {size} bytes, {expected}")
            shard = read_shard(file)
            stores.append(CutoutStore([folder], shard.drop_columns([PIXELS]), pixel_views(shard.column(PIXELS))))
    return CutoutStore.joined(*stores)


def store_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of `store.json`, or raise `RadiosslError` if `path` is not a finished store."""
    path = Path(path)
    if not path.is_dir():
        raise RadiosslError(f"{path}: {'is a file, no' if path.exists() else 'no such'} cutout store")
    if not (path / "store.json").exists():
        interrupted = "was interrupted while being written; run the same command again to complete it"
        what = interrupted if (path / PARTIAL).exists() else "not a cutout store (it has no store.json)"
        raise RadiosslError(f"{path}: {what}")
    manifest = read_json(path / "store.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RadiosslError(f"{path / 'store.json'}: not that of a cutout store")
    validated(_Manifest, manifest, f"{path / 'store.json'}: damaged, make the store again")
    if manifest["version"] > VERSION:
        raise RadiosslError(f"{path}: written by a newer radiossl ({manifest.get('radiossl_version')}); please upgrade")
    return manifest


def read_shard(file: Path) -> pa.Table:
    """Map an Arrow file of a store into memory; raise `RadiosslError` if it is missing or damaged."""
    try:
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
            table = reader.read_all()
        table.validate(full=True)
        if len(set(table.column_names)) < table.num_columns:  # names are decoded when they are asked for
            raise pa.ArrowInvalid("two columns of one name")
        return table
    except FileNotFoundError:
        raise RadiosslError(f"{file}: missing from the store; make the store again") from None
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise RadiosslError(f"{file}: damaged shard, make the store again ({error})") from None
