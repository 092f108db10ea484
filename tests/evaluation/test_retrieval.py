"""Retrieval against searches written out one by one."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from radiossl import RadiosslError
from radiossl.evaluation import retrieval
from radiossl.evaluation.retrieval import mean_average_precision, precision_at_k


@pytest.fixture(params=[1, 3, 1000], autouse=True)
def rows_at_a_time(request, monkeypatch):
    monkeypatch.setattr(retrieval, "_ENTRIES", 60 * request.param)


@pytest.fixture(scope="module")
def objects():
    rng = np.random.default_rng(0)
    labels = np.array(["a"] * 30 + ["b"] * 20 + ["c"] * 10)
    centres = {"a": 0.0, "b": 0.8, "c": 1.6}
    features = rng.normal(size=(60, 5)) + np.array([centres[name] for name in labels])[:, None]
    return features * rng.uniform(0.1, 10, (60, 1)), labels


def searches(features, labels):
    """For each object, whether the others are of its class, and their cosine similarities."""
    for row, query in enumerate(features):
        others = np.arange(len(features)) != row
        lengths = np.linalg.norm(features[others], axis=1) * np.linalg.norm(query)
        yield labels[others] == labels[row], features[others] @ query / lengths


def check(score, literal, labels):
    assert score.mean == pytest.approx(literal.mean())
    assert score.per_class == {
        name: pytest.approx(literal[labels == name].mean()) for name in np.unique(labels).tolist()
    }


@pytest.mark.parametrize("k", [1, 7, 59])
def test_precision_equals_the_literal_one(objects, k):
    literal = np.array([own[np.argsort(-cosines)[:k]].mean() for own, cosines in searches(*objects)])
    check(precision_at_k(*objects, k), literal, objects[1])


def test_average_precision_equals_sklearns(objects):
    literal = np.array([average_precision_score(own, cosines) for own, cosines in searches(*objects)])
    check(mean_average_precision(*objects), literal, objects[1])


def test_four_objects_by_hand():
    angles = np.radians([0, 10, 30, 35])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = np.array(["x", "y", "x", "y"])
    # Neighbours of 0, 1, 2, 3 in order: 1 2 3, 0 2 3, 3 1 0, 2 1 0; the only other of the class is 2nd, 3rd, 3rd, 2nd.
    assert mean_average_precision(features, labels).per_class == pytest.approx({"x": 5 / 12, "y": 5 / 12})
    assert precision_at_k(features, labels, 2).per_class == pytest.approx({"x": 0.25, "y": 0.25})


def test_collapsed_features_score_like_chance():
    features, labels = np.ones((60, 4)), np.array(["a"] * 40 + ["b"] * 20)
    chance = {"a": 39 / 59, "b": 19 / 59}
    assert precision_at_k(features, labels, 5).per_class == pytest.approx(chance)
    assert mean_average_precision(features, labels).per_class == pytest.approx(chance)


def test_a_class_of_one_is_left_out():
    features = np.array([[1, 0], [1, 0.1], [0, 1.0]])
    labels = np.array(["a", "a", "alone"])
    for score in (precision_at_k(features, labels, 1), mean_average_precision(features, labels)):
        assert score.mean == 1
        assert np.isnan(score.per_class["alone"])


def test_features_of_zero_are_like_none():
    features = np.array([[1, 0], [0, 0], [-1, 0.0]])
    assert precision_at_k(features, np.array(["a", "a", "b"]), 1).per_class["a"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("features", "labels", "k", "message"),
    [
        (np.zeros((3, 2)), ["a"] * 3, 3, "k must be from 1 to 2"),
        (np.zeros((3, 2)), ["a"] * 3, 0, "k must be from 1 to 2"),
        (np.zeros((3, 2)), ["a"] * 2, 1, "expected features"),
        (np.zeros(3), ["a"] * 3, 1, "expected features"),
        (np.full((3, 2), np.nan), ["a"] * 3, 1, "must be finite"),
    ],
)
def test_searches_that_cannot_be_made_are_refused(features, labels, k, message):
    with pytest.raises(RadiosslError, match=message):
        precision_at_k(features, np.array(labels), k)
