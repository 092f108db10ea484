"""Rows of feature tables as other programs write them: vectors as lists, ids as numbers, rows without features."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError

FEATURES = "features"


def feature_dimension(schema: pa.Schema, path: str | os.PathLike[str], column: pa.ChunkedArray | None = None) -> int:
    """Return the length of the vectors of a feature table's file; raise `RadiosslError` if there are none.

    `column` has the first vectors, for files whose lists have no fixed length, as pandas and polars write them.
    """
    kind = schema.field(FEATURES).type if FEATURES in schema.names else None
    if kind is not None and pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    if kind is not None and _is_vector(kind) and column is not None:
        lengths = pc.list_value_length(column).drop_null()
        if len(lengths) and lengths[0].as_py() > 0:
            return int(lengths[0].as_py())
    raise RadiosslError(f"{path}: not a feature table (no column of vectors 'features')")


def _is_vector(kind: pa.DataType) -> bool:
    nested = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return nested and (_is_number(kind.value_type) or pa.types.is_decimal(kind.value_type))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def vectors_of(
    column: pa.ChunkedArray, dimension: int, path: str | os.PathLike[str], start: int = 0
) -> NDArray[np.float32]:
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


def has_features(vectors: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which rows are features: finite, and not all zero, which has no direction to compare."""
    return np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)


#: Types whose values are ids without doubt; null is that of a table without rows.
_TEXT_LIKE = (pa.types.is_integer, pa.types.is_binary, pa.types.is_string_view, pa.types.is_null)


def conformed_schema(schema: pa.Schema, path: str | os.PathLike[str]) -> pa.Schema:
    """Return the types that every command takes: ids as text, decimals as float64, categories as values.

    Raises `RadiosslError` if there is no column ``cutout_id``, or it holds neither text nor whole numbers.
    """
    if "cutout_id" not in schema.names:
        raise RadiosslError(f"{path}: a feature table needs a column cutout_id")
    fields = []
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_decimal(kind) and field.name != "cutout_id":
            kind = pa.float64()
        if field.name == "cutout_id" and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            if not any(test(kind) for test in _TEXT_LIKE):
                raise RadiosslError(f"{path}: cutout_id is of type {kind}; write it as text or as whole numbers")
            kind = pa.string()
        fields.append(field.with_type(kind))
    return pa.schema(fields, metadata=schema.metadata)


def warn_left_out(path: str | os.PathLike[str], kept: NDArray[np.bool_]) -> None:
    """Say how many rows have no features; raise `RadiosslError` if none has."""
    if kept.all():
        return
    problem = "no features (missing, not finite or all zero)"
    if not kept.any():
        raise RadiosslError(f"{path}: all {len(kept)} rows have {problem}; embed the images again")
    first, count = int(np.flatnonzero(~kept)[0]), int((~kept).sum())
    warnings.warn(f"{path}: {count} of {len(kept)} rows left out, they have {problem}; first row {first}", stacklevel=3)
