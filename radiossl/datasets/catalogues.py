"""Published catalogues as ones to cut, merge and build from: positions in degrees, labels as names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from radiossl.io.csv_cells import write_arrow_csv
from radiossl.io.errors import RadiosslError
from radiossl.io.replacing import check_replaceable, csv_sign
from radiossl.io.settings import apply_settings


class ConvertedCatalogue(NamedTuple):
    """The sources of a published catalogue, and how many there are of each class."""

    table: pa.Table
    summary: str


def convert_catalogue(
    name: str, source: str | os.PathLike[str], out: str | os.PathLike[str], changes: Sequence[str] | None = None
) -> ConvertedCatalogue:
    """Write a published catalogue, ``rgz-dr1`` or ``crumb``, as a CSV with positions in degrees and labels as names.

    Changes are options such as ``draw=0``: those of `radiossl.datasets.rgz.RgzOptions` or
    `radiossl.datasets.crumb.CrumbOptions`. Raises `RadiosslError` if there is no catalogue of this name, or the
    file is not that catalogue.
    """
    if name == "crumb":
        from radiossl.datasets.crumb import CrumbOptions, explain_totals, read_crumb_catalogue, table_labels

        table = read_crumb_catalogue(source, apply_settings(CrumbOptions, changes=changes))
        summary = explain_totals(table_labels(table))
    elif name == "rgz-dr1":
        from radiossl.datasets.rgz import RgzOptions, read_rgz_dr1

        chosen = apply_settings(RgzOptions, changes=changes)
        table = read_rgz_dr1(source, chosen.min_consensus, chosen.draw, (chosen.train, chosen.test), chosen.seed)
        summary = ", ".join(f"{label}: {count}" for label, count in sorted(Counter(table["label"].to_pylist()).items()))
    else:
        raise RadiosslError(f"no catalogue {name!r}; there are rgz-dr1 and crumb")
    check_replaceable(out, csv_sign(table.column_names[:4]), "such catalogue")
    write_arrow_csv(table, out)
    return ConvertedCatalogue(table, summary)
