"""`radiossl anomalies`: the objects that are least like the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Neighbours, Seed, Store
from radiossl.io.errors import RadiosslError, counted

if TYPE_CHECKING:
    from radiossl.anomalies.scores import Method


def anomalies(
    features: Annotated[Path, Argument(help="Feature table from radiossl embed.")],
    out: Annotated[Path, Option(help="Result folder to write.")],
    method: Annotated[
        str, Option(help="forest (Isolation Forest), neighbours (distance) or density (Gaussian).")
    ] = "forest",
    label: Annotated[str | None, Option(metavar="COLUMN", help="Classes or ratings to test the ranking with.")] = None,
    anomalous: Annotated[list[str] | None, Option(help='Anomalous label; repeatable; or a comparison: ">=4".')] = None,
    top_features: Annotated[str, Option(help="Use this many features, the best for the labels; or all.")] = "all",
    rank_features: Annotated[bool, Option("--rank-features", help="Compare 2, 5, 10 and 15 best features.")] = False,
    scan: Annotated[bool, Option("--scan", help="Test a grid of the forest's contamination and max_samples.")] = False,
    baseline: Annotated[list[str] | None, Option(help="Column to compare with, such as a size; repeatable.")] = None,
    max_samples: Annotated[str, Option(help="Objects for each tree: auto (256) or a fraction of all.")] = "auto",
    neighbours: Neighbours = 20,
    seeds: Annotated[int, Option(min=1, help="Number of random seeds to test with.")] = 5,
    folds: Annotated[int, Option(min=2, help="Folds of the labelled objects for ranking features.")] = 5,
    store: Store = None,
    seed: Seed = 0,
) -> None:
    """Rank objects by how unlike the others they are, with galleries; with labels, measure how good the ranking is."""
    from radiossl.anomalies.scores import AnomalySettings
    from radiossl.anomalies.search import AnomalyOptions, summary_lines

    search = radiossl.find_anomalies(
        features,
        out,
        label=label,
        anomalous=anomalous or (),
        settings=AnomalySettings(
            cast("Method", method), max_samples=_fraction(max_samples), neighbours=neighbours, seed=seed
        ),
        options=AnomalyOptions(_count(top_features), rank_features, scan, baseline or (), seeds, folds),
        store=store,
    )
    if search.size is not None:
        typer.echo(f"sizes of the objects are taken from the column {search.size} and shown beside every score")
    for line in summary_lines(search):
        typer.echo(line)
    typer.echo(f"{search.report}: {counted(len(search.scores), 'object')}, highest score {search.scores.max():.3f}")


def _fraction(text: str) -> float | Literal["auto"]:
    try:
        return "auto" if text == "auto" else float(text)
    except ValueError:
        raise RadiosslError(f"--max-samples {text}: expected auto or a fraction above 0 and at most 1") from None


def _count(text: str) -> int | None:
    if text != "all" and (not text.isdecimal() or int(text) < 1):
        raise RadiosslError(f"--top-features {text}: expected a number such as 2, 5, 10 or 15, or all")
    return None if text == "all" else int(text)
