"""`radiossl map`: features in two dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Seed, Store
from radiossl.io.errors import RadiosslError, counted


def feature_map(
    features: Annotated[Path, Argument(help="Feature table from radiossl embed.")],
    out: Annotated[Path, Option(help="Result folder to write.")],
    colour: Annotated[list[str] | None, Option(help="Column to colour the map by; repeatable.")] = None,
    method: Annotated[Literal["umap", "pca"] | None, Option(help="umap (the default) or pca.")] = None,
    neighbours: Annotated[
        int | None, Option(min=2, help="UMAP's number of neighbours (default: 15); more show larger structures.")
    ] = None,
    min_dist: Annotated[float | None, Option(min=0, max=1, help="UMAP's smallest distance (default: 0.1).")] = None,
    sample: Annotated[int | None, Option(min=10, help="Sources to fit UMAP to, at most (default: 100,000).")] = None,
    seed: Seed = 0,
    onto: Annotated[Path | None, Option(help="Place the sources on an earlier map: its result folder.")] = None,
    store: Store = None,
) -> None:
    """Map features in two dimensions, with cutouts drawn on the map and a check of what its axes follow."""
    options = {"method": method, "neighbours": neighbours, "min_dist": min_dist, "sample": sample}
    changed: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    given = [f"--{name.replace('_', '-')}" for name in changed]
    if onto is not None and given:
        raise RadiosslError(f"{', '.join(given)}: the map of --onto is already made; leave that out")
    if method == "pca" and len(given) > 1:
        raise RadiosslError(f"{', '.join(given[1:])}: settings of UMAP, but --method is pca")

    from radiossl.features.feature_file import FeatureFile, feature_cutouts
    from radiossl.io.results import check_result_folder
    from radiossl.maps.figures import colour_scales
    from radiossl.maps.layout import map_columns
    from radiossl.maps.reducers import load_reducer
    from radiossl.maps.report import existing_coordinates, write_map

    check_result_folder(out, "radiossl.maps")
    file = FeatureFile(features)
    table = map_columns(file, colour or [])
    colour_scales(table, colour or [])  # a column that cannot be drawn is found before the long part
    pixels = feature_cutouts(file.metadata, file.columns(["cutout_id", "file"]), store)
    reducer = None if onto is None else load_reducer(onto, file.metadata)
    made = radiossl.make_map(file, seed=seed, onto=reducer, **changed)
    backdrop = None if onto is None else existing_coordinates(onto)
    report = write_map(made, table, out, colour or [], pixels, backdrop)
    trust, by_pca = made.quality["trustworthiness"], made.quality["trustworthiness_pca"]
    typer.echo(
        f"{report}: {counted(len(file), 'source')}, trustworthiness {trust:.3f} (principal components {by_pca:.3f})"
    )
