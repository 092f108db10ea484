"""The result folder of `radiossl duplicates`, and the way from it to a store without repetitions."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from radiossl import open_store
from radiossl.cli.main import main
from radiossl.features.table import FeatureTable
from radiossl.store.derive import copy_store


def run(*arguments):
    """Run a command that must succeed."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert not stop.value.code


@pytest.fixture
def features(small_store, store_of, tmp_path):
    """A table of 26 cutouts, of which c24 and c25 are c03 and c10 again, slightly offset; and its store."""
    images = [np.array(small_store.pixels(row)) for row in range(24)]
    images += [np.roll(images[3], (2, -3), axis=(0, 1)), np.roll(images[10], (1, 4), axis=(0, 1))]
    store = store_of(images)
    vectors = np.random.default_rng(0).normal(size=(26, 64)).astype(np.float32)
    table = FeatureTable(store.table, vectors, {"stores": [str(store.paths[0])]})
    table.write(tmp_path / "features.parquet")
    return tmp_path / "features.parquet", store


def test_the_whole_folder(features, tmp_path, capsys):
    file, store = features
    out = tmp_path / "out"
    run("duplicates", file, "--out", out, "--ignore-positions")
    assert "2 groups, 2 repetitions among 26 cutouts" in capsys.readouterr().out
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["pairs"], metrics["groups"], metrics["to_remove"], metrics["largest_group"]) == (2, 2, 2, 2)
    pairs = pd.read_csv(out / "pairs.csv")
    found = pairs[pairs["duplicate"]]
    assert set(zip(found["cutout_id_a"], found["cutout_id_b"], strict=True)) == {("c3", "c24"), ("c10", "c25")}
    first = found[found["cutout_id_a"] == "c3"].iloc[0]
    # The source is rolled up and to the left, so the centre of the copy lies below it and to the right.
    assert (first["offset_x_px"], first["offset_y_px"]) == (3, -2)
    page = (out / "report.html").read_text()
    assert "data:image/png" in page
    assert (out / "gallery.png").stat().st_size > 10_000

    keep, joined, clean = out / "keep.csv", tmp_path / "joined", tmp_path / "clean"
    run("store", "join", store.paths[0], keep, "--on", "cutout_id", "--out", joined)
    run("store", "filter", joined, "--where", "keep", "--out", clean)
    left = open_store(clean)
    assert len(left) == 24
    groups = pd.read_csv(out / "groups.csv")
    removed = set(groups.loc[~groups["keeper"], "cutout_id"])
    assert set(store.column("cutout_id")) - set(left.column("cutout_id")) == removed


def test_nothing_found_is_said_in_a_sentence(small_store, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(len(small_store), 64)).astype(np.float32)
    table = FeatureTable(small_store.table, vectors, {"stores": [str(small_store.paths[0])]})
    table.write(tmp_path / "features.parquet")
    run("duplicates", tmp_path / "features.parquet", "--out", tmp_path / "out", "--ignore-positions")
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<p class="verdict">No source is shown twice by 24 cutouts; registered pixels decide.</p>' in page
    assert "First 0" not in page
    assert "To leave the repetitions out" not in page


def test_copies_with_other_positions_are_reported_not_joined(features, tmp_path, capsys):
    file, _ = features
    out = tmp_path / "out"
    run("duplicates", file, "--out", out)  # the copies are many degrees away
    printed = capsys.readouterr().out
    assert "not joined: 2" in printed
    assert "0 groups, 0 repetitions among 26 cutouts" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["positions_disagree"], metrics["to_remove"], metrics["look_alikes"]) == (2, 0, 0)
    pairs = pd.read_csv(out / "pairs.csv")
    wrong = pairs[pairs["positions_disagree"]]
    assert set(zip(wrong["cutout_id_a"], wrong["cutout_id_b"], strict=True)) == {("c3", "c24"), ("c10", "c25")}
    assert not pairs["duplicate"].any()
    assert pd.read_csv(out / "keep.csv")["keep"].all()
    assert "Wrong positions" in (out / "report.html").read_text()


def test_without_pixels_there_is_no_gallery_and_no_old_one(features, tmp_path):
    file, _ = features
    out = tmp_path / "out"
    run("duplicates", file, "--out", out, "--ignore-positions")
    assert (out / "gallery.png").exists()
    run("duplicates", file, "--out", out, "--ignore-pixels")
    assert not (out / "gallery.png").exists()
    assert json.loads((out / "metrics.json").read_text())["groups"] == 0
    assert list(pd.read_csv(out / "groups.csv").columns)[:3] == ["group", "keeper", "cutout_id"]


def test_groups_by_features_alone_are_shown_too(features, tmp_path):
    out = tmp_path / "out"
    run("duplicates", features[0], "--out", out, "--ignore-pixels", "--ignore-positions", "--similarity", "0.2")
    page = (out / "report.html").read_text()
    assert "without pixels, so look at them" in page
    assert page.count("<li ") > 1
    assert re.search(r"similarity 0\.[2-9]", page)


def test_one_clear_line_for_what_is_wrong(features, tmp_path, capsys):
    file, store = features
    part = copy_store(store.select(range(5)), tmp_path / "part", {"command": "test"})
    for arguments, message in [
        (["--radius", "wide"], "--radius wide: expected an angle"),
        (["--similarity", "3"], "--similarity 3.0: expected a number of at least -1 and at most 1"),
        (["--store", str(part.paths[0])], "has no cutout 'c5'; give the store of the features"),
    ]:
        with pytest.raises(SystemExit):
            main(["duplicates", str(file), "--out", str(tmp_path / "x"), *arguments])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
