"""The whole way from mosaics to neighbours on the command line, and one clear line for everything that goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from typer.core import TyperGroup

import radiossl
from radiossl import open_store
from radiossl.cli.main import main
from radiossl.images.preprocess import Preprocessing
from radiossl.io.signals import Stopped
from radiossl.similarity.search import SimilarityIndex
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone
from radiossl.weights.config import BackboneConfig
from tests.command import run

HEADER = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CDELT1": -1e-3, "CDELT2": 1e-3})
TINY = ["--set", "backbone.name=test_resnet", "--image-size", "32", "--batch-size", "8", "--device", "cpu"]


def fails(capsys, *arguments):
    """Run a command that must fail with one line on standard error; return the line."""
    status, _, err = run(capsys, *arguments)
    assert status == 1
    lines = [line for line in err.splitlines() if line.startswith("radiossl: error: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0].removeprefix("radiossl: error: ")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A simulated survey and everything that is made from it."""
    root = tmp_path_factory.mktemp("world")

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        assert not stop.value.code, arguments

    call("simulate", root / "survey", "--tiles", 2, "--size", 384, "--sources", 24)
    truth = root / "survey" / "truth.csv"
    call("cutouts", "sources", root / "survey", "--catalogue", truth, "--size", 48, "--out", root / "store")
    call("pretrain", "--recipe", "radiossl", "--data", root / "store", "--epochs", 2, "--out", root / "run", *TINY)
    call("embed", root / "run" / "backbone", root / "store", "--out", root / "features.parquet")
    return root


def test_the_run_has_a_report_with_its_curves(world):
    page = (world / "run" / "report.html").read_text()
    assert "radiossl (simclr)" in page
    assert "data:image/png" in page
    assert (world / "run" / "training.png").stat().st_size > 5000


def test_knn_against_the_truth(capsys, world, tmp_path):
    group = ["--group", "compact=compact", "--group", "resolved=FRI,FRII,bent,hybrid,ring,diffuse"]
    arguments = ["--train", world / "store", "--label", "class", *group, "--folds", 2, "--seeds", 2, "-k", 3]
    arguments += ["--keep-shared", "--by", "rms"]
    status, out, _ = run(capsys, "evaluate", "knn", world / "run" / "backbone", *arguments, "--out", tmp_path / "knn")
    assert status == 0
    metrics = json.loads((tmp_path / "knn" / "metrics.json").read_text())
    for name in ("majority class", "raw pixels", "random weights", "backbone"):
        assert name in out
        assert 0 <= metrics[f"{name.replace(' ', '_')}_accuracy"] <= 1
    predictions = pd.read_csv(tmp_path / "knn" / "predictions.csv")
    truth = pd.read_csv(world / "survey" / "truth.csv").set_index("source_id")
    expected = np.where(truth.loc[predictions["cutout_id"], "class"] == "compact", "compact", "resolved")
    assert list(predictions["label"]) == list(expected)
    page = (tmp_path / "knn" / "report.html").read_text()
    assert "<h1>knn: run</h1>" in page  # the name; its whole path is among the numbers
    assert metrics["weights"] == str(world / "run" / "backbone")


@pytest.mark.slow
def test_frozen_features_are_made_once_for_all_protocols(capsys, world, tmp_path):
    group = ["--group", "compact=compact", "--group", "long=FRI,FRII,bent", "--folds", 2, "--seeds", 1]
    arguments = ["--train", world / "store", "--label", "class", *group, "--keep-shared", "--epochs", 2]
    backbone = world / "run" / "backbone"
    status, out, err = run(capsys, "evaluate", "frozen", backbone, *arguments, "--layer", "--out", tmp_path / "all")
    assert status == 0, err
    alone = {}
    for name in ("knn", "linear"):
        status, _, err = run(capsys, "evaluate", name, backbone, *arguments[:-2], "--out", tmp_path / name)
        assert status == 0, err
        together = json.loads((tmp_path / "all" / name / "metrics.json").read_text())
        alone[name] = json.loads((tmp_path / name / "metrics.json").read_text())
        assert together["label_fractions"] == alone[name]["label_fractions"]
        numbers = {key: value for key, value in alone[name].items() if isinstance(value, float)}
        assert {key: together[key] for key in numbers} == pytest.approx(numbers, abs=1e-4, nan_ok=True)
    assert out.count("random weights") == 3
    assert {"backbone_precision_at_10", "backbone_precision_at_10[long]"} <= set(alone["knn"])
    assert "precision_at_10[long]" in (tmp_path / "knn" / "report.html").read_text()


def test_a_separate_test_set_gets_an_interval(capsys, world, tmp_path):
    arguments = ["--train", world / "store", "--test", world / "store", "--label", "class", "--no-baselines", "-k", 1]
    arguments.append("--keep-shared")
    status, _, _ = run(capsys, "evaluate", "knn", world / "run" / "backbone", *arguments, "--out", tmp_path / "knn")
    assert status == 0
    metrics = json.loads((tmp_path / "knn" / "metrics.json").read_text())
    assert metrics["backbone_accuracy"] == 1.0  # each is its own nearest neighbour
    assert metrics["backbone_accuracy_low"] < 1.0


def test_what_was_trained_on_is_not_tested_on_unless_told(capsys, world, tmp_path):
    base = ["evaluate", "knn", world / "run" / "backbone", "--label", "class", "--out", tmp_path / "out"]
    base += ["--group", "compact=compact", "--group", "long=FRI,FRII,bent", "--folds", 2]
    said = fails(capsys, *base, "--train", world / "store")
    assert "every tested source was in the pretraining set; test on others, or keep them with --keep-shared" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_protocol_and_their_comparison(capsys, world, tmp_path):
    base = [
        "--train",
        world / "store",
        *["--label", "class", "--group", "compact=compact", "--group", "long=FRI,FRII,bent"],
    ]
    base += ["--folds", 2, "--seeds", 1, "--keep-shared", "--no-baselines"]
    training = ["--epochs", 1, "--set", "batch_size=8"]
    named = []
    for name, *further in (
        ("knn", "-k", 0, "--baselines", "--fractions", "1,50%"),
        ("linear", "--tta", "d4"),
        ("linear", "--layer", "--epochs", 2, "--calibrate"),
        ("finetune", *training, "--stages", 1, "--small-cnn"),
        ("supervised", *training),
    ):
        out = tmp_path / f"{name}{len(named)}"
        status, text, err = run(capsys, "evaluate", name, world / "run" / "backbone", *base, *further, "--out", out)
        assert status == 0, err
        assert "note: " in text
        metrics = json.loads((out / "metrics.json").read_text())
        judged = "from_scratch" if name == "supervised" else "backbone"
        assert {f"{judged}_accuracy", f"{judged}_macro_f1", f"{judged}_ece", f"{judged}_recall[long]"} <= set(metrics)
        predictions = pd.read_csv(out / "predictions.csv")
        np.testing.assert_allclose(predictions["probability[compact]"] + predictions["probability[long]"], 1)
        named.append(f"{name}-{len(named)}={out}")
    metrics = json.loads((tmp_path / "knn0" / "metrics.json").read_text())
    assert metrics["label_fractions"] == [1.0, 0.5]
    assert "backbone_accuracy@0.5" in metrics
    assert (tmp_path / "knn0" / "fractions.png").is_file()
    status, text, err = run(capsys, "evaluate", "compare", *named, "--out", tmp_path / "all")
    assert status == 0, err
    table = pd.read_csv(tmp_path / "all" / "comparison.csv")
    assert table["name"].tolist() == [text.split("=")[0] for text in named]
    assert table["probability_better"].iloc[1:].between(0, 1).all()


def test_features_averaged_on_request_are_searched_by_averaged_ones(capsys, world, tmp_path):
    weights, features = world / "run" / "backbone", tmp_path / "f.parquet"
    status, _, err = run(capsys, "embed", weights, world / "store", "--tta", "none", "--out", features)
    assert status == 0, err
    once, averaged = pd.read_parquet(features), pd.read_parquet(world / "features.parquet")
    assert np.abs(np.stack(once["features"]) - np.stack(averaged["features"])).max() > 1e-3
    store = open_store(world / "store")
    np.save(tmp_path / "q.npy", store.pixels(5))  # without the sky around it
    for table in (features, world / "features.parquet"):
        out = tmp_path / table.stem
        status, _, err = run(capsys, "search", table, "--query", tmp_path / "q.npy", "--weights", weights, "--out", out)
        assert status == 0, err
        best = pd.read_csv(out / "neighbours.csv").iloc[0]
        assert best["cutout_id"] == store.column("cutout_id")[5]
        table = radiossl.FeatureTable.read(table)
        (query,) = SimilarityIndex(table).queries_by_images(store[[5]], load_backbone(weights))
        np.testing.assert_allclose(query.vector, table.features[5], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_sweep_trains_and_judges_every_cut_and_seed_once(capsys, world, tmp_path):
    out = tmp_path / "sweep"
    arguments = ["--recipe", "radiossl", "--data", world / "store", "--train", world / "store", "--label", "class"]
    arguments += ["--group", "compact=compact", "--group", "long=FRI,FRII,bent", "--cuts", "0,12", "--out", out]
    arguments += ["--column", "extent_arcsec"]
    arguments += ["--seeds", 2, "--folds", 2, "-k", 3, "--epochs", 2, *TINY, "--set", "monitor_epochs=1"]
    said = fails(capsys, "evaluate", "sweep", *arguments)
    assert "every cutout shows what is in" in said
    status, text, err = run(capsys, "evaluate", "sweep", *arguments, "--keep-shared")
    assert status == 0, err
    scores = pd.read_csv(out / "scores.csv")
    assert scores[["cut", "seed"]].to_numpy().tolist() == [[0, 0], [0, 1], [12, 0], [12, 1]]
    extent = pd.read_csv(world / "survey" / "truth.csv")["extent_arcsec"]
    assert scores["cutouts"].tolist() == [len(extent)] * 2 + [int((extent >= 12).sum())] * 2
    curves = pd.read_csv(out / "curves.csv")
    assert len(curves) == 4 * 2
    first = curves.iloc[:2]["knn_accuracy"].to_numpy()
    assert curves["smoothed"].iloc[1] == pytest.approx(0.7 * first[0] + 0.3 * first[1])
    assert f"extent_arcsec >= 12: {scores['accuracy'][2:].mean():.3f}" in text
    assert (out / "sweep.png").is_file()
    assert (out / "curves.png").is_file()
    weights = out / "runs" / "extent_arcsec-0-seed-0" / "backbone" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    status, again, _ = run(capsys, "evaluate", "sweep", *arguments, "--keep-shared")
    assert (status, again) == (0, text)
    assert weights.stat().st_mtime_ns == before, "what is finished is not trained again"


def test_search_by_id_position_and_file_find_the_same(capsys, world, tmp_path):
    features = pd.read_parquet(world / "features.parquet")
    row = features.iloc[3]
    from radiossl import open_store

    store = open_store(world / "store")
    np.save(tmp_path / "query.npy", store.pixels(3))
    position = f"{row.ra_deg:.6f} {row.dec_deg:+.6f}"
    queries = [part for query in (row.cutout_id, position, tmp_path / "query.npy") for part in ("--query", query)]
    arguments = [world / "features.parquet", *queries, "-k", 4, "--caption", "class", "--out", tmp_path / "found"]
    status, _, _ = run(capsys, "search", *arguments)
    assert status == 0
    found = pd.read_csv(tmp_path / "found" / "neighbours.csv")
    by_id, by_position, by_file = (list(found["cutout_id"][start : start + 4]) for start in (0, 4, 8))
    assert list(found["query"]) == [row.cutout_id] * 8 + ["query.npy"] * 4
    assert row.cutout_id not in by_id
    assert by_position == by_id
    # A file is not known to be one of the cutouts, and finds itself first of all.
    assert by_file == [row.cutout_id, *by_id[:3]]
    assert (tmp_path / "found" / "gallery.png").stat().st_size > 5000


def test_views_weights_info_and_report(capsys, world, tmp_path):
    arguments = ["--recipe", "simclr-hulk", "--data", world / "store", "--rows", 2, "--count", 2, "--image-size", 32]
    assert run(capsys, "views", *arguments, "--out", tmp_path / "views.png")[0] == 0
    assert (tmp_path / "views.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = run(capsys, "weights", "info", world / "run" / "backbone", "--json")
    assert status == 0
    assert json.loads(out)["recipe"] == "radiossl"
    assert json.loads(out)["data"][0]["store"] == "store"
    status, out, _ = run(capsys, "weights", "info", world / "run" / "backbone")
    assert status == 0
    assert "feature_dim    96\n" in out
    assert "## Training images\n\n- store: " in out
    assert out.endswith("Not measured.\n")
    assert run(capsys, "report", f"training={world / 'run'}", "--out", tmp_path / "index.html")[0] == 0
    assert "training" in (tmp_path / "index.html").read_text()


def test_embedding_files_is_embedding_the_store(capsys, world, tmp_path):
    np.save(tmp_path / "one.npy", open_store(world / "store").pixels(0))
    radiossl.open_images(tmp_path / "one.npy", out=tmp_path / "kept")
    for source, out in (("one.npy", "file.parquet"), ("kept", "store.parquet")):
        assert run(capsys, "embed", world / "run" / "backbone", tmp_path / source, "--out", tmp_path / out)[0] == 0
    tables = [radiossl.FeatureTable.read(tmp_path / out) for out in ("file.parquet", "store.parquet")]
    np.testing.assert_allclose(tables[0].features, tables[1].features, rtol=1e-3, atol=1e-4)


# Everything that goes wrong -------------------------------------------------------------------------------------------


def test_pretraining_refuses_what_it_cannot_use(capsys, world, tmp_path):
    out = tmp_path / "run"

    def line(*arguments):
        message = fails(capsys, "pretrain", *arguments, "--out", out)
        assert not out.exists()
        return message

    store = ["--data", world / "store"]
    assert "no such recipe" in line("--recipe", "simclr-hulc", *store)
    assert "did you mean 'optimizer.lr'" in line("--recipe", "radiossl", *store, "--set", "optimizer.l=1")
    assert "no such cutout store" in line("--recipe", "radiossl", "--data", tmp_path / "nothing")
    assert "not a cutout store" in line("--recipe", "radiossl", "--data", world)
    assert "too few" in line("--recipe", "radiossl", *store, "--set", "where=rms < 0", *TINY)
    assert "'colour' is not defined" in line("--recipe", "radiossl", *store, "--set", "where=colour > 1", *TINY)
    assert "needs --label" in line("--recipe", "radiossl", *store, "--monitor", world / "store", *TINY)
    assert "no such backbone" in line("--recipe", "radiossl", *store, "--init", tmp_path / "nothing", *TINY)
    assert "knows no such network" in line("--recipe", "radiossl", *store, "--set", "backbone.name=resnet1x")


def test_a_store_cut_short_is_not_trained_on(capsys, world, tmp_path):
    shutil.copytree(world / "store", tmp_path / "store")
    shard = next((tmp_path / "store").glob("*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1000])
    arguments = ["--recipe", "radiossl", "--data", tmp_path / "store", "--out", tmp_path / "run", *TINY]
    assert "cut short" in fails(capsys, "pretrain", *arguments)
    (tmp_path / "store" / "store.json").rename(tmp_path / "store" / "store.partial.json")
    assert "interrupted while being written" in fails(capsys, "pretrain", *arguments)
    assert not (tmp_path / "run").exists()


def test_embedding_refuses_what_it_cannot_use(capsys, world, tmp_path):
    backbone, out = world / "run" / "backbone", tmp_path / "features.parquet"
    (tmp_path / "words.fits").write_text("not an image")
    (tmp_path / "nothing").mkdir()
    np.save(tmp_path / "blank.npy", np.full((32, 32), np.nan, np.float32))
    for source, message in [
        (tmp_path / "missing.fits", "no such file"),
        (tmp_path / "words.fits", "not a FITS file"),
        (tmp_path / "blank.npy", "every pixel is blank"),
        (world / "features.parquet", "not an image"),
        (tmp_path / "nothing", "not a cutout store"),
    ]:
        assert message in fails(capsys, "embed", backbone, source, "--out", out)
        assert not out.exists()
    assert "no such backbone" in fails(capsys, "embed", tmp_path / "none", world / "store", "--out", out)
    broken = tmp_path / "broken"
    other = Backbone.random(Architecture(name="resnet18"), Preprocessing(size=32), 0)
    config = BackboneConfig(Architecture(name="resnet34"), other.config.preprocessing)
    save_backbone(broken, other.network, config)
    assert "another architecture than resnet34" in fails(capsys, "embed", broken, world / "store", "--out", out)
    assert not out.exists()


def test_searching_refuses_what_it_cannot_use(capsys, world, tmp_path, monkeypatch):
    monkeypatch.setenv("RADIOSSL_OFFLINE", "1")
    features, out = world / "features.parquet", tmp_path / "found"
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "fake.png").write_text("hello")
    for query, message in [
        ("nobody", "no such file, cutout id or position"),
        ("1.0 -80.0", "the nearest cutout is"),
        (tmp_path / "notes.txt", "not an image"),
        (tmp_path / "fake.png", "not a readable picture"),
    ]:
        assert message in fails(capsys, "search", features, "--query", query, "--out", out)
        assert not out.exists()
    assert "no column 'colour'" in fails(
        capsys, "search", features, "--query", "nobody", "--caption", "colour", "--out", out
    )
    assert "not a readable Parquet file" in fails(
        capsys, "search", tmp_path / "notes.txt", "--query", "x", "--out", out
    )


def test_evaluating_refuses_what_it_cannot_use(capsys, world, tmp_path):
    backbone, out = world / "run" / "backbone", tmp_path / "knn"
    base = ["evaluate", "knn", backbone, "--train", world / "store", "--keep-shared", "--out", out]
    tuning = ["evaluate", "finetune", *base[2:], "--label", "class", "--folds", 2]
    assert "no column 'kind'" in fails(capsys, *base, "--label", "kind")
    assert "'FRX' does not occur" in fails(capsys, *base, "--label", "class", "--group", "a=FRX")
    assert "too few for 40 folds" in fails(capsys, *base, "--label", "class", "--folds", 40)
    assert "--fractions 1,few: expected numbers" in fails(capsys, *base, "--label", "class", "--fractions", "1,few")
    assert "--tta d8: expected one of d4, none" in fails(capsys, *base, "--label", "class", "--tta", "d8")
    assert "no grouping 'fr'" in fails(capsys, *base, "--label", "class", "--grouping", "fr")
    assert "leaves 0 class" in fails(capsys, *base, "--label", "class", "--where", "ra_deg > 1000")
    for column, what in (("colour", "no column 'colour'"), ("source_id", "numbers were expected"), ("unit", "numbers")):
        assert what in fails(capsys, *tuning, "--by", column)
    assert "fewer than two different numbers" in fails(capsys, *tuning, "--by", "pixel_scale_arcsec")
    assert "--set lrr=1: unknown key 'lrr'; did you mean 'lr'?" in fails(capsys, *tuning, "--set", "lrr=1")
    assert "--set lr: expected KEY=VALUE" in fails(capsys, *tuning, "--set", "lr")
    assert "--set lr=-1: lr: should be greater than 0" in fails(capsys, *tuning, "--set", "lr=-1")
    assert not out.exists()


def test_debug_shows_the_traceback(world, tmp_path):
    from radiossl.io.errors import RadiosslError

    with pytest.raises(RadiosslError):
        main(["--debug", "embed", str(tmp_path / "none"), str(world / "store"), "--out", str(tmp_path / "f")])


def test_interruption_ends_with_130(capsys, monkeypatch, tmp_path):
    from radiossl.survey import simulation as simulate

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulate, "simulate_survey", interrupt)
    assert run(capsys, "simulate", tmp_path / "s")[0] == 130


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_is_one_that_all_random_generators_take(tmp_path, seed):
    with pytest.raises(SystemExit) as stop:
        main(["simulate", str(tmp_path / "sky"), "--seed", str(seed)])
    assert stop.value.code == 2
    assert not (tmp_path / "sky").exists()


def test_the_label_is_no_column_to_learn_from(capsys):
    arguments = ("evaluate", "knn", "simclr-first-zoom", "--train", "store", "--label", "fr", "--columns", "size,fr")
    assert "--columns fr: is the label that is to be predicted" in fails(capsys, *arguments, "--out", "out")


def started(*arguments, **options):
    command = [sys.executable, "-m", "radiossl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_quiet_and_verbose(tmp_path):
    survey = ["simulate", "--tiles", "1", "--size", "128", "--sources", "3"]
    loud = started("--verbose", *survey, tmp_path / "a")
    assert f"wrote {tmp_path / 'a'}" in loud.stderr
    assert started(*survey, tmp_path / "b").stderr == started("--quiet", *survey, tmp_path / "c").stderr == ""
    assert "--verbose and --quiet: give one" in started("--quiet", "--verbose", *survey, tmp_path / "d").stderr


def test_what_will_be_done_is_said_before_torch_is_loaded(world, tmp_path):
    """So that the first line comes within two seconds."""
    store, table, out = world / "store", world / "features.parquet", tmp_path / "out"
    count = len(open_store(store))
    looking = f"searching {table} for what looks like {store}; results in {out}"
    for line, *arguments in (
        (f"embedding {count} images with run into {out}", "embed", world / "run" / "backbone", store),
        (f"training by the recipe radiossl on {count} cutouts into {out}", "pretrain", "--data", store),
        (looking, "search", table, "--query", store),
    ):
        code = "import sys; sys.modules['torch'] = None; from radiossl.cli.main import main; main(sys.argv[1:])"
        command = [sys.executable, "-c", code, *map(str, arguments), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[0] == f"radiossl: {line}"
        assert "torch" in done.stderr.splitlines()[-1]


def test_shells_can_complete_commands():
    done = started(
        env=os.environ | {"_RADIOSSL_COMPLETE": "complete_bash", "COMP_WORDS": "radiossl sto", "COMP_CWORD": "1"}
    )
    assert done.stdout.split() == ["store"]


@pytest.mark.parametrize(("argument", "name"), [("--out=", "--out"), ("", "an argument")])
def test_empty_arguments_are_refused(capsys, argument, name):
    assert fails(capsys, "search", "f.parquet", "--query", argument).startswith(f"{name}: is empty")


def test_the_home_folder_is_known_behind_an_equals_sign(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "simulate", "--tiles", 1, "--size", 200, "--sources", 2, "~/sky")[0] == 0
    assert run(capsys, "cutouts", "blind", "sky", "--size", 32, "--out=~/store")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sky", "store"]


def test_names_of_files_that_are_not_utf8_are_refused_in_one_line(capsys, tmp_path):
    folder = os.fsencode(tmp_path)
    assert r"M\xe4.fits: has letters that are not UTF-8" in fails(
        capsys, "cutouts", "blind", os.fsdecode(b"M\xe4.fits")
    )
    fits.writeto(os.fsdecode(folder + b"/M\xe4.fits"), np.random.default_rng(0).normal(size=(64, 64)), HEADER)
    said = fails(capsys, "cutouts", "blind", tmp_path, "--size", 32, "--out", tmp_path / "store")
    assert r"M\udce4" in said
    assert "rename the file" in said
    assert not (tmp_path / "store" / "store.json").exists()


def test_a_stop_while_the_arguments_are_read_says_so_too(capsys, monkeypatch):
    def stop(*arguments, **options):
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(TyperGroup, "make_context", stop)
    status, _, err = run(capsys, "recipes")
    assert (status, err) == (128 + signal.SIGTERM, "radiossl: stopped by SIGTERM\n")
