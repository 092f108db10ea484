"""`radiossl index`: feature tables made ready for search, of any number of cutouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from radiossl.cli.options import Seed


def index(
    features: Annotated[list[Path], typer.Argument(help="Feature tables from radiossl embed, of the same weights.")],
    out: Annotated[Path, typer.Option(help="Index folder; added to if it is there.")],
    kind: Annotated[
        str | None, typer.Option(help="flat (exact) or ivf-sq8 (for millions); by default what their number asks for.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Make a similarity index of feature tables, or add them to one; cutouts that it has already are skipped."""
    from radiossl.features.index_building import build_index
    from radiossl.features.stored_index import StoredKind

    done = build_index(features, out, cast("StoredKind | None", kind), seed)
    skipped = f", {done.skipped} skipped that it has already" if done.skipped else ""
    typer.echo(f"{out}: {done.added} cutouts added{skipped}; {done.total} in an index of kind {done.kind}")
