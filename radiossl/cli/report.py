"""`radiossl report`: several result folders on one page; `verify`: are they still as they were written?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import radiossl
from radiossl.io.errors import RadiosslError, counted


def report(
    parts: Annotated[list[str], Argument(help="NAME=FOLDER of each result.")],
    out: Annotated[Path, Option(help="HTML file to write.")],
    title: Annotated[str, Option(help="Heading of the page.")] = "radiossl",
) -> None:
    """Join result folders on one page."""
    from radiossl.io.replacing import OURS, check_replaceable
    from radiossl.report.html import index_report

    check_replaceable(out, OURS, "page of radiossl")
    pairs = [(part.partition("=")[0], part.partition("=")[2]) for part in parts]
    for part in parts:
        if "=" not in part:
            raise RadiosslError(f"{part}: expected NAME=FOLDER, such as search=results/search")
    typer.echo(index_report(out, title, pairs))


#: Damaged files that are named one by one.
_NAMED = 20


def verify(
    paths: Annotated[list[Path], Argument(metavar="PATH...", help="Stores, backbones, runs, indexes, results.")],
) -> None:
    """Compare folders and tables with the checksums that were written with them."""
    damaged = 0
    for path in paths:
        found = radiossl.verify(path)
        for file, reason in list(found.damaged.items())[:_NAMED]:
            typer.echo(f"{file}: {reason}", err=True)
        damaged += len(found.damaged)
        if found.without and not found.whole and not found.damaged:
            typer.echo(f"{path}: has no checksums (written by radiossl 0.1 or by something else)")
        elif found.whole or not found.damaged:
            others = f"; {len(found.without)} others have no checksum" if found.without else ""
            typer.echo(f"{path}: {counted(len(found.whole), 'file')} unchanged since written{others}")
    if damaged:
        raise RadiosslError(f"{counted(damaged, 'damaged file')}: make them again, or restore them from a copy")
