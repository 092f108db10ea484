"""`radiossl pretrain`, `views` and `recipes`: training, and a look at what it trains on and how."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

import radiossl
from radiossl.cli.options import BoxSize, Device, Label, Mosaics, Seed, set_option
from radiossl.io.errors import DiskFullError, RadiosslError, counted
from radiossl.io.progress import announce

if TYPE_CHECKING:
    from radiossl.pretraining.recipe import Recipe as Stage

Recipe = Annotated[str, Option("--recipe", help="Recipe (`radiossl recipes` lists them) or YAML file.")]
Data = Annotated[list[Path], Option("--data", help="Cutout store, or images; repeatable.")]
Changes = Annotated[list[str] | None, set_option("optimizer.lr=0.001")]
Passes = Annotated[int | None, Option(help="Passes over the data.")]
BatchSize = Annotated[int | None, Option(help="Images per optimiser step.")]
ImageSize = Annotated[int | None, Option(min=8, help="Side in pixels of the images that the backbone gets.")]

#: What the three channels of each mode are; see docs/preprocessing.md.
_CHANNELS = {
    "sigma-zscale": "sigma clip, zscale 0.25, zscale 0.4",
    "floor-stretch": "noise floor with linear, asinh and square root stretch",
}


def pretrain(
    data: Data,
    out: Annotated[Path, Option(help="Run folder to write.")],
    recipe: Recipe = "radiossl",
    mosaics: Mosaics = None,
    size: BoxSize = None,
    epochs: Passes = None,
    batch_size: BatchSize = None,
    image_size: ImageSize = None,
    init: Annotated[Path | None, Option(help="Backbone to start from: folder, name, or imagenet.")] = None,
    device: Device = "auto",
    resume: Annotated[bool, Option("--resume", help="Continue the run in --out; more --epochs train further.")] = False,
    monitor: Annotated[Path | None, Option(help="Labelled store to measure kNN accuracy on during training.")] = None,
    label: Label = None,
    group: Annotated[list[str] | None, Option(help="Classes of --label: NAME=VALUE,VALUE...")] = None,
    exclude: Annotated[list[Path] | None, Option(help="Store of sources to leave out of training; repeatable.")] = None,
    exclude_radius: Annotated[str, Option(help="Leave out cutouts this close to a source of --exclude.")] = "60arcsec",
    seed: Annotated[int | None, Option(min=0, help="Random seed (default: the recipe's).")] = None,
    changes: Changes = None,
) -> None:
    """Pretrain a backbone on unlabelled cutouts.

    A recipe of several stages takes one --data for each stage, in order. `torchrun --nproc-per-node 4 --no-python
    radiossl pretrain ...` trains with four processes; docs/slurm.md has more.
    """
    if os.environ.get("RANK", "0") == "0":  # before torch is loaded
        announce(f"training by the recipe {recipe} on {_named(data, mosaics)} into {out}")
    from radiossl.pretraining.checkpoint import CHECKPOINT
    from radiossl.pretraining.distributed import first_process_reports, process_group_from_environment
    from radiossl.pretraining.trainer import Monitor
    from radiossl.report.training import write_run_report
    from radiossl.sky.angles import parse_arcsec

    first = process_group_from_environment().first
    with first_process_reports():
        stages = changed_recipe(recipe, changes, epochs=epochs, batch_size=batch_size, image_size=image_size, seed=seed)
        radius = parse_arcsec(exclude_radius, "--exclude-radius")
        watched = None
        if monitor is not None:
            if label is None:
                raise RadiosslError("--monitor: needs --label, the column of its classes")
            store = radiossl.open_store(monitor)
            labels = radiossl.read_labels(store.column(label), label, group or [])
            watched = Monitor(store.select(labels.rows), labels.names)
        try:
            backbone = radiossl.pretrain(
                stages,
                data,
                out,
                mosaics=mosaics,
                size=size,
                init=init,
                resume=resume,
                device=device,
                monitor=watched,
                exclude=exclude or (),
                exclude_radius_arcsec=radius,
            )
            if first:
                last = str(data[-1]).split(",") if len(stages) > 1 else data
                kept = sorted(out.parent.glob(f"{out.name}.images*"))  # of images that were no store
                report = write_run_report(backbone.parent, kept[-1:] or last)
        except (KeyboardInterrupt, DiskFullError) as error:
            if first:
                saved = any(out.rglob(CHECKPOINT.name))
                go_on = f"go on with the same command and --resume ({out})" if saved else "nothing was saved yet"
                error.add_note(go_on)
            raise
    if first:
        typer.echo(f"{backbone}: trained backbone; {report}")


def _named(data: list[Path], mosaics: list[Path] | None) -> str:
    """Return how many cutouts there are, or what is to be made into cutouts."""
    from radiossl.datasets.image_files import is_store

    stores = {part for one in data for part in str(one).split(",")}
    if mosaics or not all(map(is_store, stores)):
        return ", ".join(map(str, data))
    return counted(sum(len(radiossl.open_store(store)) for store in stores), "cutout")


def changed_recipe(recipe: str, changes: list[str] | None, **shortcuts: int | None) -> list[Stage]:
    """Return the stages of a recipe as `--epochs`, `--batch-size`, `--image-size`, `--seed` and `--set` want them."""
    keys = {"epochs": "schedule.epochs", "image_size": "preprocessing.size"}
    given = [f"{keys.get(name, name)}={value}" for name, value in shortcuts.items() if value is not None]
    return radiossl.read_recipe(recipe, [*given, *(changes or [])])


def views(
    recipe: Recipe,
    data: Data,
    out: Annotated[Path, Option(help="PNG file to write.")],
    rows: Annotated[int, Option(help="Cutouts to show.", min=1)] = 8,
    count: Annotated[int, Option(help="Views of each.")] = 6,
    image_size: ImageSize = None,
    seed: Seed = 0,
    channels: Annotated[bool, Option("--channels", help="Show the channels side by side.")] = False,
    changes: Changes = None,
) -> None:
    """Draw random views of some cutouts, as a recipe shows them to the backbone."""
    import numpy as np
    import torch

    from radiossl.features.embedding import preprocessed
    from radiossl.pretraining.data import box_sides
    from radiossl.report.sheets import image_grid

    stage = changed_recipe(recipe, changes, image_size=image_size)[0]
    store = radiossl.open_store(*data)
    chosen = np.random.default_rng(seed).permutation(len(store))[:rows]
    maker = radiossl.ViewMaker(stage.preprocessing, stage.augmentation)
    generator = torch.Generator().manual_seed(seed)
    pixels, statistics = [store.pixels(i) for i in chosen], torch.from_numpy(store.statistics[chosen])
    plain = preprocessed(stage.preprocessing, store, chosen, "cpu")
    boxes = torch.from_numpy(box_sides(store, stage.extent)[chosen])
    random = maker(pixels, statistics, generator, count=count, boxes=boxes)
    mean, std = stage.preprocessing.mean, stage.preprocessing.std
    images = [
        (image * std + mean).clamp(0, 1).numpy()
        for i, first in enumerate(plain)
        for image in (first, *(view[i] for view in random))
    ]
    captions = [caption for i in chosen for caption in (str(store.column("cutout_id")[i]), *[""] * count)]
    shown = "channels side by side" if channels else "channels as red, green and blue"
    title = f"{stage.name}: without randomness (left) and random views"
    if stage.preprocessing.channels == 3:
        title += f"; {shown}: {_CHANNELS[stage.preprocessing.mode]}"
    image_grid(images, captions, out=out, columns=count + 1, title=title, how="minmax", strips=channels)
    typer.echo(f"{out}: {count} views of {counted(len(chosen), 'cutout')}")


def recipes() -> None:
    """List the recipes that come with the package."""
    from radiossl.pretraining.recipe import recipe_names

    for name in recipe_names():
        stages = radiossl.read_recipe(name)
        first = stages[0]
        seen = first.preprocessing
        images = f"{seen.channels} x {seen.size} x {seen.size}"
        what = " then ".join(stage.name for stage in stages) if len(stages) > 1 else first.method
        typer.echo(
            f"{name:18s} {what:32s} {images:14s} {first.backbone.name}, {counted(first.schedule.epochs, 'epoch')}"
        )
