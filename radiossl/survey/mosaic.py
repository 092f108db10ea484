"""A mosaic: one FITS image of the sky, read piece by piece however large it is.

Pixel convention: 0-based, integers at pixel centres, x along FITS axis 1, row 0 first in the file.
"""

from __future__ import annotations

import glob
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file
from radiossl.io.progress import track
from radiossl.sky.angles import unit_vectors
from radiossl.store.cutout import Beam
from radiossl.survey.fits_image import (
    BAND_BYTES,
    Bands,
    Box,
    FitsImage,
    Pixels,
    damage_named,
    find_image,
    pixels_of,
    silence,
)

if TYPE_CHECKING:
    from astropy.coordinates import BaseCoordinateFrame
    from astropy.io.fits import Header
    from astropy.wcs import WCS

_FITS_NAME = re.compile(r"\.(fits|fit|fts)(\.gz|\.fz)?$", re.IGNORECASE)
_CELESTIAL = re.compile(r"(RA--|DEC-|.LON|.LAT|..LN|..LT)")
_WCS_KEYWORD = re.compile(
    r"WCSAXES|(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)\d+|(PC|CD|PV|PS)\d+_\d+|PC\d{6}|LONPOLE|LATPOLE|RADESYS|RADECSYS|"
    r"EQUINOX|EPOCH|(A|B|AP|BP)_(ORDER|\d+_\d+)"
)
_CLEAN_BEAM = re.compile(r"BMAJ=\s*(\S+)\s+BMIN=\s*(\S+)(?:\s+BPA=\s*(\S+))?")
_UNIT = re.compile(
    r"(?P<prefix>[munµ]?)jy\s*(?:/\s*(?P<per>beam|pixel|px|pix|sr)|(?P<inverse>beam|pixel|sr)\s*\^?-1)?", re.I
)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A FITS image with celestial coordinates. Made by `Mosaic.open`; pixels are read when asked for.

    Attributes
    ----------
    path
        The file.
    shape
        (height, width) in pixels.
    wcs
        Celestial coordinate system, two axes, as the header has it.
    unit
        Brightness unit in its usual spelling (JY/BEAM becomes Jy/beam), "" if the header has none.
    beam
        Restoring beam of the header, or of the last AIPS CLEAN card in its history.
    survey
        SURVEY or else TELESCOP of the header, "" if it has none.
    """

    path: Path
    shape: tuple[int, int]
    wcs: WCS
    unit: str
    beam: Beam | None
    survey: str
    _pixels: Pixels = field(repr=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Mosaic:
        """Read the header of the first image in a FITS file: plain, gzipped or tile-compressed.

        Raises
        ------
        RadiosslError
            If the file is missing, is not FITS or is cut short, or if it has no image, an image without celestial
            coordinates, or an image with more than one frequency or polarization.
        """
        path = existing_file(path)
        with damage_named(path), silence():
            return cls._of(path, find_image(path))

    @classmethod
    def _of(cls, path: Path, image: FitsImage) -> Mosaic:
        header = image.header
        celestial = [axis for axis in range(1, len(image.axes) + 1) if _is_celestial(header, axis)]
        if len(celestial) != 2:
            raise RadiosslError(
                f"{path}: the image has no celestial coordinates (CTYPE1, CTYPE2 such as RA---SIN, DEC--SIN)"
            )
        for axis, length in enumerate(image.axes, start=1):
            if axis not in celestial and length != 1:
                name = header.get(f"CTYPE{axis}", "unnamed")
                raise RadiosslError(
                    f"{path}: axis {axis} ({name}) has {length} planes, expected one; extract one first"
                )
        width, height = (image.axes[axis - 1] for axis in celestial)
        return cls(
            path=path,
            shape=(height, width),
            wcs=_celestial_wcs(path, header),
            unit=normalise_unit(str(header.get("BUNIT", ""))),
            beam=_beam(header),
            survey=str(header.get("SURVEY") or header.get("TELESCOP") or "").strip(),
            _pixels=pixels_of(path, image, (height, width), celestial),
        )

    def __enter__(self) -> Mosaic:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it is opened again if pixels are read after that."""
        self._pixels.close()

    @cached_property
    def pixel_scale_arcsec(self) -> float:
        """Side of a square pixel of the same area at the reference position, in arcsec."""
        return float(math.sqrt(abs(np.linalg.det(self.wcs.pixel_scale_matrix))) * 3600)

    @cached_property
    def _frame(self) -> BaseCoordinateFrame:
        from astropy.wcs.utils import wcs_to_celestial_frame

        try:
            return wcs_to_celestial_frame(self.wcs)
        except ValueError as error:
            raise RadiosslError(f"{self.path}: its coordinate frame is not known ({error})") from None

    def pixel_to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Convert pixel positions to right ascension and declination (ICRS, degrees); NaN off the projection."""
        xy = np.stack(np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float)), axis=-1)
        with silence():
            world = self.wcs.all_pix2world(xy.reshape(-1, 2), 0)
        lon, lat = _convert(world[:, self.wcs.wcs.lng], world[:, self.wcs.wcs.lat], self._frame, to_icrs=True)
        return lon.reshape(xy.shape[:-1]), lat.reshape(xy.shape[:-1])

    def sky_to_pixel(self, ra_deg: ArrayLike, dec_deg: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Convert ICRS positions in degrees to pixels; NaN where the projection does not reach.

        A position may lie outside the image: compare with `shape`.
        """
        lon, lat = np.broadcast_arrays(np.asarray(ra_deg, float), np.asarray(dec_deg, float))
        shape = lon.shape
        lon, lat = _convert(lon.ravel(), lat.ravel(), self._frame, to_icrs=False)
        world = np.empty((lon.size, 2))
        world[:, self.wcs.wcs.lng], world[:, self.wcs.wcs.lat] = lon, lat
        with silence():
            xy = self.wcs.all_world2pix(world, 0, quiet=True)
        return xy[:, 0].reshape(shape), xy[:, 1].reshape(shape)

    def read(self, x0: int, y0: int, width: int, height: int) -> NDArray[np.float32]:
        """Return the pixels of a rectangle, shape (height, width), NaN where blank and outside the mosaic.

        Raises
        ------
        RadiosslError
            If the rectangle is empty or the file turns out to be damaged.
        """
        return next(self.read_boxes([Box(x0, y0, width, height)]))

    def read_boxes(self, boxes: Sequence[Box]) -> Iterator[NDArray[np.float32]]:
        """Yield the pixels of many rectangles as `read` does.

        Rectangles in the order of `y0` let a compressed mosaic be decompressed only once, band by band.
        """
        bands = Bands(self._pixels, self.shape)
        for index, box in enumerate(boxes):
            if box.width < 1 or box.height < 1:
                raise RadiosslError(f"a cutout of {box.width} x {box.height} pixels: expected at least 1 x 1")
            y0, y1 = max(box.y0, 0), min(box.y0 + box.height, self.shape[0])
            x0, x1 = max(box.x0, 0), min(box.x0 + box.width, self.shape[1])
            shape = (box.height, box.width)
            if y0 < y1 and x0 < x1:
                with damage_named(self.path):
                    pixels = bands.read(y0, y1, x0, x1, islice(boxes, index + 1, None))
                if pixels.shape != shape:
                    inside, pixels = pixels, np.full(shape, np.nan, dtype=np.float32)
                    pixels[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0] = inside
            else:
                pixels = np.full(shape, np.nan, dtype=np.float32)
            yield np.where(np.isfinite(pixels), pixels, np.float32(np.nan))

    def bands(self) -> list[Box]:
        """Return rectangles over the whole width that cover the mosaic, each of about `BAND_BYTES`."""
        height, width = self.shape
        rows = max(1, BAND_BYTES // (4 * width))
        return [Box(0, y0, width, min(rows, height - y0)) for y0 in range(0, height, rows)]

    def is_blank(self) -> bool:
        """Tell whether the mosaic has no finite pixel at all; stops reading at the first one."""
        return not any(np.isfinite(pixels).any() for pixels in self.read_boxes(self.bands()))


# Finding mosaics ------------------------------------------------------------------------------------------------------


def find_mosaics(sources: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """List the FITS files among files, folders (all FITS in them, not deeper) and glob patterns, each once.

    Raises
    ------
    RadiosslError
        If one of them does not exist or holds no FITS file.
    """
    found = [path for source in sources for path in _expand(source)]
    if not found:
        raise RadiosslError("no mosaic was given")
    unique: dict[Path, Path] = {}
    for path in found:
        unique.setdefault(path.resolve(), path)
    return list(unique.values())


def _expand(source: str | os.PathLike[str]) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    candidates = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(source), recursive=True))  # noqa: PTH207
    found = sorted(item for item in candidates if item.is_file() and _FITS_NAME.search(item.name))
    if not found:
        if path.is_dir() or glob.has_magic(str(source)):
            raise RadiosslError(f"{source}: no FITS file there (.fits, .fits.gz, .fits.fz, .fit)")
        raise RadiosslError(f"{source}: no such file or folder")
    return found


def mosaic_labels(paths: Sequence[Path]) -> list[str]:
    """Return a name for every mosaic that no other has: its file name, with its folder where two share one.

    Raises
    ------
    RadiosslError
        If that does not tell them apart, as with ``a.fits`` and ``a.fits.gz`` in one folder.
    """
    bearers = Counter(mosaic_stem(path.name) for path in paths)
    labels = [
        path.name if bearers[mosaic_stem(path.name)] == 1 else f"{path.resolve().parent.name}/{path.name}"
        for path in paths
    ]
    of: dict[str, Path] = {}
    for path, label in zip(paths, labels, strict=True):
        twin = of.setdefault(mosaic_stem(label), path)
        if twin is not path:
            raise RadiosslError(
                f"{twin} and {path}: their cutouts would have the same names; rename one or leave it out"
            )
    return labels


def nothing_there(paths: Sequence[Path], otherwise: str) -> RadiosslError:
    """Return the error for mosaics in which nothing was found: all of them blank, or else the reason `otherwise`."""
    for path in track(paths, "looking for values"):
        with Mosaic.open(path) as mosaic:
            if not mosaic.is_blank():
                return RadiosslError(f"nothing to cut out: {otherwise}")
    others = f" and so are the {len(paths) - 1} others" if len(paths) > 1 else ""
    return RadiosslError(f"{paths[0]}: every pixel of the mosaic is blank (NaN){others}; there is nothing to cut out")


def mosaic_stem(label: str) -> str:
    """Return a mosaic's label without its FITS suffixes, with which the ids of its cutouts begin."""
    return _FITS_NAME.sub("", label).replace("/", "_")


# The header -----------------------------------------------------------------------------------------------------------


def _is_celestial(header: Header, axis: int) -> bool:
    return bool(_CELESTIAL.match(str(header.get(f"CTYPE{axis}", "")).upper()))


def _celestial_wcs(path: Path, header: Header) -> WCS:
    from astropy.io.fits import Header, VerifyError
    from astropy.wcs import WCS, WCSSUB_CELESTIAL, WcsError

    # Only the cards that matter: the others cost most of the time, and some of them trouble wcslib.
    relevant = Header([card for card in header.cards if _WCS_KEYWORD.fullmatch(card.keyword)])
    try:
        wcs = WCS(relevant, naxis=[WCSSUB_CELESTIAL])
        wcs.wcs.set()
    except (WcsError, VerifyError, ValueError, KeyError, MemoryError) as error:
        reason = str(error).strip().splitlines()[-1:]  # wcslib begins with places in its own source
        raise RadiosslError(f"{path}: its celestial coordinates cannot be understood ({' '.join(reason)})") from None
    if not wcs.has_celestial:
        raise RadiosslError(f"{path}: the image has no celestial coordinates (CTYPE1 such as RA---SIN)")
    return wcs


def _convert(
    lon: NDArray[np.float64], lat: NDArray[np.float64], frame: BaseCoordinateFrame, *, to_icrs: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Convert positions in degrees, shape (n,), between a frame and ICRS."""
    from astropy.coordinates import ICRS, SkyCoord

    if frame.name == "icrs":
        return lon, lat
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


def _beam(header: Header) -> Beam | None:
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


def normalise_unit(unit: str) -> str:
    """Return a brightness unit in its usual spelling: ``JY/BEAM`` and ``Jy beam-1`` are both ``Jy/beam``.

    Anything that is not in jansky is left as it is. ``MJY`` in capitals is taken for millijansky.
    """
    unit = unit.strip()
    match = _UNIT.fullmatch(unit)
    if match is None or unit.startswith("MJy"):  # megajansky, properly spelt
        return unit
    per = (match["per"] or match["inverse"] or "").lower()
    per = {"px": "pixel", "pix": "pixel"}.get(per, per)
    prefix = match["prefix"].lower().replace("µ", "u")
    return f"{prefix}Jy/{per}" if per else f"{prefix}Jy"
