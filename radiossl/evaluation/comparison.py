"""Several methods compared on the same objects, and several evaluations side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.evaluation.intervals import holm, paired_bootstrap
from radiossl.io.csv_cells import unguarded_frame, write_table
from radiossl.io.errors import RadiosslError, counted
from radiossl.io.files import PathLike, read_json
from radiossl.io.results import writes_result_folder
from radiossl.report.figures import score_bars
from radiossl.report.html import Report
from radiossl.sky.angles import angles_arcsec, check_declinations, unit_vectors
from radiossl.sky.positions import RADIUS_ARCSEC, groups_by_position

_OTHER_SCORES = ("balanced_accuracy", "macro_f1", "macro_roc_auc", "ece")


def compare_methods(
    correct: Mapping[str, NDArray[np.bool_]], reference: str, groups: NDArray[Any] | None = None
) -> pd.DataFrame:
    """Compare methods with a reference on the same objects, paired over objects and seeds.

    `correct` holds by name whether each object was classified correctly with each seed, shape (n, seeds); objects of
    one of the `groups`, shape (n,), are drawn together. Returns a row for each method: ``name``, ``accuracy``,
    ``difference`` to the reference with its interval of one standard deviation (``difference_low``,
    ``difference_high``), ``probability_better`` on test sets drawn anew, ``p_value`` of a sign-flip test and
    ``p_holm``, the same corrected for the number of comparisons (Holm 1979).

    >>> right = {"raw pixels": np.zeros((9, 2), bool), "backbone": np.ones((9, 2), bool)}
    >>> compare_methods(right, "raw pixels").set_index("name").loc["backbone", "difference"]
    np.float64(1.0)
    """
    others = [name for name in correct if name != reference]
    pairs = [paired_bootstrap(correct[reference], correct[name], groups=groups) for name in others]
    rows = {name: {"name": name, "accuracy": float(right.mean())} for name, right in correct.items()}
    for name, pair, corrected in zip(others, pairs, holm([pair.p_value for pair in pairs]), strict=True):
        rows[name] |= {"difference": pair.difference, "difference_low": pair.low, "difference_high": pair.high}
        rows[name] |= {"probability_better": pair.probability, "p_value": pair.p_value, "p_holm": corrected}
    return pd.DataFrame(list(rows.values()))


@dataclass(frozen=True)
class _ReadEvaluation:
    name: str
    metrics: dict[str, Any]
    predictions: pd.DataFrame
    winner: str

    @property
    def seeds(self) -> list[str]:
        """Columns with the correctness of each seed; those of version 0.1 know one seed only."""
        return [name for name in self.predictions if name.startswith("correct[")] or ["correct"]

    @property
    def classes(self) -> list[str]:
        return [name for name in self.predictions if name.startswith("probability[")]


@writes_result_folder
def compare_evaluations(folders: Sequence[tuple[str, PathLike]], out: PathLike) -> Path:
    """Put evaluations side by side, on the objects and seeds that all of them have in common; return the report's path.

    Objects are the same if their ids, as text, are the same and their positions, if known, lie within 60 arcsec.
    `folders` are names and result folders of `write_evaluation`, the first the reference. `out` gets comparison.csv
    with the columns of `compare_methods`, metrics.json and report.html.
    """
    if len(folders) < 2:
        raise RadiosslError("compare: two evaluations at least are needed")
    if len({name for name, _ in folders}) < len(folders):
        raise RadiosslError("compare: two folders have one name; name them, as in NAME=FOLDER")
    evaluated = [_read(name, Path(folder)) for name, folder in folders]
    first = evaluated[0]
    rows_of = [_rows(first, other) for other in evaluated]
    common = reduce(np.intersect1d, [shared for shared, _ in rows_of])
    if not len(common):
        raise RadiosslError(f"{', '.join(one.name for one in evaluated)}: no object was tested in all of them")
    seeds = [name for name in first.seeds if all(name in other.predictions for other in evaluated)]
    if not seeds:
        raise RadiosslError(f"{first.name} and others were evaluated with other seeds (--seed, --seeds); give the same")
    correct = {}
    for one, (shared, theirs) in zip(evaluated, rows_of, strict=True):
        rows = theirs[np.searchsorted(shared, common)]
        correct[one.name] = one.predictions[seeds].to_numpy(bool)[rows]
    sky = first.predictions[["ra_deg", "dec_deg"]].to_numpy(float)[common]
    table = compare_methods(correct, first.name, groups_by_position(sky[:, 0], sky[:, 1], RADIUS_ARCSEC))
    table.insert(1, "protocol", [one.metrics.get("protocol") for one in evaluated])
    table["objects"], table["shared_objects"] = [len(one.predictions) for one in evaluated], len(common)
    for score in ("accuracy_std", *_OTHER_SCORES):
        table[score] = [one.metrics.get(f"{one.winner}_{score}") for one in evaluated]
    out = Path(out)
    write_table(table, out / "comparison.csv")
    written = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    bars = [(row["name"], row["accuracy"], row["accuracy_std"]) for row in written]
    score_bars(bars, out=out / "comparison.png", xlabel="accuracy", highlight=[one.name for one in evaluated])
    best = max(written, key=lambda row: row["accuracy"])
    report = Report("Comparison").verdict(
        f"{best['name']} is the best of {len(written)}, with an accuracy of {best['accuracy']:.3f} on {len(common)}"
        " objects."
    )
    report.figure(out / "comparison.png", "Accuracy; the bars are standard deviations over each evaluation's trials.")
    report.text(
        f"Accuracies and differences to {first.name} are those of the {len(common)} objects that all were tested on,"
        f" over {counted(len(seeds), 'seed')}; their intervals and probabilities come from test sets drawn again with"
        " replacement, sources near each other on the sky together. p_holm is the probability of such a difference"
        " between interchangeable methods, corrected for the number of comparisons (Holm 1979). The other scores are of"
        " each evaluation's own objects."
    )
    metrics = {f"{row['name']}_{key}": row[key] for row in written for key in row if key != "name"}
    return report.table(table).finish(out, metrics, ["comparison.csv"])


def _read(name: str, folder: Path) -> _ReadEvaluation:
    metrics = read_json(folder / "metrics.json")
    file = folder / "predictions.csv"
    if not file.is_file():
        raise RadiosslError(f"{folder}: no predictions.csv in there; expected the result folder of an evaluation")
    text = dict.fromkeys(("cutout_id", "mosaic", "label", "predicted"), str)
    missing = {"ra_deg": [""], "dec_deg": [""]}  # an object may be called NA
    predictions = unguarded_frame(pd.read_csv(file, dtype=text, keep_default_na=False, na_values=missing))
    if "dec_deg" in predictions:
        check_declinations(predictions["dec_deg"].to_numpy(float), file)
    winner = "backbone" if "backbone_accuracy" in metrics else "from_scratch"
    if f"{winner}_accuracy" not in metrics or not {"correct", "label", "ra_deg", "dec_deg"} <= set(predictions):
        raise RadiosslError(f"{folder}: not the result folder of an evaluation; make it with `radiossl evaluate`")
    return _ReadEvaluation(name, metrics, predictions, winner)


def _rows(first: _ReadEvaluation, other: _ReadEvaluation) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the objects that both have, in the first and in the other, in the order of the first."""
    if sorted(first.classes) != sorted(other.classes):
        names = [", ".join(name[len("probability[") : -1] for name in one.classes) for one in (first, other)]
        raise RadiosslError(f"{first.name} and {other.name} have other classes ({'; '.join(names)}): not comparable")
    named = ["cutout_id", "ra_deg", "dec_deg", "label"]
    mine, theirs = (one.predictions[named].rename_axis("row").reset_index() for one in (first, other))
    both = mine.merge(theirs, on="cutout_id", suffixes=("_a", "_b"))
    places = [unit_vectors(*both[[f"ra_deg_{s}", f"dec_deg_{s}"]].to_numpy(float).T) for s in "ab"]
    both = both[~(angles_arcsec(*places) > RADIUS_ARCSEC)]  # NaN where a position is not known
    for side in ("row_a", "row_b"):
        if both[side].duplicated().any():
            name = both["cutout_id"][both[side].duplicated()].iloc[0]
            raise RadiosslError(f"{first.name} and {other.name}: several objects are called {name!r}; make ids unique")
    if not len(both):
        raise RadiosslError(f"{other.name} and {first.name} were tested on different objects: nothing to compare")
    changed = both[both["label_a"] != both["label_b"]]
    if len(changed):
        one = changed.iloc[0]
        raise RadiosslError(
            f"object {one['cutout_id']!r} is {one['label_a']} in {first.name} and {one['label_b']} in {other.name}:"
            " evaluate both on the same labels"
        )
    return both["row_a"].to_numpy(), both["row_b"].to_numpy()
