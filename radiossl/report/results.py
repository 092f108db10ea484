"""The result folders of runs and tasks: metrics, tables, pictures, and the page that ties them together."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from radiossl.io.csv_cells import guarded_frame
from radiossl.io.files import atomic_file
from radiossl.report.figures import training_curves
from radiossl.report.html import Report
from radiossl.store.store import CutoutStore


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a data frame as CSV, atomically."""
    with atomic_file(path) as temporary:
        guarded_frame(frame).to_csv(temporary, index=False)


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


def file_stem(name: str) -> str:
    """Return a column's name with all that a file's name should not hold replaced."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def cutout_images(store: CutoutStore, ids: Iterable[str], field_px: int | None = None) -> list[NDArray[np.float32]]:
    """Return the pixels of cutouts by their ids, the central `field_px` alone if given, as the backbone saw them."""
    cutouts = store.select_ids(ids)
    return [central_pixels(cutouts.pixels(row), field_px) for row in range(len(cutouts))]


def central_pixels(pixels: NDArray[np.float32], side: int | None) -> NDArray[np.float32]:
    """The central `side` x `side` pixels of an image, or all of it where it is smaller or `side` is None."""
    if side is None:
        return pixels
    top, left = (max(0, (length - side) // 2) for length in pixels.shape)
    return pixels[top : top + side, left : left + side]
