"""Any folder of images as a labelled set: classes by subfolder or from a table."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from radiossl.datasets.image_files import FILES_PER_PART, FolderOptions, ImageFiles, list_images
from radiossl.datasets.published import Reader, part_ranges, part_slice
from radiossl.io.errors import RadiosslError


@lru_cache(maxsize=1)
def _files(source: Path, options: FolderOptions) -> ImageFiles:
    return list_images(source, options)


def _parts(source: Path, options: FolderOptions) -> list[str]:
    if not source.is_dir():
        raise RadiosslError(f"{source}: is a file, expected a folder of images")
    _files.cache_clear()  # the files may have changed since they were listed last
    return part_ranges(len(_files(source, options)), FILES_PER_PART)


READER = Reader(
    parts=_parts,
    read=lambda source, part, options: _files(source, options).cutouts(part_slice(part)),
    options=FolderOptions,
    columns=lambda source, options: _files(source, options).schema,
    remarks=lambda source, options: _files(source, options).remarks,
)
