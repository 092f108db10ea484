"""Region files of DS9, CASA and CARTA as tables: one row for each region, its centre, largest size and text."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from radiossl.io.errors import RadiosslError
from radiossl.io.values import decoded

#: Before a text, so that it is not read as a number: 007 is a name.
_GUARD = "~"
_TEXT = re.compile(r"(\b(?:text|label)\s*=\s*[{\"'])")


def read_region_table(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the regions on the sky, with ICRS positions in degrees, and what to know about the reading.

    The size is a circle's diameter, the longer side or axis, the largest distance between corners; missing for points.
    Raises `RadiosslError` if regions are in pixels.
    """
    from regions import Regions, SkyRegion

    content = path.read_bytes()
    text = decoded(gzip.decompress(content) if path.suffix.lower() == ".gz" else content)
    kind = "crtf" if ".crtf" in path.name.lower() else "ds9"
    found = Regions.parse(_TEXT.sub(rf"\1{_GUARD}", text), format=kind).regions
    if not all(isinstance(region, SkyRegion) for region in found):
        raise RadiosslError(f"{path}: its regions are in pixels of an image; save them in sky coordinates (fk5, icrs)")
    kept = [region for region in found if region.meta.get("include", True) not in (0, False, "-")]
    rows = [_row(region) for region in kept]
    kinds = {"name": pa.string(), "ra": pa.float64(), "dec": pa.float64(), "extent": pa.float64(), "shape": pa.string()}
    table = pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()})
    if table["name"].null_count == len(rows):
        table = table.drop_columns(["name"])
    return table, (f"{len(found) - len(kept)} excluded regions were left out",) if len(kept) < len(found) else ()


def _row(region: Any) -> dict[str, Any]:
    from astropy.coordinates import UnitSphericalRepresentation, concatenate

    corners = concatenate([region.start, region.end]) if hasattr(region, "start") else getattr(region, "vertices", None)
    if corners is None:
        centre = _icrs(region.center).spherical
        twice = [2 * getattr(region, name) for name in ("radius", "outer_radius") if hasattr(region, name)]
        sides = ("width", "height", "outer_width", "outer_height")
        sizes = [size.to_value("arcsec") for size in twice + [getattr(region, s) for s in sides if hasattr(region, s)]]
    else:
        centre = _icrs(corners).cartesian.mean().represent_as(UnitSphericalRepresentation)
        sizes = [corner.separation(corners).arcsec.max() for corner in corners]
    text = region.meta.get("text") or region.meta.get("label") or getattr(region, "text", None)
    return {
        "name": str(text).removeprefix(_GUARD).strip() or None if text else None,
        "ra": float(centre.lon.deg),
        "dec": float(centre.lat.deg),
        "extent": max(map(float, sizes), default=None),
        "shape": type(region).__name__.removesuffix("SkyRegion").lower(),
    }


def _icrs(position: Any) -> Any:
    """FK5 of J2000 is taken for ICRS, as in every catalogue."""
    frame = position.frame
    return position if frame.name == "fk5" and frame.equinox.jyear == 2000 else position.icrs
