"""A forest is tested on rows that it has not seen, calibrated on them, and trained on all."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier

from radiossl import RadiosslError
from radiossl.evaluation.calibration import Predictions, reliability
from radiossl.evaluation.confidence import prediction_sets
from radiossl.evaluation.labels import Labels
from radiossl.tables.columns import TableColumns
from radiossl.tables.forest import Forest
from radiossl.tables.run import train_forest
from radiossl.tables.training import fit_and_test

COLUMNS = TableColumns(("a", "b", "c"))


def drawn(seed, rows):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 3)).astype(np.float32)
    score = values[:, 0] + 0.5 * values[:, 1] ** 2 + rng.normal(0, 0.7, rows)
    names = np.array(["QSO", "STAR", "galaxy"])[(score > 0.2).astype(int) + (score > 1.2)]
    return values, Labels(np.arange(rows), names)


@pytest.fixture(scope="module")
def trained():
    return fit_and_test(*drawn(0, 600), COLUMNS, trees=60)


def test_the_forest_that_is_kept_has_learnt_from_all_rows(trained):
    values, labels = drawn(0, 600)
    truth = np.unique(labels.names, return_inverse=True)[1]
    model = RandomForestClassifier(60, class_weight="balanced", random_state=0).fit(values, truth)
    asked = drawn(1, 300)[0]
    raw = model.predict_proba(asked)
    np.testing.assert_allclose(trained.forest.probabilities(asked), raw, atol=1e-6)
    assert trained.forest.about["training_rows"] == 600
    # Calibrated by hand: raised by Laplace's rule for the rows that a forest of the folds has seen, then softened.
    calibration = trained.forest.calibration
    assert calibration.learnt == 480
    by_hand = softmax(np.log(np.maximum(raw, 1 / 483)) / calibration.temperature, axis=1)
    np.testing.assert_allclose(trained.forest.predict(asked), by_hand, atol=1e-5)


def test_more_rows_make_a_better_forest():
    asked, truth = drawn(1, 4000)
    right = {}
    for number in (40, 800):
        values, labels = drawn(0, number)
        forest = fit_and_test(values, labels, COLUMNS, folds=2, trees=60).forest
        right[number] = (np.array(forest.classes)[forest.predict(asked).argmax(axis=1)] == truth.names).mean()
    assert right[800] > right[40] + 0.01


def test_new_rows_are_covered_and_calibrated_as_the_folds_promise(trained):
    asked, labels = drawn(1, 6000)
    truth = np.unique(labels.names, return_inverse=True)[1]
    probabilities = trained.forest.predict(asked)
    sets = prediction_sets(probabilities, trained.forest.calibration.thresholds)
    for number in range(3):
        assert sets[truth == number, number].mean() == pytest.approx(0.9, abs=0.06)
        tested = trained.predictions.truth == number
        assert trained.sets[tested, number].mean() == pytest.approx(0.9, abs=0.05)
    raw = Predictions(trained.forest.classes, truth, trained.forest.probabilities(asked), np.arange(6000))
    calibrated = Predictions(trained.forest.classes, truth, probabilities, np.arange(6000))
    assert reliability(calibrated).error < 0.05
    assert reliability(calibrated).error <= reliability(raw).error + 0.005


def test_rows_of_one_source_share_a_fold():
    values, labels = drawn(0, 200)
    groups = np.arange(200) // 2
    copies = np.repeat(values[::2], 2, axis=0)
    names = np.repeat(np.random.default_rng(0).permutation(labels.names[::2]), 2)  # known by the copy alone
    labels = Labels(np.arange(200), names)
    together = fit_and_test(copies, labels, COLUMNS, groups=groups, trees=30).predictions.correct.mean()
    apart = fit_and_test(copies, labels, COLUMNS, trees=30).predictions.correct.mean()
    assert together < 0.6 < apart


def test_a_saved_forest_predicts_the_same(trained, tmp_path):
    trained.forest.save(tmp_path / "forest.safetensors")
    again = Forest.load(tmp_path / "forest.safetensors")
    asked = drawn(1, 50)[0]
    np.testing.assert_array_equal(again.predict(asked), trained.forest.predict(asked))
    np.testing.assert_array_equal(again.calibration.thresholds, trained.forest.calibration.thresholds)
    novelty = trained.forest.calibration.novelty
    np.testing.assert_array_equal(again.calibration.novelty.scores(asked), novelty.scores(asked))


def test_refusals():
    with pytest.raises(RadiosslError, match=r"--coverage 1\.0"):
        fit_and_test(*drawn(0, 60), COLUMNS, coverage=1.0)
    with pytest.raises(RadiosslError, match="too few for 40 folds"):
        fit_and_test(*drawn(0, 60), COLUMNS, folds=40)


@pytest.mark.parametrize(
    ("column", "message"),
    [("class", "is the label that is to be predicted"), ("same", "two different"), ("none", "two different")],
)
def test_columns_that_cannot_tell_rows_apart_are_refused(tmp_path, column, message):
    """The label itself would give a perfect forest; a constant or an empty column a score by chance, without a word."""
    table = pd.DataFrame({"a": np.arange(40.0), "same": 1.0, "none": np.nan, "class": np.arange(40) % 2})
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(RadiosslError, match=f"column '{column}'.*{message}"):
        train_forest(tmp_path / "t.parquet", "class", tmp_path / "out", columns=["a", column])
