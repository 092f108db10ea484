"""The compiled forest against scikit-learn's, and what a file may not do."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.ensemble import RandomForestClassifier

from radiossl import RadiosslError
from radiossl.tables.columns import TableColumns
from radiossl.tables.forest import Forest, fit_forest, from_scikit_learn

COLUMNS = TableColumns(("a", "b", "c", "d"))
CLASSES = ["GALAXY", "QSO", "STAR"]


def made(seed=0, rows=500, missing=0.0):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 4)).astype(np.float32)
    truth = (values[:, 0] + values[:, 1] ** 2 > 0.5).astype(int) + (values[:, 2] > 1)
    values[rng.random(values.shape) < missing] = np.nan
    return values, truth


def literal(forest, row):
    """One row through every tree, step by step."""
    total = np.zeros(len(forest.classes))
    for node in forest.roots:
        while node >= 0:
            value = row[forest.feature[node]]
            left = forest.missing_left[node] if np.isnan(value) else value <= forest.threshold[node]
            node = forest.left[node] if left else forest.right[node]
        total += forest.leaves[-1 - node]
    return total / len(forest.roots)


@pytest.mark.parametrize("rows", [3000, 150_000])  # within a block, and over several pieces of several blocks
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_probabilities_are_those_of_scikit_learn(missing, rows):
    values, truth = made(missing=missing)
    model = RandomForestClassifier(20, class_weight="balanced", random_state=0).fit(values, truth)
    forest = from_scikit_learn(model, COLUMNS, CLASSES, {})
    asked, _ = made(seed=1, rows=rows, missing=0.3)  # missing in columns that were complete in training, too
    np.testing.assert_allclose(forest.probabilities(asked), model.predict_proba(asked), atol=1e-6, rtol=0)
    np.testing.assert_allclose(
        forest.probabilities(asked[:20]), [literal(forest, row) for row in asked[:20]], atol=1e-6
    )


def test_values_at_the_thresholds_go_the_same_way():
    values = np.repeat(np.array([-1.0, -0.0, 0.0, 1e-42, 0.1, 0.2, 3e38], np.float32), 3)[:, None]
    truth = np.arange(len(values)) % 3
    model = RandomForestClassifier(20, random_state=0).fit(values, truth)
    forest = from_scikit_learn(model, TableColumns(("a",)), CLASSES, {})
    close = np.concatenate([values[:, 0], forest.threshold, np.nextafter(forest.threshold, np.float32(np.inf))])[
        :, None
    ]
    np.testing.assert_allclose(forest.probabilities(close), model.predict_proba(close), atol=1e-6, rtol=0)


def test_only_missing_rows_can_be_split_off():
    values = np.array([[1.0]] * 10 + [[np.nan]] * 10, np.float32)
    truth = np.repeat([0, 1], 10)
    forest, _ = fit_forest(values, truth, TableColumns(("a",)), ["no", "yes"], trees=10)
    found = forest.probabilities(np.array([[1.0], [3e38], [np.nan]], np.float32))
    np.testing.assert_allclose(found[:, 1], [0, 0, 1])


def test_a_saved_forest_says_the_same(tmp_path):
    values, truth = made()
    forest, importance = fit_forest(values, truth, COLUMNS, CLASSES, trees=5, seed=3)
    forest.save(tmp_path / "forest.safetensors")
    again = Forest.load(tmp_path / "forest.safetensors")
    np.testing.assert_array_equal(again.probabilities(values), forest.probabilities(values))
    assert (again.columns, again.classes, again.about) == (COLUMNS, CLASSES, forest.about)
    assert importance.argmax() in (0, 1, 2)
    assert importance.argmin() == 3  # the column that means nothing


@pytest.mark.parametrize(("name", "value"), [("left", 0), ("right", 10**6), ("feature", 4), ("left", -(10**6))])
def test_a_file_that_would_lead_astray_is_refused(tmp_path, name, value):
    values, truth = made()
    forest, _ = fit_forest(values, truth, COLUMNS, CLASSES, trees=2)
    forest.save(tmp_path / "forest.safetensors")
    arrays = load_file(tmp_path / "forest.safetensors")
    arrays[name][3] = value
    about = {"columns": asdict(COLUMNS), "classes": CLASSES, "about": {}}
    save_file(arrays, tmp_path / "bad.safetensors", {"radiossl_forest": json.dumps(about)})
    with pytest.raises(RadiosslError, match=r"bad.safetensors: not a forest"):
        Forest.load(tmp_path / "bad.safetensors")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.safetensors").write_text("no")
    with pytest.raises(RadiosslError, match="not a forest"):
        Forest.load(tmp_path / "x.safetensors")
    save_file({"x": np.zeros(2)}, tmp_path / "y.safetensors")
    with pytest.raises(RadiosslError, match="not a forest"):
        Forest.load(tmp_path / "y.safetensors")
