"""What the header of a mosaic says: its coordinates, mended where writers got them wrong, its beam and its unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.sky.angles import unit_vectors
from radiossl.store.cutout import Beam

if TYPE_CHECKING:
    from astropy.coordinates import BaseCoordinateFrame
    from astropy.io.fits import Header
    from astropy.wcs import WCS

_CELESTIAL = re.compile(r"(RA--|DEC-|.LON|.LAT|..LN|..LT)")
_WCS_KEYWORD = re.compile(
    r"WCSAXES|(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)\d+|(PC|CD|PV|PS)\d+_\d+|PC\d{6}|LONPOLE|LATPOLE|RADESYS|RADECSYS|"
    r"EQUINOX|EPOCH|(A|B|AP|BP)_(ORDER|\d+_\d+)"
)
_CLEAN_BEAM = re.compile(r"BMAJ=\s*(\S+)\s+BMIN=\s*(\S+)(?:\s+BPA=\s*(\S+))?")
_PER = r"(?P<{}>beam|bm|pixel|px|pix|sr)"
_UNIT = re.compile(
    rf"(?:{_PER.format('first')}\s*(?:\^|\*\*)?\(?-1\)?[\s.*]+)?(?P<prefix>[munµ]?)jy"
    rf"\s*(?:/\s*{_PER.format('per')}|[\s.*]*{_PER.format('inverse')}\s*(?:\^|\*\*)?\(?-1\)?)?",
    re.I,
)
_DEGREES = re.compile(r"d(eg(ree)?s?)?\.?", re.I)
#: Systems and equinoxes as some writers spell them.
_SYSTEMS = {"J2000": "FK5", "B1950": "FK4", "ICRF": "ICRS"}
_EQUINOX = re.compile(r"\s*[BJ]?\s*(\d{4}(?:\.\d*)?)\s*", re.I)


def celestial_axes(header: Header, axes: int) -> list[int]:
    """Return which of an image's first `axes` axes, counted from 1, are longitude and latitude."""
    return [axis for axis in range(1, axes + 1) if _CELESTIAL.match(str(header.get(f"CTYPE{axis}", "")).upper())]


def celestial_wcs(path: Path, header: Header) -> WCS:
    """Return the celestial coordinates of a header, as `astropy.wcs.WCS` would read it were it written properly.

    Raises `RadiosslError` if they cannot be understood.
    """
    from astropy.io.fits import Header, VerifyError
    from astropy.wcs import WCS, WCSSUB_CELESTIAL, WcsError

    # Only the cards that matter: the others cost most of the time, and some of them trouble wcslib.
    relevant = Header([card for card in header.cards if _WCS_KEYWORD.fullmatch(card.keyword)])
    try:
        _mend(relevant)
        try:
            wcs = WCS(relevant, naxis=[WCSSUB_CELESTIAL])
        except WcsError:  # taking axes out comes before units such as DEGREE are mended
            wcs = WCS(relevant).sub([WCSSUB_CELESTIAL])
        wcs.wcs.set()
    except (WcsError, VerifyError, ValueError, KeyError, MemoryError) as error:
        reason = str(error).strip().splitlines()[-1:]  # wcslib begins with places in its own source
        raise RadiosslError(f"{path}: its celestial coordinates cannot be understood ({' '.join(reason)})") from None
    if not wcs.has_celestial:
        raise RadiosslError(f"{path}: the image has no celestial coordinates (CTYPE1 such as RA---SIN)")
    return wcs


def _mend(header: Header) -> None:
    """Spell what a header says about its coordinates as the FITS standard does, in place."""
    for keyword in header:
        value = header[keyword]
        if not isinstance(value, str):
            continue
        if keyword.startswith("CTYPE"):
            value = value.upper().strip()
            if value.endswith("-TAB"):  # the axis is in a table; of a single plane it does not matter
                if _CELESTIAL.match(value):
                    raise ValueError("they are in a look-up table, -TAB; regrid the image")
                value = "LINEAR"
            # astropy applies the distortion either way, but complains at length about a name that hides it.
            header[keyword] = f"{value}-SIP" if "A_ORDER" in header and value.endswith("-TAN") else value
        elif keyword.startswith("CUNIT") and _DEGREES.fullmatch(value.strip()):
            header[keyword] = "deg"
        elif keyword in ("RADESYS", "RADECSYS"):
            header[keyword] = _SYSTEMS.get(value.strip().upper(), value.strip().upper())
        elif keyword in ("EQUINOX", "EPOCH") and (match := _EQUINOX.fullmatch(value)):
            header[keyword] = float(match[1])
    for keyword in ("EQUINOX", "EPOCH"):
        if header.get(keyword) == 0:  # written where it is not known
            del header[keyword]


def celestial_frame(path: Path, wcs: WCS) -> BaseCoordinateFrame:
    """Return the frame of celestial coordinates; raise `RadiosslError` if it is none of the sky.

    astropy takes ecliptic longitudes (ELON) and others for right ascensions, where the system is ICRS or FK5.
    """
    from astropy.coordinates import BarycentricMeanEcliptic, Supergalactic
    from astropy.wcs.utils import wcs_to_celestial_frame

    kind = wcs.wcs.lngtyp.strip()
    if kind == "ELON":
        return BarycentricMeanEcliptic(equinox=f"J{wcs.wcs.equinox}" if wcs.wcs.equinox > 0 else "J2000")
    if kind == "SLON":
        return Supergalactic()
    if kind in ("RA", "GLON"):
        with suppress(ValueError):
            return wcs_to_celestial_frame(wcs)
    system = f" of system {wcs.wcs.radesys}" if wcs.wcs.radesys else ""
    known = "right ascensions (ICRS, FK5, FK4), galactic, supergalactic and ecliptic longitudes are"
    raise RadiosslError(f"{path}: its coordinate frame is not known ({kind}{system}); {known}")


def convert_frame(
    lon: NDArray[np.float64], lat: NDArray[np.float64], frame: BaseCoordinateFrame, *, to_icrs: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convert positions in degrees, shape (n,), between a frame and ICRS."""
    from astropy.coordinates import ICRS, SkyCoord

    if frame.name == "icrs":
        return np.mod(lon, 360), lat
    if frame.name in ("fk5", "galactic"):
        equinox = float(frame.equinox.jyear) if frame.name == "fk5" else None
        rotation = _rotation_to_icrs(frame.name, equinox)
        vectors = unit_vectors(lon, lat) @ (rotation if to_icrs else rotation.T)
        x, y, z = vectors.T
        return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))
    source, target = (frame, ICRS()) if to_icrs else (ICRS(), frame)
    found = SkyCoord(lon, lat, unit="deg", frame=source).transform_to(target).spherical
    return found.lon.deg, found.lat.deg


@cache
def _rotation_to_icrs(name: str, equinox: float | None) -> NDArray[np.float64]:
    """Return the matrix that turns row vectors of a frame into ICRS, from what astropy does with the axes.

    These frames are rotations of ICRS. With thousands of small mosaics, astropy's several milliseconds per call would
    take longer than everything else.
    """
    from astropy.coordinates import CartesianRepresentation, SkyCoord

    axes = CartesianRepresentation(*np.eye(3))
    frame = {"frame": name} if equinox is None else {"frame": name, "equinox": f"J{equinox}"}
    return SkyCoord(axes, **frame).icrs.cartesian.xyz.value.T


def header_beam(header: Header) -> Beam | None:
    """Return the beam of the header; AIPS writes it into its history instead, once per CLEAN."""
    numbers: Sequence[Any] | None = [header.get(key) for key in ("BMAJ", "BMIN", "BPA")]
    if header.get("BMAJ") is None and "HISTORY" in header:
        cleans = [match.groups() for line in header["HISTORY"] if (match := _CLEAN_BEAM.search(line))]
        numbers = cleans[-1] if cleans else None
    try:
        major, minor, pa = (float(number or 0.0) for number in numbers or ())
        return Beam(major * 3600, minor * 3600, pa)
    except (TypeError, ValueError):  # a beam of zero or text: the header does not know it
        return None


def table_beam(path: Path, header: Header) -> Beam | None:
    """Return the beam of the first plane from the table BEAMS that CASA writes beside images of several beams.

    The header says by CASAMBM that there is one; its units are those of the columns, arcsec and degrees as a rule.
    """
    from astropy import units
    from astropy.io import fits
    from astropy.table import QTable

    if not header.get("CASAMBM", False):
        return None
    try:
        with fits.open(path) as parts:
            rows = QTable.read(parts["BEAMS"])
        if {"CHAN", "POL"} <= set(rows.colnames):
            rows.sort(["CHAN", "POL"])
        major, minor = (units.Quantity(rows[name][0], units.arcsec).value for name in ("BMAJ", "BMIN"))
        return Beam(float(major), float(minor), float(units.Quantity(rows["BPA"][0], units.deg).value))
    except (KeyError, IndexError, ValueError, TypeError):  # no table, an empty one, a beam of zero
        return None


#: Stokes parameters and correlations by their numbers (FITS standard 4.0, table 29).
_STOKES = dict(
    zip(
        (1, 2, 3, 4, -1, -2, -3, -4, -5, -6, -7, -8),
        ["I", "Q", "U", "V", "RR", "LL", "RL", "LR", "XX", "YY", "XY", "YX"],
        strict=True,
    )
)


def header_stokes(header: Header, axes: int) -> str:
    """Return which Stokes parameter or correlation the first plane of an image shows, "" if its header is silent."""
    for axis in range(1, axes + 1):
        if str(header.get(f"CTYPE{axis}", "")).strip().upper() == "STOKES":
            value, pixel, step = (header.get(f"{key}{axis}", 1.0) for key in ("CRVAL", "CRPIX", "CDELT"))
            with suppress(TypeError, ValueError, OverflowError):  # texts, infinity
                return _STOKES.get(round(value + (1 - pixel) * step), "")
    return ""


def normalise_unit(unit: str) -> str:
    """Return a brightness unit in its usual spelling: ``JY/BEAM`` and ``Jy beam-1`` are both ``Jy/beam``.

    Anything that is not in jansky is left as it is. ``MJY`` in capitals is taken for millijansky.
    """
    unit = unit.strip()
    match = _UNIT.fullmatch(unit)
    if match is None or unit.startswith("MJy"):  # megajansky, properly spelt
        return unit
    per = (match["first"] or match["per"] or match["inverse"] or "").lower()
    per = {"px": "pixel", "pix": "pixel", "bm": "beam"}.get(per, per)
    prefix = match["prefix"].lower().replace("µ", "u")
    return f"{prefix}Jy/{per}" if per else f"{prefix}Jy"
