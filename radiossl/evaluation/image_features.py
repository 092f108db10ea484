"""Features without a network, for the baselines: the preprocessed pixels themselves, and moments of the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from radiossl.features.embedding import preprocessed_batches
from radiossl.images.preprocess import Preprocessing
from radiossl.store.store import CutoutStore

#: Raw pixels are compared at no more than this many pixels a side.
RAW_SIZE = 64


def raw_pixels(preprocessing: Preprocessing, store: CutoutStore, batch_size: int = 128) -> NDArray[np.float32]:
    """The preprocessed pixels themselves, at `RAW_SIZE` pixels a side at most, shape (n, channels * side**2)."""
    size = min(preprocessing.size, RAW_SIZE)
    flat = np.empty((len(store), preprocessing.channels * size**2), dtype=np.float32)
    for rows, images in preprocessed_batches(preprocessing, store, batch_size, description="raw pixels"):
        flat[rows] = F.interpolate(images, size=(size, size), mode="area").flatten(1).numpy()
    return flat


def image_moments(preprocessing: Preprocessing, store: CutoutStore, batch_size: int = 128) -> NDArray[np.float64]:
    """Numbers that describe the shape of the source in each preprocessed image, shape (n, 17).

    Of the first channel: flux, area and number of peaks, extent and ellipticity from the second moments, concentration,
    asymmetry under half a turn, distance of the brightest pixel from the centroid, the seven invariants of Hu 1962
    (logarithms), kurtosis and skewness along the major axis.
    """
    rows_of = []
    for _, images in preprocessed_batches(preprocessing, store, batch_size, description="moments"):
        rows_of += [_moments(image) for image in images[:, 0].double().numpy()]
    return np.array(rows_of)


def _moments(image: NDArray[np.float64]) -> list[float]:
    from scipy import ndimage

    flux = image.sum()
    if not flux > 0:
        return [0.0] * 17
    y, x = np.indices(image.shape, dtype=float)
    cy, cx = (image * y).sum() / flux, (image * x).sum() / flux
    dy, dx = y - cy, x - cx

    def moment(p: int, q: int) -> float:
        return float((image * dx**p * dy**q).sum())

    xx, yy, xy = moment(2, 0) / flux, moment(0, 2) / flux, moment(1, 1) / flux
    spread, difference = xx + yy, np.hypot(xx - yy, 2 * xy)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    along = dx * np.cos(angle) + dy * np.sin(angle)
    width = np.sqrt(max((spread + difference) / 2, 1e-9))
    third, fourth = ((image * (along / width) ** power).sum() / flux for power in (3, 4))
    ordered = np.sort(image.ravel())[::-1].cumsum() / flux
    peaks = (image == ndimage.maximum_filter(image, 5)) & (image > 0.3 * image.max())
    brightest = np.unravel_index(image.argmax(), image.shape)
    return [
        np.log(flux),
        float((image > 0).mean()),
        float(ndimage.label(peaks)[1]),
        float(width),
        float(difference / max(spread, 1e-9)),
        float((ordered < 0.5).mean()),
        float(np.abs(image - image[::-1, ::-1]).sum() / (2 * flux)),
        float(np.hypot(brightest[0] - cy, brightest[1] - cx) / width),
        *_hu(moment, flux),
        float(fourth),
        float(abs(third)),
    ]


def _hu(moment: Any, flux: float) -> list[float]:
    """The seven invariants, as signed logarithms since they span many decades."""
    n = {(p, q): moment(p, q) / flux ** (1 + (p + q) / 2) for p in range(4) for q in range(4) if 2 <= p + q <= 3}
    a, b = n[3, 0] - 3 * n[1, 2], 3 * n[2, 1] - n[0, 3]
    c, d = n[3, 0] + n[1, 2], n[2, 1] + n[0, 3]
    e = n[2, 0] - n[0, 2]
    invariants = [
        n[2, 0] + n[0, 2],
        e**2 + 4 * n[1, 1] ** 2,
        a**2 + b**2,
        c**2 + d**2,
        a * c * (c**2 - 3 * d**2) + b * d * (3 * c**2 - d**2),
        e * (c**2 - d**2) + 4 * n[1, 1] * c * d,
        b * c * (c**2 - 3 * d**2) - a * d * (3 * c**2 - d**2),
    ]
    return [float(np.sign(value) * np.log10(1 + 1e6 * abs(value))) for value in invariants]
