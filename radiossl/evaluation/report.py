"""The result folder of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.evaluation.calibration import reliability
from radiossl.evaluation.comparison import compare_methods
from radiossl.evaluation.confidence import coverage_table, set_texts
from radiossl.evaluation.figures import (
    BandedCurve,
    label_fraction_curves,
    metric_against_column,
    precision_recall_curves,
    reliability_diagram,
    roc_curves,
)
from radiossl.evaluation.intervals import wilson_interval
from radiossl.evaluation.metric_by_column import metric_by_column
from radiossl.evaluation.metrics import confusion_matrix, precision_recall_points, roc_points
from radiossl.evaluation.protocols import Evaluation
from radiossl.evaluation.trials import LabelledSet
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.files import PathLike, one_or_more
from radiossl.io.results import writes_result_folder
from radiossl.report.figures import confusion_matrix as draw_confusion
from radiossl.report.figures import file_stem, score_bars
from radiossl.report.html import Report
from radiossl.report.sheets import cutout_pictures
from radiossl.store.store import CutoutStore

_IN_TABLE = ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc", "ece")
_GALLERY = 24


@writes_result_folder
def write_evaluation(
    evaluation: Evaluation,
    out: PathLike,
    title: str,
    columns: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write metrics.json, predictions.csv, scores.csv, figures and report.html; return the report's path.

    F1 is drawn against each of the `columns` of the store, such as ``las_arcsec``. `metadata` are ``weights`` and
    ``weights_sha256`` of the backbone, for the methods paragraph.
    """
    out = Path(out)
    labelled, evaluated = evaluation.labelled, evaluation.results
    last = evaluated[-1]
    predictions = last.predictions()
    metrics = _metrics(evaluation) | ({"weights": metadata["weights"]} if metadata else {})
    tested = labelled.store.select(labelled.tested)
    write_table(_prediction_table(tested, evaluation), out / "predictions.csv")
    trials = [
        {"name": one.name, "fraction": trial.fraction, "labels": len(trial.split.train), "seed": trial.seed, **scores}
        for one in evaluated
        for trial, scores in zip(labelled.trials, one.all_scores, strict=True)
    ]
    write_table(pd.DataFrame(trials), out / "scores.csv")
    whole = labelled.fractions[0]
    bars = [(one.name, *_mean_spread(one.accuracies(whole))) for one in evaluated]
    against = None
    if len(evaluated) > 1:
        groups = None if labelled.groups is None else labelled.groups[labelled.tested]
        against = compare_methods({one.name: one.correct() for one in evaluated}, last.name, groups)
    report = Report(title).verdict(_verdict(bars, against, len(predictions)))
    score_bars(bars, out=out / "accuracy.png", xlabel="accuracy", highlight=[last.name])
    report.figure(out / "accuracy.png", "Mean and standard deviation over the trials.")
    means = {one.name: pd.DataFrame(one.scores(whole))[[*_IN_TABLE]].mean() for one in evaluated}
    report.table([{"name": name, **_rounded(mean)} for name, mean in means.items()], "Mean over the trials.")
    what = f"{counted(len(predictions), 'object')}; classes {', '.join(labelled.classes)}"
    report.text(f"{_how(evaluation)} {what}.", *labelled.notes)
    if against is not None:
        write_table(against, out / "comparison.csv")
        report.table(
            against,
            f"Differences to {last.name} on the same objects and seeds, intervals of one standard deviation; p_holm is"
            " corrected for the number of comparisons.",
        )
    if len(labelled.fractions) > 1:
        bands = {}
        for one in evaluated:
            mean, spread = np.array([_mean_spread(one.accuracies(fraction)) for fraction in labelled.fractions]).T
            low, high = mean - np.nan_to_num(spread), np.minimum(mean + np.nan_to_num(spread), 1.0)
            bands[one.name] = BandedCurve(np.array(labelled.fractions), mean, low, high)
        label_fraction_curves(bands, out=out / "fractions.png", ylabel="accuracy")
        report.section("Fewer labels").figure(
            out / "fractions.png", "Accuracy against the fraction of the labels that were used; one standard deviation."
        )
    if evaluation.retrieval:
        rows = [{"name": name, **_rounded(scores)} for name, scores in evaluation.retrieval.items()]
        report.section("Search").table(rows, "How many of the ten nearest neighbours are of the class of the query.")
    report.section(f"Classes: {last.name}")
    draw_confusion(confusion_matrix(predictions), labelled.classes, out=out / "confusion.png")
    report.figure(out / "confusion.png", "Predicted classes (columns) of each true class (rows), with the first seed.")
    if curves := roc_points(predictions):  # none where all tested objects are of one class
        roc_curves(curves, out=out / "roc.png")
        report.figure(out / "roc.png", "Each class against all others.")
    file = out / "precision_recall.png"
    precision_recall_curves(precision_recall_points(predictions), out=file)
    report.figure(file, "Precision (reliability) of each class against its recall (completeness).")
    reliability_diagram(reliability(predictions), out=out / "reliability.png")
    report.figure(out / "reliability.png", "Accuracy against predicted confidence.")
    for column in one_or_more(columns):
        file = out / f"by_{file_stem(column)}.png"
        scored = metric_by_column(predictions, binned_values(labelled, column))
        metric_against_column(scored, out=file, xlabel=column, logarithmic=bool(scored.edges[0] > 0))
        report.figure(file, f"F1 in bins of {column}, with Wilson intervals as in Clarke et al. 2020.")
    _coverage(report, evaluation, metrics)
    _galleries(report, out, tested, evaluation)
    how = f"{_how(evaluation)} {what}; {evaluation.settings.get(last.name, '')}."
    return report.finish(out, metrics, ["predictions.csv", "scores.csv"], how, metadata)


def binned_values(labelled: LabelledSet, column: str) -> NDArray[np.float64]:
    """Return a column of the tested cutouts, to be scored in bins of it; raise if it has no two different numbers."""
    values = labelled.store.select(labelled.tested).column(column)
    try:
        numbers = values.astype(float)
    except (TypeError, ValueError):
        raise RadiosslError(f"column {column!r}: numbers were expected, it holds {values[0]!r}") from None
    if len(np.unique(numbers[np.isfinite(numbers)])) < 2:
        raise RadiosslError(f"column {column!r}: has fewer than two different numbers for the tested cutouts")
    return numbers


def summary_lines(evaluation: Evaluation) -> list[str]:
    """One line for each method and label fraction, for the terminal."""
    lines = []
    for result in evaluation.results:
        for fraction in evaluation.labelled.fractions:
            mean, spread = _mean_spread(result.accuracies(fraction))
            part = f" {fraction:5.1%}" if len(evaluation.labelled.fractions) > 1 else ""
            lines.append(f"{result.name:24s}{part} {mean:.3f}" + (f" ± {spread:.3f}" if spread == spread else ""))
    return lines


#: Below it probabilities say no more than that they are small.
_LEAST_P = 0.001


def _verdict(bars: Sequence[tuple[str, float, float]], against: pd.DataFrame | None, objects: int) -> str:
    *others, (name, mean, spread) = bars
    sentence = f"{name}: accuracy {mean:.3f}" + (f" ± {spread:.3f}" if spread == spread else "")
    sentence += f" on {counted(objects, 'object')}"
    if against is None:
        return f"{sentence}."
    best, score, _ = max(others, key=lambda bar: bar[1])
    probability = against.set_index("name").loc[best, "p_holm"]
    chance = f"p = {probability:.2g}" if probability >= _LEAST_P else f"p < {_LEAST_P}"
    return (
        f"{sentence}, {abs(mean - score):.3f} {'more' if mean >= score else 'less'} than {best}, the best of the others"
        f" ({chance})."
    )


def _how(evaluation: Evaluation) -> str:
    labelled = evaluation.labelled
    drawn = f"{counted(len(labelled.seeds), 'seed')}"
    how = f"{counted(labelled.folds, 'fold')} drawn with {drawn}" if labelled.folds else f"a separate test set, {drawn}"
    return f"Protocol {evaluation.protocol}, {how}:"


def _mean_spread(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _metrics(evaluation: Evaluation) -> dict[str, Any]:
    labelled = evaluation.labelled
    metrics: dict[str, Any] = {"protocol": evaluation.protocol, "objects": len(labelled.tested)}
    metrics |= {"classes": len(labelled.classes), "folds": labelled.folds, "seeds": len(labelled.seeds)}
    metrics["label_fractions"] = labelled.fractions
    for result in evaluation.results:
        key = result.name.replace(" ", "_")
        for fraction in labelled.fractions:
            rows = pd.DataFrame(result.scores(fraction))
            suffix = "" if fraction == labelled.fractions[0] else f"@{fraction:g}"
            for name in rows.columns:
                metrics[f"{key}_{name}{suffix}"] = float(rows[name].mean())
                if name in _IN_TABLE:
                    metrics[f"{key}_{name}_std{suffix}"] = float(rows[name].std(ddof=1))
        if labelled.folds == 0:
            predictions = result.predictions()
            low, high = wilson_interval(int(predictions.correct.sum()), len(predictions))
            metrics |= {f"{key}_accuracy_low": float(low), f"{key}_accuracy_high": float(high)}
        for name, value in evaluation.retrieval.get(result.name, {}).items():
            metrics[f"{key}_{name}"] = value
    return metrics | {f"{name.replace(' ', '_')}_settings": text for name, text in evaluation.settings.items()}


def _prediction_table(store: CutoutStore, evaluation: Evaluation) -> pd.DataFrame:
    """The predictions of the first seed, and whether those of each seed were correct."""
    result = evaluation.results[-1]
    predictions = result.predictions()
    frame = pd.DataFrame({name: store.column(name) for name in ("cutout_id", "mosaic", "ra_deg", "dec_deg")})
    classes = np.array(predictions.classes)
    frame["label"], frame["predicted"] = classes[predictions.truth], classes[predictions.predicted]
    frame["correct"] = predictions.correct
    frame[[f"probability[{name}]" for name in classes]] = predictions.probabilities
    if (sets := result.sets()) is not None:
        frame["prediction_set"] = set_texts(sets, predictions.classes)
    if evaluation.novelty is not None:
        frame["outlier_score"] = evaluation.novelty
    for seed, right in zip(result.labelled.seeds, result.correct().T, strict=True):
        frame[f"correct[{seed}]"] = right
    return frame


def _rounded(scores: Any) -> dict[str, str]:
    return {key: f"{value:.3f}" for key, value in scores.items()}


def _coverage(report: Report, evaluation: Evaluation, metrics: dict[str, Any]) -> None:
    """How often prediction sets hold the true class, and how many tested objects are unlike those learnt from."""
    rows = []
    for result in evaluation.results:
        if (sets := result.sets()) is not None:
            table = coverage_table(sets, result.predictions().truth, evaluation.labelled.classes).to_dict("records")
            rows += [{"name": result.name, **row} for row in table]
            key = result.name.replace(" ", "_")
            metrics |= {f"{key}_set_coverage[{row['class']}]": row["coverage"] for row in table}
            metrics[f"{key}_classes_per_set"] = float(sets.sum(axis=1).mean())
    if rows:
        report.section("Prediction sets").table(
            rows,
            "Sets of classes that cannot be excluded, made to hold the true class of 90 % of the objects of every"
            " class, by thresholds from other folds (conformal prediction).",
        )
    if evaluation.novelty is not None:
        unusual = float((evaluation.novelty > 1).mean())
        metrics["unusual_fraction"] = unusual
        report.text(
            f"{unusual:.1%} of the tested objects have an outlier score above 1: by the backbone's features they are"
            " farther from the objects learnt from than 99 % of those are from each other."
        )


def _galleries(report: Report, out: Path, store: CutoutStore, evaluation: Evaluation) -> None:
    """The most confident mistakes, the least confident predictions and the most unusual objects.

    Mislabelled sources are found among the first (Riggi et al. 2024, section 3.2).
    """
    predictions = evaluation.results[-1].predictions()
    sureness = predictions.probabilities.max(axis=1)
    wrong = np.flatnonzero(~predictions.correct)
    report.section("Objects worth a look")
    surest = wrong[np.argsort(-sureness[wrong], kind="stable")]
    chosen = {"mistakes.png": (surest, "The most confident mistakes: look for wrong labels.")}
    chosen["unsure.png"] = np.argsort(sureness, kind="stable"), "The least confident predictions, right or wrong."
    if evaluation.novelty is not None:
        order = np.argsort(-evaluation.novelty, kind="stable")
        chosen["unusual.png"] = order, "The objects least like those learnt from."
    classes = predictions.classes
    for name, (rows, caption) in chosen.items():
        rows = rows[:_GALLERY]
        if len(rows) == 0:
            report.text("There is no mistake.")
            continue
        captions = [
            f"{classes[predictions.predicted[row]]} ({sureness[row]:.2f})\nlabel: {classes[predictions.truth[row]]}"
            f"\n{predictions.ids[row]}"
            for row in rows
        ]
        report.gallery(cutout_pictures(store.select(rows), captions), caption, sheet=out / name)
