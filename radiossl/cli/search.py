"""`radiossl search`: cutouts like this one; `radiossl index`: tables made ready for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Device, Mosaics, Neighbours, Seed, Store, Where
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.progress import announce


def search(
    features: Annotated[Path, Argument(help="Feature table from radiossl embed, or index from radiossl index.")],
    query: Annotated[
        list[str], Option(help='What to look for: cutout id, "RA DEC", name (M87), image or store; repeatable.')
    ],
    out: Annotated[Path, Option(help="Result folder to write.")],
    crop: Annotated[
        str, Option(metavar="auto|none|PIXELS", help="Crop query images to their source, or to this side in pixels.")
    ] = "auto",
    mosaics: Mosaics = None,
    size: Annotated[int | None, Option(min=8, help="Side of a query's box in pixels (default: the cutouts').")] = None,
    mean: Annotated[bool, Option("--mean", help="Search once for the mean of all queries, not for each.")] = False,
    unlike: Annotated[list[str] | None, Option(help="Query to search away from; repeatable.")] = None,
    where: Where = None,
    near: Annotated[str | None, Option(help='Search only in a circle: "187.7 12.4 2deg" (RA DEC RADIUS).')] = None,
    weights: Annotated[Path | None, Option(help="Backbone for image queries (default: that of the features).")] = None,
    store: Store = None,
    neighbours: Neighbours = 10,
    caption: Annotated[str | None, Option(metavar="COLUMN", help="Column to write under the pictures.")] = None,
    label: Annotated[
        str | None, Option(metavar="COLUMN", help="Class column: measure how often a neighbour has the query's class.")
    ] = None,
    table_format: Annotated[str, Option("--format", help="csv, fits or votable.")] = "csv",
    device: Device = "auto",
) -> None:
    """Find the cutouts most similar to a query, with a table, a region file and a gallery."""
    from radiossl.similarity.report import TableFormat

    if crop not in ("auto", "none") and not (crop.isdigit() and int(crop) >= 8):
        raise RadiosslError(f"--crop {crop}: expected auto, none or a number of pixels from 8 on")
    if images := [one for one in query if Path(one).exists()]:  # torch is loaded for them
        announce(f"searching {features} for what looks like {', '.join(images)}; results in {out}")
    found = radiossl.search(
        features,
        query,
        out,
        weights=weights,
        mosaics=mosaics,
        size=size,
        crop=int(crop) if crop.isdigit() else crop,  # type: ignore[arg-type]
        mean=mean,
        unlike=unlike or (),
        where=where,
        near=near,
        neighbours=neighbours,
        store=store,
        caption=caption,
        label=label,
        table_format=cast("TableFormat", table_format),
        device=device,
    )
    for one in found.searches:
        if one.query.note:
            typer.echo(f"{one.query.name}: {one.query.note}")
    best = found.neighbours.sort_values("rank", kind="stable").iloc[0]
    typer.echo(f"{found.report}: best match {best.cutout_id}, similarity {best.similarity:.3f}")


def index(
    features: Annotated[list[Path], Argument(help="Feature tables from radiossl embed, of the same weights.")],
    out: Annotated[Path, Option(help="Index folder to make, or to add to if it exists.")],
    kind: Annotated[str | None, Option(help="flat (exact) or ivf-sq8 (small; default for many cutouts).")] = None,
    seed: Seed = 0,
) -> None:
    """Make an index of feature tables for fast searches, or add to one; cutouts that it already has are skipped."""
    from radiossl.features.stored_index import StoredKind

    done = radiossl.build_index(features, out, cast("StoredKind | None", kind), seed)
    skipped = f", {done.skipped} skipped that it has already" if done.skipped else ""
    typer.echo(f"{out}: {counted(done.added, 'cutout')} added{skipped}; {done.total} in an index of kind {done.kind}")
