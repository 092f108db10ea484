"""Checksums of what radiossl writes, so that a flipped bit is noticed: where they are kept, and how they are checked.

A *seal* is a JSON object's own checksum, under the key ``checksum``. Manifests (sealed JSON files) name the other files
of their folder with their checksums under ``checksums``. Parquet tables have a checksum in every page.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiossl.io.errors import RadiosslError

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Manifest of folders that have no other.
MANIFEST = ".checksums.json"
SEAL, FILES, KIND = "checksum", "checksums", "kind"
#: What folders with manifests of their own are, by these.
_MARKS = {"store.json": "cutout store", "index.json": "similarity index", "recipe.yaml": "training run"}
#: A thread is told of this many bytes at once: each message costs as much as hashing 10 kB.
_HASHED_BYTES = 2**20


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_checksum(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in the form of manifests, ``sha256:...``."""
    return f"sha256:{file_sha256(path)}"


class ChecksumWriter(io.BufferedWriter):
    """A new file, whose checksum a thread calculates while it is written; known once the file is closed."""

    checksum: str

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(io.FileIO(path, "w"))
        self._digest, self._thread = hashlib.sha256(), ThreadPoolExecutor(1)
        self._hashed: list[Future[None]] = []
        self._waiting: list[Buffer] = []
        self._bytes = 0

    def write(self, data: Buffer) -> int:
        """Write data, which must not change any more."""
        self._waiting.append(data)
        self._bytes += memoryview(data).nbytes
        if self._bytes > _HASHED_BYTES:
            self._hash()
        return super().write(data)

    def _hash(self) -> None:
        self._hashed.append(self._thread.submit(self._update, self._waiting))
        self._waiting, self._bytes = [], 0

    def _update(self, parts: list[Buffer]) -> None:
        for part in parts:
            self._digest.update(part)

    def close(self) -> None:
        """Close the file, and wait for its checksum; an error in its thread is raised here."""
        if self.closed:
            return
        super().close()
        self._hash()
        self._thread.shutdown()
        for part in self._hashed:
            part.result()
        self.checksum = f"sha256:{self._digest.hexdigest()}"


def sealed(content: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its own checksum in it."""
    rest = {key: value for key, value in content.items() if key != SEAL}
    canonical = json.dumps(rest, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode()
    return {**rest, SEAL: f"sha256:{hashlib.sha256(canonical).hexdigest()}"}


def has_broken_seal(content: Any) -> bool:
    """Return whether a JSON object has a checksum that is not its own, or is a manifest without one."""
    return _has_seal(content) and sealed(content)[SEAL] != content.get(SEAL)


def _has_seal(content: Any) -> bool:
    return isinstance(content, dict) and bool({SEAL, FILES} & content.keys())


def folder_checksums(folder: Path, skip: Iterable[str] = ()) -> dict[str, str]:
    """Return the checksums of all files in a folder and its folders, by their names relative to it."""
    files = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {name: file_checksum(file) for name, file in files.items() if name not in {MANIFEST, *skip}}


def write_manifest(folder: Path, kind: str) -> None:
    """Write the checksums of all files of a finished folder into it, and what it is."""
    from radiossl.io.files import write_json

    write_json(folder / MANIFEST, {KIND: kind, FILES: folder_checksums(folder)}, seal=True)


def folder_kind(folder: Path) -> str:
    """Return what a folder that radiossl made is, "" if it made none or it cannot be told."""
    marked = next((kind for name, kind in _MARKS.items() if (folder / name).is_file()), "")
    content = _read(folder / MANIFEST)
    return marked or (str(content.get(KIND, "")) if isinstance(content, dict) else "")


def manifest_files(folder: Path) -> dict[str, str]:
    """Return what a folder's own manifest says of its files; nothing without one, or with a damaged one."""
    return _named_files(_read(folder / MANIFEST))


def _named_files(content: Any) -> dict[str, str]:
    """The checksums of other files in a sealed JSON object; none in a damaged one."""
    files = content.get(FILES) if isinstance(content, dict) and not has_broken_seal(content) else None
    return {str(name): str(value) for name, value in files.items()} if isinstance(files, dict) else {}


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


# Verifying ------------------------------------------------------------------------------------------------------------


@dataclass
class Verification:
    """What `verify` found."""

    #: Files that are as they were written.
    whole: list[Path] = field(default_factory=list)
    #: Files that have no checksum: of version 0.1, or not written by radiossl.
    without: list[Path] = field(default_factory=list)
    #: What is wrong, by file.
    damaged: dict[Path, str] = field(default_factory=dict)


def verify(path: str | os.PathLike[str]) -> Verification:
    """Compare files with the checksums that were written with them.

    Parameters
    ----------
    path
        A store, backbone, run, index, result folder or Parquet table, or a folder that holds such ones.

    Raises
    ------
    RadiosslError
        If there is nothing at `path`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from radiossl.io.files import write_json
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_json(folder / "config.json", {"size": 224}, seal=True)
    >>> verify(folder).damaged
    {}
    >>> _ = (folder / "config.json").write_text((folder / "config.json").read_text().replace("224", "225"))
    >>> list(verify(folder).damaged.values())
    ['is not as it was written']
    """
    path, found = Path(path), Verification()
    if not path.exists():
        raise RadiosslError(f"{path}: no such file or folder")
    if path.is_dir():
        _verify_folder(path, found)
    else:
        _verify_file(path, None, found)
    return found


def _verify_folder(folder: Path, found: Verification, known: frozenset[Path] = frozenset()) -> None:
    from radiossl.io.files import INCOMPLETE

    if (folder / INCOMPLETE).exists():
        found.damaged[folder] = "a command was interrupted while it replaced the results here"
    manifests = sorted(folder.glob("*.json")) + sorted(folder.glob(".*.json"))
    listed = {folder / name: value for file in manifests for name, value in _named_files(_read(file)).items()}
    for file, checksum in listed.items():
        if not file.resolve().is_relative_to(folder.resolve()):
            found.damaged[file] = "is outside of the folder whose manifest names it"
        elif not file.is_file():
            found.damaged[file] = "is missing"
        else:
            _verify_file(file, checksum, found)
    known = known | listed.keys()
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            _verify_folder(entry, found, known)
        elif entry.is_file() and entry not in known and entry.name != INCOMPLETE:
            _verify_file(entry, None, found)


def _verify_file(file: Path, checksum: str | None, found: Verification) -> None:
    right = None  # nothing to compare it with
    if checksum is not None:
        right = file_checksum(file) == checksum
    elif file.suffix == ".json":
        content = _read(file)
        if content is None or file.name == MANIFEST or _has_seal(content):
            right = _has_seal(content) and not has_broken_seal(content)
    elif file.suffix == ".parquet":
        from radiossl.io.parquet import verify_parquet

        right = verify_parquet(file)
    if right:
        found.whole.append(file)
    elif right is False:
        found.damaged[file] = "is not as it was written"
    elif not file.name.startswith("."):  # locks
        found.without.append(file)
