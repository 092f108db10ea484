"""The cutout store: a folder with one memory-mapped Arrow row per cutout, and `store.json`.

The folder is also a Hugging Face dataset (`datasets.load_from_disk`). It is written shard by shard, each shard renamed
into place when complete and `store.json` last of all, so that an interrupted store can be completed but never be read
as whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import radiossl
from radiossl.io.checksums import FILES, folder_checksums
from radiossl.io.errors import RadiosslError
from radiossl.io.expressions import rows_where
from radiossl.io.files import atomic_file, is_temporary, read_json, remove_strays, write_json
from radiossl.io.locks import only_writer
from radiossl.io.parts import GOES_ON, write_parts
from radiossl.io.signals import on_stop
from radiossl.io.values import as_texts
from radiossl.store.cutout import Cutout, blank_fraction
from radiossl.store.statistics import STATISTICS, PixelStatistics

FORMAT = "radiossl cutout store"
VERSION = 1
PIXELS = "pixels"
#: Uncompressed pixels per shard: large enough for sequential reads, small enough to lose little on interruption.
SHARD_BYTES = 256 * 2**20
_BATCH_ROWS = 64
_BATCH_BYTES = 64 * 2**20

#: The columns that every store has.
BASE_SCHEMA = pa.schema(
    [
        ("cutout_id", pa.string()),
        (PIXELS, pa.list_(pa.float32())),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("mosaic", pa.string()),
        ("ra_deg", pa.float64()),
        ("dec_deg", pa.float64()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("pixel_scale_arcsec", pa.float64()),
        ("blank_fraction", pa.float64()),
        ("unit", pa.string()),
        ("beam_major_arcsec", pa.float64()),
        ("beam_minor_arcsec", pa.float64()),
        ("beam_pa_deg", pa.float64()),
        *[(name, pa.float64()) for name in STATISTICS],
        *[(name, pa.float64()) for name in ("pixel_width_arcsec", "pixel_height_arcsec", "pixel_pa_deg")],
    ]
)
#: Names that a store's columns may not have, since feature tables need them.
RESERVED = ("features",)

Job = TypeVar("Job")


class EmptyStoreError(RadiosslError):
    """No cutout passed the selection, so that no store was written."""


class FinishedStoreError(RadiosslError):
    """The very same call has written this store before."""


# Writing --------------------------------------------------------------------------------------------------------------


def store_schema(extra: pa.Schema | None = None) -> pa.Schema:
    """Return the schema of a store with the further columns `extra`; raise `RadiosslError` on a name taken twice."""
    extra = extra if extra is not None else pa.schema([])
    taken = [name for name in extra.names if name in (*BASE_SCHEMA.names, *RESERVED)]
    if taken:
        raise RadiosslError(f"column {taken[0]!r} is one of the store's own: rename it in the catalogue")
    return pa.schema([*BASE_SCHEMA, *extra])


def cutout_batches(cutouts: Iterable[Cutout], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Measure cutouts and pack them into record batches of a store's schema."""
    rows: list[dict[str, Any]] = []
    held = 0
    for cutout in cutouts:
        rows.append(_row(cutout))
        held += rows[-1][PIXELS].nbytes
        if len(rows) == _BATCH_ROWS or held >= _BATCH_BYTES:
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


def write_store(
    path: str | os.PathLike[str],
    jobs: Sequence[Job],
    batches: Callable[[Job], Iterable[pa.RecordBatch]],
    schema: pa.Schema,
    provenance: dict[str, Any],
    *,
    workers: int | None = 1,
    scheduler: str | None = None,
    description: str = "cutting",
    beside: Callable[[Path, list[str]], None] | None = None,
) -> CutoutStore:
    """Write a store, one shard per job; complete it if the same call was interrupted before.

    Parameters
    ----------
    path
        The store's folder. It must not exist, be empty, or hold the unfinished store of the same jobs and provenance.
    jobs
        What makes up each shard; must have a stable `repr`, by which an interrupted store is recognised.
    batches
        Makes the record batches of a job, of schema `schema`; must be picklable for other processes.
    schema
        See `store_schema`.
    provenance
        JSON-able record of where the cutouts come from (command, mosaics, parameters).
    workers, scheduler
        Who writes shards side by side; see `write_parts`.
    description
        Shown before the progress bar.
    beside
        Writes further files into the folder, given it and the ids of the cutouts, before the store counts as finished.

    Raises
    ------
    FinishedStoreError
        If the same call was finished before.
    RadiosslError
        If `path` holds something else, another process is writing it, or the jobs made no cutout at all.
    """
    with only_writer(path), on_stop(GOES_ON):
        write = partial(write_parts, description=description, workers=workers, scheduler=scheduler)
        return _write_store(Path(path), jobs, batches, schema, provenance, write, beside)


def _write_store(
    path: Path,
    jobs: Sequence[Job],
    batches: Callable[[Job], Iterable[pa.RecordBatch]],
    schema: pa.Schema,
    provenance: dict[str, Any],
    write_shards: Callable[[Sequence[tuple[Path, Job]], Callable[[Path, Job], None]], None],
    beside: Callable[[Path, list[str]], None] | None,
) -> CutoutStore:
    identity = hashlib.sha256(repr((provenance, list(jobs), schema.names)).encode()).hexdigest()
    _claim(path, identity)
    remove_strays(path)
    files = [f"data-{index:05d}-of-{len(jobs):05d}.arrow" for index in range(len(jobs))]
    parts = [(path / file, job) for file, job in zip(files, jobs, strict=True)]
    try:
        write_shards(parts, partial(_write_shard, batches=batches, schema=schema))
    except BaseException:
        _withdraw(path)
        raise
    remove_strays(path)  # of workers that were killed
    shards = [_Shard.open(path / file) for file in files]
    rows = [shard.table.num_rows for shard in shards]
    if sum(rows) == 0:
        for file in files:
            (path / file).unlink()
        (path / _PARTIAL).unlink()
        path.rmdir()
        raise EmptyStoreError(f"{path}: no cutout passed the selection, so no store was written")
    _write_huggingface_files(path, files, schema, identity)
    if beside is not None:
        beside(path, [name for shard in shards for name in shard.table.column("cutout_id").to_pylist()])
    write_json(
        path / "store.json",
        {
            "format": FORMAT,
            "version": VERSION,
            "radiossl_version": radiossl.__version__,
            "count": sum(rows),
            "columns": schema.names,
            "shards": [
                {"file": file, "rows": count, "bytes": (path / file).stat().st_size}
                for file, count in zip(files, rows, strict=True)
            ],
            "identity": identity,
            "provenance": provenance,
            FILES: folder_checksums(path, skip=("store.json", _PARTIAL)),
        },
        seal=True,
    )
    (path / _PARTIAL).unlink(missing_ok=True)
    return open_store(path)


def _withdraw(path: Path) -> None:
    """Remove the beginnings of a store that has no finished shard yet; there is nothing to go on with."""
    if any(path.glob("data-*.arrow")):
        return
    remove_strays(path)
    (path / _PARTIAL).unlink(missing_ok=True)
    with suppress(OSError):  # a worker may still be writing
        path.rmdir()


_PARTIAL = "store.partial.json"


def _claim(path: Path, identity: str) -> None:
    """Make `path` the unfinished store `identity`, or raise if it holds anything else."""
    if path.exists() and not path.is_dir():
        raise RadiosslError(f"{path}: is a file, a folder to write the store into was expected")
    if (path / _PARTIAL).exists():  # it goes last: a run that was killed just before is completed too
        if read_json(path / _PARTIAL).get("identity") != identity:
            raise RadiosslError(
                f"{path}: holds an unfinished store of another command; finish that one or delete the folder"
            )
        return
    if (path / "store.json").exists():
        same = read_json(path / "store.json").get("identity") == identity
        raise (FinishedStoreError if same else RadiosslError)(
            f"{path}: holds a finished store already; choose another --out or delete it"
        )
    if path.exists() and not all(map(is_temporary, path.iterdir())):
        raise RadiosslError(f"{path}: is not empty and not a cutout store; choose another --out")
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / _PARTIAL, {"format": FORMAT, "version": VERSION, "identity": identity})
    except (OSError, RadiosslError) as error:
        with suppress(OSError):
            path.rmdir()
        if isinstance(error, RadiosslError):
            raise
        raise RadiosslError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None


def _write_shard(
    file: Path, job: Job, *, batches: Callable[[Job], Iterable[pa.RecordBatch]], schema: pa.Schema
) -> None:
    with (
        atomic_file(file) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        for batch in batches(job):
            writer.write_batch(batch)


def _write_huggingface_files(path: Path, files: Sequence[str], schema: pa.Schema, identity: str) -> None:
    """Write the two files by which `datasets.load_from_disk` knows the folder."""
    from datasets import Features

    write_json(path / "dataset_info.json", {"features": Features.from_arrow_schema(schema).to_dict()})
    write_json(
        path / "state.json",
        {
            "_data_files": [{"filename": file} for file in files],
            "_fingerprint": identity[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        },
    )


def shard_jobs(sizes: Sequence[tuple[Job, int]]) -> list[list[Job]]:
    """Group consecutive `(job, number of pixels)` into shards of about `SHARD_BYTES`."""
    shards: list[list[Job]] = []
    room = 0.0
    for job, pixels in sizes:
        if not shards or room < 4 * pixels:
            shards.append([])
            room = SHARD_BYTES
        shards[-1].append(job)
        room -= 4 * pixels
    return shards


# Reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shard:
    """One Arrow file: its table without pixels, and the pixels as one memory-mapped array per record batch."""

    file: Path
    table: pa.Table

    @classmethod
    def open(cls, file: Path) -> _Shard:
        try:
            with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as reader:
                return cls(file, reader.read_all())
        except FileNotFoundError:
            raise RadiosslError(f"{file}: missing from the store; make the store again") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise RadiosslError(f"{file}: damaged shard, make the store again ({error})") from None

    def pixel_views(self) -> list[NDArray[np.float32]]:
        """Flat pixels of every row, as views of the mapped file."""
        views: list[NDArray[np.float32]] = []
        for chunk in self.table.column(PIXELS).chunks:
            flat = chunk.values.to_numpy(zero_copy_only=True)
            edges = chunk.offsets.to_numpy()
            views += [flat[start:stop] for start, stop in pairwise(edges)]
        return views


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
        return f"CutoutStore({', '.join(map(str, self.paths))}: {len(self)} cutouts)"

    @property
    def columns(self) -> list[str]:
        """Names of the columns, without the pixels."""
        return self.table.column_names

    def column(self, name: str) -> NDArray[Any]:
        """Return a column as an array, missing numbers as NaN; raise `RadiosslError` if there is none of that name."""
        if name not in self.columns:
            raise RadiosslError(
                f"{', '.join(map(str, self.paths))}: no column {name!r}; there are {', '.join(self.columns)}"
            )
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
                raise RadiosslError(f"a mask of {rows.shape[0]} entries for a store of {len(self)} cutouts")
            rows = np.flatnonzero(rows)
        return CutoutStore(self.paths, self.table.take(pa.array(rows, pa.int64())), [self._views[i] for i in rows])

    def pixel_key(self, rows: Any = slice(None)) -> bytes:
        """Return what stands for the pixels where they cannot all be read: size and statistics of these rows.

        A source may be cut otherwise in another store, under the same id.
        """
        return self.shapes[rows].tobytes() + self.statistics[rows].tobytes()

    def select_ids(self, ids: Iterable[str]) -> CutoutStore:
        """Return the store of the cutouts with these ids, in their order; raise `RadiosslError` if one is not there."""
        row_of = {cutout_id: row for row, cutout_id in enumerate(self.column("cutout_id"))}
        rows = []
        for cutout_id in ids:
            if cutout_id not in row_of:
                raise RadiosslError(f"{self}: has no cutout {cutout_id!r}; give the store of the features (--store)")
            rows.append(row_of[cutout_id])
        return self.select(np.array(rows, dtype=np.int64))

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
        batches = list(cutout_batches(cutouts, schema))
        if not batches:
            raise RadiosslError("no cutout was given")
        views = []
        for batch in batches:
            pixels = batch.column(PIXELS)
            flat, offsets = pixels.values.to_numpy(), pixels.offsets.to_numpy()
            views += [flat[start:stop] for start, stop in pairwise(offsets.tolist())]
        store = cls((), pa.Table.from_batches(batches, schema).drop_columns([PIXELS]), views)
        if len(set(store.column("cutout_id"))) != len(store):
            raise RadiosslError("two of the cutouts have the same id")
        return store

    def without_folder(self) -> CutoutStore:
        """Return the same cutouts as a store of no folder, which may be removed: what is mapped stays readable."""
        return CutoutStore((), self.table, self._views)

    @classmethod
    def joined(cls, *stores: CutoutStore) -> CutoutStore:
        """Return several stores as one; columns that some of them lack are filled with nulls."""
        paths = list(dict.fromkeys(path for store in stores for path in store.paths))
        try:
            table = pa.concat_tables([store.table for store in stores], promote_options="permissive")
        except pa.ArrowTypeError as error:
            raise RadiosslError(f"{', '.join(map(str, paths))}: columns of different types ({error})") from None
        return cls(paths, table, [view for store in stores for view in store._views])

    def index_of(self, cutout_id: str) -> int:
        """Return the row of a cutout by its id; raise `RadiosslError` if there is none."""
        found = np.flatnonzero(self.column("cutout_id") == cutout_id)
        if found.size == 0:
            raise RadiosslError(f"{', '.join(map(str, self.paths))}: no cutout with id {cutout_id!r}")
        return int(found[0])


def open_store(*paths: str | os.PathLike[str]) -> CutoutStore:
    """Open one or more cutout stores as one.

    Columns that some of them lack are filled with nulls.

    Raises
    ------
    RadiosslError
        If a folder is not a store, was interrupted while being written, or has been damaged since.
    """
    folders = [Path(path) for path in paths]
    if not folders:
        raise RadiosslError("no cutout store was given")
    return CutoutStore.joined(
        *[
            CutoutStore([folder], shard.table.drop_columns([PIXELS]), shard.pixel_views())
            for folder in folders
            for shard in _open_shards(folder)
        ]
    )


def store_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content of `store.json`, or raise `RadiosslError` if `path` is not a finished store."""
    path = Path(path)
    if not path.is_dir():
        raise RadiosslError(f"{path}: no such cutout store")
    if not (path / "store.json").exists():
        if (path / _PARTIAL).exists():
            raise RadiosslError(
                f"{path}: was interrupted while being written; run the same command again to complete it"
            )
        raise RadiosslError(f"{path}: not a cutout store (it has no store.json)")
    manifest = read_json(path / "store.json")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RadiosslError(f"{path / 'store.json'}: not that of a cutout store")
    if manifest.get("version", 0) > VERSION:
        raise RadiosslError(f"{path}: written by a newer radiossl ({manifest.get('radiossl_version')}); please upgrade")
    return manifest


def _open_shards(folder: Path) -> list[_Shard]:
    shards = []
    for entry in store_manifest(folder)["shards"]:
        file = folder / entry["file"]
        if file.exists() and file.stat().st_size != entry["bytes"]:
            raise RadiosslError(
                f"{file}: {file.stat().st_size} bytes, expected {entry['bytes']}: the store is cut short, make it again"
            )
        shards.append(_Shard.open(file))
    return shards


# Stores from stores ---------------------------------------------------------------------------------------------------


def concat_stores(paths: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> CutoutStore:
    """Copy several stores into one; columns that some lack become null, ids that clash are refused."""
    store = open_store(*paths)
    ids = store.column("cutout_id")
    unique, counts = np.unique(ids.astype(str), return_counts=True)
    if (counts > 1).any():
        repeated = str(unique[counts > 1][0])
        raise RadiosslError(f"cutout id {repeated!r} stands in more than one place; ids must be unique")
    return copy_store(store, out, {"command": "store concat", "stores": [str(path) for path in paths]})


def filter_store(path: str | os.PathLike[str], where: str, out: str | os.PathLike[str]) -> CutoutStore:
    """Copy the cutouts for which an expression over the columns holds; see `CutoutStore.where`.

    Raises
    ------
    RadiosslError
        If the expression cannot be evaluated or selects nothing.
    """
    provenance = {"command": "store filter", "stores": [str(path)], "where": where}
    return copy_store(open_store(path).where(where), out, provenance)


def join_table(
    path: str | os.PathLike[str], columns: pa.Table, on: str, out: str | os.PathLike[str], table_name: str = ""
) -> tuple[CutoutStore, int]:
    """Copy a store with further columns, taken from the row of a table with the same value in column `on`.

    Values are compared as text, whole numbers without decimals; a missing one matches nothing. `table_name` goes into
    the provenance.

    Returns
    -------
    store
        The new store.
    matched
        How many of its cutouts found their row; the others get nulls.

    Raises
    ------
    RadiosslError
        If a column is missing, ambiguous or in the store already, or no cutout finds a row.
    """
    store = open_store(path)
    if on not in columns.column_names:
        raise RadiosslError(f"the table has no column {on!r}; there are {', '.join(columns.column_names)}")
    new = [name for name in columns.column_names if name != on]
    store_schema(pa.schema([columns.schema.field(name) for name in new]))
    clash = [name for name in new if name in store.columns]
    if clash:
        raise RadiosslError(f"column {clash[0]!r} is in the store already; rename it in the table")
    row_of: dict[str | None, int] = {}
    for row, key in enumerate(as_texts(columns.column(on))):
        if key in row_of:
            raise RadiosslError(f"column {on!r} of the table has {key!r} more than once; it must name every row once")
        if key is not None:
            row_of[key] = row
    store.column(on)  # raises if there is none
    rows = [row_of.get(key) for key in as_texts(store.table.column(on))]
    if not any(row is not None for row in rows):
        raise RadiosslError(f"{path}: no value of column {on!r} stands in that column of the table")
    taken = columns.select(new).take(pa.array(rows, pa.int64()))
    table = store.table
    for name in new:
        table = table.append_column(name, taken.column(name))
    joined = CutoutStore(store.paths, table, store._views)
    provenance = {"command": "store join", "stores": [str(path)], "table": table_name, "on": on, "columns": new}
    return copy_store(joined, out, provenance), sum(row is not None for row in rows)


def copy_store(store: CutoutStore, out: str | os.PathLike[str], provenance: dict[str, Any]) -> CutoutStore:
    """Write a (part of a) store as a store of its own; the provenance of its parents is kept inside its own."""
    parents = [store_manifest(path)["provenance"] for path in store.paths]
    if len(store) == 0:
        raise RadiosslError(f"{out}: no cutout is left, so no store was written")
    own = [field for field in BASE_SCHEMA if field.name in (PIXELS, *store.columns)]  # older stores have fewer
    schema = pa.schema([*own, *[field for field in store.table.schema if field.name not in BASE_SCHEMA.names]])
    pixels_per_row = math.prod(store.shapes.max(axis=0))
    step = max(1, SHARD_BYTES // (4 * int(pixels_per_row)))
    jobs = [(start, min(start + step, len(store))) for start in range(0, len(store), step)]

    def batches(job: tuple[int, int]) -> Iterator[pa.RecordBatch]:
        for start in range(job[0], job[1], _BATCH_ROWS):
            stop = min(start + _BATCH_ROWS, job[1])
            part = store.table.slice(start, stop - start).combine_chunks()
            views = store._views[start:stop]
            offsets = np.cumsum([0] + [view.size for view in views], dtype=np.int32)
            pixels = pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(views)))
            columns = [
                pixels if name == PIXELS else _one_chunk(part.column(name)).cast(schema.field(name).type)
                for name in schema.names
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    provenance = {**provenance, "parents": json.loads(json.dumps(parents))}
    return write_store(out, jobs, batches, schema, provenance, description="copying")


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
