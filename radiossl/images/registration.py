"""Registration: how far one cutout is shifted against another, and how well they agree once it is undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from radiossl.io.progress import track
from radiossl.store.statistics import MAD_TO_SIGMA
from radiossl.store.store import CutoutStore

#: Centres are no farther apart than this part of the smaller side, along both axes.
LARGEST_OFFSET = 0.25
#: What is brighter than this many sigma is source.
SOURCE_SIGMA = 3.0
#: Larger images are registered on a coarser grid.
_MOST_SIDE = 256
#: Step of 8-bit images as a fraction of their range.
_LEVEL = 1 / 255
#: Standard deviations by which correlated noise must differ from none: many pairs are tried at many offsets.
_CHANCE = 5.0
#: The same where smooth wings are allowed for, which few pairs get to; at 5, a fourth of tight boxes would be lost.
_SMOOTH_CHANCE = 3.0
#: Correlation from which pixels are equal but for rounding, which is never chance.
_SAME = 0.999
#: Pixels along both axes between those whose difference is noise: about a beam.
_LAG = 3
#: Waves along each axis of an amplitude spectrum.
_WAVES = 16


@dataclass(frozen=True)
class Registration:
    """How two cutouts lie on each other, and how well they agree there."""

    #: Of what is above 3 sigma in either, as arcsinh of the brightness, over the pixels that both show. NaN without
    #: sources.
    source_correlation: float
    #: Of the pixels within 3 sigma in both, or of the differences between those 3 pixels apart along both axes,
    #: whichever is less. NaN where either has no noise, as after clipping.
    noise_correlation: float
    #: What chance makes of noise in so few pixels: 5 standard deviations of Fisher's transform, a beam's worth of
    #: pixels counted as one, and 3 with as many as the autocorrelations say: wings are smoother. NaN as above.
    noise_limit: float
    #: From the centre of the first to that of the second, in pixels of the first, or of the second if they are larger.
    offset_x_px: float
    offset_y_px: float


@dataclass(frozen=True)
class Prepared:
    """An image as arcsinh((pixel - median) / noise), 0 where blank; whether it has any noise.

    That is linear in the noise and logarithmic in sources, so that one bright pixel does not decide.
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    noisy: bool


def zooms(
    shape_first: tuple[int, ...], shape_second: tuple[int, ...], scale_first: float, scale_second: float
) -> tuple[float, float, float]:
    """By what to multiply the sides of both images, and how much coarser than the coarser of them the grid is.

    Pixel sizes (`scale_first`, `scale_second`, in one unit) that are not known are NaN, then taken to be equal.
    """
    ratio = scale_first / scale_second if scale_first > 0 and scale_second > 0 else 1.0
    ratio = 1.0 if abs(ratio - 1) < 0.01 else ratio
    zoom_first, zoom_second = min(1.0, ratio), min(1.0, 1 / ratio)
    longest = max(max(shape_first) * zoom_first, max(shape_second) * zoom_second)
    shrunk = max(1.0, longest / _MOST_SIDE)
    return zoom_first / shrunk, zoom_second / shrunk, shrunk


def prepare(image: NDArray[np.floating], zoom: float) -> Prepared | None:
    """Make an image (height, width), NaN where blank, ready for `register`, shrunk by a factor of `zooms`.

    None where there is nothing to register: an image that is blank or constant.
    """
    image = np.asarray(image, dtype=np.float32)
    valid = np.isfinite(image)
    if not valid.any():
        return None
    values = np.where(valid, image - float(np.median(image[valid])), np.float32(0))
    if zoom < 1:
        values, valid = _coarser(values, valid, zoom)
        if not valid.any():
            return None
        values = np.where(valid, values - np.median(values[valid]), 0)
    known = values[valid]
    sigma = MAD_TO_SIGMA * float(np.median(np.abs(known)))
    noisy = sigma > 0
    if not noisy:  # most pixels have one value: the noise was cut off, or there was none
        sigma = float(np.abs(known).max()) / 100
    if sigma == 0:
        return None
    return Prepared(np.arcsinh(values / sigma).astype(np.float32), valid, noisy)


def _coarser(
    values: NDArray[np.float32], valid: NDArray[np.bool_], zoom: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Shrink an image, blurred to the new pixels first; a pixel that is half blank is blank."""
    blur = 0.5 * np.sqrt(1 / zoom**2 - 1)
    weight = valid.astype(np.float32)
    image, weight = (
        ndimage.zoom(ndimage.gaussian_filter(layer, blur), zoom, order=1, grid_mode=True, mode="nearest")
        for layer in (values * weight, weight)
    )
    return np.divide(image, weight, out=np.zeros_like(image), where=weight > 0.5), weight > 0.5


def register(first: Prepared | None, second: Prepared | None, shrunk: float) -> Registration:
    """Find the offset at which two images agree best, by the highest cross-correlation, and their correlations there.

    They are on one grid, `shrunk` times coarser than that of the first cutout's pixels, and may differ in size. Only
    offsets of at most `LARGEST_OFFSET` of the smaller side are tried: two larger ones have different sources at their
    centres. The result is all NaN if there is nothing to register.
    """
    if first is None or second is None:
        return Registration(*[float("nan")] * 5)
    tried = [_tried(a, b) for a, b in zip(first.values.shape, second.values.shape, strict=True)]
    # Long enough that no offset outside the range folds back into it.
    shape = tuple(
        fft.next_fast_len(max(a - low, b + high), real=True)
        for a, b, (low, high) in zip(first.values.shape, second.values.shape, tried, strict=True)
    )
    product = fft.irfft2(fft.rfft2(first.values, shape) * np.conj(fft.rfft2(second.values, shape)), shape)
    starts = [np.arange(low, high + 1) for low, high in tried]
    y, x = np.unravel_index(int(np.argmax(product[np.ix_(*starts)])), [len(axis) for axis in starts])
    dy, dx = int(starts[0][y]), int(starts[1][x])
    source, (noise, limit) = _agreement(first, second, dy, dx)
    offsets = [
        shrunk * (start + (b - a) / 2)
        for start, a, b in zip((dx, dy), first.values.shape[::-1], second.values.shape[::-1], strict=True)
    ]
    return Registration(source, noise, limit, *offsets)


def _tried(first: int, second: int) -> tuple[int, int]:
    """Smallest and largest first pixel of the second image on the first that are tried, along one axis."""
    centred, reach = (first - second) / 2, LARGEST_OFFSET * min(first, second)
    return int(np.ceil(centred - reach)), int(np.floor(centred + reach))


def _agreement(first: Prepared, second: Prepared, dy: int, dx: int) -> tuple[float, tuple[float, float]]:
    """Correlations of sources and of noise with the second image's first pixel at (dy, dx) of the first."""
    cut_a, cut_b = [], []
    for a, b, start in zip(first.values.shape, second.values.shape, (dy, dx), strict=True):
        low, high = max(0, start), min(a, b + start)
        cut_a.append(slice(low, high))
        cut_b.append(slice(low - start, high - start))
    a, b = first.values[tuple(cut_a)], second.values[tuple(cut_b)]
    both = first.valid[tuple(cut_a)] & second.valid[tuple(cut_b)]
    limit = np.float32(np.arcsinh(SOURCE_SIGMA))
    quiet = both & (np.abs(a) < limit) & (np.abs(b) < limit)
    noise = _noise_agreement(a, b, quiet) if first.noisy and second.noisy else (float("nan"), float("nan"))
    if first.noisy and second.noisy:
        return _pearson(*(np.where(part > limit, part - limit, 0)[both] for part in (a, b))), noise
    return _clipped_agreement(a[both], b[both], first.noisy, second.noisy), noise


def _noise_agreement(a: NDArray[np.floating], b: NDArray[np.floating], quiet: NDArray[np.bool_]) -> tuple[float, float]:
    """Correlation of quiet pixels or, to cancel wings and slopes, of their differences; and what chance makes of it."""
    pairs = quiet[_LAG:, _LAG:] & quiet[:-_LAG, :-_LAG]
    steps = [part[_LAG:, _LAG:] - part[:-_LAG, :-_LAG] for part in (a, b)]
    differences = _pearson(*(part[pairs] for part in steps))
    found = float(np.minimum(_pearson(a[quiet], b[quiet]), differences))
    limit = _chance(_CHANCE, pairs.sum() / _LAG**2)
    if found >= limit and pairs.sum() >= 2 * _LAG**2:  # wings of sources are smoother than noise
        limit = max(limit, min(_chance(_SMOOTH_CHANCE, _independent(steps[0], steps[1], pairs)), _SAME))
    return found, limit


def _chance(deviations: float, independent: float) -> float:
    return float(np.tanh(deviations / np.sqrt(max(independent - 3, 0.01))))


def _independent(a: NDArray[np.floating], b: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """How many pixels the correlation of two smooth images is worth (Clifford, Richardson & Hemon 1989).

    By their own autocorrelations: the variance of the correlation is the sum of their products over all lags.
    """
    shape = tuple(fft.next_fast_len(2 * side - 1, real=True) for side in valid.shape)

    def products(part: NDArray[Any]) -> NDArray[np.float64]:
        return fft.irfft2(np.abs(fft.rfft2(part.astype(np.float64), shape)) ** 2, shape)

    counts = np.rint(products(valid))
    first, second = (products(np.where(valid, part - part[valid].mean(), 0)) for part in (a, b))
    total = float((first * second)[counts > 0] @ (1 / counts[counts > 0]))
    return float(first[0, 0] * second[0, 0]) / max(total, 1e-12)


def _clipped_agreement(a: NDArray[np.floating], b: NDArray[np.floating], noisy_a: bool, noisy_b: bool) -> float:
    """Correlation of the sources of two images if at least one has lost its noise to clipping or to 8 bits.

    Brightness is compared as a fraction of the peak of what both show, since the level of lost noise is not known.
    Clipping subtracts its threshold, so each image is also tried less what is background in the other, but no more than
    6 sigma, or eight steps of 8 bits where the noise is below one.
    """
    scaled, floors, limits = [], [_LEVEL], []
    for part, noisy in ((a, noisy_a), (b, noisy_b)):
        values = np.sinh(part.astype(np.float64))
        peak = max(float(values.max(initial=0.0)), 1e-12)
        scaled.append(np.maximum(values / peak, 0))
        floors.append(SOURCE_SIGMA / peak if noisy else _LEVEL)
        limits.append(min(2 * floors[-1] if noisy else 8 * _LEVEL, 0.5))
    floor = min(max(floors), 0.5)

    def stretched(part: NDArray[np.floating], threshold: float = 0.0) -> NDArray[np.floating]:
        above = np.maximum(part - threshold, 0) / max(1 - threshold, 1e-12)
        return np.where(above > floor, np.arcsinh(above / floor), 0)

    found = _pearson(*map(stretched, scaled))
    for part, other, most in ((scaled[0], scaled[1], limits[0]), (scaled[1], scaled[0], limits[1])):
        background = part[other <= _LEVEL]
        threshold = float(np.quantile(background, 0.99)) if background.size else 0.0
        found = np.fmax(found, _pearson(stretched(part, min(threshold, most)), stretched(other)))
    return float(found)


def _pearson(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    if a.size < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt(np.dot(a, a) * np.dot(b, b)))
    return float(np.dot(a, b)) / norm if norm > 0 else float("nan")


def amplitude_spectra(store: CutoutStore) -> NDArray[np.float32]:
    """Return what does not change when a source is shifted within its cutout, shape (number of cutouts, 512).

    Of the brightness above 3 sigma (arcsinh), or of all of it where nothing is as bright, the amplitudes of the 16 x 16
    longest waves in each of two quadrants: a shift changes the phases of a Fourier transform only. What the edges cut
    off, or let in, does change it. Zeros for blank and constant images. Cutouts with pixels finer than the median of
    the store are brought to it, and all to at most 256 pixels on the longest usual side.
    """
    scales = store.column("pixel_scale_arcsec").astype(float)
    usual = float(np.median(scales[scales > 0])) if (scales > 0).any() else float("nan")
    zooms = np.where(scales > 0, np.minimum(scales / usual, 1.0), 1.0)
    zooms = np.where(zooms > 0.99, 1.0, zooms)
    sides = store.shapes.max(axis=1) * zooms
    zooms = zooms * min(1.0, _MOST_SIDE / float(np.quantile(sides, 0.99)))
    length = fft.next_fast_len(int(min((store.shapes.max(axis=1) * zooms).max(), 1.5 * _MOST_SIDE)), real=True)
    limit = np.float32(np.arcsinh(SOURCE_SIGMA))
    spectra = np.zeros((len(store), 2, _WAVES, _WAVES), dtype=np.float32)
    kept = min(_WAVES, length // 2 + 1)
    for row in track(range(len(store)), "looking at pixels"):
        prepared = prepare(store.pixels(row), float(zooms[row]))
        if prepared is not None:
            bright = np.maximum(prepared.values - limit, 0)
            waves = np.abs(fft.rfft2(bright if bright.any() else prepared.values, (length, length)))
            spectra[row, 0, :kept, :kept] = waves[:kept, :kept]
            spectra[row, 1, :kept, :kept] = waves[-np.arange(kept), :kept]  # waves that run the other way
    return spectra.reshape(len(store), -1)


def turned_spectra(spectra: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """Return the `amplitude_spectra` of images after a `turn`."""
    waves = spectra.reshape(len(spectra), 2, _WAVES, _WAVES)
    waves = waves.swapaxes(2, 3) if orientation & 4 else waves
    waves = waves[:, ::-1] if orientation in (1, 2, 5, 6) else waves  # mirrored once, either way
    return waves.reshape(spectra.shape)


def turn(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return an image after one of eight flips and rotations: by bits, transposed, upside down, mirrored."""
    image = image.T if orientation & 4 else image
    image = image[::-1] if orientation & 2 else image
    return image[:, ::-1] if orientation & 1 else image
