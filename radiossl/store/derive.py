"""Stores made from other stores: concatenated, filtered, joined with tables."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from radiossl.io.errors import RadiosslError, check_columns
from radiossl.io.values import as_texts
from radiossl.store import packing, writing
from radiossl.store.cutout import check_unique
from radiossl.store.schema import BASE_SCHEMA, PIXELS, store_schema
from radiossl.store.store import CutoutStore, open_store, store_manifest
from radiossl.store.writing import write_store


def concat_stores(paths: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> CutoutStore:
    """Copy several stores into one; columns that some lack become null, ids that clash are refused."""
    store = open_store(*paths)
    check_unique(store.column("cutout_id"), out)
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
    check_columns([on], columns.column_names, "the table")
    new = [name for name in columns.column_names if name != on]
    store_schema(pa.schema([columns.schema.field(name) for name in new]))
    clash = [name for name in new if name in store.columns]
    if clash:
        raise RadiosslError(f"column {clash[0]!r} is in the store already; rename it in the table")
    store.column(on)  # raises if there is none
    keys, asked = (pa.array(as_texts(one.column(on)), pa.string()) for one in (columns, store.table))
    counts = Counter(keys.drop_null().to_pylist())
    if twice := next((value for value, count in counts.items() if count > 1), None):
        raise RadiosslError(f"column {on!r} of the table has {twice!r} more than once; it must name every row once")
    rows = pc.index_in(asked, value_set=keys, skip_nulls=True)
    if rows.null_count == len(rows):
        raise RadiosslError(f"{path}: no value of column {on!r} occurs in that column of the table")
    table = store.table
    for name, column in zip(new, columns.select(new).take(rows).columns, strict=True):
        table = table.append_column(name, column)
    joined = CutoutStore(store.paths, table, store._views)
    provenance = {"command": "store join", "stores": [str(path)], "table": table_name, "on": on, "columns": new}
    return copy_store(joined, out, provenance), len(rows) - rows.null_count


def copy_store(store: CutoutStore, out: str | os.PathLike[str], provenance: dict[str, Any]) -> CutoutStore:
    """Write a store, or a part of it, as a new store; the provenance of its parents is kept inside its own."""
    parents = [store_manifest(path)["provenance"] for path in store.paths]
    if len(store) == 0:
        raise RadiosslError(f"{out}: no cutout is left, so no store was written")
    own = [field for field in BASE_SCHEMA if field.name in (PIXELS, *store.columns)]  # older stores have fewer
    schema = pa.schema([*own, *[field for field in store.table.schema if field.name not in BASE_SCHEMA.names]])
    pixels_per_row = math.prod(store.shapes.max(axis=0))
    step = max(1, writing.SHARD_BYTES // (4 * int(pixels_per_row)))
    jobs = [(start, min(start + step, len(store))) for start in range(0, len(store), step)]

    def batches(job: tuple[int, int]) -> Iterator[pa.RecordBatch]:
        for start in range(*job, packing.BATCH_ROWS):
            part = store.select(np.arange(start, min(start + packing.BATCH_ROWS, job[1])))
            table = part.table.append_column(PIXELS, packing.pixel_column(part._views))
            yield from table.select(schema.names).cast(schema).combine_chunks().to_batches()

    provenance = {**provenance, "parents": json.loads(json.dumps(parents))}
    return write_store(out, jobs, batches, schema, provenance, description="copying")
