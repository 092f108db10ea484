"""Anomaly scores against their slow twins, and their quality against cases worked out by hand."""

import numpy as np
import pytest

from radiossl.anomalies import scores as anomalies
from radiossl.anomalies.quality import (
    AnomalyLabels,
    bootstrap_auc,
    compare_scores,
    ranking_quality,
    read_anomaly_labels,
    threshold_curves,
)
from radiossl.anomalies.scores import AnomalySettings, anomaly_scores, rank_fractions
from radiossl.io.errors import RadiosslError


@pytest.fixture
def crowd():
    """300 features around two directions; the last three objects are far from both."""
    rng = np.random.default_rng(0)
    centres = np.eye(6)[rng.integers(0, 2, 300)] * 5
    features = centres + rng.normal(size=(300, 6)) * 0.2
    features[-3:] = np.eye(6)[3:] * 5 + rng.normal(size=(3, 6)) * 0.2
    return features.astype(np.float32)


@pytest.mark.parametrize("method", ["forest", "neighbours", "density"])
def test_what_is_far_from_the_crowd_comes_first(crowd, method):
    scores = anomaly_scores(crowd, AnomalySettings(method))
    assert set(np.argsort(-scores)[:3]) == {297, 298, 299}
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert np.median(scores) == pytest.approx(0.5, abs=0.1)


def test_density_counts_every_direction_alike(monkeypatch):
    rng = np.random.default_rng(0)
    features = np.column_stack([np.full(400, 20.0), rng.normal(0, 3, 400), rng.normal(0, 0.1, 400)])
    features[7] = [20.0, 0.0, 1.5]  # far out along a direction in which the features hardly vary
    found = {method: anomaly_scores(features, AnomalySettings(method)).argmax() for method in ("neighbours", "density")}
    assert found["density"] == 7
    assert found["neighbours"] != 7


@pytest.mark.parametrize("method", ["forest", "neighbours", "density"])
def test_features_that_are_all_the_same_are_no_ranking(method):
    same = np.arange(1, 10)[:, None] * np.array([[0.1, 0.3, 0.7]])
    with pytest.raises(RadiosslError, match="are the same"):
        anomaly_scores(same, AnomalySettings(method))


def test_the_forest_is_that_of_scikit_learn_on_directions(crowd):
    from sklearn.ensemble import IsolationForest

    directions = crowd / np.linalg.norm(crowd, axis=1, keepdims=True)
    forest = IsolationForest(n_estimators=200, max_samples=0.1, random_state=3).fit(directions)
    scores = anomaly_scores(crowd, AnomalySettings("forest", max_samples=0.1, seed=3))
    np.testing.assert_allclose(scores, -forest.score_samples(directions))


@pytest.mark.parametrize("reference", [20_000, 120])
def test_neighbour_distance_is_that_of_all_pairs(crowd, reference, monkeypatch):
    monkeypatch.setattr(anomalies, "REFERENCE_OBJECTS", reference)
    scores = anomaly_scores(crowd, AnomalySettings("neighbours", neighbours=7, seed=5))
    directions = crowd.astype(float) / np.linalg.norm(crowd.astype(float), axis=1, keepdims=True)
    drawn = np.arange(300)
    if reference < 300:
        drawn = np.sort(np.random.default_rng(5).choice(300, reference, replace=False))
    distances = []
    for row in range(300):
        others = [other for other in drawn if other != row]
        nearest = np.sort([np.linalg.norm(directions[row] - directions[other]) for other in others])[:7]
        distances.append(nearest.mean())
    expected = np.array(distances) / (distances + np.median(distances))
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.mark.parametrize("method", ["forest", "neighbours", "density"])
def test_chunks_change_nothing(crowd, method, monkeypatch):
    whole = anomaly_scores(crowd, AnomalySettings(method))
    monkeypatch.setattr(anomalies, "_CHUNK", 37)
    np.testing.assert_allclose(anomaly_scores(crowd, AnomalySettings(method)), whole, atol=1e-6)


def test_copies_of_one_object_are_not_anomalous():
    features = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    features[:30] = features[0]
    scores = anomaly_scores(features, AnomalySettings("neighbours", neighbours=3))
    assert (scores[:30] < 0.01).all()
    assert np.isfinite(scores).all()
    nearly = np.ones((5, 2), np.float32)
    nearly[4, 1] = 2
    assert np.isfinite(anomaly_scores(nearly, AnomalySettings("neighbours"))).all()


def test_a_seed_gives_the_same_forest_and_another_one_another(crowd):
    first, same, other = (anomaly_scores(crowd, AnomalySettings("forest", seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "lof"}, "--method lof: expected one of"),
        ({"max_samples": 1.5}, "--max-samples 1.5: expected a number above 0 and at most 1"),
        ({"trees": 0}, "--trees 0"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(RadiosslError, match=message):
        AnomalySettings(**settings)


def test_features_that_cannot_be_scored():
    with pytest.raises(RadiosslError, match="three objects"):
        anomaly_scores(np.zeros((2, 4), np.float32))
    with pytest.raises(RadiosslError, match="not finite"):
        anomaly_scores(np.array([[1.0, 2.0], [np.nan, 1.0], [0.0, 1.0]], np.float32))


def test_places_in_a_ranking():
    np.testing.assert_allclose(rank_fractions(np.array([3.0, 1.0, 2.0, 2.0])), [0.875, 0.125, 0.5, 0.5])


# Labels ---------------------------------------------------------------------------------------------------------------


def test_labels_by_value_and_by_comparison():
    ratings = np.array([1, np.nan, 4, 5, 2], dtype=float)
    labels = read_anomaly_labels(ratings, "score", [">=4"])
    assert labels.rows.tolist() == [0, 2, 3, 4]
    assert labels.anomalous.tolist() == [False, True, True, False]
    assert labels.names.tolist() == ["1", "4", "5", "2"]
    assert read_anomaly_labels(ratings, "score", [">4"]).anomalous.tolist() == [False, False, True, False]
    assert read_anomaly_labels(ratings, "score", ">4").anomalous.tolist() == [False, False, True, False]
    assert read_anomaly_labels(ratings, "score", ["<2"]).anomalous.tolist() == [True, False, False, False]
    kinds = np.array(["orc", None, "fr1", "ring"], dtype=object)
    assert read_anomaly_labels(kinds, "kind", ["orc", "ring"]).anomalous.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("anomalous", "message"),
    [
        ([], "say which values are anomalous"),
        ([">=x"], "expected a number after >="),
        (["7"], "--anomalous 7: not a value of column 'score', which has 1, 4, 5"),
        ([">5"], "none of the 3 labels are"),
        ([">=1"], "all of the 3 labels are"),
    ],
)
def test_labels_that_say_nothing(anomalous, message):
    with pytest.raises(RadiosslError, match=message):
        read_anomaly_labels(np.array([1, 4, 5]), "score", anomalous)


def test_a_comparison_needs_numbers():
    with pytest.raises(RadiosslError, match="compares numbers, it holds 'fr1'"):
        read_anomaly_labels(np.array(["1", "fr1"]), "kind", [">=1"])


# Quality --------------------------------------------------------------------------------------------------------------


def test_quality_by_hand():
    # In falling order: anomalous, not, anomalous, not ... of 20; 3 anomalous in all.
    scores = np.arange(20, 0, -1.0)
    anomalous = np.isin(np.arange(20), [0, 2, 19])
    quality = ranking_quality(scores, anomalous)
    # Pairs won: the first beats 17, the third 16, the last none.
    assert quality["auc"] == pytest.approx((17 + 16 + 0) / (3 * 17))
    assert quality["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 20) / 3)
    assert quality["recall@5%"] == pytest.approx(1 / 3)  # the first 1
    assert quality["recall@10%"] == pytest.approx(1 / 3)  # the first 2
    assert quality["crossing"] == pytest.approx(2 / 3)  # the first 3


def test_quality_is_that_of_scikit_learn_also_with_ties():
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(1)
    anomalous = rng.random(200) < 0.3
    scores = np.round(rng.normal(size=200) + anomalous, 1)
    quality = ranking_quality(scores, anomalous)
    assert quality["auc"] == pytest.approx(roc_auc_score(anomalous, scores))
    assert quality["average_precision"] == pytest.approx(average_precision_score(anomalous, scores))


def test_recall_among_equal_scores_is_the_mean_over_their_orders():
    anomalous = np.array([True, False, True, False, False, True, False, False, False, False] * 2)
    scores = np.array([2.0, 1.0, 1.0, 1.0, *np.zeros(16)])
    rng = np.random.default_rng(0)
    found = []
    for _ in range(4000):
        order = np.lexsort((rng.random(20), -scores))[:2]  # 10 % of 20
        found.append(anomalous[order].sum() / anomalous.sum())
    assert ranking_quality(scores, anomalous)["recall@10%"] == pytest.approx(np.mean(found), abs=0.005)
    assert ranking_quality(scores, anomalous)["recall@10%"] == pytest.approx((1 + 1 / 3) / 6)


def test_the_interval_holds_the_area_and_keeps_groups_together():
    rng = np.random.default_rng(2)
    anomalous = rng.random(150) < 0.4
    scores = rng.normal(size=150) + anomalous
    area = ranking_quality(scores, anomalous)["auc"]
    low, high = bootstrap_auc(scores, anomalous, seed=1)
    assert low < area < high
    # Hanley & McNeil (1982), equation 3.
    sought, others = anomalous.sum(), (~anomalous).sum()
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (sought - 1) * (first - area**2) + (others - 1) * (second - area**2)
    assert (high - low) / 2 == pytest.approx(np.sqrt(variance / (sought * others)), rel=0.15)
    # Four copies of every object are no more information than one.
    copies = bootstrap_auc(np.repeat(scores, 4), np.repeat(anomalous, 4), np.repeat(np.arange(150), 4), seed=1)
    np.testing.assert_allclose(copies, (low, high))


def test_the_interval_of_several_seeds_holds_their_mean():
    rng = np.random.default_rng(3)
    anomalous = rng.random(200) < 0.3
    seeds = [anomalous * 4.0 + rng.normal(size=200), anomalous * -4.0 + rng.normal(size=200), rng.normal(size=200)]
    labels = AnomalyLabels(np.arange(200), anomalous.astype(str), anomalous)
    (row,) = compare_scores({"all": seeds}, labels).to_dict("records")
    assert row["auc_low"] < row["auc"] < row["auc_high"]
    assert row["auc_high"] - row["auc_low"] < 0.1  # the seeds are not drawn again


def test_scores_side_by_side():
    labels = AnomalyLabels(np.array([0, 1, 2, 3]), np.array(list("abab")), np.array([True, False, True, False]))
    perfect = np.array([0.9, 0.2, 0.8, 0.1, *np.linspace(0.3, 0.7, 6)])
    frame = compare_scores({"good": [perfect, perfect], "bad": [1 - perfect]}, labels).set_index("name")
    assert frame["auc"].to_dict() == {"good": 1.0, "bad": 0.0}
    assert frame["auc_std"].iloc[0] == 0
    assert np.isnan(frame["auc_std"].iloc[1])
    assert frame.loc["good", "rank_in_all"] == pytest.approx(0.9)
    assert frame.loc["good", "recall_in_all@10%"] == 0.5
    assert frame.loc["bad", "recall_in_all@10%"] == 0


def test_thresholds_by_hand():
    #       score 0.9   0.8   0.7   0.6   0.5, and two without label
    names = np.array(["odd", "fr1", "odd", "fr2", "fr1"])
    labels = AnomalyLabels(np.arange(5), names, names == "odd")
    curves = threshold_curves(np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.75, 0.1]), labels)
    np.testing.assert_allclose(curves.thresholds, [0.9, 0.8, 0.7, 0.6, 0.5])
    np.testing.assert_allclose(curves.recall, [0.5, 0.5, 1, 1, 1])
    np.testing.assert_allclose(curves.precision, [1, 1 / 2, 2 / 3, 2 / 4, 2 / 5])
    np.testing.assert_allclose(curves.contamination["fr1"], [0, 1 / 2, 1 / 3, 1 / 4, 2 / 5])
    np.testing.assert_allclose(curves.contamination["fr2"], [0, 0, 0, 1 / 4, 1 / 5])
    np.testing.assert_allclose(curves.precision + sum(curves.contamination.values()), 1)
    np.testing.assert_allclose(curves.unlabelled, [0, 0, 1 / 4, 1 / 5, 1 / 6])
    crossing = curves.at_crossing()
    assert crossing["threshold"] == 0.8
    assert crossing["recall"] == crossing["precision"] == 0.5


def test_many_labels_are_drawn_as_few():
    names = np.array([*(f"kind{number}" for number in range(12)), "odd"] * 2)
    labels = AnomalyLabels(np.arange(len(names)), names, names == "odd")
    curves = threshold_curves(np.arange(len(names), 0, -1.0), labels)
    assert len(curves.contamination) == 6
    assert curves.contamination["all others"][-1] == pytest.approx(14 / 26)
