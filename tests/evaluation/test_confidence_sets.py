"""Prediction sets against the definition, and their coverage on objects that nothing was fitted on."""

import numpy as np
import pytest

from radiossl.evaluation.confidence import (
    coverage_table,
    fit_thresholds,
    held_out_sets,
    prediction_sets,
    set_texts,
)


def drawn(rows, seed=0, classes=3):
    """Probabilities that are somewhat right about classes of unequal number."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, rows, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[truth]
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True), truth


def test_thresholds_equal_the_literal_ones():
    probabilities, truth = drawn(200)
    for number, threshold in enumerate(fit_thresholds(probabilities, truth, 0.8)):
        scores = sorted(1 - probabilities[row, number] for row in range(200) if truth[row] == number)
        rank = int(np.ceil((len(scores) + 1) * 0.8))
        assert threshold == scores[rank - 1]


def test_a_class_of_few_can_never_be_excluded():
    thresholds = fit_thresholds(np.full((12, 2), 0.5), np.array([0] * 9 + [1] * 3), 0.9)
    assert np.isfinite(thresholds).tolist() == [True, False]
    assert prediction_sets(np.array([[1.0, 0.0]]), thresholds)[0, 1]


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_hold_the_true_class_as_often_as_asked_for_in_every_class(coverage):
    probabilities, truth = drawn(6000)
    sets = prediction_sets(probabilities[3000:], fit_thresholds(probabilities[:3000], truth[:3000], coverage))
    table = coverage_table(sets, truth[3000:], ["a", "b", "c"]).set_index("class")
    assert table["coverage"].to_numpy() == pytest.approx(coverage, abs=0.04)
    assert table.loc["all", "objects"] == 3000
    assert 1 < table.loc["all", "classes_per_set"] < 3


def test_thresholds_of_a_fold_come_from_the_others():
    probabilities, truth = drawn(300)
    fold = np.arange(300) % 3
    sets = held_out_sets(probabilities, truth, fold, 0.9)
    for number in range(3):
        thresholds = fit_thresholds(probabilities[fold != number], truth[fold != number], 0.9)
        np.testing.assert_array_equal(sets[fold == number], 1 - probabilities[fold == number] <= thresholds)


def test_tables_and_texts_by_hand():
    sets = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
    assert set_texts(sets, ["FRI", "FRII"]) == ["FRI", "FRI|FRII", "none", "FRII"]
    table = coverage_table(sets, np.array([0, 1, 0, 0]), ["FRI", "FRII"])
    assert table.to_numpy().tolist() == [
        ["FRI", 3, pytest.approx(1 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(1 / 3)],
        ["FRII", 1, 1, 2, 0, 0],
        ["all", 4, 0.5, 1, 0.5, 0.25],
    ]
