"""The image that is searched for: any file, brought to the pixel scale of the survey that is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radiossl.datasets.image_files import list_images
from radiossl.io.errors import RadiosslError

#: Pixel scales that differ by less are taken for the same: headers round them.
SAME_SCALE = 0.02
_LEAST_PIXELS, _MOST_PIXELS = 8, 8192


@dataclass(frozen=True, eq=False)
class QueryImage:
    """An image with its place on the sky.

    Attributes
    ----------
    pixels
        Shape (height, width), NaN where blank.
    ra_deg, dec_deg
        Its centre (ICRS); NaN where unknown.
    note
        Whether it was resampled.
    """

    pixels: NDArray[np.float32]
    ra_deg: float
    dec_deg: float
    note: str


def read_query_image(path: str | Path, pixel_scale_arcsec: float) -> QueryImage:
    """Read an image file, resampled to a pixel scale where its own is known and another.

    Parameters
    ----------
    path
        FITS, NPY or picture file. Only FITS files with celestial coordinates have a scale and a position.
    pixel_scale_arcsec
        The scale wanted; NaN where it is unknown.

    Raises
    ------
    RadiosslError
        If the file cannot be read, is blank, or would be of no useful size at that scale.
    """
    image = list_images(path).cutout(0)
    pixels = image.pixels
    if not np.isfinite(pixels).any():
        raise RadiosslError(f"{path}: every pixel is blank")
    scale, ra, dec = image.pixel_scale_arcsec, image.ra_deg, image.dec_deg
    factor = scale / pixel_scale_arcsec
    if not math.isfinite(factor) or abs(factor - 1) < SAME_SCALE:
        return QueryImage(pixels, ra, dec, "")
    height, width = pixels.shape
    shape = round(height * factor), round(width * factor)
    if min(shape) < _LEAST_PIXELS or max(shape) > _MOST_PIXELS:
        raise RadiosslError(
            f"{path}: {width} x {height} pixels of {scale:.3g} arcsec are {shape[1]} x {shape[0]} of the"
            f" {pixel_scale_arcsec:.3g} arcsec of the cutouts; give an image that has {_LEAST_PIXELS} to {_MOST_PIXELS}"
        )
    note = f"resampled from {scale:.3g} to {pixel_scale_arcsec:.3g} arcsec per pixel, the scale of the cutouts"
    return QueryImage(resampled(pixels, shape), ra, dec, note)


def resampled(pixels: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return an image with another number of pixels on the same field, keeping its brightness (Jy/beam stays Jy/beam).

    Linear, and averaging where pixels become larger; blank pixels do not enter, and a pixel that is mostly blank is.
    """
    import torch
    import torch.nn.functional as F

    valid = np.isfinite(pixels)
    planes = torch.from_numpy(np.stack([np.where(valid, pixels, 0), valid]).astype(np.float64))[None]
    total, weight = F.interpolate(planes, size=shape, mode="bilinear", antialias=True)[0].numpy()
    return np.where(weight > 0.5, total / np.maximum(weight, 1e-12), np.nan).astype(np.float32)
