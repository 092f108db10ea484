"""Reading a single image file, whatever its kind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file

#: Name endings of FITS images.
FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def read_image(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read a FITS, NPY, PNG, JPEG or TIFF file as one image.

    Returns
    -------
    ndarray
        Shape (height, width), float32, FITS row order (first row at the bottom: pictures are turned upside down),
        NaN where a FITS image is blank; colours are averaged.

    Raises
    ------
    RadiosslError
        If the file is missing, damaged or no image.
    """
    path = existing_file(path)
    name = path.name.lower()
    if name.endswith(FITS_SUFFIXES):
        return _read_fits(path)
    if name.endswith(".npy"):
        return _read_npy(path)
    if name.endswith(PICTURE_SUFFIXES):
        return _read_picture(path)
    expected = ", ".join([*FITS_SUFFIXES, ".npy", *PICTURE_SUFFIXES])
    raise RadiosslError(f"{path}: not an image; expected a file ending in {expected}")


def _read_fits(path: Path) -> NDArray[np.float32]:
    from radiossl.survey.fits_image import damage_named, find_image, pixels_of

    with damage_named(path):
        image = find_image(path)
        width, height, *others = image.axes
        if set(others) - {1}:
            raise RadiosslError(f"{path}: an image of {' x '.join(map(str, image.axes))}, expected a single plane")
        reader = pixels_of(path, image, (height, width), (1, 2))
        try:
            return reader.read(0, height, 0, width)
        finally:
            reader.close()


def _read_npy(path: Path) -> NDArray[np.float32]:
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, so damage can raise nearly anything
        raise RadiosslError(f"{path}: not a readable NPY file ({error})") from None
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise RadiosslError(f"{path}: {array.dtype} array of shape {array.shape}, expected numbers (height, width)")
    return array.astype(np.float32)


def _read_picture(path: Path) -> NDArray[np.float32]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            single = picture.mode in ("L", "I", "F", "I;16")
            array = np.asarray(picture if single else picture.convert("RGB"), dtype=np.float32)
    except Exception as error:  # Pillow raises SyntaxError, struct.error and others beside its own
        raise RadiosslError(f"{path}: not a readable picture ({error})") from None
    return np.ascontiguousarray((array if array.ndim == 2 else array.mean(axis=2))[::-1])
