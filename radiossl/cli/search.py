"""`radiossl search`: cutouts like this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiossl.errors import RadiosslError

if TYPE_CHECKING:
    from radiossl.tasks.similarity import Query, SimilarityIndex


def search(
    features: Annotated[Path, typer.Argument(help="Feature table from radiossl embed.")],
    query: Annotated[list[str], typer.Option(help='Image file, cutout id or position "RA DEC"; may be repeated.')],
    out: Annotated[Path, typer.Option(help="Result folder to write.")],
    weights: Annotated[Path | None, typer.Option(help="Backbone of the features, for image files.")] = None,
    store: Annotated[list[Path] | None, typer.Option(help="Where the pixels are, if the store has moved.")] = None,
    neighbours: Annotated[int, typer.Option("-k", "--neighbours", min=1, help="How many to find.")] = 10,
    label: Annotated[str | None, typer.Option(help="Column to write under the pictures.")] = None,
) -> None:
    """Find the cutouts most similar to a query, with a table and a gallery."""
    from radiossl.embeddings.table import FeatureTable
    from radiossl.report.results import Found, write_search_results
    from radiossl.survey.store import open_store
    from radiossl.tasks.similarity import SimilarityIndex

    table = FeatureTable.read(features)
    if label is not None:
        table.column(label)
    index = SimilarityIndex(table)
    searches = []
    for text in query:
        found = _query(index, text, weights)
        searches.append(Found(found, index.search(found, neighbours)))
    folders = store or [Path(path) for path in table.metadata.get("stores", []) if Path(path).is_dir()]
    pixels = open_store(*folders) if folders else None
    field_px = table.metadata.get("preprocessing", {}).get("field_px")
    report = write_search_results(searches, pixels, out, field_px, label)
    best = searches[0].neighbours.iloc[0]
    typer.echo(f"{report}: best match {best.cutout_id}, similarity {best.similarity:.3f}")


def _query(index: SimilarityIndex, text: str, weights: Path | None) -> Query:
    """Take a query for a file if there is one of that name, else for an id, else for a position."""
    from radiossl.tasks.similarity import parse_position
    from radiossl.weights.released import load_backbone

    if Path(text).is_file():
        folder = weights or Path(index.table.metadata.get("weights", ""))
        if not folder.is_dir() or folder == Path():
            raise RadiosslError(f"--query {text}: is a file: give --weights, the backbone of the features")
        return index.query_by_file(text, load_backbone(folder))
    if text in set(index.table.column("cutout_id")):
        return index.query_by_id(text)
    position = parse_position(text)
    return index.query_by_position(*position) if position else index.query_by_id(text)
