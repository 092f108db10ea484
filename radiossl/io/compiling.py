"""Compiling loops over pixels: for one CPU core each, without the interpreter's lock, cached between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

from radiossl.io.cache import optional_cache

_Function = TypeVar("_Function", bound=Callable[..., object])


def exact_kernel(function: _Function) -> _Function:
    """Compile a function without changing its arithmetic."""
    return _compiled(function, fastmath=False)


def kernel(function: _Function) -> _Function:
    """Compile a function whose products and sums may be fused; values that are not finite keep their meaning."""
    return _compiled(function, fastmath={"contract", "nsz"})


def reduction(function: _Function) -> _Function:
    """Compile a function in which the terms of a sum may be added in any order too."""
    return _compiled(function, fastmath={"contract", "nsz", "reassoc"})


def _compiled(function: _Function, fastmath: bool | set[str]) -> _Function:
    compiled: Any = njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    with optional_cache("the folder of compiled functions, NUMBA_CACHE_DIR"):
        compiled.enable_caching()
        cache = compiled._cache  # numba lets a full disk stop the program
        save = cache.save_overload

        def save_if_possible(*arguments: object) -> None:
            with optional_cache(cache.cache_path):
                save(*arguments)

        cache.save_overload = save_if_possible
    return cast(_Function, compiled)
