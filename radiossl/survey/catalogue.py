"""A source catalogue: positions and sizes in known units, and every other column as it came."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file
from radiossl.store.store import BASE_SCHEMA

if TYPE_CHECKING:
    from astropy.table import Table

# Names that catalogues give to what is needed here, in lower case and without punctuation.
_RA_NAMES = ("ra", "radeg", "raj2000", "rah", "rahours", "rahour", "rahms", "rightascension", "alphaj2000", "raicrs")
_DEC_NAMES = (
    "dec",
    "decdeg",
    "dej2000",
    "decj2000",
    "decdms",
    "declination",
    "deltaj2000",
    "deicrs",
    "decicrs",
    "dedeg",
)
_EXTENT_NAMES = (
    *("las", "lasarcsec", "lasarcmin", "lasdeg", "extent", "extentarcsec", "extentarcmin", "extentdeg"),
    *("angextent", "angularextent", "angularsize", "angsize", "sizearcsec", "sizearcmin", "sizedeg"),
    *("maj", "major", "majarcsec", "majorarcsec", "majaxis", "majoraxis"),
)
#: In the order of preference: these are never ambiguous, the first one there is taken.
_ID_NAMES = (
    *("cutoutid", "sourceid", "sourcename", "catalogid", "componentname", "isla", "islandname"),
    *("objid", "objectid", "id", "name", "objname", "source", "designation"),
)
_SEXAGESIMAL = re.compile(r"\s*([+\-−]?)(\d+)[\s:hd°]+(\d+)(?:[\s:m'′]+(\d+(?:\.\d*)?)[s\"″]*)?\s*")
_DEGREES_PER = {"deg": 1.0, "hourangle": 15.0, "rad": float(np.degrees(1.0))}
_ARCSEC_PER = {"arcsec": 1.0, "arcmin": 60.0, "deg": 3600.0, "mas": 1e-3, "rad": float(np.degrees(1.0)) * 3600}


def read_table(path: str | os.PathLike[str]) -> pa.Table:
    """Read a CSV, TSV, FITS, VOTable, ECSV or Parquet table; raise `RadiosslError` if it is missing or damaged."""
    return _read_table(existing_file(path)).table


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Sources on the sky.

    Attributes
    ----------
    name
        File name, or another word for where the sources come from.
    ids
        Unique names, shape (n,).
    ra_deg, dec_deg
        ICRS positions, shape (n,); NaN where unknown.
    extent_arcsec
        Largest angular sizes, shape (n,), NaN where unknown; None if the catalogue has no such column.
    columns
        Every column that a cutout store can hold, n rows; those whose names the store needs begin with ``cat_``.
    notes
        What a user should know about the reading, one sentence each.
    """

    name: str
    ids: NDArray[Any]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    extent_arcsec: NDArray[np.float64] | None
    columns: pa.Table
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        lengths = {len(self.ids), len(self.ra_deg), len(self.dec_deg), self.columns.num_rows}
        if self.extent_arcsec is not None:
            lengths.add(len(self.extent_arcsec))
        if len(lengths) != 1:
            raise RadiosslError(f"catalogue {self.name}: columns of different lengths {sorted(lengths)}")
        if len(set(self.ids)) != len(self.ids):
            raise RadiosslError(f"catalogue {self.name}: its ids must be unique")
        if np.any(np.abs(self.dec_deg) > 90):
            raise RadiosslError(f"catalogue {self.name}: a declination of {_worst(self.dec_deg)} degrees")

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """Return a hash of everything in it, by which an interrupted store knows its catalogue again."""
        digest = hashlib.sha256()
        for values in (self.ra_deg, self.dec_deg, self.extent_arcsec):
            digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
        digest.update("\n".join(map(str, self.ids)).encode())
        for name, column in zip(self.columns.column_names, self.columns.columns, strict=True):
            digest.update(f"\n{name} {column.type} {column.to_pylist()}".encode())
        return digest.hexdigest()


def read_catalogue(
    path: str | os.PathLike[str],
    ra: str | None = None,
    dec: str | None = None,
    extent: str | None = None,
    id: str | None = None,
) -> Catalogue:
    """Read a catalogue in CSV, TSV, FITS, VOTable, ECSV or Parquet.

    Parameters
    ----------
    path
        The file. Its format is told by its name (.csv, .tsv, .fits, .vot, .votable, .xml, .ecsv, .parquet).
    ra, dec
        Columns of the position (ICRS or FK5 J2000). Degrees unless the column's unit or name says hours; text is taken
        as sexagesimal, right ascension in hours. Guessed by their names if not given.
    extent
        Column of the largest angular size; arcsec unless its unit or name says arcmin or degrees. Guessed if not given.
    id
        Column of the names; guessed if not given. Without one, names are made of the positions.

    Raises
    ------
    RadiosslError
        If the file cannot be read, or a column is missing, ambiguous or not what it should be.

    Notes
    -----
    Ids that occur more than once get ``_2``, ``_3``... Columns that hold more than one value per row are left out.
    """
    path = existing_file(path)
    raw = _read_table(path)
    if raw.table.num_rows == 0:
        raise RadiosslError(f"{path}: the catalogue has no rows")
    ra = _column(path, raw, ra, "ra", _RA_NAMES)
    dec = _column(path, raw, dec, "dec", _DEC_NAMES)
    if ra is None or dec is None:
        missing = "--ra" if ra is None else "--dec"
        raise RadiosslError(f"{path}: no column is known to be {missing[2:]}; name it with {missing} ({_listed(raw)})")
    ra_deg = np.mod(_angle(path, raw, ra, is_ra=True), 360.0)
    dec_deg = _angle(path, raw, dec, is_ra=False)
    extent = _column(path, raw, extent, "extent", _EXTENT_NAMES)
    ids, repeated = _ids(path, raw, id, ra_deg, dec_deg)
    notes = list(raw.notes)
    if repeated:
        notes.append(f"{repeated} ids that occur more than once were numbered")
    return Catalogue(
        name=path.name,
        ids=ids,
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        extent_arcsec=None if extent is None else _extent(path, raw, extent),
        columns=_without_clashes(raw.table),
        notes=tuple(notes),
    )


def position_ids(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> list[str]:
    """Return names of the IAU kind, ``J123456.78+012345.6``, truncated and not rounded as the IAU wants it."""
    names = []
    for ra, dec in zip(ra_deg, dec_deg, strict=True):
        if not (np.isfinite(ra) and np.isfinite(dec)):
            names.append("J-unknown")
            continue
        # A thousandth of the last digit, so that 12.34 that is stored as 12.33999... stays 12.34.
        seconds, arcsec = int(ra * 24000 + 1e-3), int(abs(dec) * 36000 + 1e-3)
        names.append(
            f"J{seconds // 360000:02d}{seconds // 6000 % 60:02d}{seconds % 6000 / 100:05.2f}"
            f"{'-' if dec < 0 else '+'}{arcsec // 36000:02d}{arcsec // 600 % 60:02d}{arcsec % 600 / 10:04.1f}"
        )
    return names


def unique_ids(ids: Iterable[str]) -> tuple[NDArray[Any], int]:
    """Number the repetitions among `ids`; return them with how many had to be changed."""
    given = list(ids)
    taken = set(given)
    seen: dict[str, int] = {}
    result = []
    for name in given:
        seen[name] = count = seen.get(name, 0) + 1
        new = name
        while count > 1 and new in taken:
            new, count = f"{name}_{count}", count + 1
        taken.add(new)
        result.append(new)
    return np.array(result, dtype=object), sum(a != b for a, b in zip(given, result, strict=True))


# Formats --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Raw:
    """A table as it came: columns of numbers, text and booleans, and the units of some."""

    table: pa.Table
    units: Mapping[str, str]
    notes: tuple[str, ...]


def _read_table(path: Path) -> _Raw:
    name = path.name.lower().removesuffix(".gz")
    readers: dict[tuple[str, ...], Callable[[Path], _Raw]] = {
        (".parquet", ".pq"): _read_parquet,
        (".csv", ".tsv"): _read_csv,
        (".ecsv",): lambda path: _read_astropy(path, "ascii.ecsv"),
        (".fits", ".fit", ".fts"): lambda path: _read_astropy(path, "fits"),
        (".vot", ".votable", ".xml"): lambda path: _read_astropy(path, "votable"),
    }
    for suffixes, reader in readers.items():
        if name.endswith(suffixes):
            try:
                return reader(path)
            except RadiosslError:
                raise
            except Exception as error:  # each reader has exceptions of its own, all mean that the file is not right
                reason = " ".join(str(error).split())
                raise RadiosslError(f"{path}: not a readable {suffixes[0][1:]} catalogue ({reason})") from None
    known = ", ".join(suffix for suffixes in readers for suffix in suffixes)
    raise RadiosslError(f"{path}: a catalogue's name must tell its format by one of the endings {known}")


def _read_parquet(path: Path) -> _Raw:
    from pyarrow import parquet

    return _storable(parquet.read_table(path), {})


def _read_csv(path: Path) -> _Raw:
    import gzip

    from pyarrow import csv

    opener = gzip.open if path.suffix.lower() == ".gz" else open
    comments = 0
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("# %ECSV"):
                return _read_astropy(path, "ascii.ecsv")
            if not line.startswith("#"):
                break
            comments += 1
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(skip_rows=comments),
        parse_options=csv.ParseOptions(delimiter="\t" if ".tsv" in path.name.lower() else ","),
        convert_options=csv.ConvertOptions(strings_can_be_null=True),
    )
    return _storable(table, {})


def _read_astropy(path: Path, kind: str) -> _Raw:
    import warnings

    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "fits":
            table = Table.read(path, format=kind, hdu=_table_hdu(path))
        elif kind == "votable":
            from astropy.io.votable import parse

            table = parse(path, verify="ignore").get_first_table().to_table(use_names_over_ids=True)
        else:
            table = Table.read(path, format=kind)
    return _from_astropy(table)


def _table_hdu(path: Path) -> int:
    from astropy.io import fits

    with fits.open(path) as parts:
        for index, part in enumerate(parts):
            if isinstance(part, (fits.BinTableHDU, fits.TableHDU)):
                return index
    raise RadiosslError(f"{path}: the FITS file has no table; is it a mosaic?")


def _from_astropy(table: Table) -> _Raw:
    arrays: dict[str, pa.Array] = {}
    units: dict[str, str] = {}
    dropped = []
    for name in table.colnames:
        column = table[name]
        values = np.ma.asarray(getattr(column, "value", column)) if hasattr(column, "dtype") else None
        if values is None or values.ndim != 1 or (values.dtype.kind == "O" and not _is_text(values)):
            dropped.append(name)
            continue
        if getattr(column, "unit", None) is not None:
            units[name] = str(column.unit)
        mask = np.ma.getmaskarray(values)
        data = values.data
        if data.dtype.kind == "S":
            data = np.char.decode(data, "utf-8", "replace")
        if data.dtype.kind in "UO":
            texts = [None if hidden else str(text).strip() for text, hidden in zip(data, mask, strict=True)]
            arrays[name] = pa.array(texts, pa.string())
        elif data.dtype.kind in "biuf":
            arrays[name] = pa.array(data.astype(data.dtype.newbyteorder("=")), mask=mask)
        else:
            dropped.append(name)
    return _storable(pa.table(arrays), units, dropped)


def _is_text(values: np.ma.MaskedArray) -> bool:
    return all(isinstance(value, (str, bytes)) for value in values.compressed())


def _storable(table: pa.Table, units: Mapping[str, str], dropped: Sequence[str] = ()) -> _Raw:
    """Keep the columns of one value per row, as numbers, booleans or text."""
    kept: dict[str, pa.ChunkedArray] = {}
    lost = list(dropped)
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind) or name in kept:
            lost.append(name)
        elif pa.types.is_float16(kind):
            kept[name] = column.cast(pa.float32())
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            kept[name] = column
        elif pa.types.is_null(kind):
            kept[name] = column.cast(pa.string())
        else:
            kept[name] = column.cast(pa.string())
    notes = (f"columns with several values per row were left out: {', '.join(lost)}",) if lost else ()
    return _Raw(pa.table(kept), units, notes)


def _without_clashes(table: pa.Table) -> pa.Table:
    """Rename the columns that the store has itself."""
    names = list(table.column_names)
    for index, name in enumerate(names):
        new = f"cat_{name}" if name in BASE_SCHEMA.names else name
        while new != name and new in table.column_names:
            new = f"cat_{new}"
        names[index] = new
    return table.rename_columns(names)


# Columns --------------------------------------------------------------------------------------------------------------


def _plain_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _listed(raw: _Raw) -> str:
    names = raw.table.column_names
    shown = ", ".join(names[:40])
    return f"its columns are {shown}" + (f" and {len(names) - 40} more" if len(names) > 40 else "")


def _column(path: Path, raw: _Raw, given: str | None, flag: str, known: Sequence[str]) -> str | None:
    """Return the column named by the user, or the only one with a known name; None if there is none."""
    names = raw.table.column_names
    if given is not None:
        if given not in names:
            raise RadiosslError(f"{path}: no column {given!r} for --{flag}; {_listed(raw)}")
        return given
    found = [name for name in names if _plain_name(name) in known]
    # VizieR adds _RAJ2000 in degrees to the RAJ2000 of the authors, which may be text.
    found = [name for name in found if name.startswith("_")] or found
    if len(found) > 1:
        raise RadiosslError(f"{path}: {', '.join(found)} could all be the {flag} column; choose one with --{flag}")
    return found[0] if found else None


def _angle(path: Path, raw: _Raw, name: str, *, is_ra: bool) -> NDArray[np.float64]:
    """Return a coordinate in degrees, NaN where it is missing."""
    column = raw.table.column(name)
    unit = _unit_of(path, raw, name, _DEGREES_PER, "hourangle" if is_ra and _names_hours(name) else "deg")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = _parse_texts(path, name, column.to_pylist(), _DEGREES_PER[unit], 15.0 if is_ra else 1.0)
    else:
        values = _numbers(path, raw, name) * _DEGREES_PER[unit]
    limit = (-360.0, 360.0) if is_ra else (-90.0, 90.0)
    if np.any((values < limit[0]) | (values > limit[1])):
        what = "right ascension" if is_ra else "declination"
        raise RadiosslError(f"{path}: column {name!r} is not a {what}, it holds {_worst(values):g} degrees")
    return values


def _names_hours(name: str) -> bool:
    return "hour" in name.lower() or _plain_name(name) in ("rah", "rahms")


def _parse_texts(
    path: Path, name: str, texts: Sequence[str | None], plain_factor: float, sexagesimal_factor: float
) -> NDArray[np.float64]:
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        if text is None or not text.strip():
            continue
        match = _SEXAGESIMAL.fullmatch(text)
        if match is not None:
            sign, whole, minutes, seconds = match.groups()
            value = int(whole) + int(minutes) / 60 + float(seconds or 0) / 3600
            values[row] = (-value if sign in ("-", "−") and sign else value) * sexagesimal_factor
            continue
        try:
            values[row] = float(text) * plain_factor
        except ValueError:
            raise RadiosslError(
                f"{path}: column {name!r}, row {row + 1}: {text!r} is neither degrees nor sexagesimal (12:34:56.7)"
            ) from None
    return values


def _extent(path: Path, raw: _Raw, name: str) -> NDArray[np.float64]:
    plain = _plain_name(name)
    by_name = next((unit for unit in ("arcmin", "deg", "mas") if plain.endswith(unit)), "arcsec")
    return _numbers(path, raw, name) * _ARCSEC_PER[_unit_of(path, raw, name, _ARCSEC_PER, by_name)]


def _unit_of(path: Path, raw: _Raw, name: str, known: Mapping[str, float], default: str) -> str:
    unit = raw.units.get(name)
    if unit is None or unit in ("", '"h:m:s"', '"d:m:s"'):  # VizieR writes these beside sexagesimal text
        return default
    unit = {"h": "hourangle", "hour": "hourangle", "hr": "hourangle", "degree": "deg", "degrees": "deg"}.get(unit, unit)
    if unit not in known:
        raise RadiosslError(f"{path}: column {name!r} is in {unit!r}; expected one of {', '.join(known)}")
    return unit


def _numbers(path: Path, raw: _Raw, name: str) -> NDArray[np.float64]:
    column = raw.table.column(name)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise RadiosslError(f"{path}: column {name!r} is {column.type}, numbers were expected")
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


def _ids(
    path: Path, raw: _Raw, given: str | None, ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> tuple[NDArray[Any], int]:
    names = raw.table.column_names
    if given is not None and given not in names:
        raise RadiosslError(f"{path}: no column {given!r} for --id; {_listed(raw)}")
    by_name = {_plain_name(name): name for name in reversed(names)}
    chosen = given or next((by_name[known] for known in _ID_NAMES if known in by_name), None)
    from_position = position_ids(ra_deg, dec_deg)
    if chosen is None:
        return unique_ids(from_position)
    values = raw.table.column(chosen).to_pylist()
    return unique_ids(_id_text(value) or fallback for value, fallback in zip(values, from_position, strict=True))


def _id_text(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _worst(values: NDArray[np.float64]) -> float:
    return float(values[np.nanargmax(np.abs(values))])
