"""The report of a pretraining run: its curves, and neighbours by random and by trained weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from torch import nn

from radiossl.features.neighbours import unit
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.files import PathLike
from radiossl.pretraining.methods import build_method
from radiossl.pretraining.recipe import read_recipe
from radiossl.report.figures import BLUE, FONT, GREEN, GREY, ORANGE, drawn_row
from radiossl.report.html import METHOD_NAMES, Report
from radiossl.report.sheets import Picture, cutout_pictures
from radiossl.store.store import CutoutStore, open_store
from radiossl.weights.backbone import Backbone, load_backbone

#: Columns of metrics.csv that are drawn, with what is at the axis and the colour.
_CURVES = {
    "loss": ("loss", BLUE),
    "lr": ("learning rate", GREY),
    "feature_std": ("feature spread (0 = collapsed)", GREEN),
    "knn_accuracy": ("kNN accuracy", ORANGE),
}
#: Curves of more points are drawn pale, with their running median.
_SMOOTHED_ABOVE = 60
#: Cutouts among which neighbours are sought, queries, and neighbours of each.
_AMONG, _QUERIES, _NEIGHBOURS = 400, 3, 5


def write_run_report(run: PathLike, data: Sequence[PathLike] = ()) -> Path:
    """Write `report.html` and the training curves into a run folder, finished or not; return the report's path.

    `data` are the stores trained on, to draw neighbours from; none for no such pictures.
    """
    run = Path(run)
    report = Report(f"Pretraining: {run.name}")
    stages = sorted(run.glob("stage[0-9]*")) or [run]
    for stage in stages:
        metrics = pd.read_csv(stage / "metrics.csv") if (stage / "metrics.csv").is_file() else pd.DataFrame()
        (recipe,) = read_recipe(stage / "recipe.yaml")
        report.section(f"{recipe.name} ({recipe.method})")
        if len(metrics):
            method = build_method(nn.Identity(), 1, recipe)  # its loss depends on neither the network nor its features
            chance = method.chance_loss(recipe.batch_size // recipe.accumulate)
            last = metrics.iloc[-1]
            before, after = metrics["loss"].iloc[0], metrics["loss"].iloc[-10:].median()
            epochs = counted(last["epoch"], "epoch")
            report.verdict(
                f"{epochs} of {METHOD_NAMES[recipe.method]}: the loss went from {before:.3g} to"
                f" {after:.3g}, where features without information have {chance:.3g}; the spread of the features is"
                f" {last['feature_std']:.2f} (0 collapsed, 1 random directions)."
            )
            warmup = np.interp(recipe.schedule.warmup_epochs, [0, *metrics["epoch"]], [0, *metrics["step"]])
            training_curves(metrics, out=stage / "training.png", chance=chance, warmup=float(warmup))
            text = (
                "What was recorded, and its running median; grey: the warm-up of the learning rate; dotted: the loss of"
            )
            report.figure(stage / "training.png", f"{text} features without information.")
            report.values({"steps": int(last["step"]), "training images per second": float(last["images_per_s"])})
            report.link(stage / "metrics.csv")
        report.link(stage / "recipe.yaml")
    if (run / "backbone").is_dir():
        if data:
            pictures = _neighbours(load_backbone(run / "backbone"), open_store(*data), recipe.seed)
            text = (
                f"Some cutouts in a frame, and their {_NEIGHBOURS} nearest neighbours of at most {_AMONG} cutouts, by"
                " random weights and by those of the training; cosine similarity."
            )
            report.section("Neighbours before and after").gallery(pictures, text, sheet=run / "neighbours.png")
        report.section("Backbone").link(run / "backbone" / "README.md", "model card")
    return report.write(run / "report.html")


def _neighbours(trained: Backbone, store: CutoutStore, seed: int) -> list[Picture]:
    """Rows of a query and its neighbours, each by random weights, then by those of the training."""
    rows = np.random.default_rng(seed).permutation(len(store))[:_AMONG]
    chosen = store.select(np.sort(rows))
    pictures = cutout_pictures(chosen, [""] * len(chosen), trained.config.preprocessing.field_px)
    untrained = Backbone.random(trained.config.architecture, trained.config.preprocessing, seed)
    similarities = {}
    for name, backbone in (("before", untrained), ("after", trained)):
        vectors = unit(backbone.features(chosen).cpu().numpy())
        similarities[name] = vectors @ vectors.T
    brightest = np.argsort(-chosen.statistics[:, 1], kind="stable")
    found = []
    for query in brightest[:: max(1, len(brightest) // _QUERIES)][:_QUERIES]:
        for name, similarity in similarities.items():
            found.append(replace(pictures[query], caption=f"{name} training", framed=True))
            others = np.argsort(-similarity[query], kind="stable")
            for rank, other in enumerate(others[others != query][:_NEIGHBOURS], start=1):
                found.append(replace(pictures[other], caption=f"#{rank}: {similarity[query, other]:.3f}"))
    return found


def training_curves(metrics: pd.DataFrame, *, out: PathLike, chance: float | None = None, warmup: float = 0.0) -> None:
    """Draw what a training run recorded, one panel each for loss, learning rate, feature spread and kNN accuracy.

    `metrics` is the run's metrics.csv: column ``step`` or ``epoch``, and any of ``loss``, ``lr``, ``feature_std`` and
    ``knn_accuracy``. Columns that are absent or empty have no panel; empty cells are passed over. `chance` is the loss
    of features without information, `warmup` the step until which the learning rate rose.
    """
    curves = [name for name in _CURVES if name in metrics and metrics[name].notna().any()]
    if not curves:
        raise RadiosslError(f"{out}: no training curve to draw; expected columns among {', '.join(_CURVES)}")
    against = next((name for name in ("step", "epoch") if name in metrics), None)
    positions = metrics[against] if against else metrics.index.to_series()
    rows = -(-len(curves) // 2)
    labels = [_CURVES[name][0] for name in curves]
    with drawn_row(out, 3.6 * min(2, len(curves)), 2.3 * rows, labels, xlabel=against or "row", rows=rows) as panels:
        for axes, name in zip(panels, curves, strict=True):
            _curve(axes, positions, metrics[name], _CURVES[name][1], smoothed=name != "lr")
            if warmup > 0:
                axes.axvspan(0, warmup, color="0.9", linewidth=0, zorder=0)
            if name == "loss" and chance is not None:
                axes.axhline(chance, color=GREY, linestyle=":", linewidth=1)
                place: dict[str, Any] = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
                axes.annotate("chance", (1, chance), (2, 0), va="center", fontsize=FONT - 2, color="0.4", **place)
            if name == "feature_std":  # from collapsed to random directions
                axes.set_ylim(0, max(1.05, 1.05 * metrics[name].max()))
            if name == "lr":
                axes.set_ylim(bottom=0)


def _curve(axes: Axes, positions: pd.Series, values: pd.Series, colour: str, smoothed: bool) -> None:
    """Draw a curve; a long one that is to be smoothed pale, with its running median on top."""
    known = values.notna()
    x, y = positions[known], values[known]
    marker = "o" if len(y) <= 30 else None
    if smoothed and len(y) > _SMOOTHED_ABOVE:
        axes.plot(x, y, color=colour, alpha=0.3, linewidth=0.6)
        y = y.rolling(max(5, len(y) // 50), center=True, min_periods=1).median()
    axes.plot(x, y, color=colour, linewidth=1.5, marker=marker, markersize=3)
