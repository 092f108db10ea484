"""What a person says of sources, in files that every word of theirs reaches at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import pandas as pd

from radiossl.io.errors import RadiosslError
from radiossl.io.files import only_writer
from radiossl.ratings.records import COLUMNS, HIGHEST, LOWEST, last_ratings, read_ratings
from radiossl.report.results import write_table

LABEL_COLUMNS = ("cutout_id", "label")
_LONGEST_LABEL = 60


class KeptRatings:
    """The ratings file of `radiossl rate`, one row longer with every rating.

    The file is read again before each rating is added, so that what another program wrote meanwhile is kept, and
    replaced as a whole: a process that is killed at any moment leaves it as it was before or after a rating.

    Parameters
    ----------
    path
        CSV; it is made with the first rating if there is none.
    who
        Whose ratings these are.
    """

    def __init__(self, path: str | os.PathLike[str], who: str = "") -> None:
        self.path = Path(path)
        self.who = who
        self._lock = Lock()
        self.last = last_ratings(self._read())

    def add(self, cutout_id: str, rating: int) -> None:
        """Save a rating; raise `RadiosslError` if it is none or the file cannot be read or written."""
        if not LOWEST <= rating <= HIGHEST:
            raise RadiosslError(f"rating {rating}: a whole number from {LOWEST} to {HIGHEST} was expected")
        row = dict.fromkeys(COLUMNS, "") | {"cutout_id": cutout_id, "rating": rating, "who": self.who}
        row["when"] = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock, only_writer(self.path):
            ratings = pd.concat([self._read(), pd.DataFrame([row])], ignore_index=True)
            write_table(ratings, self.path)
            self.last = last_ratings(ratings)

    def of(self, cutout_id: str) -> int | None:
        """Return the rating of a source, None if it has none."""
        rating = self.last.get(cutout_id)
        return None if rating is None else int(rating)

    def _read(self) -> pd.DataFrame:
        return read_ratings(*([self.path] if self.path.exists() else []))


class KeptLabels:
    """A CSV of class labels, one row for each labelled source, for `radiossl store join` and then `evaluate`.

    Parameters
    ----------
    path
        CSV with columns ``cutout_id`` and ``label``; made with the first label if there is none.

    Raises
    ------
    RadiosslError
        If the file is there and is not such a table.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = Lock()
        self.labels = self._read()

    def add(self, cutout_ids: Sequence[str], label: str) -> None:
        """Label sources, whatever their label was; an empty text takes their labels away."""
        label = label.strip()
        if len(label) > _LONGEST_LABEL or not label.isprintable():
            raise RadiosslError(f"a label of at most {_LONGEST_LABEL} printable characters was expected")
        with self._lock, only_writer(self.path):
            labels = self._read()
            labels = labels[~labels.index.isin(cutout_ids)]
            if label:
                labels = pd.concat([labels, pd.Series(label, index=list(cutout_ids), name="label")])
            write_table(labels.rename_axis("cutout_id").reset_index(), self.path)
            self.labels = labels

    def counts(self) -> dict[str, int]:
        """Return how many sources have each label."""
        return {str(name): int(count) for name, count in self.labels.value_counts().sort_index().items()}

    def _read(self) -> pd.Series:
        if not self.path.exists():
            return pd.Series(name="label", dtype=str)
        try:
            frame = pd.read_csv(self.path, dtype=str, keep_default_na=False)
        except (ValueError, pd.errors.ParserError) as error:
            raise RadiosslError(f"{self.path}: not a readable CSV file ({error})") from None
        if tuple(frame.columns) != LABEL_COLUMNS:
            raise RadiosslError(f"{self.path}: columns {', '.join(LABEL_COLUMNS)} were expected; give another --labels")
        return frame.drop_duplicates("cutout_id", keep="last").set_index("cutout_id")["label"]
