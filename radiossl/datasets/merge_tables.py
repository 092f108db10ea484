"""What a merge writes: the merged catalogue, and the list of pairs for a person to look through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from radiossl.datasets.merge_entries import Entries, Pair, entry_name, is_absent
from radiossl.datasets.merge_review import OPEN, Decision, Groups
from radiossl.io.errors import RadiosslError
from radiossl.survey.catalogue import unique_ids

SAME_PARENT, ONE_TO_MANY, CONTRADICTION = "same parent", "one-to-many", "contradiction"
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


def merged_table(
    entries: Entries, groups: Groups, decisions: Mapping[tuple[int, int], Decision], *, with_classes: bool
) -> pa.Table:
    """Return the merged catalogue, one row per source."""
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
    return next((row for row in rows if not is_absent(values[row])), rows[0])


def _centres(entries: Entries, groups: Groups, decisions: Mapping[tuple[int, int], Decision]) -> dict[int, int]:
    """Return the entry whose position each source gets: a person's choice, or else that of the first parent."""
    centres: dict[int, int] = {}
    for decision in decisions.values():
        if decision.centre is not None:
            group = groups.of[decision.centre]
            if centres.setdefault(group, decision.centre) != decision.centre:
                names = [entry_name(entries, row) for row in (centres[group], decision.centre)]
                raise RadiosslError(
                    f"{' and '.join(names)} are one source and both preferred as its centre; mend the reviewed list"
                )
    return {group: centres.get(group, rows[0]) for group, rows in groups.members.items()}


def _parents_of(entries: Entries, rows: Sequence[int]) -> str:
    """Return the label columns in which a source has a label, and the parents that have it without one."""
    names: list[str] = []
    for row in rows:
        parent = entries.parents[entries.parent[row]]
        labelled = [column for column in parent.labels if not is_absent(entries.labels[column][row].as_py())]
        names += labelled or [parent.name]
    return ",".join(dict.fromkeys(names))


def review_table(
    entries: Entries,
    pairs: Sequence[Pair],
    groups: Groups,
    decisions: Mapping[tuple[int, int], Decision],
) -> pa.Table:
    """Return the pairs, nearest first, with what a person is to fill in."""
    partners: dict[tuple[int, int], set[int]] = {}
    for pair in pairs:
        partners.setdefault((pair.a, int(entries.parent[pair.b])), set()).add(pair.b)
        partners.setdefault((pair.b, int(entries.parent[pair.a])), set()).add(pair.a)
    rows = []
    for pair in pairs:
        decision = decisions.get((pair.a, pair.b), OPEN)
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
