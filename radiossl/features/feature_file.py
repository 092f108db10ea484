"""A feature table on disk, read piece by piece."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radiossl.features.table import FEATURES, METADATA_KEY, feature_dimension, regrouped, table_files
from radiossl.io.errors import RadiosslError
from radiossl.io.parquet import json_metadata, open_parquet

#: Rows that are read at a time.
BATCH_ROWS = 8192


class FeatureFile:
    """A feature table on disk that is read piece by piece, so that memory does not grow with the number of cutouts.

    Parameters
    ----------
    path
        Parquet file, or folder of such, from `FeatureTable.write` or ``radiossl embed``.

    Attributes
    ----------
    metadata
        As in `FeatureTable`.
    dimension
        Of the features.
    schema
        Of the other columns.

    Raises
    ------
    RadiosslError
        If it is missing, incomplete, damaged or another kind of Parquet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.files = table_files(path)
        self.file_schema: pa.Schema = self._open(self.files[0]).schema_arrow
        schema = self.file_schema
        self.dimension = feature_dimension(schema, self.path)
        if "cutout_id" not in schema.names:
            raise RadiosslError(f"{self.path}: a feature table needs a column cutout_id")
        self.schema: pa.Schema = schema.remove(schema.get_field_index(FEATURES)).remove_metadata()
        self.metadata: dict[str, Any] = json_metadata(schema, METADATA_KEY, self.path)

    def _open(self, file: Path) -> pq.ParquetFile:
        # Without a buffer size, a whole row group of features would be fetched at once.
        return open_parquet(file, pre_buffer=False, buffer_size=1 << 20)

    @cached_property
    def _rows(self) -> int:
        return sum(self._open(file).metadata.num_rows for file in self.files)

    def __len__(self) -> int:
        return self._rows

    @property
    def batch_count(self) -> int:
        """How many batches there are."""
        return -(-len(self) // BATCH_ROWS)

    def columns(self, wanted: list[str] | None = None) -> pa.Table:
        """Read the columns beside the features, or those of `wanted` that there are, as a `pyarrow.Table`."""
        names = self.schema.names if wanted is None else [name for name in self.schema.names if name in wanted]
        return pa.concat_tables([self._open(file).read(columns=names) for file in self.files]).replace_schema_metadata()

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """Yield the features in order, `BATCH_ROWS` at a time, shape (rows, dimension).

        Raises
        ------
        RadiosslError
            At a row whose features are missing or not finite.
        """
        row = 0
        for table in self.tables([FEATURES]):
            yield self._vectors(table.column(FEATURES), row)
            row += table.num_rows

    def batches_with_columns(self) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        """Yield the other columns too, beside the features; as `batches`."""
        row = 0
        for table in self.tables():
            columns = table.replace_schema_metadata().drop_columns([FEATURES])
            yield columns, self._vectors(table.column(FEATURES), row)
            row += table.num_rows

    def tables(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield all columns or these as they are on disk, `BATCH_ROWS` rows at a time, from file to file."""
        parts = (
            pa.Table.from_batches([batch])
            for file in self.files
            for batch in self._open(file).iter_batches(BATCH_ROWS, columns=names)
        )
        return regrouped(parts, BATCH_ROWS)

    def _vectors(self, column: pa.ChunkedArray, start: int) -> NDArray[np.float32]:
        flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        if flat.size != len(column) * self.dimension:
            raise RadiosslError(f"{self.path}: rows without features from row {start} on; make the table again")
        vectors = flat.reshape(-1, self.dimension)
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if bad.size:
            raise RadiosslError(f"{self.path}: row {start + int(bad[0])} is not finite; embed its cutout again")
        return vectors
