"""Shapes of radio sources, in units of their own size: clouds of circular Gaussians along straight or bent jets.

An arm is what lies along one jet: columns along (0 to 1), across, flux, sigma. Blobs are the same on the plane: x, y,
flux, sigma. Both have shape (n, 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]


def make_blobs(x: Any, y: Any, flux: Any, sigma: Any) -> FloatArray:
    """Return circular Gaussians at `x`, `y` with these fluxes and standard deviations, shape (n, 4)."""
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
    jet = _with_flux(make_blobs(along, meander + 0.6 * width * rng.normal(size=n), flux, 0.4 * width), 1.0)
    where = rng.uniform(0.5, 0.95)
    patch = make_blobs(rng.normal(where, 0.1, size=15), rng.normal(rng.normal(0, 0.1), 0.09, size=15), 1.0, 0.06)
    return np.concatenate([jet, _with_flux(patch, rng.uniform(0.02, 0.5))])


def _lobe(rng: np.random.Generator) -> FloatArray:
    """Make an FRII arm: a hotspot at the end, the lobe that flows back from it, perhaps a second hotspot and a jet."""
    n = 60
    backflow = rng.uniform(0.25, 0.95)
    age = rng.beta(1.0, rng.uniform(1.2, 2.5), size=n)  # 0 at the hotspot, 1 at the oldest plasma
    width = rng.uniform(0.06, 0.18) * np.sqrt(0.15 + age)
    lobe = make_blobs(0.97 - backflow * age, width * rng.normal(size=n), rng.exponential(size=n), 0.02 + 0.45 * width)
    hotspot = make_blobs(rng.uniform(0.9, 1.0), rng.normal(0, 0.03), 1.0, rng.uniform(0.01, 0.05))
    parts = [_with_flux(lobe, 1.0), _with_flux(hotspot, rng.lognormal(math.log(0.3), 0.6))]
    if rng.random() < 0.4:
        second = make_blobs(rng.uniform(0.75, 0.95), rng.normal(0, 0.08), 1.0, rng.uniform(0.02, 0.05))
        parts.append(_with_flux(second, rng.uniform(0.05, 0.25)))
    if rng.random() < 0.4:
        knots = np.linspace(0.05, 0.9, 25)
        jet = make_blobs(knots, 0.0, _lognormal_walk(rng, knots.size, 0.6, 3), 0.012)
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
    return make_blobs(
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
        sides.append(make_blobs(0.0, 0.0, core * sum(fluxes), 0.005))
    return np.concatenate(sides)


def _compact(rng: np.random.Generator) -> FloatArray:
    along = np.linspace(-0.5, 0.5, 5)
    return make_blobs(along, 0.0, rng.uniform(0.2, 1.0, size=5), 0.25)


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
    shell = make_blobs(radius * np.cos(angle), radius * np.sin(angle), lopsided * knots, rng.uniform(0.06, 0.14))
    inside = 0.8 * np.sqrt(rng.random(30))
    spin = rng.uniform(0, 2 * np.pi, size=30)
    fill = make_blobs(inside * np.cos(spin), inside * np.sin(spin), rng.exponential(size=30), 0.2)
    parts = [_with_flux(shell, 1.0), _with_flux(fill, rng.uniform(0.1, 0.4))]
    if rng.random() < 0.4:
        parts.append(make_blobs(0.0, 0.0, rng.uniform(0.01, 0.06), 0.01))
    return np.concatenate(parts) * [1, rng.uniform(0.65, 1.0), 1, 1]


def _diffuse(rng: np.random.Generator) -> FloatArray:
    """Make a relic-like cloud: smooth, irregular, with a few brighter patches and no edge, core or hotspot."""
    n = 60
    patches = int(rng.integers(3, 7))
    centres = rng.normal(0, 0.4, size=(patches, 2))
    spread = rng.uniform(0.15, 0.45, size=patches)
    member = rng.integers(patches, size=n)
    x, y = (centres[member] + spread[member, None] * rng.normal(size=(n, 2))).T
    return make_blobs(x, y * rng.uniform(0.35, 1.0), rng.exponential(size=n), rng.uniform(0.12, 0.3, size=n))


MORPHOLOGIES: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "compact": _compact,
    "FRI": _fri,
    "FRII": _frii,
    "bent": _bent,
    "hybrid": _hybrid,
    "ring": _ring,
    "diffuse": _diffuse,
}


def oriented(blobs: FloatArray, length: float, pa_deg: float) -> FloatArray:
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
