"""A feature table on disk, read piece by piece."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radiossl.embeddings.table import FEATURES, METADATA_KEY, feature_dimension
from radiossl.errors import RadiosslError
from radiossl.files import existing_file

#: Rows that are read at a time.
BATCH_ROWS = 8192


class FeatureFile:
    """A feature table on disk that is read piece by piece, so that memory does not grow with the number of cutouts.

    Parameters
    ----------
    path
        Parquet file from `radiossl.embed` or ``radiossl embed``.

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
        If the file is missing, damaged or another kind of Parquet.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = existing_file(path)
        try:
            # Without a buffer size, a whole row group of features would be fetched at once.
            self._file = pq.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20)
        except (pa.ArrowInvalid, OSError) as error:
            raise RadiosslError(f"{self.path}: not a readable Parquet file ({error})") from None
        schema = self._file.schema_arrow
        self.dimension = feature_dimension(schema, self.path)
        if "cutout_id" not in schema.names:
            raise RadiosslError(f"{self.path}: a feature table needs a column cutout_id")
        self.schema: pa.Schema = schema.remove(schema.get_field_index(FEATURES)).remove_metadata()
        self.metadata: dict[str, Any] = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def batch_count(self) -> int:
        """How many batches there are."""
        return -(-len(self) // BATCH_ROWS)

    def columns(self, wanted: list[str] | None = None) -> pa.Table:
        """Read the columns beside the features, or those of `wanted` that there are, as a `pyarrow.Table`."""
        names = self.schema.names if wanted is None else [name for name in self.schema.names if name in wanted]
        return self._file.read(columns=names).replace_schema_metadata(None)

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """Yield the features in order, `BATCH_ROWS` at a time, shape (rows, dimension).

        Raises
        ------
        RadiosslError
            At a row whose features are missing or not finite.
        """
        row = 0
        for batch in self._file.iter_batches(BATCH_ROWS, columns=[FEATURES]):
            yield self._vectors(batch.column(0), row)
            row += len(batch)

    def batches_with_columns(self) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        """Yield the other columns too, beside the features; as `batches`."""
        row = 0
        for batch in self._file.iter_batches(BATCH_ROWS):
            table = pa.Table.from_batches([batch]).replace_schema_metadata()
            yield table.drop_columns([FEATURES]), self._vectors(batch.column(FEATURES), row)
            row += len(batch)

    def _vectors(self, column: pa.FixedSizeListArray, start: int) -> NDArray[np.float32]:
        flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        if flat.size != len(column) * self.dimension:
            raise RadiosslError(f"{self.path}: rows without features from row {start} on; make the table again")
        vectors = flat.reshape(-1, self.dimension)
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if bad.size:
            raise RadiosslError(f"{self.path}: row {start + int(bad[0])} is not finite; embed its cutout again")
        return vectors
