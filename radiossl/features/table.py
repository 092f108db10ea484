"""The feature table that every task takes: Parquet, one row per cutout, a file or a folder of files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import radiossl
from radiossl.features.rows import FEATURES, has_features
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file, existing_file
from radiossl.io.parquet import write_parquet

METADATA_KEY = b"radiossl"
#: Set in files of which every row has features, so that they need not be looked through first.
CHECKED_KEY = b"radiossl_checked"


@dataclass(frozen=True)
class FeatureTable:
    """Features with what else is known of each cutout.

    Attributes
    ----------
    columns
        `pyarrow.Table` with `cutout_id` and the other scalar columns, one row per cutout.
    features
        Shape (n, feature_dim), float32.
    metadata
        ``weights``, ``weights_sha256``, ``preprocessing``, ``radiossl_version`` and, if from stores, ``stores``.
    """

    columns: pa.Table
    features: NDArray[np.float32]
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != self.columns.num_rows:
            raise RadiosslError(
                f"features of shape {self.features.shape} for {self.columns.num_rows} rows of columns: must match"
            )
        if "cutout_id" not in self.columns.column_names:
            raise RadiosslError("a feature table needs a column cutout_id")
        if FEATURES in self.columns.column_names:
            raise RadiosslError(f"a column of the cutouts is called {FEATURES!r}, as the features are; rename it")

    def __len__(self) -> int:
        return len(self.features)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column as an array, missing numbers as NaN; raise `RadiosslError` if there is none of that name."""
        if name not in self.columns.column_names:
            raise RadiosslError(f"no column {name!r} in the features; there are {', '.join(self.columns.column_names)}")
        return self.columns.column(name).to_pandas().to_numpy()

    def select(self, rows: NDArray[Any]) -> FeatureTable:
        """Return the table of these rows only: indices or a mask."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        return FeatureTable(self.columns.take(pa.array(rows, pa.int64())), self.features[rows], self.metadata)

    def explore(self, images: Any = None, **options: Any) -> Any:
        """Open the explorer: in a notebook below the cell, elsewhere in a browser until Ctrl-C.

        Parameters
        ----------
        images
            A `CutoutStore`; by default the stores that the features are of.
        options
            See `radiossl.explore`.

        Examples
        --------
        >>> radiossl.embed("simclr-first-zoom", "store").explore()  # doctest: +SKIP
        """
        return radiossl.explore(self, images, **options)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the table as Parquet, atomically."""
        flat = pa.array(np.ascontiguousarray(self.features, dtype=np.float32).ravel())
        features = pa.FixedSizeListArray.from_arrays(flat, self.features.shape[1])
        table = self.columns.append_column(FEATURES, features)
        about = {METADATA_KEY: json.dumps(self.metadata).encode()}
        if has_features(self.features).all():
            about[CHECKED_KEY] = b"1"
        table = table.replace_schema_metadata(about)
        with atomic_file(path) as temporary:
            write_parquet(table, temporary)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> FeatureTable:
        """Read a feature table into memory, without rows that have no features (a warning says how many).

        Vectors may be lists of any kind of number, as pandas and polars write them; ids may be whole numbers.

        Raises
        ------
        RadiosslError
            If the table is missing, incomplete, damaged, other Parquet, or has no row with features.
        """
        from radiossl.features.feature_file import FeatureFile

        file = FeatureFile(path)
        nothing = np.empty((0, file.dimension), np.float32)
        return cls(file.columns(), np.concatenate([nothing, *file.batches()]), file.metadata)


def regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the same rows in tables of `rows`, the last one of fewer."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        held.append(table)
        count += table.num_rows
        while count >= rows:
            whole = pa.concat_tables(held)
            yield whole.slice(0, rows)
            held = [whole.slice(rows)]
            count -= rows
    if count:
        yield pa.concat_tables(held)


def part_name(number: int, count: int) -> str:
    """Return the file name of a part of a partitioned table."""
    return f"part-{number:05d}-of-{count:05d}.parquet"


def table_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the Parquet files of a feature table in order: itself, or the parts of a folder.

    Raises `RadiosslError` if there is none, or a part is missing.
    """
    path = Path(path)
    if not path.is_dir():
        return [existing_file(path)]
    counts = {found[1] for file in path.iterdir() if (found := re.fullmatch(r"part-\d+-of-(\d+)\.parquet", file.name))}
    if not counts:
        raise RadiosslError(f"{path}: not a feature table (a folder without files such as {part_name(0, 9)})")
    if len(counts) > 1:
        raise RadiosslError(f"{path}: has parts of more than one table (of {' and of '.join(sorted(counts))} parts)")
    count = int(counts.pop())
    files = [path / part_name(number, count) for number in range(count)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise RadiosslError(f"{path}: {missing[0]} is missing; copy it again or embed the store again")
    return files
