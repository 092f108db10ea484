"""The result folder of a map: coordinates, reducer, figures and the page that ties them together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.features.confounders import CONFOUNDERS, confounder_table, confounder_warnings
from radiossl.features.table import METADATA_KEY, FeatureTable, seen_field_px
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.files import PathLike, atomic_file, existing_file
from radiossl.io.parquet import read_parquet, write_parquet
from radiossl.io.results import writes_result_folder
from radiossl.maps.figures import (
    RASTER_ABOVE,
    ClassColours,
    NumberColours,
    colour_scales,
    column_colours,
    draw_map,
    draw_thumbnails,
)
from radiossl.maps.layout import FeatureMap
from radiossl.maps.reducers import REDUCER_FILE, UmapReducer, save_reducer
from radiossl.report.figures import CLASS_COLOURS, file_stem
from radiossl.report.html import Report
from radiossl.store.store import CutoutStore


@writes_result_folder
def write_map(
    made: FeatureMap,
    table: FeatureTable,
    out: PathLike,
    colours: Sequence[str] = (),
    store: CutoutStore | None = None,
    backdrop: NDArray[np.floating] | None = None,
) -> Path:
    """Write map.parquet, map.csv, reducer.safetensors, metrics.json, figures and report.html; return the report's path.

    The columns in `colours` are written beside the coordinates, and drawn in a figure each; without a store no cutout
    is drawn. `backdrop` are the coordinates of the map onto which these sources were placed.
    """
    out = Path(out)
    scales = colour_scales(table, colours)
    dense = len(table) > RASTER_ABOVE
    frame = _coordinate_table(made, table, list(scales))
    with atomic_file(out / "map.parquet") as temporary:
        write_parquet(frame.replace_schema_metadata({METADATA_KEY: json.dumps(table.metadata).encode()}), temporary)
    write_table(frame.to_pandas(), out / "map.csv")
    save_reducer(made.reducer, out / REDUCER_FILE, table.metadata)

    numeric = [name for name, scale in scales.items() if isinstance(scale, NumberColours) and name not in CONFOUNDERS]
    scores = {"map x": made.coordinates[:, 0], "map y": made.coordinates[:, 1]}
    scores |= {f"PC {number + 1}": made.principal[:, number] for number in range(made.principal.shape[1])}
    confounders = confounder_table(scores, table, also=numeric)
    found = confounder_warnings(confounders)
    of_map = [sentence for sentence in found if sentence.startswith("map")]
    what = "; ".join(of_map) if of_map else "its axes follow neither noise nor brightness nor size"
    report = Report("Map of features").verdict(f"A map of {counted(len(table), 'source')}: {what}.")
    report.section("Map").text(_how(made))
    if store is not None:
        ids, field_px = table.column("cutout_id").tolist(), seen_field_px(table.metadata)
        draw_thumbnails(made.coordinates, ids, store, out=out / "thumbnails.png", field_px=field_px)
        report.figure(out / "thumbnails.png", "Cutouts at their place, to half a cell of the grid.")
    for name in scales:
        drawn = column_colours(table, name, len(CLASS_COLOURS)) if dense else scales[name]  # no markers in a raster
        file = out / f"map_{file_stem(name)}.png"
        draw_map(made.coordinates, drawn, out=file, label=name, backdrop=backdrop)
        report.figure(file, _caption(name, drawn, dense))
    draw_map(made.coordinates, None, out=out / "density.png", label="", backdrop=backdrop)
    report.figure(out / "density.png", "How many sources lie where.")

    report.section("What the axes follow").text(
        "Spearman's rank correlation of the axes of the map, and of the first principal components of the features,"
        " with physical properties of the cutouts. Noise, brightness and size are not morphology.",
        *(f"Warning: {sentence}." for sentence in found),
    )
    report.table(confounders)
    cited = ["umap"] if isinstance(made.reducer, UmapReducer) else []
    metrics, files = _metrics(made, table, confounders), ["map.parquet", "map.csv", REDUCER_FILE]
    return report.finish(out, metrics, files, _how(made), table.metadata, cited)


def existing_coordinates(folder: PathLike) -> NDArray[np.float32]:
    """Return the coordinates in a map's folder, shape (n, 2); raise `RadiosslError` if it has none."""
    path = existing_file(Path(folder) / "map.parquet")
    try:
        table = read_parquet(path, ["x", "y"])
        return np.stack([table.column(name).to_numpy() for name in ("x", "y")], axis=1)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise RadiosslError(f"{path}: not the coordinates of a map ({error})") from None


def _metrics(made: FeatureMap, table: FeatureTable, confounders: pd.DataFrame) -> dict[str, Any]:
    own = made.reducer
    metrics: dict[str, Any] = {"method": own.method, "objects": len(table), "fitted": int(made.fitted.sum())}
    if isinstance(own, UmapReducer):
        metrics |= {"neighbours": own.neighbours, "min_dist": own.min_dist, "seed": own.seed}
    metrics |= made.quality
    metrics |= {f"explained_variance_{number}": value for number, value in enumerate(made.explained.tolist(), 1)}
    for row in confounders.to_dict("records"):
        for axis in ("map x", "map y", "PC 1"):
            metrics[f"spearman_{axis.replace(' ', '_').lower()}_{row['property']}"] = row[axis]
    return metrics


def _coordinate_table(made: FeatureMap, table: FeatureTable, colours: list[str]) -> pa.Table:
    names = [name for name in ("cutout_id", "ra_deg", "dec_deg") if name in table.columns.column_names]
    columns: dict[str, Any] = {name: table.columns.column(name) for name in names}
    columns |= {"x": made.coordinates[:, 0], "y": made.coordinates[:, 1], "fitted": made.fitted}
    return pa.table(columns | {name: table.columns.column(name) for name in colours if name not in names})


def _how(made: FeatureMap) -> str:
    own, count, fitted = made.reducer, len(made.fitted), int(made.fitted.sum())
    what = "the first two principal components of the unit vectors"
    if isinstance(own, UmapReducer):
        what = f"UMAP by cosine distance, {own.neighbours} neighbours, least distance {own.min_dist:g}, seed {own.seed}"
    if fitted == count:
        return f"{counted(count, 'source')}; {what}."
    if fitted == 0:
        return f"{counted(count, 'source')}, placed on an existing map: {what}."
    return (
        f"{counted(count, 'source')}; {what}, fitted to {fitted:,} drawn at random. The others are placed among these."
    )


def _caption(name: str, colours: NumberColours | ClassColours, dense: bool) -> str:
    if isinstance(colours, NumberColours):
        return f"{'Mean of ' if dense else ''}{name}, coloured between its 1st and 99th percentile."
    return f"{name}{': colours of the sources in a pixel are blended' if dense else ''}."
