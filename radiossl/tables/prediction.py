"""Classes of the rows of a table of any length, in constant memory; interrupted work is resumed."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from radiossl.evaluation.confidence import prediction_sets, set_texts
from radiossl.io.csv_cells import guarded_table
from radiossl.io.errors import RadiosslError, check_columns
from radiossl.io.files import PathLike, atomic_file, file_stamp, read_json, write_json
from radiossl.io.locks import only_writer
from radiossl.io.parquet import parquet_writer, read_parquet, write_parquet
from radiossl.io.progress import track
from radiossl.io.replacing import check_replaceable
from radiossl.tables.columns import TableFile
from radiossl.tables.forest import Forest

#: Rows that are read, classified and written at a time; at most so much work is lost with an interruption.
PIECE_ROWS = 500_000
#: Columns that are kept beside the probabilities by default, in lower case.
KEPT = ("cutout_id", "source_id", "objid", "specobjid", "id", "name", "ra", "dec", "ra_deg", "dec_deg")

#: Medians that differ by more than this factor are taken for those of other units: 60 arcsec are 1 arcmin.
_OTHER_UNIT = 50.0
_SUFFIXES = (".parquet", ".csv", ".fits")


def predict_table(
    forest: Forest, table: PathLike, out: PathLike, keep: tuple[str, ...] = (), piece_rows: int = PIECE_ROWS
) -> dict[str | None, int]:
    """Classify every row of a table.

    Parameters
    ----------
    forest
        From `radiossl.tables.training.train_forest` or `Forest.load`.
    table
        Parquet, CSV or FITS, by its name.
    out
        Parquet, CSV or FITS file to write: the kept columns, ``predicted``, ``probability[CLASS]``, ``prediction_set``
        (the classes that cannot be excluded, such as ``QSO|STAR``, or ``none``) and ``outlier_score`` (above 1: unlike
        99 % of what the forest learnt from); the last two not for forests of version 0.1. Finished pieces are kept in a
        hidden folder beside it until all are there; the same call goes on after the last one.
    keep
        Columns of the table to copy; without any, those of `KEPT` that there are.
    piece_rows
        Rows at a time.

    Returns
    -------
    dict
        Rows of each predicted class, and under None those of which no column is measured: they get no class, and NaN
        for probabilities.

    Raises
    ------
    RadiosslError
        If a column is missing, nothing is measured, the table cannot be read, or `out` is not of a known kind.
    """
    out = Path(out)
    if out.suffix.lower() not in _SUFFIXES:
        raise RadiosslError(f"{out}: a result's name must end in one of {', '.join(_SUFFIXES)}")
    if out.resolve() == Path(table).resolve():
        raise RadiosslError(f"{out}: is the table that is read; choose another --out")
    check_replaceable(out, r"predicted.*probability\[", "table of predictions")
    file = TableFile(table)
    check_columns(forest.columns.needed, file.names, str(table))
    check_columns(keep, file.names, str(table), " for --keep")
    kept = keep or tuple(name for name in file.names if name.lower() in KEPT)
    names = list(dict.fromkeys([*kept, *forest.columns.needed]))
    folder = out.with_name(f".{out.name}.pieces")
    with only_writer(out):
        done = _finished_pieces(folder, _identity(forest, file, kept, piece_rows))
        pieces = file.pieces(names, piece_rows, len(done) * piece_rows)
        total = None if file.rows is None else -(-file.rows // piece_rows) - len(done)
        for piece in track(pieces, "classifying", total):
            if not done:
                _warn_of_other_units(forest, piece)
            part = folder / f"{len(done):06d}.parquet"
            with atomic_file(part) as temporary:
                write_parquet(_classified(forest, piece, kept), temporary)
            done.append(part)
        if not done:
            raise RadiosslError(f"{table}: the table has no rows")
        predicted = [read_parquet(part, ["predicted"]).column(0) for part in done]
        if all(column.null_count == len(column) for column in predicted):
            shutil.rmtree(folder)
            raise RadiosslError(f"{table}: nothing is measured in any row, of {', '.join(forest.columns.needed[:40])}")
        counts = _join(done, out, forest.classes)
        shutil.rmtree(folder)
    return counts


def _classified(forest: Forest, piece: pa.Table, kept: Iterable[str]) -> pa.Table:
    values = forest.columns.matrix(piece)
    probabilities = forest.predict(values)
    unmeasured = np.isnan(values).all(axis=1)
    probabilities[unmeasured] = np.nan
    columns: dict[str, Any] = {name: piece.column(name) for name in kept}
    most = pa.array(probabilities.argmax(axis=1).astype(np.int32), mask=unmeasured)
    columns["predicted"] = pa.DictionaryArray.from_arrays(most, pa.array(forest.classes)).cast(pa.string())
    for name, share in zip(forest.classes, probabilities.T.astype(np.float32), strict=True):
        columns[f"probability[{name}]"] = pa.array(share)
    if forest.calibration is not None:
        sets = prediction_sets(np.nan_to_num(probabilities), forest.calibration.thresholds)
        columns["prediction_set"] = pa.array(set_texts(sets, forest.classes), pa.string(), mask=unmeasured)
        columns["outlier_score"] = pa.array(forest.calibration.novelty.scores(values).astype(np.float32))
    return pa.table(columns)


def _warn_of_other_units(forest: Forest, piece: pa.Table) -> None:
    """Warn of columns without a value, and of those whose typical value is far from that of the training."""
    if forest.calibration is None:
        return
    learnt_from, columns = forest.calibration.novelty.middle, forest.columns.matrix(piece).T
    for name, column, learnt in zip(forest.columns.scalars, columns, learnt_from, strict=False):
        known = column[np.isfinite(column)]
        if not known.size:
            warnings.warn(f"column {name!r}: nothing is measured", stacklevel=3)
            continue
        typical = float(np.median(known))
        if min(typical, learnt) > 0 and not 1 / _OTHER_UNIT < typical / learnt < _OTHER_UNIT:
            what = f"its median is {typical:.3g}, that of the training was {learnt:.3g}"
            warnings.warn(f"column {name!r}: {what}; is it in the same unit?", stacklevel=3)


def _identity(forest: Forest, file: TableFile, kept: tuple[str, ...], piece_rows: int) -> dict[str, Any]:
    """What must not have changed since an interruption."""
    digest = hashlib.sha256(repr((forest.columns, forest.classes)).encode())
    for array in (forest.feature, forest.threshold, forest.left, forest.right, forest.roots, forest.leaves):
        digest.update(array.tobytes())
    if forest.calibration is not None:
        arrays, about = forest.calibration.to_file()
        digest.update(repr(about).encode() + b"".join(array.tobytes() for array in arrays.values()))
    source = [list(file_stamp(one)) for one in file.files]
    return {"forest": digest.hexdigest(), "table": source, "keep": list(kept), "piece_rows": piece_rows}


def _finished_pieces(folder: Path, identity: dict[str, Any]) -> list[Path]:
    """The pieces of an interrupted call of the same kind, without gaps; those of another one are thrown away."""
    note = folder / "identity.json"
    if note.is_file() and read_json(note) == identity:
        parts = sorted(folder.glob("[0-9]*.parquet"))
        return [part for number, part in enumerate(parts) if part.name == f"{number:06d}.parquet"]
    shutil.rmtree(folder, ignore_errors=True)
    write_json(note, identity)
    return []


def _join(parts: list[Path], out: Path, classes: list[str]) -> dict[str | None, int]:
    counts: dict[str | None, int] = dict.fromkeys([*classes, None], 0)
    schema = pq.read_schema(parts[0])

    def tables() -> Iterator[pa.Table]:
        for part in track(parts, f"writing {out.name}"):
            table = read_parquet(part).cast(schema)
            for entry in table.column("predicted").value_counts().to_pylist():
                counts[entry["values"]] += entry["counts"]
            yield table

    with atomic_file(out) as temporary:
        if out.suffix.lower() == ".fits":
            _write_fits(parts, tables(), temporary)
            return counts
        opened: Any = parquet_writer if out.suffix.lower() == ".parquet" else csv.CSVWriter
        with opened(temporary, schema) as writer:
            for table in tables():
                writer.write_table(table if opened is parquet_writer else guarded_table(table))
    return counts


def _write_fits(parts: list[Path], tables: Iterable[pa.Table], path: Path) -> None:
    """Write a binary table record by record: its header needs only the number of rows and the widest texts."""
    from astropy.io import fits

    schema = pq.read_schema(parts[0])
    texts = [name for name in schema.names if pa.types.is_string(schema.field(name).type)]
    width = dict.fromkeys(texts, 1)
    rows = 0
    for part in parts:
        rows += pq.read_metadata(part).num_rows
        table = read_parquet(part, texts)
        for name in texts:
            width[name] = max([width[name], *(len((text or "").encode()) for text in set(table[name].to_pylist()))])
    kinds = [(n, f"S{width[n]}" if n in width else schema.field(n).type.to_pandas_dtype()) for n in schema.names]
    record = np.dtype([(name, np.dtype(kind).newbyteorder(">")) for name, kind in kinds])
    header = fits.BinTableHDU(np.zeros(0, record.newbyteorder("="))).header
    header["NAXIS2"] = rows
    with contextlib.closing(fits.StreamingHDU(path, header)) as stream:
        for table in tables:
            records = np.zeros(table.num_rows, record)
            for name in table.column_names:
                letters = [(text or "").encode() for text in table[name].to_pylist()] if name in width else None
                records[name] = table[name].to_numpy() if letters is None else letters
            stream.write(records.view(np.uint8))
