"""Fetching published files: resumed after an interruption, checked, safely unpacked, all or nothing.

While a fetch into `NAME` is under way, the folder `.NAME.parts` beside it holds what has come so far. `NAME` appears by
one rename when every file has been verified and unpacked; then the parts go.

Why not pooch and `tarfile.extractall(filter="data")`: they would save about 300 lines, but pooch begins anew instead of
resuming a download of gigabytes, and does not notice a server that sends another version halfway, a redirect to
``file:`` or an answer that never ends; the data filter checks paths, not sizes or numbers, so that an archive could
fill the disk or the memory, and makes links instead of copies; zip files would be checked by other rules, and the
folder would not appear all or nothing. Python's filter is applied to every member besides.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import radiossl
from radiossl.datasets.download import RECORD, Download, check_url, checksums
from radiossl.datasets.published import PublishedSet, published_set
from radiossl.datasets.transfer import Part, download_part
from radiossl.datasets.unpacking import BadArchiveError, new_file, unpack
from radiossl.io.errors import RadiosslError, UnwritableError
from radiossl.io.files import atomic_folder, read_json, write_json
from radiossl.io.locks import only_writer
from radiossl.io.progress import track

FORMAT = "radiossl fetched files"


def fetch_set(name: str, out: str | os.PathLike[str], *, mirror: str | None = None) -> PublishedSet:
    """Download a published set, verify its checksums and unpack it.

    Parameters
    ----------
    name
        One of `radiossl.datasets.published.set_names`.
    out
        Folder to make.
    mirror
        Address of a folder that holds copies of the files.

    Returns
    -------
    PublishedSet
        What was fetched, with its terms of use.

    Raises
    ------
    RadiosslError
        If there is no such set, it has no stable address, or as `fetch_files`.
    """
    dataset = published_set(name)
    if not dataset.downloads:
        raise RadiosslError(f"{name}: has no stable address to download from ({dataset.reference or dataset.title})")
    fetch_files(dataset.downloads, out, base_url=mirror)
    return dataset


def fetch_files(
    downloads: Sequence[Download],
    out: str | os.PathLike[str],
    *,
    base_url: str | None = None,
    timeout_s: float = 30,
    retries: int = 5,
) -> Path:
    """Download files, verify them and unpack them together into a new folder.

    A call that was interrupted, even killed, goes on where it stopped when it is repeated. If `out` is the complete
    fetch of the same downloads already, nothing is requested. Beside the files it holds `fetched.json`: addresses,
    checksums and the version of radiossl. The mirror `base_url` has the files side by side under their names. The fetch
    gives up when `retries` further tries in a row bring nothing new; a connection without an answer for `timeout_s`
    seconds counts as dropped.

    Raises `RadiosslError` if a file cannot be had, differs from its checksum, or is an archive that is damaged, unsafe
    or too large; if `out` holds something else or cannot be written. `out` is then as it was before.
    """
    out = Path(out)
    place = out.resolve()
    _check_set(downloads)
    if base_url is not None:
        check_url(base_url)
    folder = place.with_name(f".{place.name}.parts")
    try:
        if not _is_fetched(place, downloads):
            with only_writer(place):
                # Another process may have finished the same fetch between the first look and the lock.
                if not _is_fetched(place, downloads):
                    folder.mkdir(exist_ok=True)
                    try:
                        _fetch(downloads, folder, place, base_url, timeout_s, retries)
                    finally:
                        with suppress(OSError):  # what has come is kept
                            folder.rmdir()
        shutil.rmtree(folder, ignore_errors=True)
    except (OSError, UnwritableError) as error:
        reason = error.reason if isinstance(error, UnwritableError) else error.strerror or error
        problem = UnwritableError(out, reason)
        problem.remedy = "make room or choose another folder, then fetch again to continue"
        raise problem from error
    return out


def _fetch(
    downloads: Sequence[Download], parts: Path, place: Path, base_url: str | None, timeout_s: float, retries: int
) -> None:
    pairs = [(download, Part.beginning(download, parts, base_url)) for download in downloads]
    received = [{"url": part.url, **download_part(download, part, timeout_s, retries)} for download, part in pairs]
    with atomic_folder(place, checksums=False) as folder:  # they are in its record
        for download, part in pairs:
            _put(download, part, folder)
        identity = _identity(downloads)
        record = {"format": FORMAT, "radiossl_version": radiossl.__version__, "downloads": identity}
        write_json(folder / RECORD, record | {"received": received})
        # Hours may have passed since the first look; what was put there meanwhile must not be replaced.
        _is_fetched(place, downloads)


def _check_set(downloads: Sequence[Download]) -> None:
    if not downloads:
        raise RadiosslError("nothing to fetch: expected at least one download")
    seen: dict[str, Download] = {}
    for download in downloads:
        key = download.name.casefold()  # as some file systems take names
        if key in seen:
            what = f"both would be saved as {download.name}; give one another name in file"
            raise RadiosslError(f"{seen[key].url} and {download.url}: {what}")
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


def _put(download: Download, part: Part, folder: Path) -> None:
    """Put one verified download into `folder`, unpacked if it is an archive, and check its contents."""
    try:
        if download.is_archive:
            unpack(part.path, download, folder)
        else:
            target = new_file(folder, (download.name,), download.url)
            try:
                os.link(part.path, target)  # a second name: the part is still there if a later step fails
            except OSError:
                shutil.copyfile(part.path, target)
    except BadArchiveError:
        part.forget()
        raise
    listed = track(download.contents.items(), f"checking what was in {download.name}") if download.contents else ()
    for path, expected in listed:
        file, wrong = folder.joinpath(*PurePosixPath(path).parts), ""
        if not file.is_file():
            wrong = f"has no file {path!r}; correct the list of contents"
        elif (found := checksums(file, ["md5"])["md5"]) != expected:
            wrong = f"{path!r} has md5 {found}, {expected} expected; compare the list of contents with the publisher's"
        if wrong:
            if not download.md5 and not download.sha256:
                part.forget()  # else it is what was published, and would come the same again
            raise RadiosslError(f"{download.url}: {wrong}, then fetch again")
