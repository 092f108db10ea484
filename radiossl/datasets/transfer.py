"""Bringing a file over the network: resumed after an interruption, tried again, and verified.

For each download there is a `FILE.part` with what has come so far and a `FILE.json` that says which version of the file
the part belongs to.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

import radiossl
from radiossl.datasets.download import SCHEMES, Download, checksums
from radiossl.io.errors import RadiosslError, reason_of
from radiossl.io.files import read_json, write_json
from radiossl.io.progress import track_bytes

_BLOCK = 2**20
_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0


class DroppedError(Exception):
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
class Part:
    """The beginning of a file from `url`, and the note that tells of which version of the file."""

    path: Path
    note: Path
    url: str

    @classmethod
    def beginning(cls, download: Download, folder: Path, base_url: str | None) -> Part:
        """Return the part of a download in a folder, from its own address or a mirror's."""
        url = f"{base_url.rstrip('/')}/{quote(download.name)}" if base_url else download.url
        return cls(folder / f"{download.name}.part", folder / f"{download.name}.json", url)

    @property
    def bytes(self) -> int:
        """How much has come."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> _Version | None:
        """Of which version of the file it is, None if that is not known."""
        try:
            version = _Version(**read_json(self.note))
        except (RadiosslError, TypeError):
            return None
        return version if version.url == self.url and self.path.exists() else None

    @property
    def is_complete(self) -> bool:
        """Whether it is the whole file."""
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
        """Delete it."""
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def download_part(download: Download, part: Part, timeout_s: float, retries: int) -> dict[str, Any]:
    """Bring the whole file into `part` and verify it; return its length and checksums."""
    opener = build_opener(_RedirectHandler)
    furthest, failures = part.bytes, 0
    try:
        while not part.is_complete:
            try:
                _request(download, part, opener, timeout_s)
            except DroppedError as error:
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


def _request(download: Download, part: Part, opener: OpenerDirector, timeout_s: float) -> None:
    """Ask once for what is missing and append what comes; raise `DroppedError` if that is worth another try."""
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
        raise DroppedError(f"the connection ended at {part.bytes} of {total} bytes")
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
        if is_passing(error):
            raise DroppedError(reason_of(error)) from None
        raise RadiosslError(
            f"{url}: the server answered {reason_of(error)}; check the address or use a mirror (base_url)"
        ) from None
    except RadiosslError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a redirect to a garbled address
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, (socket.gaierror, ssl.SSLCertVerificationError)):
            raise RadiosslError(f"{url}: cannot be reached ({reason}); check the address and the network") from None
        raise DroppedError(reason_of(reason)) from None


def is_passing(error: HTTPError) -> bool:
    """Return whether a server may answer otherwise at the next try."""
    return error.code >= 500 or error.code in (408, 425, 429)


def _receive(download: Download, part: Part, response: http.client.HTTPResponse, total: int | None) -> None:
    """Append the answer's body to the part. Every block is flushed, so that a killed process loses none."""
    with part.path.open("ab") as handle, track_bytes(download.name, total, part.bytes) as advance:
        while True:
            try:
                block = response.read1(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise DroppedError(reason_of(error)) from None
            if not block:
                break
            handle.write(block)
            handle.flush()
            advance(len(block))
            if part.bytes > (total if total is not None else download.max_bytes):
                _check_length(download, part, part.bytes)
                raise DroppedError(f"more than the promised {total} bytes came")


def _check_length(download: Download, part: Part, total: int | None) -> None:
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


def _verify(download: Download, part: Part) -> dict[str, Any]:
    _check_length(download, part, part.bytes)
    expected = {kind: value for kind in ("md5", "sha256") if (value := getattr(download, kind)) is not None}
    with track_bytes(f"checking {download.name}", part.bytes) as advance:
        found = checksums(part.path, list(expected) or ["sha256"], advance)
    for kind, value in expected.items():
        if found[kind] != value:
            part.forget()
            raise RadiosslError(
                f"{part.url}: {kind} {found[kind]} found, {value} expected; the download is deleted: "
                "fetch again, and if that does not help compare the checksum with the publisher's"
            )
    return {"bytes": part.bytes, **found}


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


class _RedirectHandler(HTTPRedirectHandler):
    """Follows redirects to http and https only: other than urllib's own, not to ftp:, and says so."""

    def http_error_302(self, req: Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        target = urljoin(req.full_url, headers.get("Location") or headers.get("URI") or "")
        if urlsplit(target).scheme not in SCHEMES:
            fp.close()
            raise RadiosslError(
                f"{req.full_url}: redirects to {target!r}, only http and https are followed; check the address"
            )
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302
