"""Merging labelled catalogues of the same sky into one, as CRUMB was made of its parents (Porter & Scaife 2023).

Pairs of sources closer than a radius are listed for a person to look at (section 2.2 of the paper), with what the merge
makes of them by itself; the list is read again with that person's answers, and they decide.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from radiossl.datasets.merge_entries import (
    Classes,
    Decision,
    Decisions,
    Entries,
    Pair,
    ParentCatalogue,
    find_pairs,
    joined_entries,
    partners,
    read_review,
)
from radiossl.io.csv_cells import write_arrow_csv
from radiossl.io.errors import RadiosslError, check_number
from radiossl.io.replacing import check_replaceable, csv_sign
from radiossl.survey.catalogue import unique_ids

#: Pairs within the width of one of CRUMB's images were looked at (section 2.2).
RADIUS_ARCSEC = 270.0
SAME_PARENT, ONE_TO_MANY, CONTRADICTION = "same parent", "one-to-many", "contradiction"
_END = {"parent": "string", "id": "string", "ra_deg": "double", "dec_deg": "double", "labels": "string"}
_REVIEW = pa.schema(
    {f"{name}_{end}": kind for end in "ab" for name, kind in _END.items()}
    | {"separation_arcsec": "double", "flags": "string", "merged": "string", "same": "string", "centre": "string"}
)


@dataclass(frozen=True, eq=False)
class MergedCatalogue:
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


def merge_catalogues(
    parents: Sequence[ParentCatalogue],
    radius_arcsec: float = RADIUS_ARCSEC,
    *,
    same_arcsec: float | None = None,
    classes: Classes | None = None,
    reviewed: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    review: str | os.PathLike[str] | None = None,
) -> MergedCatalogue:
    """Merge catalogues into one with one row per source.

    Parameters
    ----------
    parents
        At least two, the preferred first: a source gets the position of the first of them that has it.
    radius_arcsec
        Pairs closer than this are in the review list.
    same_arcsec
        Pairs closer than this, of different parents and nearest to each other, are one source unless a person says
        no; by default all within the radius.
    classes
        What the values of label columns mean; makes ``basic_label`` (of the first label column that has one) and
        ``contradiction``.
    reviewed
        A review list in which a person has filled ``same`` or ``centre``. Pairs that it leaves open are decided as if
        there were no list.
    out, review
        CSV files to write the merged catalogue and the list of pairs to.

    Returns
    -------
    MergedCatalogue
        The sources in the order of right ascension, and the pairs.

    Raises
    ------
    RadiosslError
        If the parents or the reviewed list are not what they should be, or a person's answers contradict each other.
    """
    if same_arcsec is not None:
        check_number("--same-radius", same_arcsec, 0)
    entries = Entries.from_parents(parents, classes or {})
    decisions = read_review(Path(reviewed), entries) if reviewed is not None else {}
    pairs = find_pairs(entries, radius_arcsec, sorted(decisions))
    sources = joined_entries(entries, pairs, decisions, radius_arcsec if same_arcsec is None else same_arcsec)
    merged = MergedCatalogue(
        _merged_table(entries, sources, decisions, with_classes=bool(classes)),
        _review_table(entries, pairs, sources, decisions),
    )
    written = [(table, path) for table, path in ((merged.table, out), (merged.review, review)) if path is not None]
    for table, path in written:
        check_replaceable(path, csv_sign(table.column_names[:4]), "such list", "name")
    for table, path in written:
        write_arrow_csv(table, path)
    return merged


def _merged_table(
    entries: Entries, sources: Sequence[Sequence[int]], decisions: Decisions, *, with_classes: bool
) -> pa.Table:
    preferred = {decision.centre for decision in decisions.values()}
    centres = [_centre(entries, rows, preferred) for rows in sources]
    order = np.argsort(entries.ra_deg[centres], kind="stable")  # NaN comes last
    centre, members = [centres[place] for place in order], [sources[place] for place in order]
    # The first of a source's entries that has a label, or the first of all.
    chosen = {
        column: [next((row for row in group if values[row] is not None), group[0]) for group in members]
        for column, values in entries.known.items()
    }
    columns: dict[str, Any] = {
        "name": unique_ids(entries.ids[row] for row in centre)[0],
        "ra_deg": entries.ra_deg[centre],
        "dec_deg": entries.dec_deg[centre],
        "centre": [entries.parent_name(row) for row in centre],
        "parents": [_parents_of(entries, group) for group in members],
        **{column: entries.labels[column].take(pa.array(rows, pa.int64())) for column, rows in chosen.items()},
    }
    if with_classes:
        of_source = zip(*chosen.values(), strict=True)
        named = [[entries.classes[row][place] for place, row in enumerate(rows)] for rows in of_source]
        columns["basic_label"] = pa.array([next(filter(None, names), None) for names in named], pa.string())
        columns["contradiction"] = [len(_class_names(entries, group)) > 1 for group in members]
    for number, parent in enumerate(entries.parents):
        of_parent = [[entries.ids[row] for row in group if entries.parent[row] == number] for group in members]
        columns[f"id_in_{parent.name}"] = pa.array([";".join(ids) or None for ids in of_parent], pa.string())
    return pa.table(columns)


def _class_names(entries: Entries, rows: Iterable[int]) -> set[str]:
    return {name for row in rows for name in entries.classes[row] if name is not None}


def _centre(entries: Entries, rows: Sequence[int], preferred: set[int | None]) -> int:
    """Return the entry whose position a source gets: a person's choice, or else that of the first parent."""
    named = [row for row in rows if row in preferred]
    if len(named) > 1:
        raise RadiosslError(
            f"{' and '.join(map(entries.named, named))} are one source and both preferred as its centre; "
            "correct the reviewed list"
        )
    return (named or rows)[0]


def _parents_of(entries: Entries, rows: Sequence[int]) -> str:
    names: list[str] = []
    for row in rows:
        parent = entries.parents[entries.parent[row]]
        names += [column for column in parent.labels if entries.known[column][row] is not None] or [parent.name]
    return ",".join(dict.fromkeys(names))


def _review_table(
    entries: Entries, pairs: Sequence[Pair], sources: Sequence[Sequence[int]], decisions: Decisions
) -> pa.Table:
    near = partners(entries, pairs)
    source_of = {row: number for number, group in enumerate(sources) for row in group}
    rows = []
    for pair in pairs:
        decision = decisions.get(pair[:2], Decision())
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
            labels = ((column, values[entry]) for column, values in entries.known.items())
            row |= {
                f"parent_{end}": entries.parent_name(entry),
                f"id_{end}": entries.ids[entry],
                f"ra_deg_{end}": float(entries.ra_deg[entry]),
                f"dec_deg_{end}": float(entries.dec_deg[entry]),
                f"labels_{end}": " ".join(f"{column}={label}" for column, label in labels if label is not None),
            }
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=_REVIEW)
