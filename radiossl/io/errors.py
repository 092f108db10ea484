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


class UnwritableError(RadiosslError):
    """A file or folder cannot be written; nothing half-written of it is left.

    Parameters
    ----------
    path
        What was being written.
    reason
        Why it cannot be.
    """

    remedy = "choose another --out"

    def __init__(self, path: str | os.PathLike[str], reason: object) -> None:
        super().__init__(os.fspath(path), str(reason))  # both, so that it travels between processes

    @property
    def reason(self) -> str:
        """Why it cannot be written."""
        return str(self.args[1])

    def __str__(self) -> str:
        return f"{self.args[0]}: cannot be written, {self.reason}; {self.remedy}"


class DiskFullError(UnwritableError):
    """There is no room for a file or folder."""

    remedy = "make room and give the same command again"
