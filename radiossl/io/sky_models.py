"""Sky models of interferometry as tables: source lists of BBS, DP3 and WSClean, and the models of aoskymodel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa

from radiossl.io.errors import RadiosslError
from radiossl.io.values import clean_texts, typed

#: https://www.astron.nl/lofarwiki/doku.php?id=public:user_software:documentation:makesourcedb: the columns are in a
#: line ``Format = Name, Type, Ra, ...``, or in a comment ``# (Name, Type, ...) = format``.
_FORMAT = re.compile(r"\s*#?\s*format\s*=\s*(?P<names>.+)|\s*#\s*\((?P<other>.+)\)\s*=\s*format\s*", re.IGNORECASE)
_AO = re.compile(r"\s*skymodel\s+fileformat\s+[\d.]+\s*")
_COMMA = re.compile(r",(?![^\[]*\])")  # lists of spectral terms are in brackets
_TOKEN = re.compile(r'"[^"]*"|[{}]|[^\s{}"]+')
#: Keyword in a component of aoskymodel -> the columns that its values are; a dash is left out.
_AO_COLUMNS = {
    "type": ("Type",),
    "position": ("Ra", "Dec"),
    "shape": ("MajorAxis", "MinorAxis", "Orientation"),
    "frequency": ("ReferenceFrequency", "-"),
    "fluxdensity": ("-", "I"),
}
#: Of fitted axes in both.
UNITS = {"MajorAxis": "arcsec", "MinorAxis": "arcsec", "Orientation": "deg", "I": "Jy"}


def is_sky_model(head: Sequence[str]) -> bool:
    """Return whether a text file with these first lines is a sky model."""
    lines = [line for line in head if line.strip()]
    return any(_AO.fullmatch(line) for line in lines[:1]) or _names(lines) is not None


def read_sky_model(path: object, lines: Iterable[str]) -> pa.Table:
    """Return the sources of a sky model as a table, one row for each component, columns as BBS calls them.

    Raises `RadiosslError` if a line is not what the format says.
    """
    lines = list(lines)
    names = _names(lines)
    rows = list(_components(" ".join(line.partition("#")[0] for line in lines)) if names is None else
                _sources(path, lines, names))  # fmt: skip
    columns = dict.fromkeys(name for row in rows for name in row)
    texts = {name: clean_texts(pa.chunked_array([[row.get(name) for row in rows]], pa.string())) for name in columns}
    return pa.table({name: text if name in ("Name", "Ra", "Dec") else typed(text) for name, text in texts.items()})


def _names(lines: Sequence[str]) -> list[str] | None:
    """The columns that the line with the format names, in order; None without such a line, or if it has no position."""
    for line in lines:
        match = _FORMAT.fullmatch(line)
        if match:
            fields = _COMMA.split(match["names"] or match["other"])
            names = [field.partition("=")[0].strip().capitalize() for field in fields]
            return fields if {"Ra", "Dec"} <= set(names) else None
    return None


def _sources(path: object, lines: Sequence[str], fields: Sequence[str]) -> Iterator[dict[str, str]]:
    parts = [field.partition("=") for field in fields]
    names = [name.strip() for name, *_ in parts]
    names = [name.capitalize() if name.lower() in ("name", "ra", "dec") else name for name in names]
    defaults = {
        name: value.strip(" '\"") for name, (*_, value) in zip(names, parts, strict=True) if value.strip(" '\"")
    }
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#") or _FORMAT.fullmatch(line):
            continue
        values = [value.strip(" '\"") for value in _COMMA.split(line.strip())]
        if len(values) > len(names):
            raise RadiosslError(f"{path}: line {number} has {len(values)} values, its format names {len(names)}")
        row = defaults | {name: value for name, value in zip(names, values, strict=False) if value}
        if "Name" in row:  # or it is where a patch of sources is
            yield row


def _components(text: str) -> Iterator[dict[str, str]]:
    tokens = _TOKEN.findall(text)
    name, row = "", None
    for place, token in enumerate(tokens):
        if token == "name":
            name = tokens[place + 1].strip('"') if place + 1 < len(tokens) else ""
        elif token == "component":
            if row:
                yield row
            row = {"Name": name}
        elif row is not None:
            for column, value in zip(_AO_COLUMNS.get(token, ()), tokens[place + 1 :], strict=False):
                if column != "-":
                    row.setdefault(column, value)  # of several measurements the first
    if row:
        yield row
