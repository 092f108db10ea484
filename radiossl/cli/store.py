"""`radiossl store`: look into cutout stores and make stores from stores."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Delimiter, Encoding, Seed, TableOption
from radiossl.io.errors import RadiosslError, check_choice, check_columns, counted
from radiossl.io.replacing import check_replaceable, csv_sign

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from radiossl.store.store import CutoutStore

app = typer.Typer(help="Look into cutout stores and make stores from stores.", no_args_is_help=True)

#: A column with no more distinct values than this counts as a label, and its values are counted.
_MOST_LABELS = 20

Store = Annotated[Path, Argument(metavar="STORE", help="Folder of a cutout store.")]
Stores = Annotated[list[Path], Argument(metavar="STORE...", help="Folders of cutout stores.")]
Out = Annotated[Path, Option(help="Folder of the new store.")]
Where = Annotated[str, Option(metavar="EXPRESSION", help="Condition such as 'las_arcsec > 20 and rms < 2e-4'.")]


@app.command()
def info(
    stores: Stores,
    as_json: Annotated[bool, Option("--json", help="Print a JSON list with one object per store.")] = False,
    moc: Annotated[Path | None, Option(metavar="FILE", help="Also write the coverage map (MOC, FITS).")] = None,
    croissant: Annotated[Path | None, Option(metavar="FILE", help="Also write Croissant metadata (JSON-LD).")] = None,
    licence: Annotated[str, Option(help="With --croissant: terms of use, such as CC-BY-4.0.")] = "",
) -> None:
    """Print what is in cutout stores: count, sizes, units, noise, labels, columns and where they come from."""
    if moc is not None:
        from radiossl.sky.moc import write_moc

        check_replaceable(moc, "MOCORD|MOCVERS", "coverage map", "--moc")
        write_moc(radiossl.store_moc(radiossl.open_store(*stores)), moc)
    if croissant is not None:
        from radiossl.store.croissant import write_croissant

        if len(stores) > 1:
            raise RadiosslError("--croissant: describes one store; join several with radiossl store concat")
        check_replaceable(croissant, "mlcommons.org/croissant", "description of a store", "--croissant")
        write_croissant(stores[0], croissant, licence)
    summaries = [_summary(path) for path in stores]
    if as_json:
        typer.echo(json.dumps(summaries, indent=2, ensure_ascii=False))
    else:
        typer.echo("\n\n".join(_as_text(summary) for summary in summaries))


@app.command()
def show(
    store: Store,
    out: Annotated[Path, Option(help="PNG file to write.")],
    rows: Annotated[int, Option(min=1, help="How many cutouts to draw, chosen at random.")] = 40,
    seed: Seed = 0,
    where: Annotated[str | None, Option(metavar="EXPRESSION", help="Draw only what meets a condition.")] = None,
    stretch: Annotated[str, Option(help="zscale, asinh, log or minmax.")] = "asinh",
    caption: Annotated[list[str] | None, Option(metavar="COLUMN", help="Column for the captions; repeatable.")] = None,
) -> None:
    """Draw a contact sheet of some of the cutouts."""
    import numpy as np

    from radiossl.report.html import format_value
    from radiossl.report.sheets import STRETCHES, cutout_pictures, image_grid

    how = check_choice("--stretch", stretch, STRETCHES)
    chosen = radiossl.open_store(store) if where is None else radiossl.open_store(store).where(where)
    total = len(chosen)
    if total == 0:
        raise RadiosslError(f"{store}: no cutout meets {where!r}")
    generator = np.random.default_rng(seed)
    chosen = chosen.select(np.sort(generator.choice(total, size=min(rows, total), replace=False)))
    columns = {name: chosen.column(name) for name in caption or ["cutout_id"]}
    captions = [
        "\n".join(format_value(values[row], name) for name, values in columns.items()) for row in range(len(chosen))
    ]
    title = f"{store.name}: {len(chosen)} of {counted(total, 'cutout')}" + (f" with {where}" if where else "")
    image_grid(cutout_pictures(chosen, captions), out=out, title=title, how=how)
    typer.echo(f"{out}: {len(chosen)} of {counted(total, 'cutout')}")


@app.command()
def concat(stores: Stores, out: Out) -> None:
    """Copy several stores into one; columns that a store lacks are empty for its cutouts."""
    typer.echo(f"{out}: {counted(len(radiossl.concat_stores(stores, out)), 'cutout')}")


@app.command("filter")
def filter_command(store: Store, where: Where, out: Out) -> None:
    """Copy the cutouts that meet a condition."""
    from radiossl.store.store import store_manifest

    total = store_manifest(store)["count"]
    typer.echo(f"{out}: {len(radiossl.filter_store(store, where, out))} of {counted(total, 'cutout')}")


@app.command()
def join(
    store: Store,
    table: Annotated[Path, Argument(help="CSV, FITS, VOTable, ECSV or Parquet table.")],
    on: Annotated[str, Option(help="Column that both share, or STORE_COLUMN=TABLE_COLUMN.")],
    out: Out,
    column: Annotated[list[str] | None, Option(metavar="COLUMN", help="Column to copy (default: all).")] = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    which: TableOption = None,
) -> None:
    """Copy a store with the columns of a table, such as labels; names that every store has get the prefix cat_."""
    store_column, _, table_column = on.partition("=")
    reading = {"delimiter": delimiter, "encoding": encoding, "table": which}
    columns = _table_columns(table, table_column or store_column, column, store_column, reading)
    joined, matched = radiossl.join_table(store, columns, store_column, out, table_name=table.name)
    typer.echo(f"{out}: {counted(len(joined), 'cutout')}, {matched} of them with a row in {table.name}")


@app.command()
def crossmatch(
    a: Annotated[Path, Argument(metavar="A", help="Folder of a cutout store.")],
    b: Annotated[Path, Argument(metavar="B", help="Folder of the store to compare with.")],
    radius: Annotated[str, Option(help="Largest separation: 60arcsec, 1arcmin, 0.5deg.")] = "60arcsec",
    pixels: Annotated[str | None, Option(help="Match by pixels, too: exact (equal) or near (similar).")] = None,
    turned: Annotated[bool, Option("--turned", help="With --pixels near: also if mirrored or rotated.")] = False,
    out: Annotated[Path | None, Option(help="CSV file for the pairs.")] = None,
    remove_to: Annotated[Path | None, Option(help="Copy A without its matches into this new store.")] = None,
) -> None:
    """Find the sources that two stores share, by position and by pixels; a store with itself: its duplicates."""
    import numpy as np

    from radiossl.io.csv_cells import write_table
    from radiossl.sky.angles import parse_arcsec
    from radiossl.store.derive import copy_store
    from radiossl.store.store import store_manifest

    radius_arcsec = parse_arcsec(radius)
    if turned and pixels != "near":
        raise RadiosslError("--turned: only goes with --pixels near")
    if out is not None and out.suffix.lower() != ".csv":
        raise RadiosslError(f"--out {out}: the pairs are written as CSV; give a name that ends in .csv")
    if out is not None:
        check_replaceable(out, csv_sign(["cutout_id_a", "ra_deg_a"]), "list of pairs")
    first, second, manifest = radiossl.open_store(a), radiossl.open_store(b), store_manifest(b)
    same = manifest["identity"] == store_manifest(a)["identity"]
    if same and remove_to is not None:
        raise RadiosslError(f"--remove-to {remove_to}: {a} and {b} are the same store, so nothing would be left")
    matches = radiossl.crossmatch_stores(first, second, radius_arcsec, cast(Any, pixels), turned)
    if same:
        matches = matches[matches["row_a"] != matches["row_b"]]
    found, others = matches["row_a"].nunique(), matches["row_b"].nunique()
    typer.echo(f"{a}: {found} of {len(first)} cutouts match one of {b}")
    typer.echo(f"{b}: {others} of {len(second)} cutouts match one of {a}")
    if conflicts := int(matches["positions_disagree"].sum()):
        typer.echo(f"note: {conflicts} pairs by their pixels alone, with positions too far apart: one of them is wrong")
    if out is not None:
        write_table(matches.drop(columns=["row_a", "row_b"]), out)
        typer.echo(f"{out}: {counted(len(matches), 'pair')}")
    if remove_to is not None:
        left = first.select(np.setdiff1d(np.arange(len(first)), matches["row_a"]))
        removed = {"store": b.name, "identity": manifest["identity"], "radius_arcsec": radius_arcsec}
        removed |= {"pixels": pixels, "turned": turned, "count": found}
        provenance = {"command": "store crossmatch", "stores": [str(a)], "removed": removed}
        typer.echo(f"{remove_to}: {len(copy_store(left, remove_to, provenance))} of {counted(len(first), 'cutout')}")


def _table_columns(
    path: Path, key: str, wanted: list[str] | None, key_in_store: str, reading: dict[str, str | None]
) -> pa.Table:
    """Read a table's key, renamed to `key_in_store`, and its other columns, renamed where every store has the name."""
    from radiossl.io.tables import read_table
    from radiossl.store.schema import BASE_SCHEMA

    table = read_table(path, **reading)
    check_columns([key, *(wanted or [])], table.column_names, path)
    others = [name for name in wanted or table.column_names if name != key]
    names = [f"cat_{name}" if name in BASE_SCHEMA.names else name for name in others]
    return table.select([key, *others]).rename_columns([key_in_store, *names])


def _summary(path: Path) -> dict[str, Any]:
    import numpy as np

    from radiossl.store.schema import BASE_SCHEMA
    from radiossl.store.store import store_manifest

    store, manifest = radiossl.open_store(path), store_manifest(path)
    rms, blank = store.column("rms"), store.column("blank_fraction")
    extra = [name for name in store.columns if name not in BASE_SCHEMA.names]
    return {
        "store": str(path),
        "count": len(store),
        "height_px": _range(store.shapes[:, 0]),
        "width_px": _range(store.shapes[:, 1]),
        "units": _counts(store.table.column("unit")),
        "mosaics": len(np.unique(store.column("mosaic").astype(str))),
        "pixel_scale_arcsec": _range(store.column("pixel_scale_arcsec")),
        "ra_deg": _range(store.column("ra_deg")),
        "dec_deg": _range(store.column("dec_deg")),
        "blank_fraction_mean": float(np.mean(blank)),
        "blank_fraction_max": float(np.max(blank)),
        "all_blank": int((blank == 1).sum()),
        "rms_median": float(np.median(rms[np.isfinite(rms)])) if np.isfinite(rms).any() else None,
        "command": manifest["provenance"].get("command", ""),
        "radiossl_version": manifest["radiossl_version"],
        "columns": {field.name: str(field.type) for field in store.table.schema},
        "labels": {name: _counts(store.table.column(name)) for name in extra if _is_label(store, name)},
        "provenance": manifest["provenance"],
    }


def _range(values: NDArray[np.generic]) -> list[Any] | None:
    """Smallest and largest of the known values; None without any."""
    import numpy as np

    known = values[np.isfinite(values.astype(float))]
    return [known.min().item(), known.max().item()] if known.size else None


def _is_label(store: CutoutStore, name: str) -> bool:
    """Text, truth values or whole numbers, with few values and at least one of them twice."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    column = store.table.column(name)
    distinct = pc.count_distinct(column).as_py()
    if not 0 < distinct <= _MOST_LABELS or distinct == len(column) - column.null_count:
        return False
    if not pa.types.is_floating(column.type):
        return not pa.types.is_nested(column.type)
    values = column.to_numpy()
    return bool((values[np.isfinite(values)] % 1 == 0).all())


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    """How often each value occurs, most frequent first; missing ones as ``(none)``."""
    import pyarrow.compute as pc

    from radiossl.report.html import format_value

    counted = pc.value_counts(column).to_pylist()
    named = [("(none)" if item["values"] is None else format_value(item["values"]), item["counts"]) for item in counted]
    return dict(sorted(named, key=lambda pair: (-pair[1], pair[0])))


def _as_text(summary: dict[str, Any]) -> str:
    unit, rms = next(iter(summary["units"])), summary["rms_median"]
    blank = "{blank_fraction_mean:.2%} of the pixels on average, at most {blank_fraction_max:.2%}".format(**summary)
    lines = {
        "size": f"{_span(summary['width_px'])} x {_span(summary['height_px'])} px (width x height)",
        "unit": _listed(summary["units"]),
        "mosaics": f"{summary['mosaics']}",
        "pixel scale": f"{_span(summary['pixel_scale_arcsec'])} arcsec",
        "sky": f"RA {_span(summary['ra_deg'])}, Dec {_span(summary['dec_deg'])} deg",
        "blank": f"{blank}; {counted(summary['all_blank'], 'cutout')} entirely",
        "rms": "unknown" if rms is None else f"median {rms:.3g} {unit}".rstrip(),
        "made by": f"{_history(summary['provenance'])} (radiossl {summary['radiossl_version']})",
        "columns": ", ".join(f"{name} {kind}" for name, kind in summary["columns"].items()),
        **{f"label {name}": _listed(counts) for name, counts in summary["labels"].items()},
    }
    width = max(map(len, lines)) + 4
    body = "\n".join(
        textwrap.fill(f"  {name}".ljust(width) + text, 100, subsequent_indent=" " * width, break_on_hyphens=False)
        for name, text in lines.items()
    )
    return f"{summary['store']}: {counted(summary['count'], 'cutout')}\n{body}"


def _history(provenance: dict[str, Any]) -> str:
    """The command that made a store, and in brackets those that made its parents."""
    command = str(provenance.get("command", "unknown"))
    parents = [_history(parent) for parent in provenance.get("parents", [])]
    return f"{command} ({', '.join(parents)})" if parents else command


def _span(limits: list[Any] | None) -> str:
    if limits is None:
        return "unknown"
    low, high = (f"{value:.6g}" for value in limits)
    return low if low == high else f"{low} to {high}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name or '(unknown)'}: {count}" for name, count in counts.items())
