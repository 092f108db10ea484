"""Locks between processes: one writer at a time, and which temporary files are still being written.

They are the operating system's (`flock`): free again as soon as their holder ends, however that comes about. Some
clusters' file systems have none. Then nothing is known of other writers, which is said once, and work goes on.
"""

from __future__ import annotations

import errno
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from radiossl.io.errors import RadiosslError, UnwritableError, naming_full_disk

#: What the system answers when another process holds a lock. Anything else means that it cannot lock there.
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
_POLL_SECONDS = 0.01

State = Literal["ours", "held", "unknown"]


@contextmanager
def only_writer(path: str | os.PathLike[str], wait_s: float = 0.0) -> Iterator[None]:
    """Keep every other process of radiossl from writing `path`, a file or folder, at the same time.

    The lock is a hidden file beside `path`. What a holder that was killed left half-written beside `path` is removed.
    Where the file system has no locks, a warning says so and the body runs without one. Raises `RadiosslError` if
    another process still holds it after `wait_s` seconds, or nothing can be written there.
    """
    from radiossl.io.files import remove_strays

    path = Path(path)
    lock = path.with_name(f".{path.name}.lock")
    try:
        with naming_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.open("a").close()
    except PermissionError:  # a folder of one's own in one that is not: nothing to lock with
        yield
        return
    except OSError as error:
        raise UnwritableError(path, error.strerror) from None
    handle, state = _acquire(lock, time.monotonic() + wait_s)
    try:
        if state == "held":
            holder = ""
            with suppress(OSError):
                holder = lock.read_text(encoding="utf-8", errors="replace").strip()
            who = f"another radiossl process is writing it{f' ({holder})' if holder else ''}"
            raise RadiosslError(f"{path}: {who}; wait until it ends")
        if state == "unknown":
            warnings.warn(f"{path}: this file system has no locks; do not run a second command on it", stacklevel=3)
        with suppress(OSError):  # on a full disk the lock holds without saying whose it is
            os.ftruncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
        try:
            remove_strays(path.parent, path.name)
            yield
        finally:
            lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _acquire(lock: Path, deadline: float) -> tuple[int, State]:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        state = try_lock(handle)
        if state == "held" and time.monotonic() < deadline:
            os.close(handle)
            time.sleep(_POLL_SECONDS)
            continue
        # Its last holder may have removed the file between the two steps: then this lock guards nothing.
        if state != "ours" or _is_at(lock, handle):
            return handle, state
        os.close(handle)


def _is_at(path: Path, handle: int) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_ino == os.fstat(handle).st_ino
    return False


def try_lock(handle: int) -> State:
    """Lock an open file or folder until it is closed: ``ours``, ``held`` by another, or ``unknown`` without locks."""
    if fcntl is None:
        return "unknown"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return "held" if error.errno in _HELD else "unknown"
    return "ours"


@contextmanager
def held_temporary(make: Callable[[], Path]) -> Iterator[Path]:
    """Make a temporary file or folder and yield it; a lock on it shows other processes that it is being written."""
    while True:
        path = make()
        with locked_if_free(path) as state:
            # A process that removes strays may have taken it for one before it was locked.
            if state != "held" and path.exists():
                yield path
                return


@contextmanager
def locked_if_free(path: Path) -> Iterator[State]:
    """Lock a temporary file or folder while the body runs, if no process is writing it: see `try_lock`."""
    try:
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:
        yield "unknown"
        return
    try:
        yield try_lock(handle)
    finally:
        os.close(handle)
