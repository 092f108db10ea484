"""Two processes train what one does: exchanges against their plain twins, whole runs against those of one process."""

from __future__ import annotations

import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from radiossl.images.preprocess import Preprocessing
from radiossl.images.views import PRESETS, Augmentation, ViewMaker
from radiossl.io.errors import RadiosslError
from radiossl.io.locks import only_writer
from radiossl.pretraining import trainer
from radiossl.pretraining.distributed import (
    ProcessGroup,
    first_process_reports,
    gather_rows,
    join_processes,
    process_group_from_environment,
)
from radiossl.pretraining.recipe import Recipe, read_recipe
from radiossl.pretraining.run import pretrain
from radiossl.pretraining.trainer import CHECKPOINT, Trainer
from radiossl.store.statistics import PixelStatistics
from radiossl.weights.backbone import Backbone

pytestmark = pytest.mark.slow

# SGD: Adam's first steps follow the mere sign of a gradient, be it rounding noise.
SMALL = (
    "backbone.name=test_resnet",
    "preprocessing.size=32",
    "preprocessing.field_px=24",
    "preprocessing.views=1",
    "batch_size=8",
    "schedule.epochs=2",
    "schedule.warmup_epochs=1",
    "precision=32-true",
    "optimizer.name=sgd",
    "optimizer.lr=0.05",
    "head.hidden=16",
    "temperature=0.2",  # a lower one makes more of the rounding of a similarity
)
METHODS = {
    "simclr": ("method=simclr",),
    "byol": ("method=byol",),
    "nnclr": ("method=nnclr", "memory=32"),
    "swav": ("method=swav", "prototypes=4", "crops.number=1", "crops.size=16"),
    "vicreg": ("method=vicreg", "optimizer.lr=0.005"),
    "parts": ("method=simclr", "accumulate=2"),
}
#: All cutouts in one batch.
ONE_STEP = ("batch_size=24", "schedule.epochs=1")
EXACT = ["step", "epoch", "lr"]
CLOSE = ["loss", "feature_std"]


@contextmanager
def _doubles() -> Iterator[None]:
    """Train in float64: in float32 the rounding of sums taken in another order grows within a few steps."""
    methods, views = trainer.build_method, Trainer._views
    trainer.build_method = lambda *arguments: methods(*arguments).double()
    Trainer._views = lambda *arguments: [view.double() for view in views(*arguments)]
    try:
        yield
    finally:
        trainer.build_method, Trainer._views = methods, views


def _recipe(*changes: str) -> Recipe:
    return read_recipe("radiossl", [*SMALL, *changes])[0]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def _exchanges() -> dict[str, torch.Tensor]:
    """What `gather_rows` and BatchNorm make of the parts of known numbers."""
    with join_processes("cpu") as processes:
        own = slice(4 * processes.rank, 4 * processes.rank + 4)
        rows = torch.arange(16.0).view(8, 2)
        net = nn.Sequential(_network(), nn.Identity())
        net[0].train()
        part = _images()[own].requires_grad_()
        parallel = processes.parallel(net, torch.device("cpu"))
        output = parallel(part)
        # Of the whole batch as SimCLR's loss is: every process computes all of it.
        whole = gather_rows(output)
        (whole.square() * torch.arange(8.0)[:, None]).mean().backward()
        result = {
            "gather_rows": gather_rows(rows[own]),
            "answers": torch.tensor(processes.any(processes.rank == 1, False)),
            "mean": processes.mean(torch.tensor(float(processes.rank))),
            "output": whole.detach(),
            "input_gradient": part.grad,
        }
        result |= {f"gradient of {name}": p.grad for name, p in net.named_parameters()}
        return result | {f"state {name}": value for name, value in net.state_dict().items()}


def _network() -> nn.Module:
    from timm.layers import BatchNormAct2d

    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), BatchNormAct2d(6), nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(144, 5), nn.BatchNorm1d(5, affine=False))


def _images() -> torch.Tensor:
    # Far from zero, and the two processes' parts far from each other.
    noise = torch.randn(8, 3, 10, 10, generator=torch.Generator().manual_seed(1))
    return 50 + noise + torch.arange(8.0).view(8, 1, 1, 1)


def _interrupted(store: Path, out: Path) -> None:
    """Train until the second process, and only that one, is told to stop in the middle of the third step."""
    original = Trainer.train_step

    def told(self: Trainer, *arguments):
        if self.step == 2 and self.processes.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)  # as SLURM and torchrun do, both
        return original(self, *arguments)

    Trainer.train_step = told
    try:
        pretrain(_recipe(), store, out)
    except KeyboardInterrupt:
        return
    finally:
        Trainer.train_step = original
    raise AssertionError("was not interrupted")


def _process(rank: int, ports: list[int], store: Path, folder: Path) -> None:
    """What each of the two processes of this module's fixture does."""
    torch.set_num_threads(1)
    ways = iter(ports)

    def meet() -> None:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="localhost")
        os.environ["MASTER_PORT"] = str(next(ways))

    meet()
    torch.save(_exchanges(), folder / f"exchanges{rank}.pt")
    for name, changes in METHODS.items():
        meet()
        with _doubles():
            pretrain(_recipe(*changes), store, folder / name)
    meet()
    pretrain(_recipe(*ONE_STEP), store, folder / "float32")
    meet()
    with _doubles():
        _interrupted(store, folder / "stopped")
    meet()
    stages = [_recipe("schedule.epochs=1"), _recipe("schedule.epochs=1", "seed=1")]
    pretrain(stages, [store, store], folder / "stages")
    with (folder / f"said{rank}.txt").open("w") as sys.stderr:
        meet()
        with join_processes("cpu"):
            warnings.warn("said by many", stacklevel=1)
    sys.stderr = sys.__stderr__


@pytest.fixture(scope="module")
def two(store_folder, tmp_path_factory):
    """The folder of what two processes made."""
    folder = tmp_path_factory.mktemp("two")
    ports = [_free_port() for _ in range(len(METHODS) + 5)]
    torch.multiprocessing.spawn(_process, (ports, store_folder, folder), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def one(store_folder, tmp_path_factory):
    """The same trainings by this process alone."""
    folder = tmp_path_factory.mktemp("one")
    for name, changes in METHODS.items():
        with _doubles():
            pretrain(_recipe(*changes), store_folder, folder / name)
    pretrain(_recipe(*ONE_STEP), store_folder, folder / "float32")
    return folder


def _assert_same_run(first: Path, second: Path) -> None:
    rows = [pd.read_csv(run / "metrics.csv") for run in (first, second)]
    pd.testing.assert_frame_equal(rows[0][EXACT], rows[1][EXACT])
    np.testing.assert_allclose(rows[0][CLOSE], rows[1][CLOSE], rtol=0, atol=1e-6)  # the loss itself is in float32
    a, b = (load_file(run / "backbone" / "model.safetensors") for run in (first, second))
    assert a.keys() == b.keys()
    for name in a:
        # They are saved in float32: numbers above 1 may be rounded to neighbours.
        torch.testing.assert_close(
            a[name], b[name], rtol=2**-23, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_train_to_the_losses_and_weights_of_one(name, one, two):
    _assert_same_run(one / name, two / name)


@pytest.mark.parametrize("name", METHODS)
def test_training_moves_the_weights_by_much_more_than_the_tolerance(name, one):
    recipe = _recipe(*METHODS[name])
    start = Backbone.random(recipe.backbone, recipe.preprocessing, recipe.seed).network.state_dict()
    trained = load_file(one / name / "backbone" / "model.safetensors")
    kernels = [key for key, value in start.items() if value.ndim == 4]
    assert min(float((trained[key] - start[key]).abs().max()) for key in kernels) > 1e-5


def test_the_first_loss_in_float32_is_that_of_one_process(one, two):
    rows = [pd.read_csv(run / "float32" / "metrics.csv") for run in (one, two)]
    assert len(rows[0]) == 1
    np.testing.assert_allclose(rows[0][CLOSE], rows[1][CLOSE], rtol=0, atol=1e-4)


def test_exchanges_and_batchnorm_are_those_of_the_whole_batch(two):
    images = _images().requires_grad_()
    net = nn.Sequential(_network(), nn.Identity())
    output = net(images)
    (output.square() * torch.arange(8.0)[:, None]).mean().backward()
    expected = {f"gradient of {name}": p.grad for name, p in net.named_parameters()}
    expected |= {f"state {name}": value for name, value in net.state_dict().items()}
    for rank in range(2):
        result = torch.load(two / f"exchanges{rank}.pt", weights_only=True)
        torch.testing.assert_close(result["gather_rows"], torch.arange(16.0).view(8, 2), rtol=0, atol=0)
        assert result["answers"].tolist() == [True, False]
        assert result["mean"] == 0.5
        torch.testing.assert_close(result["output"], output.detach(), rtol=1e-4, atol=1e-4)
        # Each process's own input: the gradient of the sum over both processes, of which the mean is taken later.
        own = images.grad[4 * rank : 4 * rank + 4]
        torch.testing.assert_close(result["input_gradient"] / 2, own, rtol=1e-3, atol=1e-5)
        for name, value in expected.items():
            torch.testing.assert_close(result[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_a_stop_of_one_process_stops_all_and_one_process_ends_the_run(store_folder, one, two, tmp_path):
    assert torch.load(two / "stopped" / CHECKPOINT, weights_only=True)["step"] == 3
    assert not (two / "stopped" / "backbone").exists()
    with _doubles():
        pretrain(_recipe(), store_folder, two / "stopped", resume=True)
    _assert_same_run(one / "simclr", two / "stopped")


def test_stages_of_two_processes(two):
    first, second = (load_file(two / "stages" / s / "model.safetensors") for s in ("stage1/backbone", "backbone"))
    assert first.keys() == second.keys()
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_only_the_first_process_speaks_and_nothing_is_left_locked(two):
    assert "said by many" in (two / "said0.txt").read_text()
    assert (two / "said1.txt").read_text() == ""
    with only_writer(two / "simclr"):
        pass
    assert not dist.is_initialized()


# Without a second process --------------------------------------------------------------------------------------------


def test_the_shares_of_all_processes_are_the_batch():
    rows = np.random.default_rng(0).permutation(24)
    shares = [ProcessGroup(rank, 3).share(rows, parts=2) for rank in range(3)]
    for part in range(2):
        joint = np.concatenate([share.reshape(2, 4)[part] for share in shares])
        np.testing.assert_array_equal(joint, rows[12 * part : 12 * part + 12])
    np.testing.assert_array_equal(ProcessGroup().share(rows, parts=2), rows)


@pytest.mark.parametrize("preset", PRESETS)
def test_views_do_not_depend_on_the_number_of_processes(preset, sky):
    mode = "floor-stretch" if preset == "radiossl" else "sigma-zscale"
    preprocessing = Preprocessing(size=32, mode=mode)
    augmentation = Augmentation(**PRESETS[preset])
    images = torch.from_numpy(np.stack([sky(seed) for seed in range(6)]))
    statistics = torch.from_numpy(np.stack([PixelStatistics.of(image).as_array() for image in images.numpy()]))
    whole = ViewMaker(preprocessing, augmentation)(images, statistics, torch.Generator().manual_seed(3))
    shares = [
        ViewMaker(preprocessing, augmentation, (rank, 3))(
            images[2 * rank : 2 * rank + 2], statistics[2 * rank : 2 * rank + 2], torch.Generator().manual_seed(3)
        )
        for rank in range(3)
    ]
    for view, parts in zip(whole, zip(*shares, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(parts), view, rtol=0, atol=1e-5)


def test_a_batch_that_cannot_be_divided_is_refused_with_the_way_out():
    with pytest.raises(RadiosslError, match=r"batch of 10 cutouts .* among 4 processes; give a --batch-size .* of 4"):
        ProcessGroup(0, 4).share(np.arange(10))
    with pytest.raises(RadiosslError, match=r"among 2 parts times 2 processes; .* multiple of 4"):
        ProcessGroup(0, 2).share(np.arange(6), parts=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RANK": None}, r"WORLD_SIZE is set in the environment but RANK is not; start with torchrun"),
        ({"MASTER_ADDR": None}, r"but MASTER_ADDR is not"),
        ({"RANK": "one"}, r"RANK=one, WORLD_SIZE=2, LOCAL_RANK=1 .* expected integers"),
        ({"RANK": "2"}, r"RANK 2, WORLD_SIZE 2 and LOCAL_RANK 1 .* do not fit together"),
    ],
)
def test_a_wrong_environment_is_named(changes, message, monkeypatch):
    right = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in (right | changes).items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(RadiosslError, match=message):
        process_group_from_environment()


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    rows = torch.ones(2, 3, requires_grad=True)
    with join_processes("cpu") as processes:
        assert processes == ProcessGroup()
        assert not dist.is_initialized()
        assert gather_rows(rows) is rows
        assert processes.any(True, False) == [True, False]
        method = nn.BatchNorm1d(3)
        assert processes.parallel(method, torch.device("cpu")) is method


@pytest.mark.parametrize(("rank", "expected"), [("0", 0.0), ("1", 1.0)])
def test_others_report_an_error_after_the_first(rank, expected, monkeypatch):
    environment = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    slept = [0.0]
    monkeypatch.setattr("radiossl.pretraining.distributed.time.sleep", slept.append)
    with pytest.raises(RadiosslError, match="a mistake"), first_process_reports():
        raise RadiosslError("a mistake")
    assert sum(slept) == expected


def test_devices_of_several_processes(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert ProcessGroup(3, 4, 1).device("auto") == torch.device("cuda:1")
    assert ProcessGroup().device("cuda") == torch.device("cuda")
    assert ProcessGroup(0, 2).device("cpu") == torch.device("cpu")
    with pytest.raises(RadiosslError, match=r"process 3 on this machine has no CUDA device, .* --nproc-per-node 2"):
        ProcessGroup(2, 4, 2).device("cuda")
    with pytest.raises(RadiosslError, match=r"cuda:0: 4 processes cannot share one"):
        ProcessGroup(2, 4, 0).device("cuda:0")
