"""From a result to the sky: links to public image services and databases, and DS9 region files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import ArrayLike

from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, atomic_file

#: What would end a label or its line in a region file.
_UNSAFE = re.compile(r"[{}\x00-\x1f\x7f]+")


def write_regions(
    ra_deg: ArrayLike, dec_deg: ArrayLike, labels: Sequence[str], path: PathLike, radius_arcsec: ArrayLike = 15.0
) -> int:
    """Write circles on the sky (ICRS) as a DS9 region file, atomically; return how many there are.

    What has no position is left out; braces and control characters in labels are replaced by spaces. There is one
    radius for all, or one for each.
    """
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from regions import CircleSkyRegion, RegionMeta, RegionVisual

    ra, dec = np.asarray(ra_deg, dtype=float), np.asarray(dec_deg, dtype=float)
    if ra.shape != dec.shape or ra.shape != (len(labels),):
        raise RadiosslError(f"{path}: {ra.size} and {dec.size} coordinates with {len(labels)} labels: must match")
    radii = np.broadcast_to(np.asarray(radius_arcsec, dtype=float), ra.shape)
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if not (radii[known] > 0).all():
        raise RadiosslError(f"{path}: the radius of a region must be above zero arcsec")
    circles = [
        CircleSkyRegion(
            SkyCoord(ra[row], dec[row], unit="deg"),
            radii[row] * u.arcsec,
            meta=RegionMeta({"text": _UNSAFE.sub(" ", labels[row]).strip()}),
            visual=RegionVisual({"color": "green"}),
        )
        for row in known.tolist()
    ]
    return _write(circles, path)


def write_outline_regions(
    outlines: Sequence[Sequence[ArrayLike]], labels: Sequence[str], colours: Sequence[str], path: PathLike
) -> int:
    """Write polygons on the sky as a DS9 region file, atomically; return how many there are.

    Each object has closed lines of ICRS positions in degrees, shape (n, 2), of which the first bears the label. A line
    that leaves the projection (NaN) is left out.
    """
    from astropy.coordinates import SkyCoord
    from regions import PolygonSkyRegion, RegionMeta, RegionVisual

    polygons = []
    for lines, label, colour in zip(outlines, labels, colours, strict=True):
        for number, line in enumerate(lines):
            corners = np.asarray(line, dtype=float)
            if not np.isfinite(corners).all():
                continue
            meta = RegionMeta({"text": _UNSAFE.sub(" ", label).strip()} if number == 0 else {})
            vertices = SkyCoord(corners[:, 0], corners[:, 1], unit="deg")
            polygons.append(PolygonSkyRegion(vertices, meta=meta, visual=RegionVisual({"color": colour})))
    return _write(polygons, path)


def _write(regions: list[Any], path: PathLike) -> int:
    from regions import Regions

    with atomic_file(path) as temporary:
        Regions(regions).write(temporary, format="ds9", overwrite=True)
    return len(regions)


#: Field of view, in cutout sizes; and its limits, between which the services show something.
_FIELD = 1.5
_LEAST_ARCSEC, _MOST_ARCSEC = 30.0, 3600.0
_PIXELS = 400
_MATCH_ARCMIN = 1.0

#: HiPS of radio and optical surveys by name: identifier at the CDS, southern and northern limit in degrees.
_HIPS = {
    "NVSS": ("CDS/P/NVSS", -40.0, 90.0),
    "RACS": ("CSIRO/P/RACS/low/I", -90.0, 41.0),
    "Pan-STARRS": ("CDS/P/PanSTARRS/DR1/color-i-r-g", -30.0, 90.0),
}
#: FIRST is not published as HiPS; SkyView has it.
_FIRST = ("VLA FIRST (1.4 GHz)", -10.0, 64.0)
#: Southern and northern limit of data release 10 of the Legacy Surveys.
_LEGACY = (-89.0, 84.0)


def sky_links(ra_deg: float, dec_deg: float, size_arcsec: float = 300.0) -> dict[str, str]:
    """Return addresses of pages and pictures of a place on the sky (ICRS), by name of the service or survey.

    Aladin Lite, pictures of NVSS and RACS (radio) and Pan-STARRS (optical) by hips2fits of the CDS, FIRST by SkyView,
    the Legacy Surveys' viewer, NED and SIMBAD; without the surveys that do not reach this declination. The pictures
    show half as much again as the side of the cutout.
    """
    if not (math.isfinite(ra_deg) and math.isfinite(dec_deg) and abs(dec_deg) <= 90):
        raise RadiosslError(f"right ascension {ra_deg}, declination {dec_deg}: not a position in degrees")
    ra_deg %= 360.0
    size = size_arcsec if math.isfinite(size_arcsec) else _LEAST_ARCSEC
    field = min(max(_FIELD * size, _LEAST_ARCSEC), _MOST_ARCSEC) / 3600
    ra, dec, position = f"{ra_deg:.6f}", f"{dec_deg:.6f}", f"{ra_deg:.6f} {dec_deg:+.6f}"
    links = {"Aladin": _address("https://aladin.cds.unistra.fr/AladinLite/", target=position, fov=f"{field:.4f}")}
    for name, (identifier, south, north) in _HIPS.items():
        if south <= dec_deg <= north:
            where = {"hips": identifier, "ra": ra, "dec": dec, "fov": f"{field:.4f}", "width": f"{_PIXELS}"}
            where |= {"height": f"{_PIXELS}", "projection": "TAN", "format": "jpg"}
            links[name] = _address("https://alasky.cds.unistra.fr/hips-image-services/hips2fits", **where)
    survey, south, north = _FIRST
    if south <= dec_deg <= north:
        where = {"Position": f"{ra},{dec}", "Survey": survey, "Size": f"{field:.4f}", "Return": "JPG"}
        links["FIRST"] = _address("https://skyview.gsfc.nasa.gov/current/cgi/runquery.pl", **where)
    if _LEGACY[0] <= dec_deg <= _LEGACY[1]:
        zoom = round(math.log2(360 * 2 / field))  # the viewer's tiles halve with every step
        links["Legacy Surveys"] = _address(
            "https://www.legacysurvey.org/viewer", ra=ra, dec=dec, layer="ls-dr10", zoom=zoom, mark=f"{ra},{dec}"
        )
    near = {"search_type": "Near Position Search", "in_csys": "Equatorial", "in_equinox": "J2000"}
    near |= {"ra": f"{ra}d", "dec": f"{dec}d", "radius": str(_MATCH_ARCMIN)}
    links["NED"] = _address("https://ned.ipac.caltech.edu/conesearch", **near)
    near = {"Coord": position, "CooFrame": "ICRS", "Radius": str(_MATCH_ARCMIN), "Radius.unit": "arcmin"}
    links["SIMBAD"] = _address("https://simbad.cds.unistra.fr/simbad/sim-coo", **near)
    return links


def _address(service: str, **parameters: Any) -> str:
    return f"{service}?{urlencode(parameters)}"


def link_rows(rows: Sequence[Mapping[Any, Any]], sizes_arcsec: Sequence[float]) -> list[dict[str, str]]:
    """Return the links of each row of a table by its ``ra_deg`` and ``dec_deg``, none where these are unknown."""
    places = [tuple(np.nan if row.get(n) is None else float(row[n]) for n in ("ra_deg", "dec_deg")) for row in rows]
    each = zip(places, sizes_arcsec, strict=True)
    return [sky_links(ra, dec, size) if math.isfinite(ra + dec) else {} for (ra, dec), size in each]
