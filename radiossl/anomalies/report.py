"""The result folder of an anomaly search: ranked objects, galleries, and how good the ranking is where labels tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.anomalies.feature_ranking import FeatureRanking, Scan
from radiossl.anomalies.quality import AnomalyLabels, ThresholdCurves, threshold_curves
from radiossl.anomalies.scores import rank_fractions
from radiossl.anomalies.search import SCORE_TITLES, AnomalyQuality, AnomalySearch
from radiossl.features.confounders import artefact_marks, confounder_table, confounder_warnings
from radiossl.features.table import FeatureTable, seen_field_px
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.files import PathLike
from radiossl.io.results import writes_result_folder
from radiossl.report.figures import (
    BLUE,
    FONT,
    GREY,
    ORANGE,
    PALETTE,
    drawn_axes,
    legend_beside,
    plain_numbers,
    score_bars,
    shorten,
)
from radiossl.report.html import Report, format_value
from radiossl.report.sheets import cutout_pictures
from radiossl.store.store import CutoutStore

#: Objects in a gallery.
_GALLERY = 48
_SMALL_GALLERY = 24
_IN_TABLE = ("auc", "auc_std", "auc_low", "auc_high", "recall@5%", "recall@5%_std", "recall@10%", "recall@10%_std")
_ALSO_IN_TABLE = ("crossing", "recall_in_all@5%", "recall_in_all@10%")

_MOST_BINS = 60
#: Colours of the labels that are not anomalous, in order.
_COLOURS = [*(colour for colour in PALETTE if colour != ORANGE), "#AA4499"]

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


@writes_result_folder
def write_anomalies(
    search: AnomalySearch,
    table: FeatureTable,
    out: PathLike,
    store: CutoutStore | None = None,
    label: str | None = None,
) -> Path:
    """Write metrics.json, anomalies.csv, figures, galleries and report.html; return the report's path.

    Without a store no gallery is drawn; the column `label` is written under its pictures.
    """
    out = Path(out)
    scores, settings = search.scores, search.settings
    order, marks = np.argsort(-scores, kind="stable"), artefact_marks(table)
    ranked = _ranked(table, scores, marks, order)
    write_table(ranked, out / "anomalies.csv")
    confounders = confounder_table({"anomaly score": scores}, table, search.options.baselines)
    report = Report("Anomalies").verdict(_verdict(search, table, order[0]))
    plain = order[marks[order] == ""]
    report.section("The most anomalous")
    if marked := len(order) - len(plain):
        first = (marks[order[:_GALLERY]] != "").sum()
        report.text(
            f"{marked} objects are noise alone or at an edge (column artefact of anomalies.csv), {first} of them among"
            f" the first {_GALLERY}: they are not in the gallery."
        )
    if store is None:
        report.text("The cutouts' store was not found: no gallery. Give it with --store.")
    else:
        _galleries(report, out, search, table, store, plain if len(plain) else order, label)
    shown = ["rank", "score", "cutout_id", "ra_deg", "dec_deg", *([label] if label else []), *search.options.baselines]
    report.table(ranked.head(_SMALL_GALLERY)[[name for name in dict.fromkeys(shown) if name in ranked]])
    report.section("Scores").text(_how(search, table), *confounder_warnings(confounders))
    score_histogram(scores, search.labels, out=out / "scores.png", xlabel=f"anomaly score ({settings.method})")
    report.figure(out / "scores.png", "Distribution of the scores.")
    report.table(confounders, "Rank correlation of the score with what is not morphology; beyond 0.5 look twice.")
    if search.quality is not None:
        _report_quality(report, search, search.quality, out)
    if search.ranking is not None:
        _report_ranking(report, search.ranking, out)
    metrics, cited = _metrics(search, confounders), ["forest"] if settings.method == "forest" else []
    return report.finish(out, metrics, ["anomalies.csv"], _how(search, table), table.metadata, cited)


def _verdict(search: AnomalySearch, table: FeatureTable, first: int) -> str:
    """What was found first, and how good the ranking is where labels tell."""
    found = f"The most anomalous of {counted(len(table), 'object')} is {table.column('cutout_id')[first]}"
    if search.quality is None:
        return f"{found}, with a score of {search.scores[first]:.3f}."
    areas = search.quality.comparison.set_index("name")["auc"]
    others = areas.drop(search.quality.main)
    return (
        f"{found}; the ranking puts an anomalous object above another with probability"
        f" {areas[search.quality.main]:.3f} (AUC), {others.idxmax()} with {others.max():.3f}."
    )


def _ranked(table: FeatureTable, scores: Scores, marks: NDArray[np.str_], order: Rows) -> pd.DataFrame:
    frame = table.columns.take(order).to_pandas()
    frame["rank"], frame["score"], frame["artefact"] = np.arange(1, len(order) + 1), scores[order], marks[order]
    first = [name for name in ("rank", "cutout_id", "ra_deg", "dec_deg", "score", "artefact") if name in frame]
    return frame[[*first, *frame.columns.drop(first)]]


def _how(search: AnomalySearch, table: FeatureTable) -> str:
    settings, top = search.settings, search.options.top
    how = f"{counted(settings.trees, 'tree')}, max_samples {settings.max_samples}"
    if settings.method == "neighbours":
        how = f"{settings.neighbours} nearest neighbours"
    width = table.features.shape[1]
    what = f"the {top} features that LightGBM ranks best by the labels" if top else f"all {width} features"
    return (
        f"{counted(len(table), 'object')} by {SCORE_TITLES[settings.method]} ({how}, seed {settings.seed}) on {what}."
    )


def _metrics(search: AnomalySearch, confounders: pd.DataFrame) -> dict[str, Any]:
    metrics: dict[str, Any] = {"objects": len(search.scores), **asdict(search.settings)}
    metrics |= {"top_features": search.options.top or "all"}
    metrics |= {"highest_score": search.scores.max(), "median_score": np.median(search.scores)}
    metrics |= {f"correlation[{row['property']}]": row["anomaly score"] for row in confounders.to_dict("records")}
    if (quality := search.quality) is not None:
        labels = quality.scores[1]
        metrics |= {"labelled": len(labels.rows), "anomalous": labels.anomalous.sum()}
        for part in (quality.comparison, quality.crossings.add_prefix("crossing_")):
            for row in part.to_dict("records"):
                name = str(row.pop("name", None) or row.pop("crossing_name")).replace(", ", "_").replace(" ", "_")
                metrics |= {f"{name}_{key}": value for key, value in row.items()}
        if quality.scan is not None:
            metrics |= {f"scan_chosen_by_folds_{key}": value for key, value in quality.scan.chosen.items()}
    return metrics


def _galleries(
    report: Report,
    out: Path,
    search: AnomalySearch,
    table: FeatureTable,
    store: CutoutStore,
    order: Rows,
    label: str | None,
) -> None:
    chosen = {"anomalous.png": (order[:_GALLERY], "Highest scores first.")}
    chosen["ordinary.png"] = (order[::-1][:_SMALL_GALLERY], "For comparison: the lowest scores, lowest first.")
    if search.labels is not None:
        sought = search.labels.rows[search.labels.anomalous]
        overlooked = sought[np.argsort(search.scores[sought], kind="stable")][:_SMALL_GALLERY]
        chosen["overlooked.png"] = (overlooked, "Called anomalous by their labels, but of the lowest scores.")
    field_px = seen_field_px(table.metadata)
    ids, total = table.column("cutout_id"), len(table)
    ranks = total - np.floor(rank_fractions(search.scores) * total).astype(int)
    labels = table.column(label) if label else np.full(total, None)
    for file, (rows, caption) in chosen.items():
        notes = ["" if pd.isna(value) else f"\n{label} {format_value(value)}" for value in labels[rows]]
        each = zip(ranks[rows], search.scores[rows], notes, ids[rows], strict=True)
        captions = [f"#{rank}: {score:.3f}{note}\n{name}" for rank, score, note, name in each]
        pictures = cutout_pictures(store.select_ids(ids[rows]), captions, field_px)
        report.gallery(pictures, caption, sheet=out / file)


def _report_quality(report: Report, search: AnomalySearch, quality: AnomalyQuality, out: Path) -> None:
    comparison, labels = quality.comparison, quality.scores[1]
    report.section("Quality").text(
        f"{labels.anomalous.sum():,} of {counted(len(labels.rows), 'labelled object')} are anomalous. Recall in the"
        " first 5 % and 10 % is that of a ranking of the labelled objects alone; it cannot exceed"
        f" {_most(labels, 0.05):.3f} and {_most(labels, 0.1):.3f}. recall_in_all counts them in the ranking of all"
        " objects. AUC: mean and standard deviation over seeds; in brackets the 68 % interval over labelled objects"
        " drawn again. Features were ranked in folds without the objects that they are tested on."
    )
    bars = list(comparison[["name", "auc", "auc_std"]].itertuples(index=False, name=None))
    score_bars(bars, out=out / "quality.png", xlabel="AUC", highlight=[quality.main])
    report.figure(out / "quality.png", "Area under the ROC curve, 0.5 for a score that knows nothing.")
    report.table(comparison[["name", *_IN_TABLE, *_ALSO_IN_TABLE]])
    write_table(comparison, out / "quality.csv")
    score = f"anomaly score ({search.settings.method})"
    xlabel = "place in the ranking of all objects" if search.options.top else score
    threshold_figure(threshold_curves(*quality.scores), out=out / "thresholds.png", xlabel=xlabel)
    report.figure(out / "thresholds.png", "As figure 12 of Riggi et al. 2024; contamination and precision add up to 1.")
    report.table(quality.crossings, "Where recall and precision are equal (Riggi et al. 2024, table 4).")
    write_table(quality.crossings, out / "crossings.csv")
    report.link(out / "quality.csv").link(out / "crossings.csv")
    if quality.scan is not None:
        _report_scan(report, quality, quality.scan, out)


def _most(labels: AnomalyLabels, part: float) -> float:
    """The highest recall that so small a part of the labelled objects can have."""
    return min(1.0, max(1.0, np.round(part * len(labels.rows))) / labels.anomalous.sum())


def _report_scan(report: Report, quality: AnomalyQuality, scan: Scan, out: Path) -> None:
    table = scan.table
    others = quality.comparison.set_index("name")["auc"].drop(quality.main)
    baselines = {name: area for name, area in others.items() if not str(name).startswith(tuple(SCORE_TITLES.values()))}
    scan_figure(table, out=out / "scan.png", baselines=baselines)
    write_table(table, out / "scan.csv")
    best = table.sort_values("auc", ascending=False, kind="stable").head(12)
    report.section("Scan of the forest").text(
        f"One seed. The best of {len(table)} settings is best on these labels by chance too: chosen on four fifths of"
        f" them and tested on the rest its AUC is {scan.chosen['auc']:.3f}. contamination moves the threshold and"
        " nothing else: recall and precision are those of what it flags, the AUC does not depend on it."
    )
    report.figure(out / "scan.png", "AUC against max_samples.").table(best, "The best settings.")
    report.link(out / "scan.csv")


def _report_ranking(report: Report, ranking: FeatureRanking, out: Path) -> None:
    importance_figure(ranking.importance, out=out / "importance.png")
    features = pd.DataFrame({"feature": ranking.order, "splits": ranking.importance[ranking.order]})
    write_table(features, out / "features.csv")
    report.section("Features").text(
        f"Balanced accuracy of the classifier on the part that decided when to stop: {ranking.accuracy:.3f}."
    )
    report.figure(out / "importance.png", "Splits at each feature, of the trees made with all labels.")
    report.link(out / "features.csv")


def score_histogram(scores: NDArray[np.floating], labels: AnomalyLabels | None, *, out: Path, xlabel: str) -> None:
    """Draw the distribution of scores (Riggi et al. 2024, figure 12, left), labelled objects on their own."""
    low, high = float(scores.min()), float(scores.max())
    bins = int(np.clip(2 * np.sqrt(len(scores)), 10, _MOST_BINS))
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1).tolist()
    with drawn_axes(out, 5.2, 3.4, xlabel=xlabel, ylabel="objects") as axes:
        axes.hist(scores, edges, histtype="step", color="black", linewidth=1.2, label=f"all ({len(scores)})")
        if labels is not None:
            sought = scores[labels.rows[labels.anomalous]]
            others = scores[labels.rows[~labels.anomalous]]
            axes.hist(sought, edges, color=ORANGE, alpha=0.55, label=f"anomalous ({len(sought)})")
            axes.hist(others, edges, histtype="step", color=BLUE, linewidth=1.4, label=f"other labels ({len(others)})")
            axes.legend()
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
        axes.set_ylim(bottom=0.6)


def threshold_figure(curves: ThresholdCurves, *, out: Path, xlabel: str) -> None:
    """Draw recall, precision and contamination against the threshold (Riggi et al. 2024, figure 12, right)."""
    x, crossing = curves.thresholds, curves.crossing
    with drawn_axes(out, 6.4, 3.6, xlabel=f"threshold on the {xlabel}", ylabel="fraction") as axes:
        axes.plot(x, curves.recall, color=ORANGE, linewidth=1.6, label="recall (completeness)")
        axes.plot(x, curves.precision, color=ORANGE, linewidth=1.6, linestyle="--", label="precision (reliability)")
        for (name, part), colour in zip(curves.contamination.items(), _COLOURS, strict=False):
            axes.plot(x, part, color=colour, linewidth=1.1, label=f"contamination: {shorten(name)}")
        if curves.unlabelled.max() > 0:
            axes.plot(x, curves.unlabelled, color="black", linewidth=1.0, linestyle=":", label="without label (of all)")
        axes.axvline(x[crossing], color=GREY, linewidth=0.9, linestyle=":")
        axes.plot(x[crossing], curves.recall[crossing], marker="o", markersize=5, color=ORANGE, zorder=5)
        note = f"{curves.recall[crossing]:.2f} at {x[crossing]:.3f}"
        axes.annotate(note, (x[crossing], 1.0), (4, 2), textcoords="offset points", fontsize=FONT - 1, color="0.3")
        axes.set_ylim(-0.02, 1.08)
        legend_beside(axes)


def scan_figure(table: pd.DataFrame, *, out: Path, baselines: Mapping[str, float]) -> None:
    """Draw the AUC of every scanned forest: a line for each set of features against ``max_samples``.

    `table` is that of `Scan`; `baselines` have the AUC of other scores by name: horizontal lines.
    """
    if not len(table):
        raise RadiosslError(f"{out}: no scan to draw")
    once = table.drop_duplicates(["features", "max_samples"])
    names = [str(value) for value in once["max_samples"].unique()]
    with drawn_axes(out, 6.4, 3.4, xlabel="max_samples", ylabel="AUC") as axes:
        colours = [ORANGE, *_COLOURS]
        for (features, rows), colour in zip(once.groupby("features", sort=False), colours, strict=False):
            places = [names.index(str(value)) for value in rows["max_samples"]]
            label = "all features" if features == "all" else f"best {features} features"
            axes.plot(places, rows["auc"], color=colour, marker="o", markersize=3, linewidth=1.2, label=label)
        strokes = ["--", ":", "-.", (0, (1, 3))] * len(baselines)
        for (name, area), stroke in zip(baselines.items(), strokes, strict=False):
            axes.axhline(area, color=GREY, linewidth=1.0, linestyle=stroke, label=shorten(name))
        axes.set_xticks(range(len(names)), names, rotation=45)
        legend_beside(axes)


def importance_figure(importance: NDArray[np.integer], *, out: Path) -> None:
    """Draw the importance of the first 30 features (Riggi et al. 2024, figure A.2), those without any left out."""
    from matplotlib.ticker import MaxNLocator

    order = np.argsort(-importance, kind="stable")[: min(30, max(1, np.count_nonzero(importance)))]
    width = max(3.2, 0.21 * len(order) + 0.9)
    with drawn_axes(out, width, 2.8, xlabel="number of the feature", ylabel="splits") as axes:
        axes.bar(range(len(order)), importance[order], color=BLUE, width=0.7)
        axes.set_xticks(range(len(order)), [str(number) for number in order], rotation=90)
        axes.tick_params(axis="x", labelsize=FONT - 2, length=0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
