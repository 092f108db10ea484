"""The result folder of a benchmark: one table, one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from radiossl.benchmark.methods import RANDOM
from radiossl.benchmark.run import BenchmarkResult
from radiossl.io.csv_cells import write_table
from radiossl.io.files import PathLike, write_json, write_text
from radiossl.io.results import writes_result_folder
from radiossl.report.figures import PALETTE, drawn_axes
from radiossl.report.html import Report

#: Differences less probable than this by chance are marked.
SIGNIFICANT = 0.05
_MEAN = ("all", "mean of the measures")
_MARKERS = "sD^vPX*<>"


@writes_result_folder
def write_benchmark(result: BenchmarkResult, out: PathLike) -> Path:
    """Write table.md, scores.csv, metrics.json, benchmark.png and report.html; return the report's path."""
    out = Path(out)
    write_table(result.scores, out / "scores.csv")
    write_json(out / "metrics.json", _metrics(result))
    write_text(out / "table.md", f"{markdown_table(result)}\n\n{_legend(result)}\n")
    draw_benchmark(result, out / "benchmark.png")
    report = Report(result.title).verdict(_verdict(result)).text(_legend(result))
    report.table(_cells(result).replace(r"\*\*", "", regex=True))  # Markdown's bold
    report.figure(out / "benchmark.png", "Every measure of every method.")
    report.section("Share of the sources that were in the pretraining images")
    report.table(result.shared.pivot(index="task", columns="method", values="shared").reset_index())
    for task, store in result.missing.items():
        report.text(f"Left out: {task} ({store} is not there).")
    return report.link(out / "scores.csv").link(out / "table.md").write(out / "report.html")


def _verdict(result: BenchmarkResult) -> str:
    """The mean of the best backbone beside that of the reference, and on how many measures it differs beyond chance."""
    means = result.scores.groupby("method", sort=False)["score"].mean()
    best = means[result.backbones].idxmax()
    rows = result.scores[result.scores["method"] == best]
    sure = rows[rows["probability"] < SIGNIFICANT]
    sentence = f"{best}: mean {means[best]:.3f} over {len(rows)} measures"
    if best == result.reference or result.reference not in means:
        return f"{sentence}."
    return (
        f"{sentence}, {result.reference} {means[result.reference]:.3f}; beyond chance it is better on"
        f" {(sure['difference'] > 0).sum()} of them and worse on {(sure['difference'] < 0).sum()}."
    )


def markdown_table(result: BenchmarkResult) -> str:
    """Return the table of measures and methods as Markdown."""
    cells = _cells(result)
    lines = ["| " + " | ".join(cells.columns) + " |", "|" + "---|" * len(cells.columns)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in cells.itertuples(index=False))])


def _cells(result: BenchmarkResult) -> pd.DataFrame:
    """Text of the table: the best in bold, what differs from the reference marked."""
    frame = result.scores
    methods = list(dict.fromkeys(frame["method"]))
    rows = []
    for (task, measure), group in frame.groupby(["task", "measure"], sort=False):
        best = group["score"].max()
        known = {row.method: _cell(row, best, result) for row in group.itertuples()}
        row = {"task": task, "measure": measure, "n": str(group["objects"].iloc[0])}
        rows.append(row | {name: known.get(name, "") for name in methods})
    means = frame.groupby("method", sort=False)["score"].mean()
    rows.append({"task": _MEAN[0], "measure": _MEAN[1], "n": ""} | {name: f"{means[name]:.3f}" for name in methods})
    return pd.DataFrame(rows)


def _cell(row: Any, best: float, result: BenchmarkResult) -> str:
    text = f"{row.score:.3f}"
    if row.score == best:
        text = f"**{text}**"
    if row.method in result.backbones:
        text += f" ± {row.standard_error:.3f}"
    elif row.highest > row.lowest:
        text += f" ({row.lowest:.2f} to {row.highest:.2f})"
    if row.probability < SIGNIFICANT:
        text += " +" if row.difference > 0 else " −"
    return text


def _legend(result: BenchmarkResult) -> str:
    return (
        "Scores are fractions of 1: accuracies, shares of sources found, areas under ROC curves. ± is the standard "
        "error over sources; brackets give the range over initialisations. + and −: better or worse than "
        f"{result.reference}, with a probability by chance below {SIGNIFICANT:g} (paired over sources, corrected after "
        "Holm for all measures of the method)."
    )


def _metrics(result: BenchmarkResult) -> dict[str, Any]:
    means = result.scores.groupby("method", sort=False)["score"].mean()
    return {
        **{"title": result.title, "reference": result.reference},
        **{f"{row.task}, {row.measure}: {row.method}": row.score for row in result.scores.itertuples()},
        **{f"{_MEAN[1]}: {name}": float(mean) for name, mean in means.items()},
    }


def draw_benchmark(result: BenchmarkResult, out: PathLike) -> None:
    """Draw the scores of all measures: backbones in colour, baselines in grey."""
    frame = result.scores
    measures = list(dict.fromkeys(zip(frame["task"], frame["measure"], strict=True)))
    place = {measure: number for number, measure in enumerate(measures)}
    others = [name for name in dict.fromkeys(frame["method"]) if name not in result.backbones]
    with drawn_axes(out, 8.0, 0.9 + 0.21 * len(measures), xlabel="score") as axes:
        for number, name in enumerate([*others, *result.backbones]):
            part = frame[frame["method"] == name]
            y = [place[key] for key in zip(part["task"], part["measure"], strict=True)]
            if name in result.backbones:
                colour = PALETTE[result.backbones.index(name) % len(PALETTE)]
                style = {"fmt": "o", "color": colour, "label": name, "zorder": 3}
                axes.errorbar(part["score"], y, xerr=part["standard_error"], **style)
            else:
                shade = "black" if name == RANDOM else "0.6"
                axes.scatter(part["score"], y, s=22, marker=_MARKERS[number % len(_MARKERS)], color=shade, label=name)
        axes.set_yticks(range(len(measures)), [f"{task}: {measure}" for task, measure in measures])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.02)  # markers at 1 are whole
        axes.grid(axis="y", color="0.92")
        axes.legend(loc="lower left", bbox_to_anchor=(-0.5, 1.0), ncols=4)
