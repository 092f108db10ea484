"""Fetching published files: resumed after an interruption, checked, safely unpacked, there as a whole or not at all.

While a fetch into `NAME` is under way, the folder `.NAME.parts` beside it holds what has come so far, per download a
`FILE.part` and a `FILE.json` that tells which version of the file the part belongs to. `NAME` appears by one rename
when every file has been verified and unpacked; then the parts go.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import socket
import ssl
import stat
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from gzip import GzipFile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, Literal, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

import radiossl
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_folder, read_json, remove_strays, write_json
from radiossl.io.progress import track, track_bytes

RECORD = "fetched.json"
FORMAT = "radiossl fetched files"
#: Default limit of what one download may unpack to.
MAX_BYTES = 20 * 10**9
#: Far above any published set, far below what fills a file system with empty files.
MAX_MEMBERS = 1_000_000
_MAX_DEPTH = 64
_BLOCK = 2**20
#: Longest piece that is read from a tar at once. Only a header made to fill the memory asks for more.
_MAX_READ = 4 * _BLOCK
_MAX_LINK = 4096
_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
#: Answers that may be another at the next try, besides all from 500 on.
_PASSING = (408, 425, 429)
_SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Download:
    """One file to fetch.

    Attributes
    ----------
    url
        An http or https address.
    md5, sha256
        Checksum of the file as it is downloaded, in hex digits. Give one of them wherever it is published.
    file
        Name to save the file under; by default the last part of the url.
    size
        Length of the file in bytes, if known.
    extract
        Whether a .tar, .tar.gz, .tgz or .zip is unpacked. Any other file is always kept as it is.
    contents
        Path inside the fetched folder -> MD5 of the file there, verified after unpacking.
    max_bytes
        Most bytes that the file may have, and may unpack to.
    """

    url: str
    md5: str | None = None
    sha256: str | None = None
    file: str | None = None
    size: int | None = None
    extract: bool = True
    contents: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        _check_url(self.url)
        for key, digits in (("md5", 32), ("sha256", 64)):
            if (value := getattr(self, key)) is not None:
                object.__setattr__(self, key, _checked_hex(value, digits, f"{self.url}: {key}"))
        contents = {}
        for path, md5 in self.contents.items():
            if not _parts(path):
                raise RadiosslError(f"{self.url}: contents names {path!r}, expected a path inside the fetched folder")
            contents[path] = _checked_hex(md5, 32, f"{self.url}: md5 of {path!r}")
        object.__setattr__(self, "contents", contents)
        if self.size is not None and self.size < 0:
            raise RadiosslError(f"{self.url}: size {self.size}, expected a number of bytes")
        if self.max_bytes <= 0:
            raise RadiosslError(f"{self.url}: max_bytes {self.max_bytes}, expected a number above 0")
        if len(_parts(self.name) or ()) != 1 or len(PureWindowsPath(self.name).parts) != 1:
            raise RadiosslError(f"{self.url}: cannot be saved under the name {self.name!r}; give a plain name in file")
        if self.name.casefold() == RECORD:
            raise RadiosslError(f"{self.url}: {RECORD} is the name of the fetch's own record; give another in file")

    @property
    def name(self) -> str:
        """Name that the file is saved under."""
        return self.file if self.file is not None else unquote(urlsplit(self.url).path.rpartition("/")[2])

    @property
    def is_archive(self) -> bool:
        """Whether the file is to be unpacked."""
        return self.extract and self.name.lower().endswith((".tar", ".tar.gz", ".tgz", ".zip"))


def fetch(
    downloads: Sequence[Download],
    out: str | os.PathLike[str],
    *,
    base_url: str | None = None,
    timeout_s: float = 30,
    retries: int = 5,
) -> Path:
    """Download files, verify them and unpack them together into a new folder.

    A call that was interrupted, even killed, goes on where it stopped when it is repeated. If `out` is the complete
    fetch of the same downloads already, nothing is requested.

    Parameters
    ----------
    downloads
        What to fetch.
    out
        Folder to make. It must not exist, be empty, or hold the same downloads.
    base_url
        Address of a mirror that has the files side by side under their names; used in place of their own addresses.
    timeout_s
        Seconds without an answer after which a connection counts as dropped.
    retries
        How many further tries in a row may bring nothing new, after a dropped connection, a time-out or a server's
        passing trouble, before the fetch gives up.

    Returns
    -------
    Path
        `out`. Besides the files it holds `fetched.json`: addresses, checksums and the version of radiossl.

    Raises
    ------
    RadiosslError
        If a file cannot be had, differs from its checksum, or is an archive that is damaged, unsafe or too large; if
        `out` holds something else or cannot be written. `out` is then as it was before.
    """
    out = Path(out)
    place = out.resolve()
    _check_set(downloads)
    if base_url is not None:
        _check_url(base_url)
    try:
        complete = _is_fetched(place, downloads)
        folder = place.with_name(f".{place.name}.parts")
        if not complete:
            with _claimed(folder):
                # Another process may have finished the same fetch between the first look and the claim.
                if not _is_fetched(place, downloads):
                    parts = [_Part.of(download, folder, base_url) for download in downloads]
                    _fetch(list(zip(downloads, parts, strict=True)), place, timeout_s, retries)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise RadiosslError(
            f"{out}: cannot be written ({error.strerror or error}); make room or choose another folder, "
            "then fetch again to go on from what has come"
        ) from error
    return out


def _fetch(pairs: Sequence[tuple[Download, _Part]], place: Path, timeout_s: float, retries: int) -> None:
    received = [{"url": part.url, **_download(download, part, timeout_s, retries)} for download, part in pairs]
    remove_strays(place.parent, place.name)
    downloads = [download for download, _ in pairs]
    with atomic_folder(place) as folder:
        for download, part in pairs:
            _put(download, part, folder)
        write_json(
            folder / RECORD,
            {
                "format": FORMAT,
                "radiossl_version": radiossl.__version__,
                "downloads": _identity(downloads),
                "received": received,
            },
        )
        # Hours may have passed since the first look; what somebody put there meanwhile must not be replaced.
        _is_fetched(place, downloads)


# What is asked for ----------------------------------------------------------------------------------------------------


def _check_url(url: str) -> None:
    try:
        split = urlsplit(url)
        host = (split.hostname or "").encode("idna")
        good = split.scheme in _SCHEMES and bool(host) and split.port != 0
    except ValueError:  # no possible host or port
        good = False
    if not good or not url.isascii() or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise RadiosslError(f"{url!r}: expected an http or https address, with special characters percent-encoded")


def _checked_hex(value: str, digits: int, what: str) -> str:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", value):
        raise RadiosslError(f"{what} is {value!r}, expected {digits} hex digits")
    return value.lower()


def _check_set(downloads: Sequence[Download]) -> None:
    if not downloads:
        raise RadiosslError("nothing to fetch: expected at least one download")
    seen: dict[str, Download] = {}
    for download in downloads:
        key = download.name.casefold()  # as some file systems take names
        if key in seen:
            raise RadiosslError(
                f"{seen[key].url} and {download.url}: both would be saved as {download.name}; "
                "give one another name in file"
            )
        seen[key] = download


def _identity(downloads: Sequence[Download]) -> list[dict[str, Any]]:
    """What makes two fetches the same; from which mirror, and under which limit, does not count."""
    keys = ("url", "md5", "sha256", "size", "extract")
    return [{**{key: getattr(d, key) for key in keys}, "file": d.name, "contents": dict(d.contents)} for d in downloads]


def _is_fetched(out: Path, downloads: Sequence[Download]) -> bool:
    """Whether `out` holds these downloads; raise if it holds anything else."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise RadiosslError(f"{out}: is a file, a folder to fetch into was expected")
    if (out / RECORD).is_file():
        record = read_json(out / RECORD)
        if isinstance(record, dict) and record.get("downloads") == _identity(downloads):
            return True
        raise RadiosslError(f"{out}: holds another fetched set (see its {RECORD}); choose another folder or delete it")
    if any(out.iterdir()):
        raise RadiosslError(f"{out}: exists and was not fetched by radiossl; choose another folder or delete it")
    return False


@contextmanager
def _claimed(parts: Path) -> Iterator[None]:
    """Make the folder `parts` this process's own for a while; drop it afterwards if there is nothing worth keeping."""
    parts.mkdir(parents=True, exist_ok=True)
    lock = parts / "lock"
    with lock.open("ab") as handle:
        _lock(handle, parts)
        try:
            parts.mkdir(exist_ok=True)  # gone if the process that held the lock has just finished
            yield
        finally:
            with suppress(OSError):
                lock.unlink(missing_ok=True)
                parts.rmdir()


def _lock(handle: IO[bytes], parts: Path) -> None:
    """Take a lock that the system drops when this process ends in whatever way."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RadiosslError(f"{parts}: another process is fetching into it; wait until it is done") from None
    except OSError:  # some network file systems have no locks; checksums still tell a muddle
        return


# Downloading ----------------------------------------------------------------------------------------------------------


class _DroppedError(Exception):
    """A request ended early in a way that may not happen again."""


@dataclass(frozen=True)
class _Version:
    """What a server said about a file: enough to notice that it is another one now."""

    url: str
    etag: str | None
    modified: str | None
    bytes: int | None

    @property
    def condition(self) -> str | None:
        """Value for If-Range, which takes no weak tags (RFC 9110, section 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def agrees_with(self, other: _Version) -> bool:
        mine, theirs = asdict(self).values(), asdict(other).values()
        return all(a is None or b is None or a == b for a, b in zip(mine, theirs, strict=True))


@dataclass(frozen=True)
class _Part:
    """The beginning of a file from `url`, and the note that tells of which version of the file."""

    path: Path
    note: Path
    url: str

    @classmethod
    def of(cls, download: Download, folder: Path, base_url: str | None) -> _Part:
        url = f"{base_url.rstrip('/')}/{quote(download.name)}" if base_url else download.url
        return cls(folder / f"{download.name}.part", folder / f"{download.name}.json", url)

    @property
    def bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> _Version | None:
        try:
            version = _Version(**read_json(self.note))
        except (RadiosslError, TypeError):
            return None
        return version if version.url == self.url and self.path.exists() else None

    @property
    def is_complete(self) -> bool:
        version = self.version
        return version is not None and version.bytes == self.bytes

    def begin(self, version: _Version) -> None:
        """Forget what was there. The note comes last: bytes of another version must never stand beside it."""
        self.forget()
        self.path.touch()
        write_json(self.note, asdict(version))

    def finish(self, version: _Version) -> None:
        """Note that what is there is the whole file."""
        write_json(self.note, asdict(version) | {"bytes": self.bytes})

    def forget(self) -> None:
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def _download(download: Download, part: _Part, timeout_s: float, retries: int) -> dict[str, Any]:
    """Bring the whole file into `part` and verify it; return its length and checksums."""
    opener = _opener()
    furthest, failures = part.bytes, 0
    try:
        while not part.is_complete:
            try:
                _request(download, part, opener, timeout_s)
            except _DroppedError as error:
                # Only a try that came further than all before counts as progress: a server that ignores Range
                # and always drops would otherwise be asked for ever.
                failures = 1 if part.bytes > furthest else failures + 1
                furthest = max(furthest, part.bytes)
                if failures > retries:
                    kept = f"{part.bytes} bytes are kept, fetch again to go on" if part.bytes else "try again later"
                    raise RadiosslError(f"{part.url}: gave up after {failures} failures ({error}); {kept}") from None
                time.sleep(min(_BACKOFF_S * 2 ** (failures - 1), _MAX_BACKOFF_S))
        return _verify(download, part)
    finally:
        if part.bytes == 0 and not part.is_complete:
            part.forget()


def _request(download: Download, part: _Part, opener: OpenerDirector, timeout_s: float) -> None:
    """Ask once for what is missing and append what comes; raise `_DroppedError` if that is worth another try."""
    headers = {"User-Agent": f"radiossl/{radiossl.__version__}", "Accept-Encoding": "identity"}
    old, offset = part.version, part.bytes
    if old is None or (old.condition is None and not download.md5 and not download.sha256):
        offset = 0  # nothing would tell whether the rest belongs to this beginning
    elif offset:
        headers["Range"] = f"bytes={offset}-"
        if old.condition:
            headers["If-Range"] = old.condition
    response = _open(Request(part.url, headers=headers), opener, timeout_s)
    if response is None:  # no such range: the file has become shorter
        part.forget()
        return
    with response:
        if response.status == 206 and offset and old is not None:
            first, total = _content_range(response)
            version = _version(part.url, response, total)
            if first != offset or not version.agrees_with(old):
                part.forget()
                return
            total = old.bytes if total is None else total
            _check_length(download, part, total)
        elif response.status == 200:
            total = response.length
            version = _version(part.url, response, total)
            _check_length(download, part, total)
            part.begin(version)
        else:
            raise RadiosslError(f"{part.url}: the server answered HTTP {response.status}, expected the file (200)")
        total = download.size if total is None else total
        _receive(download, part, response, total)
    if total is not None and part.bytes < total:
        raise _DroppedError(f"the connection ended at {part.bytes} of {total} bytes")
    # Where no length was promised, the end of the answer has to be taken for the end of the file.
    part.finish(version)


def _open(request: Request, opener: OpenerDirector, timeout_s: float) -> http.client.HTTPResponse | None:
    """Return the server's answer, or None if it has no such range."""
    url = request.full_url
    try:
        return cast(http.client.HTTPResponse, opener.open(request, timeout=timeout_s))
    except HTTPError as error:
        error.close()
        if error.code == 416 and request.has_header("Range"):
            return None
        if error.code >= 500 or error.code in _PASSING:
            raise _DroppedError(_reason(error)) from None
        raise RadiosslError(
            f"{url}: the server answered {_reason(error)}; check the address or use a mirror (base_url)"
        ) from None
    except RadiosslError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a redirect to a garbled address
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, (socket.gaierror, ssl.SSLCertVerificationError)):
            raise RadiosslError(f"{url}: cannot be reached ({reason}); check the address and the network") from None
        raise _DroppedError(_reason(reason)) from None


def _receive(download: Download, part: _Part, response: http.client.HTTPResponse, total: int | None) -> None:
    """Append the answer's body to the part. Every block is flushed, so that a killed process loses none."""
    with part.path.open("ab") as handle, track_bytes(download.name, total, part.bytes) as advance:
        while True:
            try:
                block = response.read1(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise _DroppedError(_reason(error)) from None
            if not block:
                break
            handle.write(block)
            handle.flush()
            advance(len(block))
            if part.bytes > (total if total is not None else download.max_bytes):
                _check_length(download, part, part.bytes)
                raise _DroppedError(f"more than the promised {total} bytes came")


def _check_length(download: Download, part: _Part, total: int | None) -> None:
    if total is None:
        return
    if download.size is not None and total != download.size:
        part.forget()
        raise RadiosslError(
            f"{part.url}: {total} bytes long, {download.size} were expected; "
            "the file has been changed or the address is wrong: check both with the publisher"
        )
    if total > download.max_bytes:
        raise RadiosslError(f"{part.url}: {total} bytes are over max_bytes {download.max_bytes}; raise it to take them")


def _verify(download: Download, part: _Part) -> dict[str, Any]:
    _check_length(download, part, part.bytes)
    expected = {kind: value for kind in ("md5", "sha256") if (value := getattr(download, kind)) is not None}
    with track_bytes(f"checking {download.name}", part.bytes) as advance:
        found = _checksums(part.path, list(expected) or ["sha256"], advance)
    for kind, value in expected.items():
        if found[kind] != value:
            part.forget()
            raise RadiosslError(
                f"{part.url}: {kind} {found[kind]} found, {value} expected; the download is deleted: "
                "fetch again, and if that does not help compare the checksum with the publisher's"
            )
    return {"bytes": part.bytes, **found}


def _checksums(path: Path, kinds: Sequence[str], advance: Callable[[int], None] | None = None) -> dict[str, str]:
    # Against damage, not forgery, MD5 is good enough; systems that forbid it otherwise allow it so declared.
    digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            for digest in digests.values():
                digest.update(block)
            if advance is not None:
                advance(len(block))
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def _version(url: str, response: http.client.HTTPResponse, total: int | None) -> _Version:
    return _Version(url, response.headers.get("ETag"), response.headers.get("Last-Modified"), total)


def _content_range(response: http.client.HTTPResponse) -> tuple[int | None, int | None]:
    """Return the first byte of a partial answer and the length of the whole file, None where it does not say."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    first = int(match[1])
    if match[2] != "*":
        return first, int(match[2])
    return first, None if response.length is None else first + response.length


def _reason(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _opener() -> OpenerDirector:
    """Return what opens http and https and, other than urllib's own choice, nothing else: no file:, ftp: or data:."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        _RedirectHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _RedirectHandler(HTTPRedirectHandler):
    """Follows redirects to http and https only."""

    def http_error_302(self, req: Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        target = urljoin(req.full_url, headers.get("Location") or headers.get("URI") or "")
        if urlsplit(target).scheme not in _SCHEMES:
            fp.close()
            raise RadiosslError(
                f"{req.full_url}: redirects to {target!r}, only http and https are followed; check the address"
            )
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


# Unpacking ------------------------------------------------------------------------------------------------------------


class _BadArchiveError(RadiosslError):
    """An archive that will never unpack, so that keeping it makes no sense."""


@dataclass(frozen=True)
class _Member:
    """One entry of an archive: its path there, and where a link leads, both from the archive's top."""

    parts: tuple[str, ...]
    kind: Literal["file", "folder", "link"]
    size: int = 0
    link: tuple[str, ...] = ()
    stream: IO[bytes] | None = None


@dataclass
class _Allowance:
    """How much an archive may still unpack to."""

    label: str
    max_bytes: int
    advance: Callable[[int], None]
    bytes: int = 0
    members: int = 0

    def take(self, count: int) -> None:
        self.check(count)
        self.bytes += count
        self.advance(count)

    def check(self, count: int) -> None:
        if self.bytes + count > self.max_bytes:
            raise RadiosslError(
                f"{self.label}: unpacks to more than {self.max_bytes} bytes; "
                "if that is right, raise max_bytes and fetch again"
            )

    def take_member(self) -> None:
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise _BadArchiveError(
                f"{self.label}: holds more than {MAX_MEMBERS} files and folders, no published set does; not unpacked"
            )


def _put(download: Download, part: _Part, folder: Path) -> None:
    """Put one verified download into `folder`, unpacked if it is an archive, and check its contents."""
    try:
        if download.is_archive:
            _unpack(part.path, download, folder)
        else:
            _place_file(part.path, _new_file(folder, (download.name,), download.url))
    except _BadArchiveError:
        part.forget()
        raise
    try:
        if download.contents:
            _check_contents(download, folder)
    except RadiosslError:
        if not download.md5 and not download.sha256:
            part.forget()  # else it is what was published, and would come the same again
        raise


def _check_contents(download: Download, folder: Path) -> None:
    for path, expected in track(download.contents.items(), f"checking what was in {download.name}"):
        file = folder.joinpath(*PurePosixPath(path).parts)
        if not file.is_file():
            raise RadiosslError(f"{download.url}: has no file {path!r}; correct the list of contents")
        found = _checksums(file, ["md5"])["md5"]
        if found != expected:
            raise RadiosslError(
                f"{download.url}: {path!r} has md5 {found}, {expected} expected; "
                "compare the list of contents with the publisher's, then fetch again"
            )


def _place_file(part: Path, target: Path) -> None:
    """Give the file a second name, so that the part is still there if a later step fails; copy where that cannot be."""
    try:
        os.link(part, target)
    except OSError:
        shutil.copyfile(part, target)


def _unpack(archive: Path, download: Download, root: Path) -> None:
    """Unpack an archive below `root`, where no link is ever made: links inside the archive become copies.

    So there is nothing on the disk that a later member could be written through, and paths can be judged by their
    names alone.
    """
    url = download.url
    links: dict[tuple[str, ...], tuple[str, ...]] = {}
    members = _zip_members if download.name.lower().endswith(".zip") else _tar_members
    try:
        with track_bytes(f"unpacking {download.name}") as advance:
            allowance = _Allowance(url, download.max_bytes, advance)
            for member in members(archive, download, root):
                allowance.take_member()
                if member.kind == "link":
                    links[member.parts] = member.link
                elif member.stream is None:
                    _make_folder(root.joinpath(*member.parts), url, member.parts)
                else:
                    allowance.check(member.size)
                    _write(member.stream, _new_file(root, member.parts, url), allowance)
            for link in links:
                target = root.joinpath(*_follow(link, links))
                if not target.is_file():
                    raise _unsafe(url, "/".join(link), "is a link to something that is no file of the archive")
                with target.open("rb") as stream:
                    _write(stream, _new_file(root, link, url), allowance)
            if not allowance.members:
                raise _BadArchiveError(f"{url}: the archive is empty; check the address with the publisher")
    except RadiosslError:
        raise
    except Exception as error:
        # On damaged input the readers raise nearly anything; only an error of the system has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _BadArchiveError(
            f"{url}: the archive is damaged or cut short ({_reason(error)}); fetch again, "
            "and if that does not help tell the publisher"
        ) from error


def _unsafe(url: str, name: str, what: str) -> _BadArchiveError:
    return _BadArchiveError(
        f"{url}: {name!r} in the archive {what}; nothing was unpacked: tell the publisher, "
        "or fetch with extract=False and look into it by hand"
    )


def _inside(name: str, url: str) -> tuple[str, ...]:
    parts = _parts(name)
    if parts is None:
        raise _unsafe(url, name, "leaves the folder")
    return parts


def _parts(name: str) -> tuple[str, ...] | None:
    """Split a path inside an archive; None if it is absolute, goes up anywhere, or is no sensible path."""
    # Windows' reading is the strictest: it splits at both slashes and knows drives.
    strict = PureWindowsPath(name)
    if strict.anchor or ".." in strict.parts or "\0" in name or len(strict.parts) > _MAX_DEPTH:
        return None
    return PurePosixPath(name).parts


def _landing(folder: tuple[str, ...], link: str) -> tuple[str, ...] | None:
    """Where a link that stands in `folder` leads, from the archive's top; None if it leaves it."""
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
    """Where a chain of links ends; a ring ends at one of its own, which is no file."""
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


def _new_file(root: Path, parts: tuple[str, ...], url: str) -> Path:
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
    if info.isdir():
        return _Member(parts, "folder")
    if is_link:
        return _Member(parts, "link", link=link)
    return _Member(parts, "file", info.size, stream=tar.extractfile(info))


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
        return _Member(parts, "folder")
    if kind != stat.S_IFLNK:
        return _Member(parts, "file", info.file_size, stream=packed.open(info))
    with packed.open(info) as stream:
        target = stream.read(_MAX_LINK).decode()
    link = _landing(parts[:-1], target)
    if link is None:
        raise _unsafe(url, info.filename, f"is a link that leaves the folder, to {target!r}")
    return _Member(parts, "link", link=link)
