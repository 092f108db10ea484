"""Ranking of features: it finds the ones that matter, and never sees the objects it is judged on."""

import numpy as np
import pytest

from radiossl.anomalies import feature_ranking
from radiossl.anomalies.feature_ranking import CONTAMINATIONS, MAX_SAMPLES, CrossFit, rank_features, scan_forest
from radiossl.anomalies.quality import AnomalyLabels
from radiossl.anomalies.scores import AnomalySettings, anomaly_scores, rank_fractions
from radiossl.features.neighbours import unit
from radiossl.io.errors import RadiosslError

QUICK = AnomalySettings("forest", trees=30)


def _objects(n=200, d=20, informative=(3, 7), seed=0):
    """Two kinds of objects that differ in two of the features."""
    rng = np.random.default_rng(seed)
    anomalous = rng.random(n) < 0.3
    features = rng.normal(size=(n, d))
    for column in informative:
        features[anomalous, column] += 4.0
    return features.astype(np.float32), anomalous


def _labels(anomalous, rows=None):
    rows = np.arange(len(anomalous)) if rows is None else rows
    return AnomalyLabels(rows, np.where(anomalous, "odd", "plain"), anomalous)


def test_the_features_that_differ_are_ranked_first():
    features, anomalous = _objects()
    ranking = rank_features(features, anomalous)
    assert set(ranking.order[:2]) == {3, 7}
    assert sorted(ranking.order) == list(range(20))
    assert (np.diff(ranking.importance[ranking.order]) <= 0).all()
    assert ranking.accuracy > 0.85


def test_features_without_splits_are_ranked_by_their_own_area():
    from sklearn.metrics import roc_auc_score

    features, anomalous = _objects(120, 60)
    ranking = rank_features(features, anomalous)
    unused = [column for column in ranking.order if ranking.importance[column] == 0]
    assert len(unused) > 5
    alone = [abs(roc_auc_score(anomalous, unit(features)[:, column]) - 0.5) for column in unused]
    np.testing.assert_allclose(alone, sorted(alone, reverse=True))


def test_the_parameters_are_those_of_the_paper(monkeypatch):
    import lightgbm

    seen = []
    train = lightgbm.train

    def spy(parameters, *arguments, **others):
        seen.append(parameters)
        return train(parameters, *arguments, **others)

    monkeypatch.setattr(lightgbm, "train", spy)
    rank_features(*_objects())
    assert {key: seen[0][key] for key in ("max_depth", "num_leaves", "min_data_in_leaf")} == {
        "max_depth": 2,
        "num_leaves": 32,
        "min_data_in_leaf": 20,
    }
    assert CONTAMINATIONS == ("auto", 0.001, 0.01, 0.1)
    assert len(MAX_SAMPLES) == 15
    assert AnomalySettings().trees == 200


def test_too_few_labels_are_refused():
    features, _ = _objects(50)
    with pytest.raises(RadiosslError, match="4 labelled objects of one kind, at least 10"):
        rank_features(features, np.arange(50) < 4)


def test_no_fold_sees_the_labels_of_its_own_objects(monkeypatch):
    features, anomalous = _objects(120)
    shown = []
    original = feature_ranking.rank_features

    def spy(chosen, called, seed):
        shown.append({row.tobytes() for row in chosen})
        return original(chosen, called, seed)

    monkeypatch.setattr(feature_ranking, "rank_features", spy)
    groups = np.arange(120) // 2
    fit = CrossFit(features, _labels(anomalous), 5, groups)
    assert len(fit.rankings) == 5
    tested = np.concatenate([split.test for split in fit.splits])
    assert sorted(tested) == list(range(120))
    for split, seen in zip(fit.splits, shown, strict=True):
        assert not seen & {features[row].tobytes() for row in split.test}
        assert not set(groups[split.train]) & set(groups[split.test])


def test_labels_of_noise_promise_nothing_when_ranked_by_folds():
    """Ranked with all labels the best features of pure noise look good; ranked by folds they must not."""
    from sklearn.metrics import roc_auc_score

    areas = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(200, 200)).astype(np.float32)
        anomalous = rng.random(200) < 0.4
        fit = CrossFit(features, _labels(anomalous), seed=seed)
        areas.append(roc_auc_score(anomalous, fit.scores(5, QUICK)))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.06)


def test_scores_of_folds_are_put_together_as_written_out():
    features, anomalous = _objects(150)
    rows = np.arange(0, 150, 2)
    fit = CrossFit(features, _labels(anomalous[rows], rows))
    scores = fit.scores(2, QUICK)
    places = [rank_fractions(anomaly_scores(features, QUICK, ranking.order[:2])) for ranking in fit.rankings]
    for split, place in zip(fit.splits, places, strict=True):
        np.testing.assert_allclose(scores[rows[split.test]], place[rows[split.test]])
    np.testing.assert_allclose(scores[1::2], np.mean(places, axis=0)[1::2])
    np.testing.assert_allclose(fit.scores(None, QUICK), rank_fractions(anomaly_scores(features, QUICK)))


def test_the_scan_flags_what_scikit_learn_flags():
    from sklearn.ensemble import IsolationForest

    features, anomalous = _objects(160, 8)
    fit = CrossFit(features, _labels(anomalous))
    scan = scan_forest(fit, [None], QUICK, ["auto", 0.2], ["auto", 0.1])
    assert len(scan.table) == 4
    for row in scan.table.to_dict("records"):
        settings = {"max_samples": row["max_samples"], "contamination": row["contamination"]}
        forest = IsolationForest(n_estimators=30, random_state=0, **settings)
        flagged = forest.fit_predict(unit(features)) == -1
        assert row["flagged"] == pytest.approx(flagged.mean())
        assert row["recall"] == pytest.approx((flagged & anomalous).sum() / anomalous.sum())
        if flagged.any():
            assert row["precision"] == pytest.approx(anomalous[flagged].mean())
    assert scan.table.groupby("max_samples")["auc"].nunique().eq(1).all()
    assert 0 <= scan.chosen["auc"] <= 1


def test_the_scan_covers_ranked_features_and_chooses_by_folds():
    features, anomalous = _objects()
    scan = scan_forest(CrossFit(features, _labels(anomalous)), [2, None], QUICK, ["auto"], ["auto"])
    assert scan.table["features"].tolist() == [2, "all"]
    best, rest = scan.table["auc"].tolist()
    assert best != rest
    assert scan.chosen["auc"] == pytest.approx(max(best, rest), abs=0.02)
