"""Training a forest on one half of a table and judging it on the other; and what features add to columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.evaluation.classifiers import LogisticRegression, Probabilities, RandomForest, Rows
from radiossl.evaluation.folds import draw_folds
from radiossl.evaluation.labels import Labels
from radiossl.evaluation.metrics import classification_metrics
from radiossl.evaluation.predictions import Predictions
from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track
from radiossl.sky.positions import groups_by_position
from radiossl.tables.columns import TableColumns
from radiossl.tables.forest import TREES, Forest, train_forest


@dataclass(frozen=True)
class HalfAndHalf:
    """A forest that was trained on one part of a table, and what it said of the rest.

    Attributes
    ----------
    forest
        Of the training rows alone.
    importance
        Of each column, shape (d,); sums to 1.
    predictions
        Of the tested rows; their ids are numbers of rows of the values.
    """

    forest: Forest
    importance: NDArray[np.float64]
    predictions: Predictions


def train_and_test(
    values: NDArray[np.float32],
    labels: Labels,
    columns: TableColumns,
    *,
    train_fraction: float = 0.5,
    groups: NDArray[np.int64] | None = None,
    trees: int = TREES,
    min_leaf: int = 1,
    balanced: bool = True,
    seed: int = 0,
) -> HalfAndHalf:
    """Train on a part of the labelled rows, drawn class by class (Clarke et al. 2020: half), and test on the others.

    Parameters
    ----------
    values
        Shape (n, d), all rows of the table.
    labels
        Of some of its rows.
    columns
        What `values` are.
    train_fraction
        Of the labelled rows, between 0 and 1.
    groups
        Group of each row, shape (n,); the rows of a group stay on one side. None for each row on its own.
    trees, min_leaf, balanced, seed
        See `train_forest`; the seed draws the halves too.

    Raises
    ------
    RadiosslError
        If a class has fewer than two rows or groups, or the fraction is out of range.
    """
    from sklearn.model_selection import train_test_split

    if not 0 < train_fraction < 1:
        raise RadiosslError(f"--train-fraction {train_fraction}: expected a number between 0 and 1")
    classes, truth, counts = np.unique(labels.names, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise RadiosslError(f"class {str(classes[counts.argmin()])!r} has one row: too few to train and to test on")
    if groups is None or len(np.unique(groups[labels.rows])) == len(labels.rows):
        parts = train_test_split(np.arange(len(truth)), train_size=train_fraction, stratify=truth, random_state=seed)
        train, test = (np.sort(part) for part in parts)
    else:
        # Of as many folds as make the smaller side one of them, that one.
        smaller = min(train_fraction, 1 - train_fraction)
        split = draw_folds(labels.names, max(2, round(1 / smaller)), 1, seed, groups[labels.rows])[0]
        train, test = (split.test, split.train) if train_fraction < 0.5 else (split.train, split.test)
    names = [str(name) for name in classes]
    learnt = values[labels.rows[train]]
    forest, importance = train_forest(
        learnt, truth[train], columns, names, trees=trees, min_leaf=min_leaf, balanced=balanced, seed=seed
    )
    tested = labels.rows[test]
    return HalfAndHalf(
        forest,
        importance,
        Predictions(names, truth[test].astype(np.int64), forest.probabilities(values[tested]), tested),
    )


def position_groups(table: pa.Table, radius_arcsec: float) -> NDArray[np.int64] | None:
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
    """A method for which missing values are those of the median of the rows that it learns from."""

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
    """Judge features alone, columns alone and both, by a random forest and by a logistic regression, on the same folds.

    Parameters
    ----------
    values, labels, columns, groups
        As for `train_and_test`; `columns` has both features and others.
    folds, seeds, seed
        Stratified folds, drawn `seeds` times.

    Returns
    -------
    DataFrame
        ``inputs``, ``model``, ``seed`` and the scores of all tested rows of that seed (`classification_metrics`):
        each row of the table is told once per seed, by the folds that it is not in.

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
