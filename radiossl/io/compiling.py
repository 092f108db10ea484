"""How loops over pixels are compiled: for one CPU core each, without the interpreter's lock, kept between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., object])


def kernel(function: _Function) -> _Function:
    """Compile a function whose products and sums may be fused; what is not finite keeps its meaning."""
    return njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz"})(function)  # type: ignore


def reduction(function: _Function) -> _Function:
    """Compile a function in which the terms of a sum may be added in any order too."""
    compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})
    return compiled(function)  # type: ignore
