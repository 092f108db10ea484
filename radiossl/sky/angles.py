"""Angles: reading them from text, and between positions on the sky."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError

_ARCSEC_PER = {"": 1.0, "arcsec": 1.0, '"': 1.0, "arcmin": 60.0, "'": 60.0, "deg": 3600.0}
_ANGLE = re.compile(r"\s*(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)\s*([a-z\"']*)\s*", re.IGNORECASE)


def parse_arcsec(text: str, option: str = "--radius") -> float:
    """Read an angle such as ``60arcsec``, ``1arcmin``, ``0.5deg`` or ``20`` (arcsec), or name `option` in the error."""
    match = _ANGLE.fullmatch(text)
    if match is None or match[2].lower() not in _ARCSEC_PER:
        raise RadiosslError(f"{option} {text}: expected an angle such as 60arcsec, 1arcmin or 0.5deg")
    return float(match[1]) * _ARCSEC_PER[match[2].lower()]


def check_declinations(dec_deg: NDArray[np.floating], where: object = "") -> None:
    """Raise `RadiosslError`, which begins with the file or catalogue, if a declination is beyond 90 degrees."""
    if np.any(wrong := np.abs(dec_deg) > 90 + 1e-9):
        found = float(np.asarray(dec_deg)[wrong].flat[0])
        start = f"{where}: " if where else ""
        raise RadiosslError(f"{start}a declination of {found:g} degrees: is it exchanged with the right ascension?")


def unit_vectors(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positions as vectors of length 1, shape (n, 3); raise `RadiosslError` if a declination is beyond 90."""
    check_declinations(dec_deg)
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def angles_arcsec(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angles between unit vectors, both of shape (n, 3); NaN where one is."""
    # The half angle from chord and sum is exact for the smallest angles and for opposite points alike.
    half = np.arctan2(np.linalg.norm(first - second, axis=1), np.linalg.norm(first + second, axis=1))
    return np.degrees(2 * half) * 3600


def readable_angle(arcsec: float) -> str:
    """Return an angle in the unit in which a person says it: arcsec, arcmin or degrees.

    >>> readable_angle(12.34), readable_angle(300.0), readable_angle(462415.0)
    ('12.3 arcsec', '5.0 arcmin', '128.4 deg')
    """
    if not math.isfinite(arcsec):
        return ""
    if arcsec < 60:
        return f"{arcsec:.1f} arcsec"
    return f"{arcsec / 60:.1f} arcmin" if arcsec < 3600 else f"{arcsec / 3600:.1f} deg"
