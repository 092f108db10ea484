"""`radiossl explore`: a web page of many sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from radiossl.cli.options import Seed
from radiossl.cli.pixels import Store, feature_pixels, table_of
from radiossl.io.errors import RadiosslError


def explore(
    features: Annotated[
        Path, typer.Argument(help="Feature table from radiossl embed; or images, which are embedded first.")
    ],
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
    export: Annotated[
        Path | None,
        typer.Option(help="Write a page that needs no server, a folder or one .html file, instead of serving."),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Open a web page with a map, neighbours, search by image, anomalies to rate and selections. Ctrl-C ends it."""
    from radiossl.explorer.session import Files

    features = table_of(features, weights)
    pixels = feature_pixels(features, store)
    files = Files(features, weights, map_folder, ratings, labels, scores, who, seed)
    if export is not None:
        from radiossl.explorer.exported import export_page

        typer.echo(f"{export_page(files, pixels, export)}: opens in a browser, from a disk or a web server")
        return
    try:
        import panel  # noqa: F401
    except ModuleNotFoundError as error:
        raise RadiosslError(f"the explorer needs {error.name}: pip install 'radiossl[explore]'") from None
    from radiossl.explorer import start
    from radiossl.explorer.serving import TokenAuth

    start.explore(files, pixels, TokenAuth.from_address(address, port), browser, typer.echo)
