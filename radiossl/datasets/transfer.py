"""Downloading a file: resumed after an interruption, tried again, and verified.

For each download there is a `FILE.part` with what has come so far and a `FILE.json` that says which version of the file
the part belongs to.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from dataclasses import dataclass
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
#: What a server said about a file, None where it did not: enough to notice that it is another one now.
_VERSION = ("url", "etag", "modified", "bytes")


class DroppedError(Exception):
    """A request ended early in a way that may not happen again."""


@dataclass(frozen=True)
class Part:
    """The beginning of a file from `url`, and the note that says of which version of the file."""

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
    def version(self) -> dict[str, Any] | None:
        """Of which version of the file it is (see `_VERSION`), None if that is not known."""
        try:
            version = read_json(self.note)
        except RadiosslError:
            return None
        known = isinstance(version, dict) and set(version) == set(_VERSION) and version["url"] == self.url
        return version if known and self.path.exists() else None

    @property
    def is_complete(self) -> bool:
        """Whether it is the whole file."""
        version = self.version
        return version is not None and version["bytes"] == self.bytes

    def begin(self, version: dict[str, Any]) -> None:
        """Forget what was there. The note comes last: it must never be beside bytes of another version."""
        self.forget()
        self.path.touch()
        write_json(self.note, version)

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
                    kept = f"{part.bytes} bytes are kept, fetch again to continue" if part.bytes else "try again later"
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
    # If-Range takes no weak tags (RFC 9110, section 13.1.5).
    tag = old and (old["modified"] if (old["etag"] or "W/").startswith("W/") else old["etag"])
    if old is None or not (tag or download.md5 or download.sha256):
        offset = 0  # it could not be known whether the rest belongs to this beginning
    elif offset:
        headers |= {"Range": f"bytes={offset}-"} | ({"If-Range": tag} if tag else {})
    response = _open(Request(part.url, headers=headers), opener, timeout_s)
    if response is None:  # no such range: the file has become shorter
        part.forget()
        return
    with response:
        found = (part.url, response.headers.get("ETag"), response.headers.get("Last-Modified"), response.length)
        version: dict[str, Any] = dict(zip(_VERSION, found, strict=True))
        if response.status == 206 and offset and old is not None:
            first, version["bytes"] = _content_range(response)
            if first != offset or any(None not in (old[k], version[k]) and old[k] != version[k] for k in _VERSION):
                part.forget()
                return
            total = old["bytes"] if version["bytes"] is None else version["bytes"]
            _check_length(download, part, total)
        elif response.status == 200:
            total = response.length
            _check_length(download, part, total)
            part.begin(version)
        else:
            raise RadiosslError(f"{part.url}: the server answered HTTP {response.status}, expected the file (200)")
        total = download.size if total is None else total
        _receive(download, part, response, total)
    if total is not None and part.bytes < total:
        raise DroppedError(f"the connection ended at {part.bytes} of {total} bytes")
    # Where no length was promised, the end of the answer has to be taken for the end of the file.
    write_json(part.note, version | {"bytes": part.bytes})


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
        what = f"the server answered {reason_of(error)}; check the address or use a mirror (base_url)"
        raise RadiosslError(f"{url}: {what}") from None
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


def _content_range(response: http.client.HTTPResponse) -> tuple[int | None, int | None]:
    """Return the first byte of a partial answer and the length of the whole file, None where it does not say."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(?:(\d+)|\*)", response.headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    first, rest = int(match[1]), response.length
    return first, int(match[2]) if match[2] else None if rest is None else first + rest


class _RedirectHandler(HTTPRedirectHandler):
    """Follows redirects to http and https only: unlike urllib's own, not to ftp:, and with an error that says so."""

    def http_error_302(self, req: Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        target = urljoin(req.full_url, headers.get("Location") or headers.get("URI") or "")
        if urlsplit(target).scheme not in SCHEMES:
            fp.close()
            raise RadiosslError(
                f"{req.full_url}: redirects to {target!r}, only http and https are followed; check the address"
            )
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302
