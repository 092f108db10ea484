"""Class labels that a person gives to sources, saved at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file
from radiossl.io.locks import only_writer
from radiossl.ratings.journal import PATIENCE_S
from radiossl.ratings.records import read_csv_texts

LABEL_COLUMNS = ("cutout_id", "label")
_LONGEST_LABEL = 60


class KeptLabels:
    """A CSV of class labels, one row for each labelled source, for `radiossl store join` and then `evaluate`.

    Its columns are ``cutout_id`` and ``label``; it is made with the first label if there is none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.labels = self._read()

    def add(self, cutout_ids: Sequence[str], label: str) -> None:
        """Label sources, or relabel them; an empty text removes their labels."""
        label = label.strip()
        if len(label) > _LONGEST_LABEL or not label.isprintable():
            raise RadiosslError(f"a label of at most {_LONGEST_LABEL} printable characters was expected")
        with only_writer(self.path, wait_s=PATIENCE_S):
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
        frame = read_csv_texts(existing_file(self.path))
        if tuple(frame.columns) != LABEL_COLUMNS:
            raise RadiosslError(f"{self.path}: columns {', '.join(LABEL_COLUMNS)} were expected; give another --labels")
        return frame.drop_duplicates("cutout_id", keep="last").set_index("cutout_id")["label"]
