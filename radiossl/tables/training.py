"""Training a forest on labelled rows and testing it by folds; and what features add to columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.evaluation.classifiers import LogisticRegression, Probabilities, RandomForest, Rows
from radiossl.evaluation.folds import draw_folds
from radiossl.evaluation.labels import Labels
from radiossl.evaluation.metrics import classification_metrics
from radiossl.evaluation.novelty import fit_novelty
from radiossl.evaluation.predictions import Predictions
from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track
from radiossl.sky.positions import groups_by_position
from radiossl.tables.calibration import calibrate
from radiossl.tables.columns import TableColumns
from radiossl.tables.forest import TREES, Forest, fit_forest


@dataclass(frozen=True)
class TrainedForest:
    """A forest of all labelled rows, and what is known of it from held-out folds.

    Attributes
    ----------
    forest
        Trained on all labelled rows, calibrated on the folds.
    importance
        Of each column, shape (d,); sums to 1.
    predictions
        Of every labelled row, by a forest and a calibration of the folds that the row is not in; their ids are numbers
        of rows of the values.
    sets
        Classes in the prediction set of each of these rows, shape (n, classes).
    """

    forest: Forest
    importance: NDArray[np.float64]
    predictions: Predictions
    sets: NDArray[np.bool_]


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
    of the probabilities, and the thresholds of the prediction sets; the forest that is kept has learnt from all rows.

    Parameters
    ----------
    values
        Shape (n, d), all rows of the table.
    labels
        Of some of its rows.
    columns
        What `values` are.
    folds
        Number of stratified folds; 2 trains on half of the rows, as Clarke et al. 2020 did.
    groups
        Group of each row, shape (n,); the rows of a group stay in one fold. None for each row on its own.
    trees, min_leaf, balanced
        See `radiossl.tables.forest.fit_forest`.
    coverage
        Fraction of the rows of each class whose prediction set shall hold their class.
    seed
        Random seed of folds and forests.

    Raises
    ------
    RadiosslError
        If a class has fewer rows or groups than there are folds, or the coverage is out of range.

    See Also
    --------
    radiossl.tables.run.train_forest : The same for a file, with a result folder.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values = rng.normal(size=(90, 1)).astype(np.float32)
    >>> labels = Labels(np.arange(90), np.where(values[:, 0] > 0, "QSO", "STAR"))
    >>> result = fit_and_test(values, labels, TableColumns(("u",)), trees=10)
    >>> len(result.predictions), result.forest.about["training_rows"]
    (90, 90)
    """
    if not 0.5 <= coverage < 1:
        raise RadiosslError(f"--coverage {coverage}: expected a fraction from 0.5 to below 1")
    classes, truth = np.unique(labels.names, return_inverse=True)
    truth = truth.astype(np.int64)
    names = [str(name) for name in classes]
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


def row_groups(table: pa.Table, radius_arcsec: float) -> NDArray[np.int64] | None:
    """Number the groups of rows linked by steps within a radius; None where the radius is 0.

    Raises
    ------
    RadiosslError
        If the table has no columns ra_deg and dec_deg.
    """
    if not radius_arcsec:
        return None
    if not {"ra_deg", "dec_deg"} <= set(table.column_names):
        raise RadiosslError("--group-radius: needs positions in columns ra_deg and dec_deg")
    ra, dec = (table.column(name).to_numpy().astype(float) for name in ("ra_deg", "dec_deg"))
    return groups_by_position(ra, dec, radius_arcsec)


Model = Literal["forest", "logistic"]


@dataclass(frozen=True)
class _Filled:
    """An estimator that replaces missing values by the median of the rows that it learns from."""

    model: Model
    values: NDArray[np.float32]
    truth: NDArray[np.int64]
    classes: int

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:
        known = np.isfinite(self.values[train]).any(axis=0)
        values = self.values[:, known]
        filled = np.where(np.isfinite(values), values, np.nanmedian(values[train], axis=0))
        method: Any = (RandomForest if self.model == "forest" else LogisticRegression)(filled, self.truth, self.classes)
        return method(train, test, seed)


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

    Parameters
    ----------
    values, labels, columns, groups
        As for `fit_and_test`; `columns` has both features and others.
    folds, seeds, seed
        Stratified folds, drawn `seeds` times.

    Returns
    -------
    DataFrame
        ``inputs``, ``model``, ``seed`` and the scores of all tested rows of that seed (`classification_metrics`):
        each row of the table is predicted once per seed, by the folds that it is not in.

    Raises
    ------
    RadiosslError
        If there are no features, nothing but features, or a class is too small for the folds.
    """
    width = len(columns.names)
    if not 0 < columns.dimension < width:
        raise RadiosslError("to compare inputs takes both: --features, and columns named with --columns")
    classes, truth = np.unique(labels.names, return_inverse=True)
    splits = draw_folds(labels.names, folds, seeds, seed, None if groups is None else groups[labels.rows])
    mine, first = values[labels.rows], width - columns.dimension
    inputs = {"columns": mine[:, :first], "features": mine[:, first:], "both": mine}
    models: tuple[Model, ...] = ("forest", "logistic")
    rows = []
    for (name, part), model, number in track(
        [(item, model, number) for item in inputs.items() for model in models for number in range(seeds)], "comparing"
    ):
        method = _Filled(model, part, truth, len(classes))
        probabilities = np.empty((len(truth), len(classes)))
        for split in splits[number * folds : (number + 1) * folds]:
            probabilities[split.test] = method(split.train, split.test, seed + number)
        predictions = Predictions([str(n) for n in classes], truth.astype(np.int64), probabilities, labels.rows)
        rows.append({"inputs": name, "model": model, "seed": seed + number, **classification_metrics(predictions)})
    return pd.DataFrame(rows)
