"""`radiossl send`: tables to programs that are open on the same desktop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer


def send(
    table: Annotated[Path, typer.Argument(help="Feature table, or a result such as neighbours.csv or anomalies.csv.")],
    to: Annotated[str, typer.Option("--to", help="topcat, ds9 or aladin.")],
) -> None:
    """Send a table to TOPCAT, DS9 or Aladin through SAMP; the program must be open."""
    from radiossl.features.sending import Program, send_table

    typer.echo(f"{table}: loaded by {send_table(table, cast('Program', to))}")
