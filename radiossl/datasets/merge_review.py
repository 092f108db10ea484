"""What a person says about pairs of near sources, and the sources that follow from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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


class Groups:
    """Entries joined to sources, each known by the first of its entries."""

    def __init__(self, count: int) -> None:
        self.of = list(range(count))
        self.members = {row: [row] for row in range(count)}

    def join(self, a: int, b: int) -> None:
        """Make one source of those of two entries."""
        first, second = sorted((self.of[a], self.of[b]))
        if first == second:
            return
        moved = self.members.pop(second)
        self.members[first] = sorted([*self.members[first], *moved])
        for row in moved:
            self.of[row] = first


def join_entries(
    groups: Groups,
    entries: Entries,
    pairs: Sequence[Pair],
    decisions: Mapping[tuple[int, int], Decision],
    nearest: Mapping[tuple[int, int], int],
    limit_arcsec: float,
) -> None:
    """Join entries to sources: what a person says, else mutual nearest neighbours within a limit."""
    for (a, b), decision in decisions.items():
        if decision.same:
            groups.join(a, b)
    apart: dict[int, set[int]] = {}
    for (a, b), decision in decisions.items():
        if decision.same is False:
            if groups.of[a] == groups.of[b]:
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
        one, two = (groups.members[groups.of[row]] for row in (pair.a, pair.b))
        # A chain of neighbours must not make one source of two that a parent tells apart, nor of two a person does.
        shared = {entries.parent[row] for row in one} & {entries.parent[row] for row in two}
        if not shared and not any(apart.get(row, set()) & set(two) for row in one):
            groups.join(pair.a, pair.b)


def _mutual(entries: Entries, pair: Pair, nearest: Mapping[tuple[int, int], int]) -> bool:
    of_a, of_b = int(entries.parent[pair.a]), int(entries.parent[pair.b])
    return of_a != of_b and nearest.get((pair.a, of_b)) == pair.b and nearest.get((pair.b, of_a)) == pair.a
