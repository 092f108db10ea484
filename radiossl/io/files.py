"""Writing files and folders all or nothing, and reading them back."""

from __future__ import annotations

import ctypes
import functools
import glob
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from radiossl.io.checksums import (
    MANIFEST,
    SEAL,
    file_checksum,
    folder_kind,
    has_broken_seal,
    manifest_files,
    sealed,
    write_manifest,
)
from radiossl.io.errors import RadiosslError, UnwritableError, naming_full_disk
from radiossl.io.locks import held_temporary, locked_if_free
from radiossl.io.progress import logger

#: How names begin of what is being written, and of a folder that is being replaced; eight random characters follow.
_NEW, _OLD = ".tmp-", ".old-"
#: Without locks, temporary files that are older than this are left over from a killed process.
_ABANDONED_SECONDS = 24 * 3600

#: A file of this name is in a result folder while its files are replaced one by one.
INCOMPLETE = ".incomplete"

PathLike = str | os.PathLike[str]

_UMASK_LOCK = Lock()
_SWEPT: set[Path] = set()


def _umask() -> int:
    with _UMASK_LOCK:  # it can only be read by changing it, which a thread beside this one must not do meanwhile
        mask = os.umask(0)
        os.umask(mask)
    return mask


@contextmanager
def atomic_file(path: str | os.PathLike[str], part: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The temporary name keeps the suffixes of `path`, for writers that choose the format by them; its folder is made if
    needed. After a loss of power there is the old file or the new one. Files in a folder of `staged_folder` are brought
    to the disk with the folder; so is a `part`, one of several files of a folder, by the caller (`sync`).

    Raises `UnwritableError` if nothing can be written there, `DiskFullError` if there is no room.
    """
    path = Path(path)

    def make() -> Path:
        with _creating(path):
            handle, name = tempfile.mkstemp(prefix=_NEW, suffix="-" + path.name, dir=path.parent)
        os.close(handle)
        return Path(name)

    with held_temporary(make) as temporary:
        try:
            with naming_full_disk(path, probe=temporary):
                yield temporary
                temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files; results are for sharing
                staged = any(map(is_temporary, path.parents))
                if not staged:
                    sync(temporary)
                temporary.replace(path)
                if not (staged or part):
                    sync(path.parent)
                logger.info("wrote %s", path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | os.PathLike[str], kind: str = "", checksums: bool = True) -> Iterator[Path]:
    """Yield a temporary folder, which takes the place of `path` on success and vanishes on failure.

    An existing folder at `path` is exchanged for the new one in one step, where the system can; where it cannot, and
    the process is killed between two steps, `remove_strays` puts the old one back. The new folder gets a manifest with
    the checksums of its files, unless it has one of its own (`checksums=False`; whoever calls has seen then that the
    existing folder may go). Raises as `atomic_file`, and `RadiosslError` if the existing folder is of another `kind`
    (such as ``backbone``), or holds files that are neither of the old one nor of the new one.
    """
    path = Path(path)
    check_folder(path, kind)
    with staged_folder(path) as temporary:
        yield temporary
        if checksums:
            write_manifest(temporary, kind)
            if other := other_file(path, {*manifest_files(path), *manifest_files(temporary)}):
                raise RadiosslError(f"{path}: holds other files, such as {other}; choose a new or empty folder")
        put_in_place(temporary, path)


def other_file(folder: Path, known: Set[str]) -> str | None:
    """Return the name of a file in a folder that is neither its manifest nor one of some others; None if all are."""
    names = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir())
    return next((name for name in names if name != MANIFEST and name not in known), None)


def check_folder(path: PathLike, kind: str = "") -> None:
    """Raise `RadiosslError` where no folder of a kind can be written: before a long computation, not after it.

    That is, if there is a file, or a folder that radiossl made and that is of another kind, or the disk refuses.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise RadiosslError(f"{path}: is a file, a folder was expected; choose another --out")
    if kind and (found := folder_kind(path)) not in ("", kind):
        raise RadiosslError(f"{path}: holds a {found}, no {kind}; choose another --out")
    check_writable(path)


def check_writable(path: PathLike) -> None:
    """Raise `UnwritableError` where nothing can be written beside a file or folder: before a long computation."""
    real = Path(os.path.realpath(path))
    there = next((folder for folder in real.parents if folder.exists()), real)
    if not there.is_dir():
        raise UnwritableError(path, f"{there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UnwritableError(path, f"{there} is read-only")


@contextmanager
def staged_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new folder beside `path`, of the same name in a hidden one; what is left of it is removed at the end."""
    path = Path(path)
    if path.name in ("", ".."):
        raise RadiosslError(f"{path}: is no name for a new folder; choose another --out")

    def make() -> Path:
        with _creating(path):
            return Path(tempfile.mkdtemp(prefix=_NEW, suffix="-" + path.name, dir=path.parent))

    with held_temporary(make) as holder:
        try:
            with naming_full_disk(path, probe=holder / "probe"):
                (holder / path.name).mkdir()
                yield holder / path.name
        finally:
            shutil.rmtree(holder, ignore_errors=True)


def put_in_place(staged: Path, path: Path) -> None:
    """Bring a folder of `staged_folder` to the disk and replace `path` with it, which need not exist."""
    settle(staged)
    if not path.exists():
        staged.replace(path)
    elif not exchange(staged, path):
        old = path.with_name(_OLD + staged.parent.name.removeprefix(_NEW))
        path.replace(old)
        staged.replace(path)
        shutil.rmtree(old)
    sync(path.parent)


@functools.cache
def _exchanging_call() -> Callable[[bytes, bytes], int] | None:
    """Linux's renameat2(2) with `RENAME_EXCHANGE`, macOS' renamex_np(2) with `RENAME_SWAP`."""
    with suppress(OSError, AttributeError):  # a C library from before it
        if sys.platform == "linux":
            rename, here = ctypes.CDLL(None).renameat2, -100  # AT_FDCWD
            return lambda one, other: rename(here, one, here, other, 2)
        if sys.platform == "darwin":
            swap = ctypes.CDLL(None).renamex_np
            return lambda one, other: swap(one, other, 2)
    return None


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; return False, nothing done, where the system cannot."""
    call = _exchanging_call()
    return call is not None and call(os.fsencode(one), os.fsencode(other)) == 0


def settle(folder: Path) -> None:
    """Give everything in a folder the usual permissions, and wait until it is on the disk."""
    mask = _umask()
    files = [*sorted((file for file in folder.rglob("*") if not file.is_symlink()), reverse=True), folder]
    for file in files:
        file.chmod((0o777 if file.is_dir() else 0o666) & ~mask)  # some writers make private files
    for file in files:  # what is in a folder before the folder; after all changes, so that the first wait is for all
        sync(file)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk, so that no loss of power can take it back."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        with suppress(OSError) if path.is_dir() else ExitStack():  # some file systems cannot, for folders
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _creating(path: Path) -> Iterator[None]:
    """Make the folder of `path`; if something beside it cannot be made, name `path` in the error."""
    try:
        with naming_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if (folder := path.parent.absolute()) not in _SWEPT:  # once in the life of this process
                _SWEPT.add(folder)
                for stray in folder.glob(f"{_NEW}????????-*"):
                    _remove_if_abandoned(stray)
            yield
    except OSError as error:
        raise UnwritableError(path, error.strerror) from None


def is_temporary(path: Path) -> bool:
    """Return whether a file or folder is still being written, or was left by a killed process."""
    return path.name.startswith(_NEW)


def remove_strays(folder: str | os.PathLike[str], name: str | None = None) -> None:
    """Remove what killed processes were writing in a folder, or of it only the file or folder called `name`.

    What a living process is writing stays. A folder that was being replaced when nothing was in its place is put back.
    """
    wanted = "*" if name is None else glob.escape(name)
    for prefix in (_NEW, _OLD):
        for stray in Path(folder).glob(f"{prefix}????????-{wanted}"):
            original = stray.with_name(stray.name[len(prefix) + 9 :])
            if prefix == _OLD and not original.exists():
                stray.replace(original)
            else:
                _remove_if_abandoned(stray)


def _remove_if_abandoned(stray: Path) -> None:
    with suppress(FileNotFoundError), locked_if_free(stray) as state:
        old = time.time() - stray.stat().st_mtime > _ABANDONED_SECONDS
        if state == "ours" or (state == "unknown" and old):
            if stray.is_dir():
                shutil.rmtree(stray, ignore_errors=True)
            else:
                stray.unlink(missing_ok=True)


# Text and JSON --------------------------------------------------------------------------------------------------------


def write_text(path: str | os.PathLike[str], text: str, part: bool = False) -> None:
    """Write a UTF-8 text file atomically; `part` as in `atomic_file`."""
    with atomic_file(path, part) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any, seal: bool = False, part: bool = False) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinity become null, which every reader takes.

    With `seal`, a JSON object gets its own checksum, which `read_json` checks; `part` as in `atomic_file`.
    """
    plain = _plain(value)
    write_text(path, json.dumps(sealed(plain) if seal else plain, indent=2, ensure_ascii=False) + "\n", part)


def flat_keys(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots."""
    if not isinstance(value, dict):
        return {name or "value": value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= flat_keys(item, f"{name}.{key}" if name else str(key))
    return flat


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; raise `RadiosslError` naming it when it is missing, damaged or not as it was written.

    It is compared with its own checksum, if it is sealed, and with that in its folder's manifest, if there is one.
    """
    path = existing_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # encoding, syntax, a number of thousands of digits, depth
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise RadiosslError(f"{path}: not a readable JSON file ({reason})") from None
    listed = manifest_files(path.parent).get(path.name)
    if has_broken_seal(content) or (listed is not None and listed != file_checksum(path)):
        raise RadiosslError(
            f"{path}: is not as it was written: the file is damaged, or was edited (then delete its line {SEAL!r},"
            f" or the file {MANIFEST} beside it)"
        )
    return {key: value for key, value in content.items() if key != SEAL} if isinstance(content, dict) else content


def one_or_more(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return names as a tuple; a text is one name, not its letters.

    >>> one_or_more("flux"), one_or_more(["ra", "dec"])
    (('flux',), ('ra', 'dec'))
    """
    return (names,) if isinstance(names, str) else tuple(names)


def path_list(paths: PathLike | Iterable[PathLike]) -> list[PathLike]:
    """Return paths as a list, one alone too; raise `RadiosslError` if one is empty, which would be this folder."""
    listed = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if "" in listed:
        raise RadiosslError("an empty path: expected a file or folder, such as . for this one")
    return listed


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a `Path`; raise `RadiosslError` if it is not a file, or its folder is incomplete."""
    path = Path(path)
    if (path.parent / INCOMPLETE).exists():
        what = "a command was interrupted while it replaced the results here; give the same command again"
        raise RadiosslError(f"{path.parent}: {what}")
    if not path.is_file():
        what = "is a folder, a file was expected" if path.is_dir() else "no such file"
        if what == "no such file" and path.exists():  # a pipe, as that of <(command) in a shell, or a device
            what = "is no ordinary file; write what it gives to one first"
        raise RadiosslError(f"{path}: {what}")
    return path


def files_among(paths: Iterable[Path]) -> list[Path]:
    """Return those of some paths that are files, sorted; a warning names links that lead nowhere."""
    found = sorted(paths)
    broken = [path for path in found if path.is_symlink() and not path.exists()]
    if broken:
        names = ", ".join(map(str, broken[:3])) + (", ..." if len(broken) > 3 else "")
        logger.warning("left out, since what they link to is gone: %s (%d in all)", names, len(broken))
    return [path for path in found if path.is_file()]


def files_below(folder: Path, endings: tuple[str, ...] = ("",)) -> list[Path]:
    """Return the files in a folder and below it, sorted, whose names in lower case end so.

    Links to folders are followed, but for those that lead back to where they are. A warning names what is lost:
    folders that cannot be read, and links that lead nowhere.
    """

    def lost(error: OSError) -> None:
        logger.warning("left out, since it cannot be read: %s (%s)", error.filename, error.strerror)

    found = []
    for root, folders, names in os.walk(folder, onerror=lost, followlinks=True):
        here = Path(os.path.realpath(root))
        folders[:] = [name for name in folders if Path(os.path.realpath(Path(root, name))) not in (here, *here.parents)]
        found += [Path(root, name) for name in names if name.lower().endswith(endings)]
    return files_among(found)


def file_stamp(path: str | os.PathLike[str]) -> tuple[str, int, int]:
    """Return the path, size and modification time of a file, which identify its content."""
    known = existing_file(path).stat()
    return str(Path(path).resolve()), known.st_size, known.st_mtime_ns


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
