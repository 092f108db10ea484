"""The result folder of evaluated detectors: tables, and figures 9 and 10 of Riggi et al. 2024."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from radiossl.detection.evaluation import DetectorEvaluation, binned_scores
from radiossl.detection.report import class_colours
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import counted
from radiossl.io.files import PathLike
from radiossl.io.results import writes_result_folder
from radiossl.report.figures import FONT, GREY, PALETTE, drawn_row
from radiossl.report.html import Report
from radiossl.report.sheets import as_rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "os^Dv*Ph"
_EXAMPLES, _EXAMPLE_COLUMNS = 12, 4
#: Between an annotated object and the box around it.
_ROOM_PX = 4
_MODES = {"scratch": "from scratch", "frozen": "frozen", "finetune": "fine-tuned"}
_AXES = {"extent_px": "largest extent (pixels)", "snr": "peak / noise"}
_AXES["brightness"] = "mean brightness (fraction of the image's range)"
_SUMMARY = (
    *("detector", "mode", "fraction", "images", "images_trained_on"),
    *("ap50", "ap50_one_class", "ap", "completeness", "reliability", "f1", "f1_low", "f1_high"),
)


@writes_result_folder
def write_evaluation(evaluations: Sequence[DetectorEvaluation], table: pd.DataFrame, out: PathLike) -> Path:
    """Write table.csv, classes.csv, by_PROPERTY.csv, metrics.json, figures and report.html; return the report's path.

    The evaluations, at least one, are of the same images; `table` has a row with the summary of each.
    """
    out = Path(out)
    first = evaluations[0]
    classes = pd.concat([one.classes.assign(detector=one.name) for one in evaluations], ignore_index=True)
    write_table(table, out / "table.csv")
    write_table(classes, out / "classes.csv")
    metrics: dict[str, Any] = {"images": len(first.source.annotations.images), "score": first.score}
    metrics |= {"iou": first.iou, "objects": int(first.classes.iloc[-1]["true"])}
    for row in table.to_dict("records"):
        metrics |= {f"{name}[{row['detector']}]": row[name] for name in _SUMMARY[5:]}
    best = max(evaluations, key=lambda one: np.nan_to_num(one.summary["f1"], nan=-1.0))
    report = Report("Detection of sources").verdict(_verdict(best, len(evaluations)))
    report.text(
        f"{counted(metrics['images'], 'image')} with {counted(metrics['objects'], 'source')}."
        f" Completeness and reliability at a score of"
        f" {first.score:g} and an intersection over union of masks of {first.iou:g} (Riggi et al. 2024, section 4.3),"
        " intervals of one standard deviation (Wilson). AP50 is COCO's average precision of masks at 0.5.",
        "Where background sources are not annotated, as in RadioGalaxyNET, reliability and AP are too low.",
    )
    report.section("Detectors").table(table[list(_SUMMARY)], "Completeness, reliability and F1 are of all sources.")
    draw_classes(classes, out / "figure9.png")
    report.section("Classes").figure(out / "figure9.png", "As figure 9 of Riggi et al. 2024.").table(classes)
    if table["fraction"].nunique() > 1:
        draw_fractions(table, out / "figure10.png")
        text = "As figure 10 of Riggi et al. 2024: against the number of training images."
        report.section("Training images").figure(out / "figure10.png", text)
    report.section("Size and brightness")
    for name, rows in binned_scores(evaluations).items():
        write_table(rows, out / f"by_{name}.csv")
        draw_binned(rows, name, out / f"by_{name}.png")
        report.figure(out / f"by_{name}.png", "Bins with about equal numbers of true sources.")
    draw_examples(best, out / "examples.png")
    text = f"{best.name}: annotated objects in dashed boxes, detections in colour with their source scores."
    report.section("Examples").figure(out / "examples.png", text)
    return report.finish(out, metrics, ["table.csv", "classes.csv"])


def _verdict(best: DetectorEvaluation, detectors: int) -> str:
    """What the detector with the highest F1 finds, and how much of that is real."""
    score = best.summary
    among = f", the best of {detectors} detectors" if detectors > 1 else ""
    return (
        f"{best.name} finds {score['completeness']:.1%} of {counted(score['true'], 'source')}, and"
        f" {score['reliability']:.1%} of what it finds is real: F1 {score['f1']:.3f}{among}, AP50 {score['ap50']:.3f}."
    )


def draw_classes(classes: pd.DataFrame, out: PathLike) -> None:
    """Draw completeness, reliability and F1 of every class for each detector."""
    height = 3.4 + 0.18 * (classes["detector"].nunique() > 4)
    with drawn_row(out, 10.5, height, ["completeness", "reliability", "F1"]) as panels:
        _draw_scores(panels, classes, classes["class"].unique().tolist(), 0.6)
        for label in [label for axes in panels for label in axes.get_xticklabels()]:
            label.set(rotation=30, ha="right")


def draw_binned(rows: pd.DataFrame, name: str, out: PathLike) -> None:
    """Draw completeness and reliability of each detector in bins of a property."""
    bins = rows[["low", "high"]].drop_duplicates().itertuples(index=False)
    with drawn_row(out, 8.4, 3.2, ["completeness", "reliability"], xlabel=_AXES[name]) as panels:
        _draw_scores(panels, rows, [_bin_name(*ends) for ends in bins], 0.5)


def _draw_scores(panels: Sequence[Axes], rows: pd.DataFrame, ticks: list[str], width: float) -> None:
    """Draw the score of each panel's title, the detectors side by side at every tick, in the order of the rows."""
    detectors = rows["detector"].unique().tolist()
    for axes in panels:
        score = axes.get_title(loc="left").lower()
        for number, detector in enumerate(detectors):
            mine = rows[rows["detector"] == detector]
            x = np.arange(len(mine)) + width * ((number + 0.5) / len(detectors) - 0.5)
            y, low, high = (mine[name].to_numpy(float) for name in (score, f"{score}_low", f"{score}_high"))
            style = {**_style(number), "linestyle": "none", "markersize": 4.5, "label": detector}
            axes.errorbar(x, y, yerr=np.maximum([y - low, high - y], 0), **style)
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_ylim(-0.02, 1.02)  # so that no marker is cut
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    panels[0].figure.legend(handles, labels, loc="outside lower center", ncols=4)


def _style(number: int) -> dict[str, Any]:
    """Colour, marker and caps of the error bars of one of several detectors or modes."""
    return {"color": PALETTE[number % len(PALETTE)], "marker": _MARKERS[number % len(_MARKERS)], "capsize": 2}


def draw_fractions(table: pd.DataFrame, out: PathLike) -> None:
    """Draw F1 of all sources and AP50 against the number of training images, a line for each mode.

    Several detectors of one mode and fraction, such as of several seeds, are one point: their mean and its spread. The
    bar of a single one is its Wilson interval.
    """
    counts = sorted(table["images"].unique())
    with drawn_row(out, 8.4, 3.2, ["F1 of all sources", "AP50"], xlabel="training images") as panels:
        for axes, score in zip(panels, ("f1", "ap50"), strict=True):
            for number, (mode, name) in enumerate(_MODES.items()):
                points = []
                for images, rows in table[table["mode"] == mode].groupby("images"):
                    mean = float(rows[score].mean())
                    low = high = float(rows[score].std(ddof=1)) if len(rows) > 1 else 0.0
                    if len(rows) == 1 and score == "f1":
                        low, high = abs(rows[["f1_low", "f1_high"]].iloc[0].to_numpy(float) - mean)
                    points.append((images, mean, low, high))
                if points:
                    x, y, below, above = zip(*points, strict=True)
                    style = {**_style(number), "linewidth": 1.2, "markersize": 5}
                    axes.errorbar(x, y, yerr=(below, above), label=name, **style)
            axes.set(xscale="log", ylim=(-0.02, 1.02))
            axes.grid(axis="y", linewidth=0.4, alpha=0.5)
            axes.legend()
            axes.set_xticks(counts, [f"{count:,}" for count in counts])
            axes.minorticks_off()


def _bin_name(low: float, high: float) -> str:
    if np.isinf(low):
        return "all" if np.isinf(high) else f"< {high:.3g}"
    return f"> {low:.3g}" if np.isinf(high) else f"{low:.3g}–{high:.3g}"


def draw_examples(one: DetectorEvaluation, out: PathLike) -> None:
    """Draw images spread evenly over the set with what is annotated and what was found."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

    images = one.source.annotations.images
    chosen = np.unique(np.linspace(0, len(images) - 1, min(_EXAMPLES, len(images))).astype(int)).tolist()
    colours = class_colours(one.config.classes)
    columns = min(_EXAMPLE_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    with drawn_row(out, 2.7 * columns, 2.75 * rows + 0.35, [""] * len(chosen), rows=rows) as panels:
        for axes, number in zip(panels, chosen, strict=True):
            image = images[number]
            axes.imshow(as_rgb(one.source.planes(image)[0], how="asinh", colour_map="gray"), origin="lower")
            for known in image.objects:
                y, x = np.nonzero(known.mask)
                corner = (x.min() - 0.5 - _ROOM_PX, y.min() - 0.5 - _ROOM_PX)
                width, height = (float(np.ptp(places)) + 1 + 2 * _ROOM_PX for places in (x, y))
                style: dict[str, Any] = {"fill": False, "edgecolor": GREY, "linewidth": 0.8, "linestyle": "dashed"}
                axes.add_patch(Rectangle(corner, width, height, **style))
            for item in one.objects[number]:
                for line in item.outlines():
                    axes.plot(line[:, 0], line[:, 1], color=colours[item.label], linewidth=1.1)
                style = {"fontsize": FONT - 3, "color": colours[item.label]}
                left, low, across, along = item.extent
                place = (left + across, low + along)
                axes.annotate(f"{item.source_score:.2f}", place, (1, 1), textcoords="offset points", **style)
            axes.spines[:].set_visible(False)
            axes.set(xticks=[], yticks=[], xlim=(-0.5, image.shape[1] - 0.5), ylim=(-0.5, image.shape[0] - 0.5))
        handles = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
        handles.append(Line2D([], [], color=GREY, linestyle="dashed", label="annotated (box)"))
        panels[0].figure.legend(handles=handles, loc="outside upper left", ncols=6)
