"""The simulated sky: which sources there are, where, how large and how bright, rendered through the beam."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.survey.simulation.morphology import MORPHOLOGIES, FloatArray, make_blobs, oriented
from radiossl.survey.simulation.spec import SurveySpec

#: Share of each class among the labelled sources; compact sources lead, as in every survey.
CLASS_SHARES = {"compact": 0.30, "FRI": 0.18, "FRII": 0.22, "bent": 0.11, "hybrid": 0.06, "ring": 0.05, "diffuse": 0.08}
#: Largest angular size that each class starts at (arcsec): below, its shape would be hidden by the beam.
SMALLEST_ARCSEC = {"FRI": 15.0, "FRII": 11.0, "bent": 17.0, "hybrid": 15.0, "ring": 22.0, "diffuse": 14.0}
LARGEST_ARCSEC = 120.0

#: Peak signal-to-noise of labelled sources, a lower end for clouds and shells, and the slope of the integral counts.
SNR_RANGE = (8.0, 2000.0)
HIGHEST_SNR = {"ring": 150.0, "diffuse": 150.0}
SNR_SLOPE = 0.7
#: Fainter point sources without a label: sources per square degree above 1 mJy, slope, and lowest signal-to-noise.
BACKGROUND_PER_DEG2 = 90.0
BACKGROUND_SLOPE = 0.85
BACKGROUND_SNR = 2.0


def _power_law(rng: np.random.Generator, low: float, high: float | FloatArray, slope: float, n: int) -> FloatArray:
    """Draw from integral counts that fall as value to the power of minus `slope`."""
    top, bottom = low**-slope, high**-slope
    return (bottom + (top - bottom) * rng.random(n)) ** (-1 / slope)


def _place(
    rng: np.random.Generator, clearance: FloatArray, radii: FloatArray, tries: int = 150
) -> tuple[FloatArray, FloatArray]:
    """Choose centres (pixels) so that circles of the given radii keep apart and off the blank border.

    The largest are placed first. Where the tile is too full, the least bad of the tries is taken.
    """
    ny, nx = clearance.shape
    x, y = np.zeros(len(radii)), np.zeros(len(radii))
    order = np.argsort(-radii, kind="stable")
    for rank, source in enumerate(order):
        placed = order[:rank]
        try_x, try_y = rng.uniform(0, nx - 1, size=tries), rng.uniform(0, ny - 1, size=tries)
        clear = clearance[np.rint(try_y).astype(int), np.rint(try_x).astype(int)]
        room = np.hypot(try_x[:, None] - x[placed], try_y[:, None] - y[placed]) - radii[placed]
        # Hitting the border is worse than an overlap: beyond it nothing is seen.
        room = np.minimum(room.min(axis=1, initial=np.inf), np.where(clear > radii[source], np.inf, clear - 1e6))
        fits = room > radii[source]
        best = int(np.argmax(fits)) if fits.any() else int(np.argmax(room))
        x[source], y[source] = try_x[best], try_y[best]
    return x, y


def _render(blobs: FloatArray, spec: SurveySpec) -> tuple[NDArray[np.float64], int, int]:
    """Image of blobs (pixels, Jy) seen with the beam, in Jy/beam, on the smallest stamp, and the stamp's corner x, y.

    The elliptical beam is a circular one of the minor axis, spread along the major axis by the trapezoidal rule:
    circular Gaussians factor into x and y, which makes the sum over blobs one product of matrices.
    """
    major, minor = spec.beam_sigma_px
    nodes = 0.8 * np.arange(-4, 5)
    weights = np.exp(-(nodes**2) / 2)
    stretch = math.sqrt(max(major**2 - minor**2, 0.0)) * nodes
    pa = math.radians(spec.beam_pa_deg)
    x = (blobs[:, :1] - stretch * math.sin(pa)).ravel()
    y = (blobs[:, 1:2] + stretch * math.cos(pa)).ravel()
    variance = np.repeat(blobs[:, 3] ** 2 + minor**2, nodes.size)
    amplitude = (blobs[:, 2:3] * weights / weights.sum()).ravel() * spec.beam_area_px / (2 * np.pi * variance)
    reach = 6 * np.sqrt(variance)
    left, right = math.floor(np.min(x - reach)), math.ceil(np.max(x + reach))
    bottom, top = math.floor(np.min(y - reach)), math.ceil(np.max(y + reach))
    columns = np.exp(-((np.arange(left, right + 1)[:, None] - x) ** 2) / (2 * variance))
    lines = np.exp(-((np.arange(bottom, top + 1)[:, None] - y) ** 2) / (2 * variance))
    return (lines * amplitude) @ columns.T, left, bottom


def _add(sky: FloatArray, stamp: FloatArray, left: int, bottom: int) -> None:
    """Add a stamp to the sky in place; what reaches over the edge is cut."""
    cut_x, cut_y = max(0, -left), max(0, -bottom)
    window = sky[bottom + cut_y : max(0, bottom + stamp.shape[0]), left + cut_x : max(0, left + stamp.shape[1])]
    window += stamp[cut_y : cut_y + window.shape[0], cut_x : cut_x + window.shape[1]]


def _extent_px(stamp: FloatArray, rms: float, beam_fwhm: float) -> float:
    """Largest diameter of what is above three times the noise, less the wings that a point source of this peak has."""
    y, x = np.nonzero(stamp > 3 * rms)
    angle = np.pi * np.arange(36) / 36
    diameter = 1 + np.max(np.ptp(np.outer(x, np.cos(angle)) + np.outer(y, np.sin(angle)), axis=0))
    wings = beam_fwhm * (math.sqrt(math.log2(stamp.max() / (3 * rms))) - 1)
    return max(beam_fwhm, diameter - wings)


def add_labelled_sources(
    sky: FloatArray, rng: np.random.Generator, spec: SurveySpec, rms: FloatArray, clearance: FloatArray
) -> list[dict[str, Any]]:
    """Add all labelled sources to the sky in place; return their rows of the truth table, without coordinates."""
    # Strata instead of draws: rare classes are then present in small tiles too.
    strata = (np.arange(spec.sources) + 0.5) / spec.sources
    bounds = np.cumsum(list(CLASS_SHARES.values()))
    names = np.array(list(CLASS_SHARES))
    classes = rng.permutation(names[np.minimum(np.searchsorted(bounds, strata), len(names) - 1)])
    highest = np.array([HIGHEST_SNR.get(name, SNR_RANGE[1]) for name in classes])
    snr = _power_law(rng, SNR_RANGE[0], highest, SNR_SLOPE, spec.sources)
    # Log-uniform, before the beam; faint sources are smaller: of a large one a catalogue would only show the core.
    low = np.array([SMALLEST_ARCSEC.get(name, 0.1) for name in classes])
    high = np.where(classes == "compact", 2.5, np.clip(35.0 * (snr / SNR_RANGE[0]) ** 0.6, None, LARGEST_ARCSEC))
    sizes = low * (high / low) ** rng.random(len(classes)) / spec.pixel_scale_arcsec
    beam_fwhm = spec.beam_major_arcsec / spec.pixel_scale_arcsec
    xs, ys = _place(rng, clearance, 0.5 * sizes + 1.5 * beam_fwhm)
    rows = []
    for name, size, x, y, wanted in zip(classes, sizes, xs, ys, snr, strict=True):
        pa = rng.uniform(0, 180)
        blobs = oriented(MORPHOLOGIES[name](rng), size, pa)
        stamp, left, bottom = _render(blobs + np.array([x, y, 0, 0]), spec)
        noise = float(rms[round(y), round(x)])
        flux = wanted * noise / stamp.max()
        _add(sky, flux * stamp, left, bottom)
        extent = _extent_px(flux * stamp, noise, beam_fwhm) * spec.pixel_scale_arcsec
        row = {"x": x, "y": y, "class": str(name), "extent_arcsec": extent, "flux_jy": flux}
        rows.append(row | {"peak_jybeam": wanted * noise, "snr": wanted, "pa_deg": pa})
    return rows


def add_background(sky: FloatArray, rng: np.random.Generator, spec: SurveySpec) -> None:
    """Add the point sources too faint for a label, with the observed counts, to the sky in place."""
    area_deg2 = (spec.size * spec.pixel_scale_arcsec / 3600) ** 2
    low, high = BACKGROUND_SNR * spec.rms_jybeam, SNR_RANGE[0] * spec.rms_jybeam
    per_deg2 = BACKGROUND_PER_DEG2 * ((low / 1e-3) ** -BACKGROUND_SLOPE - (high / 1e-3) ** -BACKGROUND_SLOPE)
    # The counts are not known below microjanskys; with one source in 50 beams an image is confused anyway.
    n = rng.poisson(min(per_deg2 * area_deg2, spec.size**2 / (50 * spec.beam_area_px)))
    fluxes = _power_law(rng, low, high, BACKGROUND_SLOPE, n)
    for flux, x, y in zip(fluxes, *rng.uniform(0, spec.size - 1, size=(2, n)), strict=True):
        _add(sky, *_render(make_blobs(x, y, flux, 0.0), spec))
