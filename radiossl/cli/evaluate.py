"""`radiossl evaluate`: how good a backbone is on labelled cutouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Judge a backbone on labelled cutouts.")


@app.callback()
def _evaluate() -> None:
    """Judge a backbone on labelled cutouts."""


@app.command()
def knn(
    weights: Annotated[Path, typer.Argument(help="Backbone folder.")],
    train: Annotated[Path, typer.Option(help="Labelled cutout store.")],
    label: Annotated[str, typer.Option(help="Column of the labels.")],
    out: Annotated[Path, typer.Option(help="Result folder to write.")],
    test: Annotated[Path | None, typer.Option(help="Separate test store; without it, folds of --train.")] = None,
    group: Annotated[list[str] | None, typer.Option(help="NAME=VALUE,VALUE...: values that make up a class.")] = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbours.")] = 20,
    folds: Annotated[int, typer.Option(min=2, help="Stratified folds.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, help="How often the folds are drawn; also random initialisations.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    baselines: Annotated[bool, typer.Option(help="Measure majority, raw pixels and random weights too.")] = True,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Accuracy of nearest neighbours in feature space, beside its baselines."""
    from radiossl.report.results import write_knn_results
    from radiossl.survey.store import open_store
    from radiossl.tasks.knn import evaluate_knn
    from radiossl.tasks.labels import read_labels
    from radiossl.weights.released import load_backbone

    backbone, store = load_backbone(weights, device), open_store(train)
    labels = read_labels(store.column(label), label, group or [])
    held_out = None
    if test is not None:
        test_store = open_store(test)
        held_out = (test_store, read_labels(test_store.column(label), label, group or []))
    result = evaluate_knn(
        backbone, store, labels, test=held_out, k=k, folds=folds, seeds=seeds, seed=seed, baselines=baselines
    )
    report = write_knn_results(result, out, title=f"kNN: {weights}")
    for score in (*result.baselines, result.score):
        spread = f" ± {score.spread:.3f}" if len(score.accuracies) > 1 else ""
        typer.echo(f"{score.name:16s} {score.mean:.3f}{spread}")
    typer.echo(f"{report}: {len(result.truth)} objects, k = {k}")
