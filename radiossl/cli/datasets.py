"""`radiossl datasets`: published data sets as cutout stores and catalogues."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Label, Seed, Where, Workers, set_option
from radiossl.io.errors import counted

app = typer.Typer(help="Published data sets as cutout stores and catalogues.", no_args_is_help=True)

SetChanges = Annotated[list[str] | None, set_option("labels=cdl1")]
CatalogueChanges = Annotated[list[str] | None, set_option("min_consensus=0.8")]
Name = Annotated[str, Argument(help="A set of `radiossl datasets list`.")]


@app.command("list")
def list_command(name: Annotated[str | None, Argument(help="Describe this set in full.")] = None) -> None:
    """List the published sets, or describe one: columns, selections, options, terms and source."""
    from radiossl.datasets.published import published_set, set_names

    if name is not None:
        typer.echo(_description(name))
        return
    names = set_names()
    width = max(map(len, names)) + 2
    for known in names:
        typer.echo(f"{known.ljust(width)}{published_set(known).title}")


@app.command("import")
def import_command(
    name: Name,
    source: Annotated[Path, Argument(help="File or folder of the set.")],
    out: Annotated[Path, Option(help="Folder of the new store.")],
    select: Annotated[str | None, Option(help="One of the set's named selections.")] = None,
    where: Where = None,
    changes: SetChanges = None,
    workers: Workers = 1,
) -> None:
    """Turn a published set into a cutout store with labels, positions, splits and provenance."""
    imported = radiossl.import_set(name, source, out, select=select, where=where, changes=changes, workers=workers)
    for remark in imported.remarks:
        typer.echo(f"note: {remark}")
    line = f"{out}: {counted(len(imported.store), 'cutout')}"
    typer.echo(f"{line}; complete before, nothing was imported again" if imported.again else line)


@app.command()
def fetch(
    name: Name,
    out: Annotated[Path, Option(help="Folder to make.")],
    mirror: Annotated[str | None, Option(help="Address of a folder that holds copies of the files.")] = None,
) -> None:
    """Download a published set, verify its checksums and unpack it; run it again to go on after an interruption."""
    dataset = radiossl.fetch_set(name, out, mirror=mirror)
    typer.echo(f"{out}: {dataset.title}; {dataset.terms}")


@app.command()
def catalogue(
    name: Annotated[str, Argument(help="rgz-dr1 or crumb.")],
    source: Annotated[Path, Argument(help="Catalogue as published.")],
    out: Annotated[Path, Option(help="CSV to write, for `cutouts sources`, `merge` and `build`.")],
    changes: CatalogueChanges = None,
) -> None:
    """Turn a published catalogue into one with positions in degrees and labels as names.

    rgz-dr1 takes min_consensus, draw, train, test (sources per class of a draw) and seed; crumb takes labels and
    priority.
    """
    from radiossl.datasets.catalogues import convert_catalogue

    converted = convert_catalogue(name, source, out, changes)
    typer.echo(converted.summary)
    typer.echo(f"{out}: {counted(converted.table.num_rows, 'source')}")


@app.command()
def merge(
    parents: Annotated[list[str], Argument(help="NAME=FILE or NAME=FILE:LABEL,..., the preferred first.")],
    out: Annotated[Path, Option(help="CSV of the merged catalogue.")],
    review: Annotated[Path, Option(help="CSV of all pairs within the radius, for a person to look through.")],
    radius: Annotated[str, Option(help="Sources closer than this are listed as pairs.")] = "270arcsec",
    same_radius: Annotated[str | None, Option(help="Pairs closer than this are one source (default: all).")] = None,
    classes: Annotated[str | None, Option(help="YAML file with the classes that labels mean, or crumb.")] = None,
    reviewed: Annotated[Path | None, Option(help="A review list with its column `same` filled in.")] = None,
) -> None:
    """Merge catalogues by position into one with the labels of all, and a list of pairs to review."""
    from radiossl.datasets.merge_entries import ParentCatalogue, read_classes
    from radiossl.sky.angles import parse_arcsec

    merged = radiossl.merge_catalogues(
        [ParentCatalogue.read(text) for text in parents],
        parse_arcsec(radius),
        same_arcsec=None if same_radius is None else parse_arcsec(same_radius, "--same-radius"),
        classes=None if classes is None else read_classes(classes),
        reviewed=reviewed,
        out=out,
        review=review,
    )
    typer.echo(f"{review}: {counted(merged.review.num_rows, 'pair')}, {merged.undecided} of them not reviewed")
    typer.echo(f"{out}: {counted(merged.table.num_rows, 'source')}")


@app.command()
def build(
    mosaics: Annotated[list[str], Argument(help="FITS files, folders of them, or glob patterns.")],
    catalogue: Annotated[Path, Option(help="From `datasets catalogue crumb` or `datasets merge`.")],
    out: Annotated[Path, Option(help="Folder of the set.")],
    label: Label = "basic_label",
    batches: Annotated[int, Option(min=2, help="How many batches; the last is for testing.")] = 7,
    seed: Seed = 0,
) -> None:
    """Build a set of 8-bit images and batches as CRUMB was made (Porter & Scaife 2023)."""
    built = radiossl.build_set(mosaics, catalogue, out, label=label or "basic_label", batches=batches, seed=seed)
    for reason, count in built.missing.items():
        typer.echo(f"note: {counted(count, 'source')} without an image: {reason}")
    typer.echo(f"{out}: {counted(built.images, 'image')}")


def _description(name: str) -> str:
    from radiossl.datasets.published import published_set

    dataset = published_set(name)
    lines = {
        "cite": dataset.reference,
        "terms": dataset.terms,
        "import": f"radiossl datasets import {name} SOURCE --out STORE, where SOURCE is {dataset.source}",
        "published at": ", ".join(download.url for download in dataset.downloads),
        "columns": ", ".join(dataset.columns.names if dataset.columns else ()),
    }
    text = [f"{name}: {dataset.title}", *[f"  {key + ':':14s}{value}" for key, value in lines.items() if value]]
    text += [f"  --select {key}: {expression}" for key, expression in dataset.selections.items()]
    options = dataset.reader.options.model_fields.items()
    text += [f"  --set {key}=...: {field.annotation} [{field.default}]" for key, field in options]
    return "\n".join([*text, *[f"  note: {note}" for note in dataset.notes]])
