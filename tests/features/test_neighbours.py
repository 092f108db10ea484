"""The nearest-neighbour vote, weighted by similarity, against one written out."""

import numpy as np
import pytest

from radiossl.features.neighbours import nearest_neighbours, unit


def knn_predict(train, labels, test, **options):
    return nearest_neighbours(train, labels, **options).predict(test)


def literal_knn(train, labels, test, k):
    predicted = []
    for query in test:
        cosines = [query @ row / (np.linalg.norm(query) * np.linalg.norm(row)) for row in train]
        nearest = np.argsort(cosines)[::-1][:k]
        classes = np.unique(labels[nearest])
        votes = [sum(max(cosines[row], 0) for row in nearest if labels[row] == name) for name in classes]
        predicted.append(classes[np.argmax(votes)])
    return np.array(predicted)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = np.array(["FRII", "FRI", "bent"])[rng.integers(0, 3, 60)]
    scale = rng.uniform(0.1, 10, (100, 1))  # lengths must not matter
    points = rng.normal(size=(100, 6)) * scale
    return points[:60].astype(np.float32), labels, points[60:].astype(np.float32)


@pytest.mark.parametrize("k", [1, 2, 5, 20, 60])
def test_vote_equals_the_literal_one(data, k):
    np.testing.assert_array_equal(knn_predict(*data, k=k), literal_knn(*data, k=k))


def test_twenty_neighbours_by_default(data):
    np.testing.assert_array_equal(knn_predict(*data), literal_knn(*data, k=20))
    assert (knn_predict(*data) != literal_knn(*data, k=5)).any()


def test_more_neighbours_than_there_are_takes_all(data):
    np.testing.assert_array_equal(knn_predict(*data, k=1000), literal_knn(*data, k=60))


def test_the_angle_counts_not_the_distance():
    train, labels = np.array([[10.0, 0.0], [0.0, 1.0]]), np.array(["far", "near"])
    assert knn_predict(train, labels, np.array([[1.0, 0.1]]), k=1).tolist() == ["far"]


def test_vectors_of_zeros_are_allowed(data):
    train, labels, test = data
    train[0], test[0] = 0, 0
    assert set(knn_predict(train, labels, test, k=3)) <= set(labels)


@pytest.mark.parametrize("scale", [1e-25, 1e-13, 1.0, 1e25])
def test_unit_vectors_of_every_scale(scale):
    vectors = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    found = unit(vectors * np.float32(scale))
    np.testing.assert_allclose(found, unit(vectors), rtol=1e-5)
    assert not unit(np.zeros((2, 3))).any()
