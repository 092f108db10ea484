"""Reading the pickled batches in which radio data sets are published, without running what may be hidden in them.

A pickle can call any function. The batches of MiraBest, CRUMB, FR-DEEP and RGZ need four names of numpy to be rebuilt
(`_reconstruct`, `scalar`, `ndarray`, `dtype`); everything else is refused.
"""

from __future__ import annotations

import io
import os
import pickle
from typing import Any

import numpy as np

from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file

_NUMPY = {
    "_reconstruct": np.ndarray([]).__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
    "ndarray": np.ndarray,
    "dtype": np.dtype,
}
_MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
#: Largest file that is read, in bytes; the largest published batch has 48 MB.
_LARGEST = 2**30


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES and name in _NUMPY:
            return _NUMPY[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside of the file")


def read_batch(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a pickled batch as published: a dictionary of lists, texts, numbers and numpy arrays.

    Raises `RadiosslError` if the file is missing, damaged, no dictionary, or asks for anything but numpy arrays of
    plain numbers or text.
    """
    path = existing_file(path)
    if path.stat().st_size > _LARGEST:
        raise RadiosslError(f"{path}: {path.stat().st_size} bytes, a published batch is far smaller; it is not read")
    content = path.read_bytes()
    try:
        batch = _Restricted(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise RadiosslError(f"{path}: not a published batch, it is refused ({error})") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise RadiosslError(f"{path}: damaged batch ({type(error).__name__}: {error}); fetch it again") from None
    if not isinstance(batch, dict) or not all(isinstance(key, str) for key in batch):
        raise RadiosslError(f"{path}: holds a {type(batch).__name__}, a batch is a dictionary of named columns")
    return batch


def batch_columns(path: str | os.PathLike[str], batch: dict[str, Any], *names: str) -> list[list[Any]]:
    """Return columns of a batch as lists of one length; raise `RadiosslError` if one is missing or they differ."""
    missing = [name for name in names if name not in batch]
    if missing:
        raise RadiosslError(f"{path}: no column {missing[0]!r} in the batch; there are {', '.join(batch)}")
    columns = [list(batch[name]) for name in names]
    if len({len(column) for column in columns}) != 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in zip(names, columns, strict=True))
        raise RadiosslError(f"{path}: columns of different lengths ({lengths})")
    return columns


def batch_image(path: str | os.PathLike[str], data: Any, side: int, number: int) -> np.ndarray[Any, Any]:
    """Return one image of a batch, flat or square, as float32 (side, side)."""
    image = np.asarray(data)
    if image.size != side * side or image.dtype.kind not in "uif":
        raise RadiosslError(
            f"{path}: image {number} has {image.size} values of type {image.dtype}, expected {side} x {side} numbers"
        )
    return image.reshape(side, side).astype(np.float32)
