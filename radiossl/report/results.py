"""The result folders of runs and tasks: metrics, tables, pictures, and the page that ties them together."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from radiossl.errors import RadiosslError
from radiossl.files import atomic_file, write_json
from radiossl.report.figures import training_curves
from radiossl.report.html import Report
from radiossl.report.images import Neighbour, Picture, neighbour_gallery
from radiossl.survey.store import CutoutStore
from radiossl.tasks.similarity import Query


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a data frame as CSV, atomically."""
    with atomic_file(path) as temporary:
        frame.to_csv(temporary, index=False)


def write_run_report(run: str | os.PathLike[str], title: str = "Pretraining") -> Path:
    """Write `report.html` and the training curves into a run folder, finished or not; return the report's path."""
    run = Path(run)
    report = Report(f"{title}: {run.name}")
    stages = sorted(run.glob("stage[0-9]*")) or [run]
    for stage in stages:
        metrics = pd.read_csv(stage / "metrics.csv") if (stage / "metrics.csv").is_file() else pd.DataFrame()
        recipe = yaml.safe_load((stage / "recipe.yaml").read_text(encoding="utf-8"))
        report.section(f"{recipe['name']} ({recipe['method']})")
        if len(metrics):
            last = metrics.iloc[-1]
            report.values(
                {
                    "steps": int(last["step"]),
                    "epochs": float(last["epoch"]),
                    "final loss": float(last["loss"]),
                    "spread of the features (0 collapsed, 1 random directions)": float(last["feature_std"]),
                    "training images per second": float(last["images_per_s"]),
                }
            )
            training_curves(metrics, out=stage / "training.png")
            report.figure(stage / "training.png", "Loss, learning rate and spread of the features against the step.")
            report.link(stage / "metrics.csv")
        report.link(stage / "recipe.yaml")
    if (run / "backbone").is_dir():
        report.section("Backbone").link(run / "backbone" / "README.md", "model card")
    return report.write(run / "report.html")


@dataclass(frozen=True)
class Found:
    """A query and the frame of its neighbours, as `SimilarityIndex.search` returns it."""

    query: Query
    neighbours: pd.DataFrame


def write_search_results(
    searches: Sequence[Found],
    store: CutoutStore | None,
    out: str | os.PathLike[str],
    field_px: int | None = None,
    labels: str | None = None,
) -> Path:
    """Write neighbours.csv, a gallery and report.html; return the report's path.

    Parameters
    ----------
    searches
        What was found.
    store
        Where the cutouts' pixels are; without it no gallery is drawn.
    out
        Folder.
    field_px
        Side of the central field that is shown, as the backbone saw it.
    labels
        Column to write under the pictures besides the position.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    frames = []
    for found in searches:
        frame = found.neighbours.drop(columns="row")
        frame.insert(0, "query", found.query.name)
        frames.append(frame)
    everything = pd.concat(frames, ignore_index=True)
    write_table(everything, out / "neighbours.csv")
    write_json(
        out / "metrics.json",
        {
            "queries": [found.query.name for found in searches],
            "neighbours": len(everything),
            "best_similarity": float(everything["similarity"].max()),
        },
    )
    report = Report("Similarity search")
    if store is not None:
        draw_neighbours(searches, store, out / "gallery.png", field_px, labels)
        report.figure(out / "gallery.png", "The query in its frame, then its neighbours; cosine similarity above each.")
    shown = ["rank", "similarity", "cutout_id", "ra_deg", "dec_deg", *([labels] if labels else [])]
    for found in searches:
        columns = [column for column in shown if column in found.neighbours.columns]
        report.section(found.query.name).table(found.neighbours[columns])
    report.link(out / "neighbours.csv")
    return report.write(out / "report.html")


def draw_neighbours(
    searches: Sequence[Found],
    store: CutoutStore,
    out: Path,
    field_px: int | None = None,
    labels: str | None = None,
) -> None:
    """Draw the gallery of searches as PNG; see `write_search_results`."""
    row_of = {cutout_id: row for row, cutout_id in enumerate(store.column("cutout_id"))}

    def picture(cutout_id: str) -> NDArray[np.float32]:
        if cutout_id not in row_of:
            raise RadiosslError(f"{store}: has no cutout {cutout_id!r}; give the store of the features")
        return central_pixels(store.pixels(row_of[cutout_id]), field_px)

    def caption(row: dict[Hashable, Any]) -> str:
        position = f"{row['ra_deg']:.4f} {row['dec_deg']:+.4f}" if "ra_deg" in row else row["cutout_id"]
        label = row[labels] if labels else None
        return position if label is None or pd.isna(label) else f"{label}\n{position}"

    queries, neighbours = [], []
    for found in searches:
        own = found.query.image
        image = central_pixels(own, field_px) if own is not None else picture(found.query.name)
        queries.append(Picture(image, found.query.name))
        neighbours.append(
            [
                Neighbour(picture(row["cutout_id"]), row["similarity"], caption(row))
                for row in found.neighbours.to_dict("records")
            ]
        )
    neighbour_gallery(queries, neighbours, out=out)


def central_pixels(pixels: NDArray[np.float32], side: int | None) -> NDArray[np.float32]:
    """The central `side` x `side` pixels of an image, or all of it where it is smaller or `side` is None."""
    if side is None:
        return pixels
    top, left = (max(0, (length - side) // 2) for length in pixels.shape)
    return pixels[top : top + side, left : left + side]
