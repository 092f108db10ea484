"""Exchanging two folders in one step, where the operating system can."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

#: `AT_FDCWD` and `RENAME_EXCHANGE` of Linux's renameat2(2), `RENAME_SWAP` of macOS' renamex_np(2).
_HERE, _EXCHANGE, _SWAP = -100, 2, 2


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places at once; return False, nothing done, if system or file system cannot."""
    call = _system_call()
    return call is not None and call(os.fsencode(one), os.fsencode(other)) == 0


@functools.cache
def _system_call() -> Callable[[bytes, bytes], int] | None:
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            rename = library.renameat2
            return lambda one, other: rename(_HERE, one, _HERE, other, _EXCHANGE)
        if sys.platform == "darwin":
            rename = library.renamex_np
            return lambda one, other: rename(one, other, _SWAP)
    except (OSError, AttributeError):  # a C library from before it
        pass
    return None
