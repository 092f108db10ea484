"""Pretraining from a recipe and cutout stores to a backbone, in one stage or several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from radiossl.io.errors import RadiosslError
from radiossl.io.files import only_writer, remove_strays
from radiossl.pretraining.data import Exclusion
from radiossl.pretraining.distributed import ProcessGroup, join_processes
from radiossl.pretraining.recipe import Recipe, read_recipe
from radiossl.pretraining.trainer import CHECKPOINT, OTHER_EXCLUDES, Monitor, Trainer
from radiossl.sky.positions import RADIUS_ARCSEC
from radiossl.weights.backbone import load_backbone, save_backbone
from radiossl.weights.config import read_config


def pretrain(
    recipe: str | os.PathLike[str] | Recipe | Sequence[Recipe],
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    init: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str = "auto",
    monitor: Monitor | None = None,
    exclude: Sequence[str | os.PathLike[str]] = (),
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
        order; a stage's stores can be joined by commas.
    out
        The run folder.
    init
        Backbone folder whose weights to start from.
    resume
        Go on with the run in `out` from its last checkpoint.
    device
        ``auto``, ``cpu`` or ``cuda``.
    monitor
        Labelled store for the online kNN.
    exclude
        Folders of cutout stores, such as test sets, whose sources must not be seen in training. Left out is every
        cutout in whose box, widened by the radius, the centre of one of theirs lies, or that has the very pixels of
        one; `radiossl.store.crossmatch.repeats` has the details. The backbone's `config.json` records them.
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
    if isinstance(recipe, (str, os.PathLike)):
        stages = read_recipe(recipe)
    else:
        stages = [recipe] if isinstance(recipe, Recipe) else list(recipe)
    stores = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    exclude = [exclude] if isinstance(exclude, (str, os.PathLike)) else list(exclude)
    exclusion = Exclusion(exclude, exclude_radius_arcsec)
    with join_processes(device) as processes, only_writer(out) if processes.first else nullcontext():
        return _pretrain(stages, stores, Path(out), exclusion, init, resume, device, monitor, processes)


def _pretrain(
    stages: Sequence[Recipe],
    stores: Sequence[str | os.PathLike[str]],
    out: Path,
    exclusion: Exclusion,
    init: str | os.PathLike[str] | None,
    resume: bool,
    device: str,
    monitor: Monitor | None,
    processes: ProcessGroup,
) -> Path:
    trainer = partial(Trainer, device=device, monitor=monitor, exclusion=exclusion, processes=processes)
    if len(stages) == 1:
        trainer(stages[0], stores, out, init=init, resume=resume).train()
        return out / "backbone"
    if len(stores) != len(stages):
        names = ", ".join(stage.name for stage in stages)
        raise RadiosslError(f"the recipe has {len(stages)} stages ({names}): give --data once for each, in this order")
    for number, (stage, store) in enumerate(zip(stages, stores, strict=True), start=1):
        folder = out / f"stage{number}"
        if resume and (folder / "backbone").is_dir():
            _check_finished(folder, exclusion)
        else:
            unfinished = resume and (folder / CHECKPOINT).exists()
            parts = str(store).split(",")
            trainer(stage, parts, folder, init=init, resume=unfinished).train()
        init = folder / "backbone"
    if processes.first:
        remove_strays(out)
        last = load_backbone(folder / "backbone")
        save_backbone(out / "backbone", last.network, last.config)
    processes.wait()
    return out / "backbone"


def _check_finished(stage: Path, exclusion: Exclusion) -> None:
    """Raise `RadiosslError` if a finished stage was trained with other excluded stores."""
    config, _ = read_config(stage / "backbone")
    before = {(e["identity"], e["radius_arcsec"]) for entry in config.data for e in entry.get("excluded", [])}
    if before != {(e["identity"], e["radius_arcsec"]) for e in exclusion.key()}:
        raise RadiosslError(f"{stage}: {OTHER_EXCLUDES}")
