"""DS9 region files: positions as labelled circles, or outlines, to be laid over a survey's mosaics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

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
