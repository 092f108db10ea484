"""A file to download: its address, its checksums, and the name under which it is saved."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

from radiossl.io.errors import RadiosslError

#: The record of a fetch inside its folder.
RECORD = "fetched.json"
_MAX_DEPTH = 64
_BLOCK = 2**20
SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Download:
    """One file to fetch."""

    #: An http or https address.
    url: str
    #: Checksums of the file as it is downloaded, in hex digits. Give one of them wherever it is published.
    md5: str | None = None
    sha256: str | None = None
    #: Name to save the file under; by default the last part of the url.
    file: str | None = None
    #: Length of the file in bytes, if known.
    size: int | None = None
    #: Whether a .tar, .tar.gz, .tgz or .zip is unpacked. Any other file is always kept as it is.
    extract: bool = True
    #: Path inside the fetched folder -> MD5 of the file there, verified after unpacking.
    contents: Mapping[str, str] = field(default_factory=dict)
    #: Most bytes that the file may have, and may unpack to.
    max_bytes: int = 20 * 10**9

    def __post_init__(self) -> None:
        check_url(self.url)
        for key, digits in (("md5", 32), ("sha256", 64)):
            if (value := getattr(self, key)) is not None:
                object.__setattr__(self, key, _checked_hex(value, digits, f"{self.url}: {key}"))
        contents = {}
        for path, md5 in self.contents.items():
            if not path_parts(path):
                raise RadiosslError(f"{self.url}: contents names {path!r}, expected a path inside the fetched folder")
            contents[path] = _checked_hex(md5, 32, f"{self.url}: md5 of {path!r}")
        object.__setattr__(self, "contents", contents)
        if self.size is not None and self.size < 0:
            raise RadiosslError(f"{self.url}: size {self.size}, expected a number of bytes")
        if self.max_bytes <= 0:
            raise RadiosslError(f"{self.url}: max_bytes {self.max_bytes}, expected a number above 0")
        if len(path_parts(self.name) or ()) != 1 or len(PureWindowsPath(self.name).parts) != 1:
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


def check_url(url: str) -> None:
    """Raise `RadiosslError` if it is not an http or https address."""
    try:
        split = urlsplit(url)
        host = (split.hostname or "").encode("idna")
        good = split.scheme in SCHEMES and bool(host) and split.port != 0
    except ValueError:  # no possible host or port
        good = False
    if not good or not url.isascii() or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise RadiosslError(f"{url!r}: expected an http or https address, with special characters percent-encoded")


def _checked_hex(value: str, digits: int, what: str) -> str:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", value):
        raise RadiosslError(f"{what} is {value!r}, expected {digits} hex digits")
    return value.lower()


def checksums(path: Path, kinds: Sequence[str], advance: Callable[[int], None] | None = None) -> dict[str, str]:
    """Return checksums of a file by their kinds (md5, sha256); `advance` gets the bytes of each piece."""
    # Against damage, not forgery, MD5 is good enough; systems that forbid it otherwise allow it so declared.
    digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            for digest in digests.values():
                digest.update(block)
            if advance is not None:
                advance(len(block))
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def path_parts(name: str) -> tuple[str, ...] | None:
    """Split a path inside an archive; None if it is absolute, goes up anywhere, or is no sensible path."""
    # Windows' reading is the strictest: it splits at both slashes and knows drives.
    strict = PureWindowsPath(name)
    if strict.anchor or ".." in strict.parts or "\0" in name or len(strict.parts) > _MAX_DEPTH:
        return None
    return PurePosixPath(name).parts
