"""What a run was started with: compared in every part when it is resumed, and never forgotten."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from radiossl.io.errors import RadiosslError
from radiossl.pretraining import trainer as training
from radiossl.pretraining.checkpoint import CHECKPOINT
from radiossl.pretraining.recipe import read_recipe
from radiossl.pretraining.record import RECORD_FILE, RunRecord, store_content
from radiossl.pretraining.run import pretrain
from radiossl.pretraining.trainer import Trainer
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.store import open_store
from radiossl.store.writing import write_store
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone
from radiossl.weights.config import TrainingSky

FAST = ["backbone.name=test_resnet", "preprocessing.size=32", "preprocessing.views=1", "batch_size=4",
        "schedule.epochs=2", "schedule.warmup_epochs=0"]  # fmt: skip


def started_with(run):
    return RunRecord(**json.loads((run / RECORD_FILE).read_text()))


def make_store(path, sky, seed=0, ra=10.0):
    """Eight cutouts under the same ids, written by the same command, whatever the seed."""
    cutouts = [Cutout(f"c{row}", sky(10 * seed + row, (40, 40)), "m", ra + row, 0.0, 0, 0, 1.8) for row in range(8)]
    schema = store_schema()
    write_store(path, [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": "cut"})
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory, sky):
    root = tmp_path_factory.mktemp("stores")
    make_store(root / "one", sky)
    make_store(root / "other", sky, seed=1)
    make_store(root / "moved", sky, ra=100.0)
    return root


def recipe(*changes):
    return read_recipe("radiossl", [*FAST, *changes])


def start(folder, seed, positions):
    """Save a backbone that was trained at so many positions."""
    [one] = recipe()
    random = Backbone.random(one.backbone, one.preprocessing, seed)
    at = np.arange(positions, dtype=float)
    save_backbone(
        folder, random.network, replace(random.config, sky=TrainingSky(at, at / 10, np.full(positions, 60.0, "f4")))
    )
    return folder


@pytest.fixture
def stop_at(monkeypatch):
    """`stop_at(step)` sends SIGTERM in the middle of a step."""
    original = Trainer.train_step

    def patch(step):
        def interrupted(self, *arguments):
            if self.step == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(self, *arguments)

        monkeypatch.setattr(Trainer, "train_step", interrupted)

    yield patch
    monkeypatch.undo()


def interrupted(stop_at, monkeypatch, *arguments, **options):
    stop_at(1)
    with pytest.raises(KeyboardInterrupt):
        pretrain(*arguments, **options)
    monkeypatch.undo()


def test_content_is_that_of_the_pixels_and_positions_and_not_of_the_command(stores, tmp_path):
    one, other, moved = (open_store(stores / name) for name in ("one", "other", "moved"))
    assert len({store_content(store) for store in (one, other, moved)}) == 3
    shutil.copytree(stores / "one", tmp_path / "elsewhere")
    assert store_content(open_store(tmp_path / "elsewhere")) == store_content(one)
    assert store_content(one.select(np.arange(8)[::-1])) != store_content(one)


def test_another_store_of_as_many_cutouts_is_refused(stores, tmp_path, stop_at, monkeypatch):
    out = tmp_path / "run"
    interrupted(stop_at, monkeypatch, recipe(), stores / "one", out)
    for name in ("other", "moved"):
        with pytest.raises(RadiosslError, match=r"was started with other training data, one \(8 cutouts\)"):
            pretrain(recipe(), stores / name, out, resume=True)
    with pytest.raises(RadiosslError, match="other training data"):
        pretrain(recipe(), [stores / "one", stores / "other"], out, resume=True)
    shutil.copytree(stores / "one", tmp_path / "copied")
    whole = pretrain(recipe(), stores / "one", tmp_path / "whole")
    resumed = pretrain(recipe(), tmp_path / "copied", out, resume=True)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_weights_it_started_from_are_remembered_with_their_sky(stores, tmp_path, stop_at, monkeypatch):
    init, other = start(tmp_path / "init", 1, 120), start(tmp_path / "other", 2, 3)
    whole = pretrain(recipe(), stores / "one", tmp_path / "whole", init=init)
    for name, options in {"again": {"init": init}, "without": {}, "gone": {}}.items():
        out = tmp_path / name
        interrupted(stop_at, monkeypatch, recipe(), stores / "one", out, init=init)
        with pytest.raises(RadiosslError, match=r"was started from other weights, .*init; resume without --init"):
            pretrain(recipe(), stores / "one", out, resume=True, init=other)
        if name == "gone":
            init.rename(tmp_path / "renamed")
        config = load_backbone(pretrain(recipe(), stores / "one", out, resume=True, **options)).config
        assert len(config.sky.ra_deg) == 128
        assert config.recipe["init"] == str(init)
        ours, theirs = (load_file(folder / "backbone" / "model.safetensors") for folder in (out, whole.parent))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    out = tmp_path / "random"
    interrupted(stop_at, monkeypatch, recipe(), stores / "one", out)
    with pytest.raises(RadiosslError, match="was started from random weights; resume without --init"):
        pretrain(recipe(), stores / "one", out, resume=True, init=other)
    with pytest.raises(RadiosslError, match=r"--init .*nowhere: no such backbone"):
        pretrain(recipe(), stores / "one", tmp_path / "new", init=tmp_path / "nowhere")


def test_finished_stages_are_compared_too(stores, tmp_path):
    stages, data, out = [*recipe(), *recipe("seed=5")], [stores / "one", stores / "other"], tmp_path / "run"
    with pytest.raises(RadiosslError, match="no stages to resume; leave out --resume"):
        pretrain(stages, data, out, resume=True)
    backbone = pretrain(stages, data, out)
    assert pretrain(stages, data, out, resume=True) == backbone
    with pytest.raises(RadiosslError, match="stage1: was started with other training data, one"):
        pretrain(stages, [stores / "moved", stores / "other"], out, resume=True)
    with pytest.raises(RadiosslError, match="stage2: was started with other training data, other"):
        pretrain(stages, [stores / "one", stores / "moved"], out, resume=True)
    longer = [*recipe("schedule.epochs=3"), *recipe("schedule.epochs=3", "seed=5")]
    with pytest.raises(RadiosslError, match="stage1: was started with another 'schedule'"):
        pretrain(longer, data, out, resume=True)
    with pytest.raises(RadiosslError, match="stage1: was started from random weights"):
        pretrain(stages, data, out, resume=True, init=start(tmp_path / "init", 1, 3))
    record = started_with(out / "stage2")
    assert record.init.sha256 == load_backbone(out / "stage1" / "backbone").sha256


def test_more_epochs_are_a_further_stage_from_the_old_weights(stores, tmp_path, capsys, stop_at, monkeypatch):
    out = tmp_path / "run"
    first = pretrain(recipe(), stores / "one", out)
    before = (first / "model.safetensors").read_bytes()
    more = recipe("schedule.epochs=5")
    with pytest.raises(RadiosslError, match="other training data"):
        pretrain(more, stores / "other", out, resume=True)
    with pytest.raises(RadiosslError, match="another 'schedule'"):
        pretrain(recipe("schedule.epochs=1"), stores / "one", out, resume=True)
    interrupted(stop_at, monkeypatch, more, stores / "one", out, resume=True)
    further = pretrain(more, stores / "one", out, resume=True)
    assert further == out / "further1" / "backbone"
    assert "further1: 3 epochs more from the weights of" in capsys.readouterr().err
    record, config = started_with(out / "further1"), load_backbone(further).config
    assert record.init.model_dump() == {"path": str(first), "sha256": load_backbone(first).sha256}
    assert (config.recipe["schedule"]["epochs"], config.recipe["init"]) == (3, str(first))
    assert len(config.sky.ra_deg) == 16  # of both stages
    assert (first / "model.safetensors").read_bytes() == before
    assert pretrain(more, stores / "one", out, resume=True) == further
    assert pretrain(recipe("schedule.epochs=6"), stores / "one", out, resume=True) == out / "further2" / "backbone"
    with pytest.raises(RadiosslError, match=r"further1: trains to 5 epochs; resume with --epochs 5"):
        pretrain(recipe("schedule.epochs=4"), stores / "one", out, resume=True)


def test_an_unfinished_run_is_not_lengthened(stores, tmp_path, stop_at, monkeypatch):
    interrupted(stop_at, monkeypatch, recipe(), stores / "one", tmp_path / "run")
    with pytest.raises(RadiosslError, match="another 'schedule'"):
        pretrain(recipe("schedule.epochs=5"), stores / "one", tmp_path / "run", resume=True)


def test_another_version_is_said_and_recorded(stores, tmp_path, stop_at, monkeypatch):
    out = tmp_path / "run"
    interrupted(stop_at, monkeypatch, recipe(), stores / "one", out)
    content = json.loads((out / RECORD_FILE).read_text())
    content["versions"][0]["torch"] = "2.5.0"
    (out / RECORD_FILE).write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=f"torch was 2.5.0 and is {torch.__version__}".replace("+", r"\+")):
        pretrain(recipe(), stores / "one", out, resume=True)
    assert [entry["torch"] for entry in started_with(out).versions] == ["2.5.0", torch.__version__]


def test_a_run_of_version_0_1_can_be_resumed_with_a_warning(stores, tmp_path, stop_at, monkeypatch):
    out = tmp_path / "run"
    interrupted(stop_at, monkeypatch, recipe(), stores / "one", out)
    (out / RECORD_FILE).unlink()
    with pytest.warns(UserWarning, match=r"started by radiossl 0\.1, which did not record its data"):
        assert pretrain(recipe(), stores / "one", out, resume=True).is_dir()
    (out / RECORD_FILE).write_text('{"format": 3}')
    with pytest.raises(RadiosslError, match=r"run\.json: damaged or from a newer radiossl"):
        pretrain(recipe(), stores / "one", out, resume=True)


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("run.json", b"[]", "damaged or from a newer radiossl"),
        ("run.json", b'{"data": null, "versions": [{}]}', "damaged or from a newer radiossl, .*: data: "),
        ("run.json", b'{"data": [{"store": "one"}], "versions": [{}]}', r"damaged .*: data\.0\.cutouts: "),
        ("run.json", b'{"data": [], "versions": []}', "damaged .*: versions: "),
        ("metrics.csv", b"epoch,loss\n1,2\n", "damaged, it has no column step; move it away"),
        ("metrics.csv", b"\xff\xfe\n", "damaged, it has no column step"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(stores, tmp_path, stop_at, monkeypatch, file, content, problem):
    interrupted(stop_at, monkeypatch, recipe(), stores / "one", tmp_path / "run")
    (tmp_path / "run" / file).write_bytes(content)
    with pytest.raises(RadiosslError, match=f"{re.escape(file)}: {problem}"):
        pretrain(recipe(), stores / "one", tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda _: [1], "TypeError"),
        (lambda _: {"step": 1}, "KeyError: 'method'"),
        (lambda known: known | {"sky": {"stars": torch.ones(2)}}, "stars"),
        (lambda known: known | {"optimizer": {}}, "param_groups"),
        (lambda known: known | {"method": {"network.stem": torch.ones(2)}}, "loading state_dict"),
    ],
)
def test_a_checkpoint_of_something_else_is_named(stores, tmp_path, stop_at, monkeypatch, change, problem):
    interrupted(stop_at, monkeypatch, recipe(), stores / "one", tmp_path / "run")
    file = tmp_path / "run" / CHECKPOINT
    torch.save(change(torch.load(file, weights_only=True)), file)
    with pytest.raises(RadiosslError, match=rf"last\.ckpt: damaged checkpoint \(.*{problem}.*; start the run again"):
        pretrain(recipe(), stores / "one", tmp_path / "run", resume=True)


def test_lines_of_the_metrics_that_are_no_rows_are_dropped(stores, tmp_path, stop_at, monkeypatch):
    interrupted(stop_at, monkeypatch, recipe(), stores / "one", tmp_path / "run")
    file = tmp_path / "run" / "metrics.csv"
    file.write_text(f"{file.read_text()},1\nx,2\n\n")
    pretrain(recipe(), stores / "one", tmp_path / "run", resume=True)
    assert [line.partition(",")[0] for line in file.read_text().splitlines()] == ["step", "2", "4"]


def test_a_stop_while_the_data_are_opened_saves_a_checkpoint_to_go_on_from(stores, tmp_path, monkeypatch):
    original = training.training_data

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    monkeypatch.setattr(training, "training_data", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe(), stores / "one", tmp_path / "run")
    monkeypatch.undo()
    assert torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)["step"] == 0
    whole = pretrain(recipe(), stores / "one", tmp_path / "whole")
    resumed = pretrain(recipe(), stores / "one", tmp_path / "run", resume=True)
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
