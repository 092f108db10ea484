"""Calibration against bins filled by hand and temperatures that are known."""

import numpy as np
import pytest
from scipy.special import softmax

from radiossl import RadiosslError
from radiossl.evaluation.calibration import (
    TEMPERATURES,
    Predictions,
    apply_temperature,
    fit_temperature,
    reliability,
)
from radiossl.evaluation.intervals import wilson_interval


def binary(confidences, correct):
    """Predictions of class 0 with these confidences, right or wrong."""
    confidences = np.array(confidences)
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    truth = np.where(correct, 0, 1)
    return Predictions(["a", "b"], truth, probabilities, np.arange(len(truth)))


def test_bins_by_hand():
    result = reliability(binary([0.55, 0.65, 0.7, 0.95, 1.0], [True, False, True, True, False]), bins=5)
    np.testing.assert_allclose(result.edges, [0, 0.2, 0.4, 0.6, 0.8, 1])
    assert result.counts.tolist() == [0, 0, 1, 2, 2]
    np.testing.assert_allclose(result.confidence, [np.nan, np.nan, 0.55, 0.675, 0.975])
    np.testing.assert_allclose(result.accuracy, [np.nan, np.nan, 1, 0.5, 0.5])
    np.testing.assert_allclose([result.low, result.high], wilson_interval([0, 0, 1, 1, 1], [0, 0, 1, 2, 2]))
    assert result.error == pytest.approx((0.45 + 2 * 0.175 + 2 * 0.475) / 5)


def test_error_equals_the_literal_one():
    rng = np.random.default_rng(0)
    probabilities = softmax(2 * rng.normal(size=(300, 3)), axis=1)
    predictions = Predictions(["a", "b", "c"], rng.integers(0, 3, 300), probabilities, np.arange(300))
    confidence, error = probabilities.max(axis=1), 0.0
    for lower in range(10):
        inside = (confidence > lower / 10) & (confidence <= (lower + 1) / 10)
        if inside.any():
            error += inside.mean() * abs(predictions.correct[inside].mean() - confidence[inside].mean())
    assert reliability(predictions).error == pytest.approx(error)


def test_a_confidence_on_an_edge_is_in_the_bin_below():
    assert reliability(binary([0.5, 0.75], [True, True]), bins=4).counts.tolist() == [0, 1, 1, 0]


def test_no_bins_are_refused():
    with pytest.raises(RadiosslError, match="bins must be at least 1"):
        reliability(binary([0.9], [True]), bins=0)


# Temperature ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validation():
    """Logits, and classes that are drawn from the probabilities which the logits give at temperature 1."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(4000, 3))
    truth = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
    return logits, truth


@pytest.mark.parametrize("excess", [0.3, 1, 4])
def test_overconfidence_is_found(validation, excess):
    logits, truth = validation
    assert fit_temperature(excess * logits, truth) == pytest.approx(excess, rel=0.05)


def test_temperature_is_the_best_on_a_grid(validation):
    logits, truth = validation
    grid = np.geomspace(0.5, 2, 400)
    losses = [-np.log(softmax(logits / t, axis=1)[np.arange(4000), truth]).mean() for t in grid]
    assert fit_temperature(logits, truth) == pytest.approx(grid[np.argmin(losses)], rel=0.005)


def test_logarithms_of_probabilities_do_as_well_as_logits(validation):
    logits, truth = validation
    logarithms = np.log(softmax(3 * logits, axis=1))
    assert fit_temperature(logarithms, truth) == pytest.approx(fit_temperature(3 * logits, truth), rel=1e-4)
    np.testing.assert_allclose(apply_temperature(logarithms, 3), softmax(logits, axis=1))


def test_without_an_error_no_temperature_is_too_low():
    assert TEMPERATURES[0] <= fit_temperature(np.eye(3), np.arange(3)) < 0.1


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([[0.0, -np.inf]], "must be finite"),
        ([0.0, 1.0], r"shape \(n, classes\)"),
        (np.zeros((2, 2)), "truth has shape"),
    ],
)
def test_logits_that_do_not_fit_are_refused(logits, message):
    with pytest.raises(RadiosslError, match=message):
        fit_temperature(np.array(logits), np.array([0]))


@pytest.mark.parametrize("temperature", [0, -1, np.nan, np.inf])
def test_impossible_temperature_is_refused(temperature):
    with pytest.raises(RadiosslError, match="must be a positive number"):
        apply_temperature(np.zeros((1, 2)), temperature)
