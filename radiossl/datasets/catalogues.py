"""Published catalogues as ones to cut, merge and build from: positions in degrees, labels as names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from radiossl.io.errors import RadiosslError
from radiossl.io.settings import apply_settings


@dataclass(frozen=True)
class ConvertedCatalogue:
    """A published catalogue in the form that the package takes.

    Attributes
    ----------
    table
        Its sources.
    summary
        How many there are of each class, and what to know about it.
    """

    table: pa.Table
    summary: str


def convert_catalogue(
    name: str, source: str | os.PathLike[str], out: str | os.PathLike[str], changes: Sequence[str] | None = None
) -> ConvertedCatalogue:
    """Write a published catalogue as a CSV with positions in degrees and labels as names.

    Parameters
    ----------
    name
        ``rgz-dr1`` or ``crumb``.
    source
        The catalogue as published.
    out
        CSV to write.
    changes
        Options such as ``draw=0``: those of `radiossl.datasets.rgz.RgzOptions` or
        `radiossl.datasets.crumb_labels.CrumbOptions`.

    Raises
    ------
    RadiosslError
        If there is no catalogue of this name, or the file is not that catalogue.
    """
    if name == "crumb":
        from radiossl.datasets.crumb_catalogue import table_labels, write_crumb_catalogue
        from radiossl.datasets.crumb_labels import CrumbOptions, explain_totals

        table = write_crumb_catalogue(source, out, apply_settings(CrumbOptions, changes=changes))
        return ConvertedCatalogue(table, explain_totals(table_labels(table)))
    if name == "rgz-dr1":
        from radiossl.datasets.rgz import RgzOptions, write_rgz_catalogue

        table = write_rgz_catalogue(source, out, apply_settings(RgzOptions, changes=changes))
        counts = Counter(table.column("label").to_pylist())
        return ConvertedCatalogue(table, ", ".join(f"{label}: {counts[label]}" for label in sorted(counts)))
    raise RadiosslError(f"no catalogue {name!r}; there are rgz-dr1 and crumb")
