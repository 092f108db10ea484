"""Unpacking an untrusted tar or zip archive: nothing outside its folder, no links, no bombs."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple, cast

from radiossl.datasets.download import RECORD, Download, path_parts
from radiossl.io.errors import RadiosslError, reason_of
from radiossl.io.progress import track_bytes

#: Far above any published set, far below what fills a file system with empty files.
MAX_MEMBERS = 1_000_000
_BLOCK = 2**20
#: Longest piece that is read from a tar at once. Only a header made to fill the memory asks for more.
_MAX_READ = 4 * _BLOCK
_MAX_LINK = 4096


class BadArchiveError(RadiosslError):
    """An archive that will never unpack, so that keeping it makes no sense."""


class _Member(NamedTuple):
    """One entry of an archive: its path from the archive's top, and a file's content, or where a link leads."""

    parts: tuple[str, ...]
    size: int = 0
    stream: IO[bytes] | None = None
    link: tuple[str, ...] | None = None


@dataclass
class _Allowance:
    """How much an archive may still unpack to."""

    label: str
    max_bytes: int
    advance: Callable[[int], None]
    bytes: int = 0

    def take(self, count: int) -> None:
        self.check(count)
        self.bytes += count
        self.advance(count)

    def check(self, count: int) -> None:
        if self.bytes + count > self.max_bytes:
            what = f"unpacks to more than {self.max_bytes} bytes; if that is right, raise max_bytes and fetch again"
            raise RadiosslError(f"{self.label}: {what}")


def unpack(archive: Path, download: Download, root: Path) -> None:
    """Unpack an archive below `root`, where no link is ever made: links inside the archive become copies.

    So there is nothing on the disk that a later member could be written through, and paths can be checked by their
    names alone.
    """
    url = download.url
    links: dict[tuple[str, ...], tuple[str, ...]] = {}
    members = _zip_members if download.name.lower().endswith(".zip") else _tar_members
    try:
        with track_bytes(f"unpacking {download.name}") as advance:
            allowance, number = _Allowance(url, download.max_bytes, advance), 0
            for number, member in enumerate(members(archive, download, root), start=1):
                if number > MAX_MEMBERS:
                    what = f"holds more than {MAX_MEMBERS} files and folders, no published set does; not unpacked"
                    raise BadArchiveError(f"{url}: {what}")
                if member.link is not None:
                    links[member.parts] = member.link
                elif member.stream is None:
                    _make_folder(root.joinpath(*member.parts), url, member.parts)
                else:
                    allowance.check(member.size)
                    _write(member.stream, new_file(root, member.parts, url), allowance)
            for link in links:
                target = root.joinpath(*_follow(link, links))
                if not target.is_file():
                    raise _unsafe(url, "/".join(link), "is a link to something that is no file of the archive")
                with target.open("rb") as stream:
                    _write(stream, new_file(root, link, url), allowance)
            if not number:
                raise BadArchiveError(f"{url}: the archive is empty; check the address with the publisher")
    except RadiosslError:
        raise
    except Exception as error:
        # On damaged input the readers raise nearly anything; only an error of the system has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = f"the archive is damaged or cut short ({reason_of(error)})"
        raise BadArchiveError(f"{url}: {what}; fetch again, and if that does not help tell the publisher") from error


def _unsafe(url: str, name: str, what: str) -> BadArchiveError:
    return BadArchiveError(
        f"{url}: {name!r} in the archive {what}; nothing was unpacked: tell the publisher, "
        "or fetch with extract=False and look into it by hand"
    )


def _inside(name: str, url: str) -> tuple[str, ...]:
    parts = path_parts(name)
    if parts is None:
        raise _unsafe(url, name, "leaves the folder")
    return parts


def _landing(folder: tuple[str, ...], link: str) -> tuple[str, ...] | None:
    """Return where a link in `folder` leads, from the archive's top; None if it leaves it."""
    if PureWindowsPath(link).anchor or "\0" in link:
        return None
    here = list(folder)
    for part in PurePosixPath(link).parts:
        if part != "..":
            here.append(part)
        elif here:
            here.pop()
        else:
            return None
    return tuple(here)


def _follow(link: tuple[str, ...], links: Mapping[tuple[str, ...], tuple[str, ...]]) -> tuple[str, ...]:
    """Return where a chain of links ends; a ring ends at one of its links, which is not a file."""
    seen = set()
    while link in links and link not in seen:
        seen.add(link)
        link = links[link]
    return link


def _make_folder(path: Path, url: str, parts: tuple[str, ...]) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _unsafe(url, "/".join(parts), "comes a second time, or goes through a file") from None


def new_file(root: Path, parts: tuple[str, ...], url: str) -> Path:
    """Make the folders for a file below `root` and return its path, where there is nothing yet."""
    if not parts:
        raise _unsafe(url, "", "has no name")
    if len(parts) == 1 and parts[0].casefold() == RECORD:
        raise _unsafe(url, parts[0], "has the name of the fetch's own record")
    path = root.joinpath(*parts)
    _make_folder(path.parent, url, parts)
    if path.exists():
        raise _unsafe(url, "/".join(parts), "comes a second time")
    return path


def _write(stream: IO[bytes], path: Path, allowance: _Allowance) -> None:
    with path.open("xb") as handle:
        while block := stream.read(_BLOCK):
            allowance.take(len(block))
            handle.write(block)


class _ForwardStream:
    """A decompressed tar read from front to back, in small pieces and up to a limit."""

    def __init__(self, raw: IO[bytes], limit: int) -> None:
        self._raw = raw
        self._limit = limit
        self._position = 0
        self.last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise tarfile.ReadError("a member points backwards")
        while self._position < position and self.read(min(_BLOCK, position - self._position)):
            pass
        return self._position

    def read(self, count: int) -> bytes:
        if not 0 <= count <= _MAX_READ:
            raise tarfile.ReadError(f"a header of {count} bytes")
        self.last = self._raw.read(count)
        self._position += len(self.last)
        if self._position > self._limit:
            raise tarfile.ReadError(f"more than {self._limit} bytes of headers and files")
        return self.last


def _tar_members(archive: Path, download: Download, root: Path) -> Iterator[_Member]:
    with archive.open("rb") as handle:
        # By what is in it: some servers unpack a .tar.gz on the way.
        packed = handle.read(2) == b"\x1f\x8b"
        handle.seek(0)
        raw = cast(IO[bytes], GzipFile(fileobj=handle)) if packed else handle
        stream = _ForwardStream(raw, download.max_bytes + 4096 * MAX_MEMBERS)
        with tarfile.TarFile(fileobj=cast(IO[bytes], stream)) as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # by itself it remembers every one
                yield _tar_member(tar, info, download.url, root)
            # tarfile takes a missing or garbled header for the end; the real end is a block of zeros.
            if stream.last != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("no end-of-archive mark")
        while stream.read(_BLOCK):  # gzip's checksum comes last
            pass


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo, url: str, root: Path) -> _Member:
    parts = _inside(info.name, url)
    is_link = info.issym() or info.islnk()
    if not (info.isfile() or info.isdir() or is_link):
        raise _unsafe(url, info.name, "is a device or another special file")
    # A symbolic link is read from its own folder, a hard link from the archive's top.
    link = _landing(parts[:-1] if info.issym() else (), info.linkname) if is_link else ()
    if link is None:
        raise _unsafe(url, info.name, f"is a link that leaves the folder, to {info.linkname!r}")
    if hasattr(tarfile, "data_filter"):  # since Python 3.11.4; a second pair of eyes
        try:
            tarfile.data_filter(info, str(root))
        except tarfile.FilterError as error:
            raise _unsafe(url, info.name, f"is refused by Python's own filter ({error})") from None
    if info.isfile():
        return _Member(parts, info.size, tar.extractfile(info))
    return _Member(parts, link=link if is_link else None)


def _zip_members(archive: Path, download: Download, root: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            yield _zip_member(packed, info, download.url)


def _zip_member(packed: zipfile.ZipFile, info: zipfile.ZipInfo, url: str) -> _Member:
    parts = _inside(info.filename, url)
    if info.flag_bits & 0x1:
        raise _unsafe(url, info.filename, "is encrypted")
    # The others expand by any factor in one step, past every limit.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _unsafe(url, info.filename, "is packed in another way than deflate")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise _unsafe(url, info.filename, "is a device or another special file")
    if info.is_dir():
        return _Member(parts)
    if kind != stat.S_IFLNK:
        return _Member(parts, info.file_size, packed.open(info))
    with packed.open(info) as stream:
        target = stream.read(_MAX_LINK).decode()
    link = _landing(parts[:-1], target)
    if link is None:
        raise _unsafe(url, info.filename, f"is a link that leaves the folder, to {target!r}")
    return _Member(parts, link=link)
