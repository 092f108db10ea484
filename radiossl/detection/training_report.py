"""The page of a detector's training: its curves and its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from radiossl.detection.confidence import COVERAGE
from radiossl.detection.network import COVERAGE_FILE, SETTINGS_FILE
from radiossl.io.errors import counted
from radiossl.io.files import PathLike, read_json
from radiossl.report.figures import BLUE, GREEN, GREY, ORANGE, drawn_row
from radiossl.report.html import Report

_MEDIAN_ROWS = 9
_LOSSES = {"loss_objectness": "objectness", "loss_classifier": "class", "loss_box_reg": "box", "loss_mask": "mask"}


def write_training_report(run: PathLike) -> Path:
    """Write training.png and report.html into the run folder of a detector; return the report's path."""
    run = Path(run)
    metrics, about = pd.read_csv(run / "metrics.csv"), read_json(run / SETTINGS_FILE)
    draw_training(metrics, run / "training.png")
    last = metrics.iloc[-1]
    report = Report(f"Training of a detector: {run.name}")
    values = {"backbone": about["mode"], "images": about["images"], "epochs": float(last["epoch"])}
    monitored = metrics.dropna(subset="ap50")
    sentence = f"{counted(last['epoch'], 'epoch')} on {counted(about['images'], 'image')}: the loss went"
    sentence += f" from {metrics['loss'].iloc[0]:.3g} to {last['loss']:.3g}"
    if len(monitored):
        sentence += f"; AP50 on the validation images is {monitored.iloc[-1]['ap50']:.3f}"
        names = {"ap50": "AP50", "ap50_one_class": "AP50, classes ignored", "ap": "AP"}
        last_scores = monitored.iloc[-1]
        values |= {f"{label} on the validation images": float(last_scores[name]) for name, label in names.items()}
    report.verdict(f"{sentence}.").section("Result")
    report.values({**values, "loss": float(last["loss"]), "images per second": float(last["images_per_s"])})
    report.figure(run / "training.png", "Losses (running medians), average precision of masks, learning rate.")
    if (run / COVERAGE_FILE).is_file():
        text = f"How often the prediction set of a validation object holds its class; {COVERAGE:.0%} are wanted."
        report.section("Prediction sets").table(pd.read_csv(run / COVERAGE_FILE), text)
    report.section("Settings").values(about["objects"], "Objects trained on").values(about["settings"])
    report.link(run / "metrics.csv").link(run / SETTINGS_FILE)
    return report.write(run / "report.html")


def draw_training(metrics: pd.DataFrame, out: PathLike) -> None:
    """Draw the losses, and average precision if it was measured, against the epoch."""
    monitored = metrics.dropna(subset="ap50")
    titles = ["loss", *(["average precision, validation"] if len(monitored) else []), "learning rate"]
    with drawn_row(out, 3.4 * len(titles), 2.8, titles, xlabel="epoch") as panels:
        alone = "o" if len(metrics) == 1 else None  # a single point is no line
        for (name, label), colour in zip(_LOSSES.items(), (GREY, BLUE, GREEN, ORANGE), strict=True):
            smooth = metrics[name].rolling(_MEDIAN_ROWS, center=True, min_periods=1).median()
            panels[0].plot(metrics["epoch"], smooth, color=colour, label=label, linewidth=1.3, marker=alone)
        panels[0].set_ylim(0, 1.3 * panels[0].get_ylim()[1])  # room for the legend
        panels[0].legend(loc="upper center", ncols=2)
        if len(monitored):
            for name, label, colour in (("ap50_one_class", "AP50, classes ignored", GREEN), ("ap50", "AP50", BLUE)):
                style: dict[str, Any] = {"color": colour, "label": label, "marker": "o", "markersize": 3}
                panels[1].plot(monitored["epoch"], monitored[name], **style)
            panels[1].set_ylim(0, 1)
            panels[1].legend()
        panels[-1].plot(metrics["epoch"], metrics["lr"], color=GREY, marker=alone)
