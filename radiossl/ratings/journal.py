"""The ratings file as a journal: every rating is a row at its end, and nothing that was saved is lost."""

from __future__ import annotations

import csv
import io
import os
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from radiossl.io.csv_cells import csv_format, guarded_frame
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, atomic_file, existing_file
from radiossl.io.locks import only_writer
from radiossl.ratings.records import (
    COLUMNS,
    HIGHEST,
    LOWEST,
    WITHDRAWN,
    last_ratings,
    read_ratings,
    read_table,
    without_withdrawn,
)

#: Seconds to wait for another program that is writing to the file.
PATIENCE_S = 60.0
_SAME = ["cutout_id", "who", "round"]


class RatingsFile:
    """The ratings of one or several people, shared by any number of programs.

    A rating is appended as one row and is on the disk when `add` returns. Programs take turns by a lock, so that none
    writes over another's rows; a program that is killed leaves whole rows only. The file is an ordinary CSV
    (``cutout_id,rating,who,when,round``), readable by any version of radiossl; it is created with the first rating of
    `who`. A file that is no ratings file raises `RadiosslError`.

    >>> import tempfile
    >>> ratings = RatingsFile(tempfile.mkdtemp() + "/ratings.csv", who="ada")
    >>> for rating in (3, 5, 3):
    ...     ratings.add("J1234+5678", rating)
    >>> ratings.of("J1234+5678")
    3
    >>> ratings.undo()
    'J1234+5678'
    >>> ratings.of("J1234+5678")
    5
    """

    def __init__(self, path: PathLike, who: str = "") -> None:
        self.path = Path(path)
        self.who = who
        self._seen: tuple[int, int, int] | None = None
        self.version = 0  # changes whenever the ratings do
        self.all = read_ratings()  # those that were not withdrawn, in the order in which they were given
        self.last = last_ratings(self.all)  # the rating that counts of every rated object
        self.refresh()

    def add(self, cutout_id: str, rating: int, who: str | None = None) -> None:
        """Save a rating, from 1 to 5."""
        if not LOWEST <= rating <= HIGHEST:
            raise RadiosslError(f"rating {rating}: a whole number from {LOWEST} to {HIGHEST} was expected")
        self._append(cutout_id, str(rating), self.who if who is None else who)

    def undo(self, who: str | None = None) -> str | None:
        """Withdraw the latest rating of a person; return its object's id, or None if that person has none left."""
        who = self.who if who is None else who
        self.refresh()
        own = self.all[self.all["who"] == who]
        if not len(own):
            return None
        cutout_id = str(own["cutout_id"].iloc[-1])
        self._append(cutout_id, WITHDRAWN, who)
        return cutout_id

    def of(self, cutout_id: str) -> int | None:
        """Return the rating of an object, or None."""
        rating = self.last.get(cutout_id)
        return None if rating is None else int(rating)

    def history(self, cutout_id: str) -> pd.DataFrame:
        """Return all ratings of an object that were not withdrawn, oldest first: ``rating``, ``who``, ``when``."""
        return self.all.loc[self.all["cutout_id"] == cutout_id, ["rating", "who", "when"]]

    def refresh(self) -> bool:
        """Read what other programs have added; return whether there was anything."""
        seen = _signature(self.path)
        if seen == self._seen:
            return False
        if seen is None:
            self._take(read_ratings(), None)
            return True
        with only_writer(self.path, wait_s=PATIENCE_S):  # or a row may be read while half of it is written
            seen = _signature(self.path)
            self._take(read_ratings(self.path), seen)
        return True

    def _append(self, cutout_id: str, rating: str, who: str) -> None:
        row = dict.fromkeys(COLUMNS, "") | {"cutout_id": cutout_id, "rating": rating, "who": who, "when": _now()}
        with only_writer(self.path, wait_s=PATIENCE_S):
            append_rows(self.path, pd.DataFrame([row]))
            self._take(read_ratings(self.path), _signature(self.path))

    def _take(self, ratings: pd.DataFrame, seen: tuple[int, int, int] | None) -> None:
        self.all, self.last, self._seen = ratings, last_ratings(ratings), seen
        self.version += 1


def add_ratings(path: PathLike, *filled: PathLike, who: str = "") -> int:
    """Add the ratings of filled-in tables to a ratings file; return how many were added.

    A rating is added unless it says again what the same person said last in the same round, or the very row is in the
    file: a table that is given twice does not overrule what was said in between, one that was changed does.

    Parameters
    ----------
    path : path-like
        The ratings file; it is created if there is none.
    *filled : path-like
        CSV files with ``cutout_id`` and ``rating``, such as a filled-in propose.csv.
    who : str
        The person, where a table does not say.

    Raises
    ------
    RadiosslError
        If a file is missing or is not a table of ratings, or the ratings file cannot be written.

    See Also
    --------
    RatingsFile : one rating at a time.
    """
    return sum(add_table(path, read_ratings(file), who, _changed(Path(file))) for file in filled)


def add_table(path: PathLike, new: pd.DataFrame, who: str = "", when: str = "") -> int:
    """Add ratings as `radiossl.ratings.records.read_ratings` returns them; see `add_ratings`."""
    path = Path(path)
    new = new.assign(who=new["who"].replace("", who), when=new["when"].replace("", when or _now()))
    with only_writer(path, wait_s=PATIENCE_S):
        raw = read_table(path) if _signature(path) is not None else new.head(0)
        seen = set(raw[list(COLUMNS)].astype(str).itertuples(index=False, name=None))
        last = {tuple(row[:3]): row[3] for row in without_withdrawn(raw)[[*_SAME, "rating"]].astype(str).to_numpy()}
        added = []
        for row in new[list(COLUMNS)].astype(str).itertuples(index=False, name=None):
            place = (row[0], row[2], row[4])
            if row not in seen and last.get(place) != row[1]:
                added.append(row)
                last[place] = row[1]
        append_rows(path, pd.DataFrame(added, columns=list(COLUMNS)))
    return len(added)


def append_rows(path: Path, rows: pd.DataFrame) -> None:
    """Append rows to a ratings file whose lock is held; they are on the disk afterwards, all of them or none."""
    if _signature(path) is None:
        with atomic_file(path) as temporary:
            guarded_frame(rows).to_csv(temporary, index=False, columns=list(COLUMNS))
        return
    if not len(rows):
        return
    form = csv_format(path, COLUMNS[:2])
    with path.open("r+b") as stream:
        head = stream.readline() if form == {"sep": ",", "encoding": "utf-8-sig"} else b""
        header = [name.strip() for name in next(csv.reader(io.StringIO(head.decode("utf-8-sig"))), [])]
        size = stream.seek(0, os.SEEK_END)
        if not set(COLUMNS) <= set(header):  # of a person's own, or a spreadsheet's: written again
            read_table(path)  # says what it lacks
            old = pd.read_csv(path, dtype=str, keep_default_na=False, **form)
            whole = pd.concat([old.rename(columns=str.strip), guarded_frame(rows)], ignore_index=True).fillna("")
            with atomic_file(path) as temporary:
                whole.to_csv(temporary, index=False)
            return
        ordered = guarded_frame(rows).reindex(columns=header, fill_value="")
        text = ordered.to_csv(index=False, header=False, lineterminator="\n")
        stream.seek(size - 1)
        separator = b"" if stream.read(1) == b"\n" else b"\n"
        try:
            stream.write(separator + text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        except OSError:
            os.truncate(path, size)  # a full disk: no part of a row stays
            raise


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What changes with every rating; None where there is no file, or an empty one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if status.st_size else None


def _changed(path: Path) -> str:
    """When a table was filled in."""
    return datetime.fromtimestamp(existing_file(path).stat().st_mtime, UTC).isoformat(timespec="microseconds")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
