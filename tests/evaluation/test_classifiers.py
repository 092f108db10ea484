"""The classifiers that are evaluated, against their literal versions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as SklearnRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from radiossl.evaluation import shared_features
from radiossl.evaluation.calibration import Predictions, log_probabilities, reliability
from radiossl.evaluation.classifiers import (
    Calibrated,
    LinearLayer,
    LogisticRegression,
    Majority,
    NearestNeighbours,
    RandomForest,
    inner_folds,
)
from radiossl.evaluation.shared_features import image_moments, raw_pixels
from radiossl.images.preprocess import Preprocessing


@pytest.fixture(scope="module")
def blobs():
    """Two classes of features that overlap a little, and their rows."""
    rng = np.random.default_rng(0)
    truth = np.arange(120) % 2
    features = rng.normal(0, 1, (120, 6)) + np.where(truth == 0, -0.7, 0.7)[:, None]
    return features.astype(np.float32), truth, np.arange(80), np.arange(80, 120)


def literal_votes(features, truth, train, test, k, classes=2):
    """Sums of the cosine similarities of the nearest neighbours of each class, one row at a time."""
    votes = np.zeros((len(test), classes))
    for row, query in enumerate(features[test].astype(float)):
        lengths = np.linalg.norm(features[train], axis=1) * np.linalg.norm(query)
        cosines = features[train].astype(float) @ query / lengths
        for place in np.argsort(-cosines)[:k]:
            votes[row, truth[train][place]] += max(cosines[place], 0)
    return votes / votes.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 7, 20])
def test_neighbours_vote_by_similarity(blobs, k):
    features, truth, train, test = blobs
    expected = literal_votes(features, truth, train, test, k)
    np.testing.assert_allclose(NearestNeighbours(features, truth, 2, k)(train, test, 0), expected, atol=1e-6)
    most = KNeighborsClassifier(k, metric="cosine").fit(features[train], truth[train]).predict_proba(features[test])
    clear = np.abs(most[:, 0] - 0.5) > 0.15  # where the count is clear, so is the weighted vote
    assert (most.argmax(axis=1) == expected.argmax(axis=1))[clear].all()


def test_accuracies_do_not_depend_on_the_names_of_the_classes(blobs):
    """Of 20 neighbours and two classes, ties of the count went to the class of the lower number."""
    features, truth, train, test = blobs
    for features_ in (features, np.ones_like(features)):  # ordinary ones, and those of a network that has collapsed
        one = NearestNeighbours(features_, truth, 2, 20)(train, test, 0).argmax(axis=1)
        other = NearestNeighbours(features_, 1 - truth, 2, 20)(train, test, 0).argmax(axis=1)
        np.testing.assert_array_equal(one, 1 - other)


def test_neighbours_on_the_other_side_share_the_vote():
    features = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, -0.1], [-1.0, 0.0]])
    votes = NearestNeighbours(features, np.array([0, 0, 1, 1]), 2, 3)(np.arange(3), np.array([3]), 0)
    np.testing.assert_allclose(votes, [[2 / 3, 1 / 3]], atol=1e-6)


def test_more_neighbours_than_objects_are_all_of_them(blobs):
    features, truth, train, test = blobs
    probabilities = NearestNeighbours(features, truth, 2, 1000)(train[:9], test, 0)
    np.testing.assert_allclose(probabilities, literal_votes(features, truth, train[:9], test, 9), atol=1e-6)


def test_whitened_components_hear_quiet_directions(blobs):
    features, truth, train, test = blobs
    loud = np.random.default_rng(1).normal(0, 300, (120, 2)).astype(np.float32)
    buried = np.concatenate([loud, features], axis=1)

    def accuracy(components: int | None) -> float:
        votes = NearestNeighbours(buried, truth, 2, 7, components)(train, test, 0)
        return (votes.argmax(axis=1) == truth[test]).mean()

    assert accuracy(None) < 0.7
    assert accuracy(8) > 0.8
    # By hand: decorrelated and scaled to unit variance by all rows but the tested ones.
    others = buried[:80].astype(float)
    values, vectors = np.linalg.eigh(np.cov(others.T))
    white = (buried - others.mean(axis=0)) @ vectors / np.sqrt(values)
    expected = NearestNeighbours(white, truth, 2, 7)(train, test, 0)
    np.testing.assert_allclose(NearestNeighbours(buried, truth, 2, 7, 8)(train, test, 0), expected, atol=1e-4)


def test_whitening_takes_no_more_components_than_there_are(blobs):
    features, truth, train, test = blobs
    every = NearestNeighbours(features, truth, 2, 7, 6)(train, test, 0)
    np.testing.assert_allclose(NearestNeighbours(features, truth, 2, 7, 5000)(train, test, 0), every, atol=1e-4)


def test_tested_rows_do_not_whiten_themselves(blobs):
    features, truth, train, test = blobs
    elsewhere = features.copy()
    elsewhere[test[1:]] += 1e4
    rows = np.concatenate([train, test[:1]])
    kept = NearestNeighbours(elsewhere, truth, 2, 7, 3)(train, test, 0)[:1]
    by_hand = NearestNeighbours(features[rows], truth[rows], 2, 7, 3)(train, np.array([80]), 0)
    np.testing.assert_allclose(kept, by_hand, atol=1e-4)


def test_a_class_that_was_not_seen_has_probability_zero(blobs):
    features, truth, train, test = blobs
    for method in (NearestNeighbours, LogisticRegression, RandomForest):
        probabilities = method(features, truth, 5)(train, test, 0)
        assert probabilities.shape == (40, 5)
        assert (probabilities[:, 2:] == 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_regression_is_that_of_scikit_learn_on_standardised_features(blobs):
    features, truth, train, test = blobs
    scaler = StandardScaler().fit(features[train])
    model = SklearnRegression(C=0.3, max_iter=500).fit(scaler.transform(features[train]), truth[train])
    expected = model.predict_proba(scaler.transform(features[test]))
    np.testing.assert_allclose(LogisticRegression(features, truth, 2, 0.3)(train, test, 0), expected, atol=1e-9)


def test_regression_on_a_single_class_is_sure_of_it(blobs):
    features, truth, train, test = blobs
    only = train[truth[train] == 1]
    np.testing.assert_allclose(LogisticRegression(features, truth, 2, 0.3)(only, test, 0), np.tile([0.0, 1.0], (40, 1)))


def test_inner_folds_choose_what_is_better_without_the_tested_rows(blobs):
    """The nearest neighbour alone is best where every object has a twin; many are best where labels are noisy."""
    rng = np.random.default_rng(1)
    points = np.repeat(rng.normal(size=(60, 4)), 2, axis=0)
    labels = np.repeat(rng.integers(0, 2, 60), 2)
    chosen = NearestNeighbours(points, labels, 2, None)
    assert set(np.unique(chosen(np.arange(100), np.arange(100, 120), 0))) <= {0.0, 1.0}  # k = 1
    features, truth, train, test = blobs
    noisy = truth.copy()
    noisy[train[::3]] ^= 1
    many = NearestNeighbours(features, noisy, 2, None)(train, test, 0)
    assert len(np.unique(many)) > 2
    poisoned = noisy.copy()
    poisoned[test] ^= 1  # the tested labels play no part
    np.testing.assert_array_equal(NearestNeighbours(features, poisoned, 2, None)(train, test, 0), many)


class Boaster:
    """Is right three times out of four, and always quite sure."""

    def __init__(self, truth):
        self.truth, self.learnt = truth, None

    def __call__(self, train, test, seed):
        self.learnt = train
        said = np.where(test % 4 == 0, 1 - self.truth[test], self.truth[test])
        return np.where(np.eye(2)[said] == 1, 0.999, 0.001)


def test_a_temperature_takes_a_boaster_down_to_what_he_is(blobs):
    truth = np.arange(800) // 2 % 2
    boaster = Boaster(truth)
    train, test = np.arange(400), np.arange(400, 800)
    probabilities = Calibrated(boaster, truth)(train, test, 0)
    assert probabilities.max(axis=1).mean() == pytest.approx(0.75, abs=0.05)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), boaster(train, test, 0).argmax(axis=1))
    Calibrated(boaster, truth)(train, test, 0)
    assert len(boaster.learnt) == 320
    assert set(boaster.learnt) < set(train)
    few = Calibrated(boaster, truth)(np.array([0, 2, 4]), test, 0)
    assert few.max() == 0.999, "too few to divide"


def test_the_layer_learns_and_does_the_same_again(blobs):
    features, truth, train, test = blobs
    views = np.stack([features + 0.01 * number for number in range(8)])
    layer = LinearLayer(views, truth, 2, averaged=True)
    first = layer(train, test, 3)
    assert ((first.argmax(axis=1) == truth[test]).mean()) > 0.85
    np.testing.assert_array_equal(layer(train, test, 3), first)
    np.testing.assert_allclose(first.sum(axis=1), 1)
    single = LinearLayer(views, truth, 2, averaged=False)(train, test, 3)
    assert np.abs(single - first).max() > 1e-4


def test_large_raw_pixels_are_averaged_to_64(small_store, monkeypatch):
    monkeypatch.setattr(shared_features, "_BATCH", 8)
    preprocessing = Preprocessing(mode="min-max", size=128)
    flat = raw_pixels(preprocessing, small_store)
    images = preprocessing.of_arrays([small_store.pixels(row) for row in range(24)]).numpy()
    expected = images.reshape(24, 64, 2, 64, 2).mean(axis=(2, 4)).reshape(24, -1)
    np.testing.assert_allclose(flat, expected, rtol=0, atol=1e-6)


def test_moments_do_not_change_with_orientation_and_tell_long_from_round(store_of):
    y, x = np.indices((64, 64)) - 31.5

    def gaussian(a, b):
        return np.exp(-((x / a) ** 2 + (y / b) ** 2) / 2).astype(np.float32)

    long, round_ = gaussian(12, 3), gaussian(6, 6)
    moments = image_moments(Preprocessing(mode="min-max", size=64), store_of([long, long.T.copy(), round_]))
    assert moments.shape == (3, 17)
    np.testing.assert_allclose(moments[0], moments[1], rtol=1e-4, atol=1e-4)
    assert moments[0, 4] > 0.8 > 0.1 > moments[2, 4]  # ellipticity


def test_moments_of_a_blank_image_are_zero(store_of):
    blank = store_of([np.full((32, 32), np.nan, np.float32)])
    assert (image_moments(Preprocessing(size=32), blank) == 0).all()


# Sources that the rows share ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twins():
    """Each of 100 sources three times; a source is known by its copies, and its class hardly by other sources."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(100) % 2, 3)
    sources = rng.normal(size=(100, 12)) + 0.3 * np.where(np.arange(100) % 2, 1, -1)[:, None]
    features = np.repeat(sources, 3, axis=0) + rng.normal(0, 0.01, (300, 12))
    return features, truth, np.repeat(np.arange(100), 3)


def test_inner_folds_keep_the_copies_of_a_source_together(twins):
    features, truth, groups = twins
    train = np.arange(240)
    for split in inner_folds(truth, train, groups, 0):
        assert not set(groups[split.train]) & set(groups[split.test])
        assert set(split.train) | set(split.test) == set(train)
    assert len(inner_folds(truth, train, groups, 0)) == 5
    apart = inner_folds(truth, train, None, 0)
    assert any(set(groups[split.train]) & set(groups[split.test]) for split in apart)
    # By copies on the other side one neighbour would be best, which is right for no new source.
    votes = NearestNeighbours(features, truth, 2, None, groups=groups)(train, np.arange(240, 300), 0)
    alone = NearestNeighbours(features, truth, 2, None)(train, np.arange(240, 300), 0)
    assert set(alone.max(axis=1).round(3)) == {1.0}
    assert votes.max(axis=1).mean() < 0.9


def test_a_temperature_is_fitted_on_other_sources(twins):
    features, truth, groups = twins
    train, test = np.arange(240), np.arange(240, 300)
    expected = {}
    for name, given in (("together", groups), ("apart", None)):
        estimator = Calibrated(NearestNeighbours(features, truth, 2, 3), truth, given)
        probabilities = estimator(train, test, 0)
        expected[name] = reliability(Predictions(["a", "b"], truth[test], probabilities, test)).error
    assert expected["together"] < 0.15 < expected["apart"]


def test_probabilities_of_zero_are_no_obstacle_to_a_temperature(blobs):
    features, truth, train, test = blobs
    for estimator in (NearestNeighbours(features, truth, 2, 5), RandomForest(features, truth, 2), Majority(truth, 3)):
        raw, calibrated = estimator(train, test, 0), Calibrated(estimator, truth)(train, test, 0)
        assert (raw == 0).any()
        assert np.isfinite(calibrated).all()
        np.testing.assert_allclose(calibrated.sum(axis=1), 1)


def test_no_logarithm_is_below_laplaces_rule():
    found = np.exp(log_probabilities(np.array([[0.0, 1.0, 0.0], [0.5, 0.2, 0.3]]), 17))
    np.testing.assert_allclose(found, [[0.05, 1, 0.05], [0.5, 0.2, 0.3]])
