"""`radiossl benchmark`: is a backbone worth having."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from radiossl.cli.options import Device, Readout, Seed, Whiten


def benchmark(
    weights: Annotated[list[Path], Argument(metavar="WEIGHTS...", help="Backbone folders.")],
    tasks: Annotated[Path, Option(help="YAML file of tasks, beside the cutout stores that it names.")],
    out: Annotated[Path, Option(help="Result folder to write; what it holds of an earlier run is used.")],
    cache: Annotated[Path | None, Option(help="Shared features and scores.", show_default="OUT/cache")] = None,
    quick: Annotated[bool, Option("--quick", help="Folds drawn once, half of the sources, no baselines.")] = False,
    seeds: Annotated[int, Option(min=1, help="How often folds are drawn.")] = 3,
    initialisations: Annotated[int, Option(min=1, help="How many random weights to average over.")] = 5,
    readout: Readout = None,
    whiten: Whiten = None,
    unlabelled: Annotated[
        list[Path] | None, Option(metavar="STORE", help="Training images, to whiten the baselines too.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Measure backbones by hard tasks, beside random weights, pixels, moments, an ImageNet network and wavelets.

    Features and scores are kept, so that a run which was interrupted, or has one more backbone, goes on where it was.
    """
    from radiossl.benchmark.report import markdown_table, write_benchmark
    from radiossl.benchmark.run import run_benchmark

    result = run_benchmark(
        weights,
        tasks,
        out / "cache" if cache is None else cache,
        quick=quick,
        seeds=seeds,
        initialisations=initialisations,
        seed=seed,
        readout=readout,
        whiten=whiten,
        unlabelled=unlabelled or [],
        device=device,
    )
    report = write_benchmark(result, out)
    for task, store in result.missing.items():
        typer.echo(f"note: {task} is left out, {store} is not there", err=True)
    typer.echo(markdown_table(result))
    typer.echo(f"{report}: {len(result.scores)} scores")
