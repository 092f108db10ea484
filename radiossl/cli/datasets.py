"""`radiossl datasets`: published data sets as cutout stores and catalogues."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from radiossl.io.errors import RadiosslError
from radiossl.io.settings import key_values

app = typer.Typer(help="Published data sets as cutout stores and catalogues.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A set of `radiossl datasets list`.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the set; repeatable.")
]


@app.command("list")
def list_command(name: Annotated[str | None, typer.Argument(help="Describe this set in full.")] = None) -> None:
    """List the published sets, or describe one: columns, selections, options, terms and where it is published."""
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
    source: Annotated[Path, typer.Argument(help="File or folder of the set.")],
    out: Annotated[Path, typer.Option(help="Folder of the new store.")],
    select: Annotated[str | None, typer.Option(help="One of the set's named selections.")] = None,
    where: Annotated[str | None, typer.Option(help="Expression over the columns that cutouts must satisfy.")] = None,
    settings: Settings = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Turn a published set into a cutout store with labels, positions, splits and provenance."""
    from radiossl.datasets.published import import_set

    imported = import_set(name, source, out, select=select, where=where, options=key_values(settings), workers=workers)
    for remark in imported.remarks:
        typer.echo(f"note: {remark}")
    typer.echo(f"{out}: {len(imported.store)} cutouts")


@app.command()
def fetch(
    name: Name,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    mirror: Annotated[str | None, typer.Option(help="Address of a folder that holds copies of the files.")] = None,
) -> None:
    """Download a published set, verify its checksums and unpack it; run it again to go on after an interruption."""
    from radiossl.datasets.fetch import fetch as fetch_files
    from radiossl.datasets.published import published_set

    dataset = published_set(name)
    if not dataset.downloads:
        raise RadiosslError(f"{name}: has no stable address to download from ({dataset.reference or dataset.title})")
    typer.echo(f"{fetch_files(dataset.downloads, out, base_url=mirror)}: {dataset.title}; {dataset.terms}")


@app.command()
def catalogue(
    name: Annotated[str, typer.Argument(help="rgz-dr1 or crumb.")],
    source: Annotated[Path, typer.Argument(help="Catalogue as published.")],
    out: Annotated[Path, typer.Option(help="CSV to write, for `cutouts sources`, `merge` and `build`.")],
    settings: Settings = None,
) -> None:
    """Turn a published catalogue into one with positions in degrees and labels as names.

    rgz-dr1 takes min_consensus, draw, train, test (sources per class of a draw) and seed; crumb takes labels and
    priority.
    """
    from radiossl.datasets.published import read_options

    given = key_values(settings)
    if name == "crumb":
        from radiossl.datasets.crumb import CrumbOptions, explain_totals, table_labels, write_crumb_catalogue

        table = write_crumb_catalogue(source, out, read_options("crumb", CrumbOptions, given))
        typer.echo(explain_totals(table_labels(table)))
    elif name == "rgz-dr1":
        from radiossl.datasets.rgz import RgzOptions, write_rgz_catalogue

        table = write_rgz_catalogue(source, out, read_options("rgz-dr1", RgzOptions, given))
        counts = Counter(table.column("label").to_pylist())
        typer.echo(", ".join(f"{label}: {counts[label]}" for label in sorted(counts)))
    else:
        raise RadiosslError(f"no catalogue {name!r}; there are rgz-dr1 and crumb")
    typer.echo(f"{out}: {table.num_rows} sources")


@app.command()
def merge(
    parents: Annotated[list[str], typer.Argument(help="NAME=FILE or NAME=FILE:LABEL,..., the preferred first.")],
    out: Annotated[Path, typer.Option(help="CSV of the merged catalogue.")],
    review: Annotated[Path, typer.Option(help="CSV of all pairs within the radius, for a person to look through.")],
    radius: Annotated[str, typer.Option(help="Angle such as 270arcsec.")] = "270arcsec",
    same: Annotated[str | None, typer.Option(help="Pairs closer than this are one source; all without it.")] = None,
    classes: Annotated[str | None, typer.Option(help="YAML with the meaning of labels, or crumb.")] = None,
    reviewed: Annotated[Path | None, typer.Option(help="A review list with its column `same` filled in.")] = None,
) -> None:
    """Merge catalogues by position into one with the labels of all, and a list of pairs to review."""
    from radiossl.datasets.merge import Parent, read_classes
    from radiossl.datasets.merge import merge as merge_files
    from radiossl.sky.angles import parse_arcsec

    merged = merge_files(
        [Parent.read(text) for text in parents],
        out,
        review,
        radius_arcsec=parse_arcsec(radius),
        same_arcsec=None if same is None else parse_arcsec(same, "--same"),
        classes=None if classes is None else read_classes(classes),
        reviewed=reviewed,
    )
    typer.echo(f"{review}: {merged.review.num_rows} pairs, {merged.undecided} of them not reviewed")
    typer.echo(f"{out}: {merged.table.num_rows} sources")


@app.command()
def build(
    mosaics: Annotated[list[str], typer.Argument(help="FITS files, folders of them, or glob patterns.")],
    catalogue: Annotated[Path, typer.Option(help="From `datasets catalogue crumb` or `datasets merge`.")],
    out: Annotated[Path, typer.Option(help="Folder of the set.")],
    label: Annotated[str, typer.Option(help="Column of the class.")] = "basic_label",
    batches: Annotated[int, typer.Option(min=2, help="How many, the last for testing.")] = 7,
    seed: Annotated[int, typer.Option(min=0, help="By which sources are dealt to batches.")] = 0,
) -> None:
    """Build a set of 8-bit images and batches as CRUMB was made (Porter & Scaife 2023)."""
    from radiossl.datasets.build import build as build_set

    built = build_set(mosaics, catalogue, out, label=label, batches=batches, seed=seed)
    for reason, count in built.missing.items():
        typer.echo(f"note: {count} sources have no image: {reason}")
    typer.echo(f"{out}: {built.images} images")


def _description(name: str) -> str:
    import pyarrow as pa

    from radiossl.datasets.published import published_set

    dataset = published_set(name)
    lines = {
        "cite": dataset.reference,
        "terms": dataset.terms,
        "import": f"radiossl datasets import {name} SOURCE --out STORE, where SOURCE is {dataset.source}",
        "published at": ", ".join(download.url for download in dataset.downloads),
        "columns": ", ".join(dataset.columns.names) if isinstance(dataset.columns, pa.Schema) else "",
    }
    text = [f"{name}: {dataset.title}", *[f"  {key + ':':14s}{value}" for key, value in lines.items() if value]]
    text += [f"  --select {key}: {expression}" for key, expression in dataset.selections.items()]
    options = dataset.options.model_fields.items()
    text += [f"  --set {key}=...: {field.annotation} [{field.default}]" for key, field in options]
    return "\n".join([*text, *[f"  note: {note}" for note in dataset.notes]])
