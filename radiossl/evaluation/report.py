"""The result folder of an evaluation, and several of them beside each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.evaluation.calibration import reliability
from radiossl.evaluation.figures import (
    BandedCurve,
    banded_curves,
    label_fraction_curves,
    metric_against_column,
    precision_recall_curves,
    reliability_diagram,
    roc_curves,
)
from radiossl.evaluation.intervals import paired_bootstrap, wilson_interval
from radiossl.evaluation.judging import Judgement, LabelledSet
from radiossl.evaluation.metric_by_column import metric_by_column
from radiossl.evaluation.metrics import confusion_matrix, precision_recall_points, roc_points
from radiossl.evaluation.predictions import Predictions
from radiossl.evaluation.protocols import Evaluation
from radiossl.evaluation.sweep import SweepResult
from radiossl.io.errors import RadiosslError
from radiossl.io.files import read_json, write_json
from radiossl.report.figures import confusion_matrix as draw_confusion
from radiossl.report.figures import score_bars
from radiossl.report.html import Report, format_value
from radiossl.report.results import file_stem, write_table
from radiossl.report.sheets import image_grid
from radiossl.store.store import CutoutStore

_IN_TABLE = ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc", "ece")
_GALLERY = 24


def write_evaluation(
    evaluation: Evaluation,
    out: str | os.PathLike[str],
    title: str,
    columns: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write metrics.json, predictions.csv, scores.csv, figures and report.html.

    Parameters
    ----------
    evaluation
        What `radiossl.evaluation.protocols.evaluate` returns.
    out
        Folder.
    title
        Of the report.
    columns
        Columns of the store against which F1 is drawn, such as ``las_arcsec``.
    notes
        Sentences for the top of the report.

    Returns
    -------
    Path
        The report.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    labelled, judged = evaluation.labelled, evaluation.judgements
    last = judged[-1]
    predictions = last.predictions()
    metrics = _metrics(evaluation)
    write_json(out / "metrics.json", metrics)
    tested = labelled.store.select(labelled.tested)
    frame = _prediction_table(tested, predictions)
    write_table(frame, out / "predictions.csv")
    scores = _score_table(judged)
    write_table(scores, out / "scores.csv")

    what = f"{len(predictions)} objects; classes {', '.join(labelled.classes)}"
    report = Report(title).text(f"{_how(evaluation)} {what}.", *notes)
    whole = labelled.fractions[0]
    bars = [(j.name, *_mean_spread(j.accuracies(whole))) for j in judged]
    score_bars(bars, out=out / "accuracy.png", xlabel="accuracy", highlight=[last.name])
    report.figure(out / "accuracy.png", "Mean and standard deviation over the trials.")
    report.table(_summary(judged, whole), "Mean over the trials.")
    if len(labelled.fractions) > 1:
        _draw_fractions(judged, out / "fractions.png")
        report.section("Fewer labels").figure(
            out / "fractions.png", "Accuracy against the fraction of the labels that were used; one standard deviation."
        )
    if evaluation.retrieval:
        rows = [
            {"name": name, **{key: f"{value:.3f}" for key, value in scores.items()}}
            for name, scores in evaluation.retrieval.items()
        ]
        report.section("Search").table(rows, "How many of the ten nearest neighbours are of the class of the query.")
    report.section(f"Classes: {last.name}")
    counts, _ = confusion_matrix(predictions)
    draw_confusion(counts, labelled.classes, out=out / "confusion.png")
    report.figure(out / "confusion.png", "What is said of each class, over the objects of one draw.")
    roc_curves(roc_points(predictions), out=out / "roc.png")
    precision_recall_curves(precision_recall_points(predictions), out=out / "precision_recall.png")
    reliability_diagram(reliability(predictions), out=out / "reliability.png")
    report.figure(out / "roc.png", "Each class against all others.")
    report.figure(out / "precision_recall.png", "Reliability of each class against its completeness.")
    report.figure(out / "reliability.png", "How often the classifier is right where it says that it is.")
    for column in columns:
        file = out / f"by_{file_stem(column)}.png"
        scored = metric_by_column(predictions, binned_values(labelled, column))
        metric_against_column(scored, out=file, xlabel=column, logarithmic=bool(scored.edges[0] > 0))
        report.figure(file, f"F1 in bins of {column}, with Wilson intervals as in Clarke et al. 2020.")
    _galleries(report, out, tested, predictions)
    report.section("Numbers").values(metrics)
    for name in ("predictions.csv", "scores.csv", "metrics.json"):
        report.link(out / name)
    return report.write(out / "report.html")


def binned_values(labelled: LabelledSet, column: str) -> NDArray[np.float64]:
    """Return a column of the tested cutouts, to be scored in bins of it.

    Raises
    ------
    RadiosslError
        If there is no such column, or it has fewer than two different numbers.
    """
    values = labelled.store.select(labelled.tested).column(column)
    try:
        numbers = values.astype(float)
    except (TypeError, ValueError):
        raise RadiosslError(f"column {column!r}: numbers were expected, it holds {values[0]!r}") from None
    if len(np.unique(numbers[np.isfinite(numbers)])) < 2:
        raise RadiosslError(f"column {column!r}: has fewer than two different numbers for the tested cutouts")
    return numbers


def summary_lines(evaluation: Evaluation) -> list[str]:
    """One line for each contender and label fraction, for the terminal."""
    lines = []
    for judgement in evaluation.judgements:
        for fraction in evaluation.labelled.fractions:
            mean, spread = _mean_spread(judgement.accuracies(fraction))
            part = f" {fraction:5.1%}" if len(evaluation.labelled.fractions) > 1 else ""
            lines.append(f"{judgement.name:24s}{part} {mean:.3f}" + (f" ± {spread:.3f}" if spread == spread else ""))
    return lines


def _how(evaluation: Evaluation) -> str:
    labelled = evaluation.labelled
    drawn = f"{len(labelled.seeds)} seeds"
    return f"Protocol {evaluation.protocol}, " + (
        f"{labelled.folds} folds drawn with {drawn}:" if labelled.folds else f"a separate test set, {drawn}:"
    )


def _mean_spread(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _metrics(evaluation: Evaluation) -> dict[str, Any]:
    labelled = evaluation.labelled
    metrics: dict[str, Any] = {
        "protocol": evaluation.protocol,
        "objects": len(labelled.tested),
        "classes": len(labelled.classes),
        "folds": labelled.folds,
        "seeds": len(labelled.seeds),
        "label_fractions": labelled.fractions,
    }
    for judgement in evaluation.judgements:
        key = judgement.name.replace(" ", "_")
        for fraction in labelled.fractions:
            rows = pd.DataFrame(judgement.scores(fraction))
            suffix = "" if fraction == labelled.fractions[0] else f"@{fraction:g}"
            for name in rows.columns:
                metrics[f"{key}_{name}{suffix}"] = float(rows[name].mean())
                if name in _IN_TABLE:
                    metrics[f"{key}_{name}_std{suffix}"] = float(rows[name].std(ddof=1))
        if labelled.folds == 0:
            predictions = judgement.predictions()
            low, high = wilson_interval(int(predictions.correct.sum()), len(predictions))
            metrics |= {f"{key}_accuracy_low": float(low), f"{key}_accuracy_high": float(high)}
        for name, value in evaluation.retrieval.get(judgement.name, {}).items():
            metrics[f"{key}_{name}"] = value
    return metrics | {f"{name.replace(' ', '_')}_settings": text for name, text in evaluation.settings.items()}


def _prediction_table(store: CutoutStore, predictions: Predictions) -> pd.DataFrame:
    frame = pd.DataFrame({name: store.column(name) for name in ("cutout_id", "mosaic", "ra_deg", "dec_deg")})
    classes = np.array(predictions.classes)
    frame["label"], frame["predicted"] = classes[predictions.truth], classes[predictions.predicted]
    frame["correct"] = predictions.correct
    for column, name in enumerate(classes):
        frame[f"probability[{name}]"] = predictions.probabilities[:, column]
    return frame


def _score_table(judged: Sequence[Judgement]) -> pd.DataFrame:
    """Every metric of every trial."""
    rows = []
    for judgement in judged:
        for fraction in judgement.labelled.fractions:
            trials = [trial for trial in judgement.labelled.trials if trial.fraction == fraction]
            for trial, scores in zip(trials, judgement.scores(fraction), strict=True):
                labels = len(trial.split.train)
                rows.append(
                    {"name": judgement.name, "fraction": fraction, "labels": labels, "seed": trial.seed, **scores}
                )
    return pd.DataFrame(rows)


def _summary(judged: Sequence[Judgement], fraction: float) -> list[dict[str, Any]]:
    rows = []
    for judgement in judged:
        scores = pd.DataFrame(judgement.scores(fraction))
        rows.append({"name": judgement.name, **{name: f"{scores[name].mean():.3f}" for name in _IN_TABLE}})
    return rows


def _draw_fractions(judged: Sequence[Judgement], out: Path) -> None:
    curves = {}
    for judgement in judged:
        fractions = np.array(judgement.labelled.fractions)
        mean, spread = np.array([_mean_spread(judgement.accuracies(fraction)) for fraction in fractions]).T
        spread = np.nan_to_num(spread)
        curves[judgement.name] = BandedCurve(fractions, mean, mean - spread, np.minimum(mean + spread, 1.0))
    label_fraction_curves(curves, out=out, ylabel="accuracy")


def _galleries(report: Report, out: Path, store: CutoutStore, predictions: Predictions) -> None:
    """The surest mistakes and the least sure answers: where mislabelled sources are found (Riggi et al. 2024, 3.2)."""
    sureness = predictions.probabilities.max(axis=1)
    wrong = np.flatnonzero(~predictions.correct)
    report.section("Objects worth a look")
    chosen = {
        "mistakes.png": (
            wrong[np.argsort(-sureness[wrong], kind="stable")],
            "The surest mistakes: look for wrong labels.",
        ),
        "unsure.png": (np.argsort(sureness, kind="stable"), "The least sure answers, right or wrong."),
    }
    classes = predictions.classes
    for name, (rows, caption) in chosen.items():
        rows = rows[:_GALLERY]
        if len(rows) == 0:
            report.text("There is no mistake.")
            continue
        captions = [
            f"{predictions.ids[row]}\n{classes[predictions.truth[row]]}, said {classes[predictions.predicted[row]]}"
            f"\n{sureness[row]:.2f}"
            for row in rows
        ]
        image_grid([store.pixels(row) for row in rows], captions, out=out / name, how="asinh")
        report.figure(out / name, caption)


def write_sweep(result: SweepResult, out: str | os.PathLike[str], column: str) -> Path:
    """Write scores.csv, curves.csv, metrics.json, two figures and report.html of a sweep; return the report's path."""
    out = Path(out)
    write_table(result.scores, out / "scores.csv")
    write_table(result.curves, out / "curves.csv")
    grouped = result.scores.groupby("cut")["accuracy"]
    mean, error = grouped.mean(), grouped.sem().fillna(0.0)
    write_json(
        out / "metrics.json",
        {f"accuracy@{cut:g}": value for cut, value in mean.items()}
        | {f"accuracy_error@{cut:g}": value for cut, value in error.items()},
    )
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
    for name in ("scores.csv", "curves.csv", "metrics.json"):
        report.link(out / name)
    return report.write(out / "report.html")


# Several evaluations --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Judged:
    name: str
    metrics: dict[str, Any]
    predictions: pd.DataFrame
    winner: str


def compare_evaluations(folders: Sequence[tuple[str, str | os.PathLike[str]]], out: str | os.PathLike[str]) -> Path:
    """Put evaluations side by side: one table, one plot, and how likely each is better than the first.

    Parameters
    ----------
    folders
        Name and folder of each, as `write_evaluation` wrote them.
    out
        Folder to write.

    Raises
    ------
    RadiosslError
        If there are fewer than two, one is no evaluation, or two of them share no tested object.
    """
    if len(folders) < 2:
        raise RadiosslError("compare: two evaluations at least are needed")
    judged = [_read(name, Path(folder)) for name, folder in folders]
    rows = []
    for one in judged:
        row: dict[str, Any] = {
            "name": one.name,
            "protocol": one.metrics.get("protocol"),
            "objects": len(one.predictions),
        }
        row |= {name: one.metrics.get(f"{one.winner}_{name}") for name in _IN_TABLE}
        row["accuracy_std"] = one.metrics.get(f"{one.winner}_accuracy_std")
        rows.append(row | _against(judged[0], one))
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    write_table(table, out / "comparison.csv")
    write_json(out / "metrics.json", {f"{row['name']}_{key}": row[key] for row in rows for key in row if key != "name"})
    bars = [(row["name"], row["accuracy"], row["accuracy_std"]) for row in rows]
    score_bars(bars, out=out / "comparison.png", xlabel="accuracy", highlight=[one.name for one in judged])
    shown = [{key: format_value(value, key) for key, value in row.items()} for row in rows]
    report = Report("Comparison").text(
        "Probability and difference are of being better than the first, from test sets drawn again with replacement,"
        " sources near each other on the sky together."
    )
    report.figure(out / "comparison.png", "Mean and standard deviation over the trials.").table(shown)
    return report.link(out / "comparison.csv").write(out / "report.html")


def _read(name: str, folder: Path) -> _Judged:
    metrics = read_json(folder / "metrics.json")
    file = folder / "predictions.csv"
    if not file.is_file():
        raise RadiosslError(f"{folder}: no predictions.csv in there; expected the result folder of an evaluation")
    predictions = pd.read_csv(file)
    winner = "backbone" if "backbone_accuracy" in metrics else "from_scratch"
    if f"{winner}_accuracy" not in metrics or "correct" not in predictions:
        raise RadiosslError(f"{folder}: not the result folder of an evaluation; make it with `radiossl evaluate`")
    return _Judged(name, metrics, predictions, winner)


def _against(first: _Judged, other: _Judged) -> dict[str, Any]:
    if other is first:
        return {"difference": None, "probability_better": None, "shared_objects": len(first.predictions)}
    both = first.predictions.merge(other.predictions, on="cutout_id", suffixes=("_a", "_b"))
    if len(both) == 0:
        raise RadiosslError(f"{other.name} and {first.name} were tested on different objects: nothing to compare")
    result = paired_bootstrap(both["correct_a"].to_numpy(bool), both["correct_b"].to_numpy(bool), groups=_groups(both))
    return {
        "difference": result.difference,
        "probability_better": result.probability,
        "shared_objects": len(both),
    }


def _groups(frame: pd.DataFrame) -> NDArray[np.int64]:
    from radiossl.sky.positions import RADIUS_ARCSEC, groups_by_position

    return groups_by_position(frame["ra_deg_a"].to_numpy(float), frame["dec_deg_a"].to_numpy(float), RADIUS_ARCSEC)
