"""`radiossl duplicates`: cutouts that show the same source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Neighbours, Store
from radiossl.io.errors import counted


def duplicates(
    features: Annotated[Path, Argument(help="Feature table from radiossl embed.")],
    out: Annotated[Path, Option(help="Result folder to write.")],
    store: Store = None,
    radius: Annotated[str, Option(help="Cutouts centred this close show one source, e.g. 0.5arcmin.")] = "10arcsec",
    similarity: Annotated[float | None, Option(help="Minimum cosine similarity (default: neighbour ratio).")] = None,
    neighbours: Neighbours = 10,
    ignore_positions: Annotated[bool, Option("--ignore-positions", help="Positions are wrong: ignore them.")] = False,
    ignore_pixels: Annotated[bool, Option("--ignore-pixels", help="Features alone, no pixels: less reliable.")] = False,
) -> None:
    """Find the cutouts that show the same source, and which of each group to keep."""
    from radiossl.duplicates.report import write_duplicates
    from radiossl.features.feature_file import feature_cutouts, feature_images
    from radiossl.io.results import check_result_folder
    from radiossl.sky.angles import parse_arcsec

    check_result_folder(out, "radiossl.duplicates")
    radius_arcsec, table = parse_arcsec(radius), radiossl.FeatureTable.read(features)
    pixels = None if ignore_pixels else feature_cutouts(table.metadata, table.columns, store)
    found = radiossl.find_duplicates(
        table, pixels, radius_arcsec, similarity, neighbours, positions=not ignore_positions
    )
    shown = feature_images(table.metadata, table.columns, store) if ignore_pixels else pixels
    report = write_duplicates(found, table, shown, out, by_pixels=pixels is not None)
    groups, removed = found.groups["group"].nunique(), int((~found.groups["keeper"]).sum())
    if conflicts := int(found.pairs["positions_disagree"].sum()):
        typer.echo(f"note: pairs of equal pixels but positions apart, not joined: {conflicts} (see positions_disagree)")
    typer.echo(
        f"{report}: {counted(groups, 'group')}, {counted(removed, 'repetition')} among {counted(len(table), 'cutout')}"
    )
