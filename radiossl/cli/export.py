"""`radiossl export` and `send`: tables for other programs, as files or at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from typer import Argument, Option

from radiossl.cli.options import Store


def export(
    features: Annotated[Path, Argument(help="Feature table from radiossl embed.")],
    out: Annotated[Path, Option(help="File to write, or with --format hats the folder of the catalogue.")],
    form: Annotated[
        str,
        Option(
            "--format",
            "--for",
            help="fits or votable for TOPCAT; csv; hats for LSDB, partitioned by position; Parquet with pictures for"
            " embedding-atlas or spotlight.",
        ),
    ],
    store: Store = None,
    margin: Annotated[
        str, Option(help="Of hats: a margin cache that reaches so far beyond every pixel, such as 10arcsec.")
    ] = "0",
    images: Annotated[bool, Option("--images", help="Of hats: a column of the cutouts' pixels.")] = False,
) -> None:
    """Write a feature table in the format of another program."""
    from radiossl.features.exporting import export_table
    from radiossl.features.feature_file import FeatureFile
    from radiossl.sky.angles import parse_arcsec

    width = parse_arcsec(margin, "--margin")
    left_out = export_table(features, out, form, store, width, images)  # type: ignore[arg-type]  # checked there
    total = len(FeatureFile(features))
    line = f"{out}: {total - left_out} cutouts as {form}"
    typer.echo(f"{line}; {left_out} without a position left out" if left_out else line)


def send(
    table: Annotated[Path, Argument(help="Feature table, or a result such as neighbours.csv or anomalies.csv.")],
    to: Annotated[str, Option("--to", help="topcat, ds9 or aladin.")],
) -> None:
    """Send a table to TOPCAT, DS9 or Aladin through SAMP; the program must be open."""
    from radiossl.features.exporting import Program, send_table

    typer.echo(f"{table}: loaded by {send_table(table, cast('Program', to))}")
