"""A mosaic: a FITS image of the sky of any size, read piece by piece.

Pixel convention: 0-based, integers at pixel centres, x along FITS axis 1, row 0 first in the file.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file
from radiossl.sky.angles import angles_arcsec, unit_vectors
from radiossl.store.cutout import Beam
from radiossl.survey.fits_image import (
    BAND_BYTES,
    BRIGHTEST,
    HIGHEST_MARKER,
    Bands,
    Box,
    FitsImage,
    Pixels,
    damage_named,
    find_image,
    pixels_of,
)
from radiossl.survey.header import (
    celestial_axes,
    celestial_frame,
    celestial_wcs,
    convert_frame,
    header_beam,
    header_stokes,
    normalise_unit,
    table_beam,
)

if TYPE_CHECKING:
    from astropy.coordinates import BaseCoordinateFrame
    from astropy.wcs import WCS

#: Projections in which longitude goes on beyond 180 degrees from the reference point.
_CYLINDRICAL = ("CAR", "CEA", "CYP", "MER")
#: How many rows of a mosaic are looked at to learn what its zeros, and its lowest number, mean.
_SAMPLED_ROWS = (16, 512)


class PixelShape(NamedTuple):
    """Sizes and orientations of pixels on the sky, arrays of one shape; NaN off the projection."""

    #: Angles between neighbours along a row and along a column.
    width_arcsec: NDArray[np.float64]
    height_arcsec: NDArray[np.float64]
    #: Position angle of the columns, north through east: 0 where north is up.
    pa_deg: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A FITS image with celestial coordinates. Made by `Mosaic.open`; pixels are read when asked for."""

    path: Path
    #: (height, width) in pixels.
    shape: tuple[int, int]
    #: Celestial coordinate system, two axes, as the header has it.
    wcs: WCS
    #: Brightness unit in its usual spelling (JY/BEAM becomes Jy/beam), "" if the header has none.
    unit: str
    #: Restoring beam of the header, or of the last AIPS CLEAN card in its history.
    beam: Beam | None
    #: SURVEY or else TELESCOP of the header, "" if it has none.
    survey: str
    #: Stokes parameter or correlation, such as I or RR, "" if the header does not say.
    stokes: str
    _pixels: Pixels = field(repr=False)
    _floating: bool = field(repr=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str], hdu: str | int | None = None) -> Mosaic:
        """Read the header of the science image in a FITS file: plain, gzipped or tile-compressed.

        The image is that of the part `hdu`, a name or number, or else of the one that `find_image` chooses. Raises
        `RadiosslError` if the file is missing, is not FITS or is cut short, or if it has no image, an image without
        celestial coordinates or with more than one frequency or polarization, or several that are equally good.

        Examples
        --------
        >>> with Mosaic.open(mosaic_file) as mosaic:
        ...     pixels = mosaic.read(10, 20, width=64, height=48)
        >>> pixels.shape
        (48, 64)
        """
        path = existing_file(path)
        with damage_named(path), warnings.catch_warnings(action="ignore"):  # of headers that users did not write
            return cls._from_image(path, find_image(path, hdu))

    @classmethod
    def _from_image(cls, path: Path, image: FitsImage) -> Mosaic:
        header = image.header
        celestial = celestial_axes(header, len(image.axes))
        if len(celestial) != 2:
            expected = "CTYPE1, CTYPE2 such as RA---SIN, DEC--SIN"
            raise RadiosslError(f"{path}: the image has no celestial coordinates ({expected})")
        for axis, length in enumerate(image.axes, start=1):
            if axis not in celestial and length != 1:
                which = f"axis {axis} ({header.get(f'CTYPE{axis}', 'unnamed')})"
                raise RadiosslError(f"{path}: {which} has {length} planes, expected one; extract one first")
        width, height = (image.axes[axis - 1] for axis in celestial)
        wcs = celestial_wcs(path, header)
        beam = header_beam(header) or table_beam(path, header)
        if beam and beam.major_arcsec > max(width, height) * 3600 * np.abs(wcs.pixel_scale_matrix).max():
            beam = None  # larger than the image: not in degrees
        return cls(
            path=path,
            shape=(height, width),
            wcs=wcs,
            unit=normalise_unit(str(header.get("BUNIT", ""))),
            beam=beam,
            survey=str(header.get("SURVEY") or header.get("TELESCOP") or "").strip(),
            stokes=header_stokes(header, len(image.axes)),
            _pixels=pixels_of(path, image, (height, width), celestial),
            _floating=image.is_floating,
        )

    def __enter__(self) -> Mosaic:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; it is opened again if pixels are read after that."""
        self._pixels.close()

    # Coordinates ------------------------------------------------------------------------------------------------------

    @cached_property
    def pixel_scale_arcsec(self) -> float:
        """Side of a square pixel of the same area at the reference position, in arcsec; see `pixel_shape`."""
        return float(math.sqrt(abs(np.linalg.det(self.wcs.pixel_scale_matrix))) * 3600)

    @cached_property
    def _frame(self) -> BaseCoordinateFrame:
        return celestial_frame(self.path, self.wcs)

    @cached_property
    def turn_px(self) -> float | None:
        """Pixels of a full circle of longitude where the projection is a cylinder's, None in other projections."""
        longitude = self.wcs.wcs.lng
        matrix = self.wcs.pixel_scale_matrix
        if self.wcs.wcs.ctype[longitude][-3:] not in _CYLINDRICAL or matrix[0, 1] or matrix[1, 0]:
            return None
        return 360 / abs(float(matrix[longitude, longitude]))

    @cached_property
    def is_seamless(self) -> bool:
        """Whether the mosaic goes round the sky, so that its last column is beside its first."""
        return self.wcs.wcs.lng == 0 and self.turn_px is not None and abs(self.turn_px - self.shape[1]) < 0.01

    def pixel_to_sky(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Convert pixel positions to right ascension and declination (ICRS, degrees); NaN off the projection."""
        xy = np.stack(np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float)), axis=-1)
        flat = xy.reshape(-1, 2).copy()
        longitude = self.wcs.wcs.lng
        self._turn(flat, around=self.wcs.wcs.crpix[longitude] - 1)  # wcslib stops half a turn from there
        with warnings.catch_warnings(action="ignore"):
            world = self.wcs.all_pix2world(flat, 0)
        lon, lat = convert_frame(world[:, longitude], world[:, self.wcs.wcs.lat], self._frame, to_icrs=True)
        return lon.reshape(xy.shape[:-1]), lat.reshape(xy.shape[:-1])

    def sky_to_pixel(self, ra_deg: ArrayLike, dec_deg: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Convert ICRS positions in degrees to pixels; NaN where the projection does not reach.

        A position may lie outside the image: compare with `shape`.
        """
        lon, lat = np.broadcast_arrays(np.asarray(ra_deg, float), np.asarray(dec_deg, float))
        shape = lon.shape
        lon, lat = convert_frame(lon.ravel(), lat.ravel(), self._frame, to_icrs=False)
        world = np.empty((lon.size, 2))
        world[:, self.wcs.wcs.lng], world[:, self.wcs.wcs.lat] = lon, lat
        with warnings.catch_warnings(action="ignore"):
            xy = self.wcs.all_world2pix(world, 0, quiet=True)
        self._turn(xy, around=(self.shape[1 - self.wcs.wcs.lng] - 1) / 2)
        return xy[:, 0].reshape(shape), xy[:, 1].reshape(shape)

    def _turn(self, xy: NDArray[np.float64], around: float) -> None:
        """Move positions by full turns of longitude to within half a turn of `around`, in place."""
        if self.turn_px is not None:
            along = xy[:, self.wcs.wcs.lng]
            along -= self.turn_px * np.round((along - around) / self.turn_px)

    def pixel_shape(self, x: ArrayLike, y: ArrayLike) -> PixelShape:
        """Return the size of the pixels at some positions, along each axis, and how they are turned."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        steps = np.array([(-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)])
        ra, dec = self.pixel_to_sky(x[..., None] + steps[:, 0], y[..., None] + steps[:, 1])
        left, right, low, high = np.moveaxis(unit_vectors(ra, dec).reshape(-1, 4, 3), 1, 0)
        middle, up = low + high, high - low
        east = np.stack([-middle[:, 1], middle[:, 0], np.zeros(len(middle))], axis=1)
        north = np.cross(middle / 2, east)
        pa = np.degrees(np.arctan2(np.einsum("ij,ij->i", up, east), np.einsum("ij,ij->i", up, north)))
        return PixelShape(
            angles_arcsec(left, right).reshape(x.shape), angles_arcsec(low, high).reshape(x.shape), pa.reshape(x.shape)
        )

    # Pixels -----------------------------------------------------------------------------------------------------------

    def read(self, x0: int, y0: int, width: int, height: int) -> NDArray[np.float32]:
        """Return the pixels of a rectangle, shape (height, width), NaN where blank and outside the mosaic.

        Raises `RadiosslError` if the rectangle is empty or the file turns out to be damaged.
        """
        return next(self.read_boxes([Box(x0, y0, width, height)]))

    def read_boxes(self, boxes: Sequence[Box]) -> Iterator[NDArray[np.float32]]:
        """Yield the pixels of many rectangles as `read` does.

        Solid regions of exact zeros are blank, unless the image was clipped, and so are numbers such as -9999 and 1e20
        that programs write where nothing was observed: see `radiossl.survey.padding`.

        Rectangles in the order of `y0` let a compressed mosaic be decompressed only once, band by band.
        """
        bands = Bands(self._pixels, self.shape)
        for index, box in enumerate(boxes):
            if box.width < 1 or box.height < 1:
                raise RadiosslError(f"a cutout of {box.width} x {box.height} pixels: expected at least 1 x 1")
            found = np.empty((box.height, box.width), dtype=np.float32)
            y0, y1 = max(box.y0, 0), min(box.y0 + box.height, self.shape[0])
            parts = list(self._columns(box)) if y0 < y1 else []
            if sum(x1 - x0 for x0, x1, _ in parts) * (y1 - y0) < found.size:
                found.fill(np.nan)
            for x0, x1, at in parts:
                with damage_named(self.path):
                    part = bands.read(y0, y1, x0, x1, islice(boxes, index + 1, None))
                found[y0 - box.y0 : y1 - box.y0, at : at + x1 - x0] = part
            lowest, highest = found.min(), found.max()
            if not (lowest > -BRIGHTEST and highest < BRIGHTEST):  # nor if one is NaN
                found[~(np.abs(found) < BRIGHTEST)] = np.nan
                lowest = np.fmin.reduce(found, axis=None)
            if self._floating and lowest <= HIGHEST_MARKER and lowest == self._marker:
                found[found == lowest] = np.nan
            if self._floating and (found == 0).any() and (side := self._padding_side):
                from radiossl.survey.padding import may_be_solid, zero_padding  # compiled

                if may_be_solid(found, side):
                    found[zero_padding(found, side)] = np.nan
            yield found

    def _columns(self, box: Box) -> Iterator[tuple[int, int, int]]:
        """Yield the columns of the mosaic in a box, first and end, and where in the box they begin."""
        width = self.shape[1]
        for shift in (0, -width, width) if self.is_seamless else (0,):
            x0, x1 = max(box.x0 + shift, 0), min(box.x0 + shift + box.width, width)
            if x0 < x1:
                yield x0, x1, x0 - shift - box.x0

    @cached_property
    def _padding_side(self) -> int:
        """The `padding_side` of a sample of rows, and of more of them if these hold nothing."""
        from radiossl.survey.padding import padding_side

        for count in _SAMPLED_ROWS:
            if (found := self._sample(count)).size:
                break
        if found.min(initial=0) <= HIGHEST_MARKER:
            found = found[found != self._marker]
        return padding_side(found)

    @cached_property
    def _marker(self) -> float:
        """The `blank_marker` of a sample of rows."""
        from radiossl.survey.padding import announced_marker

        return announced_marker(self.path, self._sample(_SAMPLED_ROWS[-1]))

    def _sample(self, count: int) -> NDArray[np.float32]:
        """Return the pixels of some rows that are neither 0 nor blank, shape (n,)."""
        found = []
        for row in np.unique(np.linspace(0, self.shape[0] - 1, count).astype(int)).tolist():
            with damage_named(self.path):
                pixels = self._pixels.read(row, row + 1, 0, self.shape[1])
            found.append(pixels[(np.abs(pixels) < BRIGHTEST) & (pixels != 0)])
        return np.concatenate(found)

    def bands(self) -> list[Box]:
        """Return rectangles over the whole width that cover the mosaic, each of about `BAND_BYTES`."""
        height, width = self.shape
        rows = max(1, BAND_BYTES // (4 * width))
        return [Box(0, y0, width, min(rows, height - y0)) for y0 in range(0, height, rows)]

    def is_blank(self) -> bool:
        """Return whether the mosaic has no finite pixel at all; stops reading at the first one."""
        return not any(np.isfinite(pixels).any() for pixels in self.read_boxes(self.bands()))
