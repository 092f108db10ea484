"""`radiossl simulate`: a small survey to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from radiossl.cli.options import Seed


def simulate(
    out: Annotated[Path, Argument(help="Folder to write the mosaics and truth.csv into.")],
    tiles: Annotated[int, Option(help="Number of mosaics.")] = 4,
    size: Annotated[int, Option(help="Side of a mosaic in pixels.")] = 2048,
    sources: Annotated[int, Option(help="Sources of known class in each mosaic.")] = 400,
    seed: Seed = 0,
) -> None:
    """Simulate FITS mosaics of radio sources with a truth catalogue."""
    from radiossl.survey.simulation import SurveySpec, simulate_survey

    paths = simulate_survey(out, SurveySpec(tiles=tiles, size=size, sources=sources, seed=seed))
    typer.echo(f"{out}: {len(paths)} mosaics of {size} x {size} pixels and truth.csv")
