"""Merging labelled catalogues of the same sky into one, as CRUMB was made of its parents (Porter & Scaife 2023).

Pairs of sources closer than a radius are listed for a person to look at (section 2.2 of the paper), with what the merge
makes of them by itself; the list is taken back with the person's own answers, and they decide.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.datasets import crumb
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file, existing_file
from radiossl.sky.positions import match_sky
from radiossl.survey.catalogue import Catalogue, read_catalogue, unique_ids

#: Pairs within the width of one of CRUMB's images were looked at (section 2.2).
RADIUS_ARCSEC = 270.0
#: What an integer label is where a source has none.
ABSENT = -1

SAME_PARENT, ONE_TO_MANY, CONTRADICTION = "same parent", "one-to-many", "contradiction"
_YES, _NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0")
_PAIR = ("parent_a", "id_a", "parent_b", "id_b")
_OWN_COLUMNS = ("name", "ra_deg", "dec_deg", "centre", "parents", "basic_label", "contradiction")

_REVIEW = pa.schema(
    [
        *(
            (f"{name}_{end}", kind)
            for end in "ab"
            for name, kind in (
                ("parent", pa.string()),
                ("id", pa.string()),
                ("ra_deg", pa.float64()),
                ("dec_deg", pa.float64()),
                ("labels", pa.string()),
            )
        ),
        ("separation_arcsec", pa.float64()),
        ("flags", pa.string()),
        ("merged", pa.string()),
        ("same", pa.string()),
        ("centre", pa.string()),
    ]
)

#: For each label column, the class that each of its values means, as text.
Classes = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class Parent:
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
    def read(cls, text: str) -> Parent:
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


@dataclass(frozen=True, eq=False)
class Merged:
    """Several catalogues as one.

    Attributes
    ----------
    table
        One row per source: ``name``, ``ra_deg``, ``dec_deg`` and ``centre`` (the preferred position and the parent it
        is of), ``parents``, the label columns (-1 or null where absent), ``basic_label`` and ``contradiction`` if the
        meaning of labels is known, and for each parent, as ``id_in_NAME``, the source's id in it.
    review
        One row per pair within the radius, nearest first: both entries with positions and labels,
        ``separation_arcsec``, ``flags``, ``merged`` (whether they are one source in the table), and the columns that
        are a person's to fill: ``same`` (yes or no) and ``centre`` (a or b, if one position is the better one).
    """

    table: pa.Table
    review: pa.Table

    @property
    def undecided(self) -> int:
        """How many pairs no person has decided on."""
        return self.review.column("same").to_pylist().count("")


def merge(
    parents: Sequence[Parent],
    out: str | os.PathLike[str],
    review: str | os.PathLike[str],
    *,
    radius_arcsec: float = RADIUS_ARCSEC,
    same_arcsec: float | None = None,
    classes: Classes | None = None,
    reviewed: str | os.PathLike[str] | None = None,
) -> Merged:
    """Merge catalogues (see `merge_catalogues`) and write the merged one and the review list as CSV files."""
    from pyarrow import csv as arrow_csv

    merged = merge_catalogues(parents, radius_arcsec, same_arcsec=same_arcsec, classes=classes, reviewed=reviewed)
    for table, path in ((merged.table, out), (merged.review, review)):
        with atomic_file(path) as temporary:
            arrow_csv.write_csv(table, temporary)
    return merged


def merge_catalogues(
    parents: Sequence[Parent],
    radius_arcsec: float = RADIUS_ARCSEC,
    *,
    same_arcsec: float | None = None,
    classes: Classes | None = None,
    reviewed: str | os.PathLike[str] | None = None,
) -> Merged:
    """Merge catalogues into one with one row per source.

    Parameters
    ----------
    parents
        At least two, the preferred first: a source gets the position of the first of them that has it.
    radius_arcsec
        Pairs closer than this stand in the review list.
    same_arcsec
        Pairs closer than this, of different parents and nearest to each other, are one source unless a person says
        no; by default all within the radius.
    classes
        What the values of label columns mean; makes ``basic_label`` (of the first label column that has one) and
        ``contradiction``.
    reviewed
        A review list in which a person has filled ``same`` or ``centre``. Pairs that it leaves open are decided as if
        there were no list.

    Returns
    -------
    Merged
        The sources in the order of right ascension, and the pairs.

    Raises
    ------
    RadiosslError
        If the parents or the reviewed list are not what they should be, or a person's answers contradict each other.
    """
    entries = _Entries.of(parents, classes or {})
    pairs = _pairs(entries, radius_arcsec)
    decisions = _read_review(Path(reviewed), entries) if reviewed is not None else {}
    far = set(decisions) - {(pair.a, pair.b) for pair in pairs}
    pairs += [_Pair(a, b, _separation(entries, a, b)) for a, b in sorted(far)]
    pairs.sort(key=lambda pair: (pair.separation_arcsec, pair.a, pair.b))
    nearest = _nearest(entries, [pair for pair in pairs if decisions.get((pair.a, pair.b), _OPEN).same is not False])
    limit = radius_arcsec if same_arcsec is None else same_arcsec
    groups = _Groups(len(entries))
    _join(groups, entries, pairs, decisions, nearest, limit)
    return Merged(
        _merged_table(entries, groups, decisions, with_classes=bool(classes)),
        _review_table(entries, pairs, groups, decisions),
    )


def read_classes(path: str | os.PathLike[str]) -> dict[str, dict[str, str]]:
    """Read what labels mean from a YAML file: for each label column, its classes with the list of their values.

    ``at17: {FRI: [0, 2], FRII: [1]}`` is one column of such a file. The word ``crumb`` gives those of CRUMB's parents.
    """
    import yaml

    if str(path) == "crumb":
        return crumb.label_classes()
    path = existing_file(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = {
            str(column): {str(value): str(name) for name, values in groups.items() for value in values}
            for column, groups in content.items()
        }
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise RadiosslError(f"{path}: expected lines such as 'at17: {{FRI: [0, 2], FRII: [1]}}' ({reason})") from None
    return found


# Entries and pairs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Entries:
    """The rows of all parents one after the other."""

    parents: Sequence[Parent]
    parent: NDArray[np.int64]
    ids: list[str]
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    labels: dict[str, pa.Array]
    classes: list[tuple[str | None, ...]]

    @classmethod
    def of(cls, parents: Sequence[Parent], classes: Classes) -> _Entries:
        names = [parent.name for parent in parents]
        columns = [column for parent in parents for column in parent.labels]
        if len(parents) < 2 or len(set(names)) != len(names):
            raise RadiosslError(f"catalogues to merge: {', '.join(names) or 'none'}; expected at least two, each once")
        own = {*_OWN_COLUMNS, *(f"id_in_{name}" for name in names)}
        bad = [column for column in columns if columns.count(column) > 1 or column in own]
        if bad:
            raise RadiosslError(f"label column {bad[0]!r} would stand twice in the merged catalogue; rename one")
        unknown = [column for column in classes if column not in columns]
        if unknown:
            raise RadiosslError(f"classes of {unknown[0]!r}: no such label column, there are {', '.join(columns)}")
        catalogues = [parent.catalogue for parent in parents]
        rows = sum(map(len, catalogues))
        labels = {column: _padded(parents, column, rows) for column in columns}
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
        return self.parents[self.parent[row]].name

    def labels_of(self, row: int) -> str:
        """The labels of an entry as text, such as ``mirabest=3 at17=2``."""
        found = ((column, values[row].as_py()) for column, values in self.labels.items())
        return " ".join(f"{column}={label}" for column, label in found if not _is_absent(label))


def _padded(parents: Sequence[Parent], column: str, rows: int) -> pa.Array:
    """Return a label column for all entries, filled where the entry is of another parent."""
    start = 0
    for parent in parents:
        if column in parent.labels:
            values = parent.catalogue.columns.column(parent.labels[column]).combine_chunks()
            break
        start += len(parent.catalogue)
    if pa.types.is_integer(values.type):
        values, filler = values.cast(pa.int64()).fill_null(ABSENT), ABSENT
    else:
        filler = None
    before = pa.array([filler] * start, values.type)
    after = pa.array([filler] * (rows - start - len(values)), values.type)
    return pa.concat_arrays([before, values, after])


def _meant(values: pa.Array, meaning: Mapping[str, str], column: str) -> list[str | None]:
    found: list[str | None] = []
    for value in values.to_pylist():
        if _is_absent(value) or not meaning:
            found.append(None)
        elif str(value) in meaning:
            found.append(meaning[str(value)])
        else:
            raise RadiosslError(f"label {value!r} of {column} has no class; classes are known of {', '.join(meaning)}")
    return found


def _is_absent(label: Any) -> bool:
    return label is None or label != label or (not isinstance(label, bool) and label == ABSENT)


@dataclass(frozen=True)
class _Pair:
    """Two entries, `a` before `b`."""

    a: int
    b: int
    separation_arcsec: float


def _pairs(entries: _Entries, radius_arcsec: float) -> list[_Pair]:
    ra, dec = entries.ra_deg, entries.dec_deg
    found = match_sky(ra, dec, ra, dec, radius_arcsec)
    once = found.a < found.b
    rows = zip(found.a[once], found.b[once], found.separation_arcsec[once], strict=True)
    return [_Pair(int(a), int(b), float(separation)) for a, b, separation in rows]


def _separation(entries: _Entries, a: int, b: int) -> float:
    place = [(entries.ra_deg[row : row + 1], entries.dec_deg[row : row + 1]) for row in (a, b)]
    found = match_sky(*place[0], *place[1], 180 * 3600.0)
    return float(found.separation_arcsec[0]) if len(found) else float("nan")


def _nearest(entries: _Entries, pairs: Sequence[_Pair]) -> dict[tuple[int, int], int]:
    """Return, for an entry and a parent, the entry of that parent which is nearest. Pairs come nearest first."""
    nearest: dict[tuple[int, int], int] = {}
    for pair in pairs:
        nearest.setdefault((pair.a, int(entries.parent[pair.b])), pair.b)
        nearest.setdefault((pair.b, int(entries.parent[pair.a])), pair.a)
    return nearest


# Decisions ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Decision:
    """A person's answer: whether a pair is one source (None if left open), and which position is preferred."""

    same: bool | None
    centre: int | None


_OPEN = _Decision(None, None)


def _read_review(path: Path, entries: _Entries) -> dict[tuple[int, int], _Decision]:
    row_of = {(entries.parent_name(row), entries.ids[row]): row for row in range(len(entries))}
    decisions: dict[tuple[int, int], _Decision] = {}
    for number, line in enumerate(_lines(path), start=2):
        where = f"{path}, line {number}"
        ends = []
        for name, id_ in ((line["parent_a"], line["id_a"]), (line["parent_b"], line["id_b"])):
            if (name, id_) not in row_of:
                raise RadiosslError(f"{where}: no source {id_!r} in the catalogue {name!r}; was it made of others?")
            ends.append(row_of[name, id_])
        answer = (line["same"] or "").strip().lower()
        if answer and answer not in (*_YES, *_NO):
            raise RadiosslError(f"{where}: same is {line['same']!r}, expected yes or no")
        preferred = (line.get("centre") or "").strip().lower()
        if preferred not in ("", "a", "b"):
            raise RadiosslError(f"{where}: centre is {line['centre']!r}, expected a, b or nothing")
        decision = _Decision(answer in _YES if answer else None, ends["ab".index(preferred)] if preferred else None)
        key = (min(ends), max(ends))
        if decisions.setdefault(key, decision) != decision:
            raise RadiosslError(f"{where}: {line['id_a']} and {line['id_b']} stand there twice with different answers")
    return {key: decision for key, decision in decisions.items() if decision != _OPEN}


def _lines(path: Path) -> Iterator[dict[str, str]]:
    with existing_file(path).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [name for name in (*_PAIR, "same") if name not in (reader.fieldnames or ())]
        if missing:
            raise RadiosslError(f"{path}: no column {missing[0]!r}; expected a review list of a merge")
        yield from reader


# Groups ---------------------------------------------------------------------------------------------------------------


class _Groups:
    """Entries joined to sources, each known by the first of its entries."""

    def __init__(self, count: int) -> None:
        self.of = list(range(count))
        self.members = {row: [row] for row in range(count)}

    def join(self, a: int, b: int) -> None:
        first, second = sorted((self.of[a], self.of[b]))
        if first == second:
            return
        moved = self.members.pop(second)
        self.members[first] = sorted([*self.members[first], *moved])
        for row in moved:
            self.of[row] = first


def _join(
    groups: _Groups,
    entries: _Entries,
    pairs: Sequence[_Pair],
    decisions: Mapping[tuple[int, int], _Decision],
    nearest: Mapping[tuple[int, int], int],
    limit_arcsec: float,
) -> None:
    for (a, b), decision in decisions.items():
        if decision.same:
            groups.join(a, b)
    apart: dict[int, set[int]] = {}
    for (a, b), decision in decisions.items():
        if decision.same is False:
            if groups.of[a] == groups.of[b]:
                raise RadiosslError(
                    f"{_named(entries, a)} and {_named(entries, b)} are said to be different sources, and by way of "
                    "others to be the same one; mend the reviewed list"
                )
            apart.setdefault(a, set()).add(b)
            apart.setdefault(b, set()).add(a)
    for pair in pairs:
        answered = decisions.get((pair.a, pair.b), _OPEN).same is not None
        if answered or pair.separation_arcsec > limit_arcsec or not _mutual(entries, pair, nearest):
            continue
        one, two = (groups.members[groups.of[row]] for row in (pair.a, pair.b))
        # A chain of neighbours must not make one source of two that a parent tells apart, nor of two a person does.
        shared = {entries.parent[row] for row in one} & {entries.parent[row] for row in two}
        if not shared and not any(apart.get(row, set()) & set(two) for row in one):
            groups.join(pair.a, pair.b)


def _mutual(entries: _Entries, pair: _Pair, nearest: Mapping[tuple[int, int], int]) -> bool:
    of_a, of_b = int(entries.parent[pair.a]), int(entries.parent[pair.b])
    return of_a != of_b and nearest.get((pair.a, of_b)) == pair.b and nearest.get((pair.b, of_a)) == pair.a


def _named(entries: _Entries, row: int) -> str:
    return f"{entries.ids[row]!r} of {entries.parent_name(row)}"


# Tables ---------------------------------------------------------------------------------------------------------------


def _merged_table(
    entries: _Entries, groups: _Groups, decisions: Mapping[tuple[int, int], _Decision], *, with_classes: bool
) -> pa.Table:
    centres = _centres(entries, groups, decisions)
    order = sorted(
        centres, key=lambda group: (np.isnan(entries.ra_deg[centres[group]]), entries.ra_deg[centres[group]])
    )
    members = [groups.members[group] for group in order]
    centre = [centres[group] for group in order]
    chosen = {
        column: [_first_label(values, rows) for rows in members] for column, values in _python(entries.labels).items()
    }
    labels = {
        column: pa.array([values[row] for row in chosen[column]], entries.labels[column].type)
        for column, values in _python(entries.labels).items()
    }
    columns: dict[str, Any] = {
        "name": unique_ids(entries.ids[row] for row in centre)[0],
        "ra_deg": entries.ra_deg[centre],
        "dec_deg": entries.dec_deg[centre],
        "centre": [entries.parent_name(row) for row in centre],
        "parents": [_parents_of(entries, rows) for rows in members],
        **labels,
    }
    if with_classes:
        found = [[name for row in rows for name in entries.classes[row] if name is not None] for rows in members]
        by_column = [
            [entries.classes[chosen[column][index]][place] for place, column in enumerate(entries.labels)]
            for index in range(len(members))
        ]
        columns["basic_label"] = pa.array(
            [next((name for name in names if name is not None), None) for names in by_column], pa.string()
        )
        columns["contradiction"] = [len(set(names)) > 1 for names in found]
    for number, parent in enumerate(entries.parents):
        of_parent = [[entries.ids[row] for row in rows if entries.parent[row] == number] for rows in members]
        columns[f"id_in_{parent.name}"] = pa.array([";".join(ids) or None for ids in of_parent], pa.string())
    return pa.table(columns)


def _python(labels: Mapping[str, pa.Array]) -> dict[str, list[Any]]:
    return {column: values.to_pylist() for column, values in labels.items()}


def _first_label(values: Sequence[Any], rows: Sequence[int]) -> int:
    """Return the first of the rows that has a label; the first of all if none has."""
    return next((row for row in rows if not _is_absent(values[row])), rows[0])


def _centres(entries: _Entries, groups: _Groups, decisions: Mapping[tuple[int, int], _Decision]) -> dict[int, int]:
    """Return the entry whose position each source gets: a person's choice, or else that of the first parent."""
    centres: dict[int, int] = {}
    for decision in decisions.values():
        if decision.centre is not None:
            group = groups.of[decision.centre]
            if centres.setdefault(group, decision.centre) != decision.centre:
                raise RadiosslError(
                    f"{_named(entries, centres[group])} and {_named(entries, decision.centre)} are one source and both "
                    "preferred as its centre; mend the reviewed list"
                )
    return {group: centres.get(group, rows[0]) for group, rows in groups.members.items()}


def _parents_of(entries: _Entries, rows: Sequence[int]) -> str:
    """Return the label columns in which a source has a label, and the parents that have it without one."""
    names: list[str] = []
    for row in rows:
        parent = entries.parents[entries.parent[row]]
        labelled = [column for column in parent.labels if not _is_absent(entries.labels[column][row].as_py())]
        names += labelled or [parent.name]
    return ",".join(dict.fromkeys(names))


def _review_table(
    entries: _Entries,
    pairs: Sequence[_Pair],
    groups: _Groups,
    decisions: Mapping[tuple[int, int], _Decision],
) -> pa.Table:
    partners: dict[tuple[int, int], set[int]] = {}
    for pair in pairs:
        partners.setdefault((pair.a, int(entries.parent[pair.b])), set()).add(pair.b)
        partners.setdefault((pair.b, int(entries.parent[pair.a])), set()).add(pair.a)
    rows = []
    for pair in pairs:
        decision = decisions.get((pair.a, pair.b), _OPEN)
        ends = {"a": pair.a, "b": pair.b}
        of_a, of_b = int(entries.parent[pair.a]), int(entries.parent[pair.b])
        flags = [SAME_PARENT] if of_a == of_b else []
        if of_a != of_b and max(len(partners[pair.a, of_b]), len(partners[pair.b, of_a])) > 1:
            flags.append(ONE_TO_MANY)
        if len({name for row in ends.values() for name in entries.classes[row] if name is not None}) > 1:
            flags.append(CONTRADICTION)
        row: dict[str, Any] = {}
        for end, entry in ends.items():
            row |= {
                f"parent_{end}": entries.parent_name(entry),
                f"id_{end}": entries.ids[entry],
                f"ra_deg_{end}": float(entries.ra_deg[entry]),
                f"dec_deg_{end}": float(entries.dec_deg[entry]),
                f"labels_{end}": entries.labels_of(entry),
            }
        rows.append(
            row
            | {
                "separation_arcsec": pair.separation_arcsec,
                "flags": ", ".join(flags),
                "merged": "yes" if groups.of[pair.a] == groups.of[pair.b] else "no",
                "same": {True: "yes", False: "no", None: ""}[decision.same],
                "centre": next((end for end, entry in ends.items() if entry == decision.centre), ""),
            }
        )
    return pa.Table.from_pylist(rows, schema=_REVIEW)
