"""Full disks, recognised in whatever words a library reports them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from radiossl.io.errors import DiskFullError, RadiosslError

#: What the system answers where there is no room.
_NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "it is larger than the system allows a file to be",
}
_PROBE_BYTES = 2**20


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
        return error.reason
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
