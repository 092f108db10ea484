"""Errors that a user can fix: one line that says what to do; full disks, however a library reports them."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args


class RadiosslError(ValueError):
    """A problem that the user can fix.

    The message is one line that names the file or key, what was expected and what to do. The command line
    prints it without a traceback and exits with status 1. Messages of other libraries are joined to one line.
    """

    def __init__(self, *parts: object) -> None:
        super().__init__(*(" ".join(part.splitlines()) if isinstance(part, str) else part for part in parts))


def reason_of(error: object) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def check_choice(option: str, value: object, choices: Any) -> Any:
    """Return the value of an option; raise `RadiosslError` unless it is one of some names, or of a ``Literal``."""
    names = get_args(choices) or tuple(choices)
    if value not in names:
        raise RadiosslError(f"{option} {value}: expected one of {', '.join(names)}")
    return value


def check_number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    whole: bool = False,
    above: bool = False,
    below: bool = False,
) -> None:
    """Raise `RadiosslError`, which begins with `name`, unless a value is a finite number within limits.

    The limits themselves are in, but for `low` if the number has to be `above` it, and `high` if `below`. With `whole`,
    only whole numbers will do. Texts and truth values are no numbers.

    >>> check_number("--overlap", 0.5, 0, 1, below=True)
    """
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    number: Any = value if is_number else math.nan  # which is within no limits
    if low <= number <= high and abs(number) < math.inf and number not in ([low] * above + [high] * below):
        return
    limits = [f"{'above' if above else 'of at least'} {low:,.12g}"] if low > -math.inf else []
    limits += [f"{'below' if below else 'at most' if limits else 'of at most'} {high:,.12g}"] if high < math.inf else []
    expected = f"a {'whole ' * whole}number{' ' * bool(limits)}{' and '.join(limits)}"
    raise RadiosslError(f"{name} {value if is_number else repr(value)}: expected {expected}")


def check_seed(seed: object) -> None:
    """Raise `RadiosslError` unless this is a random seed that numpy, torch and scikit-learn take."""
    check_number("--seed", seed, 0, 2**32 - 1, whole=True)


#: Columns that an error lists at most.
_MOST_LISTED = 40


def check_columns(names: Iterable[str], available: Iterable[str], where: object = "", use: str = "") -> None:
    """Raise `RadiosslError`, which begins with `where`, if one of some columns is not there."""
    there = list(map(str, available))
    for name in names:
        if name not in there:
            raise RadiosslError(f"{where}{': ' if where else ''}no column {name!r}{use}; there are {listed(there)}")


def listed(columns: Sequence[str]) -> str:
    """Return the names of a table's columns for a message, the first ones if there are many."""
    more = f" and {len(columns) - _MOST_LISTED} more" if len(columns) > _MOST_LISTED else ""
    return f"{', '.join(columns[:_MOST_LISTED])}{more}"


def counted(number: float, noun: str) -> str:
    """Return a number and what is counted, for a message.

    >>> counted(1, "source"), counted(12345, "source"), counted(2, "query"), counted(1.5, "epoch")
    ('1 source', '12,345 sources', '2 queries', '1.5 epochs')
    """
    ending = "es" if noun.endswith(("s", "tch", "sh")) else "s"
    several = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}{ending}"
    return f"{number:,.12g} {noun if number == 1 else several}"


class UnwritableError(RadiosslError):
    """A file or folder cannot be written; nothing half-written of it is left."""

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

    The file `probe` may be lengthened to find out whether the disk is full, where an error does not tell: libraries in
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
