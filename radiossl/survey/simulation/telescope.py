"""What the interferometer adds to the sky: noise seen through the beam, stripes, sidelobes that cleaning left.

All of it is made in the Fourier plane.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from radiossl.survey.simulation.morphology import FloatArray
from radiossl.survey.simulation.spec import SurveySpec

#: Share of the noise variance in stripes, and the width of the rest's grain in units of the beam: both fit the
#: autocorrelation of FIRST images, whose noise has the weights of the dirty beam, sharper than the restoring one.
STRIPE_SHARE = 0.2
GRAIN = 0.7


class Pointing(NamedTuple):
    """One snapshot with its six-armed dirty beam."""

    #: Its share in the mosaic at every pixel.
    weight: FloatArray
    #: Transform of the six arms, and their value at the centre.
    star: FloatArray
    height: float
    #: Strength of its sidelobes.
    level: float


def observed_area(rng: np.random.Generator, spec: SurveySpec) -> tuple[FloatArray, FloatArray]:
    """Noise (Jy/beam) at every pixel, and its distance (pixels) from the unobserved border, 0 in the border itself.

    The field is a tilted grid of overlapping primary beams, which makes the border scalloped and noisier.
    """
    from scipy.ndimage import distance_transform_edt

    tilt = math.radians(rng.uniform(5, 25))
    step = rng.uniform(0.30, 0.36)  # of the side; 1 is the whole side below
    row, column = (np.mgrid[-3:4, -3:4] * step).reshape(2, -1)
    column = column + np.where(np.rint(row / step) % 2 == 0, 0.0, step / 2) + rng.uniform(-0.1, 0.1)
    x = 0.5 + column * math.cos(tilt) - row * math.sin(tilt)
    y = 0.5 + column * math.sin(tilt) + row * math.cos(tilt)
    inside = (np.abs(x - 0.5) < 0.5) & (np.abs(y - 0.5) < 0.5)
    pixel = (np.arange(spec.size) / spec.size)[:, None]
    beam_x, beam_y = (np.exp(-(((pixel - centre[inside]) / (0.65 * step)) ** 2)) for centre in (x, y))
    sensitivity = beam_y @ beam_x.T
    sample = sensitivity[::4, ::4]
    observed = sensitivity > np.quantile(sample, rng.uniform(0.02, 0.07))
    rms = spec.rms_jybeam * np.sqrt(np.median(sample) / np.maximum(sensitivity, 1e-3 * sample.max()))
    # A margin of one blank pixel makes the edge of the image count as border.
    clearance = distance_transform_edt(np.pad(observed, 1))[1:-1, 1:-1]
    return rms, clearance


def draw_pointings(rng: np.random.Generator, spec: SurveySpec) -> list[Pointing]:
    """Snapshots at about half a degree from one another; two each way do for larger tiles too."""
    side = int(np.clip(round(spec.size * spec.pixel_scale_arcsec / 1800), 1, 2))
    pixel = (np.arange(spec.size) * (side / spec.size) - 0.5)[:, None]
    bells = np.exp(-2 * (pixel - np.arange(side)) ** 2)
    bells /= bells.sum(axis=1, keepdims=True)
    return [_pointing(rng, spec, np.outer(row, column)) for row in bells.T for column in bells.T]


def _pointing(rng: np.random.Generator, spec: SurveySpec, weight: FloatArray) -> Pointing:
    """Draw a dirty beam: three lines through the centre, 60 degrees apart, with negative flanks and no sum.

    Each line comes from one arm of the array: an arm's visibilities say much across the line, nothing along it.
    """
    u, v, _ = _frequencies(spec.size)
    sigma = math.sqrt(math.prod(spec.beam_sigma_px))
    width, length = rng.uniform(1.0, 2.5) * sigma, 60 * sigma
    first = rng.uniform(0, np.pi / 3)
    heights = rng.uniform(0.4, 1.3, size=3)
    star = np.zeros(np.broadcast_shapes(u.shape, v.shape), dtype=np.float32)
    for angle, height in zip(first + np.arange(3) * np.pi / 3, heights, strict=True):
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        across = v * cos - u * sin
        band = _bell(across, width) - _bell(across, 3 * width)
        star += np.float32(height * 2 * np.pi * width * length) * band * _bell(u * cos + v * sin, length)
    # The flanks take a third from the middle of every line.
    return Pointing(weight.astype(np.float32), star, heights.sum() * 2 / 3, rng.uniform(0.006, 0.014))


def _frequencies(size: int) -> tuple[FloatArray, FloatArray, int]:
    """Spatial frequencies u, v (cycles per pixel) of a real transform, and its size, padded against wrapping round."""
    from scipy.fft import next_fast_len

    padded = next_fast_len(size + 256, real=True)
    u, v = np.fft.rfftfreq(padded)[None, :], np.fft.fftfreq(padded)[:, None]
    return u.astype(np.float32), v.astype(np.float32), padded


def _bell(frequency: FloatArray, sigma: float) -> FloatArray:
    """Transform of a Gaussian of unit area and standard deviation `sigma` (pixels)."""
    return np.exp(np.float32(-2 * (math.pi * sigma) ** 2) * frequency**2)


def sidelobes(sky: FloatArray, spec: SurveySpec, pointings: list[Pointing]) -> FloatArray:
    """What cleaning left of the dirty beam around the sources: about 1 % of the peak, less for the brightest.

    Bright sources are cleaned deeper and serve to calibrate themselves, so their share falls.
    """
    from scipy.fft import irfft2, rfft2

    left_over = sky / np.sqrt(1 + sky / (100 * spec.rms_jybeam))
    u, v, padded = _frequencies(spec.size)
    transform = rfft2(left_over.astype(np.float32), s=(padded, padded)) / np.float32(spec.beam_area_px)
    # Rings of alternating sign (one at the centre), with a period and a Gaussian decay of so many pixels.
    scale = 8 * math.sqrt(math.prod(spec.beam_sigma_px))
    width = 1 / (2 * np.pi * scale)
    rings = np.exp(-((np.hypot(u, v) - 1 / scale) ** 2) / (2 * width**2))
    rings = rings * np.float32(scale / ((2 * np.pi) ** 1.5 * width))
    total = np.zeros_like(sky)
    for pointing in pointings:
        # Cleaning gets the centres of sources right, so nothing is left there.
        centre = np.float32((pointing.height + 1) * spec.beam_area_px)
        pattern = irfft2(transform * (pointing.star + rings - centre), s=(padded, padded))
        total += pointing.level * pointing.weight * pattern[: spec.size, : spec.size]
    return total


def unit_noise(rng: np.random.Generator, spec: SurveySpec, pointings: list[Pointing]) -> FloatArray:
    """Noise of unit variance: white noise seen through the beam, and stripes along the arms of each snapshot."""
    from scipy.fft import irfft2, rfft2

    u, v, padded = _frequencies(spec.size)
    white = rfft2(rng.standard_normal((padded, padded), dtype=np.float32))
    major, minor = spec.beam_sigma_px
    pa = math.radians(spec.beam_pa_deg)
    sin, cos = np.float32(math.sin(pa)), np.float32(math.cos(pa))
    grain = (_bell(v * cos - u * sin, GRAIN * major) * _bell(u * cos + v * sin, GRAIN * minor)) ** 2
    noise = np.zeros((spec.size, spec.size))
    for pointing in pointings:
        stripes = pointing.star**2
        power = (1 - STRIPE_SHARE) / np.mean(grain) * grain + STRIPE_SHARE / np.mean(stripes) * stripes
        noise += pointing.weight * irfft2(white * np.sqrt(power), s=(padded, padded))[: spec.size, : spec.size]
    return noise / noise.std()
