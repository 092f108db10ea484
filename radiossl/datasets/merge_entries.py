"""What is merged: the catalogues, their rows one after the other, what their labels mean, and pairs of near rows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.datasets.crumb_labels import label_classes
from radiossl.io.errors import RadiosslError
from radiossl.io.settings import read_yaml
from radiossl.sky.positions import match_sky
from radiossl.survey.catalogue import Catalogue, read_catalogue

#: What an integer label is where a source has none.
ABSENT = -1
_OWN_COLUMNS = ("name", "ra_deg", "dec_deg", "centre", "parents", "basic_label", "contradiction")


#: For each label column, the class that each of its values means, as text.
Classes = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class ParentCatalogue:
    """A catalogue to merge.

    Attributes
    ----------
    name
        What it is called in the merged catalogue.
    catalogue
        Its sources.
    labels
        Name in the merged catalogue -> column of this one, for every column of labels. A catalogue that was merged
        before has several, and is extended by merging it again.
    """

    name: str
    catalogue: Catalogue
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = self.catalogue.columns.column_names
        missing = [column for column in self.labels.values() if column not in columns]
        if missing:
            raise RadiosslError(f"{self.catalogue.name}: no column {missing[0]!r}; there are {', '.join(columns)}")

    @classmethod
    def read(cls, text: str) -> ParentCatalogue:
        """Read a parent given as ``NAME=FILE`` or ``NAME=FILE:COLUMN,...``, the columns being those of its labels.

        One column of labels gets the parent's name, several keep theirs.
        """
        name, equals, rest = text.partition("=")
        file, _, listed = rest.rpartition(":") if ":" in rest and not Path(rest).exists() else (rest, "", "")
        if not (name and equals and file):
            raise RadiosslError(f"{text}: expected NAME=FILE or NAME=FILE:COLUMN,... for a catalogue to merge")
        columns = [column for column in listed.split(",") if column]
        labels = {name: columns[0]} if len(columns) == 1 else {column: column for column in columns}
        return cls(name, read_catalogue(file), labels)


def read_classes(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Read what labels mean from a YAML file: for each label column, its classes with the list of their values.

    ``at17: {FRI: [0, 2], FRII: [1]}`` is one column of such a file. The word ``crumb`` gives those of CRUMB's parents.
    """
    if str(path) == "crumb":
        return label_classes()
    content = read_yaml(path)
    try:
        found = {
            str(column): {str(value): str(name) for name, values in groups.items() for value in values}
            for column, groups in content.items()
        }
    except (AttributeError, TypeError) as error:
        raise RadiosslError(f"{path}: expected lines such as 'at17: {{FRI: [0, 2], FRII: [1]}}' ({error})") from None
    return found


@dataclass(frozen=True, eq=False)
class Entries:
    """The rows of all parents one after the other."""

    parents: Sequence[ParentCatalogue]
    parent: NDArray[np.int64]
    ids: list[str]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    labels: dict[str, pa.Array]
    classes: list[tuple[str | None, ...]]

    @classmethod
    def from_parents(cls, parents: Sequence[ParentCatalogue], classes: Classes) -> Entries:
        """Join the rows of catalogues; raise `RadiosslError` if their names or label columns clash."""
        names = [parent.name for parent in parents]
        columns = [column for parent in parents for column in parent.labels]
        if len(parents) < 2 or len(set(names)) != len(names):
            raise RadiosslError(f"catalogues to merge: {', '.join(names) or 'none'}; expected at least two, each once")
        own = {*_OWN_COLUMNS, *(f"id_in_{name}" for name in names)}
        bad = [column for column in columns if columns.count(column) > 1 or column in own]
        if bad:
            raise RadiosslError(f"label column {bad[0]!r} would be twice in the merged catalogue; rename one")
        unknown = [column for column in classes if column not in columns]
        if unknown:
            raise RadiosslError(f"classes of {unknown[0]!r}: no such label column, there are {', '.join(columns)}")
        catalogues = [parent.catalogue for parent in parents]
        rows = sum(map(len, catalogues))
        labels = {column: _padded(parents, column) for column in columns}
        meaning = [_meant(labels[column], classes.get(column, {}), column) for column in columns]
        return cls(
            parents=parents,
            parent=np.repeat(np.arange(len(parents)), [len(catalogue) for catalogue in catalogues]),
            ids=[str(name) for catalogue in catalogues for name in catalogue.ids],
            ra_deg=np.concatenate([catalogue.ra_deg for catalogue in catalogues]),
            dec_deg=np.concatenate([catalogue.dec_deg for catalogue in catalogues]),
            labels=labels,
            classes=list(zip(*meaning, strict=True)) if meaning else [()] * rows,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def parent_name(self, row: int) -> str:
        """Return the catalogue of an entry."""
        return self.parents[self.parent[row]].name

    def labels_of(self, row: int) -> str:
        """The labels of an entry as text, such as ``mirabest=3 at17=2``."""
        found = ((column, values[row].as_py()) for column, values in self.labels.items())
        return " ".join(f"{column}={label}" for column, label in found if not is_absent(label))


def _padded(parents: Sequence[ParentCatalogue], column: str) -> pa.Array:
    """A label column for all entries, without labels where the entry is of another parent."""
    tables = []
    for parent in parents:
        labelled, nothing = column in parent.labels, pa.nulls(len(parent.catalogue))
        tables.append(pa.table({column: parent.catalogue.columns[parent.labels[column]] if labelled else nothing}))
    values = pa.concat_tables(tables, promote_options="default").column(column).combine_chunks()
    return values.cast(pa.int64()).fill_null(ABSENT) if pa.types.is_integer(values.type) else values


def _meant(values: pa.Array, meaning: Mapping[str, str], column: str) -> list[str | None]:
    found: list[str | None] = []
    for value in values.to_pylist():
        if is_absent(value) or not meaning:
            found.append(None)
        elif str(value) in meaning:
            found.append(meaning[str(value)])
        else:
            raise RadiosslError(f"label {value!r} of {column} has no class; classes are known of {', '.join(meaning)}")
    return found


def is_absent(label: Any) -> bool:
    """Return whether this is no label: missing, NaN or -1."""
    return label is None or label != label or (not isinstance(label, bool) and label == ABSENT)


@dataclass(frozen=True)
class Pair:
    """Two entries, `a` before `b`."""

    a: int
    b: int
    separation_arcsec: float


def find_pairs(entries: Entries, radius_arcsec: float) -> list[Pair]:
    """Return the pairs of entries no farther apart than a radius."""
    ra, dec = entries.ra_deg, entries.dec_deg
    found = match_sky(ra, dec, ra, dec, radius_arcsec)
    once = found.a < found.b
    rows = zip(found.a[once], found.b[once], found.separation_arcsec[once], strict=True)
    return [Pair(int(a), int(b), float(separation)) for a, b, separation in rows]


def separation_arcsec(entries: Entries, a: int, b: int) -> float:
    """Return how far apart two entries are, NaN if one has no position."""
    place = [(entries.ra_deg[row : row + 1], entries.dec_deg[row : row + 1]) for row in (a, b)]
    found = match_sky(*place[0], *place[1], 180 * 3600.0)
    return float(found.separation_arcsec[0]) if len(found) else float("nan")


def partners(entries: Entries, pairs: Sequence[Pair]) -> dict[tuple[int, int], list[int]]:
    """Return, for an entry and a parent, the entries of that parent it is paired with; nearest first if pairs are."""
    found: dict[tuple[int, int], list[int]] = {}
    for pair in pairs:
        found.setdefault((pair.a, int(entries.parent[pair.b])), []).append(pair.b)
        found.setdefault((pair.b, int(entries.parent[pair.a])), []).append(pair.a)
    return found


def entry_name(entries: Entries, row: int) -> str:
    """Return an entry for messages."""
    return f"{entries.ids[row]!r} of {entries.parent_name(row)}"
