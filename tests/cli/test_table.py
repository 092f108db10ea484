"""`radiossl table` from a catalogue to classes, and one clear line for what goes wrong."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from radiossl.features.table import FeatureTable
from tests.command import run


@pytest.fixture
def catalogue(tmp_path):
    rng = np.random.default_rng(0)
    star = rng.random(400) < 0.5
    g = rng.normal(20, 1, 400)
    frame = pd.DataFrame(
        {"ra_deg": rng.uniform(0, 360, 400), "u": g + np.where(star, 2, 0.5) + rng.normal(0, 0.3, 400), "g": g}
    )
    frame["class"] = np.where(star, "STAR", "QSO")
    frame.to_csv(tmp_path / "cat.csv", index=False)
    return tmp_path / "cat.csv"


def test_train_and_predict(capsys, catalogue, tmp_path):
    options = ["--label", "class", "--columns", "u,g", "--colours", "u-g", "--by", "g", "--trees", 20]
    status, out, err = run(capsys, "table", "train", catalogue, *options, "--out", tmp_path / "rf")
    assert status == 0, err
    metrics = json.loads((tmp_path / "rf" / "metrics.json").read_text())
    assert metrics["training_rows"] == metrics["tested_rows"] == 400
    assert metrics["f1_low[QSO]"] < metrics["f1[QSO]"] <= metrics["f1_high[QSO]"] + 1e-9
    assert metrics["accuracy"] > 0.95  # the colour alone tells them apart to 0.994
    assert metrics["importance[u-g]"] > 0.5
    assert "QSO" in out
    assert (tmp_path / "rf" / "by_g.png").stat().st_size > 5000
    status, out, err = run(capsys, "table", "predict", tmp_path / "rf", catalogue, "--out", tmp_path / "said.csv")
    assert status == 0, err
    said, told = pd.read_csv(tmp_path / "said.csv"), pd.read_csv(tmp_path / "rf" / "predictions.csv")
    assert list(said.columns)[:4] == ["ra_deg", "predicted", "probability[QSO]", "probability[STAR]"]
    assert list(said.columns)[4:] == ["prediction_set", "outlier_score"]
    rows = said.iloc[told["row"]]
    # The rows were trained on, and in predictions.csv they were not.
    assert (rows["predicted"].to_numpy() == told["label"].to_numpy()).mean() > 0.99
    assert (told["predicted"] == told["label"]).mean() == pytest.approx(metrics["accuracy"])
    assert abs(said["probability[QSO]"] - pd.read_csv(catalogue)["class"].eq("QSO")).mean() < 0.05
    held = [label in text.split("|") for label, text in zip(told["label"], told["prediction_set"], strict=True)]
    assert np.mean(held) == pytest.approx(metrics["set_coverage[all]"])
    assert metrics["set_coverage[all]"] > 0.85
    assert (said["outlier_score"] > 1).mean() < 0.03


def test_features_and_columns_are_compared(capsys, tmp_path):
    rng = np.random.default_rng(0)
    kind, noise = rng.integers(0, 2, 80), rng.normal(size=(80, 4)).astype(np.float32)
    columns = {
        "cutout_id": [f"c{i}" for i in range(80)],
        "kind": np.array(["a", "b"])[kind],
        "size": kind + rng.normal(0, 0.1, 80),
    }
    FeatureTable(pa.table(columns), noise).write(tmp_path / "f.parquet")
    options = [
        "--label",
        "kind",
        "--columns",
        "size",
        "--features",
        "--compare",
        "--folds",
        "2",
        "--seeds",
        "2",
        "--trees",
        "5",
    ]
    status, _, err = run(capsys, "table", "train", tmp_path / "f.parquet", *options, "--out", tmp_path / "rf")
    assert status == 0, err
    metrics = json.loads((tmp_path / "rf" / "metrics.json").read_text())
    assert metrics["columns_logistic_accuracy"] > 0.95
    assert metrics["features_logistic_accuracy"] < 0.75  # noise
    assert len(pd.read_csv(tmp_path / "rf" / "comparison.csv")) == 3 * 2 * 2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--columns", "w1"], "no column 'w1'"),
        (["--columns", "u", "--resolved", "u"], "--resolved u: expected two columns"),
        (["--features"], "not a feature table"),
        (["--columns", "u", "--coverage", "1.5"], "--coverage 1.5"),
        (["--columns", "u", "--compare"], "--features, and columns"),
        ([], "--columns"),
    ],
)
def test_bad_input_is_one_line(capsys, catalogue, tmp_path, options, line):
    status, _, err = run(capsys, "table", "train", catalogue, "--label", "class", *options, "--out", tmp_path / "rf")
    assert status == 1
    assert line in err
    assert "Traceback" not in err
