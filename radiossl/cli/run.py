"""`radiossl run`: a whole survey by one file; `simulate`: a small one to try everything on."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Seed, set_option
from radiossl.io.errors import counted
from radiossl.io.signals import on_stop

Changes = Annotated[list[str] | None, set_option("minutes=10")]


def run(
    survey: Annotated[Path, Argument(help="YAML file that names the mosaics, and any other settings.")],
    changes: Changes = None,
    plan: Annotated[bool, Option("--plan", help="Print settings, warnings and expected times, then stop.")] = False,
) -> None:
    """Take a survey from mosaics to one page: cutouts, backbone, features, map, anomalies, neighbours.

    Settings are proposed from the data, with reasons. An interrupted run is completed by the same command.
    """
    from radiossl.io.parts import GOES_ON

    with nullcontext() if plan else on_stop(GOES_ON):
        page = radiossl.run_survey(survey, changes or (), plan_only=plan, say=typer.echo)
    if page is not None:
        typer.echo(f"{page}: open it in a browser")


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
    typer.echo(f"{out}: {counted(len(paths), 'mosaic')} of {size} x {size} pixels and truth.csv")
