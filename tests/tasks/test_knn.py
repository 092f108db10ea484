"""The kNN judgement: folds, baselines and what is refused."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from radiossl import RadiosslError
from radiossl.embeddings.embed import embed_store
from radiossl.images.preprocess import Preprocessing
from radiossl.tasks import knn
from radiossl.tasks.knn import KnnScore, evaluate_knn
from radiossl.tasks.labels import Labels, read_labels
from radiossl.weights.architecture import Architecture
from radiossl.weights.released import Backbone

BASELINES = ["majority class", "raw pixels", "random weights"]


@pytest.fixture(scope="module")
def labels(small_store):
    return read_labels(small_store.column("kind"), "kind")


@pytest.fixture(scope="module")
def result(small_store, labels, tiny_backbone):
    return evaluate_knn(tiny_backbone, small_store, labels, k=3, folds=4, seeds=3, seed=7)


def literal_folds(names, folds, seeds):
    """Rows to learn from and to test on, seed after seed."""
    return [
        split for seed in seeds for split in StratifiedKFold(folds, shuffle=True, random_state=seed).split(names, names)
    ]


def literal_predictions(features, names, split, k):
    train, test = split
    classifier = KNeighborsClassifier(k, metric="cosine").fit(features[train], names[train])
    return classifier.predict(features[test])


# Folds ----------------------------------------------------------------------------------------------------------------


def test_accuracies_and_predictions_equal_the_literal_ones(small_store, labels, tiny_backbone, result):
    features, names = embed_store(tiny_backbone, small_store), labels.names
    splits = literal_folds(names, 4, [7, 8, 9])
    expected = [(literal_predictions(features, names, split, 3) == names[split[1]]).mean() for split in splits]
    np.testing.assert_allclose(result.score.accuracies, expected)
    predictions = np.empty_like(names)
    for split in splits[:4]:
        predictions[split[1]] = literal_predictions(features, names, split, 3)
    assert result.score.predictions.tolist() == predictions.tolist()
    assert (result.truth == names).all()
    assert result.store.column("cutout_id").tolist() == small_store.column("cutout_id").tolist()
    assert (result.k, result.folds, result.seeds, result.interval) == (3, 4, 3, None)


def test_folds_are_disjoint_and_cover_every_object_once_a_seed(labels):
    splits = knn._folds(labels.names, 4, 3, 0)
    assert len(splits) == 12
    for start in (0, 4, 8):
        tested = np.concatenate([split.test for split in splits[start : start + 4]])
        assert sorted(tested) == list(range(24))
    for split in splits:
        assert not set(split.train) & set(split.test)
        assert len(split.train) + len(split.test) == 24
        assert set(labels.names[split.test]) == {"single", "double"}
    assert not np.array_equal(splits[0].test, splits[4].test)


def test_predictions_stand_beside_their_objects(small_store, labels, tiny_backbone, monkeypatch):
    """With the truth as features a perfect score comes out, in the order of the objects."""
    truth = np.array([[1.0, 0.0] if name == "single" else [0.0, 1.0] for name in labels.names], np.float32)
    monkeypatch.setattr(knn, "embed_store", lambda backbone, store, batch_size: truth)
    result = evaluate_knn(tiny_backbone, small_store, labels, k=3, folds=4, seeds=1, baselines=False)
    assert result.score.mean == 1.0
    assert result.score.predictions.tolist() == labels.names.tolist()
    assert result.baselines == []


def test_objects_without_a_label_take_no_part(small_store, labels, tiny_backbone):
    part = Labels(labels.rows[3:], labels.names[3:])
    result = evaluate_knn(tiny_backbone, small_store, part, k=3, folds=3, seeds=1, baselines=False)
    assert result.store.column("cutout_id").tolist() == [f"c{row:02d}" for row in range(3, 24)]
    assert len(result.score.predictions) == 21


def test_the_same_seed_gives_the_same_result(small_store, labels, tiny_backbone, result):
    again = evaluate_knn(tiny_backbone, small_store, labels, k=3, folds=4, seeds=3, seed=7)
    for one, other in zip([result.score, *result.baselines], [again.score, *again.baselines], strict=True):
        np.testing.assert_array_equal(one.accuracies, other.accuracies)


# Baselines ------------------------------------------------------------------------------------------------------------


def test_baselines_are_there(result):
    assert [score.name for score in result.baselines] == BASELINES
    majority, raw, random = result.baselines
    assert len(majority.accuracies) == len(raw.accuracies) == 12
    assert len(random.accuracies) == 3 * 12  # as many initialisations as seeds
    for score in result.baselines:
        assert len(score.predictions) == 24
        assert set(score.predictions) <= {"single", "double"}


def test_majority_predicts_the_class_that_is_commonest_among_those_learnt_from(small_store, tiny_backbone):
    names = np.array(["a"] * 15 + ["b"] * 9)
    result = evaluate_knn(tiny_backbone, small_store, Labels(np.arange(24), names), k=3, folds=3, seeds=1)
    majority = result.baselines[0]
    assert set(majority.predictions) == {"a"}
    assert majority.mean == pytest.approx(15 / 24)


def test_raw_pixels_are_the_preprocessed_images(small_store, labels, tiny_backbone, result):
    pixels = tiny_backbone.preprocess([small_store.pixels(row) for row in range(24)]).flatten(1).numpy()
    splits = literal_folds(labels.names, 4, [7, 8, 9])
    expected = [(literal_predictions(pixels, labels.names, s, 3) == labels.names[s[1]]).mean() for s in splits]
    np.testing.assert_allclose(result.baselines[1].accuracies, expected)


def test_large_raw_pixels_are_averaged_to_64(small_store):
    preprocessing = Preprocessing(mode="min-max", size=128)
    flat = knn._raw_pixels(preprocessing, small_store, 8)
    assert flat.shape == (24, 64 * 64)
    images = preprocessing.of_arrays([small_store.pixels(row) for row in range(24)]).numpy()
    expected = images.reshape(24, 64, 2, 64, 2).mean(axis=(2, 4)).reshape(24, -1)
    np.testing.assert_allclose(flat, expected, rtol=0, atol=1e-6)


def test_random_weights_are_those_of_the_seeds(small_store, labels, tiny_backbone, result):
    other = Backbone.random(Architecture(), Preprocessing(size=32), 8)
    features = embed_store(other, small_store)
    splits = literal_folds(labels.names, 4, [7, 8, 9])
    expected = [(literal_predictions(features, labels.names, s, 3) == labels.names[s[1]]).mean() for s in splits]
    np.testing.assert_allclose(result.baselines[2].accuracies[12:24], expected)


def test_preprocessing_and_averaging_of_the_baselines_are_the_backbones(small_store, labels, monkeypatch):
    used = []

    def spy(backbone, store, batch_size):
        used.append(backbone.config)
        return np.ones((len(store), 2))

    monkeypatch.setattr(knn, "embed_store", spy)
    backbone = Backbone.random(Architecture(), Preprocessing(mode="min-max", size=16, views=8), 0)
    evaluate_knn(backbone, small_store, labels, k=3, folds=2, seeds=2)
    assert len(used) == 3
    assert all(config == backbone.config for config in used)


# A separate test set --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def separate(small_store, labels, tiny_backbone):
    order = [20, 3, 17, 8, 23, 12, 5, 14]
    test_store = small_store.select(order)
    train = np.array([row for row in range(24) if row not in order])
    test_labels = Labels(np.array([0, 1, 2, 3, 5, 6, 7]), labels.names[order][[0, 1, 2, 3, 5, 6, 7]])  # one without
    train_labels = Labels(train, labels.names[train])
    result = evaluate_knn(tiny_backbone, small_store, train_labels, test=(test_store, test_labels), k=3, seeds=2)
    return result, train, np.array(order)[[0, 1, 2, 3, 5, 6, 7]]


def test_separate_test_set(small_store, labels, tiny_backbone, separate):
    result, train, test = separate
    features = embed_store(tiny_backbone, small_store)
    expected = literal_predictions(features, labels.names, (train, test), 3)
    assert result.score.predictions.tolist() == expected.tolist()
    assert result.score.accuracies.tolist() == [pytest.approx((expected == labels.names[test]).mean())]
    assert result.store.column("cutout_id").tolist() == [f"c{row:02d}" for row in test]
    assert result.truth.tolist() == labels.names[test].tolist()
    assert result.folds == 0
    assert [score.name for score in result.baselines] == BASELINES
    assert [len(score.accuracies) for score in result.baselines] == [1, 1, 2]


def test_interval_of_a_separate_test_set_is_wilsons(separate):
    result, _, test = separate
    n, z = len(test), 1.0
    p = result.score.mean
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert result.interval == pytest.approx((centre - half, centre + half), abs=1e-3)


# Scores and refusals --------------------------------------------------------------------------------------------------


def test_mean_and_spread():
    score = KnnScore("x", np.array([0.5, 0.7, 0.9]), np.array(["a"]))
    assert (score.mean, score.spread) == (pytest.approx(0.7), pytest.approx(0.2))
    assert np.isnan(KnnScore("x", np.array([0.5]), np.array(["a"])).spread)


def test_a_class_with_too_few_objects_is_refused(small_store, tiny_backbone):
    names = np.array(["a"] * 21 + ["rare"] * 3)
    with pytest.raises(RadiosslError, match="class 'rare' has 3 objects: too few for 4 folds"):
        evaluate_knn(tiny_backbone, small_store, Labels(np.arange(24), names), folds=4)
