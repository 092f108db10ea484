"""Merging labelled catalogues of the same sky into one, as CRUMB was made of its parents (Porter & Scaife 2023).

Pairs of sources closer than a radius are listed for a person to look at (section 2.2 of the paper), with what the merge
makes of them by itself; the list is taken back with the person's own answers, and they decide.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from radiossl.datasets.merge_entries import (
    Classes,
    Entries,
    Pair,
    ParentCatalogue,
    find_pairs,
    partners,
    separation_arcsec,
)
from radiossl.datasets.merge_review import OPEN, joined_entries, read_review
from radiossl.datasets.merge_tables import merged_table, review_table
from radiossl.io.csv_cells import write_arrow_csv

#: Pairs within the width of one of CRUMB's images were looked at (section 2.2).
RADIUS_ARCSEC = 270.0


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
    entries = Entries.from_parents(parents, classes or {})
    pairs = find_pairs(entries, radius_arcsec)
    decisions = read_review(Path(reviewed), entries) if reviewed is not None else {}
    far = set(decisions) - {(pair.a, pair.b) for pair in pairs}
    pairs += [Pair(a, b, separation_arcsec(entries, a, b)) for a, b in sorted(far)]
    pairs.sort(key=lambda pair: (pair.separation_arcsec, pair.a, pair.b))
    possible = [pair for pair in pairs if decisions.get((pair.a, pair.b), OPEN).same is not False]
    limit = radius_arcsec if same_arcsec is None else same_arcsec
    sources = joined_entries(entries, pairs, decisions, partners(entries, possible), limit)
    merged = MergedCatalogue(
        merged_table(entries, sources, decisions, with_classes=bool(classes)),
        review_table(entries, pairs, sources, decisions),
    )
    for table, path in ((merged.table, out), (merged.review, review)):
        if path is not None:
            write_arrow_csv(table, path)
    return merged
