"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import errno
import glob
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

from radiossl.io.errors import DiskFullError, RadiosslError

#: How names begin of what is being written, and of a folder that is being replaced; eight random characters follow.
_NEW, _OLD = ".tmp-", ".old-"
#: What the system answers where there is no room.
_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it is larger than the system allows a file to be",
}
_PROBE_BYTES = 2**20
#: Between two attempts to take a lock, in seconds.
_RETRY_S = 0.01

_UMASK_LOCK = Lock()


def _umask() -> int:
    with _UMASK_LOCK:  # it can only be read by changing it, which a thread beside this one must not do meanwhile
        mask = os.umask(0)
        os.umask(mask)
    return mask


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The temporary name keeps the suffixes of `path`, for writers that choose the format by them.

    Raises
    ------
    RadiosslError
        If nothing can be written there.
    DiskFullError
        If there is no room.
    """
    path = Path(path)
    with _creating(path):
        handle, name = tempfile.mkstemp(prefix=_NEW, suffix="-" + path.name, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with naming_full_disk(path, probe=temporary):
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files; results are for sharing
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it takes the name `path` on success and vanishes on failure.

    An existing folder at `path` is replaced only after the new one is complete. Raises as `atomic_file`.
    """
    path = Path(path)
    with _creating(path):
        temporary = Path(tempfile.mkdtemp(prefix=_NEW, suffix="-" + path.name, dir=path.parent))
    try:
        with naming_full_disk(path, probe=temporary / "probe"):
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            for file in temporary.rglob("*"):
                if file.is_file():  # some writers, such as that of safetensors, make private files too
                    file.chmod(0o666 & ~_umask())
            if path.exists():
                old = temporary.with_name(_OLD + temporary.name.removeprefix(_NEW))
                path.replace(old)
                temporary.replace(path)
                shutil.rmtree(old)
            else:
                temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _creating(path: Path) -> Iterator[None]:
    """Make the folder that `path` is to be in, and speak of `path` if something beside it cannot be made."""
    try:
        with naming_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield
    except OSError as error:
        raise RadiosslError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None


def is_temporary(path: Path) -> bool:
    """Return whether this is a file or folder that is being written, or was when its process was killed."""
    return path.name.startswith(_NEW)


def remove_strays(folder: str | os.PathLike[str], name: str | None = None) -> None:
    """Remove what `atomic_file` and `atomic_folder` left in a folder when their process was killed.

    Parameters
    ----------
    folder
        Need not exist. Nobody else may be writing in it what is to be removed.
    name
        Of the file or folder that was being written; None for all.
    """
    wanted = "*" if name is None else glob.escape(name)
    for prefix in (_NEW, _OLD):
        for stray in Path(folder).glob(f"{prefix}????????-{wanted}"):
            if stray.is_dir():
                shutil.rmtree(stray, ignore_errors=True)
            else:
                stray.unlink(missing_ok=True)


# Full disks -----------------------------------------------------------------------------------------------------------


@contextmanager
def naming_full_disk(path: str | os.PathLike[str], probe: Path | None = None) -> Iterator[None]:
    """Turn an error of the body that comes from a full disk into a `DiskFullError` that names `path`.

    Parameters
    ----------
    path
        What the body writes.
    probe
        File that may be lengthened to find out whether the disk is full, where an error does not tell: libraries in
        other languages often say no more than that they could not write.
    """
    try:
        yield
    except Exception as error:
        reason = _no_room(error, probe)
        if reason is None:
            raise
        raise DiskFullError(path, reason) from error


def _no_room(error: BaseException, probe: Path | None) -> str | None:
    """What kind of room was missing, None if the error came from something else."""
    if isinstance(error, DiskFullError):
        return str(error.args[1])
    if isinstance(error, OSError) and error.errno is not None:
        return _NO_ROOM.get(error.errno)
    if isinstance(error, RadiosslError) or probe is None:
        return None
    try:
        with probe.open("ab") as stream:
            stream.write(bytes(_PROBE_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as refused:
        return _NO_ROOM.get(refused.errno or 0)
    return None


# One writer at a time -------------------------------------------------------------------------------------------------


@contextmanager
def only_writer(path: str | os.PathLike[str], wait_s: float = 0.0) -> Iterator[None]:
    """Keep every other process of radiossl from writing `path`, a file or folder, at the same time.

    The lock is a hidden file beside `path`, held through the operating system: it is free again as soon as its holder
    ends, however that comes about. What a holder that was killed left half-written beside `path` is removed.

    Parameters
    ----------
    path
        What is going to be written.
    wait_s
        Seconds to wait for another process that is writing it.

    Raises
    ------
    RadiosslError
        If another process holds it, or nothing can be written there.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
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
        raise RadiosslError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None
    with _locked(lock, fcntl, time.monotonic() + wait_s) as stream:
        if stream is None:
            holder = ""
            with suppress(FileNotFoundError):
                holder = lock.read_text(encoding="utf-8").strip()
            raise RadiosslError(
                f"{path}: another radiossl process is writing it{f' ({holder})' if holder else ''}; wait until it ends"
            )
        try:
            with suppress(OSError):  # on a full disk the lock holds without saying whose it is
                os.write(stream.fileno(), f"process {os.getpid()} on {platform.node()}".encode())
            remove_strays(path.parent, path.name)
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def _locked(lock: Path, fcntl: Any, until: float) -> Iterator[TextIO | None]:
    """Yield the locked file, or None if another process still holds it at that time."""
    while True:
        with lock.open("a", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() < until:
                    time.sleep(_RETRY_S)
                    continue
                yield None
                return
            # Its last holder may have removed the file between the two steps: then this lock guards nothing.
            if _inode(lock) == os.fstat(stream.fileno()).st_ino:
                stream.truncate(0)
                yield stream
                return


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:  # removed by its last holder meanwhile
        return None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity become null, which every reader takes."""
    write_text(path, json.dumps(_plain(value), indent=2, ensure_ascii=False) + "\n")


def flat_keys(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots."""
    if not isinstance(value, dict):
        return {name or "value": value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= flat_keys(item, f"{name}.{key}" if name else str(key))
    return flat


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; raise `RadiosslError` naming it when it is missing or damaged."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RadiosslError(f"{path}: no such file") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RadiosslError(f"{path}: not a readable JSON file ({error})") from None


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a `Path`, or raise `RadiosslError` if it is not a file."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder, a file was expected" if path.is_dir() else "no such file"
        raise RadiosslError(f"{path}: {what}")
    return path


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    return value
