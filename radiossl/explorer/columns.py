"""The columns of the sources: which can colour the map, in which groups, how, and in which unit."""

from __future__ import annotations

from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.maps.figures import ClassColours, NumberColours, column_colours
from radiossl.store.schema import BASE_SCHEMA
from radiossl.store.statistics import STATISTICS

#: A column of text can colour the map if it has at most this many different values.
_MOST_CLASSES = 200
#: It does so at first if it has few, and above all if its name contains one of these words.
_FEW_CLASSES = 20
_CLASS_WORDS = ("label", "class", "kind", "type", "morph")
#: Units that names of columns end in, as they are written.
_UNITS = ["deg", "arcsec", "arcmin", "Jy", "mJy", "uJy", "Hz", "MHz", "GHz", "kpc", "Mpc", "px"]
_UNIT_OF_ENDING = {unit.lower(): unit for unit in _UNITS}
LATER, CATALOGUE, CUTOUT = "computed here", "catalogue", "cutout"


class ColourColumns:
    """The columns of a table, one row per source, that can colour a map, with those that are computed later."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        #: Computed while the page is open, such as an anomaly score; arrays of shape (n,).
        self.later: dict[str, NDArray[Any]] = {}
        self._lock = Lock()
        self._colours: dict[str, tuple[Any, NumberColours | ClassColours]] = {}

    def groups(self) -> dict[str, list[str]]:
        """Return the names by group: first what was computed here, then the catalogue's, then the cutouts'."""
        groups: dict[str, list[str]] = {LATER: list(self.later), CATALOGUE: [], CUTOUT: []}
        for name in self._usable:
            groups[group_of(name)].append(name)
        return {group: names for group, names in groups.items() if names}

    def names(self) -> list[str]:
        """Return all names in the order of their groups."""
        return [name for names in self.groups().values() for name in names]

    @cached_property
    def _usable(self) -> list[str]:
        return [name for name in self.table.column_names if _can_colour(self.table.column(name))]

    @cached_property
    def class_column(self) -> str | None:
        """The catalogue's column of classes that colours the map at first; None if there is none."""
        texts = [name for name in self._usable if _is_text(self.table.column(name).type)]
        texts = [name for name in texts if group_of(name) == CATALOGUE]
        few = [name for name in texts if 2 <= pc.count_distinct(self.table.column(name)).as_py() <= _FEW_CLASSES]
        called = [name for name in few if any(word in name.lower() for word in _CLASS_WORDS)]
        return next(iter([*called, *few]), None)

    def class_of(self, row: int) -> str:
        """Return the class of a source, empty if it has none."""
        name = self.class_column
        value = None if name is None else self.table.column(name)[row].as_py()
        return "" if value is None else str(value)

    def values(self, name: str) -> Any:
        """Return a column as an Arrow array; raise `RadiosslError` if it is none of `names`."""
        if name in self.later:
            return pa.array(self.later[name])
        if name not in self._usable:
            raise RadiosslError(f"no column {name!r} that could colour the map")
        return self.table.column(name)

    def colours(self, name: str) -> NumberColours | ClassColours:
        """Return how a column of `names` colours the map, see `column_colours`; the same object while it holds."""
        with self._lock:  # many pages may be opened at once
            source = self.later.get(name)
            held = self._colours.get(name)
            if held is None or held[0] is not source:
                table = pa.table({"cutout_id": self.table.column("cutout_id"), name: self.values(name)})
                colours = column_colours(FeatureTable(table, np.empty((len(table), 0), np.float32)), name)
                held = self._colours[name] = source, colours
            return held[1]

    @cached_property
    def _pixel_unit(self) -> str:
        units = pc.unique(self.table.column("unit")).to_pylist() if "unit" in self.table.column_names else []
        return units[0] or "" if len(units) == 1 else ""

    def label(self, name: str) -> str:
        """Return a column's name with its unit, if that is known: by its ending, or the one unit of all cutouts."""
        unit = _UNIT_OF_ENDING.get(name.lower().rpartition("_")[2], "")
        if name in STATISTICS:
            unit = self._pixel_unit
        return f"{name} [{unit}]" if unit else name


def group_of(name: str) -> str:
    """Return whether a column of the table is the catalogue's or the cutouts' own."""
    return CUTOUT if name in BASE_SCHEMA.names else CATALOGUE


def _can_colour(column: pa.ChunkedArray) -> bool:
    kind = column.type
    if pa.types.is_floating(kind):
        return bool(pc.any(pc.is_finite(column)).as_py())
    if _is_text(kind):
        return 0 < pc.count_distinct(column).as_py() <= _MOST_CLASSES
    return (pa.types.is_integer(kind) or pa.types.is_boolean(kind)) and column.null_count < len(column)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))
