"""Coordinates (ICRS) and sizes of a catalogue in degrees and arcsec, whatever the unit, the notation and the frame."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.tables import TableContent, frame_of_equinox
from radiossl.io.values import as_texts, numbers
from radiossl.survey.catalogue.columns import Parts, plain

_DEGREES_PER = {
    "deg": 1.0,
    "hourangle": 15.0,
    "rad": float(np.degrees(1.0)),
    "arcmin": 1 / 60,
    "arcsec": 1 / 3600,
    "mas": 1 / 3.6e6,
}
#: Units as people and programs spell them; in lower case without a plural s.
_SPELLINGS = {
    **dict.fromkeys(("degree", "d", "°", "degs"), "deg"),
    **dict.fromkeys(("h", "hour", "hr", "hourangle", "hours", "15 deg", "15.0 deg"), "hourangle"),
    **dict.fromkeys(("radian",), "rad"),
    **dict.fromkeys(("arcsecond", "asec", '"', "''", "″", "as", "sec of arc"), "arcsec"),
    **dict.fromkeys(("arcminute", "amin", "'", "′"), "arcmin"),
    **dict.fromkeys(("milliarcsec", "milliarcsecond"), "mas"),
}
#: A unit behind the name of a column: ``LAS [']``, ``Maj (arcsec)``.
_BRACKETED = re.compile(r".*[\[(]\s*(.+?)\s*[\])]\s*")
_DEGREES = re.compile(r"(.*\d\.?)\s*(?:d|deg|degrees?|°)", re.I)
#: Beyond this many degrees there is none: 1e20, -1e30, infinity.
_LARGEST = 1e9
_SEXAGESIMAL_UNITS = ("h:m:s", "d:m:s", "hms", "dms", "sexagesimal", "hh:mm:ss", "dd:mm:ss")
_SEXAGESIMAL = re.compile(
    r"([+-]?)\s*(\d+)(?:\s*([:hd°])\s*|\s+)(\d+(?:\.\d*)?)(?:(?:\s*[:m'′]\s*|\s+)(\d+(?:\.\d*)?)\s*(?:s|\"|″|'')?|\s*[m'′])?"
)


#: Units and names of sexagesimal degrees, also of right ascensions; digits of hours, minutes and seconds in a row.
_DMS, _PACKED = re.compile(r"d+:?m+:?s+"), r"^[+-]?0\d{5}(\.\d*)?$"
#: Signs as they are set in print.
_DASHES = str.maketrans("−–", "--")
#: As in CASA, BBS and DP3, whose declinations have dots where others have colons.
_DOTTED = re.compile(r"([+-]?\d+)\.(\d+)\.(\d+(?:\.\d*)?)")


def unit_of(path: str, content: TableContent, name: str, default: str, given: str | None, flag: str) -> str:
    """Return the unit of a column of angles, a key of `_DEGREES_PER`; `given` is what the user says, in option `flag`.

    Raises `RadiosslError` if it is not a unit of angles.
    """
    written = given if given is not None else content.units.get(name, "")
    unit = _spelt(written)
    if unit in ("", "--", *_SEXAGESIMAL_UNITS) and given is None:
        in_name = _BRACKETED.fullmatch(name)
        return unit if in_name and (unit := _spelt(in_name[1])) in _DEGREES_PER else default
    if unit not in _DEGREES_PER:
        expected = "expected one of deg, hours, rad, arcmin, arcsec, mas"
        if given is not None:
            raise RadiosslError(f"{flag} {given}: {expected}")
        raise RadiosslError(f"{path}: column {name!r} is in {written!r}; {expected}; name the unit with {flag}")
    return unit


def _spelt(unit: str) -> str:
    """Return a unit as in `_DEGREES_PER`, or in lower case if it is none of angles."""
    unit = unit.strip().strip('"').lower() if len(unit.strip()) > 1 else unit.strip()
    unit = next((known for known in (unit, unit.removesuffix("s")) if known in {*_SPELLINGS, *_DEGREES_PER}), unit)
    return _SPELLINGS.get(unit, unit)


def coordinate(
    path: str, content: TableContent, column: str | Parts, *, is_ra: bool, unit: str | None
) -> NDArray[np.float64]:
    """Return a coordinate in degrees, shape (n,), NaN where missing; raise `RadiosslError` if a value is not one."""
    if isinstance(column, Parts):
        values, name = _joined(path, content, column, 15.0 if is_ra else 1.0), column.columns[0]
    else:
        values, name = _single(path, content, column, is_ra=is_ra, unit=unit), column
    what, limit = ("right ascension", 360.0) if is_ra else ("declination", 90.0)
    wrong = np.flatnonzero(np.abs(values) > limit)
    unknown = np.array([_means_unknown(value) for value in values[wrong].tolist()], dtype=bool)
    values[wrong[unknown]] = np.nan
    if not unknown.all():
        row = int(wrong[~unknown][0])
        held = f"it holds {values[row]:g} degrees in row {row + 1}"
        raise RadiosslError(f"{path}: column {name!r} is not a {what}, {held}")
    return values


def _means_unknown(degrees: float) -> bool:
    """Tell whether a number, be it of hours, is of nines alone, such as -999, or huge: programs write that for none."""
    return abs(degrees) > _LARGEST or any(set(f"{abs(degrees) / per:.6g}") <= {"9", "."} for per in (1, 15))


def _single(path: str, content: TableContent, name: str, *, is_ra: bool, unit: str | None) -> NDArray[np.float64]:
    column = content.table.column(name)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    hours = is_ra and ("hour" in name.lower() or plain(name) in ("rah", "rahms"))
    if unit is not None and not is_ra and unit_of(path, content, name, "deg", unit, "--position-unit") == "hourangle":
        unit = "deg"  # hours are those of the right ascension
    by_name = "hourangle" if hours else "rad" if plain(name).endswith(("rad", "radians")) else "deg"
    per = _DEGREES_PER[unit_of(path, content, name, by_name, unit, "--position-unit")]
    text = column if is_text else content.written.get(name)
    if text is not None and pc.any(pc.match_substring_regex(text, _PACKED)).as_py():
        what = "looks like hours, minutes and seconds without marks between them; write 00:01:30.5"
        raise RadiosslError(f"{path}: column {name!r} {what}")
    if not is_text or numbers(column) is not None:
        return _numbers(path, content, name) * per
    marked = bool(_DMS.search(f"{name} {content.units.get(name, '')}".lower()))
    in_degrees = marked or (unit is not None and per == 1.0 and not hours)
    return _parsed(path, name, as_texts(column), per, hours=is_ra and not in_degrees, is_ra=is_ra)


def _parsed(
    path: str, name: str, texts: Iterable[str | None], per: float, *, hours: bool, is_ra: bool
) -> NDArray[np.float64]:
    found = list(texts)
    values = np.full(len(found), np.nan)
    for row, text in enumerate(found):
        if text is None:
            continue
        written = text.strip().translate(_DASHES)
        match = _SEXAGESIMAL.fullmatch(_DOTTED.sub(r"\1:\2:\3", written))
        sign, whole, mark, minutes, seconds = match.groups() if match else ("",) * 5
        if match and (mark != "h" or is_ra) and ("." not in minutes or seconds is None):
            # Right ascensions are in hours, unless they say that they are not.
            factor = 15.0 if mark == "h" or (hours and mark not in ("d", "°")) else 1.0
            value = _sum(path, name, row, int(whole), float(minutes), float(seconds or 0)) * factor
            values[row] = -value if sign == "-" else value
            continue
        try:
            degrees = _DEGREES.fullmatch(written)
            values[row] = float(degrees[1]) if degrees else float(written) * per
        except ValueError:
            what = f"{text!r} is neither degrees nor sexagesimal (12:34:56.7)"
            raise RadiosslError(f"{path}: column {name!r}, row {row + 1}: {what}") from None
    return values


def _sum(path: str, name: str, row: int, whole: float, minutes: float, seconds: float) -> float:
    for value, what in ((minutes, "minutes"), (seconds, "seconds")):
        if not 0 <= value < 60 and value == value:
            raise RadiosslError(f"{path}: column {name!r}, row {row + 1}: {value:g} {what}, expected less than 60")
    return whole + minutes / 60 + seconds / 3600


def _joined(path: str, content: TableContent, parts: Parts, factor: float) -> NDArray[np.float64]:
    columns = [_numbers(path, content, name) for name in parts.columns]
    columns += [np.zeros(len(columns[0]))] * (3 - len(columns))
    rows = zip(np.abs(columns[0]), columns[1], np.where(np.isnan(columns[2]), 0, columns[2]), strict=True)
    name = parts.columns[0]
    values = np.array([_sum(path, name, row, *map(float, pieces)) for row, pieces in enumerate(rows)])
    negative = np.signbit(columns[0])
    for holder in (parts.sign, name):
        text = content.written.get(holder or "", content.table.column(holder) if holder else None)
        if text is not None and pa.types.is_string(text.type):
            negative |= np.array([(value or "").strip().startswith(("-", "−")) for value in text.to_pylist()])
    return np.where(negative, -values, values) * factor


def _numbers(path: str, content: TableContent, name: str) -> NDArray[np.float64]:
    column = content.table.column(name)
    if (values := numbers(column)) is None:
        raise RadiosslError(f"{path}: column {name!r} is {column.type}, numbers were expected")
    return values


def extent_arcsec(
    path: str, content: TableContent, name: str, default: str | None, unit: str | None
) -> NDArray[np.float64]:
    """Return sizes in arcsec, shape (n,), NaN where unknown; `default` is the unit of the program that wrote them."""
    by_name = next((known for known in ("arcmin", "arcsec", "deg", "mas") if plain(name).endswith(known)), None)
    known = unit_of(path, content, name, by_name or default or "arcsec", unit, "--extent-unit")
    return _numbers(path, content, name) * (_DEGREES_PER[known] * 3600)


# Frames ---------------------------------------------------------------------------------------------------------------


_FRAME = re.compile(r"(?:eq_)?([a-z0-9_]*?)[\s:,(]*(?:([bj])?(\d{4}(?:\.\d*)?))?\)?", re.IGNORECASE)
_NAMES = {
    **{"gal": "galactic", "galactic_ii": "galactic", "icrf": "icrs", "equatorial": "icrs"},
    **{"eq": "fk5", "gappt": "fk5"},
}
_GALACTIC = re.compile(r"(g|gal|galactic)(l|b|lon|lat|longitude|latitude)(j2000|deg|rad)?|[lb](ii|gal)?(deg|rad)?")
_EXPECTED = "expected icrs, fk5, fk4 or galactic, with an equinox such as B1950 where it is not the usual one"


def frame_of(content: TableContent, columns: tuple[str, str]) -> str:
    """Return the frame of a position: the one that its columns' names or else the file give, or ICRS."""
    names = [plain(name) for name in columns]
    if any("1950" in name or "fk4" in name for name in names):
        return "fk4 B1950"
    if any(_GALACTIC.fullmatch(name) for name in names):
        return "galactic"
    if any("icrs" in name for name in names):
        return "icrs"
    if any("2000" in name for name in names):
        return "fk5 J2000"
    return content.frames.get(columns[0]) or content.frames.get("") or "icrs"


def to_icrs(
    lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64], frame: str, where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convert positions in degrees, shape (n,), NaN where unknown, to ICRS.

    The frame is ``icrs``, ``fk5``, ``fk4 B1950``, ``B1950``, ``galactic`` and the like. FK5 of J2000 is taken for ICRS,
    from which it differs by less than 0.1 arcsec. Raises `RadiosslError`, which begins with `where`, if it is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> ra, dec = to_icrs(np.array([187.0]), np.array([12.0]), "fk4 B1950", "example")
    >>> f"{ra[0]:.4f} {dec[0]:.4f}"
    '187.6332 11.7239'
    """
    match = _FRAME.fullmatch(frame.strip())
    if match is None:
        raise RadiosslError(f"{where}: the frame {frame!r} is not known; {_EXPECTED}")
    name, letter, year = match[1].lower().strip("_"), (match[2] or "").upper(), match[3]
    name = _NAMES.get(name, name) or frame_of_equinox(float(year or 2000), letter)[:3]
    usual = {"fk4": ("B", "1950"), "fk5": ("J", "2000")}.get(name)
    equinox = f"{letter or usual[0]}{float(year or usual[1]):g}" if usual else ""
    if name == "icrs" or (name, equinox) == ("fk5", "J2000"):
        return np.mod(lon_deg, 360.0), lat_deg
    from astropy.coordinates import SkyCoord

    known = np.isfinite(lon_deg) & np.isfinite(lat_deg)
    options = {"equinox": equinox} if equinox else {}
    try:
        found = SkyCoord(lon_deg[known], lat_deg[known], unit="deg", frame=name, **options).icrs
    except (ValueError, TypeError):
        raise RadiosslError(f"{where}: the frame {frame!r} is not known; {_EXPECTED}") from None
    ra, dec = np.full_like(lon_deg, np.nan), np.full_like(lat_deg, np.nan)
    ra[known], dec[known] = found.ra.deg, found.dec.deg
    return ra, dec
