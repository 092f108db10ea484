"""Simulated radio surveys with known truth: FITS mosaics that look like VLA FIRST, and what is in them.

A source is a cloud of circular Gaussians, laid along straight or bent jets. Convolving a Gaussian with a Gaussian beam
only widens it, so sources are rendered exactly, without any oversampled grid. What the interferometer adds (noise with
the beam's correlation, stripes, the spokes and rings of an imperfectly cleaned snapshot) is made in the Fourier plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file, read_json, write_json
from radiossl.io.progress import track

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.table import Table
    from astropy.wcs import WCS

FloatArray = NDArray[np.floating[Any]]

#: Share of each class among the labelled sources; compact sources lead, as in every survey.
CLASS_SHARES = {
    "compact": 0.30,
    "FRI": 0.18,
    "FRII": 0.22,
    "bent": 0.11,
    "hybrid": 0.06,
    "ring": 0.05,
    "diffuse": 0.08,
}
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

FWHM_PER_SIGMA = math.sqrt(8.0 * math.log(2.0))
#: Share of the noise variance in stripes, and the width of the rest's grain in units of the beam: both fit the
#: autocorrelation of FIRST images, whose noise has the weights of the dirty beam, sharper than the restoring one.
STRIPE_SHARE = 0.2
GRAIN = 0.7
FREQUENCY_HZ = 1.4e9


@dataclass(frozen=True)
class SurveySpec:
    """What to simulate; the defaults resemble the VLA FIRST survey.

    Attributes
    ----------
    tiles
        Number of mosaics, 1 to 1000.
    size
        Side of a mosaic in pixels, at least 128.
    sources
        Sources of known class in each mosaic.
    seed
        The same seed gives the same survey, bit for bit.
    pixel_scale_arcsec
        Side of a pixel.
    beam_major_arcsec, beam_minor_arcsec
        Full widths at half maximum of the restoring beam; the minor one spans at least two pixels.
    beam_pa_deg
        Position angle of its major axis, north through east.
    rms_jybeam
        Noise in the middle of a mosaic.
    """

    tiles: int = 4
    size: int = 2048
    sources: int = 400
    seed: int = 0
    pixel_scale_arcsec: float = 1.8
    beam_major_arcsec: float = 6.4
    beam_minor_arcsec: float = 5.4
    beam_pa_deg: float = 20.0
    rms_jybeam: float = 1.5e-4

    def __post_init__(self) -> None:
        for name, low, high in (("tiles", 1, 1000), ("size", 128, 32768), ("sources", 1, None), ("seed", 0, None)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise RadiosslError(f"{name}: {value!r} given, must be a whole number")
            if value < low or (high is not None and value > high):
                limits = f"at least {low}" if high is None else f"from {low} to {high}"
                raise RadiosslError(f"{name}: {value} given, must be {limits}")
        room = (self.size // 32) ** 2
        if self.sources > room:
            raise RadiosslError(
                f"sources: {self.sources} given, but a mosaic of {self.size} x {self.size} pixels has room for {room}"
            )
        for name in ("pixel_scale_arcsec", "beam_major_arcsec", "beam_minor_arcsec", "rms_jybeam"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise RadiosslError(f"{name}: {value} given, must be a positive number")
        if not math.isfinite(self.beam_pa_deg):
            raise RadiosslError(f"beam_pa_deg: {self.beam_pa_deg} given, must be a number of degrees")
        if self.beam_minor_arcsec < 2 * self.pixel_scale_arcsec:
            raise RadiosslError(
                f"beam_minor_arcsec: {self.beam_minor_arcsec} given, must span at least two pixels of "
                f"{self.pixel_scale_arcsec} arcsec"
            )
        if not self.beam_minor_arcsec <= self.beam_major_arcsec <= 2 * self.beam_minor_arcsec:
            raise RadiosslError(
                f"beam_major_arcsec: {self.beam_major_arcsec} given, must be once to twice the minor axis, "
                f"{self.beam_minor_arcsec} arcsec"
            )

    @property
    def beam_sigma_px(self) -> tuple[float, float]:
        """Standard deviations of the beam along its major and minor axis, in pixels."""
        unit = FWHM_PER_SIGMA * self.pixel_scale_arcsec
        return self.beam_major_arcsec / unit, self.beam_minor_arcsec / unit

    @property
    def beam_area_px(self) -> float:
        """Solid angle of the beam in pixels: the sum of Jy/beam over a source, divided by this, is its flux in Jy."""
        major, minor = self.beam_sigma_px
        return 2.0 * math.pi * major * minor


def simulate_survey(out: str | Path, spec: SurveySpec) -> list[Path]:
    """Write the mosaics `tile_000.fits`, ... and the catalogue `truth.csv` into a folder.

    Run again after an interruption, it keeps the mosaics that are there and makes the rest.

    Parameters
    ----------
    out
        Folder; made if missing.
    spec
        What to simulate.

    Returns
    -------
    list of Path
        The mosaics (float32, Jy/beam). Those with an even number have frequency and Stokes axes of length one.

    Raises
    ------
    RadiosslError
        If the folder holds anything but this very survey.
    """
    from astropy.table import vstack

    out = Path(out)
    _claim(out, spec)
    truth = out / "truth.csv"
    paths = [out / f"{_tile_name(index)}.fits" for index in range(spec.tiles)]
    tables = []
    for index, path in track(list(enumerate(paths)), "Simulating mosaics"):
        if path.exists() and truth.exists():
            continue
        image, wcs, table = simulate_tile(spec, index)
        if not path.exists():
            _write_tile(path, image, _header(spec, wcs, index))
        tables.append(table)
    if not truth.exists():
        with atomic_file(truth) as temporary:
            vstack(tables).write(temporary, format="ascii.csv", overwrite=True)
    return paths


def simulate_tile(spec: SurveySpec, index: int) -> tuple[NDArray[np.float32], WCS, Table]:
    """Simulate one mosaic; the answer depends on the specification and the index only.

    Parameters
    ----------
    spec
        What to simulate.
    index
        Number of the mosaic, from 0.

    Returns
    -------
    image
        Jy/beam, shape (size, size), NaN where the sky was not observed.
    wcs
        Celestial coordinates (SIN projection).
    truth
        One row per labelled source; `x` and `y` are pixels (0-based, integers at pixel centres) of the flux centroid,
        `extent_arcsec` the largest angular size at three times the local noise less the wings of the beam,
        `peak_jybeam` the brightest pixel without noise, `snr` the same over the local noise, `pa_deg` the direction
        of the largest extent, north through east. Whatever else is in the image is fainter than `SNR_RANGE[0]`.
    """
    rng = np.random.default_rng([spec.seed, index])
    rms, clearance = _coverage(rng, spec)
    sky = np.zeros((spec.size, spec.size))
    rows = _add_labelled_sources(sky, rng, spec, rms, clearance)
    _add_background(sky, rng, spec)
    pointings = _pointings(rng, spec)
    image = sky + _sidelobes(sky, spec, pointings) + rms * _noise(rng, spec, pointings)
    image[clearance == 0] = np.nan
    wcs = _tile_wcs(spec, index)
    return image.astype(np.float32), wcs, _truth_table(rows, wcs, index)


# Morphologies, in units of the source's own size ---------------------------------------------------------------------

# An arm is what lies along one jet: columns along (0 to 1), across, flux, sigma. Blobs are the same on the plane: x, y,
# flux, sigma. Both have shape (n, 4).


def _blobs(x: Any, y: Any, flux: Any, sigma: Any) -> FloatArray:
    return np.stack(np.broadcast_arrays(*np.atleast_1d(x, y, flux, sigma)), axis=1).astype(float)


def _with_flux(blobs: FloatArray, total: float) -> FloatArray:
    return blobs * [1, 1, total / blobs[:, 2].sum(), 1]


def _lognormal_walk(rng: np.random.Generator, n: int, scatter: float, smooth: int) -> FloatArray:
    """Positive brightness fluctuations along a jet, correlated over `smooth` steps."""
    steps = np.convolve(rng.normal(size=n + smooth - 1), np.ones(smooth) / math.sqrt(smooth), mode="valid")
    return np.exp(scatter * steps)


def _plume(rng: np.random.Generator) -> FloatArray:
    """Make an FRI arm: a jet that brightens where it flares, then fades while it widens and meanders."""
    n = 90
    along = (np.arange(n) + 0.5) / n
    brightening = 1 - np.exp(-((along / rng.uniform(0.03, 0.35)) ** 2))
    flux = brightening * np.exp(-along / rng.uniform(0.25, 1.2)) * _lognormal_walk(rng, n, 0.7, 7)
    width = rng.uniform(0.01, 0.03) + rng.uniform(0.08, 0.4) * along ** rng.uniform(0.9, 2.0)
    meander = rng.uniform(0.0, 0.2) * along * np.sin(2 * np.pi * (rng.uniform(0.4, 1.3) * along + rng.uniform()))
    jet = _with_flux(_blobs(along, meander + 0.6 * width * rng.normal(size=n), flux, 0.4 * width), 1.0)
    where = rng.uniform(0.5, 0.95)
    patch = _blobs(rng.normal(where, 0.1, size=15), rng.normal(rng.normal(0, 0.1), 0.09, size=15), 1.0, 0.06)
    return np.concatenate([jet, _with_flux(patch, rng.uniform(0.02, 0.5))])


def _lobe(rng: np.random.Generator) -> FloatArray:
    """Make an FRII arm: a hotspot at the end, the lobe that flows back from it, perhaps a second hotspot and a jet."""
    n = 60
    backflow = rng.uniform(0.25, 0.95)
    age = rng.beta(1.0, rng.uniform(1.2, 2.5), size=n)  # 0 at the hotspot, 1 at the oldest plasma
    width = rng.uniform(0.06, 0.18) * np.sqrt(0.15 + age)
    lobe = _blobs(0.97 - backflow * age, width * rng.normal(size=n), rng.exponential(size=n), 0.02 + 0.45 * width)
    hotspot = _blobs(rng.uniform(0.9, 1.0), rng.normal(0, 0.03), 1.0, rng.uniform(0.01, 0.05))
    parts = [_with_flux(lobe, 1.0), _with_flux(hotspot, rng.lognormal(math.log(0.3), 0.6))]
    if rng.random() < 0.4:
        second = _blobs(rng.uniform(0.75, 0.95), rng.normal(0, 0.08), 1.0, rng.uniform(0.02, 0.05))
        parts.append(_with_flux(second, rng.uniform(0.05, 0.25)))
    if rng.random() < 0.4:
        knots = np.linspace(0.05, 0.9, 25)
        jet = _blobs(knots, 0.0, _lognormal_walk(rng, knots.size, 0.6, 3), 0.012)
        parts.append(_with_flux(jet, rng.uniform(0.02, 0.12)))
    return np.concatenate(parts)


def _lay(arm: FloatArray, heading: float, turn: float, within: float) -> FloatArray:
    """Lay an arm along a path that starts at the origin towards `heading` and turns by `turn` (radians).

    The turn is nearly done after the share `within` of the path.
    """
    along, across, flux, sigma = arm.T
    path = np.linspace(0.0, 1.0, 201)
    angle = heading + turn * (1 - np.exp(-((path / within) ** 2)))
    x = np.concatenate([[0.0], np.cumsum(np.cos(angle[1:]))]) / 200
    y = np.concatenate([[0.0], np.cumsum(np.sin(angle[1:]))]) / 200
    here = np.interp(along, path, angle)
    return _blobs(
        np.interp(along, path, x) - across * np.sin(here),
        np.interp(along, path, y) + across * np.cos(here),
        flux,
        sigma,
    )


def _two_sided(
    rng: np.random.Generator,
    arms: tuple[FloatArray, FloatArray],
    turns: tuple[float, float],
    core: float,
    unequal: float,
    within: float,
) -> FloatArray:
    """Join two arms and a core of the flux share `core`; `unequal` sets how far the arms may differ."""
    lengths = 1.0, rng.uniform(1 - unequal, 1.0)
    fluxes = 1.0, rng.lognormal(0.0, unequal)
    sides: list[FloatArray] = [
        _lay(_with_flux(arm, flux), heading, turn, within) * [length, length, 1, length]
        for arm, length, flux, heading, turn in zip(arms, lengths, fluxes, (0.0, math.pi), turns, strict=True)
    ]
    if core > 0:
        sides.append(_blobs(0.0, 0.0, core * sum(fluxes), 0.005))
    return np.concatenate(sides)


def _compact(rng: np.random.Generator) -> FloatArray:
    along = np.linspace(-0.5, 0.5, 5)
    return _blobs(along, 0.0, rng.uniform(0.2, 1.0, size=5), 0.25)


def _fri(rng: np.random.Generator) -> FloatArray:
    turns = np.radians(rng.normal(0, 30, size=2))
    core = rng.uniform(0.02, 0.25)
    return _two_sided(rng, (_plume(rng), _plume(rng)), (turns[0], turns[1]), core, 0.4, rng.uniform(0.3, 1.0))


def _frii(rng: np.random.Generator) -> FloatArray:
    turns = np.radians(rng.normal(0, 6, size=2))
    core = rng.choice([0.0, rng.uniform(0.005, 0.08)])
    return _two_sided(rng, (_lobe(rng), _lobe(rng)), (turns[0], turns[1]), core, 0.3, 0.7)


def _hybrid(rng: np.random.Generator) -> FloatArray:
    turns = np.radians([rng.normal(0, 20), rng.normal(0, 6)])
    core = rng.uniform(0.01, 0.15)
    return _two_sided(rng, (_plume(rng), _lobe(rng)), (turns[0], turns[1]), core, 0.3, rng.uniform(0.3, 1.0))


def _bent(rng: np.random.Generator) -> FloatArray:
    """Make a wide- or narrow-angle tail: the wind turns both arms to the same side, mostly FRI plumes."""
    turn = math.radians(rng.uniform(35, 80))
    core = rng.uniform(0.01, 0.15)
    arm = _lobe if rng.random() < 0.25 else _plume
    return _two_sided(rng, (arm(rng), arm(rng)), (turn, -turn), core, 0.4, rng.uniform(0.1, 0.6))


def _ring(rng: np.random.Generator) -> FloatArray:
    """Make a shell brightened to the limb, uneven, a little elliptic and ragged, perhaps with a host in it."""
    n = 90
    angle = 2 * np.pi * np.arange(n) / n
    lopsided = 1 + rng.uniform(0.2, 0.8) * np.cos(angle - rng.uniform(0, 2 * np.pi))
    knots = _lognormal_walk(rng, n, 0.5, 9)
    dents = sum(rng.normal(0, 0.04) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
    radius = 1 + dents + rng.normal(0, 0.05, size=n)
    shell = _blobs(radius * np.cos(angle), radius * np.sin(angle), lopsided * knots, rng.uniform(0.06, 0.14))
    inside = 0.8 * np.sqrt(rng.random(30))
    spin = rng.uniform(0, 2 * np.pi, size=30)
    fill = _blobs(inside * np.cos(spin), inside * np.sin(spin), rng.exponential(size=30), 0.2)
    parts = [_with_flux(shell, 1.0), _with_flux(fill, rng.uniform(0.1, 0.4))]
    if rng.random() < 0.4:
        parts.append(_blobs(0.0, 0.0, rng.uniform(0.01, 0.06), 0.01))
    return np.concatenate(parts) * [1, rng.uniform(0.65, 1.0), 1, 1]


def _diffuse(rng: np.random.Generator) -> FloatArray:
    """Make a relic-like cloud: smooth, irregular, with a few brighter patches and no edge, core or hotspot."""
    n = 60
    patches = int(rng.integers(3, 7))
    centres = rng.normal(0, 0.4, size=(patches, 2))
    spread = rng.uniform(0.15, 0.45, size=patches)
    member = rng.integers(patches, size=n)
    x, y = (centres[member] + spread[member, None] * rng.normal(size=(n, 2))).T
    return _blobs(x, y * rng.uniform(0.35, 1.0), rng.exponential(size=n), rng.uniform(0.12, 0.3, size=n))


MORPHOLOGIES: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "compact": _compact,
    "FRI": _fri,
    "FRII": _frii,
    "bent": _bent,
    "hybrid": _hybrid,
    "ring": _ring,
    "diffuse": _diffuse,
}


def _oriented(blobs: FloatArray, length: float, pa_deg: float) -> FloatArray:
    """Scale a source to `length`, turn its longest direction to a position angle, put its flux centroid at 0 and 1 Jy.

    Position angles run from +y (north) towards -x (east is left).
    """
    directions = np.pi * np.arange(36) / 36
    shadows = np.outer(blobs[:, 0], np.cos(directions)) + np.outer(blobs[:, 1], np.sin(directions))
    reach = 1.5 * blobs[:, 3:]
    spans = np.max(shadows + reach, axis=0) - np.min(shadows - reach, axis=0)
    longest = int(np.argmax(spans))
    turn = math.radians(pa_deg) + np.pi / 2 - directions[longest]
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    scale = length / spans[longest]
    flux = blobs[:, 2] / blobs[:, 2].sum()
    position = (blobs[:, :2] - flux @ blobs[:, :2]) @ rotation * scale
    return np.column_stack([position, flux, blobs[:, 3] * scale])


# The sky -------------------------------------------------------------------------------------------------------------


def _power_law(rng: np.random.Generator, low: float, high: float | FloatArray, slope: float, n: int) -> FloatArray:
    """Draw from integral counts that fall as value to the power of minus `slope`."""
    top, bottom = low**-slope, high**-slope
    return (bottom + (top - bottom) * rng.random(n)) ** (-1 / slope)


def _draw_sizes(rng: np.random.Generator, classes: NDArray[np.str_], snr: FloatArray) -> FloatArray:
    """Largest angular sizes in arcsec before the beam, log-uniform.

    Faint sources are kept smaller: of a large one that faint no catalogue would show more than the core.
    """
    low = np.array([SMALLEST_ARCSEC.get(name, 0.1) for name in classes])
    high = np.where(classes == "compact", 2.5, np.clip(35.0 * (snr / SNR_RANGE[0]) ** 0.6, None, LARGEST_ARCSEC))
    return low * (high / low) ** rng.random(len(classes))


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


def _add_labelled_sources(
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
    sizes = _draw_sizes(rng, classes, snr) / spec.pixel_scale_arcsec
    beam_fwhm = spec.beam_major_arcsec / spec.pixel_scale_arcsec
    xs, ys = _place(rng, clearance, 0.5 * sizes + 1.5 * beam_fwhm)
    rows = []
    for name, size, x, y, wanted in zip(classes, sizes, xs, ys, snr, strict=True):
        pa = rng.uniform(0, 180)
        blobs = _oriented(MORPHOLOGIES[name](rng), size, pa)
        stamp, left, bottom = _render(blobs + np.array([x, y, 0, 0]), spec)
        noise = float(rms[round(y), round(x)])
        flux = wanted * noise / stamp.max()
        _add(sky, flux * stamp, left, bottom)
        rows.append(
            {
                "x": x,
                "y": y,
                "class": str(name),
                "extent_arcsec": _extent_px(flux * stamp, noise, beam_fwhm) * spec.pixel_scale_arcsec,
                "flux_jy": flux,
                "peak_jybeam": wanted * noise,
                "snr": wanted,
                "pa_deg": pa,
            }
        )
    return rows


def _add_background(sky: FloatArray, rng: np.random.Generator, spec: SurveySpec) -> None:
    """Add the point sources too faint for a label, with the observed counts, to the sky in place."""
    area_deg2 = (spec.size * spec.pixel_scale_arcsec / 3600) ** 2
    low, high = BACKGROUND_SNR * spec.rms_jybeam, SNR_RANGE[0] * spec.rms_jybeam
    per_deg2 = BACKGROUND_PER_DEG2 * ((low / 1e-3) ** -BACKGROUND_SLOPE - (high / 1e-3) ** -BACKGROUND_SLOPE)
    # The counts are not known below microjanskys; with one source in 50 beams an image is confused anyway.
    n = rng.poisson(min(per_deg2 * area_deg2, spec.size**2 / (50 * spec.beam_area_px)))
    fluxes = _power_law(rng, low, high, BACKGROUND_SLOPE, n)
    for flux, x, y in zip(fluxes, *rng.uniform(0, spec.size - 1, size=(2, n)), strict=True):
        _add(sky, *_render(_blobs(x, y, flux, 0.0), spec))


# The telescope -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pointing:
    """One snapshot with its six-armed dirty beam.

    `weight` is its share in the mosaic at every pixel, `star` the transform of the six arms, `height` their value at
    the centre, `level` the strength of its sidelobes.
    """

    weight: FloatArray
    star: FloatArray
    height: float
    level: float


def _coverage(rng: np.random.Generator, spec: SurveySpec) -> tuple[FloatArray, FloatArray]:
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


def _pointings(rng: np.random.Generator, spec: SurveySpec) -> list[_Pointing]:
    """Snapshots at about half a degree from one another; two each way do for larger tiles too."""
    side = int(np.clip(round(spec.size * spec.pixel_scale_arcsec / 1800), 1, 2))
    pixel = (np.arange(spec.size) * (side / spec.size) - 0.5)[:, None]
    bells = np.exp(-2 * (pixel - np.arange(side)) ** 2)
    bells /= bells.sum(axis=1, keepdims=True)
    return [_pointing(rng, spec, np.outer(row, column)) for row in bells.T for column in bells.T]


def _pointing(rng: np.random.Generator, spec: SurveySpec, weight: FloatArray) -> _Pointing:
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
    return _Pointing(weight.astype(np.float32), star, heights.sum() * 2 / 3, rng.uniform(0.006, 0.014))


def _frequencies(size: int) -> tuple[FloatArray, FloatArray, int]:
    """Spatial frequencies u, v (cycles per pixel) of a real transform, and its size, padded against wrapping round."""
    from scipy.fft import next_fast_len

    padded = next_fast_len(size + 256, real=True)
    u, v = np.fft.rfftfreq(padded)[None, :], np.fft.fftfreq(padded)[:, None]
    return u.astype(np.float32), v.astype(np.float32), padded


def _bell(frequency: FloatArray, sigma: float) -> FloatArray:
    """Transform of a Gaussian of unit area and standard deviation `sigma` (pixels)."""
    return np.exp(np.float32(-2 * (math.pi * sigma) ** 2) * frequency**2)


def _rings(u: FloatArray, v: FloatArray, period: float, decay: float) -> FloatArray:
    """Transform of rings of alternating sign (one at the centre), with a period and a Gaussian decay in pixels."""
    width = 1 / (2 * np.pi * decay)
    ring = np.exp(-((np.hypot(u, v) - 1 / period) ** 2) / (2 * width**2))
    return ring * np.float32(period / ((2 * np.pi) ** 1.5 * width))


def _sidelobes(sky: FloatArray, spec: SurveySpec, pointings: list[_Pointing]) -> FloatArray:
    """What cleaning left of the dirty beam around the sources: about 1 % of the peak, less for the brightest.

    Bright sources are cleaned deeper and serve to calibrate themselves, so their share falls.
    """
    from scipy.fft import irfft2, rfft2

    left_over = sky / np.sqrt(1 + sky / (100 * spec.rms_jybeam))
    u, v, padded = _frequencies(spec.size)
    transform = rfft2(left_over.astype(np.float32), s=(padded, padded)) / np.float32(spec.beam_area_px)
    scale = 8 * math.sqrt(math.prod(spec.beam_sigma_px))
    rings = _rings(u, v, scale, scale)
    total = np.zeros_like(sky)
    for pointing in pointings:
        # Cleaning gets the centres of sources right, so nothing is left there.
        centre = np.float32((pointing.height + 1) * spec.beam_area_px)
        pattern = irfft2(transform * (pointing.star + rings - centre), s=(padded, padded))
        total += pointing.level * pointing.weight * pattern[: spec.size, : spec.size]
    return total


def _noise(rng: np.random.Generator, spec: SurveySpec, pointings: list[_Pointing]) -> FloatArray:
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


# Files ---------------------------------------------------------------------------------------------------------------


def _tile_name(index: int) -> str:
    return f"tile_{index:03d}"


def _claim(out: Path, spec: SurveySpec) -> None:
    """Make the folder this survey's by writing its specification there, or check that it is."""
    record = out / "survey.json"
    if not record.exists():
        if out.exists() and not out.is_dir():
            raise RadiosslError(f"{out}: is a file, a folder was expected")
        # Hidden files are what an interrupted write may leave.
        if out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
            raise RadiosslError(f"{out}: holds other files; choose a new or empty folder")
        write_json(record, asdict(spec))
    elif read_json(record) != asdict(spec):
        raise RadiosslError(f"{out}: holds a survey made with other settings (see {record}); choose another folder")


def _tile_wcs(spec: SurveySpec, index: int) -> WCS:
    """Coordinates of a tile; the centres follow a low-discrepancy sequence, which keeps tiles far apart."""
    from astropy.wcs import WCS

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---SIN", "DEC--SIN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [
        (165.0 + 360 * 0.7548776662 * index) % 360,
        math.degrees(math.asin(0.1 + 0.8 * ((0.5 + 0.5698402910 * index) % 1))),
    ]
    wcs.wcs.crpix = [(spec.size + 1) / 2] * 2
    wcs.wcs.cdelt = [-spec.pixel_scale_arcsec / 3600, spec.pixel_scale_arcsec / 3600]
    wcs.wcs.radesys = "FK5"
    wcs.wcs.equinox = 2000.0
    wcs.wcs.set()
    return wcs


def _header(spec: SurveySpec, wcs: WCS, index: int) -> Header:
    """FITS header of a tile; every second tile has the degenerate axes that imaging packages write."""
    header = wcs.to_header()
    if index % 2 == 0:
        header["WCSAXES"] = 4
        for axis, name, value, step, unit in ((3, "FREQ", FREQUENCY_HZ, 1e8, "Hz"), (4, "STOKES", 1.0, 1.0, "")):
            header[f"CTYPE{axis}"] = name
            header[f"CRVAL{axis}"] = value
            header[f"CDELT{axis}"] = step
            header[f"CRPIX{axis}"] = 1.0
            header[f"CUNIT{axis}"] = unit
    header["BUNIT"] = "JY/BEAM"
    header["BMAJ"] = spec.beam_major_arcsec / 3600
    header["BMIN"] = spec.beam_minor_arcsec / 3600
    header["BPA"] = spec.beam_pa_deg
    header["RESTFRQ"] = FREQUENCY_HZ
    header["OBJECT"] = _tile_name(index)
    header["TELESCOP"] = "SIMULATED"
    return header


def _write_tile(path: Path, image: NDArray[np.float32], header: Header) -> None:
    from astropy.io import fits

    data = image.reshape((1,) * (header["WCSAXES"] - 2) + image.shape)
    with atomic_file(path) as temporary:
        fits.PrimaryHDU(data, header).writeto(temporary, overwrite=True)


def _truth_table(rows: list[dict[str, Any]], wcs: WCS, index: int) -> Table:
    """Truth table of a tile, with names and coordinates."""
    from astropy.table import Table

    table = Table(rows)
    ra, dec = wcs.wcs_pix2world(table["x"], table["y"], 0)
    table.add_column([f"sim{index:03d}_{n:05d}" for n in range(len(table))], name="source_id", index=0)
    table.add_column([f"{_tile_name(index)}.fits"] * len(table), name="tile", index=1)
    table.add_column(ra, name="ra_deg", index=2)
    table.add_column(dec, name="dec_deg", index=3)
    for name, digits in (("ra_deg", ".7f"), ("dec_deg", ".7f"), ("x", ".3f"), ("y", ".3f"), ("extent_arcsec", ".2f")):
        table[name].format = digits
    for name, digits in (("flux_jy", ".6g"), ("peak_jybeam", ".6g"), ("snr", ".2f"), ("pa_deg", ".2f")):
        table[name].format = digits
    return table
