"""Scores against counts by hand and against scikit-learn."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as reference
from scipy.special import softmax

from radiossl import RadiosslError
from radiossl.evaluation.calibration import Predictions, reliability
from radiossl.evaluation.metrics import (
    classification_metrics,
    confusion_matrix,
    precision_recall_points,
    roc_points,
    smoothed,
)


@pytest.fixture(scope="module")
def three():
    rng = np.random.default_rng(0)
    truth = rng.choice(3, 200, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(200, 3))
    logits[np.arange(200), truth] += 1
    return Predictions(["Bent", "FRI", "FRII"], truth, softmax(logits, axis=1), np.arange(200))


@pytest.fixture(scope="module")
def absent():
    """Three objects of two classes; the third class has none, but is predicted once, and FRII never."""
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    return Predictions(["FRI", "FRII", "Hybrid"], np.array([0, 0, 1]), probabilities, np.arange(3))


def test_matrix_by_hand(absent):
    assert confusion_matrix(absent).tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_metrics_equal_sklearns(three):
    metrics = classification_metrics(three)
    truth, said, probabilities = three.truth, three.predicted, three.probabilities
    columns = reference.precision_recall_fscore_support(truth, said)
    for name, values in zip(["precision", "recall", "f1", "support"], columns, strict=True):
        assert [metrics[f"{name}[{c}]"] for c in three.classes] == pytest.approx(values)
    assert metrics["accuracy"] == pytest.approx(reference.accuracy_score(truth, said))
    assert metrics["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(truth, said))
    assert metrics["macro_f1"] == pytest.approx(reference.f1_score(truth, said, average="macro"))
    assert metrics["log_loss"] == pytest.approx(reference.log_loss(truth, probabilities))
    macro = reference.roc_auc_score(truth, probabilities, multi_class="ovr")
    assert metrics["macro_roc_auc"] == pytest.approx(macro)
    for row, name in enumerate(three.classes):
        area = reference.roc_auc_score(truth == row, probabilities[:, row])
        average = reference.average_precision_score(truth == row, probabilities[:, row])
        assert metrics[f"roc_auc[{name}]"] == pytest.approx(area)
        assert metrics[f"average_precision[{name}]"] == pytest.approx(average)
    assert metrics["ece"] == reliability(three).error
    assert all(type(value) is float for value in metrics.values())


def test_what_is_not_defined_is_nan_without_a_warning(absent):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = classification_metrics(absent)
    assert {name for name, value in metrics.items() if np.isnan(value)} == {
        "precision[FRII]",
        "recall[Hybrid]",
        "f1[Hybrid]",
        "roc_auc[Hybrid]",
        "average_precision[Hybrid]",
    }
    assert metrics["support[Hybrid]"] == metrics["precision[Hybrid]"] == metrics["f1[FRII]"] == 0
    assert metrics["balanced_accuracy"] == pytest.approx((0.5 + 0) / 2)
    assert metrics["macro_f1"] == pytest.approx((2 / 4 + 0) / 2)
    # FRI: 0.8 and 0.1 against 0.5: one pair of two in order. FRII: 0.3 above both others.
    assert metrics["macro_roc_auc"] == pytest.approx((0.5 + 1) / 2)
    assert metrics["log_loss"] == pytest.approx(-np.log([0.8, 0.1, 0.3]).mean())
    assert metrics["brier"] == pytest.approx(((0.04 + 0.01 + 0.01) + (0.81 + 0.04 + 0.49) + (0.25 + 0.49 + 0.04)) / 3)


def test_a_single_class_has_no_roc_curve():
    one = Predictions(["a", "b"], np.zeros(2, int), np.array([[1.0, 0.0], [0.0, 1.0]]), np.arange(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = classification_metrics(one)
    assert np.isnan(metrics["macro_roc_auc"])
    assert metrics["log_loss"] == pytest.approx(-np.log(np.finfo(float).eps) / 2)  # finite for a probability of 0
    assert roc_points(one) == {}
    assert list(precision_recall_points(one)) == ["a"]


def test_curves_pass_through_the_points_of_every_threshold(three):
    positive, probability = three.truth == 1, three.probabilities[:, 1]
    roc, curve = roc_points(three)["FRI"], precision_recall_points(three)["FRI"]
    for false_rate, true_rate, threshold in zip(
        roc.false_positive_rate, roc.true_positive_rate, roc.thresholds, strict=True
    ):
        passed = probability >= threshold
        assert (false_rate, true_rate) == pytest.approx((passed[~positive].mean(), passed[positive].mean()))
    for recall, precision, threshold in zip(curve.recall, curve.precision, curve.thresholds, strict=False):
        passed = probability >= threshold
        assert (recall, precision) == pytest.approx((passed[positive].mean(), positive[passed].mean()))
    assert curve.prevalence == positive.mean()


# Smoothing ------------------------------------------------------------------------------------------------------------


def test_smoothing_by_hand():
    np.testing.assert_allclose(
        smoothed([1, 2, 4], 0.5), [1, (1 / 4 + 2 / 2) / (3 / 4), (1 / 8 + 2 / 4 + 4 / 2) / (7 / 8)]
    )
    np.testing.assert_allclose(smoothed([3, 1, 2], 0), [3, 1, 2])
    assert smoothed([]).shape == (0,)


def test_smoothing_equals_pandas_and_passes_over_nan():
    values = np.random.default_rng(0).random(50)
    values[[0, 7, 8, 30]] = np.nan
    expected = pd.Series(values).ewm(alpha=0.3, adjust=True, ignore_na=True).mean().where(~np.isnan(values))
    np.testing.assert_allclose(smoothed(values), expected)


@pytest.mark.parametrize(("values", "constant"), [([1, 2], 1), ([1, 2], -0.1), ([[1, 2]], 0.7)])
def test_impossible_smoothing_is_refused(values, constant):
    with pytest.raises(RadiosslError, match="expected one series and a constant"):
        smoothed(values, constant)
