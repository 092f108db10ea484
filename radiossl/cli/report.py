"""`radiossl report`: several result folders on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from radiossl.io.errors import RadiosslError


def report(
    parts: Annotated[list[str], Argument(help="NAME=FOLDER of each result.")],
    out: Annotated[Path, Option(help="HTML file to write.")],
    title: Annotated[str, Option(help="Heading of the page.")] = "radiossl",
) -> None:
    """Tie result folders together on one page."""
    from radiossl.report.html import index_report

    pairs = []
    for part in parts:
        name, equals, folder = part.partition("=")
        if not equals:
            raise RadiosslError(f"{part}: expected NAME=FOLDER, such as search=results/search")
        pairs.append((name, Path(folder)))
    typer.echo(f"{index_report(out, title, pairs)}")
