"""`radiossl explore`: a web page of many sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import BoxSize, Mosaics, Seed, Store


def explore(
    table: Annotated[Path, Argument(help="Feature table, any Parquet or Arrow table with vectors, or images.")],
    store: Store = None,
    vectors: Annotated[str | None, Option(metavar="COLUMN", help="Column of features, if there are several.")] = None,
    ids: Annotated[str | None, Option("--id", metavar="COLUMN", help="Column of the sources' names.")] = None,
    mosaics: Mosaics = None,
    size: BoxSize = None,
    weights: Annotated[Path | None, Option(help="Backbone for image queries (default: that of the features).")] = None,
    map_folder: Annotated[Path | None, Option("--map", help="Result of radiossl map (default: a new map).")] = None,
    second: Annotated[Path | None, Option(help="Another feature table, or its map, to show beside it.")] = None,
    scores: Annotated[Path | None, Option(help="CSV with cutout_id and score (default: computed).")] = None,
    ratings: Annotated[Path, Option(help="Ratings file of radiossl rate.")] = Path("ratings.csv"),
    labels: Annotated[Path, Option(help="CSV file to keep the class labels that you give to selections.")] = Path(
        "labels.csv"
    ),
    who: Annotated[str, Option(help="Your name, kept with your ratings.")] = "",
    address: Annotated[str, Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port to serve on.")] = 5006,
    browser: Annotated[bool, Option(help="Open the page in a browser.")] = True,
    export: Annotated[Path | None, Option(help="Write a static page: a folder or .html file.")] = None,
    seed: Seed = 0,
) -> None:
    """Open a web page with a map, neighbours, search by image, clusters, anomalies to rate and selections.

    Ctrl-C ends it.
    """
    radiossl.explore(
        table,
        store,
        vectors=vectors,
        ids=ids,
        mosaics=mosaics or (),
        size=size,
        weights=weights,
        map_folder=map_folder,
        second=second,
        scores=scores,
        ratings=ratings,
        labels=labels,
        who=who,
        export=export,
        address=address,
        port=port,
        browser=browser,
        seed=seed,
        say=typer.echo,
    )
