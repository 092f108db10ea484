"""From a table with classes to a tested forest in a result folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.evaluation.labels import read_labels
from radiossl.io.errors import RadiosslError, check_columns
from radiossl.io.files import PathLike, one_or_more
from radiossl.io.results import check_result_folder
from radiossl.tables.columns import TableColumns, TableFile
from radiossl.tables.forest import TREES
from radiossl.tables.prediction import KEPT
from radiossl.tables.report import write_table_result
from radiossl.tables.training import TrainedForest, compare_inputs, fit_and_test, row_groups


@dataclass(frozen=True)
class TableTraining:
    """A forest that was trained on a table."""

    result: TrainedForest  # the forest, its importances and its held-out predictions
    comparison: pd.DataFrame | None  # see `compare_inputs`
    values: NDArray[np.float32]  # what the forest looked at, of the labelled rows, shape (n, d)
    kept: pd.DataFrame  # ids and positions of the labelled rows
    report: Path


def train_forest(
    table: PathLike,
    label: str,
    out: PathLike,
    *,
    columns: Sequence[str] = (),
    colours: Sequence[tuple[str, str]] = (),
    resolved: tuple[str, str] | None = None,
    features: bool = False,
    missing: Sequence[float] = (),
    group: Sequence[str] = (),
    grouping: PathLike | None = None,
    by: Sequence[str] = (),
    folds: int = 5,
    group_radius_arcsec: float = 0.0,
    trees: int = TREES,
    min_leaf: int = 1,
    balanced: bool = True,
    coverage: float = 0.9,
    compare: bool = False,
    seeds: int = 5,
    seed: int = 0,
) -> TableTraining:
    """Test a random forest on a table by folds, train it on all labelled rows, and write a result folder.

    Parameters
    ----------
    table
        Parquet, CSV or FITS table, or a feature table.
    label
        Column with the classes.
    out
        Folder to write: the forest, metrics.json, predictions.csv, figures and report.html.
    columns, colours, resolved, missing
        What the forest looks at; see `radiossl.tables.columns.TableColumns`.
    features
        Whether it looks at the vectors of a feature table, too.
    group, grouping
        Classes made of several values; see `radiossl.read_labels`.
    by
        Columns that the scores are drawn against.
    group_radius_arcsec
        Rows linked by steps of this radius stay in one fold; 0 for every row on its own.
    folds, trees, min_leaf, balanced, coverage, seed
        See `radiossl.tables.training.fit_and_test`.
    compare, seeds
        Whether to compare features alone, columns alone and both, with this many draws of the folds.

    Raises
    ------
    RadiosslError
        If a column is missing, nothing is to be learnt from, or a class is too small for the folds.

    See Also
    --------
    radiossl.tables.prediction.predict_table : Apply the forest to a table of any length.

    Examples
    --------
    >>> trained = train_forest("sdss.csv", "class", "forest", columns=["u", "g", "r"])  # doctest: +SKIP
    >>> trained.result.predictions.correct.mean()  # doctest: +SKIP
    """
    check_result_folder(out, __name__)
    file = TableFile(table)
    dimension = file.feature_dimension() if features else 0
    columns, by = one_or_more(columns), one_or_more(by)
    inputs = TableColumns(columns, tuple(colours), resolved, dimension, tuple(missing))
    if label in inputs.needed:
        raise RadiosslError(f"column {label!r} is the label that is to be predicted; leave it out of --columns")
    kept = [name for name in file.names if name.lower() in KEPT]
    wanted = list(dict.fromkeys([*inputs.needed, label, *by, *kept]))
    check_columns(wanted, file.names, str(table))
    whole = file.read(wanted)
    labels = read_labels(whole.column(label).to_pandas().to_numpy(), label, group, grouping)
    inputs.warn_of_markers(whole)
    values = inputs.matrix(whole)
    for name, column in zip(inputs.scalars, values.T, strict=False):
        if np.unique(column[np.isfinite(column)]).size < 2:
            raise RadiosslError(f"column {name!r}: at least two different numbers were expected; leave it out")
    groups = row_groups(whole, group_radius_arcsec, table)
    split: dict[str, Any] = {"folds": folds, "groups": groups, "seed": seed}
    how: dict[str, Any] = {"trees": trees, "min_leaf": min_leaf, "balanced": balanced, "coverage": coverage}
    result = fit_and_test(values, labels, inputs, **split, **how)
    comparison = compare_inputs(values, labels, inputs, seeds=seeds, **split) if compare else None
    mine = values[labels.rows]
    against = {
        name: TableColumns((name,), missing=inputs.missing).matrix(whole)[labels.rows, 0].astype(float) for name in by
    }
    if inputs.resolved:
        against[inputs.scalars[-1]] = mine[:, len(inputs.scalars) - 1].astype(float)
    frame = whole.select(kept).to_pandas().iloc[labels.rows]
    report = write_table_result(result, out, against, frame, comparison)
    return TableTraining(result, comparison, mine, frame, report)
