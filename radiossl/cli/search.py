"""`radiossl search`: cutouts like this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiossl.cli.pixels import Store, pixel_store
from radiossl.io.errors import RadiosslError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from radiossl.datasets.image_files import ImageFiles
    from radiossl.similarity.search import Query, SimilarityIndex


def search(
    features: Annotated[Path, typer.Argument(help="Feature table from radiossl embed, or index from radiossl index.")],
    query: Annotated[list[str], typer.Option(help='Image file, cutout id or position "RA DEC"; may be repeated.')],
    out: Annotated[Path, typer.Option(help="Result folder to write.")],
    mean: Annotated[bool, typer.Option("--mean", help="Search once, for the mean of the queries.")] = False,
    unlike: Annotated[
        list[str] | None, typer.Option(help="What is not wanted, given as a query is; may be repeated.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help='Search only where this holds, such as "las_arcsec > 20 and rms < 2e-4".')
    ] = None,
    near: Annotated[
        str | None, typer.Option(help='Search only in a circle on the sky: "RA DEC RADIUS", such as "187.7 12.4 2deg".')
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Backbone of the features, for image files.")] = None,
    store: Store = None,
    neighbours: Annotated[int, typer.Option("-k", "--neighbours", min=1, help="How many to find.")] = 10,
    label: Annotated[str | None, typer.Option(help="Column to write under the pictures.")] = None,
    table_format: Annotated[
        str, typer.Option("--format", help="csv; fits or votable to write the neighbours so too.")
    ] = "csv",
) -> None:
    """Find the cutouts most similar to a query, with a table, a region file and a gallery."""
    from radiossl.features.stored_index import MANIFEST
    from radiossl.features.table import FeatureTable
    from radiossl.similarity.report import TABLE_FORMATS, Found, write_search_results
    from radiossl.similarity.search import SimilarityIndex, query_of

    if table_format not in TABLE_FORMATS:
        raise RadiosslError(f"--format {table_format}: expected one of {', '.join(TABLE_FORMATS)}")
    made = (features / MANIFEST).is_file()
    index = SimilarityIndex.open(features) if made else SimilarityIndex(FeatureTable.read(features))
    if label is not None and label not in index.columns.column_names:
        index.column(label)  # raises, naming those that there are
    queries = [_query(index, text, weights) for text in query]
    unwanted = [_query(index, text, weights) for text in unlike or ()]
    if mean or unwanted:
        queries = [query_of(group, unwanted) for group in ([queries] if mean else [[one] for one in queries])]
    frames = index.search_many(queries, neighbours, _among(index, where, near))
    searches = [Found(*pair) for pair in zip(queries, frames, strict=True)]
    if all(frame.empty for frame in frames):
        raise RadiosslError("nothing was found: besides the query there is no cutout to search in")
    pixels = pixel_store(index.metadata, store) or _files(index)
    field_px = index.metadata.get("preprocessing", {}).get("field_px")
    report = write_search_results(searches, pixels, out, field_px, label, table_format)
    for found in searches:
        if found.query.note:
            typer.echo(f"{found.query.name}: {found.query.note}")
    best = next(frame for frame in frames if len(frame)).iloc[0]
    typer.echo(f"{report}: best match {best.cutout_id}, similarity {best.similarity:.3f}")


def _files(index: SimilarityIndex) -> ImageFiles | None:
    """The image files that the features were made of, if they still are where they were."""
    import pyarrow as pa

    from radiossl.datasets.image_files import ImageFiles

    if "file" not in index.columns.column_names:
        return None
    return ImageFiles.from_features(pa.table({name: index.columns.column(name) for name in ("cutout_id", "file")}))


def _query(index: SimilarityIndex, text: str, weights: Path | None) -> Query:
    """Take a query for a file if there is one of that name, else for an id, else for a position."""
    from radiossl.weights.backbone import load_backbone

    if Path(text).is_file():
        folder = weights or Path(index.metadata.get("weights", ""))
        if not folder.is_dir() or folder == Path():
            raise RadiosslError(f"--query {text}: is a file: give --weights, the backbone of the features")
        return index.query_by_file(text, load_backbone(folder))
    return index.query_by_text(text)


def _among(index: SimilarityIndex, where: str | None, near: str | None) -> NDArray[np.bool_] | None:
    """Which cutouts `--where` and `--near` leave to search in; None for all."""
    chosen = None if where is None else index.where(where)
    if near is not None:
        from radiossl.similarity.search import parse_position
        from radiossl.sky.angles import parse_arcsec

        place, _, radius = near.strip().rpartition(" ")
        position = parse_position(place)
        if position is None:
            raise RadiosslError(f'--near {near}: expected "RA DEC RADIUS", such as "187.7 12.4 2deg"')
        circle = index.near(*position, parse_arcsec(radius, "--near"))
        chosen = circle if chosen is None else chosen & circle
    if chosen is not None and not chosen.any():
        given = " and ".join(f"{name} {text}" for name, text in (("--where", where), ("--near", near)) if text)
        raise RadiosslError(f"{given}: no cutout of the features is left to search in")
    return chosen
