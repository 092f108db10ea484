"""Training a detector: the loop and its run folder.

As in pretraining, all randomness of a step comes from the seed and the number of the step, so that a resumed run takes
exactly the same steps as an uninterrupted one.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from radiossl.detection.annotations import draw_images
from radiossl.detection.confidence import LEAST_OBJECTS, fit_confidence
from radiossl.detection.examples import LEAST_SIDE, AnnotatedSet, load_examples, open_annotated, training_batch
from radiossl.detection.images import Reader
from radiossl.detection.metrics import average_precision
from radiossl.detection.network import (
    COVERAGE_FILE,
    FOLDER,
    SETTINGS_FILE,
    DetectionTraining,
    Detector,
    DetectorConfig,
    Mode,
    load_detector,
    save_detector,
)
from radiossl.detection.objects import Detection
from radiossl.detection.prediction import BATCH, detect_prepared
from radiossl.detection.training_report import write_training_report
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError, check_choice
from radiossl.io.extras import require
from radiossl.io.files import PathLike, atomic_file, check_folder, flat_keys, read_json, remove_strays, write_json
from radiossl.io.locks import only_writer
from radiossl.io.progress import track
from radiossl.pretraining.checkpoint import CHECKPOINT, StopRequest, open_checkpoint
from radiossl.pretraining.data import epoch_batches, step_seed
from radiossl.pretraining.distributed import ProcessGroup
from radiossl.pretraining.metrics import Metrics, TrainingProgress
from radiossl.pretraining.optimizers import decay_groups, warmup_cosine
from radiossl.weights.backbone import Backbone, load_backbone
from radiossl.weights.device import parse_device
from radiossl.weights.folder import CONFIG_FILE

LOSSES = ("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask")
COLUMNS = ("step", "epoch", "loss", *LOSSES, "lr", "images_per_s", "ap", "ap50", "ap50_one_class")
_ROW_STEPS = 10
_BETAS = (0.9, 0.99)


def train_detector(
    annotations: AnnotatedSet | PathLike,
    weights: Backbone | PathLike,
    out: PathLike,
    *,
    mode: Mode = "finetune",
    images: PathLike | None = None,
    reader: Reader = "plain",
    valid: AnnotatedSet | PathLike | None = None,
    valid_images: PathLike | None = None,
    infrared: bool = False,
    settings: DetectionTraining | None = None,
    resume: bool = False,
    device: str = "auto",
) -> Detector:
    """Train a detector on annotated images, in a run folder.

    Parameters
    ----------
    annotations
        COCO file of the training images; `settings` may take a fraction of them.
    weights
        Backbone, its folder, or the name of a released one. From scratch only its architecture and preprocessing are
        used.
    out
        Run folder: settings.json, metrics.csv, checkpoints, report.html and, at the end, the folder ``detector``.
    mode
        ``frozen``: the backbone stays as it is. ``finetune``: it is trained, too. ``scratch``: it starts from random
        weights.
    images, reader
        See `radiossl.detection.examples.open_annotated`.
    valid, valid_images
        COCO file of validation images, and their folder. AP is measured on them during training; it is never used to
        stop or to select; on the first `settings.monitor_images` of them. At the end all teach prediction sets and
        outlier scores (`radiossl.detection.confidence`).
    infrared
        Use RadioGalaxyNET's infrared image as the third channel.
    settings
        Numbers of the training; the defaults if None.
    resume
        Go on with an interrupted run, started with the same images, weights and settings.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    Detector
        In evaluation mode, as saved.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C or SIGTERM, after the current step and a checkpoint.
    RadiosslError
        If images or annotations are wrong, there is no object to learn from, the folder holds another run, or the
        training diverges.

    See Also
    --------
    radiossl.detection.prediction.predict_sources : Searches mosaics with a detector.
    radiossl.detection.evaluation.evaluate_detectors : Completeness, reliability and average precision.

    Examples
    --------
    >>> detector = radiossl.train_detector("train.json", "simclr-first-zoom", "run", mode="frozen")  # doctest: +SKIP
    """
    require("pycocotools")
    check_choice("--mode", mode, Mode)
    check_folder(out, "training run")
    source = open_annotated(annotations, images, reader)
    watched = None if valid is None else open_annotated(valid, valid_images, reader)
    backbone = weights if isinstance(weights, Backbone) else load_backbone(weights)
    settings = settings or DetectionTraining()
    with only_writer(out):
        trainer = _Trainer(source, backbone, mode, Path(out), settings, watched, infrared, resume, parse_device(device))
        detector = trainer.train()
        write_training_report(out)
    return detector


class _Trainer:
    """A training under way; the parameters are those of `train_detector`."""

    def __init__(
        self,
        source: AnnotatedSet,
        backbone: Backbone,
        mode: Mode,
        out: Path,
        settings: DetectionTraining,
        valid: AnnotatedSet | None,
        infrared: bool,
        resume: bool,
        device: torch.device,
    ) -> None:
        self.out, self.settings, self.device = out, settings, device
        drawn = draw_images(source.annotations, settings.fraction, settings.balanced, settings.seed)
        scratch = mode == "scratch"
        changed = {"size": settings.image_size, "field_px": None, "views": 1}
        self.config = DetectorConfig(
            backbone=backbone.config.architecture,
            preprocessing=backbone.config.preprocessing.model_copy(update=changed),
            clip_percentile=settings.clip_percentile,
            infrared=infrared,
            classes=drawn.classes,
            mode=mode,
            design=settings.design,
            field_px=int(np.median([max(image.shape) for image in drawn.images])),
            reader=source.reader,
            training={
                "settings": settings.model_dump(),
                "weights": "" if scratch else backbone.name,
                "weights_sha256": "" if scratch else backbone.sha256,
                "images": len(drawn.images),
                "objects": drawn.counts(),
                "annotations": drawn.path.name,
                "content": hashlib.sha256(repr(drawn.images).encode()).hexdigest(),
            },
        )
        self._check_folder(resume)
        part = AnnotatedSet(drawn, source.folder, source.reader)
        self.examples = load_examples(part, self.config.field, drawn.classes)
        self.config.training["pixels"] = self.examples.hashes
        self._check_folder(resume)
        self._check_examples(drawn.path)
        self.batch_size = min(settings.batch_size, len(self.examples))
        self.steps_per_epoch = len(self.examples) // self.batch_size
        self.total_steps = settings.epochs * self.steps_per_epoch
        self.monitor = None if valid is None else _Monitor(valid, self.config, range(settings.monitor_images))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.detector = Detector(self.config, None if scratch else copy.deepcopy(backbone.network))
        self.detector.to(memory_format=torch.channels_last).to(device).set_training()
        groups = decay_groups(self.detector.parameters(), settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=_BETAS, fused=True)
        self.step = self._load_checkpoint() if resume else 0

    def _check_examples(self, annotations: Path) -> None:
        small, total = self.examples.small_objects(LEAST_SIDE), sum(map(len, self.examples.labels))
        text = f"{annotations}: {small} of {total} objects are smaller than {LEAST_SIDE:g} pixels at --image-size"
        text += f" {self.settings.image_size}, too small to learn from"
        if small and small == total:
            raise RadiosslError(f"{text}; choose a larger one")
        if small:
            warnings.warn(text, stacklevel=4)

    def train(self) -> Detector:
        for folder in (self.out, self.out / CHECKPOINT.parent):
            remove_strays(folder)
        write_json(self.out / SETTINGS_FILE, self._identity())
        metrics, saved = Metrics(self.out / "metrics.csv", self.step, COLUMNS), time.monotonic()
        progressing = TrainingProgress(self.total_steps, self.step, self.batch_size)
        with progressing as progress, StopRequest(ProcessGroup()) as stop:
            for rows in self._batches():
                losses = self._train_step(rows)
                progress.advance(losses["loss"])
                epoch, rest = divmod(self.step, self.steps_per_epoch)
                last = self.step == self.total_steps
                due = rest == 0 and (epoch % self.settings.monitor_epochs == 0 or last)
                if self.step % _ROW_STEPS == 0 or rest == 0:
                    row = {name: float(value) for name, value in losses.items()}
                    if not math.isfinite(row["loss"]):
                        problem = f"the loss is {row['loss']} at step {self.step}"
                        raise RadiosslError(f"{self.out}: {problem}; lower the learning rate (--set lr=...)")
                    if due and self.monitor is not None:
                        row |= self.monitor.scores(self.detector)
                        self.detector.set_training()
                    row |= {"lr": self.settings.lr * self._schedule(self.step - 1)}
                    row |= {"images_per_s": progress.images_per_s, "epoch": round(self.step / self.steps_per_epoch, 4)}
                    metrics.add({"step": self.step, **row})
                if stop.requested or time.monotonic() - saved > 60 * self.settings.checkpoint_minutes:
                    self._save_checkpoint()
                    saved = time.monotonic()
                if stop.requested:
                    raise stop.error()
        self._save_checkpoint()
        if self.monitor is not None:
            self._learn_confidence(self.monitor)
        save_detector(self.out / FOLDER, self.detector)
        return load_detector(self.out / FOLDER, self.device)

    def _learn_confidence(self, monitor: _Monitor) -> None:
        found = [[item for item in objects if item.source_score >= 0.5] for objects in monitor.find_all(self.detector)]
        fitted = fit_confidence(monitor.source.annotations, found, self.config.classes)
        if fitted is None:
            text = f"{self.out}: found fewer than {LEAST_OBJECTS} true objects in the validation images; the detector"
            warnings.warn(f"{text} gives no prediction sets and outlier scores", stacklevel=4)
            return
        self.detector.confidence, coverage = fitted
        write_table(coverage, self.out / COVERAGE_FILE)

    def _batches(self) -> Iterator[list[int]]:
        while self.step < self.total_steps:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            batches = epoch_batches(len(self.examples), self.batch_size, self.settings.seed, epoch)
            for rows in batches[done:]:
                yield rows.tolist()

    def _train_step(self, rows: list[int]) -> dict[str, torch.Tensor]:
        seed = step_seed(self.settings.seed, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * self._schedule(self.step)
        images, targets = training_batch(
            self.examples, rows, self.config.field, self.settings.rotate, torch.Generator().manual_seed(seed)
        )
        images = images.to(self.device).contiguous(memory_format=torch.channels_last)
        targets = [{name: value.to(self.device) for name, value in target.items()} for target in targets]
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)  # torchvision draws the anchors and regions of a step from the global generator
            losses = self.detector(images, targets)
        loss = sum(losses.values())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.detector.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.step += 1
        return {"loss": loss.detach()} | {name: losses[name].detach() for name in LOSSES}

    def _schedule(self, step: int) -> float:
        return warmup_cosine(step, self.total_steps, round(self.settings.warmup * self.total_steps))

    def _identity(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one before; the places of its files are left out."""
        known = self.config.model_dump(mode="json", include={"mode", "infrared", "reader", "backbone", "preprocessing"})
        training = {name: value for name, value in self.config.training.items() if name != "weights"}
        if "pixels" in training:
            training["pixels"] = hashlib.sha256("".join(training["pixels"]).encode()).hexdigest()
        return known | training

    def _check_folder(self, resume: bool) -> None:
        started = (self.out / SETTINGS_FILE).is_file()
        if not resume and (started or (self.out / FOLDER / CONFIG_FILE).is_file()):
            raise RadiosslError(f"{self.out}: holds a run already; give --resume to go on, or another --out")
        if not resume:
            return
        if not started:
            raise RadiosslError(f"{self.out}: no run to resume there; leave out --resume to start one")
        # A run of version 0.1 recorded less.
        before, now = flat_keys(read_json(self.out / SETTINGS_FILE)), flat_keys(self._identity())
        changed = [name for name in now if name in before and before[name] != now[name]]
        for name in changed[:1]:
            raise RadiosslError(
                f"{self.out}: was started with another {name} ({before[name]}, now {now[name]}); resume with the same"
            )

    def _save_checkpoint(self) -> None:
        state = {"step": self.step, "detector": self.detector.state_dict()}
        state["optimizer"] = self.optimizer.state_dict()
        with atomic_file(self.out / CHECKPOINT) as temporary:
            torch.save(state, temporary)

    def _load_checkpoint(self) -> int:
        file = self.out / CHECKPOINT
        if not file.is_file():  # killed before the first one was due
            return 0
        with open_checkpoint(file, self.device) as state:
            self.detector.load_state_dict(state["detector"])
            self.optimizer.load_state_dict(state["optimizer"])
            return int(state["step"])


class _Monitor:
    """Some of the validation images, preprocessed once, on which AP is measured during training."""

    def __init__(self, source: AnnotatedSet, config: DetectorConfig, rows: range) -> None:
        unknown = sorted(set(source.annotations.classes) - set(config.classes))
        if unknown:
            raise RadiosslError(f"{source.annotations.path}: class {unknown[0]!r} is not among those trained on")
        self.source, self.config = source, config
        self.annotations = source.annotations.select(range(len(source.annotations.images))[rows.start : rows.stop])
        part = AnnotatedSet(self.annotations, source.folder, source.reader)
        self.prepared = load_examples(part, config.field, ()).prepared

    def scores(self, detector: Detector) -> dict[str, float]:
        """Average precision of masks: mean, at an overlap of 0.5, and the latter with classes ignored."""
        found = self.find(detector)
        classes, alone = (average_precision(self.annotations, found, one_class=one) for one in (False, True))
        return {"ap": classes.ap, "ap50": classes.ap50, "ap50_one_class": alone.ap50}

    def find(self, detector: Detector) -> list[list[Detection]]:
        """Find the objects of each image."""
        detector.eval()
        shapes = [image.shape for image in self.annotations.images]
        parts = [slice(start, start + BATCH) for start in range(0, len(shapes), BATCH)]
        return [found for part in parts for found in detect_prepared(detector, self.prepared[part], shapes[part])]

    def find_all(self, detector: Detector) -> list[list[Detection]]:
        """Find the objects of each validation image, some of which are held in memory at a time."""
        count, step = len(self.source.annotations.images), max(1, len(self.annotations.images))
        others = track([range(start, start + step) for start in range(step, count, step)], "validation images")
        parts = chain([self], (_Monitor(self.source, self.config, rows) for rows in others))
        return [found for part in parts for found in part.find(detector)]
