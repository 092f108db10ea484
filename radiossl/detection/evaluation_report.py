"""The result folder of evaluated detectors: tables, and figures 9 and 10 of Riggi et al. 2024."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radiossl.detection.evaluation import DetectorEvaluation, binned_scores
from radiossl.detection.report import class_colours
from radiossl.io.files import write_json
from radiossl.io.results import writes_result_folder
from radiossl.report.figures import PALETTE, new_figure, plain_axes, save_figure
from radiossl.report.html import Report
from radiossl.report.results import write_table
from radiossl.report.sheets import as_rgb

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONT = 9
_MARKERS = "os^Dv*Ph"
_EXAMPLES, _EXAMPLE_COLUMNS = 12, 4
#: Between an annotated object and the box around it.
_ROOM_PX = 4
_MODES = {"scratch": "from scratch", "frozen": "frozen", "finetune": "fine-tuned"}
_AXES = {
    "extent_px": "largest extent (pixels)",
    "snr": "peak / noise",
    "brightness": "mean brightness (fraction of the image's range)",
}
_SUMMARY = (
    *("detector", "mode", "fraction", "images", "images_trained_on"),
    *("ap50", "ap50_one_class", "ap", "completeness", "reliability", "f1", "f1_low", "f1_high"),
)


@writes_result_folder
def write_evaluation(
    evaluations: Sequence[DetectorEvaluation], table: pd.DataFrame, out: str | os.PathLike[str]
) -> Path:
    """Write table.csv, classes.csv, by_PROPERTY.csv, metrics.json, figures and report.html; return the report's path.

    The evaluations, at least one, are of the same images; `table` has a row with the summary of each.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    first = evaluations[0]
    classes = pd.concat([one.classes.assign(detector=one.name) for one in evaluations], ignore_index=True)
    write_table(table, out / "table.csv")
    write_table(classes, out / "classes.csv")
    metrics: dict[str, Any] = {"images": len(first.source.annotations.images), "score": first.score}
    metrics |= {"iou": first.iou, "objects": int(first.classes.iloc[-1]["true"])}
    for row in table.to_dict("records"):
        metrics |= {f"{name}[{row['detector']}]": row[name] for name in _SUMMARY[5:]}
    write_json(out / "metrics.json", metrics)

    report = Report("Detection of sources").text(
        f"{metrics['images']} images with {metrics['objects']} sources. Completeness and reliability at a score of"
        f" {first.score:g} and an intersection over union of masks of {first.iou:g} (Riggi et al. 2024, section 4.3),"
        " intervals of one standard deviation (Wilson). AP50 is COCO's average precision of masks at 0.5.",
        "Where background sources are not annotated, as in RadioGalaxyNET, reliability and AP are too low.",
    )
    report.section("Detectors").table(table[list(_SUMMARY)], "Completeness, reliability and F1 are of all sources.")
    draw_classes(classes, out / "figure9.png")
    report.section("Classes").figure(out / "figure9.png", "As figure 9 of Riggi et al. 2024.").table(classes)
    if table["fraction"].nunique() > 1:
        draw_fractions(table, out / "figure10.png")
        report.section("Training images").figure(
            out / "figure10.png", "As figure 10 of Riggi et al. 2024: against the number of training images."
        )
    report.section("Size and brightness")
    for name, rows in binned_scores(evaluations).items():
        write_table(rows, out / f"by_{name}.csv")
        draw_binned(rows, name, out / f"by_{name}.png")
        report.figure(out / f"by_{name}.png", "Bins with about equal numbers of true sources.")
    best = max(evaluations, key=lambda one: one.summary["f1"])
    draw_examples(best, out / "examples.png")
    report.section("Examples").figure(
        out / "examples.png",
        f"{best.name}: annotated objects in dashed boxes, detections in colour with their source scores.",
    )
    for name in ("table.csv", "classes.csv", "metrics.json"):
        report.link(out / name)
    return report.write(out / "report.html")


def draw_classes(classes: pd.DataFrame, out: str | os.PathLike[str]) -> None:
    """Draw completeness, reliability and F1 of every class for each detector."""
    figure = new_figure(10.5, 3.4 + 0.18 * (classes["detector"].nunique() > 4))
    _draw_scores(figure, classes, ("completeness", "reliability", "f1"), classes["class"].unique().tolist(), 0.6)
    for axes in figure.axes:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right")
    save_figure(figure, out)


def draw_binned(rows: pd.DataFrame, name: str, out: str | os.PathLike[str]) -> None:
    """Draw completeness and reliability of each detector in bins of a property."""
    bins = rows[["low", "high"]].drop_duplicates().itertuples(index=False)
    figure = new_figure(8.4, 3.2)
    _draw_scores(figure, rows, ("completeness", "reliability"), [_bin_name(*ends) for ends in bins], 0.5)
    for axes in figure.axes:
        axes.set_xlabel(_AXES[name], fontsize=_FONT)
    save_figure(figure, out)


def _draw_scores(figure: Figure, rows: pd.DataFrame, scores: Sequence[str], ticks: list[str], width: float) -> None:
    """Draw each score in a panel of its own, the detectors side by side at every tick, in the order of the rows."""
    detectors = rows["detector"].unique().tolist()
    for place, score in enumerate(scores):
        axes = plain_axes(figure.add_subplot(1, len(scores), place + 1))
        for number, detector in enumerate(detectors):
            mine = rows[rows["detector"] == detector]
            shift = width * ((number + 0.5) / len(detectors) - 0.5)
            y = mine[score].to_numpy(float)
            spread = np.stack([y - mine[f"{score}_low"].to_numpy(float), mine[f"{score}_high"].to_numpy(float) - y])
            style: dict[str, Any] = {
                "color": PALETTE[number % len(PALETTE)],
                "marker": _MARKERS[number % len(_MARKERS)],
            }
            axes.errorbar(
                np.arange(len(mine)) + shift, y, yerr=np.maximum(spread, 0), label=detector, linestyle="none",
                markersize=4.5, capsize=2, **style,
            )  # fmt: skip
        axes.set_xticks(range(len(ticks)), ticks, fontsize=_FONT - 1)
        axes.set_ylim(0, 1)
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        axes.set_title("F1" if score == "f1" else score, fontsize=_FONT, loc="left")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=_FONT - 1)


def draw_fractions(table: pd.DataFrame, out: str | os.PathLike[str]) -> None:
    """Draw F1 of all sources and AP50 against the number of training images, a line for each mode.

    Several detectors of one mode and fraction, such as of several seeds, are one point: their mean and its spread. The
    bar of a single one is its Wilson interval.
    """
    figure = new_figure(8.4, 3.2)
    for place, (score, label) in enumerate((("f1", "F1 of all sources"), ("ap50", "AP50"))):
        axes = plain_axes(figure.add_subplot(1, 2, place + 1))
        for number, (mode, name) in enumerate(_MODES.items()):
            points = []
            for images, rows in table[table["mode"] == mode].groupby("images"):
                mean = float(rows[score].mean())
                low = high = float(rows[score].std(ddof=1)) if len(rows) > 1 else 0.0
                if len(rows) == 1 and score == "f1":
                    low, high = (max(0.0, mean - float(rows["f1_low"].iloc[0])), float(rows["f1_high"].iloc[0]) - mean)
                points.append((images, mean, low, high))
            if points:
                x, y, below, above = zip(*points, strict=True)
                style: dict[str, Any] = {"color": PALETTE[number], "marker": _MARKERS[number], "capsize": 2}
                axes.errorbar(x, y, yerr=(below, above), label=name, linewidth=1.2, markersize=5, **style)
        axes.set_xscale("log")
        axes.set_ylim(0, 1)
        axes.set_xlabel("training images", fontsize=_FONT)
        axes.set_title(label, fontsize=_FONT, loc="left")
        axes.legend(frameon=False, fontsize=_FONT - 1)
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        counts = sorted(table["images"].unique())
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
    save_figure(figure, out)


def _bin_name(low: float, high: float) -> str:
    if np.isinf(low) and np.isinf(high):
        return "all"
    if np.isinf(low):
        return f"< {high:.3g}"
    return f"> {low:.3g}" if np.isinf(high) else f"{low:.3g}–{high:.3g}"


def draw_examples(one: DetectorEvaluation, out: str | os.PathLike[str]) -> None:
    """Draw images spread evenly over the set with what is annotated and what was found."""
    images = one.source.annotations.images
    chosen = np.unique(np.linspace(0, len(images) - 1, min(_EXAMPLES, len(images))).astype(int))
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    colours = class_colours(one.config.classes)
    per_line = min(_EXAMPLE_COLUMNS, len(chosen))
    rows = -(-len(chosen) // per_line)
    figure = new_figure(2.7 * per_line, 2.75 * rows + 0.35)
    for place, number in enumerate(chosen.tolist()):
        image = images[number]
        axes = figure.add_subplot(rows, per_line, place + 1)
        axes.imshow(as_rgb(one.source.planes(image)[0], how="asinh", colour_map="gray_r"), origin="lower")
        for known in image.objects:
            lines, columns = np.nonzero(known.mask)
            corner = (columns.min() - 0.5 - _ROOM_PX, lines.min() - 0.5 - _ROOM_PX)
            width, height = (float(np.ptp(places)) + 1 + 2 * _ROOM_PX for places in (columns, lines))
            axes.add_patch(
                Rectangle(corner, width, height, fill=False, edgecolor="black", linewidth=0.8, linestyle="dashed")
            )
        for item in one.objects[number]:
            for line in item.outlines():
                axes.plot(line[:, 0], line[:, 1], color=colours[item.label], linewidth=1.1)
            left, low, across, along = item.extent
            axes.annotate(
                f"{item.source_score:.2f}", (left + across, low + along), (1, 1), textcoords="offset points",
                fontsize=_FONT - 3, color=colours[item.label],
            )  # fmt: skip
        axes.set(xticks=[], yticks=[], xlim=(-0.5, image.shape[1] - 0.5), ylim=(-0.5, image.shape[0] - 0.5))
    handles = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    handles.append(Line2D([], [], color="black", linestyle="dashed", label="annotated (box)"))
    figure.legend(handles=handles, loc="outside upper left", ncols=6, frameon=False, fontsize=_FONT)
    save_figure(figure, out)
