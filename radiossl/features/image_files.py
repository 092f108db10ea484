"""Image files that people point at: a file, a folder, a pattern; and where on the sky FITS images are."""

from __future__ import annotations

import glob
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from radiossl.io.errors import RadiosslError
from radiossl.survey.image_file import FITS_SUFFIXES, PICTURE_SUFFIXES

_SUFFIXES = (*FITS_SUFFIXES, ".npy", *PICTURE_SUFFIXES)
_STORE_FILE = "store.json"


@dataclass(frozen=True)
class ImagePlace:
    """Where an image is on the sky and how sharp it is; NaN where its file does not say.

    Attributes
    ----------
    ra_deg, dec_deg
        ICRS position of its centre.
    pixel_scale_arcsec
        Side of a pixel.
    beam_major_arcsec, beam_minor_arcsec, beam_pa_deg
        Of the restoring beam.
    """

    ra_deg: float = math.nan
    dec_deg: float = math.nan
    pixel_scale_arcsec: float = math.nan
    beam_major_arcsec: float = math.nan
    beam_minor_arcsec: float = math.nan
    beam_pa_deg: float = math.nan


def image_place(path: str | os.PathLike[str]) -> ImagePlace:
    """Read the place of a FITS image from its header; all NaN for other files and headers without coordinates."""
    from radiossl.survey.mosaic import Mosaic

    if not Path(path).name.lower().endswith(FITS_SUFFIXES):
        return ImagePlace()
    try:
        with Mosaic.open(path) as mosaic:
            height, width = mosaic.shape
            ra, dec = mosaic.pixel_to_sky((width - 1) / 2, (height - 1) / 2)
            beam = mosaic.beam
            sizes = (math.nan,) * 3 if beam is None else (beam.major_arcsec, beam.minor_arcsec, beam.pa_deg)
            return ImagePlace(float(ra), float(dec), mosaic.pixel_scale_arcsec, *map(float, sizes))
    except RadiosslError:  # it may be an image all the same; whoever reads its pixels says what is wrong
        return ImagePlace()


def find_images(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the image files that paths mean: files as they are, those in a folder by name, those of a pattern.

    Parameters
    ----------
    paths
        Files, folders (their subfolders too), or patterns such as ``"cutouts/*.fits"``.

    Raises
    ------
    RadiosslError
        If a folder or a pattern holds no image.
    """
    found: list[str] = []
    for path in paths:
        if Path(path).is_dir():
            files = sorted(file for file in Path(path).rglob("*") if _is_image(file))
            if not files:
                raise RadiosslError(f"{path}: neither a cutout store nor a folder with images ({', '.join(_SUFFIXES)})")
            found += map(str, files)
        elif not Path(path).exists() and glob.has_magic(str(path)):
            names = glob.glob(str(path), recursive=True)  # noqa: PTH207 (of absolute patterns too)
            files = sorted(Path(name) for name in names if _is_image(Path(name)))
            if not files:
                raise RadiosslError(f"{path}: no image has such a name")
            found += map(str, files)
        else:
            found.append(str(path))
    return found


def is_store(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the folder of a cutout store, finished or not, rather than one of images."""
    path = Path(path)
    return path.is_dir() and ((path / _STORE_FILE).exists() or not any(_is_image(file) for file in path.rglob("*")))


def _is_image(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.name.lower().endswith(_SUFFIXES)


def file_columns(paths: Sequence[str]) -> pa.Table:
    """Return what a feature table says of image files beside their features.

    ``cutout_id`` is the file's name, or its path where several have that name; ``file`` its path. Where any file is a
    FITS image with celestial coordinates, the columns of `ImagePlace` follow.
    """
    names = [Path(path).name for path in paths]
    count = Counter(names)
    ids = [name if count[name] == 1 else str(path) for name, path in zip(names, paths, strict=True)]
    columns = {"cutout_id": ids, "file": [str(path) for path in paths]}
    places = [image_place(path) for path in paths]
    if any(math.isfinite(place.ra_deg) for place in places):
        columns |= {name: [getattr(place, name) for place in places] for name in ImagePlace.__dataclass_fields__}
    return pa.table(columns)
