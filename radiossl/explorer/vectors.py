"""The features of a table in memory, in the index that searches them: exact, or in half the memory for many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from radiossl.features.feature_file import FeatureFile
from radiossl.features.vector_index import VectorIndex

#: Beyond so many sources unit vectors are kept in float16: a million of dimension 512 take 1 GB then, not 2.
EXACT_ROWS = 100_000


def read_vectors(file: FeatureFile, done: Callable[[float], None], exact_rows: int = EXACT_ROWS) -> VectorIndex:
    """Read the features of a file piece by piece into an index; its `array` holds them without a second copy.

    `done` is called now and then with the part that has been read, 0 to 1. Of more than `exact_rows` rows similarities
    are rounded to about 0.0001.
    """
    kind: Literal["flat", "flat-fp16"] = "flat" if len(file) <= exact_rows else "flat-fp16"
    return VectorIndex.from_batches(file.batches(), file.dimension, kind, lambda count: done(count / len(file)))
