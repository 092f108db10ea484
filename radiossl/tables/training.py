"""Training a forest on labelled rows and testing it by folds; and what features add to columns."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.evaluation.calibration import Predictions
from radiossl.evaluation.classifiers import LogisticRegression, RandomForest, Rows
from radiossl.evaluation.confidence import fit_novelty
from radiossl.evaluation.folds import draw_folds
from radiossl.evaluation.labels import Labels
from radiossl.evaluation.metrics import classification_metrics
from radiossl.io.errors import RadiosslError, check_number
from radiossl.io.progress import track
from radiossl.sky.angles import check_declinations
from radiossl.sky.positions import groups_by_position
from radiossl.tables.columns import TableColumns
from radiossl.tables.forest import TREES, Forest, calibrate, fit_forest


@dataclass(frozen=True)
class TrainedForest:
    """A forest of all labelled rows, and its results on held-out folds."""

    forest: Forest  # calibrated on the folds
    importance: NDArray[np.float64]  # of each column, shape (d,); sums to 1
    #: of every labelled row by the folds that it is not in; ids are numbers of rows of the values
    predictions: Predictions
    sets: NDArray[np.bool_]  # classes in the prediction set of each of these rows, shape (n, classes)


def fit_and_test(
    values: NDArray[np.float32],
    labels: Labels,
    columns: TableColumns,
    *,
    folds: int = 5,
    groups: NDArray[np.int64] | None = None,
    trees: int = TREES,
    min_leaf: int = 1,
    balanced: bool = True,
    coverage: float = 0.9,
    seed: int = 0,
) -> TrainedForest:
    """Test a forest by folds, and train it on all labelled rows.

    Each row is predicted once by a forest of the other folds. From these predictions come all scores, the temperature
    of the probabilities, and the thresholds of the prediction sets, which shall hold the class of the fraction
    `coverage` of the rows of each class; the forest that is kept has learnt from all rows. `values`, shape (n, d), are
    those of all rows of the table; rows of one group stay in one fold. Two folds train on half of the rows, as Clarke
    et al. 2020 did. For `trees`, `min_leaf` and `balanced` see `fit_forest`.

    >>> rng = np.random.default_rng(0)
    >>> values = rng.normal(size=(90, 1)).astype(np.float32)
    >>> labels = Labels(np.arange(90), np.where(values[:, 0] > 0, "QSO", "STAR"))
    >>> result = fit_and_test(values, labels, TableColumns(("u",)), trees=10)
    >>> len(result.predictions), result.forest.about["training_rows"]
    (90, 90)
    """
    check_number("--coverage", coverage, 0.5, 1, below=True)
    check_number("--trees", trees, 1, whole=True)
    check_number("--min-leaf", min_leaf, 1, whole=True)
    names, truth = labels.classes, labels.truth
    mine, own = values[labels.rows], None if groups is None else groups[labels.rows]

    def fitted(rows: Rows) -> tuple[Forest, NDArray[np.float64]]:
        settings: dict[str, Any] = {"trees": trees, "min_leaf": min_leaf, "balanced": balanced, "seed": seed}
        return fit_forest(mine[rows], truth[rows], columns, names, **settings)

    raw = np.empty((len(truth), len(names)))
    fold = np.empty(len(truth), dtype=np.int64)
    for number, split in enumerate(track(draw_folds(labels.names, folds, 1, seed, own), "training")):
        raw[split.test] = fitted(split.train)[0].probabilities(mine[split.test])
        fold[split.test] = number
    calibration, probabilities, sets = calibrate(raw, truth, fold, coverage, fit_novelty(mine, own, seed))
    forest, importance = fitted(np.arange(len(truth)))
    forest = replace(forest, about={**forest.about, "folds": folds}, calibration=calibration)
    return TrainedForest(forest, importance, Predictions(names, truth, probabilities, labels.rows), sets)


def row_groups(table: pa.Table, radius_arcsec: float, where: object = "") -> NDArray[np.int64] | None:
    """Number the groups of rows linked by steps within a radius; None where it is 0. Errors begin with `where`."""
    if not radius_arcsec:
        return None
    if not {"ra_deg", "dec_deg"} <= set(table.column_names):
        raise RadiosslError("--group-radius: needs positions in columns ra_deg and dec_deg")
    ra, dec = (table.column(name).to_numpy().astype(float) for name in ("ra_deg", "dec_deg"))
    check_declinations(dec, where)
    return groups_by_position(ra, dec, radius_arcsec)


_MODELS: dict[str, type[RandomForest] | type[LogisticRegression]] = {
    "forest": RandomForest,
    "logistic": LogisticRegression,
}


def compare_inputs(
    values: NDArray[np.float32],
    labels: Labels,
    columns: TableColumns,
    *,
    folds: int = 5,
    seeds: int = 5,
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> pd.DataFrame:
    """Evaluate features alone, columns alone and both, by a random forest and a logistic regression, on the same folds.

    `columns` has both features and others. Returns ``inputs``, ``model``, ``seed`` and the scores of all tested rows of
    that seed (`classification_metrics`): each row is predicted once per seed, by the folds that it is not in.
    """
    width = len(columns.names)
    if not 0 < columns.dimension < width:
        raise RadiosslError("to compare inputs takes both: --features, and columns named with --columns")
    truth = labels.truth
    splits = draw_folds(labels.names, folds, seeds, seed, None if groups is None else groups[labels.rows])
    mine, first = values[labels.rows], width - columns.dimension
    inputs = {"columns": mine[:, :first], "features": mine[:, first:], "both": mine}
    rows = []
    runs = list(itertools.product(inputs.items(), _MODELS, range(seeds)))
    for (name, part), model, number in track(runs, "comparing"):
        probabilities = np.empty((len(truth), len(labels.classes)))
        for split in splits[number * folds : (number + 1) * folds]:
            known = part[:, np.isfinite(part[split.train]).any(axis=0)]
            filled = np.where(np.isfinite(known), known, np.nanmedian(known[split.train], axis=0))
            estimator = _MODELS[model](filled, truth, len(labels.classes))
            probabilities[split.test] = estimator(split.train, split.test, seed + number)
        predictions = Predictions(labels.classes, truth, probabilities, labels.rows)
        rows.append({"inputs": name, "model": model, "seed": seed + number, **classification_metrics(predictions)})
    return pd.DataFrame(rows)
