"""Columns of numbers beside features, brought to a common scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError


def standard_column(values: Any, name: str, option: str = "--columns") -> NDArray[np.float64]:
    """Return a column scaled to mean 0 and variance 1, an unknown value as the mean, shape (n,).

    Of a column without zero or negative values, such as a size or a flux, the logarithm is taken.

    Raises `RadiosslError` if the column has fewer than two different numbers.

    Examples
    --------
    >>> standard_column([1.0, 100.0, None], "flux").tolist()
    [-1.0, 1.0, 0.0]
    """
    numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=np.float64)
    known = np.isfinite(numbers)
    if len(np.unique(numbers[known])) < 2:
        raise RadiosslError(f"{option} {name}: a column with at least two different numbers was expected")
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
