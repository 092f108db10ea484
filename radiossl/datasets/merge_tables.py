"""What a merge writes: the merged catalogue, and the list of pairs for a person to look through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from radiossl.datasets.merge_entries import Entries, Pair, entry_name, is_absent, partners
from radiossl.datasets.merge_review import OPEN, Decision
from radiossl.io.errors import RadiosslError
from radiossl.survey.catalogue import unique_ids

SAME_PARENT, ONE_TO_MANY, CONTRADICTION = "same parent", "one-to-many", "contradiction"
_END = {"parent": "string", "id": "string", "ra_deg": "double", "dec_deg": "double", "labels": "string"}
_REVIEW = pa.schema(
    {f"{name}_{end}": kind for end in "ab" for name, kind in _END.items()}
    | {"separation_arcsec": "double", "flags": "string", "merged": "string", "same": "string", "centre": "string"}
)


def merged_table(
    entries: Entries,
    sources: Sequence[Sequence[int]],
    decisions: Mapping[tuple[int, int], Decision],
    *,
    with_classes: bool,
) -> pa.Table:
    """Return the merged catalogue, one row per source; `sources` are the entries of each."""
    centres = _centres(entries, sources, decisions)
    order = np.argsort(entries.ra_deg[centres], kind="stable")  # NaN comes last
    centre, members = [centres[place] for place in order], [sources[place] for place in order]
    labels, chosen = {}, []
    for column, known in entries.labels.items():
        values = known.to_pylist()
        # The first of a source's entries that has a label, or the first of all.
        rows = [next((row for row in group if not is_absent(values[row])), group[0]) for group in members]
        labels[column] = known.take(pa.array(rows, pa.int64()))
        chosen.append(rows)
    columns: dict[str, Any] = {
        "name": unique_ids(entries.ids[row] for row in centre)[0],
        "ra_deg": entries.ra_deg[centre],
        "dec_deg": entries.dec_deg[centre],
        "centre": [entries.parent_name(row) for row in centre],
        "parents": [_parents_of(entries, group) for group in members],
        **labels,
    }
    if with_classes:
        named = [[entries.classes[row][place] for place, row in enumerate(rows)] for rows in zip(*chosen, strict=True)]
        columns["basic_label"] = pa.array([next(filter(None, names), None) for names in named], pa.string())
        columns["contradiction"] = [len(_class_names(entries, group)) > 1 for group in members]
    for number, parent in enumerate(entries.parents):
        of_parent = [[entries.ids[row] for row in group if entries.parent[row] == number] for group in members]
        columns[f"id_in_{parent.name}"] = pa.array([";".join(ids) or None for ids in of_parent], pa.string())
    return pa.table(columns)


def _class_names(entries: Entries, rows: Iterable[int]) -> set[str]:
    """The classes that the labels of these entries mean."""
    return {name for row in rows for name in entries.classes[row] if name is not None}


def _centres(
    entries: Entries, sources: Sequence[Sequence[int]], decisions: Mapping[tuple[int, int], Decision]
) -> list[int]:
    """The entry whose position each source gets: a person's choice, or else that of the first parent."""
    preferred = {decision.centre for decision in decisions.values()}
    centres = []
    for rows in sources:
        named = [row for row in rows if row in preferred]
        if len(named) > 1:
            raise RadiosslError(
                f"{' and '.join(entry_name(entries, row) for row in named)} are one source and both preferred as its "
                "centre; mend the reviewed list"
            )
        centres.append((named or rows)[0])
    return centres


def _parents_of(entries: Entries, rows: Sequence[int]) -> str:
    """The label columns in which a source has a label, and the parents that have it without one."""
    names: list[str] = []
    for row in rows:
        parent = entries.parents[entries.parent[row]]
        labelled = [column for column in parent.labels if not is_absent(entries.labels[column][row].as_py())]
        names += labelled or [parent.name]
    return ",".join(dict.fromkeys(names))


def review_table(
    entries: Entries,
    pairs: Sequence[Pair],
    sources: Sequence[Sequence[int]],
    decisions: Mapping[tuple[int, int], Decision],
) -> pa.Table:
    """Return the pairs, nearest first, with what a person is to fill in."""
    near = partners(entries, pairs)
    source_of = {row: number for number, group in enumerate(sources) for row in group}
    rows = []
    for pair in pairs:
        decision = decisions.get((pair.a, pair.b), OPEN)
        ends = {"a": pair.a, "b": pair.b}
        of_a, of_b = int(entries.parent[pair.a]), int(entries.parent[pair.b])
        flags = [SAME_PARENT] if of_a == of_b else []
        if of_a != of_b and max(len(near[pair.a, of_b]), len(near[pair.b, of_a])) > 1:
            flags.append(ONE_TO_MANY)
        if len(_class_names(entries, ends.values())) > 1:
            flags.append(CONTRADICTION)
        row: dict[str, Any] = {
            "separation_arcsec": pair.separation_arcsec,
            "flags": ", ".join(flags),
            "merged": "yes" if source_of[pair.a] == source_of[pair.b] else "no",
            "same": {True: "yes", False: "no", None: ""}[decision.same],
            "centre": next((end for end, entry in ends.items() if entry == decision.centre), ""),
        }
        for end, entry in ends.items():
            row |= {
                f"parent_{end}": entries.parent_name(entry),
                f"id_{end}": entries.ids[entry],
                f"ra_deg_{end}": float(entries.ra_deg[entry]),
                f"dec_deg_{end}": float(entries.dec_deg[entry]),
                f"labels_{end}": entries.labels_of(entry),
            }
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=_REVIEW)
