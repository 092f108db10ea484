"""Outputs that cannot take the result of a command are refused before it computes anything."""

import os

import numpy as np
import pyarrow as pa
import pytest

import radiossl
from radiossl.cli.main import main
from radiossl.detection.training import train_detector
from radiossl.evaluation.sweep import run_sweep
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError, UnwritableError
from radiossl.io.files import check_folder
from radiossl.io.results import result_folder
from radiossl.pipeline.run import run_survey
from radiossl.pretraining.whitening import store_whitening
from radiossl.ratings.ranking import rank

NOWHERE = "nowhere.parquet"  # were it looked at, it would be missed


@pytest.fixture
def other(tmp_path):
    """The result of another command."""
    with result_folder(tmp_path / "out", "result of astrology") as folder:
        (folder / "metrics.json").write_text("{}")
    return tmp_path / "out"


WRITERS = {
    "find_anomalies": lambda out: radiossl.find_anomalies(NOWHERE, out),
    "search": lambda out: radiossl.search(NOWHERE, "a", out),
    "train_forest": lambda out: radiossl.train_forest(NOWHERE, "class", out),
    "rank": lambda out: rank(NOWHERE, NOWHERE, [NOWHERE], out),
    "predict_sources": lambda out: radiossl.predict_sources(NOWHERE, NOWHERE, out),
    "evaluate_detectors": lambda out: radiossl.evaluate_detectors(NOWHERE, NOWHERE, out),
    "train_detector": lambda out: train_detector(NOWHERE, NOWHERE, out),
    "run_sweep": lambda out: run_sweep(
        radiossl.read_recipe("simclr-hulk")[0], [NOWHERE], (None, None), out, column="a", cuts=[0]
    ),
    "store_whitening": lambda out: store_whitening(NOWHERE, [NOWHERE], out),
    "build_set": lambda out: radiossl.build_set([NOWHERE], NOWHERE, out),
}
COMMANDS = {
    "map": ["map", NOWHERE],
    "duplicates": ["duplicates", NOWHERE],
    "evaluate": ["evaluate", "knn", NOWHERE, "--train", NOWHERE, "--label", "class"],
    "benchmark": ["benchmark", NOWHERE, "--tasks", NOWHERE],
}


@pytest.mark.parametrize("name", WRITERS)
def test_functions_look_at_the_output_first(other, name):
    with pytest.raises(RadiosslError, match=r"out: holds a result of astrology, no .*; choose another --out"):
        WRITERS[name](other)
    assert sorted(file.name for file in other.iterdir()) == [".checksums.json", "metrics.json"]


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_look_at_the_output_first(other, capsys, name):
    with pytest.raises(SystemExit):
        main([*COMMANDS[name], "--out", str(other)])
    assert "out: holds a result of astrology, no result of" in capsys.readouterr().err


def test_a_run_looks_at_the_outputs_of_all_its_steps_first(other, tmp_path):
    (tmp_path / "survey.yaml").write_text(f"mosaics: {tmp_path / 'none.fits'}\nout: {tmp_path}\n")
    other.rename(tmp_path / "anomalies")
    with pytest.raises(RadiosslError, match="anomalies: holds a result of astrology, no result of anomalies"):
        run_survey(tmp_path / "survey.yaml")


def test_a_file_and_a_disk_that_refuses_are_seen_first(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RadiosslError, match="file: is a file, a folder was expected"):
        radiossl.find_anomalies(NOWHERE, tmp_path / "file")
    with pytest.raises(UnwritableError, match=r"below: cannot be written, .*file is a file"):
        radiossl.find_anomalies(NOWHERE, tmp_path / "file" / "below")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as on a read-only disk; root may write elsewhere
    with pytest.raises(UnwritableError, match=r"below: cannot be written, .* is read-only"):
        radiossl.find_anomalies(NOWHERE, tmp_path / "new" / "below")
    assert not (tmp_path / "new").exists()


def test_an_earlier_result_and_new_folders_are_fine(tmp_path):
    columns = pa.table({"cutout_id": [f"c{row}" for row in range(12)]})
    table = FeatureTable(columns, np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32))
    for _ in range(2):
        assert radiossl.find_anomalies(table, tmp_path / "new" / "out").report.is_file()
    check_folder(tmp_path / "new" / "out", "result of anomalies")
