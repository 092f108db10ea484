"""What is known of one source: its position, links to other surveys, columns, and who rated it."""

from __future__ import annotations

import math
from typing import Any

from radiossl.explorer.session import Session
from radiossl.report.html import format_value
from radiossl.report.sky_links import sky_links
from radiossl.store.schema import BASE_SCHEMA


def describe_source(session: Session, row: int) -> dict[str, Any]:
    """Return what the page says of a source.

    Parameters
    ----------
    session : Session
        Whose sources.
    row : int
        Of the source.

    Returns
    -------
    dict
        ``row``, ``id``, ``position`` in words, ``links`` (name to address), ``values`` (name and text, what a catalogue
        says before what was measured when the cutout was made) and ``rated`` (who, rating and when, in words).
    """
    name, known = session.cutout_id(row), session.details(row)
    names = sorted(known, key=lambda name: name in BASE_SCHEMA.names)
    given = session.ratings.history(name).to_dict("records")
    ra, dec = (math.nan if known.get(name) is None else float(known[name]) for name in ("ra_deg", "dec_deg"))
    return {
        "row": row,
        "id": name,
        "position": _position(ra, dec),
        "links": _links(known, ra, dec),
        "values": [(name, format_value(known[name], name)) for name in names if known[name] is not None],
        "rated": ", ".join(f"{one['who'] or 'somebody'} {one['rating']} ({one['when'][:16]})" for one in given),
    }


def _position(ra: float, dec: float) -> str:
    """Where a source is, in hours and degrees and in degrees alone."""
    if not (math.isfinite(ra) and math.isfinite(dec)):
        return "position unknown"
    from astropy.coordinates import SkyCoord

    text = SkyCoord(ra, dec, unit="deg").to_string("hmsdms", sep=":", precision=1)
    return f"{text}   ({ra:.5f} {dec:+.5f})"


def _links(known: dict[str, Any], ra: float, dec: float) -> dict[str, str]:
    """Other surveys' pictures of the same place, and databases."""
    if not (math.isfinite(ra) and math.isfinite(dec) and abs(dec) <= 90):
        return {}
    scale = known.get("pixel_scale_arcsec")
    size = math.nan if scale is None else float(scale) * max(known.get("height") or 0, known.get("width") or 0)
    return sky_links(ra, dec, size or math.nan)
