import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import norm

from benchmarks.rate_mgcls import ranking_quality
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.ratings import active_learning
from radiossl.ratings.active_learning import (
    METHODS,
    Prediction,
    Rated,
    acquisition,
    blended_score,
    choose,
    learn,
    nearest_distance,
    rated_objects,
    rating_space,
)
from radiossl.ratings.ranking import crossvalidated_quality


def _table(features, **columns):
    columns = {"cutout_id": [f"s{i}" for i in range(len(features))], **columns}
    return FeatureTable(pa.table(columns), np.asarray(features, np.float32))


@pytest.fixture(scope="module")
def clouds():
    """Three clouds of 40 objects in 6 dimensions; only the last is interesting."""
    rng = np.random.default_rng(0)
    centres = 2 * np.eye(6)[[0, 1, 2]]
    features = np.concatenate([rng.normal(centre, 0.2, (40, 6)) for centre in centres])
    return _table(features), np.repeat([1.0, 2.0, 5.0], 40)


# The space ------------------------------------------------------------------------------------------------------------


def test_the_space_is_that_of_scikit_learns_pca_on_unit_features_whatever_the_batches(monkeypatch):
    from sklearn.decomposition import PCA

    features = np.random.default_rng(1).normal(1, 1, (50, 5)).astype(np.float32)
    monkeypatch.setattr(active_learning, "_BATCH", 7)
    ours = rating_space(_table(features), dimensions=3)
    slow = PCA(3).fit_transform(features / np.linalg.norm(features, axis=1, keepdims=True))
    slow /= np.sqrt(slow.var(axis=0).sum())
    assert ours.dtype == np.float32
    assert np.abs(ours) == pytest.approx(np.abs(slow), abs=1e-4)
    assert ours.var(axis=0).sum() == pytest.approx(1, abs=1e-4)


def test_a_further_column_counts_as_much_as_all_features_and_unknown_is_the_mean():
    features = np.random.default_rng(1).normal(0, 1, (4, 3))
    table = _table(features, size=[1.0, 100.0, np.nan, 10.0], depth=[-1.0, 1.0, 0.0, 0.0])
    space = rating_space(table, ["size", "depth"], dimensions=2)
    # log10 0, 2, 1: mean 1, standard deviation sqrt(2/3)
    assert space[:, 2] == pytest.approx([-np.sqrt(1.5), np.sqrt(1.5), 0, 0])
    assert space[:, 3] == pytest.approx([-np.sqrt(2), np.sqrt(2), 0, 0])  # no logarithm where there is a negative value


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], ["a", "b", "c"], [np.nan, 2.0, np.nan]])
def test_a_column_that_says_nothing_is_refused(values):
    with pytest.raises(RadiosslError, match="--columns size"):
        rating_space(_table(np.eye(3), size=values), ["size"])


@pytest.mark.parametrize("features", [np.ones((3, 2)), np.full((3, 2), np.nan), np.empty((0, 2))])
def test_features_that_say_nothing_are_refused(features):
    with pytest.raises(RadiosslError, match="feature"):
        rating_space(_table(features))


def test_rated_objects_are_found_by_id():
    ratings = pd.Series({"s2": 5.0, "elsewhere": 1.0, "s0": 2.0})
    rated = rated_objects(_table(np.eye(3)), ratings, np.ones(3))
    assert rated.rows.tolist() == [0, 2]
    assert rated.ratings.tolist() == [2.0, 5.0]
    with pytest.raises(RadiosslError, match="none of the 1 rated objects, such as 'x'"):
        rated_objects(_table(np.eye(3)), pd.Series({"x": 5.0}), np.ones(3))


# Astronomaly's score --------------------------------------------------------------------------------------------------


def test_the_blended_score_by_hand():
    # On a rated object: 0.8 * tanh(0 + arctanh(0.1 + 0.85 * 3 / 5)) = 0.8 * 0.61
    # At twice the mean distance (d = 2, d0 = 1): 0.5 * tanh(e^2 - 1 + arctanh(0.1 + 0.85 * 5 / 5))
    score = blended_score(np.array([0.8, 0.5]), np.array([3.0, 5.0]), np.array([0.0, 2.0]))
    assert score[0] == pytest.approx(0.8 * 0.61)
    assert score[1] == pytest.approx(0.5 * np.tanh(np.exp(2) - 1 + np.arctanh(0.95)))


def test_far_from_all_ratings_the_starting_score_stays():
    distance = np.concatenate([np.zeros(10_000), [1.0]])  # 10,001 times the mean: must not overflow
    score = blended_score(np.full(10_001, 0.7), np.ones(10_001), distance)
    assert score[-1] == pytest.approx(0.7)
    assert score[0] == pytest.approx(0.7 * (0.1 + 0.85 / 5))


def test_the_nearest_distance_is_that_of_a_loop(monkeypatch):
    monkeypatch.setattr(active_learning, "_BATCH", 4)
    space = np.random.default_rng(0).normal(size=(11, 3)).astype(np.float32)
    slow = [min(np.linalg.norm(one - other) for other in space[[2, 7]]) for one in space]
    assert nearest_distance(space, space[[2, 7]]) == pytest.approx(slow, abs=1e-5)


# Learning -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_few_ratings_bring_their_like_to_the_top(clouds, method):
    table, truth = clouds
    rows = np.arange(0, 120, 10)
    prediction = learn(rating_space(table), Rated(rows, truth[rows], np.ones(120)), method=method)
    if method == "blend":  # far from all ratings all stay as they were
        assert prediction.score[80:].mean() > prediction.score[:80].mean()
        assert prediction.score[rows[8:]].min() > 1.5 * prediction.score[rows[:8]].max()
    else:
        assert np.sort(np.argsort(-prediction.score)[:40]).tolist() == list(range(80, 120))
    assert prediction.rating[80:].min() > prediction.rating[:80].max()
    assert (prediction.spread >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_prediction_and_batches_change_nothing(clouds, method, monkeypatch):
    table, truth = clouds
    rows, starting = np.arange(0, 120, 10), np.linspace(1, 0.5, 120)
    space = rating_space(table)
    whole = learn(space, Rated(rows, truth[rows], starting), method=method, seed=3)
    plain = active_learning._batches
    monkeypatch.setattr(active_learning, "_batches", lambda number, size=0: plain(number, 13))
    parts = learn(space, Rated(rows, truth[rows], starting), method=method, seed=3)
    assert parts.score == pytest.approx(whole.score, abs=1e-5)
    assert parts.spread == pytest.approx(whole.spread, abs=1e-5)


@pytest.mark.parametrize("method", ["gp", "linear"])
def test_less_is_known_far_from_the_ratings(clouds, method):
    table, truth = clouds
    rows = np.arange(0, 80, 4)  # none in the last cloud
    prediction = learn(rating_space(table), Rated(rows, 2 * truth[rows], np.ones(120)), method=method)
    assert prediction.spread[80:].mean() > 1.2 * prediction.spread[:80].mean()


def test_the_gaussian_process_is_the_textbooks(clouds):
    """Mean and spread against Rasmussen & Williams (2006), equations 2.25 and 2.26, with the kernel that was fitted."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    table, truth = clouds
    space = rating_space(table).astype(np.float64)
    rows = np.arange(0, 120, 7)
    ratings = truth[rows] + np.random.default_rng(0).normal(0, 0.6, len(rows))
    prediction = learn(space.astype(np.float32), Rated(rows, ratings, np.ones(120)), method="gp")
    fitted = GaussianProcessRegressor(
        ConstantKernel(1.0, (1e-2, 1e2)) * Matern(1.0, (0.1, 30.0), nu=1.5) + WhiteKernel(0.5, (1e-2, 1e1)),
        normalize_y=True,
    ).fit(space[rows], ratings)
    signal, noise = fitted.kernel_.k1, fitted.kernel_.k2.noise_level
    scaled = (ratings - ratings.mean()) / ratings.std()
    inverse = np.linalg.inv(signal(space[rows]) + noise * np.eye(len(rows)))
    across = signal(space, space[rows])
    mean = ratings.mean() + ratings.std() * across @ inverse @ scaled
    variance = ratings.std() ** 2 * (np.diag(signal(space)) - np.einsum("ij,jk,ik->i", across, inverse, across))
    assert prediction.rating == pytest.approx(mean, abs=1e-3)
    assert prediction.spread == pytest.approx(np.sqrt(np.maximum(variance, 0)), abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rows", [[5], [5, 6, 7]])
def test_one_rating_or_equal_ones_leave_the_starting_order(clouds, method, rows):
    table, _ = clouds
    starting = np.random.default_rng(0).permutation(120).astype(float)
    ratings = np.full(len(rows), 3.0)
    prediction = learn(rating_space(table), Rated(np.array(rows), ratings, starting), method=method)
    assert np.isfinite(prediction.score).all()
    assert prediction.rating == pytest.approx(3.0)
    if method != "blend":
        chosen = choose(prediction, Rated(np.array(rows), ratings, starting), 3, rule="top", explore=0).rows
        left = np.setdiff1d(np.arange(120), rows)
        assert chosen.tolist() == left[np.argsort(-starting[left])][:3].tolist()


def test_learning_from_nothing_or_by_an_unknown_method_is_refused(clouds, monkeypatch):
    table, truth = clouds
    space = rating_space(table)
    with pytest.raises(RadiosslError, match="no object is rated"):
        learn(space, Rated(np.empty(0, int), np.empty(0), np.ones(120)))
    with pytest.raises(RadiosslError, match="--method forest: expected one of"):
        learn(space, Rated(np.array([0]), np.ones(1), np.ones(120)), method="forest")
    monkeypatch.setattr(active_learning, "MOST_FOR_GP", 10)
    with pytest.raises(RadiosslError, match="at most 10"):
        learn(space, Rated(np.arange(11), truth[:11], np.ones(120)), method="gp")


# Proposing ------------------------------------------------------------------------------------------------------------


def test_acquisition_by_hand():
    prediction = Prediction(np.array([3.0, 4.0]), np.array([2.0, 0.5]), np.array([0.2, 0.9]))
    assert acquisition(prediction, "top", 4.0).tolist() == [0.2, 0.9]
    assert acquisition(prediction, "ucb", 4.0).tolist() == [5.0, 4.5]
    assert acquisition(prediction, "uncertain", 4.0).tolist() == [2.0, 0.5]
    # (3 - 4 - 0.5) Phi(-0.75) + 2 phi(-0.75), and (4 - 4 - 0.5) Phi(-1) + 0.5 phi(-1)
    by_hand = [-1.5 * norm.cdf(-0.75) + 2 * norm.pdf(-0.75), -0.5 * norm.cdf(-1) + 0.5 * norm.pdf(-1)]
    assert acquisition(prediction, "ei", 4.0) == pytest.approx(by_hand)


def test_expected_improvement_is_the_mean_of_draws():
    prediction = Prediction(np.array([3.0]), np.array([2.0]), np.array([0.0]))
    draws = np.random.default_rng(0).normal(3, 2, 1_000_000)
    slow = np.maximum(draws - 4 - active_learning.EI_TRADEOFF, 0).mean()
    assert acquisition(prediction, "ei", 4.0)[0] == pytest.approx(slow, rel=0.01)


def test_the_first_round_takes_the_highest_scores_and_random_others():
    starting = np.arange(100.0)
    proposal = choose(None, Rated(np.empty(0, int), np.empty(0), starting), 10, explore=0.3, seed=1)
    assert proposal.rows[:7].tolist() == [99, 98, 97, 96, 95, 94, 93]
    assert proposal.why.tolist() == ["start"] * 7 + ["random"] * 3
    assert len(set(proposal.rows)) == 10
    again = choose(None, Rated(np.empty(0, int), np.empty(0), starting), 10, explore=0.3, seed=1)
    other = choose(None, Rated(np.empty(0, int), np.empty(0), starting), 10, explore=0.3, seed=2)
    assert again.rows.tolist() == proposal.rows.tolist()
    assert set(other.rows[7:]) != set(proposal.rows[7:])


def test_nothing_rated_or_forbidden_is_proposed_and_no_more_than_is_left():
    starting = np.arange(6.0)
    prediction = Prediction(starting, starting, starting)
    proposal = choose(prediction, Rated(np.array([5, 0, 4]), np.array([1.0, 2.0, 1.0]), starting), 10, rule="ucb")
    assert sorted(proposal.rows) == [1, 2, 3]
    with pytest.raises(RadiosslError, match="every object is rated"):
        choose(prediction, Rated(np.arange(6), np.ones(6), starting), 10)


def test_the_random_rule_draws_all():
    starting = np.arange(1000.0)
    proposal = choose(None, Rated(np.empty(0, int), np.empty(0), starting), 200, rule="random")
    assert set(proposal.why) == {"random"}
    assert proposal.rows.mean() == pytest.approx(500, abs=80)


@pytest.mark.parametrize("wrong", [{"rule": "best"}, {"explore": 1.5}, {"count": 0}])
def test_wrong_wishes_are_refused(wrong):
    wishes = {"count": 5, "rule": "ucb", "explore": 0.5} | wrong
    with pytest.raises(RadiosslError):
        choose(None, Rated(np.empty(0, int), np.empty(0), np.ones(9)), **wishes)


# Judging --------------------------------------------------------------------------------------------------------------


def test_ranking_quality_by_hand():
    # Held out: rows 0 (rating 5), 1 (rating 2), 2 (rating 4), in a list of 40 of which row 39 has the highest score.
    score = np.arange(40.0)
    score[[0, 1, 2]] = [38.5, 20.5, 10.5]
    quality = ranking_quality(score, np.array([0, 1, 2]), np.array([5.0, 2.0, 4.0]), np.arange(40))
    assert quality["auc"] == pytest.approx(0.5)  # 5 above 2, but 2 above 4
    assert quality["spearman"] == pytest.approx(0.5)  # ranks 3, 2, 1 against 3, 1, 2
    assert quality["recall@5%"] == pytest.approx(0.5)  # row 0 is second of 40
    assert quality["recall@10%"] == pytest.approx(0.5)


def test_the_area_is_that_of_scikit_learn_with_ties():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    score, ratings = rng.integers(0, 8, 60).astype(float), rng.integers(1, 6, 60).astype(float)
    quality = ranking_quality(score, np.arange(60), ratings, np.arange(60))
    assert quality["auc"] == pytest.approx(roc_auc_score(ratings >= 4, score))


def test_a_constant_score_has_the_recall_of_chance_at_most():
    quality = ranking_quality(np.zeros(100), np.arange(10), np.full(10, 5.0), np.arange(100))
    assert quality["recall@10%"] == 0
    assert np.isnan(quality["auc"])


def test_cross_validation_sees_what_can_be_learnt_and_what_cannot(clouds):
    table, truth = clouds
    rng = np.random.default_rng(0)
    rows = rng.permutation(120)[:60]
    space, starting = rating_space(table), rng.random(120)
    learnt = crossvalidated_quality(space, Rated(rows, truth[rows], starting), method="linear")
    assert learnt["auc"] > 0.95
    assert abs(learnt["starting_auc"] - 0.5) < 0.25
    shuffled = [
        crossvalidated_quality(space, Rated(rows, rng.permutation(truth[rows]), starting), method="linear")["auc"]
        for _ in range(5)
    ]
    assert abs(np.mean(shuffled) - 0.5) < 0.15
    with pytest.raises(RadiosslError, match="too few for 5 folds"):
        crossvalidated_quality(space, Rated(rows[:4], truth[:4], starting))
