"""Complexity: how far an image can be compressed, the anomaly score of Segal et al. (2023)."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray

from radiossl.images.preprocess import Preprocessing
from radiossl.io.progress import track
from radiossl.store.store import CutoutStore

#: The stores' unit of images whose pixels are grey levels.
EIGHT_BIT = "8-bit"
#: Noise does not compress: without a floor it, and not the sources, would decide the size of the file.
WITH_NOISE = Preprocessing(mode="floor-stretch", size=64)
#: Images in 8 bits were clipped and scaled for display by whoever made them: there is no noise left to measure.
WITHOUT_NOISE = Preprocessing(mode="min-max", size=64)


def compressed_sizes(store: CutoutStore, preprocessing: Preprocessing | None = None) -> NDArray[np.float64]:
    """Measure the complexity of cutouts, which may differ in size, by the bytes of the compressed image, shape (n,).

    As described in Riggi et al. (2024, section 5) of Segal et al. (2023): frames are smoothed, resized and compressed
    with gzip, and the size of the file approximates their Kolmogorov complexity. Here the resizing, which averages over
    what it leaves out, is the smoothing; the first channel of the preprocessed image is written with 8 bits, and
    compressed with DEFLATE at level 9, which is gzip less its header of constant length. By default, at 64 x 64 pixels,
    pixels below 3 rms are set to zero and the others scaled by the peak, or, if the images of the store have 8 bits
    already, all are scaled from minimum to maximum.
    """
    if preprocessing is None:
        preprocessing = WITHOUT_NOISE if set(store.column("unit")) == {EIGHT_BIT} else WITH_NOISE
    statistics = torch.from_numpy(store.statistics)
    sizes = np.empty(len(store))
    for row in track(range(len(store)), "compressing"):
        pixels = torch.from_numpy(np.array(store.pixels(row), dtype=np.float32))
        sizes[row] = compressed_size(preprocessing(pixels[None], statistics[row : row + 1])[0, 0].numpy())
    return sizes


def compressed_size(image: NDArray[np.floating]) -> int:
    """Return the bytes of an image with values in [0, 1], written with 8 bits and compressed."""
    return len(zlib.compress(np.rint(255 * np.clip(image, 0.0, 1.0)).astype(np.uint8).tobytes(), 9))
