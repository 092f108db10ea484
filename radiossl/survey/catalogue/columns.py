"""Which column of a catalogue is which: names that surveys and source finders give to positions, sizes and ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from radiossl.io.errors import RadiosslError, check_columns, listed
from radiossl.io.tables import TableContent
from radiossl.io.values import numbers

# Names are compared in lower case and without punctuation.
_SYSTEM = r"(deg|degrees|hms|dms|hhmmss|ddmmss|str|h|hours?|rad|radians|sky|j2000|b1950|2000|1950|icrs|fk[45]|[bj])"
#: Bare Greek letters are not known: alpha is a spectral index more often than not. SExtractor writes ALPHAWIN_J2000.
_RA = re.compile(rf"(ra|rightascension){_SYSTEM}*|alpha(win|peak)?{_SYSTEM}+")
_DEC = re.compile(rf"(dec|de|declination){_SYSTEM}*|delta(win|peak)?{_SYSTEM}+")
#: What follows the name of a position in the catalogues of Selavy (cont), GLEAM (wide), Pan-STARRS (mean) and others.
_SUFFIX = re.compile(r"(cont|wide|mean|w|cen|center|centre|centroid|src|source|obj)$")
_GALACTIC = (("glon", "gallon", "l", "ldeg", "galacticlongitude"), ("glat", "gallat", "b", "bdeg", "galacticlatitude"))
_SEXAGESIMAL = re.compile(r"hms|dms|mmss|str$")
#: In the order of preference: a largest angular size, any size, the major axis of a fitted Gaussian.
_EXTENTS = (
    ("las", "lasarcsec", "lasarcmin", "lasdeg", "largestangularsize"),
    (
        *("extent", "extentarcsec", "extentarcmin", "extentdeg", "angextent", "angularextent"),
        *("angularsize", "angsize", "sizearcsec", "sizearcmin", "sizedeg"),
    ),
    ("maj", "major", "majarcsec", "majarcmin", "majdeg", "majorarcsec", "majaxis", "majoraxis", "majaxiscont"),
)
#: In the order of preference: these are never ambiguous, the first one there is taken.
_IDS = (
    *("cutoutid", "sourceid", "sourcename", "catalogid", "componentname", "isla", "islandname"),
    *("objid", "objectid", "id", "name", "objname", "source", "designation"),
)
_RA_PARTS, _DEC_PARTS = (("rah", "ram", "ras"), (("ded", "dem", "des"), ("decd", "decm", "decs")))


class Author(NamedTuple):
    """A source finder that writes its catalogues in one way."""

    name: str
    #: By which its catalogues are recognised, in plain form.
    columns: frozenset[str]
    #: Columns that name a source, best first; others of its columns are numbers within a field or an island.
    ids: tuple[str, ...]
    #: Column of the largest extent, and its unit where the file names none.
    extent: str
    extent_unit: str


#: PyBDSF, https://pybdsf.readthedocs.io (write_catalog); Aegean, Hancock et al. 2018; Selavy, Whiting & Humphreys 2012.
_AUTHORS = (
    Author("PyBDSF", frozenset({"islid", "era", "edec", "maj", "scode"}), ("gausid", "sourceid"), "maj", "deg"),
    Author("Aegean", frozenset({"a", "b", "localrms", "flags"}), ("uuid",), "a", "arcsec"),
    Author("Aegean", frozenset({"maxangularsize", "eta", "localrms"}), ("uuid",), "maxangularsize", "deg"),
    Author("Selavy", frozenset({"islandid", "radegcont", "majaxis"}), ("componentid", "islandid"), "majaxis", "arcsec"),
)
#: Fitted axes beyond this many degrees are not in degrees, whoever wrote them.
_LARGEST_DEG = 2.0


def plain(name: str) -> str:
    """Return a column's name in lower case without punctuation."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def author_of(content: TableContent) -> Author | None:
    """Return the program that wrote a catalogue, None if it is another one."""
    names = {plain(name) for name in content.table.column_names}
    found = next((author for author in _AUTHORS if author.columns <= names), None)
    if found is None or found.name != "PyBDSF":
        return found
    # Surveys publish PyBDSF's columns with names and units of their own: LoTSS and VLASS in arcsec.
    column = next(name for name in content.table.column_names if plain(name) == "maj")
    sizes = numbers(content.table.column(column))
    renamed = bool({"sourcename", "componentname"} & names)
    large = sizes is not None and bool(np.any(sizes > _LARGEST_DEG))
    return None if renamed or large else found


class Parts(NamedTuple):
    """A coordinate in several columns, as CDS writes it: sign (declinations), whole part, minutes, seconds."""

    columns: tuple[str, ...]
    sign: str | None = None


def find_position(path: str, content: TableContent, ra: str | None, dec: str | None) -> tuple[str | Parts, str | Parts]:
    """Return the columns of the position: those named, or those with known names; split ones as `Parts`.

    Raises `RadiosslError` if a named column is missing, none is known or several are.
    """
    first = _coordinate(path, content, ra, "ra", _RA)
    second = _coordinate(path, content, dec, "dec", _DEC)
    if first is None and second is None:
        galactic = [[name for name in content.table.column_names if plain(name) in known] for known in _GALACTIC]
        if len(galactic[0]) == len(galactic[1]) == 1:
            return galactic[0][0], galactic[1][0]
    if first is None or second is None:
        missing = "ra" if first is None else "dec"
        there = listed(content.table.column_names)
        remedy = f"call it {missing}, or name it with --{missing} (its columns are {there})"
        raise RadiosslError(f"{path}: no column is known to be {missing}; {remedy}")
    return first, second


def has_position(content: TableContent) -> bool:
    """Return whether a table has columns that are known to hold positions, even if several could be meant."""
    try:
        find_position("", content, None, None)
    except RadiosslError as error:
        return "could all be" in str(error)
    return True


def _coordinate(
    path: str, content: TableContent, given: str | None, flag: str, known: re.Pattern[str]
) -> str | Parts | None:
    names = content.table.column_names
    parts = _parts(names, flag)
    if given is not None:
        check_columns([given], names, path, f" for --{flag}")
        return parts if parts and given in (*parts.columns, parts.sign) else given
    inside = (*parts.columns, parts.sign) if parts else ()
    others = [name for name in names if name not in inside]
    found = [name for name in others if known.fullmatch(plain(name)) and plain(name) != "de"]
    if not found and parts:
        return parts
    if not found:
        found = [name for name in others if known.fullmatch(_SUFFIX.sub("", plain(name))) and plain(name) != "dew"]
    if not found:  # the parts of a column of sky coordinates
        found = [name for name in others if name.lower().endswith(f".{flag}")]
    if not found:
        found = [name for name, ucd in content.ucds.items() if ucd.lower() == f"pos.eq.{flag};meta.main"]
    # VizieR adds _RAJ2000 in degrees to the RAJ2000 of the authors; degrees are finer than text beside them.
    found = [name for name in found if name.startswith("_")] or found
    found = [name for name in found if not _SEXAGESIMAL.search(plain(name))] or found
    kinds = {name: content.table.column(name).type for name in found}
    found = [name for name in found if pa.types.is_floating(kinds[name]) or pa.types.is_integer(kinds[name])] or found
    if len(found) > 1:
        raise RadiosslError(f"{path}: {', '.join(found)} could all be the {flag} column; choose one with --{flag}")
    return found[0] if found else None


def _parts(names: Sequence[str], flag: str) -> Parts | None:
    by_name = {plain(name): name for name in reversed(names)}
    for wanted in (_RA_PARTS,) if flag == "ra" else _DEC_PARTS:
        found = [by_name[part] for part in wanted if part in by_name]
        if len(found) > 1 and wanted[0] in by_name and wanted[1] in by_name:
            sign = next((name for name in names if plain(name) in ("de", "dec", "design", "decsign")), None)
            return Parts(tuple(found), sign if flag == "dec" else None)
    return None


def find_extent(path: str, content: TableContent, given: str | None, author: Author | None) -> tuple[str | None, str]:
    """Return the column of the extent, None if there is none, and a note on which of several was taken."""
    names = content.table.column_names
    if given is not None:
        check_columns([given], names, path, " for --extent")
        return given, ""
    tiers = [[name for name in names if plain(name) in known] for known in _EXTENTS]
    if author is not None and not any(tiers):
        tiers = [[name for name in names if plain(name) == author.extent]]
    there = [name for tier in tiers for name in tier]
    chosen = next((tier for tier in tiers if tier), [])
    if len(chosen) > 1:
        raise RadiosslError(f"{path}: {', '.join(chosen)} could all be the extent column; choose one with --extent")
    if len(there) < 2:
        return (chosen[0] if chosen else None), ""
    others = ", ".join(name for name in there if name != chosen[0])
    return chosen[0], f"the extent is column {chosen[0]!r}, not {others}; choose another with --extent"


def find_id(path: str, content: TableContent, given: str | None, author: Author | None) -> str | None:
    """Return the column of the sources' names, None if there is none."""
    if given is not None:
        check_columns([given], content.table.column_names, path, " for --id")
        return given
    by_name = {plain(name): name for name in reversed(content.table.column_names)}
    known = (*(author.ids if author else ()), *(() if author and author.name == "Aegean" else _IDS))
    return next((by_name[name] for name in known if name in by_name), None)
