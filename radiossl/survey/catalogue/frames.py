"""Frames of catalogued positions, and their conversion to ICRS."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.tables import TableContent, frame_of_equinox
from radiossl.survey.catalogue.columns import plain

_FRAME = re.compile(r"(?:eq_)?([a-z0-9_]*?)[\s:,(]*(?:([bj])?(\d{4}(?:\.\d*)?))?\)?", re.IGNORECASE)
_NAMES = {
    **{"gal": "galactic", "galactic_ii": "galactic", "icrf": "icrs", "equatorial": "icrs"},
    **{"eq": "fk5", "gappt": "fk5"},
}
_EXPECTED = "expected icrs, fk5, fk4 or galactic, with an equinox such as B1950 where it is not the usual one"


def frame_of(content: TableContent, columns: tuple[str, str]) -> str:
    """Return the frame of a position: the one that its columns' names or else the file give, or ICRS."""
    names = [plain(name) for name in columns]
    if any("1950" in name or "fk4" in name for name in names):
        return "fk4 B1950"
    if any(name.startswith("gl") or name in ("l", "b", "ldeg", "bdeg") or "gal" in name for name in names):
        return "galactic"
    if any("icrs" in name for name in names):
        return "icrs"
    if any("2000" in name for name in names):
        return "fk5 J2000"
    return content.frames.get(columns[0]) or content.frames.get("") or "icrs"


def to_icrs(
    lon_deg: NDArray[np.float64], lat_deg: NDArray[np.float64], frame: str, where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convert positions in degrees, shape (n,), NaN where unknown, to ICRS.

    The frame is ``icrs``, ``fk5``, ``fk4 B1950``, ``B1950``, ``galactic`` and the like. FK5 of J2000 is taken for ICRS,
    from which it differs by less than 0.1 arcsec. Raises `RadiosslError`, which begins with `where`, if it is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> ra, dec = to_icrs(np.array([187.0]), np.array([12.0]), "fk4 B1950", "example")
    >>> f"{ra[0]:.4f} {dec[0]:.4f}"
    '187.6332 11.7239'
    """
    name, equinox = _parsed(frame, where)
    if name == "icrs" or (name, equinox) == ("fk5", "J2000"):
        return np.mod(lon_deg, 360.0), lat_deg
    from astropy.coordinates import SkyCoord

    known = np.isfinite(lon_deg) & np.isfinite(lat_deg)
    options = {"equinox": equinox} if equinox else {}
    try:
        found = SkyCoord(lon_deg[known], lat_deg[known], unit="deg", frame=name, **options).icrs
    except (ValueError, TypeError):
        raise RadiosslError(f"{where}: the frame {frame!r} is not known; {_EXPECTED}") from None
    ra, dec = np.full_like(lon_deg, np.nan), np.full_like(lat_deg, np.nan)
    ra[known], dec[known] = found.ra.deg, found.dec.deg
    return ra, dec


def _parsed(frame: str, where: str) -> tuple[str, str]:
    """Return the name of a frame as astropy has it, and its equinox, "" where it has none."""
    match = _FRAME.fullmatch(frame.strip())
    if match is None:
        raise RadiosslError(f"{where}: the frame {frame!r} is not known; {_EXPECTED}")
    name, letter, year = match[1].lower().strip("_"), (match[2] or "").upper(), match[3]
    name = _NAMES.get(name, name) or frame_of_equinox(float(year or 2000), letter)[:3]
    if name not in ("fk4", "fk5"):
        return name, ""
    usual = ("B", "1950") if name == "fk4" else ("J", "2000")
    return name, f"{letter or usual[0]}{float(year or usual[1]):g}"
