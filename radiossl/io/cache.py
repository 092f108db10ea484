"""Caches: kept to save time later; a cache that cannot be used never stops a command."""

from __future__ import annotations

import atexit
import functools
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from radiossl.io.errors import UnwritableError


def cache_folder(name: str) -> Path:
    """Return a folder, which need not exist, in `RADIOSSL_CACHE` or in ``radiossl`` in `XDG_CACHE_HOME` or ~/.cache."""
    if folder := os.environ.get("RADIOSSL_CACHE"):
        return Path(folder) / name
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "radiossl" / name


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without a home, as in some containers
        return temporary_folder()


@functools.cache
def temporary_folder() -> Path:
    """Return a folder that takes the place of one that cannot be written, until this process ends."""
    holder = TemporaryDirectory(prefix="radiossl-")
    atexit.register(holder.cleanup)
    return Path(holder.name)


@contextmanager
def optional_cache(place: str | os.PathLike[str]) -> Iterator[None]:
    """Turn a failure to use a cache into a warning of one line that names its folder, and go on after the body."""
    try:
        yield
    except (OSError, RuntimeError, UnwritableError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        warnings.warn(f"{place}: the cache cannot be used ({reason}); going on without it", stacklevel=4)
