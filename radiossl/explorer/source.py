"""What is known of one source: its position, links to other surveys, columns, and who rated it."""

from __future__ import annotations

import math
from typing import Any

from radiossl.explorer.columns import CATALOGUE, CUTOUT, group_of
from radiossl.explorer.session import Session
from radiossl.features.table import seen_field_px
from radiossl.report.html import format_value
from radiossl.report.sky_links import sky_links


def describe_source(session: Session, row: int) -> dict[str, Any]:
    """Return what the page says of a source.

    ``row``, ``id``, ``position`` in words, ``links`` (name to address), ``values`` of the catalogue and ``own`` ones of
    the cutout (name and text), ``rated`` (who, rating and when, in words) and ``frame``: how many arcsec the longer
    side of the picture has, and the beam (axes in arcsec, position angle in degrees), if known.
    """
    name, known = session.cutout_id(row), session.details(row)
    texts: dict[str, list[tuple[str, str]]] = {CUTOUT: [], CATALOGUE: []}
    for column, value in known.items():
        if value is not None:
            texts[group_of(column)].append((column, format_value(value, column)))
    ra, dec = (math.nan if known.get(column) is None else float(known[column]) for column in ("ra_deg", "dec_deg"))
    position, links = "position unknown", {}
    if math.isfinite(ra) and math.isfinite(dec):
        from astropy.coordinates import SkyCoord

        sexagesimal = SkyCoord(ra, dec, unit="deg").to_string("hmsdms", sep=":", precision=1)
        position = f"{sexagesimal}   ({ra:.5f} {dec:+.5f})"
        links = sky_links(ra, dec, _frame(known).get("arcsec", math.nan))
    given = session.ratings.history(name).to_dict("records")
    return {
        "row": row,
        "id": name,
        "position": position,
        "links": links,
        "own": texts[CUTOUT],
        "values": texts[CATALOGUE],
        "frame": _frame(known, seen_field_px(session.metadata)),
        "rated": ", ".join(f"{one['who'] or 'somebody'} {one['rating']} ({one['when'][:16]})" for one in given),
    }


def _frame(known: dict[str, Any], field_px: int | None = None) -> dict[str, Any]:
    """How large a picture is on the sky, and its beam; see `describe_source`."""
    scale, side = (known.get("pixel_scale_arcsec") or 0.0, max(known.get("height") or 0, known.get("width") or 0))
    arcsec = scale * (min(side, field_px) if field_px else side)
    if not 0 < arcsec < math.inf:
        return {}
    beam = [known.get(f"beam_{name}") or 0.0 for name in ("major_arcsec", "minor_arcsec", "pa_deg")]
    return {"arcsec": arcsec} | ({"beam": beam} if all(map(math.isfinite, beam)) and min(beam[:2]) > 0 else {})
