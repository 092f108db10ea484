"""`radiossl explore`: a web page of many sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import BoxSize, Mosaics, Seed, Store

#: Of images that are explored without --weights.
_WEIGHTS = "simclr-first-zoom"


def explore(
    table: Annotated[Path, Argument(help="Feature table, any Parquet or Arrow table with vectors, or images.")],
    store: Store = None,
    vectors: Annotated[
        str | None, Option(metavar="COLUMN", help="Column of the features, if there are several.")
    ] = None,
    ids: Annotated[str | None, Option("--id", metavar="COLUMN", help="Column of the sources' names.")] = None,
    mosaics: Mosaics = None,
    size: BoxSize = None,
    weights: Annotated[Path | None, Option(help="Backbone for image queries (default: that of the features).")] = None,
    map_folder: Annotated[
        Path | None, Option("--map", help="Result folder of radiossl map (default: a new map).")
    ] = None,
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
    from radiossl.explorer.any_table import ARROW, is_feature_table
    from radiossl.features.feature_file import FeatureFile, feature_cutouts

    if table.suffix not in ARROW and not mosaics:
        table = _table_of(table, weights)
    if is_feature_table(table):
        file = FeatureFile(table)
        pixels = feature_cutouts(file.metadata, file.columns(["cutout_id", "file"]), store)
    else:
        pixels = radiossl.open_images(store) if store else None
    radiossl.explore(
        table,
        pixels,
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


def _table_of(images: Path, weights: Path | None) -> Path:
    """Return a feature table unchanged; from images, make one in the working folder."""
    if images.suffix in (".parquet", ".pq") or (images.is_dir() and any(images.glob("part-*.parquet"))):
        return images
    backbone = radiossl.load_backbone(weights or _WEIGHTS)
    done = radiossl.write_features(backbone, images, "explored.parquet")
    typer.echo(f"explored.parquet: {len(done.table)} images embedded with {Path(backbone.name).name}")
    return Path("explored.parquet")
