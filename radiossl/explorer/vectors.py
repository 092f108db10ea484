"""The features of a table in memory, in the index that searches them: exact, or in half the memory for many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.features.feature_file import FeatureFile
from radiossl.features.neighbours import unit
from radiossl.features.vector_index import VectorIndex

#: Beyond so many sources unit vectors are kept in float16: a million of dimension 512 take 1 GB then, not 2.
EXACT_ROWS = 100_000


def read_vectors(
    file: FeatureFile, done: Callable[[float], None], exact_rows: int = EXACT_ROWS
) -> tuple[VectorIndex, NDArray[np.floating]]:
    """Read the features of a file piece by piece into an index.

    Parameters
    ----------
    file
        The features.
    done
        Is told now and then which part of them has been read, 0 to 1.
    exact_rows
        Up to so many rows are searched exactly; of more, similarities are rounded to about 0.0001.

    Returns
    -------
    index, vectors
        The vectors, shape (n, feature_dim), float32 or float16, are those that the index holds: no second copy.
    """
    import faiss

    untyped: Any = faiss
    exact = len(file) <= exact_rows
    if exact:
        index = untyped.IndexFlatIP(file.dimension)
    else:
        kind = untyped.ScalarQuantizer.QT_fp16
        index = untyped.IndexScalarQuantizer(file.dimension, kind, untyped.METRIC_INNER_PRODUCT)
    for batch in file.batches():
        index.add(unit(batch))
        done(index.ntotal / len(file))
    return VectorIndex([index], "flat"), _held_by(index, exact)


def _held_by(index: Any, exact: bool) -> NDArray[np.floating]:
    """The memory of the index as an array; the index must live as long as the array, as it does in a session."""
    import faiss

    shape = (index.ntotal, index.d)
    if exact:
        return faiss.rev_swig_ptr(index.get_xb(), shape[0] * shape[1]).reshape(shape)
    return faiss.rev_swig_ptr(index.codes.data(), index.codes.size()).view(np.float16).reshape(shape)
