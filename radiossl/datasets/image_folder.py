"""Any folder of images as a labelled set: classes by subfolder or from a table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from radiossl.datasets.published import Options, PublishedSet
from radiossl.io.errors import RadiosslError
from radiossl.io.tables import read_table
from radiossl.store.cutout import Beam, Cutout
from radiossl.survey.image_file import FITS_SUFFIXES, PICTURE_SUFFIXES, read_image

_SUFFIXES = (*FITS_SUFFIXES, ".npy", *PICTURE_SUFFIXES)
_FILES_PER_PART = 500
_FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "name", "objid", "id")
_RA, _DEC = ("ra_deg", "ra", "RA", "RAJ2000"), ("dec_deg", "dec", "DEC", "DEJ2000")
#: First folders of these names are splits, the classes lie below.
_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}


class FolderOptions(Options):
    """Options of a folder of images.

    Attributes
    ----------
    table
        Table with one row per image, in any format that `read_table` takes; its columns become columns of the store.
        Without one, the subfolders are the classes, in column ``label``.
    file_column
        Column of the table with the name of the file, as it is below the folder, with or without ending; without it,
        the first that is called file, filename, path, image, name, objid or id.
    pixel_scale_arcsec
        Of images that do not say so themselves.
    unit
        Brightness unit of images that do not say so themselves.
    first_row
        Whether the first row of a picture is the ``top`` of the sky, as pictures are usually made, or the ``bottom``,
        as where the rows of a FITS array were written one after the other (MiraBest, CRUMB).
    """

    table: str | None = None
    file_column: str | None = None
    pixel_scale_arcsec: float | None = Field(default=None, gt=0)
    unit: str = ""
    first_row: Literal["top", "bottom"] = "top"


def _columns(source: Path, options: FolderOptions) -> pa.Schema:
    if options.table is None:
        return pa.schema([("label", pa.string()), ("split", pa.string())])
    return _table(options).schema


@lru_cache(maxsize=1)
def _table(options: FolderOptions) -> pa.Table:
    """Columns for the store, with the file names under ``image_file``."""
    assert options.table is not None
    table = read_table(options.table)
    column = options.file_column or next((n for n in _FILE_COLUMNS if n in table.column_names), None)
    if column is None or column not in table.column_names:
        raise RadiosslError(
            f"{options.table}: no column {column or 'of file names'}; name it with --set file_column=..., there are "
            f"{', '.join(table.column_names)}"
        )
    from radiossl.store.store import BASE_SCHEMA

    names = [
        "image_file" if name == column else f"cat_{name}" if name in BASE_SCHEMA.names else name
        for name in table.column_names
    ]
    return table.rename_columns(names)


def _images(source: Path) -> list[str]:
    """Paths of all images below the folder, in a fixed order."""
    return sorted(
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.name.lower().endswith(_SUFFIXES) and path.is_file() and not path.name.startswith(".")
    )


def _parts(source: Path, options: FolderOptions) -> list[str]:
    if not source.is_dir():
        raise RadiosslError(f"{source}: is a file, expected a folder of images")
    count = len(_chosen(source, options))
    if count == 0:
        what = f" that {options.table} names" if options.table else f" ending in {', '.join(_SUFFIXES)}"
        raise RadiosslError(f"{source}: no image in there{what}")
    return [f"{start}:{min(start + _FILES_PER_PART, count)}" for start in range(0, count, _FILES_PER_PART)]


@lru_cache(maxsize=1)
def _chosen(source: Path, options: FolderOptions) -> list[tuple[str, dict[str, Any]]]:
    """Images and the columns of each; with a table those that it names."""
    images = _images(source)
    if options.table is None:
        return [(image, _by_folder(image)) for image in images]
    stems: dict[str, list[str]] = {}
    for image in images:
        for name in {image, _stem(image), PurePosixPath(image).name, _stem(PurePosixPath(image).name)}:
            stems.setdefault(name, []).append(image)
    chosen = []
    for row in _table(options).to_pylist():
        found = stems.get(str(row["image_file"]), [])
        if len(found) > 1:
            raise RadiosslError(f"{source}: {row['image_file']!r} could be {found[0]} or {found[1]}; write its path")
        chosen += [(image, row) for image in found]
    repeated = len(chosen) - len({image for image, _ in chosen})
    if repeated:
        raise RadiosslError(f"{options.table}: {repeated} images are listed more than once")
    return chosen


def _remarks(source: Path, options: FolderOptions) -> list[str]:
    if options.table is None:
        return []
    used = len(_chosen(source, options))
    lost = _table(options).num_rows - used
    left = len(_images(source)) - used
    remarks = [f"{lost} rows of {options.table} have no image in {source}"] if lost else []
    return remarks + ([f"{left} images are in no row of {options.table} and were left out"] if left else [])


def _stem(name: str) -> str:
    return next(name[: -len(end)] for end in _SUFFIXES if name.lower().endswith(end))


def _by_folder(image: str) -> dict[str, Any]:
    folders = list(PurePosixPath(image).parts[:-1])
    split = _SPLITS.get(folders[0].lower()) if folders else None
    return {"label": "/".join(folders[1:] if split else folders) or None, "split": split}


def _read(source: Path, part: str, options: FolderOptions) -> Iterator[Cutout]:
    start, stop = map(int, part.split(":"))
    for image, row in _chosen(source, options)[start:stop]:
        yield _cutout(source / image, image, row, options)


def _cutout(path: Path, image: str, row: dict[str, Any], options: FolderOptions) -> Cutout:
    pixels = read_image(path)
    if options.first_row == "bottom" and path.name.lower().endswith(PICTURE_SUFFIXES):
        pixels = np.ascontiguousarray(pixels[::-1])
    y, x = (np.array(pixels.shape) - 1) / 2
    scale = np.nan if options.pixel_scale_arcsec is None else options.pixel_scale_arcsec
    ra, dec, unit, beam = _number(row, _RA), _number(row, _DEC), options.unit, None
    if path.name.lower().endswith(FITS_SUFFIXES):
        sky = _of_header(path, x, y)
        if sky is not None:
            header_ra, header_dec, scale, unit, beam = sky
            ra, dec = (header_ra, header_dec) if np.isnan(ra) or np.isnan(dec) else (ra, dec)
    return Cutout(_stem(image), pixels, image, ra, dec, x, y, scale, unit, beam, row)


def _number(row: dict[str, Any], names: tuple[str, ...]) -> float:
    for name in (*(f"cat_{name}" for name in names), *names):
        if isinstance(row.get(name), (int, float)):
            return float(row[name])
    return float("nan")


def _of_header(path: Path, x: float, y: float) -> tuple[float, float, float, str, Beam | None] | None:
    """Position, pixel scale, unit and beam of a FITS image; None if it has no celestial coordinates."""
    from radiossl.survey.mosaic import Mosaic

    try:
        mosaic = Mosaic.open(path)
    except RadiosslError:  # read_image has read it: an image, but without coordinates
        return None
    ra, dec = mosaic.pixel_to_sky(np.array([x]), np.array([y]))
    return float(ra[0]), float(dec[0]), mosaic.pixel_scale_arcsec, mosaic.unit, mosaic.beam


IMAGES = PublishedSet(
    name="images",
    title="a folder of PNG, JPEG, TIFF, NPY or FITS images, with classes by subfolder or a table",
    reference="",
    terms="",
    source="the folder of the images",
    columns=_columns,
    parts=_parts,
    read=_read,
    options=FolderOptions,
    remarks=_remarks,
    notes=(
        "pictures are taken to show the sky upright: their last row becomes the first, the lowest in declination; "
        "first_row=bottom keeps their order",
        "subfolders train, valid and test make the column split",
    ),
)
