"""How a column colours a map: a scale for numbers, a colour for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.report.figures import PALETTE

#: Of matplotlib, for numbers.
COLOUR_MAP = "viridis"
#: Integers with at most so many different values are classes.
_INTEGER_CLASSES = 12
#: Percentiles between which numbers are coloured, and the ratio of these from which on the scale is logarithmic.
_ROBUST, _DECADES = (1.0, 99.0), 5.0
# Okabe & Ito (2008), told apart with every colour vision; brown for black, which is not seen in the dark.
CLASS_COLOURS = (*PALETTE, "#F0E442", "#8B5A2B")


#: What can be coloured: numbers, truth values and text.
_COLOURED = (
    *(pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary),
)


@dataclass(frozen=True)
class NumberColours:
    """How a column of numbers is coloured."""

    values: NDArray[np.float64]  # shape (n,), NaN where unknown
    low: float  # what the lower end of the colours stands for
    high: float
    logarithmic: bool  # only if all values are positive


@dataclass(frozen=True)
class ClassColours:
    """How a column of classes is coloured."""

    codes: NDArray[np.int64]  # index into `names`, shape (n,); -1 where unknown
    names: tuple[str, ...]  # the last may gather the rarest classes
    colours: tuple[str, ...]  # one for each name


def column_colours(table: FeatureTable, name: str, most: int = 16) -> NumberColours | ClassColours:
    """Decide how a column is coloured.

    Text, truth values and integers with at most 12 different values are classes: colours by Okabe & Ito (2008), or
    shades in order if they are consecutive integers such as a score. The `most` most frequent classes get a colour of
    their own; all rarer ones share grey. Everything else is numbers: from the 1st to the 99th percentile, logarithmic
    if all are positive and these differ by more than a factor of 5.
    """
    series = pd.Series(table.column(name))
    kind = table.columns.schema.field(name).type
    if series.isna().all():
        raise RadiosslError(f"--colour {name}: the column has no value")
    if not any(test(kind) for test in _COLOURED):
        raise RadiosslError(f"--colour {name}: a column of {kind} cannot be coloured; expected numbers or classes")
    different = series.dropna().unique()
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and len(different) > _INTEGER_CLASSES):
        values = series.to_numpy(dtype=float)
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise RadiosslError(f"--colour {name}: the column has no finite value")
        low, high = (float(limit) for limit in np.percentile(finite, _ROBUST))
        logarithmic = bool(finite.min() > 0 and high > _DECADES * low)
        return NumberColours(np.where(np.isfinite(values), values, np.nan), low, high, logarithmic)
    whole = pa.types.is_integer(kind)
    order = np.sort(different.astype(np.int64)) if whole else np.array(sorted(different))
    codes, names = pd.Categorical(series, categories=order).codes.astype(np.int64), [str(value) for value in order]
    if whole and len(order) > 2 and (np.diff(order) == 1).all():
        from matplotlib import colormaps
        from matplotlib.colors import to_hex

        shades = [to_hex(colormaps[COLOUR_MAP](value)) for value in np.linspace(0, 0.95, len(order))]
        return ClassColours(codes, tuple(names), tuple(shades))
    return _gather_rare(codes, names, most)


def colour_scales(table: FeatureTable, names: Sequence[str]) -> dict[str, NumberColours | ClassColours]:
    """Return how each column is coloured, see `column_colours`; raise `RadiosslError` if one cannot be."""
    if taken := {"x", "y", "fitted"} & set(names):
        raise RadiosslError(f"--colour {taken.pop()}: map.parquet has a column of its own of that name")
    return {name: column_colours(table, name) for name in dict.fromkeys(names)}


def _gather_rare(codes: NDArray[np.int64], names: list[str], most: int) -> ClassColours:
    palette = [CLASS_COLOURS[index % len(CLASS_COLOURS)] for index in range(most)]
    if len(names) <= most:
        return ClassColours(codes, tuple(names), tuple(palette[: len(names)]))
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    kept = np.sort(np.argsort(-counts, kind="stable")[:most])
    new = np.full(len(names) + 1, most)
    new[kept] = np.arange(most)
    new[-1] = -1  # unknown stays unknown
    others = f"{len(names) - most} others"
    return ClassColours(new[codes], (*(names[k] for k in kept), others), (*palette, "#8C8C8C"))
