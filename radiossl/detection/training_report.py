"""The page of a detector's training: its curves and its result."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from radiossl.detection.confidence import COVERAGE
from radiossl.detection.settings import COVERAGE_FILE, SETTINGS_FILE
from radiossl.io.files import read_json
from radiossl.report.figures import BLUE, GREEN, GREY, ORANGE, new_figure, plain_axes, save_figure
from radiossl.report.html import Report

_FONT = 9
_MEDIAN_ROWS = 9


def write_training_report(run: str | os.PathLike[str]) -> Path:
    """Write training.png and report.html into the run folder of a detector; return the report's path."""
    run = Path(run)
    metrics, about = pd.read_csv(run / "metrics.csv"), read_json(run / SETTINGS_FILE)
    draw_training(metrics, run / "training.png")
    last = metrics.iloc[-1]
    report = Report(f"Training of a detector: {run.name}").section("Result")
    values = {"backbone": about["mode"], "images": about["images"], "epochs": float(last["epoch"])}
    monitored = metrics.dropna(subset="ap50")
    if len(monitored):
        names = {"ap50": "AP50", "ap50_one_class": "AP50, classes ignored", "ap": "AP"}
        values |= {
            f"{label} on the validation images": float(monitored.iloc[-1][name]) for name, label in names.items()
        }
    report.values({**values, "loss": float(last["loss"]), "images per second": float(last["images_per_s"])})
    report.figure(run / "training.png", "Losses (running medians), average precision of masks, learning rate.")
    if (run / COVERAGE_FILE).is_file():
        text = f"How often the prediction set of a validation object holds its class; {COVERAGE:.0%} are wanted."
        report.section("Prediction sets").table(pd.read_csv(run / COVERAGE_FILE), text)
    report.section("Settings").values(about["objects"], "Objects trained on").values(about["settings"])
    report.link(run / "metrics.csv").link(run / SETTINGS_FILE)
    return report.write(run / "report.html")


def draw_training(metrics: pd.DataFrame, out: str | os.PathLike[str]) -> None:
    """Draw the losses, and average precision if it was measured, against the epoch."""
    monitored = metrics.dropna(subset="ap50")
    panels = 3 if len(monitored) else 2
    figure = new_figure(3.4 * panels, 2.8)
    losses = plain_axes(figure.add_subplot(1, panels, 1))
    named = {"loss_objectness": "objectness", "loss_classifier": "class", "loss_box_reg": "box", "loss_mask": "mask"}
    for (name, label), colour in zip(named.items(), (GREY, BLUE, GREEN, ORANGE), strict=True):
        smooth = metrics[name].rolling(_MEDIAN_ROWS, center=True, min_periods=1).median()
        losses.plot(metrics["epoch"], smooth, color=colour, label=label, linewidth=1.3)
    losses.set_ylim(0, None)
    losses.set_title("loss", fontsize=_FONT, loc="left")
    losses.legend(fontsize=_FONT - 2, frameon=False)
    if len(monitored):
        axes = plain_axes(figure.add_subplot(1, panels, 2))
        for name, label, colour in (("ap50_one_class", "AP50, classes ignored", GREEN), ("ap50", "AP50", BLUE)):
            axes.plot(monitored["epoch"], monitored[name], color=colour, label=label, marker="o", markersize=3)
        axes.set_ylim(0, 1)
        axes.set_title("average precision, validation", fontsize=_FONT, loc="left")
        axes.legend(fontsize=_FONT - 2, frameon=False)
    rate = plain_axes(figure.add_subplot(1, panels, panels))
    rate.plot(metrics["epoch"], metrics["lr"], color=GREY)
    rate.set_title("learning rate", fontsize=_FONT, loc="left")
    for axes in figure.axes:
        axes.set_xlabel("epoch", fontsize=_FONT)
    save_figure(figure, out)
