"""Any folder of images as a labelled set: classes by subfolder or from a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from radiossl.datasets.image_files import FolderOptions, ImageFiles, list_images
from radiossl.datasets.published import PublishedSet
from radiossl.io.errors import RadiosslError
from radiossl.store.cutout import Cutout

_FILES_PER_PART = 500


def parts_of(files: ImageFiles) -> list[str]:
    """Return ranges of files, ``start:stop``, each for a shard of a store."""
    return [f"{start}:{min(start + _FILES_PER_PART, len(files))}" for start in range(0, len(files), _FILES_PER_PART)]


def cutouts_of(files: ImageFiles, part: str) -> Iterator[Cutout]:
    """Read the files of a range."""
    return files.cutouts(*map(int, part.split(":")))


@lru_cache(maxsize=1)
def _files(source: Path, options: FolderOptions) -> ImageFiles:
    return list_images(source, options)


def _parts(source: Path, options: FolderOptions) -> list[str]:
    if not source.is_dir():
        raise RadiosslError(f"{source}: is a file, expected a folder of images")
    _files.cache_clear()  # the files may have changed since they were listed last
    return parts_of(_files(source, options))


def _columns(source: Path, options: FolderOptions) -> pa.Schema:
    return _files(source, options).schema


def _read(source: Path, part: str, options: FolderOptions) -> Iterator[Cutout]:
    return cutouts_of(_files(source, options), part)


def _remarks(source: Path, options: FolderOptions) -> Sequence[str]:
    return _files(source, options).remarks


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
