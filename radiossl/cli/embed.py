"""`radiossl embed`: features of images; `export` and `send`: tables of them for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import BoxSize, Device, Field, Mosaics, Readout, Scheduler, Store, Tta, Whiten, adapt
from radiossl.io.errors import counted
from radiossl.io.progress import announce


def embed(
    weights: Annotated[Path, Argument(help="Backbone: folder or name.")],
    images: Annotated[list[Path], Argument(help="Cutout stores, image files, folders; with --mosaics a catalogue.")],
    out: Annotated[
        Path, Option(help="File to write: .parquet, or .fits, .vot or .csv beside one; with --partitioned, a folder.")
    ],
    mosaics: Mosaics = None,
    size: BoxSize = None,
    batch_size: Annotated[int, Option(min=1, help="Images computed at a time.")] = 128,
    tta: Tta = None,
    field: Field = None,
    readout: Readout = None,
    whiten: Whiten = None,
    device: Device = "auto",
    partitioned: Annotated[bool, Option("--partitioned", help="Write a folder of Parquet files.")] = False,
    workers: Annotated[int, Option(min=1, help="Number of processes, each with one thread.")] = 1,
    scheduler: Scheduler = None,
    bfloat16: Annotated[bool, Option("--bfloat16", help="Compute in bfloat16: faster, three digits.")] = False,
) -> None:
    """Turn images into a table of features.

    An interrupted run is completed by the same command; a finished one is left as it is.
    """
    from radiossl.datasets.image_sources import find_images
    from radiossl.weights.folder import backbone_name

    # What is not there is told before torch is loaded.
    found = images if mosaics else find_images(images, size=size)
    what = counted(len(found), "image") if not mosaics else f"the sources of {', '.join(map(str, images))}"
    announce(f"embedding {what} with {backbone_name(weights)} into {out}")
    backbone = adapt(radiossl.load_backbone(weights, device), tta, field, readout, whiten)
    done = radiossl.write_features(
        backbone, found, out, batch_size, partitioned, workers, scheduler, bfloat16, mosaics, size=size
    )
    line = f"{out}: {len(done.table)} x {done.table.dimension} features"
    if done.made == 0:
        line += "; complete before, nothing was embedded again"
    elif done.made < done.parts:
        line += f"; {done.parts - done.made} of {done.parts} parts were there from an interrupted run"
    if done.table.path != out:
        line += f"; {done.table.path} is the same for radiossl"
    typer.echo(line)


def export(
    features: Annotated[Path, Argument(help="Feature table from radiossl embed.")],
    out: Annotated[Path, Option(help="File to write, or with --format hats the folder of the catalogue.")],
    form: Annotated[str, Option("--format", "--for", help="fits, votable, csv, hats, embedding-atlas or spotlight.")],
    store: Store = None,
    margin: Annotated[str, Option(help="With hats: width of the margin cache, such as 10arcsec.")] = "0",
    images: Annotated[bool, Option("--images", help="With hats: add the cutouts' pixels as a column.")] = False,
) -> None:
    """Write a feature table in the format of another program."""
    from radiossl.features.feature_file import FeatureFile
    from radiossl.sky.angles import parse_arcsec

    width = parse_arcsec(margin, "--margin")
    left_out = radiossl.export_table(features, out, form, store, width, images)  # type: ignore[arg-type]  # checked there
    total = len(FeatureFile(features))
    line = f"{out}: {counted(total - left_out, 'cutout')} as {form}"
    typer.echo(f"{line}; {left_out} without a position left out" if left_out else line)


def send(
    table: Annotated[Path, Argument(help="Feature table, or a result such as neighbours.csv or anomalies.csv.")],
    to: Annotated[str, Option("--to", help="topcat, ds9 or aladin.")],
) -> None:
    """Send a table to TOPCAT, DS9 or Aladin through SAMP; the program must be open."""
    from radiossl.features.sending import Program

    typer.echo(f"{table}: loaded by {radiossl.send_table(table, cast('Program', to))}")
