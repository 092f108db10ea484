"""Scores in bins of a column against every bin scored on its own."""

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import f1_score, recall_score

from radiossl import RadiosslError
from radiossl.evaluation.calibration import Predictions
from radiossl.evaluation.intervals import wilson_interval
from radiossl.evaluation.metric_by_column import metric_by_column


def certain(truth, predicted, classes=("FRI", "FRII", "Hybrid")):
    """Predictions without doubt."""
    probabilities = np.eye(len(classes))[predicted]
    return Predictions(list(classes), np.asarray(truth), probabilities, np.arange(len(truth)))


@pytest.fixture(scope="module")
def many():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    snr = rng.lognormal(2, 1, 600)
    predicted = np.where(rng.random(600) < snr / (snr + 3), truth, rng.integers(0, 3, 600))
    return certain(truth, predicted), snr


@pytest.mark.parametrize("metric", ["f1", "recall", "accuracy"])
def test_scores_equal_those_of_every_bin_on_its_own(many, metric):
    predictions, snr = many
    result = metric_by_column(predictions, snr, edges=[1, 3, 10, 30], metric=metric)
    for number, (lower, upper) in enumerate([(1, 3), (3, 10), (10, 30)]):
        inside = (snr >= lower) & (snr < upper)
        truth, said = predictions.truth[inside], predictions.predicted[inside]
        literal = {
            "f1": f1_score(truth, said, average=None, labels=[0, 1, 2]),
            "recall": recall_score(truth, said, average=None, labels=[0, 1, 2]),
            "accuracy": [(truth == said).mean()],
        }[metric]
        np.testing.assert_allclose(result.scores[:, number], literal)
        assert result.counts[number] == inside.sum()
        assert result.centres[number] == np.median(snr[inside])
    assert result.outside == ((snr < 1) | (snr > 30)).sum()
    assert result.classes == (["all"] if metric == "accuracy" else ["FRI", "FRII", "Hybrid"])
    assert ((result.low <= result.scores) & (result.scores <= result.high)).all()


def test_intervals_of_proportions_are_wilsons(many):
    predictions, snr = many
    result = metric_by_column(predictions, snr, bins=4, metric="recall")
    assert result.trials.sum(axis=1).tolist() == np.bincount(predictions.truth).tolist()
    expected = wilson_interval(np.rint(result.scores * result.trials), result.trials)
    np.testing.assert_allclose([result.low, result.high], expected)


def test_intervals_of_f1_by_hand():
    # FRI: 2 true positives, 1 false positive, 1 false negative: n = 4, J = 1/2, F1 = 4/6; z = 1.
    predictions = certain([0, 0, 0, 1, 2], [0, 0, 1, 0, 2])
    clarke = metric_by_column(predictions, np.arange(5.0), bins=1)
    half = 1 / (1 + 1 / 4) * np.sqrt(1 / 16 + 1 / 64)
    assert clarke.scores[:, 0] == pytest.approx([2 / 3, 0, 1])
    assert clarke.trials[:, 0].tolist() == [4, 2, 1]
    assert (clarke.low[0, 0], clarke.high[0, 0]) == pytest.approx((2 / 3 - half, 2 / 3 + half), abs=1e-4)
    assert clarke.low[1, 0] == 0
    assert clarke.high[2, 0] == 1
    exact = metric_by_column(predictions, np.arange(5.0), bins=1, f1_interval="exact")
    low, high = 0.5 - half, 0.5 + half
    assert (exact.low[0, 0], exact.high[0, 0]) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)), abs=1e-4)


def test_exact_interval_holds_the_true_score_as_often_as_it_says():
    jaccard, trials, inside = 0.8, 400, 0.0
    for found in range(280, 361):  # five standard deviations to both sides
        predictions = certain([0] * trials, [0] * found + [1] * (trials - found), ("a", "b"))
        result = metric_by_column(predictions, np.arange(trials), bins=1, f1_interval="exact")
        if result.low[0, 0] <= 2 * jaccard / (1 + jaccard) <= result.high[0, 0]:
            inside += binom.pmf(found, trials, jaccard)
    assert inside == pytest.approx(0.683, abs=0.03)


def test_quantile_bins_hold_equally_many_and_both_ends(many):
    predictions, snr = many
    result = metric_by_column(predictions, snr, bins=6)
    assert result.counts.tolist() == [100] * 6
    assert (result.missing, result.outside) == (0, 0)


def test_equal_values_share_a_bin():
    result = metric_by_column(certain([0] * 6, [0] * 6), [1, 1, 1, 1, 2, 3], bins=3)
    assert result.edges.tolist() == pytest.approx([1, 4 / 3, 3])
    assert result.counts.tolist() == [4, 2]


def test_unknown_values_are_counted_and_left_out():
    result = metric_by_column(certain([0, 0, 0, 0], [0, 1, 1, 0]), [1, np.nan, np.inf, 2], edges=[0, 1.5, 3, 4])
    assert (result.missing, result.outside) == (2, 0)
    assert result.counts.tolist() == [1, 1, 0]
    np.testing.assert_array_equal(result.scores[0], [1, 1, np.nan])
    assert np.isnan(result.scores[1:]).all()
    assert np.isnan(result.low[1:]).all()
    assert np.isnan(result.centres[2])


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1, 2], {}, "4 predictions, but a column of shape"),
        ([1, 1, 1, np.nan], {}, "at least two different values"),
        ([np.nan] * 4, {}, "at least two different values"),
        ([1, 2, 3, 4], {"bins": 0}, "bins must be at least 1"),
        ([1, 2, 3, 4], {"edges": [2, 1]}, "rising"),
        ([1, 2, 3, 4], {"edges": [2]}, "rising"),
        ([1, 2, 3, 4], {"metric": "F1"}, "choose among"),
        ([1, 2, 3, 4], {"f1_interval": "wald"}, "choose among"),
    ],
)
def test_columns_that_cannot_be_binned_are_refused(values, options, message):
    with pytest.raises(RadiosslError, match=message):
        metric_by_column(certain([0, 0, 1, 1], [0, 1, 1, 1]), values, **options)
