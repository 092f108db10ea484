"""`radiossl embed`: features of a store or of image files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from radiossl.cli.adapt import Field, Tta, adapt
from radiossl.errors import RadiosslError


def embed(
    weights: Annotated[Path, typer.Argument(help="Backbone folder.")],
    images: Annotated[list[Path], typer.Argument(help="Cutout stores, or FITS, NPY or picture files.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    batch_size: Annotated[int, typer.Option(help="Images at a time.")] = 128,
    tta: Tta = None,
    field: Field = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Turn images into a table of features. A run that was interrupted is completed by the same command."""
    from radiossl.embeddings.embed import embed as embed_images
    from radiossl.files import only_writer
    from radiossl.survey.store import open_store
    from radiossl.weights.released import load_backbone

    folders = [path for path in images if path.is_dir()]
    if folders and len(folders) < len(images):
        raise RadiosslError("give either cutout stores or image files, not both")
    source = open_store(*folders) if folders else images
    kept = out.with_name(f".{out.name}.unfinished")
    with only_writer(out):
        table = embed_images(adapt(load_backbone(weights, device), tta, field), source, batch_size, kept=kept)
        table.write(out)
        shutil.rmtree(kept, ignore_errors=True)
    typer.echo(f"{out}: {len(table)} x {table.features.shape[1]} features")
