"""What a person says about pairs of near sources, and the sources that follow from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.cluster.hierarchy import DisjointSet

from radiossl.datasets.merge_entries import Entries, Pair, entry_name
from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file
from radiossl.io.text_tables import read_text_table
from radiossl.io.values import as_texts

_YES, _NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0")
_PAIR = ("parent_a", "id_a", "parent_b", "id_b")


@dataclass(frozen=True)
class Decision:
    """A person's answer: whether a pair is one source (None if left open), and which position is preferred."""

    same: bool | None
    centre: int | None


OPEN = Decision(None, None)


def read_review(path: Path, entries: Entries) -> dict[tuple[int, int], Decision]:
    """Return the answers of a reviewed list by pairs of entries, without those left open."""
    row_of = {(entries.parent_name(row), entries.ids[row]): row for row in range(len(entries))}
    decisions: dict[tuple[int, int], Decision] = {}
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
        decision = Decision(answer in _YES if answer else None, ends["ab".index(preferred)] if preferred else None)
        key = (min(ends), max(ends))
        if decisions.setdefault(key, decision) != decision:
            raise RadiosslError(f"{where}: {line['id_a']} and {line['id_b']} are listed twice with different answers")
    return {key: decision for key, decision in decisions.items() if decision != OPEN}


def _lines(path: Path) -> Iterator[dict[str, str]]:
    content = read_text_table(existing_file(path))
    names = content.table.column_names
    missing = [name for name in (*_PAIR, "same") if name not in names]
    if missing:
        raise RadiosslError(f"{path}: no column {missing[0]!r}; expected a review list of a merge")
    columns = [as_texts(content.written.get(name, content.table.column(name))) for name in names]
    for values in zip(*columns, strict=True):
        yield {name: value or "" for name, value in zip(names, values, strict=True)}


def joined_entries(
    entries: Entries,
    pairs: Sequence[Pair],
    decisions: Mapping[tuple[int, int], Decision],
    nearest: Mapping[tuple[int, int], Sequence[int]],
    limit_arcsec: float,
) -> list[list[int]]:
    """Return the entries of each source: joined by what a person says, else mutual nearest neighbours within a limit.

    `nearest` are the `partners` of the entries; pairs come nearest first.
    """
    groups = DisjointSet(range(len(entries)))
    for (a, b), decision in decisions.items():
        if decision.same:
            groups.merge(a, b)
    apart: dict[int, set[int]] = {}
    for (a, b), decision in decisions.items():
        if decision.same is False:
            if groups.connected(a, b):
                raise RadiosslError(
                    f"{entry_name(entries, a)} and {entry_name(entries, b)} are said to be different sources, and by "
                    "way of others to be the same one; mend the reviewed list"
                )
            apart.setdefault(a, set()).add(b)
            apart.setdefault(b, set()).add(a)
    for pair in pairs:
        answered = decisions.get((pair.a, pair.b), OPEN).same is not None
        if answered or pair.separation_arcsec > limit_arcsec or not _mutual(entries, pair, nearest):
            continue
        one, two = groups.subset(pair.a), groups.subset(pair.b)
        # A chain of neighbours must not make one source of two that a parent tells apart, nor of two a person does.
        shared = {entries.parent[row] for row in one} & {entries.parent[row] for row in two}
        if not shared and not any(apart.get(row, set()) & two for row in one):
            groups.merge(pair.a, pair.b)
    return [sorted(group) for group in groups.subsets()]


def _mutual(entries: Entries, pair: Pair, nearest: Mapping[tuple[int, int], Sequence[int]]) -> bool:
    of_a, of_b = int(entries.parent[pair.a]), int(entries.parent[pair.b])
    return of_a != of_b and nearest[pair.a, of_b][0] == pair.b and nearest[pair.b, of_a][0] == pair.a
