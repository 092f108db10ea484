"""The one exception that means: the input is wrong, and here is what to do about it."""

from __future__ import annotations

import os


class RadiosslError(ValueError):
    """A problem that the user can mend.

    The message is one line that names the file or key, what was expected and what to do. The command line
    prints it without a traceback and exits with status 1. What other libraries say over several lines becomes one.
    """

    def __init__(self, *parts: object) -> None:
        super().__init__(*(" ".join(part.splitlines()) if isinstance(part, str) else part for part in parts))


class DiskFullError(RadiosslError):
    """There is no room for a file or folder; nothing half-written of it is left.

    Parameters
    ----------
    path
        What was being written.
    reason
        What kind of room is missing.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(os.fspath(path), reason)  # both, so that it travels between processes

    def __str__(self) -> str:
        path, reason = self.args
        return f"{path}: cannot be written, {reason}; make room and give the same command again"
