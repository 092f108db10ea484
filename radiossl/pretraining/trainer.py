"""The training loop and the run folder.

All randomness of a step comes from the recipe's seed and the number of the step, none from a state that runs along.
So a run that was killed and resumed goes through the very same steps as one that was not.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radiossl.features.embedding import embed_store
from radiossl.features.neighbours import knn_predict
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file, remove_strays, write_text
from radiossl.pretraining.data import Batch, CutoutBatches, Exclusion, epoch_batches, step_seed, training_data
from radiossl.pretraining.distributed import ProcessGroup, gather_rows, gradients_later
from radiossl.pretraining.methods import build_method
from radiossl.pretraining.optimizers import build_optimizer, learning_rate
from radiossl.pretraining.recipe import Recipe, read_recipe
from radiossl.pretraining.record import Metrics, TrainingProgress
from radiossl.store.store import CutoutStore
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone
from radiossl.weights.config import BackboneConfig, TrainingSky, read_config
from radiossl.weights.tensors import check_tensors

CHECKPOINT = Path("checkpoints") / "last.ckpt"
#: Features whose spread over a batch falls below this have collapsed; 1 is the spread of directions drawn at random.
COLLAPSE = 0.05
_ROW_STEPS = 10
OTHER_EXCLUDES = "was started with other --exclude stores or another --exclude-radius; resume with the same"


@dataclass(frozen=True)
class Monitor:
    """A labelled store on which the online kNN is measured: looked at, never used to stop or to choose.

    Attributes
    ----------
    store
        The labelled cutouts.
    labels
        One label for each.
    """

    store: CutoutStore
    labels: np.ndarray

    def accuracy(self, backbone: Backbone) -> float:
        """Accuracy of the 20 nearest neighbours, trained on the even rows and tested on the odd ones."""
        features = embed_store(backbone, self.store)
        predicted = knn_predict(features[::2], self.labels[::2], features[1::2])
        return float((predicted == self.labels[1::2]).mean())


class Trainer:
    """One stage of training in its run folder; the parameters are those of `radiossl.pretrain`."""

    def __init__(
        self,
        recipe: Recipe,
        data: Sequence[str | os.PathLike[str]],
        out: Path,
        *,
        init: str | os.PathLike[str] | None = None,
        resume: bool = False,
        device: str = "auto",
        monitor: Monitor | None = None,
        exclusion: Exclusion | None = None,
        processes: ProcessGroup | None = None,
    ) -> None:
        self.recipe, self.out, self.monitor = recipe, out, monitor
        self.processes = processes or ProcessGroup()
        self.device = self.processes.device(device)
        _check_run_folder(out, recipe, resume)
        self.exclusion = exclusion or Exclusion()
        self._excluded = self.exclusion.key()
        training = training_data(data, self.exclusion)
        self.store = training.store
        if recipe.where:
            self.store = self.store.where(recipe.where)
        if len(self.store) < 2 * recipe.accumulate:
            raise RadiosslError(f"{', '.join(map(str, data))}: {len(self.store)} cutouts are too few to train on")
        self.batch_size = min(recipe.batch_size, len(self.store) // recipe.accumulate * recipe.accumulate)
        if self.batch_size < recipe.batch_size:
            warnings.warn(
                f"only {len(self.store)} cutouts: the batch size is {self.batch_size}, not {recipe.batch_size}",
                stacklevel=2,
            )
        self.processes.share(np.arange(self.batch_size), recipe.accumulate)
        self.steps_per_epoch = len(self.store) // self.batch_size
        self.total_steps = recipe.schedule.epochs * self.steps_per_epoch
        torch.manual_seed(recipe.seed)
        network = recipe.backbone.build(recipe.preprocessing.channels)
        if init is not None:
            _load_initial(network, Path(init), recipe.backbone.name)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.method = build_method(self.network, recipe.backbone.feature_dim(network), recipe).to(self.device)
        if recipe.compile:
            self.network.compile()  # in place: the names of its tensors stay
        self.optimizer = build_optimizer(self.method, recipe)
        self.precision = recipe.precision if recipe.precision != "auto" else _fastest_precision(self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "16-mixed")
        self.views = self.processes.views(recipe.preprocessing, recipe.augmentation)
        self.config = BackboneConfig(
            recipe.backbone,
            recipe.preprocessing,
            recipe.model_dump(mode="json") | {"init": str(init) if init else None},
            training.provenance,
            sky=TrainingSky.from_store(self.store, None if init is None else read_config(Path(init))[0].sky),
        )
        self.step = self._load_checkpoint() if resume and (out / CHECKPOINT).exists() else 0
        self.parallel = self.processes.parallel(self.method, self.device)

    # The loop --------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Train to the end, then write the backbone.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C or SIGTERM, once the step under way is done and a checkpoint saved.
        RadiosslError
            If the loss is no longer finite.
        """
        first = self.processes.first
        if first:
            for folder in (self.out, self.out / CHECKPOINT.parent):
                remove_strays(folder)
            write_text(self.out / "recipe.yaml", self.recipe.to_yaml())
        metrics = Metrics(self.out / "metrics.csv", self.step) if first else None
        every, saved = self.recipe.checkpoint_steps, time.monotonic()
        with (
            TrainingProgress(self.total_steps, self.step, self.batch_size) as progress,
            StopRequest(self.processes) as stop,
        ):
            for pixels, statistics in self.batches():
                loss, features = self.train_step(pixels, statistics)
                progress.advance(loss)
                epoch_ends = self.step % self.steps_per_epoch == 0
                late = time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes
                late, stopping = self.processes.any(late, stop.requested)
                due = late or stopping or (every is not None and self.step % every == 0)
                reported = epoch_ends or self.step % _ROW_STEPS == 0
                if due or reported:
                    spread = float(_spread(gather_rows(features)))
                    self._check_health(float(loss), spread)
                    if reported and metrics is not None:
                        metrics.add(self._row(float(loss), spread, progress.images_per_s, epoch_ends))
                if due:
                    self._save_checkpoint()
                    saved = time.monotonic()
                if stopping:
                    raise KeyboardInterrupt
        self._save_checkpoint()
        if first:
            save_backbone(self.out / "backbone", self.network, self.config)
        self.processes.wait()

    def batches(self) -> Iterator[Batch]:
        """Yield raw pixels and statistics, this process's share, from the present step to the end of the training."""
        source = CutoutBatches(self.store, self.device, self.recipe.preprocessing.field_px)
        while self.step < self.total_steps:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            batches = epoch_batches(len(self.store), self.batch_size, self.recipe.seed, epoch)[done:]
            yield from source([self.processes.share(rows, self.recipe.accumulate) for rows in batches])

    def train_step(self, pixels: Tensor | Sequence[NDArray[np.float32]], statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Make the views of a batch, take one optimiser step and count it; returns the loss and some features."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.steps_per_epoch, self.recipe)
        loss, features = self.optimise(self._pairs(pixels, statistics))
        self.step += 1
        self.method.after_step(self.step / self.total_steps)
        return loss, features

    def _pairs(self, pixels: Tensor | Sequence[NDArray[np.float32]], statistics: Tensor) -> Iterator[list[Tensor]]:
        """Yield the two views of every part of a batch."""
        size = self.batch_size // self.recipe.accumulate // self.processes.size
        for part in range(self.recipe.accumulate):
            rows = slice(part * size, (part + 1) * size)
            generator = torch.Generator().manual_seed(step_seed(self.recipe.seed, self.step, part))
            views = self.views(pixels[rows], statistics[rows], generator)
            yield [view.contiguous(memory_format=torch.channels_last) for view in views]

    def optimise(self, pairs: Iterable[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
        """Take one step on pairs of views, one for each part of the batch.

        Returns the mean loss, over all processes, and this one's features of the last first views.
        """
        self.method.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for part, (first, second) in enumerate(pairs, start=1):
            last = part == self.recipe.accumulate
            with nullcontext() if last else gradients_later(self.parallel):
                with self._autocast():
                    loss, features = self.parallel(first, second)
                loss = loss / self.recipe.accumulate
                self.scaler.scale(loss).backward()
            total += loss.detach()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return self.processes.mean(total), features

    def _autocast(self) -> torch.autocast:
        dtype = torch.float16 if self.precision == "16-mixed" else torch.bfloat16
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision != "32-true")

    def _check_health(self, loss: float, spread: float) -> None:
        if not math.isfinite(loss):
            raise RadiosslError(
                f"{self.out}: the loss is {loss} at step {self.step}; lower the learning rate (--set optimizer.lr=...)"
            )
        if spread < COLLAPSE:
            warnings.warn(
                f"the features have collapsed (spread {spread:.3f}, healthy is near 1): lower the learning rate or use"
                " other augmentations",
                stacklevel=3,
            )

    def _row(self, loss: float, spread: float, images_per_s: float, epoch_ends: bool) -> dict[str, Any]:
        row: dict[str, Any] = {
            "step": self.step,
            "epoch": round(self.step / self.steps_per_epoch, 4),
            "loss": loss,
            "lr": learning_rate(self.step - 1, self.steps_per_epoch, self.recipe),
            "feature_std": spread,
            "images_per_s": images_per_s,
        }
        epoch, last = self.step // self.steps_per_epoch, self.step == self.total_steps
        if self.monitor is not None and epoch_ends and (epoch % self.recipe.monitor_epochs == 0 or last):
            row["knn_accuracy"] = self.monitor.accuracy(Backbone(self.network, self.config))
        return row

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def _save_checkpoint(self) -> None:
        state = {
            "step": self.step,
            "recipe": self.recipe.to_yaml(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "cutouts": len(self.store),
            "excluded": self._excluded,
        }
        if self.processes.first:
            with atomic_file(self.out / CHECKPOINT) as temporary:
                torch.save(state, temporary)
        self.processes.wait()  # nobody may end, for that ends the others, before it is written

    def _load_checkpoint(self) -> int:
        state = read_checkpoint(self.out / CHECKPOINT, self.device)
        if state.get("excluded", []) != self._excluded:
            raise RadiosslError(f"{self.out}: {OTHER_EXCLUDES}")
        if state["cutouts"] != len(self.store):
            raise RadiosslError(
                f"{self.out}: was started with {state['cutouts']} cutouts, not {len(self.store)}; give the same --data"
            )
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        return int(state["step"])


def read_checkpoint(file: Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint; raise `RadiosslError` if it is damaged."""
    try:
        return torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise RadiosslError(f"{file}: damaged checkpoint ({str(error).splitlines()[0]})") from None


def _fastest_precision(device: torch.device) -> str:
    """bfloat16 where the hardware computes in it; elsewhere it is emulated, at a third of float32's speed."""
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    return "bf16-mixed" if "amx_bf16" in flags or "avx512_bf16" in flags else "32-true"


def _check_run_folder(out: Path, recipe: Recipe, resume: bool) -> None:
    if resume:
        started, trained = (out / "recipe.yaml").exists(), (out / "backbone").exists()
        if not (out / CHECKPOINT).exists() and (trained or not started):
            way_out = "" if trained else "; leave out --resume to start a run there"
            raise RadiosslError(f"{out}: no {CHECKPOINT} to resume from{way_out}")
        before = read_recipe(out / "recipe.yaml")[0].model_dump(mode="json")
        now = recipe.model_dump(mode="json")
        changed = [key for key in now if now[key] != before[key]]
        if changed:
            raise RadiosslError(
                f"{out}: was started with another {changed[0]!r} ({before[changed[0]]}); resume with the same recipe"
            )
    elif (out / CHECKPOINT).exists() or (out / "backbone").exists():
        raise RadiosslError(f"{out}: holds a run already; give --resume to go on with it, or another --out")


def _load_initial(network: nn.Module, path: Path, architecture: str) -> None:
    initial = load_backbone(path)
    tensors = initial.network.state_dict()
    check_tensors(tensors, network.state_dict(), f"--init {path}", architecture)
    network.load_state_dict(tensors)


def _spread(features: Tensor) -> Tensor:
    """Spread of the directions of features (n, d): 1 for directions at random, 0 when all are the same."""
    directions = nn.functional.normalize(features.float(), dim=1)
    return directions.std(dim=0, correction=0).square().sum().sqrt()


class StopRequest:
    """While entered, Ctrl-C and SIGTERM only ask for a stop, so that no step is left half done; a second insists.

    Not so where several processes train: SLURM tells them and torchrun, which passes it on to them again.
    """

    def __init__(self, processes: ProcessGroup) -> None:
        self.requested, self.alone = False, processes.size == 1
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested and self.alone:
            raise KeyboardInterrupt
        self.requested = True
