"""`radiossl anomalies`: the objects that are least like the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from radiossl.cli.pixels import Store, pixel_store
from radiossl.io.errors import RadiosslError

if TYPE_CHECKING:
    from radiossl.anomalies.scores import Method


def anomalies(
    features: Annotated[Path, typer.Argument(help="Feature table from radiossl embed.")],
    out: Annotated[Path, typer.Option(help="Result folder to write.")],
    method: Annotated[str, typer.Option(help="neighbours (distance to them) or forest (Isolation Forest).")] = "forest",
    labels: Annotated[str | None, typer.Option(help="Column of labels or ratings, to judge the ranking by.")] = None,
    anomalous: Annotated[
        list[str] | None, typer.Option(help='Label that counts as anomalous, may be repeated; or e.g. ">=4".')
    ] = None,
    top_features: Annotated[
        str, typer.Option(help="Score on so many best features, ranked by the labels: 2, 5, 10, 15 or all.")
    ] = "all",
    rank_features: Annotated[bool, typer.Option("--rank-features", help="Compare the best 2, 5, 10, 15.")] = False,
    scan: Annotated[bool, typer.Option("--scan", help="Scan the forest's contamination and max_samples.")] = False,
    baseline: Annotated[
        list[str] | None, typer.Option(help="Column to judge as if it were a score, such as a size.")
    ] = None,
    max_samples: Annotated[str, typer.Option(help="Of each tree: auto (256 objects) or a fraction of all.")] = "auto",
    neighbours: Annotated[int, typer.Option("-k", "--neighbours", min=1, help="How many of them.")] = 20,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to judge with.")] = 5,
    folds: Annotated[int, typer.Option(min=2, help="Of the labelled objects, for ranking features.")] = 5,
    store: Store = None,
    seed: Annotated[int, typer.Option(help="Of every random draw.")] = 0,
) -> None:
    """Rank objects by how unlike the others they are, with galleries; with labels, say how good the ranking is."""
    from radiossl.anomalies.quality import read_anomaly_labels
    from radiossl.anomalies.report import summary_lines, write_anomalies
    from radiossl.anomalies.scores import AnomalySettings
    from radiossl.anomalies.search import AnomalyOptions, find_anomalies
    from radiossl.features.table import FeatureTable

    if anomalous and labels is None:
        raise RadiosslError("--anomalous: give the column of the labels with --labels")
    settings = AnomalySettings(
        cast("Method", method), max_samples=_fraction(max_samples), neighbours=neighbours, seed=seed
    )
    options = AnomalyOptions(_count(top_features), rank_features, scan, baseline or (), seeds, folds)
    table = FeatureTable.read(features)
    for column in options.baselines:
        table.column(column)
    known = read_anomaly_labels(table.column(labels), labels, anomalous or ()) if labels else None
    pixels = pixel_store(table.metadata, store)
    search = find_anomalies(table, settings, known, options, pixels)
    report = write_anomalies(search, table, out, pixels, labels)
    for line in summary_lines(search):
        typer.echo(line)
    typer.echo(f"{report}: {len(table)} objects, highest score {search.scores.max():.3f}")


def _fraction(text: str) -> float | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise RadiosslError(f"--max-samples {text}: expected auto or a fraction above 0 and at most 1") from None


def _count(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise RadiosslError(f"--top-features {text}: expected a number such as 2, 5, 10 or 15, or all")
    return int(text)
