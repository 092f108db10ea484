"""`radiossl explore`: a web page of many sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiossl.cli.pixels import Store, pixel_store
from radiossl.io.errors import RadiosslError


def explore(
    features: Annotated[Path, typer.Argument(help="Feature table from radiossl embed.")],
    store: Store = None,
    weights: Annotated[Path | None, typer.Option(help="Backbone of the features, to search for images.")] = None,
    map_folder: Annotated[
        Path | None, typer.Option("--map", help="Result folder of radiossl map; made by the page if there is none.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="CSV with cutout_id and score, such as anomalies.csv; made if not given.")
    ] = None,
    ratings: Annotated[Path, typer.Option(help="Ratings file, as of radiossl rate.")] = Path("ratings.csv"),
    labels: Annotated[Path, typer.Option(help="CSV of class labels given to selections.")] = Path("labels.csv"),
    who: Annotated[str, typer.Option(help="Your name, kept with your ratings.")] = "",
    address: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 5006,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
) -> None:
    """Open a web page: map, neighbours, search by image, anomalies to rate, selections to save. Ctrl-C ends it."""
    try:
        import panel  # noqa: F401
    except ModuleNotFoundError as error:
        raise RadiosslError(f"the explorer needs {error.name}: pip install 'radiossl[explore]'") from None
    from radiossl.explorer.serving import TokenAuth
    from radiossl.explorer.session import Files
    from radiossl.explorer.start import run
    from radiossl.features.feature_file import FeatureFile

    auth = TokenAuth.from_address(address, port)
    pixels = pixel_store(FeatureFile(features).metadata, store)
    files = Files(features, weights, map_folder, ratings, labels, scores, who, seed)
    run(files, pixels, auth, browser, typer.echo)
