"""A similarity index on disk: `index.json`, and blocks of vectors (faiss) with their columns (Parquet).

`radiossl.features.index_building` writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel

from radiossl.features.table import TableMetadata
from radiossl.features.vector_index import VectorIndex
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, atomic_file, read_json
from radiossl.io.parquet import open_parquet
from radiossl.io.settings import validated
from radiossl.store.schema import FileName

#: Kinds of `VectorIndex` that are kept on disk.
StoredKind = Literal["flat", "ivf-sq8"]

FORMAT = "radiossl-index"
VERSION = 1
MANIFEST = "index.json"
#: Trained clusters and quantiser of an inverted file, without vectors.
TRAINED = "trained.faiss"


class ParquetColumns:
    """The scalar columns of an index on disk, a file for each block, read as needed like a `pyarrow.Table`."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._columns: dict[str, pa.ChunkedArray] = {}

    @cached_property
    def _opened(self) -> list[pq.ParquetFile]:
        return [open_parquet(file, memory_map=True) for file in self._files]

    @cached_property
    def _groups(self) -> list[tuple[pq.ParquetFile, int]]:
        return [(file, group) for file in self._opened for group in range(file.metadata.num_row_groups)]

    @cached_property
    def schema(self) -> pa.Schema:
        """All columns that any block has."""
        return pa.unify_schemas([file.schema_arrow for file in self._opened], promote_options="permissive")

    @property
    def column_names(self) -> list[str]:
        """Their names."""
        return self.schema.names

    @cached_property
    def _group_starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(file.metadata.row_group(group).num_rows for file, group in self._groups)])

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return int(self._group_starts[-1])

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column, null in the blocks that lack it."""
        if name not in self._columns:
            schema = pa.schema([self.schema.field(name)])
            parts = [promoted(file.read([name]), schema) for file in self._opened]
            self._columns[name] = pa.concat_tables(parts).column(name)
        return self._columns[name]

    def take(self, rows: NDArray[np.integer] | pa.Array) -> pa.Table:
        """Return rows with all their columns, in the given order; only the row groups that hold them are read."""
        rows = np.asarray(rows, dtype=np.int64)
        starts, places = self._group_starts, self._groups
        groups = np.searchsorted(starts, rows, side="right") - 1
        parts, order = [self.schema.empty_table()], []
        for number in np.unique(groups):
            file, group = places[number]
            chosen = np.flatnonzero(groups == number)
            found = file.read_row_group(group).take(pa.array(rows[chosen] - starts[number]))
            parts.append(promoted(found, self.schema))
            order.append(chosen)
        table = pa.concat_tables(parts)
        return table.take(pa.array(np.argsort(np.concatenate(order)))) if order else table


def promoted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema that contains its own, null where it has none."""
    return pa.concat_tables([schema.empty_table(), table], promote_options="permissive").select(schema.names)


@dataclass(frozen=True)
class StoredIndex:
    """An index that is mapped from its files, with the columns of its rows and the metadata of a `FeatureTable`."""

    vectors: VectorIndex
    columns: ParquetColumns
    metadata: dict[str, Any]


class _Block(BaseModel):
    vectors: FileName
    columns: FileName
    bytes: int


class _Manifest(BaseModel):
    """What is read of `index.json`."""

    version: int
    radiossl_version: str
    kind: StoredKind
    dimension: int
    count: int
    blocks: list[_Block]
    metadata: TableMetadata


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the content of `index.json`, or raise `RadiosslError` if `folder` is no index."""
    if not (folder / MANIFEST).is_file():
        raise RadiosslError(f"{folder}: not a similarity index (it has no {MANIFEST}); radiossl index makes one")
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RadiosslError(f"{folder / MANIFEST}: not that of a similarity index")
    validated(_Manifest, manifest, f"{folder / MANIFEST}: damaged, make the index again")
    if manifest["version"] > VERSION:
        raise RadiosslError(f"{folder}: written by a newer radiossl ({manifest['radiossl_version']}); please upgrade")
    return manifest


def open_index(folder: PathLike) -> StoredIndex:
    """Open an index on disk; its vectors are mapped into memory, not read."""
    import faiss

    folder = Path(folder)
    manifest = read_manifest(folder)
    kind: StoredKind = manifest["kind"]
    trained = None if kind == "flat" else read_faiss(folder / TRAINED)
    blocks, files = [], []
    for entry in manifest["blocks"]:
        file = folder / entry["vectors"]
        if file.is_file() and file.stat().st_size != entry["bytes"]:
            raise RadiosslError(f"{file}: {file.stat().st_size} bytes, expected {entry['bytes']}; make the index again")
        block = read_faiss(file, faiss.IO_FLAG_MMAP_IFC if kind == "flat" else faiss.IO_FLAG_MMAP)
        if trained is not None:
            # Its read-ahead starts threads for every query, which takes longer than the lists that it fetches.
            lists: Any = faiss.downcast_InvertedLists(block.invlists)
            lists.prefetch_nthread = 0
        blocks.append(block)
        files.append(folder / entry["columns"])
        if not files[-1].is_file():
            raise RadiosslError(f"{files[-1]}: missing from the index; make it again")
    return StoredIndex(VectorIndex(blocks, kind, trained), ParquetColumns(files), manifest["metadata"])


def read_faiss(file: Path, flags: int = 0) -> Any:
    """Read a file of faiss; raise `RadiosslError` if it is missing or damaged."""
    import faiss

    if not file.is_file():
        raise RadiosslError(f"{file}: missing from the index; make it again")
    try:
        return faiss.read_index(str(file), flags)
    except RuntimeError as error:
        raise RadiosslError(f"{file}: damaged, make the index again ({str(error).splitlines()[0]})") from None


def write_faiss(index: Any, path: Path) -> None:
    """Write a faiss index, atomically.

    Through Python's file: when faiss closes its own on a full disk, it prints what went wrong and goes on.
    """
    import faiss

    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        faiss.write_index(index, faiss.PyCallbackIOWriter(stream.write))  # type: ignore[attr-defined]
