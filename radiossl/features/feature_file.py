"""A feature table on disk, read piece by piece, and the images that it was made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from radiossl.datasets.image_files import ImageFiles
from radiossl.datasets.image_sources import Images, find_images, open_images
from radiossl.features.table import (
    CHECKED_KEY,
    FEATURES,
    METADATA_KEY,
    TableMetadata,
    conformed_schema,
    feature_dimension,
    has_features,
    regrouped,
    table_files,
    vectors_of,
    warn_left_out,
)
from radiossl.io.errors import RadiosslError
from radiossl.io.expressions import Columns
from radiossl.io.files import PathLike
from radiossl.io.parquet import json_metadata, open_parquet
from radiossl.io.progress import track
from radiossl.io.settings import validated
from radiossl.sky.angles import check_declinations
from radiossl.store.store import CutoutStore

#: Rows that are read at a time.
BATCH_ROWS = 8192


class FeatureFile:
    """A feature table on disk, a Parquet file or a folder of such, read piece by piece in constant memory.

    `dimension` is that of the features, `schema` that of the other columns, as every command takes them
    (`radiossl.features.table.conformed_schema`), and `metadata` as in `FeatureTable`. Rows without features (missing,
    not finite, all zero) are left out everywhere; a warning says how many there are. Raises `RadiosslError` if the
    table is missing, incomplete, damaged, without rows or another kind of Parquet.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self.files = table_files(path)
        first_file = self._open(self.files[0])
        # The schema's own metadata may come from a copy of the file's, which no checksum covers.
        metadata = {k: v for k, v in (first_file.metadata.metadata or {}).items() if k != b"ARROW:schema"}
        schema: pa.Schema = first_file.schema_arrow.with_metadata(metadata)
        self.file_schema = schema
        plain = FEATURES in schema.names and not pa.types.is_fixed_size_list(schema.field(FEATURES).type)
        first = next(iter(self._raw([FEATURES])), schema.empty_table()) if plain else None
        self.dimension = feature_dimension(schema, self.path, None if first is None else first.column(FEATURES))
        columns = schema.remove(schema.get_field_index(FEATURES)).remove_metadata()
        self.schema: pa.Schema = conformed_schema(columns, self.path)
        self.metadata: dict[str, Any] = json_metadata(schema, METADATA_KEY, self.path)
        if not self._rows:
            raise RadiosslError(f"{self.path}: the feature table has no rows")
        validated(TableMetadata, self.metadata, f"{self.path}: damaged metadata, embed the images again")

    def _open(self, file: Path) -> pq.ParquetFile:
        # Without a buffer size, a whole row group of features would be fetched at once.
        return open_parquet(file, pre_buffer=False, buffer_size=1 << 20)

    @cached_property
    def _kept(self) -> NDArray[np.bool_] | None:
        """Which rows have features; None if all have."""
        if CHECKED_KEY in (self.file_schema.metadata or {}):
            return None
        masks, row = [np.empty(0, bool)], 0
        for table in track(self._raw([FEATURES]), "checking features", total=-(-self._rows // BATCH_ROWS)):
            masks.append(has_features(vectors_of(table.column(FEATURES), self.dimension, self.path, row)))
            row += table.num_rows
        kept = np.concatenate(masks)
        warn_left_out(self.path, kept)
        return None if kept.all() else kept

    def leave_out(self, rows: NDArray[np.bool_]) -> None:
        """Leave out these rows everywhere too, shape (length,); where nothing else is, nothing is read."""
        if rows.any():
            kept = np.ones(self._rows, bool) if self._kept is None else self._kept
            kept[kept] = ~rows
            self._kept = kept

    @cached_property
    def _rows(self) -> int:
        return sum(self._open(file).metadata.num_rows for file in self.files)

    def __len__(self) -> int:
        return self._rows if self._kept is None else int(self._kept.sum())

    @property
    def batch_count(self) -> int:
        """How many batches there are."""
        return -(-len(self) // BATCH_ROWS)

    def columns(self, wanted: list[str] | None = None) -> pa.Table:
        """Read the columns beside the features, or those of `wanted` that there are, as a `pyarrow.Table`."""
        names = self.schema.names if wanted is None else [name for name in self.schema.names if name in wanted]
        read = pa.concat_tables([self._open(file).read(columns=names) for file in self.files])
        table = read.replace_schema_metadata().cast(pa.schema([self.schema.field(name) for name in names]))
        return self._checked(table if self._kept is None else table.filter(pa.array(self._kept)))

    def _checked(self, columns: pa.Table) -> pa.Table:
        if "dec_deg" in columns.column_names and pa.types.is_floating(columns.schema.field("dec_deg").type):
            check_declinations(columns.column("dec_deg").to_numpy(), self.path)
        return columns

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """Yield the features, `BATCH_ROWS` at a time, shape (rows, dimension); raise if some are not finite."""
        return (vectors for _, vectors in self._pieces([FEATURES]))

    def batches_with_columns(self) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        """Yield the other columns too, beside the features; as `batches`."""
        for table, vectors in self._pieces(None):
            yield self._checked(table.replace_schema_metadata().drop_columns([FEATURES]).cast(self.schema)), vectors

    def _pieces(self, names: list[str] | None) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        row = 0
        for table in self.tables(names):
            vectors = vectors_of(table.column(FEATURES), self.dimension, self.path, row)
            if (bad := np.flatnonzero(~np.isfinite(vectors).all(axis=1))).size:
                raise RadiosslError(f"{self.path}: row {row + int(bad[0])} is not finite; embed its cutout again")
            yield table, vectors
            row += table.num_rows

    def tables(self, names: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield all columns or these, `BATCH_ROWS` rows with features at a time, from file to file."""
        return regrouped(self._filtered(names), BATCH_ROWS)

    def _filtered(self, names: list[str] | None) -> Iterator[pa.Table]:
        if self._kept is None:
            yield from self._raw(names)
            return
        row = 0
        for file in map(self._open, self.files):
            for group in range(file.num_row_groups):
                end = row + file.metadata.row_group(group).num_rows
                if not self._kept[row:end].any():  # need not be read
                    row = end
                    continue
                for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=names):
                    kept = self._kept[row : row + batch.num_rows]
                    yield pa.Table.from_batches([batch]).filter(pa.array(kept))
                    row += batch.num_rows

    def _raw(self, names: list[str] | None) -> Iterator[pa.Table]:
        for file in self.files:
            for batch in self._open(file).iter_batches(BATCH_ROWS, columns=names):
                yield pa.Table.from_batches([batch])


def feature_images(
    metadata: Mapping[str, Any], columns: Columns, given: Images | None = None
) -> CutoutStore | ImageFiles | None:
    """Return the images that are given, else those that features were made of; None if these are gone."""
    stores = [path for path in metadata.get("stores", []) if Path(path).is_dir()]
    if given or stores:
        return find_images(given or stores)
    if "file" not in columns.column_names:
        return None
    ids, paths = (columns.column(name).to_pylist() for name in ("cutout_id", "file"))
    if not all(isinstance(path, str) and Path(path).is_file() for path in paths):
        return None
    files = tuple(map(Path, paths))
    return ImageFiles(files, tuple(file.name for file in files), tuple(ids), tuple({} for _ in files))


def feature_cutouts(metadata: Mapping[str, Any], columns: Columns, given: Images | None = None) -> CutoutStore | None:
    """Return the images of `feature_images` as a store."""
    images = feature_images(metadata, columns, given)
    return None if images is None else open_images(images)
