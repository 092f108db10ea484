"""Trials: folds, test sets, label fractions; and answers that survive an interruption."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.model_selection import StratifiedKFold

from radiossl import RadiosslError
from radiossl.evaluation.classifiers import Majority
from radiossl.evaluation.labels import Labels, read_labels
from radiossl.evaluation.results import Method, evaluate_method
from radiossl.evaluation.trials import labelled_set
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store


@pytest.fixture(scope="module")
def labels(small_store):
    return read_labels(small_store.column("kind"), "kind")


def test_folds_are_those_of_scikit_learn_where_no_source_has_a_neighbour(small_store, labels):
    labelled = labelled_set(small_store, labels, folds=4, seeds=2, seed=7)
    expected = [
        split
        for seed in (7, 8)
        for split in StratifiedKFold(4, shuffle=True, random_state=seed).split(labels.names, labels.names)
    ]
    assert [trial.seed for trial in labelled.trials] == [7] * 4 + [8] * 4
    for trial, (train, test) in zip(labelled.trials, expected, strict=True):
        np.testing.assert_array_equal(trial.split.train, train)
        np.testing.assert_array_equal(trial.split.test, test)
    assert labelled.classes == ["double", "single"]
    assert [labelled.classes[number] for number in labelled.truth] == labels.names.tolist()


def test_neighbours_on_the_sky_share_a_fold(tmp_path):
    schema = store_schema(pa.schema([("kind", pa.string())]))

    def cutout(index):
        ra = 10.0 + 0.1 * (index // 4) + 0.001 * (index % 4)  # fours within 60 arcsec
        return Cutout(
            f"c{index}", np.ones((8, 8), np.float32), "m", ra, 0.0, 0, 0, 1.0, "", None, {"kind": "ab"[index % 2]}
        )

    store = write_store(tmp_path / "s", [0], lambda _: cutout_batches(map(cutout, range(40)), schema), schema, {})
    labels = read_labels(store.column("kind"), "kind")
    for trial in labelled_set(store, labels, folds=5, seeds=2).trials:
        assert not {row // 4 for row in trial.split.train} & {row // 4 for row in trial.split.test}
    alone = labelled_set(store, labels, folds=5, seeds=1, group_radius_arcsec=None)
    assert any({row // 4 for row in t.split.train} & {row // 4 for row in t.split.test} for t in alone.trials)


def test_a_smaller_fraction_is_part_of_a_larger_one_and_keeps_every_class(small_store, labels):
    labelled = labelled_set(small_store, labels, folds=3, seeds=1, fractions=[0.05, 0.5, 1.0])
    whole, half, least = (labelled.trials[start : start + 3] for start in (0, 3, 6))
    assert [trial.fraction for trial in labelled.trials] == [1.0] * 3 + [0.5] * 3 + [0.05] * 3
    for large, middle, small in zip(whole, half, least, strict=True):
        np.testing.assert_array_equal(large.split.test, small.split.test)
        assert set(small.split.train) <= set(middle.split.train) <= set(large.split.train)
        assert len(large.split.train) == 16
        assert np.bincount(labelled.truth[middle.split.train]).tolist() == [4, 4]
        assert np.bincount(labelled.truth[small.split.train]).tolist() == [1, 1]


def test_a_separate_test_set_stands_behind_the_others(small_store, labels):
    half = Labels(labels.rows[:12], labels.names[:12]), Labels(labels.rows[12:], labels.names[12:])
    labelled = labelled_set(small_store, half[0], test=(small_store, half[1]), seeds=2)
    assert labelled.folds == 0
    assert len(labelled.trials) == 2
    assert labelled.tested.tolist() == list(range(12, 24))
    assert labelled.store.column("cutout_id")[12] == "c12"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fractions": [0.0]}, "label fraction 0.0"),
        ({"fractions": [1.5]}, "label fraction 1.5"),
        ({"fractions": []}, "label fraction"),
        ({"folds": 13}, "too few for 13 folds"),
    ],
)
def test_what_cannot_be_drawn_is_refused(small_store, labels, change, said):
    with pytest.raises(RadiosslError, match=said):
        labelled_set(small_store, labels, **{"seeds": 1, **change})


def test_a_class_that_only_the_test_set_has_is_refused(small_store, labels):
    other = Labels(labels.rows, np.array(["ring"] * 24))
    with pytest.raises(RadiosslError, match="class 'ring' of the test set"):
        labelled_set(small_store, labels, test=(small_store, other))


class Oracle:
    """Knows the truth, and counts how often it is asked."""

    def __init__(self, truth):
        self.truth, self.asked = truth, 0

    def __call__(self, train, test, seed):
        self.asked += 1
        return np.eye(2)[self.truth[test]]


def test_every_tested_object_is_predicted_once_in_the_order_of_the_rows(small_store, labels):
    labelled = labelled_set(small_store, labels, folds=4, seeds=3)
    result = evaluate_method(Method("oracle", Oracle(labelled.truth), ""), labelled)
    predictions = result.predictions()
    assert predictions.ids.tolist() == small_store.column("cutout_id").tolist()
    np.testing.assert_array_equal(predictions.predicted, labelled.truth)
    assert result.accuracies().tolist() == [1.0] * 12


def test_finished_trials_are_kept_and_only_taken_for_what_they_are(small_store, labels, tmp_path):
    labelled = labelled_set(small_store, labels, folds=4, seeds=1)
    oracle = Oracle(labelled.truth)
    first = evaluate_method(Method("oracle", oracle, "v1"), labelled, tmp_path / "trials")
    assert oracle.asked == 4
    again = evaluate_method(Method("oracle", oracle, "v1"), labelled, tmp_path / "trials")
    assert oracle.asked == 4
    np.testing.assert_array_equal(np.concatenate(first.probabilities), np.concatenate(again.probabilities))
    evaluate_method(Method("oracle", oracle, "v2"), labelled, tmp_path / "trials")
    assert oracle.asked == 8
    evaluate_method(
        Method("oracle", oracle, "v1"),
        labelled_set(small_store, labels, folds=4, seeds=1, seed=1),
        tmp_path / "trials",
    )
    assert oracle.asked == 12


def test_answers_about_other_pixels_of_the_same_sources_are_not_taken(small_store, labels, store_of, tmp_path):
    names = Labels(np.arange(24), labels.names)
    oracle = Oracle((labels.names == "single").astype(int))
    for number, side in enumerate((16, 24)):
        rng = np.random.default_rng(0)
        store = store_of([rng.normal(size=(side, side)).astype(np.float32) for _ in range(24)])
        evaluate_method(
            Method("oracle", oracle, "v1"), labelled_set(store, names, folds=4, seeds=1), tmp_path / "trials"
        )
        assert oracle.asked == 4 * (number + 1)


def test_an_interrupted_judgement_goes_on_where_it_was(small_store, labels, tmp_path):
    labelled = labelled_set(small_store, labels, folds=4, seeds=1)

    class Interrupted(Oracle):
        def __call__(self, train, test, seed):
            if self.asked == 2:
                raise KeyboardInterrupt
            return super().__call__(train, test, seed)

    with pytest.raises(KeyboardInterrupt):
        evaluate_method(Method("oracle", Interrupted(labelled.truth), "v1"), labelled, tmp_path / "trials")
    oracle = Oracle(labelled.truth)
    evaluate_method(Method("oracle", oracle, "v1"), labelled, tmp_path / "trials")
    assert oracle.asked == 2


def test_majority_says_the_frequencies_of_the_classes_it_learnt_from(small_store, labels):
    truth = np.array([0] * 15 + [1] * 9)
    majority = Majority(truth, 2)
    probabilities = majority(np.arange(24), np.array([0, 20]), 0)
    np.testing.assert_allclose(probabilities, [[15 / 24, 9 / 24]] * 2)
