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
from radiossl.io.tables import TableContent, read_table_content
from radiossl.store.cutout import Beam, Cutout
from radiossl.survey.catalogue import positions_in, without_clashes
from radiossl.survey.image_file import FITS_SUFFIXES, PICTURE_SUFFIXES, read_image

IMAGE_SUFFIXES = (*FITS_SUFFIXES, ".npy", *PICTURE_SUFFIXES)
_FILES_PER_PART = 500
FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "name", "objid", "id")
#: Keys of a row under which its position goes, found as in a catalogue; they become columns of every store.
_POSITION = ("ra_deg", "dec_deg")
_SKY = (*_POSITION, "pixel_scale_arcsec", "beam_major_arcsec", "beam_minor_arcsec", "beam_pa_deg")
#: First folders of these names are splits, the classes lie below.
_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}


class FolderOptions(Options):
    """Options of a folder of images.

    Attributes
    ----------
    table
        Table with one row per image, in any format that `read_table` takes; its columns become columns of the store,
        and its positions, pixel sizes and beams are those of the images.
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
    table = _content(options).table
    column = options.file_column or next((n for n in FILE_COLUMNS if n in table.column_names), None)
    if column is None or column not in table.column_names:
        raise RadiosslError(
            f"{options.table}: no column {column or 'of file names'}; name it with --set file_column=..., there are "
            f"{', '.join(table.column_names)}"
        )
    place = table.column_names.index(column)
    names = ["image_file" if index == place else name for index, name in enumerate(table.column_names)]
    return without_clashes(table.rename_columns(names))


@lru_cache(maxsize=1)
def _content(options: FolderOptions) -> TableContent:
    assert options.table is not None
    return read_table_content(options.table)


@lru_cache(maxsize=1)
def _rows(options: FolderOptions) -> list[dict[str, Any]]:
    """The columns of each row of the table, with its position."""
    assert options.table is not None
    rows: list[dict[str, Any]] = _table(options).to_pylist()
    positions = positions_in(options.table, _content(options))
    if positions is not None:
        for row, ra, dec in zip(rows, positions.ra_deg.tolist(), positions.dec_deg.tolist(), strict=True):
            row |= {"ra_deg": ra, "dec_deg": dec}
    return rows


def _images(source: Path) -> list[str]:
    """Paths of all images below the folder, in a fixed order."""
    return sorted(
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.name.lower().endswith(IMAGE_SUFFIXES) and path.is_file() and not path.name.startswith(".")
    )


def _parts(source: Path, options: FolderOptions) -> list[str]:
    if not source.is_dir():
        raise RadiosslError(f"{source}: is a file, expected a folder of images")
    for cached in (_table, _content, _rows, _chosen):  # the files may have changed since they were read last
        cached.cache_clear()
    count = len(_chosen(source, options))
    if count == 0:
        what = f" that {options.table} names" if options.table else f" ending in {', '.join(IMAGE_SUFFIXES)}"
        raise RadiosslError(f"{source}: no image in there{what}")
    return [f"{start}:{min(start + _FILES_PER_PART, count)}" for start in range(0, count, _FILES_PER_PART)]


@lru_cache(maxsize=1)
def _chosen(source: Path, options: FolderOptions) -> list[tuple[str, dict[str, Any]]]:
    """Images and the columns of each; with a table those that it names."""
    images = _images(source)
    if options.table is None:
        return [(image, classes_by_folder(image)) for image in images]
    stems: dict[str, list[str]] = {}
    for image in images:
        for name in {image, image_stem(image), PurePosixPath(image).name, image_stem(PurePosixPath(image).name)}:
            stems.setdefault(name, []).append(image)
    chosen = []
    for row in _rows(options):
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


def image_stem(name: str) -> str:
    """Return the name of an image file without its ending."""
    return next(name[: -len(end)] for end in IMAGE_SUFFIXES if name.lower().endswith(end))


def classes_by_folder(image: str) -> dict[str, Any]:
    """Return the columns ``label`` and ``split`` that the folders of an image's path below its set make."""
    folders = list(PurePosixPath(image).parts[:-1])
    split = _SPLITS.get(folders[0].lower()) if folders else None
    return {"label": "/".join(folders[1:] if split else folders) or None, "split": split}


def _read(source: Path, part: str, options: FolderOptions) -> Iterator[Cutout]:
    start, stop = map(int, part.split(":"))
    for image, row in _chosen(source, options)[start:stop]:
        yield image_cutout(source / image, image, row, options)


def image_cutout(path: Path, name: str, row: dict[str, Any], options: FolderOptions, cutout_id: str = "") -> Cutout:
    """Read an image file as a cutout, with what its header, its row of a table and the options say of its sky.

    Parameters
    ----------
    path
        The file.
    name
        What the file is called in the store.
    row
        Further columns; those called ``cat_ra_deg`` and the like hold where the header does not say better.
    options
        What holds where neither does.
    cutout_id
        The name without its ending by default.
    """
    pixels = read_image(path)
    if options.first_row == "bottom" and path.name.lower().endswith(PICTURE_SUFFIXES):
        pixels = np.ascontiguousarray(pixels[::-1])
    y, x = (np.array(pixels.shape) - 1) / 2
    extra = {key: value for key, value in row.items() if key not in _POSITION}
    return Cutout(cutout_id or image_stem(name), pixels, name, x=x, y=y, extra=extra, **sky_facts(path, row, options))


def sky_facts(path: Path, row: dict[str, Any], options: FolderOptions) -> dict[str, Any]:
    """Return position, pixel sizes, unit and beam of an image as `Cutout` takes them, without reading its pixels."""
    ra, dec, scale, major, minor, pa = (_number(row, key) for key in _SKY)
    facts: dict[str, Any] = {
        "ra_deg": ra,
        "dec_deg": dec,
        "pixel_scale_arcsec": scale if np.isfinite(scale) else options.pixel_scale_arcsec or np.nan,
        "unit": options.unit,
        "beam": Beam(major, minor, 0.0 if np.isnan(pa) else pa) if major >= minor > 0 else None,
    }
    header = _header_facts(path) if path.name.lower().endswith(FITS_SUFFIXES) else {}
    if np.isfinite([ra, dec]).all():  # the table names the source, the header only the middle of its image
        header = {key: value for key, value in header.items() if key not in ("ra_deg", "dec_deg")}
    return facts | {key: value for key, value in header.items() if value not in (None, "")}


def _number(row: dict[str, Any], name: str) -> float:
    found = (row.get(key) for key in (name, f"cat_{name}"))
    return next((float(value) for value in found if isinstance(value, (int, float))), float("nan"))


def _header_facts(path: Path) -> dict[str, Any]:
    """Position, pixels, unit and beam of a FITS image; nothing if it has no celestial coordinates."""
    from radiossl.survey.mosaic import Mosaic

    try:
        mosaic = Mosaic.open(path)
    except RadiosslError:  # an image without coordinates, or one that whoever reads its pixels will complain about
        return {}
    y, x = (np.array([(side - 1) / 2]) for side in mosaic.shape)
    (ra, dec), shape = mosaic.pixel_to_sky(x, y), mosaic.pixel_shape(x, y)
    return {
        "ra_deg": float(ra[0]),
        "dec_deg": float(dec[0]),
        "pixel_scale_arcsec": mosaic.pixel_scale_arcsec,
        "pixel_width_arcsec": float(shape.width_arcsec[0]),
        "pixel_height_arcsec": float(shape.height_arcsec[0]),
        "pixel_pa_deg": float(shape.pa_deg[0]),
        "unit": mosaic.unit,
        "beam": mosaic.beam,
    }


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
