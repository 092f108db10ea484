"""The feature table that every task takes: Parquet, one row per cutout, a file or a folder of files; its columns."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel

import radiossl
from radiossl.io.errors import RadiosslError, check_columns
from radiossl.io.files import PathLike, atomic_file, existing_file
from radiossl.io.parquet import open_parquet, write_parquet
from radiossl.io.values import warn_of_marker

FEATURES = "features"


def feature_dimension(schema: pa.Schema, path: PathLike, column: pa.ChunkedArray | None = None) -> int:
    """Return the length of the vectors of a feature table's file; raise `RadiosslError` if there are none.

    `column` has the first vectors, for files whose lists have no fixed length, as pandas and polars write them.
    """
    kind = schema.field(FEATURES).type if FEATURES in schema.names else None
    if kind is not None and pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    if kind is not None and _is_vector(kind) and column is not None:
        if not len(column):
            raise RadiosslError(f"{path}: the feature table has no rows")
        lengths = pc.list_value_length(column).drop_null()
        if len(lengths) and lengths[0].as_py() > 0:
            return int(lengths[0].as_py())
    raise RadiosslError(f"{path}: not a feature table (no column of vectors 'features')")


def _is_vector(kind: pa.DataType) -> bool:
    nested = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    numbers = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
    return nested and any(test(kind.value_type) for test in numbers)


def vectors_of(column: pa.ChunkedArray, dimension: int, path: PathLike, start: int = 0) -> NDArray[np.float32]:
    """Return a column of vectors as an array of shape (n, dimension), NaN where one is missing.

    Raises `RadiosslError` if a vector has another length, naming its row; `start` is that of the first.
    """
    array = column.combine_chunks()
    known = array.is_valid().to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(array).fill_null(dimension).to_numpy(zero_copy_only=False)
    if (wrong := np.flatnonzero(lengths != dimension)).size:
        row = int(wrong[0])
        raise RadiosslError(f"{path}: row {start + row} has {lengths[row]} features, the first row has {dimension}")
    flat = pc.list_flatten(array if known.all() else array.filter(pa.array(known)))
    if pa.types.is_decimal(flat.type):
        flat = flat.cast(pa.float64())
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is no feature
        values = flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, dimension)
    if known.all():
        return values
    vectors = np.full((len(known), dimension), np.nan, np.float32)
    vectors[known] = values
    return vectors


def vector_column(features: NDArray[np.floating]) -> pa.FixedSizeListArray:
    """Return vectors, shape (n, d), as a column of float32 lists."""
    flat = np.ascontiguousarray(features, np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), features.shape[1])


def has_features(vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which rows are features: finite, and not all zero, which has no direction to compare."""
    return np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)


#: Types whose values are ids without doubt; null is that of a table without rows.
_TEXT_LIKE = (pa.types.is_integer, pa.types.is_binary, pa.types.is_string_view, pa.types.is_null)


def conformed_schema(schema: pa.Schema, path: PathLike) -> pa.Schema:
    """Return the types that every command takes: ids as text, decimals as float64, categories as values."""
    if "cutout_id" not in schema.names:
        raise RadiosslError(f"{path}: a feature table needs a column cutout_id")
    fields = []
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_decimal(kind) and column.name != "cutout_id":
            kind = pa.float64()
        if column.name == "cutout_id" and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            if not any(test(kind) for test in _TEXT_LIKE):
                raise RadiosslError(f"{path}: cutout_id is of type {kind}; write it as text or as whole numbers")
            kind = pa.string()
        fields.append(column.with_type(kind))
    return pa.schema(fields, metadata=schema.metadata)


def warn_left_out(path: PathLike, kept: NDArray[np.bool_]) -> None:
    """Say how many rows have no features; raise `RadiosslError` if none has."""
    if kept.all():
        return
    problem = "no features (missing, not finite or all zero)"
    if not kept.any():
        raise RadiosslError(f"{path}: all {len(kept)} rows have {problem}; embed the images again")
    first, count = int(np.flatnonzero(~kept)[0]), int((~kept).sum())
    warnings.warn(f"{path}: {count} of {len(kept)} rows left out, they have {problem}; first row {first}", stacklevel=3)


#: Endings of tables that are not Parquet.
_OTHER_FORMATS = (".csv", ".tsv", ".txt", ".ecsv", ".fits", ".vot", ".xml", ".npy", ".npz", ".h5", ".hdf5")


def check_parquet_name(path: PathLike) -> None:
    """Raise `RadiosslError` if the name of a feature table that is to be written is that of another format."""
    path = Path(path)
    if path.suffix.lower() in _OTHER_FORMATS:
        parquet = path.with_suffix(".parquet").name
        raise RadiosslError(
            f"{path}: features are written as Parquet, such as {parquet}; radiossl export makes other formats of it"
        )


def check_no_other_table(path: Path) -> None:
    """Raise `RadiosslError` where another file than a feature table is; a damaged one may be made again."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    names = [FEATURES]
    if is_parquet:
        with suppress(RadiosslError):
            names = open_parquet(path).schema_arrow.names
    if not is_parquet or FEATURES not in names:
        raise RadiosslError(f"{path}: exists already and is no table of features; choose another --out")


METADATA_KEY = b"radiossl"


class TableMetadata(BaseModel):
    """What is read of the metadata of a feature table, see `radiossl.features.embedding.table_metadata`."""

    weights: str | None = None
    weights_sha256: str | None = None
    preprocessing: dict[str, Any] = {}
    embedding: dict[str, Any] = {}
    stores: list[str] = []


def seen_field_px(metadata: Mapping[str, Any] | None) -> int | None:
    """Return the side of the central field that features are of, as a table's metadata have it; None for all."""
    side: int | None = (metadata or {}).get("preprocessing", {}).get("field_px")
    return side


#: Set in files of which every row has features, so that they need not be looked through first.
CHECKED_KEY = b"radiossl_checked"


@dataclass(frozen=True)
class FeatureTable:
    """Features with what else is known of each cutout.

    Attributes
    ----------
    columns
        `pyarrow.Table` with `cutout_id` and the other scalar columns, one row per cutout.
    features
        Shape (n, feature_dim), float32.
    metadata
        ``weights``, ``weights_sha256``, ``preprocessing``, ``radiossl_version`` and, if from stores, ``stores``.
    """

    columns: pa.Table
    features: NDArray[np.float32]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != self.columns.num_rows:
            raise RadiosslError(
                f"features of shape {self.features.shape} for {self.columns.num_rows} rows of columns: must match"
            )
        if "cutout_id" not in self.columns.column_names:
            raise RadiosslError("a feature table needs a column cutout_id")
        if FEATURES in self.columns.column_names:
            raise RadiosslError(f"a column of the cutouts is called {FEATURES!r}, as the features are; rename it")

    def __len__(self) -> int:
        return len(self.features)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column as an array, missing numbers as NaN; raise `RadiosslError` if there is none of that name."""
        return column_values(self.columns, name)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers, shape (n,), NaN where a value is not a number or there is no such column."""
        if name not in self.columns.column_names:
            return np.full(len(self), np.nan)
        return pd.to_numeric(pd.Series(self.column(name)), errors="coerce").to_numpy(dtype=np.float64)

    def select(self, rows: NDArray[Any]) -> FeatureTable:
        """Return the table of these rows only: indices or a mask."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        return FeatureTable(self.columns.take(pa.array(rows, pa.int64())), self.features[rows], self.metadata)

    def explore(self, images: Any = None, **options: Any) -> Any:
        """Open the explorer: in a notebook below the cell, elsewhere in a browser until Ctrl-C.

        Parameters
        ----------
        images
            A `CutoutStore`; by default the stores that the features are of.
        options
            See `radiossl.explore`.

        Examples
        --------
        >>> radiossl.embed("simclr-first-zoom", "store").explore()  # doctest: +SKIP
        """
        return radiossl.explore(self, images, **options)

    def write(self, path: PathLike) -> None:
        """Write the table as Parquet, atomically; raise `RadiosslError` if the name is that of another format."""
        check_parquet_name(path)
        table = self.columns.append_column(FEATURES, vector_column(self.features))
        about = {METADATA_KEY: json.dumps(self.metadata).encode()}
        if has_features(self.features).all():
            about[CHECKED_KEY] = b"1"
        table = table.replace_schema_metadata(about)
        with atomic_file(path) as temporary:
            write_parquet(table, temporary)

    @classmethod
    def read(cls, path: PathLike) -> FeatureTable:
        """Read a feature table into memory, without rows that have no features (a warning says how many).

        Vectors may be lists of any kind of number, as pandas and polars write them; ids may be whole numbers.
        """
        from radiossl.features.feature_file import FeatureFile

        file = FeatureFile(path)
        return cls(file.columns(), np.concatenate(list(file.batches())), file.metadata)


def column_values(columns: Any, name: str) -> NDArray[Any]:
    """Return a column of a table or index as an array, missing numbers as NaN; raise `RadiosslError` if it lacks it."""
    check_columns([name], columns.column_names, use=" in the features")
    return columns.column(name).to_pandas().to_numpy()


def regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the same rows in tables of `rows`, the last one of fewer."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += table.num_rows
        while count >= rows:
            whole = pa.concat_tables(held)
            yield whole.slice(0, rows)
            held = [whole.slice(rows)]
            count -= rows
    if count:
        yield pa.concat_tables(held)


def part_name(number: int, count: int) -> str:
    """Return the file name of a part of a partitioned table."""
    return f"part-{number:05d}-of-{count:05d}.parquet"


def table_files(path: PathLike) -> list[Path]:
    """Return the Parquet files of a feature table in order: itself, or the parts of a folder, all of them."""
    path = Path(path)
    if not path.is_dir():
        return [existing_file(path)]
    counts = {found[1] for file in path.iterdir() if (found := re.fullmatch(r"part-\d+-of-(\d+)\.parquet", file.name))}
    if not counts:
        raise RadiosslError(f"{path}: not a feature table (a folder without files such as {part_name(0, 9)})")
    if len(counts) > 1:
        raise RadiosslError(f"{path}: has parts of more than one table (of {' and of '.join(sorted(counts))} parts)")
    count = int(counts.pop())
    files = [path / part_name(number, count) for number in range(count)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise RadiosslError(f"{path}: {missing[0]} is missing; copy it again or embed the store again")
    return files


def standard_column(values: Any, name: str, option: str = "--columns") -> NDArray[np.float64]:
    """Return a column scaled to mean 0 and variance 1, an unknown value as the mean, shape (n,).

    Of a column without zero or negative values, such as a size or a flux, the logarithm is taken.

    >>> standard_column([1.0, 100.0, None], "flux").tolist()
    [-1.0, 1.0, 0.0]
    """
    numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=np.float64)
    known = np.isfinite(numbers)
    if len(np.unique(numbers[known])) < 2:
        raise RadiosslError(f"{option} {name}: a column with at least two different numbers was expected")
    warn_of_marker(numbers, name, "leave those cells empty")
    if numbers[known].min() > 0:
        numbers = np.log10(numbers, out=np.full(len(numbers), np.nan), where=known)
    mean, deviation = numbers[known].mean(), numbers[known].std()
    return np.where(known, (numbers - mean) / deviation, 0.0)


def with_columns(features: NDArray[np.floating], columns: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return features followed by columns that are scaled alike, shape (..., n, d + columns).

    Features, shape (..., n, d), are centred and scaled together so that their variances sum to 1: each of the columns,
    shape (n, columns), which have variance 1 (`standard_column`), counts as much as all features together. Without
    columns the features come back as they are.
    """
    if not columns.shape[1]:
        return features.astype(np.float32, copy=False)
    flat = features.reshape(-1, features.shape[-1])
    deviation = float(np.sqrt(flat.var(axis=0, dtype=np.float64).sum()))
    scaled = (features - flat.mean(axis=0)) / (deviation or 1.0)
    beside = np.broadcast_to(columns, (*features.shape[:-1], columns.shape[1]))
    return np.concatenate([scaled, beside], axis=-1).astype(np.float32)
