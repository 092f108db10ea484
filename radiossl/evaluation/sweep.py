"""How small sources in the pretraining set change what is learnt (Slijepcevic et al. 2022, figures 3 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radiossl.evaluation.figures import BandedCurve, banded_curves
from radiossl.evaluation.labels import Labels
from radiossl.evaluation.metrics import smoothed
from radiossl.evaluation.protocols import BACKBONE, ProtocolSettings, evaluate
from radiossl.evaluation.trials import labelled_set
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.expressions import quote_name
from radiossl.io.files import PathLike
from radiossl.io.results import check_result_folder, writes_result_folder
from radiossl.pretraining.checkpoint import CHECKPOINT
from radiossl.pretraining.recipe import Recipe
from radiossl.pretraining.run import pretrain
from radiossl.pretraining.trainer import Monitor
from radiossl.report.html import Report
from radiossl.store.store import CutoutStore, open_store
from radiossl.weights.backbone import load_backbone

#: Constant of the exponential moving average of figure 5.
SMOOTHING = 0.7


@dataclass(frozen=True)
class SweepResult:
    """What came of every run of a sweep."""

    scores: pd.DataFrame  # a row for each run: ``cut``, ``seed``, ``cutouts`` (trained on) and ``accuracy``
    curves: pd.DataFrame  # a row for each measurement: ``cut``, ``seed``, ``epoch``, ``knn_accuracy``, ``smoothed``


def run_sweep(
    recipe: Recipe,
    data: Sequence[PathLike],
    labelled: tuple[CutoutStore, Labels],
    out: PathLike,
    *,
    column: str,
    cuts: Sequence[float],
    seeds: int = 5,
    seed: int = 0,
    k: int = 20,
    folds: int = 5,
    device: str = "cpu",
    exclude: Sequence[PathLike] = (),
) -> SweepResult:
    """Pretrain with several cuts of a column and several seeds, and evaluate every backbone by kNN.

    Finished runs below `out` are used again, interrupted ones resumed. The recipe has a single stage; its seed and
    selection are replaced. Cutouts of `data` are trained on if the column is at least the cut; 0 keeps those too where
    it is missing. Each cut is trained with `seeds` seeds from `seed` on, without the sources of the stores in
    `exclude`.
    """
    if recipe.where:
        raise RadiosslError(f"recipe {recipe.name}: has its own selection (where), which the sweep would replace")
    check_result_folder(out, __name__)
    pool = open_store(*data)
    pool.column(column)  # raises if there is none
    store, labels = labelled
    monitor = Monitor(store.select(labels.rows), labels.names)
    rows, curves = [], []
    for cut in cuts:
        where = f"{quote_name(column)} >= {cut:g}" if cut > 0 else None
        count = int(pool.holds(where).sum()) if where else len(pool)
        for number in range(seed, seed + seeds):
            run = Path(out) / "runs" / f"{column}-{cut:g}-seed-{number}"
            chosen = recipe.model_copy(update={"seed": number, "where": where})
            if not (run / "backbone").is_dir():
                resume = (run / CHECKPOINT).exists()
                pretrain(chosen, data, run, resume=resume, device=device, monitor=monitor, exclude=exclude)
            trials = labelled_set(store, labels, folds=folds, seeds=1, seed=number)
            backbone = load_backbone(run / "backbone", device)
            evaluation = evaluate(
                backbone, trials, "knn", ProtocolSettings(k=k, baselines=False), run / "trials", keep_shared=not exclude
            )
            accuracy = next(one for one in evaluation.results if one.name == BACKBONE).accuracies().mean()
            rows.append({"cut": cut, "seed": number, "cutouts": count, "accuracy": float(accuracy)})
            curves.append(_curve(run / "metrics.csv").assign(cut=cut, seed=number))
    return SweepResult(pd.DataFrame(rows), pd.concat(curves, ignore_index=True))


def _curve(metrics: Path) -> pd.DataFrame:
    known = pd.read_csv(metrics).reindex(columns=["epoch", "knn_accuracy"]).dropna(subset="knn_accuracy")
    return known.assign(smoothed=smoothed(known["knn_accuracy"].to_numpy(), SMOOTHING))


@writes_result_folder
def write_sweep(result: SweepResult, out: PathLike, column: str) -> Path:
    """Write scores.csv, curves.csv, metrics.json, two figures and report.html of a sweep; return the report's path."""
    out = Path(out)
    write_table(result.scores, out / "scores.csv")
    write_table(result.curves, out / "curves.csv")
    grouped = result.scores.groupby("cut")["accuracy"]
    mean, error = grouped.mean(), grouped.sem().fillna(0.0)
    seeds = result.scores["seed"].nunique()
    curve = _banded(grouped)
    label = f"smallest {column} trained on"
    banded_curves({"kNN": curve}, out=out / "sweep.png", xlabel=label, ylabel="kNN accuracy")
    best = mean.idxmax()
    report = Report(f"Sweep over {column}").verdict(
        f"Of {counted(len(mean), 'cut')} {column} >= {best:g} is the best: kNN accuracy {mean[best]:.3f} ±"
        f" {error[best]:.3f}."
    )
    report.text(f"{counted(seeds, 'seed')} for each cut; bands are standard errors of the mean.")
    report.figure(out / "sweep.png", "As figure 3 of Slijepcevic et al. 2022.")
    by_cut = result.curves.groupby("cut")
    curves = {f"{column} >= {cut:g}": _banded(rows.groupby("epoch")["smoothed"]) for cut, rows in by_cut}
    if curves:
        banded_curves(curves, out=out / "curves.png", xlabel="epoch", ylabel="online kNN accuracy, smoothed")
        report.figure(out / "curves.png", "As figure 5: exponential moving average with constant 0.7.")
    metrics = {f"accuracy@{cut:g}": value for cut, value in mean.items()}
    metrics |= {f"accuracy_error@{cut:g}": value for cut, value in error.items()}
    return report.finish(out, metrics, ["scores.csv", "curves.csv"])


def _banded(groups: Any) -> BandedCurve:
    """Mean and standard error of grouped numbers."""
    mean, error = groups.mean(), groups.sem().fillna(0.0)
    return BandedCurve(*(np.asarray(part, float) for part in (mean.index, mean, mean - error, mean + error)))
