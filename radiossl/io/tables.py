"""Reading a table of any format: Arrow columns of numbers, truth values and text, with their units and frames."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError, counted, reason_of
from radiossl.io.files import existing_file
from radiossl.io.parquet import read_parquet
from radiossl.io.values import clean_texts, decoded

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.table import Table

_log = logging.getLogger(__name__)

#: Endings of tables by the reader that they need; each may be followed by .gz.
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
    "text": (".csv", ".tsv", ".txt", ".dat", ".cat", ".tab", ".tbl", ".gaul", ".srl", ".mrt", ".skymodel", ".bbs"),
    "ecsv": (".ecsv",),
    "fits": (".fits", ".fit", ".fts"),
    "votable": (".vot", ".votable", ".xml"),
    "regions": (".reg", ".crtf"),
}


@dataclass(frozen=True)
class TableContent:
    """A table and what its file says of the columns, by their names."""

    #: Columns of one value per row: numbers, truth values and text.
    table: pa.Table
    #: As they are written.
    units: Mapping[str, str] = field(default_factory=dict)
    #: Coordinate frames such as ``fk4 B1950``; that of all other columns under "".
    frames: Mapping[str, str] = field(default_factory=dict)
    #: Unified content descriptors (IVOA UCD).
    ucds: Mapping[str, str] = field(default_factory=dict)
    #: The text of columns of numbers in a text file, as it was written.
    written: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)
    #: What a user should know about the reading, one sentence each.
    notes: tuple[str, ...] = ()
    #: How many tables the file has.
    tables: int = 1


def read_table(
    path: str | os.PathLike[str], delimiter: str | None = None, encoding: str | None = None, table: str | None = None
) -> pa.Table:
    """Return the table of `read_table_content`; what a user should know about it is logged as a warning."""
    content = read_table_content(path, delimiter, encoding, table)
    for note in content.notes:
        _log.warning("%s: %s", path, note)
    return content.table


def read_table_content(
    path: str | os.PathLike[str], delimiter: str | None = None, encoding: str | None = None, table: str | None = None
) -> TableContent:
    """Read a CSV, TSV or other text table, FITS, VOTable, ECSV, Parquet, Arrow or DS9 regions, with units and frames.

    The ending of the file gives the format (see `ENDINGS`). Text may be that of PyBDSF, Selavy, Aegean, VizieR or a
    machine-readable table of the AAS or CDS; its `delimiter` (one character, ``tab`` or ``space``) is recognised, and
    its `encoding` is UTF-8, or else Latin-1. Of several tables in a FITS file, VOTable or text of VizieR, `table`
    chooses one by name or by number, from 1 on; the default is the first. Raises `RadiosslError` if the file is missing
    or damaged, or has no such table.

    See Also
    --------
    radiossl.survey.catalogue.read_catalogue : a table of sources, with positions and sizes in known units.
    """
    from radiossl.io.text_tables import read_text_table

    path = existing_file(path)
    name = path.name.lower().removesuffix(".gz")
    kind = next((kind for kind, endings in ENDINGS.items() if name.endswith(endings)), None)
    if kind is None:
        known = ", ".join(ending for endings in ENDINGS.values() for ending in endings)
        raise RadiosslError(f"{path}: a table needs a name with one of the endings {known}")
    try:
        if kind in ("parquet", "arrow"):
            found = arrow_table(path)
            by_astropy = b"table_meta_yaml" in (found.schema.metadata or {})  # units and frames are there
            return _read_astropy(path, kind, table) if by_astropy else storable(found)
        if kind == "regions":
            from radiossl.io.region_files import read_region_table

            regions, notes = read_region_table(path)
            return TableContent(regions, {"extent": "arcsec"}, {"": "icrs"}, notes=notes)
        if kind == "text":
            return read_text_table(path, delimiter, encoding, table)
        return _read_astropy(path, kind, table)
    except RadiosslError:
        raise
    except Exception as error:  # each reader has exceptions of its own, all mean that the file is not right
        raise RadiosslError(f"{path}: not a readable {ENDINGS[kind][0][1:]} table ({reason_of(error)})") from None


def table_content(source: Any) -> TableContent:
    """Return a table in memory as `read_table_content` does a file: a pandas, polars, Arrow or astropy table.

    Raises `RadiosslError` if it is none of these.
    """
    if hasattr(source, "colnames"):
        return _from_astropy(source)
    return storable(arrow_table(source))


def is_table(source: Any) -> bool:
    """Return whether something is a table in memory that `arrow_table` takes."""
    in_pandas = hasattr(source, "columns") and hasattr(source, "index")
    return isinstance(source, pa.Table) or hasattr(source, "to_arrow") or hasattr(source, "colnames") or in_pandas


# Parquet and Arrow ----------------------------------------------------------------------------------------------------


def arrow_table(source: Any) -> pa.Table:
    """Return a Parquet, Arrow or Feather file, or a pandas, polars, Arrow or astropy table, with its lists.

    Raises `RadiosslError` if it is none of these, or damaged.
    """
    if isinstance(source, pa.Table):
        return source
    if hasattr(source, "to_arrow"):
        return source.to_arrow()
    if hasattr(source, "colnames"):
        import pandas as pd

        found, nested = _from_astropy(source).table, {}
        for name in source.colnames:
            values = getattr(source[name], "value", source[name])  # of a quantity, its numbers
            if hasattr(values, "dtype") and (values.ndim > 1 or values.dtype.kind == "O"):
                nested[name] = list(values)
        kept = found.drop_columns([name for name in nested if name in found.column_names])
        for name, column in zip(nested, arrow_table(pd.DataFrame(nested)).columns, strict=True):
            kept = kept.append_column(name, column)
        return kept
    if hasattr(source, "columns") and hasattr(source, "index"):
        named = [name for name in source.index.names if name is not None and name not in source.columns]
        if named:  # such as the ids after set_index("id")
            source = source.reset_index(named)
        lists = {}
        for name in source.columns:  # Arrow takes no arrays of two dimensions
            kind: Any = getattr(source[name], "dtype", None)
            if getattr(kind, "byteorder", "=") == ">":  # as FITS has them
                lists[name] = source[name].to_numpy().astype(kind.newbyteorder("="))
            elif getattr(kind, "kind", "") == "O" and (arrays := _array_column(source[name], name)) is not None:
                lists[name] = arrays
        try:
            return pa.Table.from_pandas(source.assign(**lists) if lists else source, preserve_index=False)
        except (pa.ArrowException, ValueError, TypeError) as error:  # complex numbers, numbers beside text, twins
            raise RadiosslError(f"the table cannot be read ({'; '.join(map(str, error.args[::-1]))})") from None
    if not isinstance(source, (str, os.PathLike)):
        raise RadiosslError(f"a {type(source).__name__}: expected a pandas, polars, Arrow or astropy table")
    path = existing_file(source)
    if path.name.lower().endswith(ENDINGS["parquet"]):
        return read_parquet(path)
    if not path.name.lower().endswith(ENDINGS["arrow"]):
        raise RadiosslError(f"{path}: a table named *{', *'.join(ENDINGS['parquet'] + ENDINGS['arrow'])} was expected")
    try:
        with pa.memory_map(os.fspath(path)) as stream:
            try:
                return pa.ipc.open_file(stream).read_all()
            except pa.ArrowInvalid:
                stream.seek(0)
                return pa.ipc.open_stream(stream).read_all()
    except (pa.ArrowException, OSError) as error:
        raise RadiosslError(f"{path}: not a readable Arrow table ({error})") from None


def _array_column(values: Iterable[Any], name: str) -> list[Any] | None:
    """A column of arrays as lists of arrays of one dimension, which Arrow takes; None if it holds no array."""
    cells = list(values)
    sides = next((cell.ndim for cell in cells if getattr(cell, "ndim", 0) > 0), 0)
    return [_lists(cell, sides, f"column {name!r}, row {row}") for row, cell in enumerate(cells, 1)] if sides else None


def _lists(value: Any, sides: int, where: str) -> Any:
    missing = value is None or value is np.ma.masked or type(value).__name__ == "NAType"
    if missing or (isinstance(value, float) and np.isnan(value)):  # pandas' words for nothing
        return None
    if isinstance(value, (list, tuple)):
        return value
    if getattr(value, "ndim", 0) != sides:
        found = f"an array of shape {tuple(value.shape)}" if getattr(value, "ndim", 0) else f"{value!r:.40}"
        raise RadiosslError(f"{where}: {found}, where other rows have arrays of {counted(sides, 'dimension')}")
    array = np.asanyarray(value)
    if array.dtype.kind in "fiub" and (sides > 1 or np.ma.is_masked(array)):  # what is masked becomes NaN
        kind = np.float32 if sides > 1 else np.result_type(array.dtype, np.float32)
        array = np.ma.filled(np.ma.asarray(array, kind), np.nan)
    return _unstacked(np.asarray(array, array.dtype.newbyteorder("=")))


def _unstacked(array: NDArray[Any]) -> Any:
    return array if array.ndim == 1 else [_unstacked(part) for part in array]


def storable(table: pa.Table, content: TableContent | None = None, dropped: Sequence[str] = ()) -> TableContent:
    """Keep the columns of one value per row, as numbers, truth values or text; say which others were left out."""
    kept: dict[str, pa.ChunkedArray] = {}
    lost = list(dropped)
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            column = pa.chunked_array([[None if v is None else decoded(v) for v in column.to_pylist()]], pa.string())
            kind = column.type
        if pa.types.is_nested(kind) or name in kept:
            lost.append(name)
        elif pa.types.is_float16(kind):
            kept[name] = column.cast(pa.float32())
        elif pa.types.is_decimal(kind):
            kept[name] = column.cast(pa.int64() if kind.scale == 0 and kind.precision <= 18 else pa.float64())
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            kept[name] = column
        else:
            try:
                kept[name] = clean_texts(column.cast(pa.string()))
            except pa.ArrowNotImplementedError:  # intervals
                lost.append(name)
    written = {column.name: (column.metadata or {}).get(b"unit") for column in table.schema}
    content = content or TableContent(table, {name: unit.decode() for name, unit in written.items() if unit})
    notes = (f"columns with several values per row were left out: {', '.join(lost)}",) if lost else ()
    return replace(content, table=pa.table(kept), notes=(*content.notes, *notes))


# FITS, VOTable, ECSV --------------------------------------------------------------------------------------------------


def _read_astropy(path: Path, kind: str, wanted: str | None) -> TableContent:
    with warnings.catch_warnings(action="ignore"):
        if kind == "fits":
            return _read_fits(path, wanted)
        if kind == "votable":
            return _read_votable(path, wanted)
        from astropy.table import Table

        return _from_astropy(Table.read(path, format="parquet" if kind == "parquet" else "ascii.ecsv"))


def _read_fits(path: Path, wanted: str | None) -> TableContent:
    from astropy.io import fits
    from astropy.table import Table

    with fits.open(path) as parts:
        tables = [part for part in parts if isinstance(part, (fits.BinTableHDU, fits.TableHDU))]
        tables = [part for part in tables if not part.header.get("ZIMAGE", False) and part.name != "LDAC_IMHEAD"]
        if not tables:
            raise RadiosslError(f"{path}: the FITS file has no table; is it a mosaic?")
        part, notes = chosen_table(path, tables, [str(part.name) for part in tables], wanted)
        content = _from_astropy(Table.read(part))
        named = enumerate(part.columns.names, start=1)
        ucds = {name: str(part.header[key]) for number, name in named if (key := f"TUCD{number}") in part.header}
        primary = parts[0].header if parts[0].data is None else None
        frame = _frame_of_header(part.header) or (primary and _frame_of_header(primary))
    frames = {"": frame} if frame else {}
    notes = (*notes, *content.notes)
    return replace(content, frames={**content.frames, **frames}, ucds=ucds, notes=notes, tables=len(tables))


def _frame_of_header(header: Header) -> str | None:
    """Return the frame that RADESYS and EQUINOX, or EPOCH before them, name (FITS standard 4.0, section 8.3)."""
    equinox = header.get("EQUINOX", header.get("EPOCH"))
    system = str(header.get("RADESYS", header.get("RADECSYS", ""))).strip().lower()
    try:
        year = None if equinox is None else float(str(equinox).strip().lstrip("BJbj"))
    except ValueError:
        year = None
    if year and year > 2000 and "EQUINOX" not in header:  # EPOCH of when they hold, as with proper motions
        year = None
    if system.startswith(("fk4", "fk5")):
        standard = "B1950" if system.startswith("fk4") else "J2000"
        return f"{system[:3]} {standard[0] + format(year, 'g') if year else standard}"
    # An equinox of 0 is written where it is not known.
    return system or (frame_of_equinox(year) if year else None)


def frame_of_equinox(year: float, letter: str = "") -> str:
    """Return the frame of an equinox: FK4 if it is Besselian (B) or, without a letter, before 1984, else FK5."""
    return f"fk4 B{year:g}" if letter == "B" or (not letter and year < 1984) else f"fk5 J{year:g}"


def _read_votable(path: Path, wanted: str | None) -> TableContent:
    from astropy.io.votable import parse

    document = parse(path, verify="ignore")
    tables = list(document.iter_tables())
    if not tables:
        raise RadiosslError(f"{path}: the VOTable has no table")
    chosen, notes = chosen_table(path, tables, [str(table.name or table.ID or "") for table in tables], wanted)
    content = _from_astropy(chosen.to_table(use_names_over_ids=True))
    systems = {
        known.ID: f"{str(known.system or 'icrs').lower()} {str(known.equinox or '').strip()}".strip()
        for known in document.iter_coosys()
    }
    fields = [(str(entry.name), entry) for entry in chosen.fields]
    frames = {name: systems[entry.ref] for name, entry in fields if entry.ref in systems}
    if len(set(systems.values())) == 1:
        frames[""] = next(iter(systems.values()))
    ucds = {name: str(entry.ucd) for name, entry in fields if entry.ucd}
    # Those of queries are in its resources or after its tables.
    parts = [document, *document.resources, *(table for one in document.resources for table in one.tables)]
    if any(info.name == "QUERY_STATUS" and info.value == "OVERFLOW" for part in parts for info in part.infos):
        notes = ("the service stopped at its limit of rows (OVERFLOW): more sources match its query", *notes)
    return replace(content, frames=frames, ucds=ucds, notes=(*notes, *content.notes), tables=len(tables))


def chosen_table(
    path: Path, tables: Sequence[Any], names: Sequence[str], wanted: str | None
) -> tuple[Any, tuple[str, ...]]:
    """Return the table that was asked for by name or number, or else the first."""
    listed = ", ".join(f"{number} {name}".strip() for number, name in enumerate(names, start=1))
    if wanted is None:
        several = f"holds {len(tables)} tables ({listed}); the first is read, choose another with --table"
        return tables[0], (several,) if len(tables) > 1 else ()
    if wanted in names:
        return tables[names.index(wanted)], ()
    if wanted.isdigit() and 1 <= int(wanted) <= len(tables):
        return tables[int(wanted) - 1], ()
    raise RadiosslError(f"{path}: no table {wanted!r}; there are {listed}")


def _from_astropy(table: Table) -> TableContent:
    arrays: dict[str, Any] = {}
    units: dict[str, str] = {}
    frames: dict[str, str] = {}
    dropped: list[str] = []
    for name in table.colnames:
        column = table[name]
        if hasattr(column, "spherical"):  # a column of sky coordinates
            position = column.icrs
            arrays |= {f"{name}.ra": pa.array(position.ra.deg), f"{name}.dec": pa.array(position.dec.deg)}
            frames |= {f"{name}.ra": "icrs", f"{name}.dec": "icrs"}
            continue
        if hasattr(column, "isot"):  # times
            arrays[name] = pa.array(np.asarray(column.isot).tolist(), mask=np.broadcast_to(column.mask, len(column)))
            continue
        array = _arrow(np.ma.asarray(getattr(column, "value", column))) if hasattr(column, "dtype") else None
        if array is None:
            dropped.append(name)
            continue
        arrays[name] = array
        if getattr(column, "unit", None) is not None:
            units[name] = str(column.unit)
    meta = {str(key).upper(): value for key, value in table.meta.items()}
    frame = _frame_of_header(meta) if {"EQUINOX", "RADESYS", "RADECSYS"} & set(meta) else None
    known = TableContent(pa.table({}), units, frames | ({"": frame} if frame else {}))
    return storable(pa.table(arrays), known, dropped)


def _arrow(values: np.ma.MaskedArray) -> pa.Array | None:
    """Return a column as Arrow takes it; None if it holds several values a row, or neither numbers nor text."""
    mask, data = np.ma.getmaskarray(values), values.data
    if data.ndim != 1:
        return None
    if data.dtype.kind == "O":
        try:
            return pa.array(values.tolist())
        except pa.ArrowException:
            return None
    if data.dtype.kind in "SU":
        texts = [decoded(value) if isinstance(value, bytes) else value for value in data.tolist()]
        return pa.array([None if hidden else text for hidden, text in zip(mask, texts, strict=True)], pa.string())
    if data.dtype.kind not in "biuf":
        return None
    return pa.array(data.astype(data.dtype.newbyteorder("=")), mask=mask)
