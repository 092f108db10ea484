"""The measures give what a slow, obvious computation gives."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from radiossl.benchmark.measures import (
    classification,
    few_labels,
    found_first,
    paired_probability,
    rating_ranks,
    retrieval,
    standard_error,
    summarise,
)
from radiossl.evaluation.folds import Split, draw_folds
from radiossl.evaluation.intervals import holm


@pytest.fixture(scope="module")
def two_classes():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 60)
    features = rng.normal(size=(120, 8)).astype(np.float32)
    features[:, 0] += 4 * truth
    features[:, 1] += 3
    return features, truth


def test_separable_classes_are_told_apart_and_random_labels_are_not(two_classes):
    features, truth = two_classes
    groups = np.arange(120)
    splits = draw_folds(truth.astype(str), 5, 2)
    known = {score.measure: score.values.mean() for score in classification(features, truth, groups, splits, 0)}
    shuffled = np.random.default_rng(1).permutation(truth)
    guessed = {score.measure: score.values.mean() for score in classification(features, shuffled, groups, splits, 0)}
    assert list(known) == ["20 neighbours", "20 neighbours, whitened", "regression"]
    assert all(value > 0.9 for value in known.values())
    assert all(0.3 < value < 0.7 for value in guessed.values())


def test_neighbours_vote_by_their_similarity():
    # 11 far neighbours of class 0 against 9 near ones of class 1: a plain majority would say 0.
    far = np.stack([[np.cos(1.5), np.sin(1.5)]] * 11)
    near = np.stack([[1.0, 0.01 * number] for number in range(9)])
    features = np.concatenate([far, near, [[1.0, 0.0]]]).astype(np.float32)
    truth = np.array([0] * 11 + [1] * 9 + [1])
    split = Split(np.arange(20), np.array([20]))
    assert classification(features, truth, np.arange(21), [split], 0)[0].values == [1.0]


def test_few_labels_are_drawn_of_every_class_and_more_of_them_are_better(two_classes):
    features, truth = two_classes
    noisy = features + np.random.default_rng(2).normal(scale=2, size=features.shape).astype(np.float32)
    splits = draw_folds(truth.astype(str), 5, 3)
    few, many = few_labels(noisy, truth, np.arange(120), splits, (4, 90), 0)
    assert few.measure == "regression, 4 labels"
    assert 0.5 < few.values.mean() < many.values.mean()


def test_retrieval_counts_the_ten_nearest_by_class(two_classes):
    features, truth = two_classes
    scores = retrieval(features, truth, ["FRI", "FRII"], np.arange(120))
    vectors = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = []
    for row in range(120):
        order = [other for other in np.argsort(-vectors @ vectors[row]) if other != row][:10]
        expected.append(np.mean(truth[order] == truth[row]))
    np.testing.assert_allclose(scores[0].values, expected[:60])
    np.testing.assert_allclose(scores[1].values, expected[60:])
    assert scores[1].measure == "FRII among the 10 nearest"


def test_originals_are_found_by_rank_and_equal_images_find_nothing():
    originals = np.eye(5, dtype=np.float32)
    changed = originals[[3, 1]] + 0.1
    changed[1] = [0, 0.8, 1, 0, 0]  # nearer to 2 than to its own
    rows = np.array([3, 1])
    assert found_first(originals, changed, rows, 1, False).tolist() == [1, 0]
    assert found_first(originals, changed, rows, 2, False).tolist() == [1, 1]
    assert found_first(np.ones((5, 3), np.float32), np.ones((5, 3), np.float32), np.arange(5), 1, False).sum() == 0


def test_centring_brings_two_surveys_together():
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(40, 6)).astype(np.float32)
    other = originals + 20  # all images of one survey differ from the other's in the same way
    assert found_first(originals, other, np.arange(40), 1, True).all()
    assert found_first(originals, other, np.arange(40), 1, False).mean() < 0.5


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    from radiossl.features.table import FeatureTable
    from radiossl.ratings.active_learning import Rated, learn, rating_space

    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 6)).astype(np.float32)
    ratings = np.clip(np.round(3 + features[:, 0]), 1, 5)
    columns = pa.table({"cutout_id": [str(row) for row in range(80)]})
    good = ratings >= 4
    ranks = rating_ranks(features, columns, (), ratings, good, 30, 1, 0)
    order = np.random.default_rng([0, 0]).permutation(80)
    rated, rest = order[:30], order[30:]
    space = rating_space(FeatureTable(columns, features))
    rank = learn(space, Rated(rated, ratings[rated], np.zeros(80))).rating
    assert ranks.mean() == pytest.approx(roc_auc_score(good[rest], rank[rest]))


def test_errors_grow_where_objects_are_repeated():
    values = np.random.default_rng(0).integers(0, 2, 200).astype(float)
    single = standard_error(values, np.arange(200))
    assert single == pytest.approx(values.std() / np.sqrt(200))
    assert standard_error(np.repeat(values, 2), np.repeat(np.arange(200), 2)) == pytest.approx(single)


def test_chance_and_difference_are_told_apart():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=300)
    assert paired_probability(noise - noise.mean(), np.arange(300)) > 0.99
    assert paired_probability(noise + 0.5, np.arange(300)) < 1e-6
    assert paired_probability(np.zeros(9), np.arange(9)) == 1.0


def test_holm_is_the_step_down_rule():
    # Holm (1979) by hand: 0.01 x 4, 0.02 x 3, max(0.02 x 3, 0.03 x 2), 0.5
    np.testing.assert_allclose(holm([0.5, 0.01, 0.03, 0.02]), [0.5, 0.04, 0.06, 0.06])


def test_initialisations_are_averaged_and_compared_on_the_same_objects(two_classes):
    from radiossl.benchmark.measures import Score

    groups = np.arange(50)
    half, ones = np.tile([0.0, 1.0], 25), np.ones(50)
    scores = {("fields", "regression"): {"mine": [Score("regression", ones, groups)]}}
    scores["fields", "regression"]["random weights"] = [
        Score("regression", half, groups),
        Score("regression", ones, groups),
    ]
    frame = summarise(scores, "random weights").set_index("method")
    assert frame.loc["random weights", ["score", "lowest", "highest"]].tolist() == [0.75, 0.5, 1.0]
    assert frame.loc["mine", "difference"] == 0.25
    assert frame.loc["mine", "probability"] < 1e-6
    assert np.isnan(frame.loc["random weights", "probability"])
