"""`radiossl embed`: features of a store or of image files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from radiossl.cli.adapt import Field, Readout, Tta, Whiten, adapt
from radiossl.cli.options import BoxSize, Device, Mosaics, Scheduler

if TYPE_CHECKING:
    from radiossl.features.parts import Embedded


def embed(
    weights: Annotated[Path, Argument(help="Backbone folder.")],
    images: Annotated[
        list[Path],
        Argument(
            help="Cutout stores; FITS, NPY or picture files, folders of them, patterns, a table that names files; or"
            " with --mosaics a catalogue."
        ),
    ],
    out: Annotated[Path, Option(help="Parquet file to write, or with --partitioned a folder of such.")],
    mosaics: Mosaics = None,
    size: BoxSize = None,
    batch_size: Annotated[int, Option(min=1, help="Images at a time.")] = 128,
    tta: Tta = None,
    field: Field = None,
    readout: Readout = None,
    whiten: Whiten = None,
    device: Device = "auto",
    partitioned: Annotated[
        bool, Option("--partitioned", help="Write a folder of Parquet files, which every command takes too.")
    ] = False,
    workers: Annotated[int, Option(min=1, help="Processes of this machine, each with one thread.")] = 1,
    scheduler: Scheduler = None,
    bfloat16: Annotated[
        bool, Option("--bfloat16", help="Compute in bfloat16, for hardware that does: faster, three digits.")
    ] = False,
) -> None:
    """Turn images into a table of features.

    A run that was interrupted is completed by the same command; one that was not does nothing again.
    """
    from radiossl.features.parts import write_features
    from radiossl.weights.backbone import load_backbone

    backbone = adapt(load_backbone(weights, device), tta, field, readout, whiten)
    done = write_features(
        backbone, images, out, batch_size, partitioned, workers, scheduler, bfloat16, mosaics, size=size
    )
    typer.echo(_summary(out, done))


def _summary(out: Path, done: Embedded) -> str:
    line = f"{out}: {len(done.table)} x {done.table.dimension} features"
    if done.made == 0:
        return f"{line}; complete before, nothing was embedded again"
    if done.made < done.parts:
        return f"{line}; {done.parts - done.made} of {done.parts} parts were there from an interrupted run"
    return line
