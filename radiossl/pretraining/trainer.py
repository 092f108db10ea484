"""The training loop and the run folder.

All randomness of a step comes from the recipe's seed and the number of the step, none from a state that runs along.
So a run that was killed and resumed goes through exactly the same steps as one that was not.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from radiossl.features.embedding import embed_images, preprocessed
from radiossl.features.neighbours import nearest_neighbours
from radiossl.images.views import ViewMaker
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, atomic_file, check_folder, remove_strays, write_json, write_text
from radiossl.pretraining.checkpoint import CHECKPOINT, StopRequest, open_checkpoint
from radiossl.pretraining.data import (
    BOX_FACTOR,
    Batch,
    CutoutBatches,
    Exclusion,
    box_sides,
    epoch_batches,
    extent_column,
    made_ahead,
    step_seed,
    training_data,
)
from radiossl.pretraining.distributed import ProcessGroup, gather_rows, gradients_later
from radiossl.pretraining.methods import build_method
from radiossl.pretraining.metrics import Metrics, TrainingProgress
from radiossl.pretraining.optimizers import build_optimizer, learning_rate
from radiossl.pretraining.recipe import Recipe
from radiossl.pretraining.record import RECIPE_FILE, RECORD_FILE, RunRecord, check_recipe, read_record
from radiossl.store.store import CutoutStore
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone
from radiossl.weights.config import BackboneConfig, TrainingSky
from radiossl.weights.formats.imagenet import imagenet_backbone, is_imagenet
from radiossl.weights.tensors import check_features, check_weights, load_state

#: Features whose spread over a batch falls below this have collapsed; 1 is the spread of directions drawn at random.
COLLAPSE = 0.05
_ROW_STEPS = 10
#: Steps over which the loss at the end is averaged, and how often that may hold the loss at the start or by chance. The
#: loss of random weights is up to a fifth above chance, that of a few small batches at the peak rate up to a third.
_LAST_STEPS, _DIVERGED = 10, 1.5
_REMEDY = "lower the learning rate (--set optimizer.lr=...)"


@dataclass(frozen=True)
class Monitor:
    """A store and its labels, on which the online kNN is measured: looked at, never used to stop or to choose."""

    store: CutoutStore
    labels: np.ndarray

    def accuracy(self, backbone: Backbone) -> float:
        """Accuracy of the 20 nearest neighbours, trained on the even rows and tested on the odd ones."""
        features = embed_images(backbone, self.store)
        predicted = nearest_neighbours(features[::2], self.labels[::2]).predict(features[1::2])
        return float((predicted == self.labels[1::2]).mean())


class Trainer:
    """One stage of training in its run folder; the parameters are those of `radiossl.pretrain`."""

    def __init__(
        self,
        recipe: Recipe,
        data: Sequence[PathLike],
        out: Path,
        *,
        init: PathLike | None = None,
        resume: bool = False,
        device: str = "auto",
        monitor: Monitor | None = None,
        exclusion: Exclusion | None = None,
        processes: ProcessGroup | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        self.recipe, self.out, self.monitor = recipe, out, monitor
        self.processes = processes or ProcessGroup()
        self.stop = stop or StopRequest(self.processes)
        self.device = self.processes.device(device)
        _check_run_folder(out, recipe, resume)
        self.precision = recipe.precision if recipe.precision != "auto" else fastest_precision(self.device)
        exclusion = exclusion or Exclusion()
        self.record = RunRecord.describe(data, exclusion, init, self.precision)
        if resume:
            self.record = read_record(out, self.record).resume(self.record, out)
        store, provenance = training_data(data, exclusion)
        self.store = store.where(recipe.where) if recipe.where else store
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
        schedule = recipe.schedule
        self.total_steps = schedule.epochs * self.steps_per_epoch
        if schedule.warmup_epochs >= schedule.epochs:
            warnings.warn(
                f"the learning rate warms up over {schedule.warmup_epochs:g} epochs and the run has {schedule.epochs}:"
                " it never falls; give a shorter --set schedule.warmup_epochs or more --epochs",
                stacklevel=2,
            )
        resume = resume and (out / CHECKPOINT).exists()
        origin = self.record.init
        torch.manual_seed(recipe.seed)
        network = recipe.backbone.build(recipe.preprocessing.channels, recipe.preprocessing.size)
        earlier = None
        if origin and not resume:
            path = Path(origin.path)
            initial = imagenet_backbone(recipe.preprocessing) if is_imagenet(path) else load_backbone(path)
            load_state(network, initial.network.state_dict(), f"--init {path}", recipe.backbone.name)
            earlier = initial.config.sky
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.method = build_method(self.network, recipe.backbone.feature_dim(network), recipe).to(self.device)
        if recipe.compile:
            self.network.compile()  # in place: the names of its tensors stay
        self.optimizer = build_optimizer(self.method, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == "16-mixed")
        self.views, self.crops = (
            ViewMaker(seen.preprocessing, seen.augmentation, (self.processes.rank, self.processes.size))
            for seen in (recipe, recipe.of_crops())
        )
        self.config = BackboneConfig(
            recipe.backbone,
            recipe.preprocessing,
            recipe.model_dump(mode="json") | {"init": origin and origin.path},
            provenance,
            sky=TrainingSky.from_store(self.store, earlier),
        )
        self.boxes = box_sides(self.store, recipe.extent)
        if recipe.augmentation.zoom is not None and self.processes.first:
            print(_boxes_note(extent_column(self.store, recipe.extent)), file=sys.stderr)
        self.losses: list[Tensor] = []  # of the first step and the latest ones
        self.step = self._load_checkpoint() if resume else 0
        self.parallel = self.processes.parallel(self.method, self.device)
        if self.device.type == "cuda" and self.processes.size == 1:
            with self._autocast():
                self.method.record_passes(self.batch_size)

    # The loop --------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Train to the end, then write the backbone.

        Raises `KeyboardInterrupt` on Ctrl-C or SIGTERM, once the step under way is done and a checkpoint saved, and
        `RadiosslError` if the training diverged: no backbone is written.
        """
        if first := self.processes.first:
            for folder in (self.out, self.out / CHECKPOINT.parent):
                remove_strays(folder)
            write_text(self.out / RECIPE_FILE, self.recipe.to_yaml())
            write_json(self.out / RECORD_FILE, self.record.model_dump())
        metrics = Metrics(self.out / "metrics.csv", self.step) if first else None
        every, saved = self.recipe.checkpoint_steps, time.monotonic()
        if self.processes.any(self.stop.requested)[0]:  # while the data were opened
            self._save_checkpoint()
            raise self.stop.error()
        with TrainingProgress(self.total_steps, self.step, self.batch_size) as progress:
            parts = self.parts()
            while self.step < self.total_steps:
                loss, features = self.train_step(parts)
                progress.advance(loss)
                epoch_ends = self.step % self.steps_per_epoch == 0
                late = time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes
                late, stopping = self.processes.any(late, self.stop.requested)
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
                    raise self.stop.error()
        self._check_result()
        self._save_checkpoint()
        if first:
            save_backbone(self.out / "backbone", self.network, self.config)
        self.processes.wait()

    def parts(self) -> Iterator[list[Tensor]]:
        """Yield the views of each part of each batch, this process's share, from the present step to the last."""
        return made_ahead(self._parts(self.step), self.device)

    def _parts(self, step: int) -> Iterator[list[Tensor]]:
        source = CutoutBatches(self.store, self.device, self.recipe.preprocessing.field_px, self.boxes)
        while step < self.total_steps:
            epoch, done = divmod(step, self.steps_per_epoch)
            batches = epoch_batches(len(self.store), self.batch_size, self.recipe.seed, epoch)[done:]
            for batch in source([self.processes.share(rows, self.recipe.accumulate) for rows in batches]):
                for part in range(self.recipe.accumulate):
                    yield self._views(batch, step, part)
                step += 1

    def _views(self, batch: Batch, step: int, part: int) -> list[Tensor]:
        size = self.batch_size // self.recipe.accumulate // self.processes.size
        rows = slice(part * size, (part + 1) * size)
        generator = torch.Generator().manual_seed(step_seed(self.recipe.seed, step, part))
        images, boxes = (batch.pixels[rows], batch.statistics[rows], generator), batch.boxes[rows]
        views = self.views(*images, boxes=boxes)
        if self.recipe.crops.number:
            views += self.crops(*images, count=self.recipe.crops.number, boxes=boxes)
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    def train_step(self, parts: Iterator[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
        """Take one optimiser step on the next batch of `parts` and count it; returns the loss and some features."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.steps_per_epoch, self.recipe)
        loss, features = self.optimise(islice(parts, self.recipe.accumulate))
        self.step += 1
        self.losses = [*self.losses[:1], *self.losses[1:][1 - _LAST_STEPS :], loss]
        self.method.after_step(self.step / self.total_steps)
        return loss, features

    def optimise(self, pairs: Iterable[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
        """Take one step on the views of each part of the batch; returns the mean loss and the last features."""
        self.method.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for part, views in enumerate(pairs, start=1):
            last = part == self.recipe.accumulate
            with nullcontext() if last else gradients_later(self.parallel):
                with self._autocast():
                    loss, features = self.parallel(*views)
                loss = loss / self.recipe.accumulate
                self.scaler.scale(loss).backward()
            total += loss.detach()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return self.processes.mean(total), features

    def _autocast(self) -> torch.autocast:
        dtype = torch.float16 if self.precision == "16-mixed" else torch.bfloat16
        # Copies of the weights in that precision are not kept: a recorded pass must make its own.
        enabled = self.precision != "32-true"
        return torch.autocast(self.device.type, dtype=dtype, enabled=enabled, cache_enabled=self.device.type != "cuda")

    def _check_health(self, loss: float, spread: float) -> None:
        if not math.isfinite(loss):
            raise RadiosslError(f"{self.out}: the loss is {loss} at step {self.step}; {_REMEDY}")
        if spread < COLLAPSE:
            warnings.warn(
                f"the features have collapsed (spread {spread:.3f}, healthy is near 1): lower the learning rate or use"
                " other augmentations",
                stacklevel=3,
            )

    def _check_result(self) -> None:
        """Raise `RadiosslError` if the training diverged, and warn if it learnt nothing."""
        chance = self.method.chance_loss(self.batch_size // self.recipe.accumulate)
        losses = [float(loss) for loss in self.losses] or [chance]
        last = losses[-_LAST_STEPS:]
        loss = sum(last) / len(last)
        if len(losses) > _LAST_STEPS and loss > _DIVERGED * max(chance, losses[0]):
            raise RadiosslError(
                f"{self.out}: the training diverged, its loss ended at {loss:.3g} where features without information"
                f" have {chance:.3g}; no backbone is written, {_REMEDY}"
            )
        try:
            check_weights(self.network.state_dict(), str(self.out))
            rows = np.arange(min(16, len(self.store)))
            images = preprocessed(self.recipe.preprocessing, self.store, rows, self.device)
            with torch.inference_mode():
                features = self.network.eval()(images.to(next(self.network.parameters()).dtype))
            check_features(features, str(self.out), self.store.column("cutout_id"))
        except RadiosslError as error:
            raise RadiosslError(f"{error}; no backbone is written, {_REMEDY}") from None
        if loss > chance:
            warnings.warn(
                f"the loss ended at {loss:.3g}, above the {chance:.3g} of features without information: train longer or"
                f" {_REMEDY}",
                stacklevel=3,
            )
        self._check_health(loss, float(_spread(features)))

    def _row(self, loss: float, spread: float, images_per_s: float, epoch_ends: bool) -> dict[str, Any]:
        row: dict[str, Any] = {"step": self.step, "epoch": round(self.step / self.steps_per_epoch, 4), "loss": loss}
        row["lr"] = learning_rate(self.step - 1, self.steps_per_epoch, self.recipe)
        row |= {"feature_std": spread, "images_per_s": images_per_s}
        epoch, last = self.step // self.steps_per_epoch, self.step == self.total_steps
        if self.monitor is not None and epoch_ends and (epoch % self.recipe.monitor_epochs == 0 or last):
            row["knn_accuracy"] = self.monitor.accuracy(Backbone(self.network, self.config))
        return row

    # Checkpoints -----------------------------------------------------------------------------------------------------

    def _save_checkpoint(self) -> None:
        sky = self.config.sky
        state = {
            "step": self.step,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "losses": [float(loss) for loss in self.losses],
            "sky": {name: torch.from_numpy(values) for name, values in vars(sky).items()} if sky else {},
        }
        if self.processes.first:
            with atomic_file(self.out / CHECKPOINT) as temporary:
                torch.save(state, temporary)
        self.processes.wait()  # nobody may end, for that ends the others, before it is written

    def _load_checkpoint(self) -> int:
        with open_checkpoint(self.out / CHECKPOINT, self.device) as state:
            self.method.load_state_dict(state["method"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.losses = [torch.tensor(loss, device=self.device) for loss in state.get("losses", ())]
            if state.get("sky"):  # it holds that of the weights it started from, wherever their folder is now
                sky = TrainingSky(**{name: values.cpu().numpy() for name, values in state["sky"].items()})
                self.config = dataclasses.replace(self.config, sky=sky)
            return int(state["step"])


def _check_run_folder(out: Path, recipe: Recipe, resume: bool) -> None:
    """Raise `RadiosslError` if there is no run to go on with, or one where a new one is to be."""
    check_folder(out, "training run")
    started, trained, saved = ((out / name).exists() for name in (RECIPE_FILE, "backbone", CHECKPOINT))
    if not resume and (saved or trained):
        raise RadiosslError(f"{out}: holds a run already; give --resume to go on with it, or another --out")
    if resume:
        if not saved and (trained or not started):
            way_out = "" if trained else "; leave out --resume to start a run there"
            raise RadiosslError(f"{out}: no {CHECKPOINT} to resume from{way_out}")
        check_recipe(out, recipe)


def fastest_precision(device: torch.device) -> str:
    """bfloat16 where the hardware computes in it; elsewhere it is emulated, at a third of float32's speed."""
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    return "bf16-mixed" if "amx_bf16" in flags or "avx512_bf16" in flags else "32-true"


def _boxes_note(extent: str | None) -> str:
    if extent is not None:
        return f"views are zooms of boxes of {BOX_FACTOR:g} x {extent} (another column: --set extent=COLUMN)"
    return (
        "the stores have no known column of source extents: views are zooms of whole cutouts; name a column that ends"
        " with _arcsec or _px with --set extent=COLUMN"
    )


def _spread(features: Tensor) -> Tensor:
    """Spread of the directions of features (n, d): 1 for directions at random, 0 when all are the same."""
    directions = nn.functional.normalize(features.float(), dim=1)
    return directions.std(dim=0, correction=0).square().sum().sqrt()
