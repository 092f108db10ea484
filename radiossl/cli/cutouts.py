"""`radiossl cutouts`: from mosaics to a cutout store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Argument, Option

import radiossl
from radiossl.cli.options import Delimiter, Encoding, Scheduler, TableOption
from radiossl.io.errors import RadiosslError, counted
from radiossl.sky.angles import parse_arcsec

if TYPE_CHECKING:
    from radiossl.survey.cutting import CuttingResult

app = typer.Typer(help="Cut survey mosaics into a cutout store.", no_args_is_help=True)

#: No more mosaics than this are listed one by one.
_LISTED = 5

Mosaics = Annotated[list[str], Argument(metavar="MOSAIC...", help="FITS mosaics, folders of them, or patterns.")]
Out = Annotated[Path, Option(help="Folder of the new cutout store.")]
Hdu = Annotated[str | None, Option(metavar="NAME|N", help="HDU of the image (default: found by content and name).")]
MaxBlank = Annotated[float, Option(help="Largest fraction of blank pixels in a cutout, from 0 to below 1.")]
Workers = Annotated[int | None, Option(help="Processes (default: one per core for large runs).")]
OnErrorOption = Annotated[Literal["stop", "skip"], Option(help="At an unreadable mosaic: stop, or skip it.")]


@app.command()
def blind(
    mosaics: Mosaics,
    out: Out,
    size: Annotated[int, Option(help="Side of a window in pixels.")] = 256,
    overlap: Annotated[float, Option(help="Fraction of a window shared with the next, from 0 to below 1.")] = 0.5,
    max_blank: MaxBlank = 0.4,
    hdu: Hdu = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    on_error: OnErrorOption = "stop",
) -> None:
    """Cut mosaics into overlapping windows, with or without sources.

    An interrupted run is completed by the same command.
    """
    result = radiossl.cut_blind(
        mosaics,
        out,
        size=size,
        overlap=overlap,
        max_blank=max_blank,
        workers=workers,
        scheduler=scheduler,
        on_error=on_error,
        hdu=hdu,
    )
    _report(out, result)


@app.command()
def sources(
    context: typer.Context,
    mosaics: Mosaics,
    out: Out,
    catalogue: Annotated[
        Path | None, Option(help="Source catalogue: CSV, TSV, FITS, VOTable, ECSV, Parquet or DS9 regions.")
    ] = None,
    detect: Annotated[bool, Option("--detect", help="Find the sources instead of reading a catalogue.")] = False,
    threshold: Annotated[float, Option(help="With --detect: minimum brightness in units of the noise.")] = 5.0,
    box_factor: Annotated[float, Option(help="Side of a box in units of the source's extent.")] = 1.5,
    size: Annotated[int | None, Option(help="Side of every box in pixels, instead of by extent.")] = None,
    min_size: Annotated[int, Option(help="Smallest side of a box in pixels, where extents set the side.")] = 32,
    min_extent: Annotated[
        str | None, Option(metavar="ANGLE", help="Leave out sources of a smaller extent: 12arcsec, 0.5arcmin.")
    ] = None,
    ra: Annotated[str | None, Option(help="Column of the right ascension, if its name is unusual.")] = None,
    dec: Annotated[str | None, Option(help="Column of the declination.")] = None,
    extent: Annotated[str | None, Option(help="Column of the largest angular size.")] = None,
    measure_extents: Annotated[bool, Option("--measure-extents", help="Measure the extents on the mosaics.")] = False,
    id: Annotated[str | None, Option(help="Column of the sources' names.")] = None,
    position_unit: Annotated[str | None, Option(help="Unit of the positions, if not the file's: deg, hours...")] = None,
    extent_unit: Annotated[str | None, Option(help="Unit of the extents, if not the file's: arcsec, deg...")] = None,
    frame: Annotated[str | None, Option(help="Frame of positions, if not the file's: icrs, fk5, galactic...")] = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    table: TableOption = None,
    max_blank: MaxBlank = 0.4,
    hdu: Hdu = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    on_error: OnErrorOption = "stop",
) -> None:
    """Cut a box around every source of a catalogue.

    An interrupted run is completed by the same command. Sources without a cutout are listed in the store's not_cut.csv.
    """
    from radiossl.survey.catalogue import read_catalogue

    reading = {"ra": ra, "dec": dec, "extent": extent, "id": id}
    reading |= {"position_unit": position_unit, "extent_unit": extent_unit, "frame": frame}
    reading |= {"delimiter": delimiter, "encoding": encoding, "table": table}
    given = context.get_parameter_source("box_factor")
    if size is not None and given is not None and given.name == "COMMANDLINE":
        raise RadiosslError("--size and --box-factor exclude each other; give one of them")
    if detect and (catalogue is not None or any(value is not None for value in reading.values())):
        raise RadiosslError("--detect needs neither --catalogue nor its columns; leave one of them out")
    if measure_extents and (detect or extent is not None):
        raise RadiosslError("--measure-extents goes neither with --detect nor with --extent; leave one of them out")
    if not detect and catalogue is None:
        raise RadiosslError("which sources? Give a catalogue with --catalogue, or find them with --detect")
    targets = None if catalogue is None else read_catalogue(catalogue, **reading)
    result = radiossl.cut_sources(
        mosaics,
        targets,
        out,
        size=size,
        box_factor=box_factor,
        min_size=min_size,
        min_extent_arcsec=None if min_extent is None else parse_arcsec(min_extent, "--min-extent"),
        max_blank=max_blank,
        workers=workers,
        scheduler=scheduler,
        on_error=on_error,
        hdu=hdu,
        threshold=threshold,
        measure=measure_extents,
    )
    _report(out, result, threshold)


@app.command()
def fetch(
    catalogue: Annotated[
        Path, Argument(help="Source catalogue: CSV, TSV, FITS, VOTable, ECSV, Parquet or DS9 regions.")
    ],
    survey: Annotated[str, Option(help="first, nvss, vlass, racs, lotss, emu, or hips:ID for any HiPS.")],
    out: Out,
    size: Annotated[int, Option(min=8, help="Side of the cutouts in pixels of the survey.")] = 150,
    service: Annotated[str | None, Option(metavar="URL", help="Address to use instead of the survey's.")] = None,
) -> None:
    """Fetch a cutout of a public survey around every source of a catalogue.

    An interrupted run is completed by the same command. Sources without an image are listed in not_fetched.csv.
    """
    from radiossl.datasets.survey_images import NOT_FETCHED

    store = radiossl.fetch_cutouts(catalogue, survey, out, size=size, service=service)
    missing = f"; others are listed in {out / NOT_FETCHED}" if (out / NOT_FETCHED).is_file() else ""
    typer.echo(f"{out}: {counted(len(store), 'cutout')} of {survey}{missing}")


def _report(out: Path, result: CuttingResult, threshold: float = 0.0) -> None:
    """Print the notes of a run, and one line on what it made."""
    from radiossl.survey.cutting import NOT_CUT, SKIPPED

    for note in result.notes:
        typer.echo(note, err=True)
    if result.found is not None:
        typer.echo(f"found {counted(result.found, 'source')} above {threshold:g} sigma")
    used = result.used
    line = f"{out}: {counted(len(result.store), 'cutout')} from "
    line += f"{len(used)} of " * (len(used) < result.mosaics) + counted(result.mosaics, "mosaic")
    if result.mosaics > 1 and len(used) <= _LISTED:
        line += f" ({', '.join(f'{name}: {count}' for name, count in used.items())})"
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(result.not_cut.items()) if count)
    if reasons:
        line += f"; not cut: {reasons}"
    if (out / NOT_CUT).exists():
        line += f" (listed in {out / NOT_CUT})"
    if result.flat:
        line += f"; {result.flat} have one value everywhere (store filter --where 'maximum > minimum' drops them)"
    if result.skipped:
        line += f"; {counted(len(result.skipped), 'mosaic')} could not be read (listed in {out / SKIPPED})"
    typer.echo(f"{line}; complete before, nothing was cut again" if result.again else line)
