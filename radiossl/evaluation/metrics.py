"""Scores of a classifier on a test set: one number each, curves over all thresholds, and smoothed series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from radiossl.evaluation.calibration import Predictions, reliability
from radiossl.io.errors import RadiosslError


@dataclass(frozen=True)
class RocCurve:
    """Completeness of one class against the contamination let in from the others."""

    false_positive_rate: NDArray[np.float64]  # of the objects of all other classes, rising from 0 to 1, shape (m,)
    true_positive_rate: NDArray[np.float64]  # of the objects of the class, shape (m,)
    thresholds: NDArray[np.float64]  # probability needed to pass; infinite for the first point, which nothing passes
    area: float  # 0.5 for a random classifier


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Reliability of one class against its completeness, from the lowest threshold to the highest.

    The last point, recall 0 and precision 1, belongs to no threshold.
    """

    recall: NDArray[np.float64]  # completeness, shape (m,)
    precision: NDArray[np.float64]  # reliability, shape (m,)
    thresholds: NDArray[np.float64]  # probability needed to pass, shape (m - 1,)
    average_precision: float  # sum over the steps of the gain in recall times the precision
    prevalence: float  # fraction of all objects that are of the class: precision of a random classifier


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """Count predicted classes (columns) of every true class (rows), shape (classes, classes)."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(predictions.truth, predictions.predicted, labels=range(len(predictions.classes)))


def classification_metrics(predictions: Predictions) -> dict[str, float]:
    """Return all single-number scores of a classifier.

    ``accuracy``; ``balanced_accuracy``, the mean recall; ``macro_f1``; ``macro_roc_auc``; ``ece``, the expected
    calibration error over 10 bins; ``log_loss``, in nats, of probabilities raised to at least 2.2e-16; ``brier``,
    summed over the classes as in Brier (1950), so that it goes from 0 to 2; and for each class, as in ``recall[FRI]``,
    ``precision``, ``recall``, ``f1``, ``support`` (objects), ``roc_auc`` (against all others) and
    ``average_precision``.

    What is not defined is NaN: everything but the support and the precision for a class without objects, the precision
    of a class that was never predicted, and the area under the ROC curve where no object is of another class. Means
    over classes are over those with objects.
    """
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(
        predictions.truth, predictions.predicted, labels=range(len(predictions.classes)), zero_division=np.nan
    )
    each = dict(zip(("precision", "recall", "f1", "support"), columns, strict=True))
    exists = each["support"] > 0
    each["f1"][~exists] = np.nan
    roc, curves = roc_points(predictions), precision_recall_points(predictions)
    areas = {name: curve.area for name, curve in roc.items()}
    probability = predictions.probabilities[np.arange(len(predictions)), predictions.truth]
    ideal = np.eye(len(predictions.classes))[predictions.truth]
    metrics = {
        "accuracy": float(predictions.correct.mean()),
        "balanced_accuracy": float(each["recall"][exists].mean()),
        "macro_f1": float(each["f1"][exists].mean()),
        "macro_roc_auc": float(np.mean(list(areas.values()))) if areas else float("nan"),
        "ece": reliability(predictions).error,
        "log_loss": float(-np.log(np.maximum(probability, np.finfo(np.float64).eps)).mean()),
        "brier": float(((predictions.probabilities - ideal) ** 2).sum(axis=1).mean()),
    }
    for row, name in enumerate(predictions.classes):
        metrics |= {f"{score}[{name}]": float(values[row]) for score, values in each.items()}
        metrics[f"roc_auc[{name}]"] = areas.get(name, float("nan"))
        metrics[f"average_precision[{name}]"] = curves[name].average_precision if name in curves else float("nan")
    return metrics


def roc_points(predictions: Predictions) -> dict[str, RocCurve]:
    """ROC curve of every class against all others; classes that have no object, or all of them, have none."""
    from sklearn.metrics import auc, roc_curve

    curves = {}
    for row, name in enumerate(predictions.classes):
        positive = predictions.truth == row
        if positive.any() and not positive.all():
            false_rate, true_rate, thresholds = roc_curve(positive, predictions.probabilities[:, row])
            curves[name] = RocCurve(false_rate, true_rate, thresholds, float(auc(false_rate, true_rate)))
    return curves


def precision_recall_points(predictions: Predictions) -> dict[str, PrecisionRecallCurve]:
    """Precision against recall of every class that has objects."""
    from sklearn.metrics import precision_recall_curve

    curves = {}
    for row, name in enumerate(predictions.classes):
        positive = predictions.truth == row
        if positive.any():
            precision, recall, thresholds = precision_recall_curve(positive, predictions.probabilities[:, row])
            average = float(-(np.diff(recall) * precision[:-1]).sum())
            curves[name] = PrecisionRecallCurve(recall, precision, thresholds, average, float(positive.mean()))
    return curves


def smoothed(values: ArrayLike, constant: float = 0.7) -> NDArray[np.float64]:
    """Exponential moving average of a series, such as validation accuracies of successive epochs; NaN stays NaN.

    Figure 5 of Slijepcevic et al. (2022) is "smoothed with an EMA constant of 0.7". As in training dashboards this is
    taken for the weight of the past, from 0 (no smoothing) to below 1, and the average is divided by the sum of its
    weights, so that the start of the series is not drawn towards its first value.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or not 0 <= constant < 1:
        raise RadiosslError(
            f"smoothing: expected one series and a constant from 0 to below 1, not shape {series.shape} and {constant}"
        )
    average = pd.Series(series).ewm(alpha=1 - constant, ignore_na=True).mean()
    return np.where(np.isnan(series), np.nan, average)
