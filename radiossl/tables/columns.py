"""What a forest looks at: columns of a catalogue, colours, resolvedness, features; read whole or piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from radiossl.features.table import FEATURES, feature_dimension, regrouped, table_files, vectors_of
from radiossl.io.csv_cells import unguarded_table
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike
from radiossl.io.settings import split_names
from radiossl.io.tables import ENDINGS, read_table
from radiossl.io.text_tables import Layout, has_decimal_commas, streamed_layout
from radiossl.io.values import MISSING_NUMBERS, clean_texts, numbers, typed, warn_of_marker

_CSV_BLOCK = 1 << 24  # bytes that are parsed at a time


@dataclass(frozen=True)
class TableColumns:
    """The numbers that describe a source, in order."""

    columns: tuple[str, ...] = ()  # taken as they are, such as magnitudes; a missing one is NaN, which the forest takes
    colours: tuple[tuple[str, str], ...] = ()  # differences of two columns; missing where either is
    #: PSF and model magnitude, whose absolute difference says how resolved a source is (Clarke et al. 2020)
    resolved: tuple[str, str] | None = None
    dimension: int = 0  # of the features of a feature table; 0 to look at none
    missing: tuple[float, ...] = ()  # numbers that mean "not measured", such as -9999

    def __post_init__(self) -> None:
        if not self.names:
            raise RadiosslError("nothing to learn from: name columns with --columns, or take --features")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise RadiosslError(f"column {twice[0]!r} is named twice; name it once")

    @property
    def names(self) -> list[str]:
        """What each number is called, in the order of `matrix`."""
        return [*self.scalars, *(f"{FEATURES}[{number}]" for number in range(self.dimension))]

    @property
    def scalars(self) -> list[str]:
        """What the numbers before the features are called."""
        resolved = ["|{}-{}|".format(*self.resolved)] if self.resolved else []
        return [*self.columns, *(f"{first}-{second}" for first, second in self.colours), *resolved]

    @property
    def needed(self) -> list[str]:
        """The columns of a file that are read."""
        pairs = [*self.colours, *([self.resolved] if self.resolved else [])]
        names = [*self.columns, *(name for pair in pairs for name in pair)]
        return list(dict.fromkeys([*names, *([FEATURES] if self.dimension else [])]))

    def matrix(self, table: pa.Table) -> NDArray[np.float32]:
        """Return the numbers of each row, shape (n, d), NaN where not measured or beyond float32."""
        values = {name: self._numbers(table, name) for name in self.needed if name != FEATURES}
        parts = [values[name] for name in self.columns]
        parts += [values[first] - values[second] for first, second in self.colours]
        if self.resolved:
            parts.append(np.abs(values[self.resolved[0]] - values[self.resolved[1]]))
        result = np.empty((table.num_rows, len(self.names)), np.float32)
        with np.errstate(over="ignore"):
            for number, part in enumerate(parts):
                result[:, number] = part
        if self.dimension:
            result[:, len(parts) :] = self._vectors(table)
        result[~np.isfinite(result)] = np.nan
        return result

    def warn_of_markers(self, table: pa.Table) -> None:
        """Warn of numbers that seem to mean "not measured" and are not among `missing`."""
        for name in self.needed:
            if name != FEATURES:
                warn_of_marker(self._numbers(table, name), name, "give --missing {}")

    def _numbers(self, table: pa.Table, name: str) -> NDArray[np.float64]:
        column = table.column(name)
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        elif pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
        values = numbers(column)
        if values is None:
            raise RadiosslError(f"column {name!r} is {column.type}, numbers were expected; leave it out of --columns")
        values[np.isin(values, self.missing)] = np.nan
        return values

    def _vectors(self, table: pa.Table) -> NDArray[np.float32]:
        column, where = table.column(FEATURES), f"column {FEATURES!r}"
        if column.null_count:
            raise RadiosslError(f"{where} has rows without features; embed the cutouts again")
        if (found := feature_dimension(table.schema, where, column)) != self.dimension:
            raise RadiosslError(f"{where}: vectors of dimension {self.dimension} were expected, not {found}")
        return vectors_of(column, self.dimension, where)


def parse_colours(text: str) -> tuple[tuple[str, str], ...]:
    """Split ``u-g,g-r``; raise `RadiosslError` if a colour is not two columns joined by a minus sign."""
    pairs = []
    for colour in split_names(text):
        first, minus, second = colour.partition("-")
        if not (minus and first.strip() and second.strip()):
            raise RadiosslError(f"--colours {colour}: expected two columns and a minus sign, such as u-g,g-r")
        pairs.append((first.strip(), second.strip()))
    return tuple(pairs)


class TableFile:
    """A table of any format that `radiossl.io.tables.read_table` reads, or a folder of Parquet files of features.

    Parquet, FITS and text between marks, such as CSV, are read piece by piece, in memory that does not grow with them.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self.files = table_files(path)
        name = self.files[0].name.lower()
        self.kind = next((kind for kind in ("parquet", "text", "fits") if name.endswith(ENDINGS[kind])), "whole")
        self.rows: int | None = None
        try:
            if self.kind == "parquet":
                self.schema: pa.Schema = pq.read_schema(self.files[0])
                self.rows = sum(pq.read_metadata(file).num_rows for file in self.files)
            elif self.kind == "fits":
                with self._fits() as part:
                    self.schema = pa.schema((name, pa.null()) for name in part.columns.names)
                    self.rows = len(part.data)
            elif self.kind == "text" and self._layout is not None:
                self.schema = pa.schema(self._kinds)
            else:
                self.kind, self.schema, self.rows = "whole", self._whole.schema, len(self._whole)
            self.names = list(self.schema.names)
        except (pa.ArrowException, OSError, AttributeError, TypeError) as error:  # the last: FITS data cut off
            raise RadiosslError(f"{path}: not a readable {self.kind} table ({error})") from None

    def pieces(self, names: Sequence[str], rows: int, start: int = 0) -> Iterator[pa.Table]:
        """Yield tables of `rows` rows (the last one of fewer) with the columns `names`, from row `start` on."""
        return regrouped(self._parts(list(names), rows, start), rows)

    def read(self, names: Sequence[str]) -> pa.Table:
        """Read these columns of all rows."""
        parts = list(self.pieces(names, 1 << 20))
        if not parts:
            raise RadiosslError(f"{self.path}: the table has no rows")
        return pa.concat_tables(parts)

    def feature_dimension(self) -> int:
        """Return the length of the vectors of a feature table; raise `RadiosslError` if it is not one."""
        first = next(self.pieces([FEATURES], 1), None) if FEATURES in self.names else None
        if first is not None:
            return feature_dimension(first.schema, self.path, first.column(FEATURES))
        return feature_dimension(self.schema, self.path)

    def _parts(self, names: list[str], rows: int, start: int) -> Iterator[pa.Table]:
        try:
            source = {"parquet": self._parquet_parts, "text": self._text_parts, "fits": self._fits_parts}
            whole = self._whole.select(names).slice(start) if self.kind == "whole" else None
            yield from source[self.kind](names, rows, start) if whole is None else [whole]
        except (pa.ArrowException, OSError) as error:
            raise RadiosslError(f"{self.path}: cannot be read to its end ({error})") from None

    def _parquet_parts(self, names: list[str], rows: int, start: int) -> Iterator[pa.Table]:
        for path in self.files:
            file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if start < size:  # row groups that lie wholly before the start are not read
                    batches = file.iter_batches(min(rows, 1 << 16), row_groups=[group], columns=names)
                    yield from _after(batches, start)
                start = max(0, start - size)

    @cached_property
    def _whole(self) -> pa.Table:
        return read_table(self.path)

    @cached_property
    def _layout(self) -> Layout | None:
        return streamed_layout(self.path)

    @cached_property
    def _kinds(self) -> dict[str, pa.DataType]:
        """Types of the columns of a text table, by its first block: what is not numbers alone stays text as written."""
        heads = self._layout.heads if self._layout else ()
        if twice := sorted({name for name in heads if heads.count(name) > 1}):
            raise RadiosslError(f"{self.path}: has two columns {twice[0]!r}; rename one")
        with self._opened_text(None) as reader:
            first = pa.Table.from_batches(list(islice(reader, 1)), reader.schema)
        self._decimal_point = "."
        kinds = {}
        for name in first.column_names:
            text = clean_texts(first.column(name))
            if self._layout and self._layout.delimiter == ";" and has_decimal_commas(text):
                text, self._decimal_point = pc.replace_substring(text, ",", "."), ","
            kinds[name] = typed(text).type
        return kinds

    def _opened_text(self, names: list[str] | None) -> Any:
        """The reader of some columns of a text table; of all as text without names."""
        assert self._layout is not None
        how = self._layout.options("utf-8")
        how["read_options"].block_size = _CSV_BLOCK
        if names is None:
            converting = csv.ConvertOptions(column_types=dict.fromkeys(self._layout.names, pa.string()))
        else:
            marks = {"null_values": list(MISSING_NUMBERS), "decimal_point": self._decimal_point}
            converting = csv.ConvertOptions(include_columns=names, column_types=self._kinds, **marks)
        return csv.open_csv(self.path, **how, convert_options=converting)

    def _text_parts(self, names: list[str], rows: int, start: int) -> Iterator[pa.Table]:
        with self._opened_text(names) as reader:
            for table in _after(reader, start):
                yield unguarded_table(table).rename_columns(names)

    @contextmanager
    def _fits(self) -> Iterator[Any]:
        from astropy.io import fits

        with fits.open(self.path, memmap=True) as parts:
            part = next((part for part in parts if isinstance(part, fits.BinTableHDU)), None)
            if part is None:
                raise RadiosslError(f"{self.path}: the FITS file has no binary table; is it a mosaic?")
            yield part

    def _fits_parts(self, names: list[str], rows: int, start: int) -> Iterator[pa.Table]:
        with self._fits() as part:
            data, nulls = part.data, {column.name: column.null for column in part.columns}
            for first in range(start, len(data), rows):
                piece = data[first : first + rows]
                stored = piece.view(np.ndarray)  # TNULL is one of the numbers as they stand in the file, unscaled
                hidden = {name: stored[name] == nulls[name] for name in names if nulls[name] is not None}
                yield pa.table({name: _plain(np.asarray(piece[name]), hidden.get(name)) for name in names})


def _after(batches: Any, skipped: int) -> Iterator[pa.Table]:
    for batch in batches:
        table = pa.Table.from_batches([batch]).replace_schema_metadata()
        yield table.slice(min(skipped, table.num_rows))
        skipped = max(0, skipped - table.num_rows)


def _plain(values: NDArray[Any], hidden: NDArray[np.bool_] | None) -> Any:
    """A FITS column as Arrow takes it: in the machine's byte order, null where hidden, text without padding."""
    if values.dtype.kind in "SU":
        return pa.array([text.strip() or None for text in values.astype(str).tolist()], pa.string())
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.array(values, mask=hidden)
