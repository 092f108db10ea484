"""Positions of objects by name, from Sesame, the name resolver of the CDS (SIMBAD, NED and VizieR)."""

from __future__ import annotations

import os

from radiossl.io.errors import RadiosslError

#: Seconds to wait for an answer, for each of the two servers that astropy asks.
_PATIENCE = 8


def resolve_name(name: str) -> tuple[float, float]:
    """Return the ICRS position in degrees of an object such as ``M87``; no request is made if RADIOSSL_OFFLINE is set.

    Raises `RadiosslError` if there is no network, or no object of that name.
    """
    from astropy.coordinates import SkyCoord
    from astropy.coordinates.name_resolve import NameResolveError
    from astropy.utils.data import conf

    if os.environ.get("RADIOSSL_OFFLINE"):
        raise RadiosslError("RADIOSSL_OFFLINE forbids looking up its name")
    try:
        with conf.set_temp("remote_timeout", _PATIENCE):
            found = SkyCoord.from_name(name)
    except NameResolveError as error:
        unknown = "Unable to find" in str(error)
        reason = "Sesame knows no object of that name" if unknown else "its name cannot be looked up without a network"
        raise RadiosslError(reason) from None
    return float(found.ra.deg), float(found.dec.deg)
