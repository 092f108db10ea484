"""Reading a source catalogue: whose positions are where, how large the sources are and what they are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.tables import TableContent, read_table_content, table_content
from radiossl.io.values import as_texts, unique_names
from radiossl.sky.angles import check_declinations
from radiossl.store.schema import BASE_SCHEMA
from radiossl.survey.catalogue.angles import coordinate, extent_arcsec, frame_of, to_icrs
from radiossl.survey.catalogue.columns import Parts, author_of, find_extent, find_id, find_position, has_position

if TYPE_CHECKING:
    import astropy.table
    import pandas as pd

#: Right ascensions all below 24 that reach over more than this may be hours.
_HOURS, _HOURS_SPREAD, _HOURS_ROWS = 24.0, 12.0, 10


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
        check_declinations(self.dec_deg, f"catalogue {self.name}")

    def __len__(self) -> int:
        return len(self.ids)

    def fingerprint(self) -> str:
        """Return a hash of its contents, used to check that a store is resumed with the same catalogue."""
        digest = hashlib.sha256()
        for values in (self.ra_deg, self.dec_deg, self.extent_arcsec):
            digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
        digest.update("\n".join(map(str, self.ids)).encode())
        for name, column in zip(self.columns.column_names, self.columns.columns, strict=True):
            digest.update(f"\n{name} {column.type} {column.to_pylist()}".encode())
        return digest.hexdigest()


def read_catalogue(
    source: str | os.PathLike[str] | pd.DataFrame | pa.Table | astropy.table.Table,
    ra: str | None = None,
    dec: str | None = None,
    extent: str | None = None,
    id: str | None = None,
    *,
    position_unit: str | None = None,
    extent_unit: str | None = None,
    frame: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    table: str | None = None,
) -> Catalogue:
    """Read a catalogue of sources.

    Parameters
    ----------
    source
        A CSV, TSV or other text file, FITS, VOTable, ECSV or Parquet, also as PyBDSF, Selavy, Aegean and VizieR write
        them, or a sky model of WSClean, BBS or aoskymodel; or a pandas, polars, Arrow or astropy table.
    ra, dec
        Columns of the position. Degrees unless the column's unit or name says otherwise; text is taken as sexagesimal,
        right ascension in hours unless it is marked with a d. Guessed by their names if not given; columns of hours,
        minutes and seconds (``RAh``, ``RAm``, ``RAs``; ``DE-``, ``DEd``...) are taken together. Galactic coordinates
        are used where there are no others.
    extent
        Column of the largest angular size; arcsec unless its unit or name, or the program that wrote the catalogue,
        says otherwise. Guessed if not given: a largest angular size before any other size, and that before the major
        axis of a Gaussian.
    id
        Column of the names, read as they are written; guessed if not given. Without one, names are made of the
        positions.
    position_unit, extent_unit
        Units that hold whatever the file says: deg, hours (of right ascensions), rad, arcmin, arcsec or mas.
    frame
        Frame that holds whatever the file says, such as ``icrs``, ``fk5``, ``fk4`` (of B1950), ``fk5 J1975`` or
        ``galactic``.
    delimiter, encoding, table
        See `radiossl.io.tables.read_table_content`.

    Returns
    -------
    Catalogue
        With positions in ICRS. FK5 of J2000 is taken for it.

    Raises
    ------
    RadiosslError
        If the file cannot be read, or a column is missing, ambiguous or not what it should be.

    Notes
    -----
    Ids that occur more than once get ``_2``, ``_3``... Columns that hold more than one value per row are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> catalogue = read_catalogue(pd.DataFrame({"name": ["007"], "ra": ["12:30:00"], "dec": [12.5], "las": [30]}))
    >>> catalogue.ids[0], catalogue.ra_deg[0], catalogue.extent_arcsec[0]
    ('007', 187.5, 30.0)
    """
    if isinstance(source, (str, os.PathLike)):
        content, name, path = read_table_content(source, delimiter, encoding, table), Path(source).name, str(source)
        if table is None and ra is None and dec is None:
            content = _table_with_positions(path, content)
    else:
        content, name = table_content(source), "table"
        path = name
    if content.table.num_rows == 0:
        raise RadiosslError(f"{path}: the catalogue has no rows")
    author = author_of(content)
    ra_deg, dec_deg, notes = _position(path, content, ra, dec, position_unit, frame)
    extent, which = find_extent(path, content, extent, author)
    sizes = None
    if extent is not None:
        default = author.extent_unit if author else None
        sizes = extent_arcsec(path, content, extent, default, extent_unit)
        if author and author.extent_unit != "arcsec" and extent not in content.units and extent_unit is None:
            which = f"{which + '; ' if which else ''}{extent!r} is taken in {default}, as {author.name} writes it"
    named = find_id(path, content, id, author)
    ids, repeated = _ids(content, named, ra_deg, dec_deg)
    numbered = f"{repeated} ids that occur more than once were numbered" if repeated else ""
    notes = (*content.notes, *notes, *filter(None, (which, numbered)))
    return Catalogue(name, ids, ra_deg, dec_deg, sizes, without_clashes(_as_written(content, named)), notes)


def _table_with_positions(path: str, first: TableContent) -> TableContent:
    for number in range(1, first.tables + 1):
        content = first if number == 1 else read_table_content(path, table=str(number))
        if has_position(content):
            more = f"table {number} of {first.tables} is read, the first with positions; see --table"
            return content if number == 1 else replace(content, notes=(more, *content.notes))
    return first


class Positions(NamedTuple):
    """ICRS positions in degrees, shape (n,), NaN where unknown, and what to know about them."""

    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    notes: tuple[str, ...] = ()


def positions_in(path: str, content: TableContent) -> Positions | None:
    """Return the positions of a table's rows as `read_catalogue` finds them; None if it has none."""
    return _position(path, content, None, None, None, None) if has_position(content) else None


def _position(
    path: str, content: TableContent, ra: str | None, dec: str | None, unit: str | None, frame: str | None
) -> Positions:
    where = find_position(path, content, ra, dec)
    ra_deg = coordinate(path, content, where[0], is_ra=True, unit=unit)
    dec_deg = coordinate(path, content, where[1], is_ra=False, unit=unit)
    notes = []
    known = ra_deg[np.isfinite(ra_deg)]
    like_hours = len(known) >= _HOURS_ROWS and known.min() >= 0 and known.max() <= _HOURS
    if unit is None and isinstance(where[0], str) and like_hours and np.ptp(known) >= _HOURS_SPREAD:
        hours = f"if column {where[0]!r} is in hours, say --position-unit hours"
        notes.append(f"all right ascensions are below 24; {hours}")
    names = [column.columns[0] if isinstance(column, Parts) else column for column in where]
    found = frame if frame is not None else frame_of(content, (names[0], names[1]))
    ra_deg, dec_deg = to_icrs(ra_deg, dec_deg, found, path if frame is None else f"--frame {frame}")
    if frame is None and not found.lower().startswith(("icrs", "fk5 j2000", "eq_fk5 j2000")):
        notes.append(f"positions are taken to be {found} and converted to ICRS; choose another frame with --frame")
    return Positions(ra_deg, dec_deg, tuple(notes))


def _ids(
    content: TableContent, column: str | None, ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> tuple[NDArray[Any], int]:
    if column is None:
        return unique_ids(position_ids(ra_deg, dec_deg))
    names = as_texts(content.written.get(column, content.table.column(column)))
    nameless = np.array([name is None for name in names], dtype=bool)
    names[nameless] = position_ids(ra_deg[nameless], dec_deg[nameless])
    return unique_ids(names.tolist())


def _as_written(content: TableContent, column: str | None) -> pa.Table:
    """Return the table with the names as text where numbers would not be written the same again."""
    table, text = content.table, content.written.get(column or "")
    if column is None or text is None:
        return table
    held = table.column(column)
    if not pa.types.is_floating(held.type) and as_texts(held).tolist() == as_texts(text).tolist():
        return table
    return table.set_column(table.column_names.index(column), column, text)


def without_clashes(table: pa.Table) -> pa.Table:
    """Return a table whose columns that every store has itself begin with ``cat_``."""
    names = list(table.column_names)
    for index, name in enumerate(names):
        new = f"cat_{name}" if name in BASE_SCHEMA.names else name
        while new != name and new in table.column_names:
            new = f"cat_{new}"
        names[index] = new
    return table.rename_columns(names)


# Names of sources -----------------------------------------------------------------------------------------------------


_DAY, _HOUR, _MINUTE = 8_640_000, 360_000, 6_000  # in hundredths of a second


def position_ids(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> list[str]:
    """Return names of the IAU kind, truncated and not rounded as the IAU wants it.

    Examples
    --------
    >>> import numpy as np
    >>> position_ids(np.array([188.7354167]), np.array([-1.5]))
    ['J123456.50-013000.0']
    """
    names = []
    for ra, dec in zip(ra_deg, dec_deg, strict=True):
        if not (np.isfinite(ra) and np.isfinite(dec)):
            names.append("J-unknown")
            continue
        # A thousandth of the last digit, so that 12.34 that is stored as 12.33999... stays 12.34.
        time, arcsec = int(ra % 360 * 24000 + 1e-3) % _DAY, int(abs(dec) * 36000 + 1e-3)
        names.append(
            f"J{time // _HOUR:02d}{time // _MINUTE % 60:02d}{time % _MINUTE / 100:05.2f}"
            f"{'-' if dec < 0 else '+'}{arcsec // 36000:02d}{arcsec // 600 % 60:02d}{arcsec % 600 / 10:04.1f}"
        )
    return names


def unique_ids(ids: Iterable[str]) -> tuple[NDArray[Any], int]:
    """Number the repetitions among `ids`; return them with how many had to be changed."""
    given = list(ids)
    names = unique_names(given)
    return np.array(names, dtype=object), sum(a != b for a, b in zip(given, names, strict=True))
