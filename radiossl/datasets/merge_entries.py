"""What is merged: the rows of all catalogues, what their labels mean, near pairs, and what a person says of these."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.cluster.hierarchy import DisjointSet

from radiossl.datasets.crumb import ABSENT, label_classes
from radiossl.io.errors import RadiosslError, check_columns
from radiossl.io.files import existing_file, one_or_more
from radiossl.io.settings import read_yaml, split_names
from radiossl.io.text_tables import read_text_table
from radiossl.io.values import as_texts
from radiossl.sky.angles import angles_arcsec, unit_vectors
from radiossl.sky.positions import match_sky
from radiossl.survey.catalogue import Catalogue, read_catalogue

_OWN_COLUMNS = ("name", "ra_deg", "dec_deg", "centre", "parents", "basic_label", "contradiction")
_YES, _NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0")
_PAIR = ("parent_a", "id_a", "parent_b", "id_b")

#: For each label column, the class that each of its values means, as text.
Classes = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class ParentCatalogue:
    """A catalogue to merge, with its name in the merged one.

    `labels` maps names in the merged catalogue to columns of this one, for every column of labels. A catalogue that was
    merged before has several, and is extended by merging it again.
    """

    name: str
    catalogue: Catalogue
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_columns(self.labels.values(), self.catalogue.columns.column_names, self.catalogue.name)

    @classmethod
    def read(cls, text: str) -> ParentCatalogue:
        """Read a parent given as ``NAME=FILE`` or ``NAME=FILE:COLUMN,...``, the columns being those of its labels.

        One column of labels gets the parent's name, several keep theirs.
        """
        name, equals, rest = text.partition("=")
        file, _, listed = rest.rpartition(":") if ":" in rest and not Path(rest).exists() else (rest, "", "")
        if not (name and equals and file):
            raise RadiosslError(f"{text}: expected NAME=FILE or NAME=FILE:COLUMN,... for a catalogue to merge")
        columns = split_names(listed)
        labels = {name: columns[0]} if len(columns) == 1 else {column: column for column in columns}
        return cls(name, read_catalogue(file), labels)


def read_classes(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Read what labels mean from a YAML file: for each label column, its classes with the list of their values.

    ``at17: {FRI: [0, 2], FRII: [1]}`` is one column of such a file. The word ``crumb`` gives those of CRUMB's parents.
    """
    if str(path) == "crumb":
        return label_classes()
    try:
        return {
            str(column): {str(value): str(name) for name, values in groups.items() for value in one_or_more(values)}
            for column, groups in read_yaml(path).items()
        }
    except (AttributeError, TypeError) as error:
        raise RadiosslError(f"{path}: expected lines such as 'at17: {{FRI: [0, 2], FRII: [1]}}' ({error})") from None


@dataclass(frozen=True, eq=False)
class Entries:
    """The rows of all parents one after the other."""

    parents: Sequence[ParentCatalogue]
    parent: NDArray[np.int64]
    ids: list[str]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    #: Label columns as they go into the merged catalogue.
    labels: dict[str, pa.Array]
    #: The same, None where there is no label.
    known: dict[str, list[Any]]
    #: For each entry, the classes that its labels mean.
    classes: list[tuple[str | None, ...]]

    @classmethod
    def from_parents(cls, parents: Sequence[ParentCatalogue], classes: Classes) -> Entries:
        """Join the rows of catalogues; raise `RadiosslError` if their names or label columns clash."""
        names = [parent.name for parent in parents]
        columns = [column for parent in parents for column in parent.labels]
        if len(parents) < 2 or len(set(names)) != len(names):
            raise RadiosslError(f"catalogues to merge: {', '.join(names) or 'none'}; expected at least two, each once")
        own = {*_OWN_COLUMNS, *(f"id_in_{name}" for name in names)}
        if bad := [column for column in columns if columns.count(column) > 1 or column in own]:
            raise RadiosslError(f"label column {bad[0]!r} would be twice in the merged catalogue; rename one")
        if unknown := [column for column in classes if column not in columns]:
            raise RadiosslError(f"classes of {unknown[0]!r}: no such label column, there are {', '.join(columns)}")
        catalogues = [parent.catalogue for parent in parents]
        labels = {column: _padded(parents, column) for column in columns}
        known = {
            column: [None if _is_absent(value) else value for value in values.to_pylist()]
            for column, values in labels.items()
        }
        meaning = [_meant(values, classes.get(column, {}), column) for column, values in known.items()]
        return cls(
            parents=parents,
            parent=np.repeat(np.arange(len(parents)), list(map(len, catalogues))),
            ids=[str(name) for catalogue in catalogues for name in catalogue.ids],
            ra_deg=np.concatenate([catalogue.ra_deg for catalogue in catalogues]),
            dec_deg=np.concatenate([catalogue.dec_deg for catalogue in catalogues]),
            labels=labels,
            known=known,
            classes=list(zip(*meaning, strict=True)) if meaning else [()] * sum(map(len, catalogues)),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def parent_name(self, row: int) -> str:
        """Return the catalogue of an entry."""
        return self.parents[self.parent[row]].name

    def named(self, row: int) -> str:
        """Return an entry for messages."""
        return f"{self.ids[row]!r} of {self.parent_name(row)}"


def _padded(parents: Sequence[ParentCatalogue], column: str) -> pa.Array:
    """Return a label column for all entries, without labels where the entry is of another parent."""
    tables = []
    for parent in parents:
        labelled, nothing = column in parent.labels, pa.nulls(len(parent.catalogue))
        tables.append(pa.table({column: parent.catalogue.columns[parent.labels[column]] if labelled else nothing}))
    values = pa.concat_tables(tables, promote_options="default").column(column).combine_chunks()
    return values.cast(pa.int64()).fill_null(ABSENT) if pa.types.is_integer(values.type) else values


def _is_absent(label: Any) -> bool:
    return label is None or label != label or (not isinstance(label, bool) and label == ABSENT)


def _meant(values: Sequence[Any], meaning: Mapping[str, str], column: str) -> list[str | None]:
    for value in values:
        if meaning and value is not None and str(value) not in meaning:
            raise RadiosslError(f"label {value!r} of {column} has no class; there are classes for {', '.join(meaning)}")
    return [None if value is None else meaning.get(str(value)) for value in values]


class Pair(NamedTuple):
    """Two entries, `a` before `b`."""

    a: int
    b: int
    separation_arcsec: float


def find_pairs(entries: Entries, radius_arcsec: float, also: Iterable[tuple[int, int]]) -> list[Pair]:
    """Return the pairs of entries no farther apart than a radius, and some others, nearest first."""
    ra, dec = entries.ra_deg, entries.dec_deg
    found = match_sky(ra, dec, ra, dec, radius_arcsec)
    near = zip(found.a.tolist(), found.b.tolist(), found.separation_arcsec.tolist(), strict=True)
    pairs = {(a, b): separation for a, b, separation in near if a < b}
    vectors = unit_vectors(ra, dec)
    for a, b in also:
        pairs.setdefault((a, b), float(angles_arcsec(vectors[a : a + 1], vectors[b : b + 1])[0]))
    return sorted((Pair(a, b, separation) for (a, b), separation in pairs.items()), key=lambda pair: (pair[2], *pair))


def partners(entries: Entries, pairs: Sequence[Pair]) -> dict[tuple[int, int], list[int]]:
    """Return, for an entry and a parent, the entries of that parent it is paired with; nearest first if pairs are."""
    found: dict[tuple[int, int], list[int]] = {}
    for pair in pairs:
        found.setdefault((pair.a, int(entries.parent[pair.b])), []).append(pair.b)
        found.setdefault((pair.b, int(entries.parent[pair.a])), []).append(pair.a)
    return found


# What a person says ---------------------------------------------------------------------------------------------------


class Decision(NamedTuple):
    """A person's answer: whether a pair is one source (None if left open), and which position is preferred."""

    same: bool | None = None
    centre: int | None = None


Decisions = Mapping[tuple[int, int], Decision]


def read_review(path: Path, entries: Entries) -> dict[tuple[int, int], Decision]:
    """Return the answers of a reviewed list by pairs of entries, without those left open."""
    row_of = {(entries.parent_name(row), entries.ids[row]): row for row in range(len(entries))}
    decisions: dict[tuple[int, int], Decision] = {}
    for number, line in enumerate(_lines(path), start=2):
        where = f"{path}, line {number}"
        ends = []
        for name, id_ in ((line["parent_a"], line["id_a"]), (line["parent_b"], line["id_b"])):
            if (name, id_) not in row_of:
                raise RadiosslError(f"{where}: no source {id_!r} in the catalogue {name!r}; was it made from others?")
            ends.append(row_of[name, id_])
        answer = (line["same"] or "").strip().lower()
        if answer and answer not in (*_YES, *_NO):
            raise RadiosslError(f"{where}: same is {line['same']!r}, expected yes or no")
        preferred = (line.get("centre") or "").strip().lower()
        if preferred not in ("", "a", "b"):
            raise RadiosslError(f"{where}: centre is {line['centre']!r}, expected a, b or nothing")
        decision = Decision(answer in _YES if answer else None, ends["ab".index(preferred)] if preferred else None)
        if decisions.setdefault((min(ends), max(ends)), decision) != decision:
            raise RadiosslError(f"{where}: {line['id_a']} and {line['id_b']} are listed twice with different answers")
    return {key: decision for key, decision in decisions.items() if decision != Decision()}


def _lines(path: Path) -> Iterator[dict[str, str]]:
    content = read_text_table(existing_file(path))
    names = content.table.column_names
    if missing := [name for name in (*_PAIR, "same") if name not in names]:
        raise RadiosslError(f"{path}: no column {missing[0]!r}; expected a review list of a merge")
    columns = [as_texts(content.written.get(name, content.table.column(name))) for name in names]
    for values in zip(*columns, strict=True):
        yield {name: value or "" for name, value in zip(names, values, strict=True)}


def joined_entries(
    entries: Entries, pairs: Sequence[Pair], decisions: Decisions, limit_arcsec: float
) -> list[list[int]]:
    """Return the entries of each source: joined by what a person says, else mutual nearest neighbours within a limit.

    Pairs come nearest first.
    """
    nearest = partners(entries, [pair for pair in pairs if decisions.get(pair[:2], Decision()).same is not False])
    groups = DisjointSet(range(len(entries)))
    for (a, b), decision in decisions.items():
        if decision.same:
            groups.merge(a, b)
    apart: dict[int, set[int]] = {}
    for (a, b), decision in decisions.items():
        if decision.same is False:
            if groups.connected(a, b):
                raise RadiosslError(
                    f"{entries.named(a)} and {entries.named(b)} are said to be different sources, but by way of others "
                    "to be the same one; correct the reviewed list"
                )
            apart.setdefault(a, set()).add(b)
            apart.setdefault(b, set()).add(a)
    for pair in pairs:
        of_a, of_b = int(entries.parent[pair.a]), int(entries.parent[pair.b])
        if decisions.get(pair[:2], Decision()).same is not None or pair.separation_arcsec > limit_arcsec:
            continue
        if of_a == of_b or nearest[pair.a, of_b][0] != pair.b or nearest[pair.b, of_a][0] != pair.a:
            continue
        one, two = groups.subset(pair.a), groups.subset(pair.b)
        # A chain of neighbours must not make one source of two that a parent tells apart, nor of two a person does.
        shared = {entries.parent[row] for row in one} & {entries.parent[row] for row in two}
        if not shared and not any(apart.get(row, set()) & two for row in one):
            groups.merge(pair.a, pair.b)
    return [sorted(group) for group in groups.subsets()]
