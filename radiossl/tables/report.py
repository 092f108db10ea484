"""The result folder of a forest: its scores with intervals, and where it is strong or weak."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.evaluation.calibration import Predictions, reliability
from radiossl.evaluation.confidence import coverage_table, set_texts
from radiossl.evaluation.figures import metric_against_column, reliability_diagram
from radiossl.evaluation.intervals import f1_scores, proportion_scores
from radiossl.evaluation.metric_by_column import MetricByColumn, metric_by_column, quantile_edges
from radiossl.evaluation.metrics import classification_metrics, confusion_matrix
from radiossl.features.table import FeatureTable
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike
from radiossl.io.results import writes_result_folder
from radiossl.report.figures import CLASS_COLOURS, drawn_panels, file_stem, plain_numbers, score_bars
from radiossl.report.figures import confusion_matrix as draw_confusion
from radiossl.report.html import Report
from radiossl.tables.training import TrainedForest

FOREST_FILE = "forest.safetensors"
_BARS = 20
#: Fraction of the rows at either end of a column that no bin holds: a few odd values would stretch the axis.
_TAIL = 0.01
_BINS = 8
#: Columns between whose ends there is a larger factor have a logarithmic axis.
_DECADE = 10.0


@writes_result_folder
def write_table_result(
    result: TrainedForest,
    out: PathLike,
    against: Mapping[str, NDArray[np.floating]],
    kept: pd.DataFrame,
    comparison: pd.DataFrame | None = None,
) -> Path:
    """Write the forest, metrics.json, predictions.csv, figures and report.html; return the report's path.

    Scores are drawn against the numbers in `against`, such as a magnitude of each labelled row, shape (n,). The columns
    `kept` are written beside the probabilities; `comparison` is what `compare_inputs` returns.
    """
    out = Path(out)
    predictions, forest = result.predictions, result.forest
    forest.save(out / FOREST_FILE)
    scores = class_scores(predictions)
    metrics: dict[str, Any] = {**forest.about, "tested_rows": len(predictions), **classification_metrics(predictions)}
    for row in scores.itertuples():
        metrics |= {f"f1_low[{row[1]}]": row.f1_low, f"f1_high[{row[1]}]": row.f1_high}
    metrics |= {f"importance[{n}]": v for n, v in zip(forest.columns.names, result.importance, strict=True)}
    write_table(_prediction_table(result, kept), out / "predictions.csv")

    worst = scores.loc[scores["f1"].idxmin()]
    report = Report("Random forest").verdict(
        f"Of {len(predictions):,} rows {metrics['accuracy']:.1%} are predicted rightly by forests that had not seen"
        f" them; the class recognised worst is {worst['class']}, with an F1 score of {worst['f1']:.3f}."
    )
    report.section("Classes").table(scores, "Intervals of one standard deviation (Wilson).")
    draw_confusion(confusion_matrix(predictions), predictions.classes, out=out / "confusion.png")
    report.figure(out / "confusion.png", "Predicted classes (columns) of each true class (rows).")
    report.text(
        f"{forest.about['trees']} trees on {forest.about['training_rows']:,} rows of {len(forest.columns.names)}"
        f" numbers each. Every score is of predictions by forests of {forest.about['folds']} folds, of rows that they"
        " had not seen; the forest that is kept was then trained on all rows."
    )
    order = np.argsort(-result.importance, kind="stable")
    shown = [(forest.columns.names[i], float(result.importance[i]), None) for i in order[:_BARS]]
    # No bar: hundreds of features together are so important that no other bar would be seen beside theirs.
    rest = float(result.importance[order[_BARS:]].sum())
    others = f"; the other {len(order) - _BARS} share {rest:.0%}" if len(order) > _BARS else ""
    highlight = [name for name, _, _ in shown]
    score_bars(shown, out=out / "importance.png", xlabel="importance", highlight=highlight)
    report.figure(out / "importance.png", f"Mean decrease of impurity{others}. Correlated columns share theirs.")
    reliability_diagram(reliability(predictions), out=out / "reliability.png")
    report.figure(out / "reliability.png", "Accuracy against predicted confidence, calibrated on the other folds.")

    if forest.calibration is not None:
        sets = coverage_table(result.sets, predictions.truth, predictions.classes)
        for row in sets.itertuples():
            metrics |= {f"set_coverage[{row[1]}]": row.coverage, f"set_size[{row[1]}]": row.classes_per_set}
        write_table(sets, out / "coverage.csv")
        report.section("Prediction sets").table(
            sets,
            f"Sets that shall hold the true class in {forest.calibration.coverage:.0%} of the cases, class by class, by"
            " thresholds from the other folds (conformal prediction). Where two classes are in a set, neither can be"
            " excluded; where none is, the row is unlike every class.",
        )

    report.section("Where it is strong and weak").text(
        "Intervals are Wilson's, those of F1 taken exactly through F1 = 2J / (1 + J) of the proportion"
        " J = TP / (TP + FP + FN). Mean probability: of the rows that are predicted to be of a class, dotted one"
        " standard deviation below, as in Clarke et al. 2020."
    )
    likely = "probability of the predicted class"
    for name, values in {**against, likely: predictions.probabilities.max(axis=1)}.items():
        edges = quantile_edges(np.asarray(values, float), _BINS, 0.0 if name == likely else _TAIL)
        if len(edges) < 2:
            raise RadiosslError(f"--by {name}: a column of fewer than two different numbers; leave it out")
        stem = file_stem(name)
        f1 = metric_by_column(predictions, values, edges=edges, metric="f1", f1_interval="exact")
        draw_against(predictions, values, f1, name, out / f"by_{stem}.png")
        report.figure(out / f"by_{stem}.png", f"F1, mean probability and numbers of each class against {name}.")
        recall = metric_by_column(predictions, values, edges=edges, metric="recall")
        file = out / f"completeness_by_{stem}.png"
        metric_against_column(recall, out=file, xlabel=name, logarithmic=_is_logarithmic(f1))
        report.figure(file, f"Completeness against {name}.")
    if comparison is not None:
        metrics |= _write_comparison(comparison, out, report)
    return report.finish(out, metrics, ["predictions.csv", FOREST_FILE])


def column_table(result: TrainedForest, values: NDArray[np.float32], kept: pd.DataFrame) -> FeatureTable:
    """Return the labelled rows as a feature table of their standardised columns, to be mapped.

    `values`, shape (n, d), are theirs; what is missing is replaced by the column's median. `kept` are further columns.
    """
    predictions = result.predictions
    middle = np.nanmedian(values, axis=0)
    filled = np.where(np.isfinite(values), values, middle)
    spread = np.where(filled.std(axis=0) > 0, filled.std(axis=0), 1)
    frame = _prediction_table(result, kept)
    frame["probability"] = predictions.probabilities.max(axis=1)
    if "cutout_id" not in frame:
        frame.insert(0, "cutout_id", [str(number) for number in predictions.ids])
    columns = pa.Table.from_pandas(frame, preserve_index=False)
    return FeatureTable(columns, ((filled - filled.mean(axis=0)) / spread).astype(np.float32))


def class_scores(predictions: Predictions) -> pd.DataFrame:
    """Return F1, completeness and reliability of each class with their Wilson intervals (one standard deviation)."""
    counts = confusion_matrix(predictions)
    rows = []
    for number, name in enumerate(predictions.classes):
        right, of_class, found = map(int, (counts[number, number], counts[number].sum(), counts[:, number].sum()))
        row = {"class": name, "rows": of_class, **f1_scores(right, of_class + found - right)}
        row |= proportion_scores("completeness", right, of_class) | proportion_scores("reliability", right, found)
        rows.append(row)
    return pd.DataFrame(rows)


def draw_against(
    predictions: Predictions, values: NDArray[np.floating], f1: MetricByColumn, label: str, out: PathLike
) -> None:
    """Draw F1 with intervals, mean probability and a histogram of each class against a column, shape (n,)."""
    values = np.asarray(values, float)
    likely = predictions.probabilities.max(axis=1)
    logarithmic = _is_logarithmic(f1)
    bins = (np.geomspace if logarithmic else np.linspace)(f1.edges[0], f1.edges[-1], 33)
    ylabels = ["F1 score; probability", "rows of the class"]
    with drawn_panels(out, 5.4, 5.2, xlabel=label, ylabels=ylabels, ratios=[2.2, 1]) as (upper, lower):
        for number, name in enumerate(predictions.classes):
            colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
            upper.fill_between(f1.centres, f1.low[number], f1.high[number], color=colour, alpha=0.2, linewidth=0)
            upper.plot(f1.centres, f1.scores[number], color=colour, marker="o", markersize=3, label=name, linewidth=1.5)
            chosen = predictions.predicted == number
            mean, spread = _binned_mean(values[chosen], likely[chosen], f1.edges)
            upper.plot(f1.centres, mean, color=colour, linestyle="--", linewidth=1)
            upper.plot(f1.centres, mean - spread, color=colour, linestyle=":", linewidth=1)
            own = values[predictions.truth == number]
            lower.hist(own, list(bins), histtype="step", color=colour, linewidth=1.2)
        upper.plot([], [], color="0.3", linestyle="--", linewidth=1, label="mean probability")
        upper.plot([], [], color="0.3", linestyle=":", linewidth=1, label="less one deviation")
        upper.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
        upper.set_ylim(top=1.02)
        if logarithmic:
            lower.set_xscale("log")
            plain_numbers(lower.xaxis)


def _is_logarithmic(scored: MetricByColumn) -> bool:
    """Whether a column spans so much, as fluxes do and magnitudes do not, that its axis is logarithmic."""
    return bool(scored.edges[0] > 0 and scored.edges[-1] > _DECADE * scored.edges[0])


def _binned_mean(
    values: NDArray[np.float64], numbers: NDArray[np.float64], edges: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the numbers in each bin; NaN in one of fewer than two."""
    place = np.searchsorted(edges, values, side="right") - 1
    place[values == edges[-1]] = len(edges) - 2
    of_bin = pd.Series(numbers).groupby(place).agg(["mean", "std"]).reindex(range(len(edges) - 1))
    return of_bin["mean"].where(of_bin["std"].notna()).to_numpy(), of_bin["std"].to_numpy()


def _prediction_table(result: TrainedForest, kept: pd.DataFrame) -> pd.DataFrame:
    predictions = result.predictions
    classes = np.array(predictions.classes)
    known = {"row": predictions.ids, "label": classes[predictions.truth], "predicted": classes[predictions.predicted]}
    shares = {f"probability[{name}]": predictions.probabilities[:, i] for i, name in enumerate(classes)}
    sets = {"prediction_set": set_texts(result.sets, predictions.classes)}
    return pd.concat([kept.reset_index(drop=True), pd.DataFrame(known | shares | sets)], axis=1)


def _write_comparison(comparison: pd.DataFrame, out: Path, report: Report) -> dict[str, float]:
    write_table(comparison, out / "comparison.csv")
    metrics: dict[str, float] = {}
    bars: list[tuple[str, float, float | None]] = []
    rows = []
    for (inputs, model), group in comparison.groupby(["inputs", "model"], sort=False):
        row: dict[str, Any] = {"inputs": inputs, "model": model}
        for score in ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc"):
            mean, spread = float(group[score].mean()), float(group[score].std(ddof=1))
            row[score] = f"{mean:.3f} ± {spread:.3f}"
            metrics |= {f"{inputs}_{model}_{score}": mean, f"{inputs}_{model}_{score}_std": spread}
        rows.append(row)
        areas = group["macro_roc_auc"]
        bars.append((f"{inputs}, {model}", float(areas.mean()), float(areas.std())))
    blue = [name for name, _, _ in bars if name.startswith("both")]
    score_bars(bars, out=out / "comparison.png", xlabel="area under the ROC curve", highlight=blue)
    report.section("Do features and columns help each other?").figure(out / "comparison.png")
    report.table(rows, "Over all rows, predicted by folds; mean and standard deviation over the seeds.")
    report.link(out / "comparison.csv")
    return metrics
