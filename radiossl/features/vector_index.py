"""The vectors of an index: the nearest by cosine similarity, exactly for thousands, closely for tens of millions.

On disk an index is a folder: `index.json`, and blocks of at most `BLOCK_BYTES` with the vectors of each in a file of
faiss and its scalar columns in Parquet. `radiossl.features.index_building` writes it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radiossl.features.neighbours import unit
from radiossl.io.errors import RadiosslError
from radiossl.io.files import read_json

Kind = Literal["flat", "ivf-sq8"]
KINDS: tuple[Kind, ...] = get_args(Kind)

FORMAT = "radiossl-index"
VERSION = 1
MANIFEST = "index.json"
#: Trained clusters and quantiser of an inverted file, without vectors.
TRAINED = "trained.faiss"

#: Lists that a search looks into, of the 4,096 for a million vectors: see benchmarks/similarity.py.
PROBES = 16
#: A search of a filtered index goes on until it may have seen this many allowed vectors for each that is wanted.
_SEEN_PER_WANTED = 20


class VectorIndex:
    """Unit vectors, searched by cosine similarity.

    Two kinds. ``flat`` compares a query with every vector, exactly. ``ivf-sq8`` (inverted file with scalar quantiser)
    sorts the vectors into clusters, keeps each as its difference from the centre of its cluster in 8 bits per
    dimension, and looks only into the clusters nearest to the query; it measures squared distances, which between unit
    vectors are 2 - 2 cos, because rounding then disturbs near neighbours several times less than it disturbs a product.

    Parameters
    ----------
    blocks
        faiss indexes with their rows numbered from 0.
    kind
        Of all of them.
    trained
        For ``ivf-sq8`` the index with the centres of the clusters, which the files of the blocks do without.
    """

    def __init__(self, blocks: Sequence[Any], kind: Kind, trained: Any = None) -> None:
        self.kind = kind
        self._trained = trained  # the blocks only point to its centres
        for block in blocks if trained is not None else ():
            block.own_fields, block.quantizer = False, trained.quantizer
        self.dimension: int = blocks[0].d
        self._blocks = list(blocks)
        self._starts = np.cumsum([0, *(block.ntotal for block in blocks)])
        self._mapped: set[int] = set()

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> VectorIndex:
        """Return the exact index of features in memory, shape (n, feature_dim)."""
        index = empty_flat(features.shape[1])
        index.add(unit(features))
        return cls([index], "flat")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def search(
        self, vectors: NDArray[np.floating], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the nearest vectors of many queries.

        Parameters
        ----------
        vectors
            Shape (m, feature_dim), of any length other than zero.
        k
            How many.
        allowed
            Which rows may be found, shape (n,); all by default.

        Returns
        -------
        similarities, rows
            Shapes (m, k), best first; row -1 and similarity -inf where there are fewer.
        """
        queries = unit(vectors)
        parts = []
        for number, block in enumerate(self._blocks):
            start, stop = self._starts[number : number + 2]
            selected = None if allowed is None else allowed[start:stop]
            if selected is not None and not selected.any():
                continue
            # faiss keeps no reference to the bits and the selector: they must live until the search is over.
            bits = None if selected is None else np.packbits(selected, bitorder="little")
            parameters, _selector = self._parameters(block, k, bits, None if selected is None else int(selected.sum()))
            scores, rows = block.search(queries, min(k, block.ntotal), params=parameters)
            found = rows >= 0
            similarities = scores if self.kind == "flat" else 1.0 - 0.5 * scores
            parts.append((np.where(found, similarities, -np.inf), np.where(found, rows + start, -1)))
        similarities = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        if parts:
            every, numbers = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
            best = np.argsort(-every, axis=1, kind="stable")[:, :k]
            similarities[:, : best.shape[1]] = np.take_along_axis(every, best, axis=1)
            rows[:, : best.shape[1]] = np.take_along_axis(numbers, best, axis=1)
        return similarities, rows

    def _parameters(self, block: Any, k: int, bits: NDArray[np.uint8] | None, selected: int | None) -> tuple[Any, Any]:
        import faiss

        untyped: Any = faiss  # its stubs know neither of these signatures
        selector = None if bits is None else untyped.IDSelectorBitmap(bits)
        if self.kind == "flat":
            return untyped.SearchParameters(sel=selector), selector
        # As many allowed vectors are seen as in a search without a filter, and many times more than are wanted.
        seen = max(PROBES * block.ntotal / block.nlist, _SEEN_PER_WANTED * k)
        among = block.ntotal if selected is None else selected
        probes = min(block.nlist, math.ceil(block.nlist * seen / among))
        return untyped.SearchParametersIVF(sel=selector, nprobe=probes), selector

    def vectors(self, rows: NDArray[np.integer] | Sequence[int]) -> NDArray[np.float32]:
        """Return the unit vectors of rows, shape (m, feature_dim), as they are stored: rounded unless flat."""
        rows = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(rows), self.dimension), np.float32)
        numbers = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(numbers):
            block = self._blocks[number]
            if self.kind != "flat" and number not in self._mapped:
                block.make_direct_map()  # where each row is; made only for blocks that are asked for one
                self._mapped.add(int(number))
            chosen = numbers == number
            found[chosen] = block.reconstruct_batch(rows[chosen] - self._starts[number])
        return found


def empty_flat(dimension: int) -> Any:
    """Return an exact faiss index without vectors."""
    import faiss

    return faiss.IndexFlatIP(dimension)


class ParquetColumns:
    """The scalar columns of an index on disk, read as they are needed; speaks like a `pyarrow.Table`.

    Parameters
    ----------
    files
        One for each block, in order.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._columns: dict[str, pa.ChunkedArray] = {}

    @cached_property
    def _opened(self) -> list[pq.ParquetFile]:
        return [pq.ParquetFile(file, memory_map=True) for file in self._files]

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
        lengths = [
            file.metadata.row_group(group).num_rows
            for file in self._opened
            for group in range(file.metadata.num_row_groups)
        ]
        return np.cumsum([0, *lengths])

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return int(self._group_starts[-1])

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column, null in the blocks that lack it."""
        if name not in self._columns:
            schema = pa.schema([self.schema.field(name)])
            parts = [
                promoted(file.read([name]), schema)
                if name in file.schema_arrow.names
                else pa.table({name: pa.nulls(file.metadata.num_rows, schema.field(name).type)})
                for file in self._opened
            ]
            self._columns[name] = pa.concat_tables(parts).column(name)
        return self._columns[name]

    def take(self, rows: NDArray[np.integer] | pa.Array) -> pa.Table:
        """Return rows with all their columns, in the given order; only the row groups that hold them are read."""
        rows = np.asarray(rows, dtype=np.int64)
        starts, places = (
            self._group_starts,
            [(file, group) for file in self._opened for group in range(file.metadata.num_row_groups)],
        )
        groups = np.searchsorted(starts, rows, side="right") - 1
        parts, order = [self.schema.empty_table()], []
        for number in np.unique(groups):
            file, group = places[number]
            chosen = np.flatnonzero(groups == number)
            parts.append(
                promoted(file.read_row_group(group).take(pa.array(rows[chosen] - starts[number])), self.schema)
            )
            order.append(chosen)
        table = pa.concat_tables(parts)
        return table.take(pa.array(np.argsort(np.concatenate(order)))) if order else table


def promoted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with exactly the columns of a schema that unites its own with others'; null where it has none."""
    return pa.concat_tables([schema.empty_table(), table], promote_options="permissive").select(schema.names)


@dataclass(frozen=True)
class StoredIndex:
    """What `open_index` returns.

    Attributes
    ----------
    vectors
        The index, mapped from its files rather than read.
    columns
        What is known of each row.
    metadata
        As of a `FeatureTable`: ``weights``, ``weights_sha256``, ``preprocessing``, ``stores``.
    """

    vectors: VectorIndex
    columns: ParquetColumns
    metadata: dict[str, Any]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the content of `index.json`, or raise `RadiosslError` if `folder` is no index."""
    if not (folder / MANIFEST).is_file():
        raise RadiosslError(f"{folder}: not a similarity index (it has no {MANIFEST}); radiossl index makes one")
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RadiosslError(f"{folder / MANIFEST}: not that of a similarity index")
    if manifest["version"] > VERSION:
        raise RadiosslError(f"{folder}: written by a newer radiossl ({manifest['radiossl_version']}); please upgrade")
    return manifest


def open_index(folder: str | os.PathLike[str]) -> StoredIndex:
    """Open an index on disk; its vectors are mapped into memory, not read.

    Raises
    ------
    RadiosslError
        If the folder is no index, or a file of it is missing or has been cut short.
    """
    import faiss

    folder = Path(folder)
    manifest = read_manifest(folder)
    kind: Kind = manifest["kind"]
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
    for file in files:
        if not file.is_file():
            raise RadiosslError(f"{file}: missing from the index; make it again")
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
