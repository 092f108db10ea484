"""The result folder of a sweep over the sources trained on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from radiossl.evaluation.figures import BandedCurve, banded_curves
from radiossl.evaluation.sweep import SweepResult
from radiossl.io.csv_cells import write_table
from radiossl.io.files import writes_result_folder
from radiossl.report.html import Report


@writes_result_folder
def write_sweep(result: SweepResult, out: str | os.PathLike[str], column: str) -> Path:
    """Write scores.csv, curves.csv, metrics.json, two figures and report.html of a sweep; return the report's path."""
    out = Path(out)
    write_table(result.scores, out / "scores.csv")
    write_table(result.curves, out / "curves.csv")
    grouped = result.scores.groupby("cut")["accuracy"]
    mean, error = grouped.mean(), grouped.sem().fillna(0.0)
    seeds = result.scores["seed"].nunique()
    curve = BandedCurve(*(np.asarray(part, float) for part in (mean.index, mean, mean - error, mean + error)))
    label = f"smallest {column} trained on"
    banded_curves({"kNN": curve}, out=out / "sweep.png", xlabel=label, ylabel="kNN accuracy")
    report = Report(f"Sweep over {column}").text(f"{seeds} seeds for each cut; bands are standard errors of the mean.")
    report.figure(out / "sweep.png", "As figure 3 of Slijepcevic et al. 2022.")
    curves = {}
    for cut, rows in result.curves.groupby("cut"):
        by_epoch = rows.groupby("epoch")["smoothed"]
        centre, spread = by_epoch.mean(), by_epoch.sem().fillna(0.0)
        values = (centre.index, centre, centre - spread, centre + spread)
        curves[f"{column} >= {cut:g}"] = BandedCurve(*(np.asarray(part, float) for part in values))
    if curves:
        banded_curves(curves, out=out / "curves.png", xlabel="epoch", ylabel="online kNN accuracy, smoothed")
        report.figure(out / "curves.png", "As figure 5: exponential moving average with constant 0.7.")
    metrics = {f"accuracy@{cut:g}": value for cut, value in mean.items()}
    metrics |= {f"accuracy_error@{cut:g}": value for cut, value in error.items()}
    return report.finish(out, metrics, ["scores.csv", "curves.csv"])
