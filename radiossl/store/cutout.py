"""A cutout: a small image with its place on the sky and the mosaic it came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError, check_number
from radiossl.store.statistics import Noise


@dataclass(frozen=True, order=True)
class Beam:
    """A restoring beam: full widths at half maximum in arcsec, position angle in degrees, north through east.

    A position angle that is not known (NaN or None), as of circular beams, is 0.
    """

    major_arcsec: float
    minor_arcsec: float
    pa_deg: float = 0.0

    def __post_init__(self) -> None:
        if self.pa_deg is None or self.pa_deg != self.pa_deg:
            object.__setattr__(self, "pa_deg", 0.0)
        for name, value in vars(self).items():
            check_number(f"beam: {name}", value)
        if not self.major_arcsec >= self.minor_arcsec > 0:
            axes = f"{self.major_arcsec} x {self.minor_arcsec} arcsec"
            raise RadiosslError(f"beam of {axes}: expected major axis >= minor axis > 0")


@dataclass(frozen=True)
class Cutout:
    """One cutout.

    Attributes
    ----------
    cutout_id
        Unique within a store.
    pixels
        Shape (height, width), float32, in `unit`, NaN where blank; first row is the lowest in declination (FITS order).
    mosaic
        File name of the mosaic.
    ra_deg, dec_deg
        ICRS position of the cutout's centre.
    x, y
        The same in pixels of the mosaic, 0-based, integers at pixel centres.
    pixel_scale_arcsec
        Side of a square pixel of the same area; NaN if unknown.
    pixel_width_arcsec, pixel_height_arcsec, pixel_pa_deg
        Size of the pixels along each axis and position angle of the columns, north through east, at the cutout's
        centre; None if unknown, then pixels are taken to be square and north up.
    background, rms
        Noise of the sky around the cutout; None if it is to be measured on its own pixels.
    unit
        Brightness unit as in the mosaic's header, "" if unknown.
    beam
        Restoring beam, if known.
    extra
        Further columns, such as those of the catalogue.
    """

    cutout_id: str
    pixels: NDArray[np.float32]
    mosaic: str
    ra_deg: float
    dec_deg: float
    x: float
    y: float
    pixel_scale_arcsec: float
    unit: str = ""
    beam: Beam | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    pixel_width_arcsec: float | None = None
    pixel_height_arcsec: float | None = None
    pixel_pa_deg: float | None = None
    background: float | None = None
    rms: float | None = None

    def __post_init__(self) -> None:
        if not self.cutout_id:
            raise RadiosslError("a cutout needs a non-empty cutout_id")
        for name in ("ra_deg", "dec_deg", "x", "y", "pixel_scale_arcsec"):
            if not isinstance(getattr(self, name), Real):
                raise RadiosslError(f"cutout {self.cutout_id}: {name} {getattr(self, name)!r}: expected a number")
        if self.pixels.ndim != 2 or 0 in self.pixels.shape:
            wrong = f"pixels of shape {self.pixels.shape}, expected (height, width)"
            raise RadiosslError(f"cutout {self.cutout_id}: {wrong}")

    @property
    def noise(self) -> Noise | None:
        """Its `background` and `rms`, None where they are not given."""
        return None if self.background is None or self.rms is None else Noise(self.background, self.rms)

    @classmethod
    def whole_image(cls, cutout_id: str, pixels: NDArray[np.float32], mosaic: str, **known: Any) -> Cutout:
        """Return an image as a cutout; what is not `known` of its position and pixel scale is NaN."""
        height, width = pixels.shape if pixels.ndim == 2 else (0, 0)  # refused like any other such cutout
        unknown = dict.fromkeys(("ra_deg", "dec_deg", "pixel_scale_arcsec"), np.nan)
        return cls(cutout_id, pixels, mosaic, x=(width - 1) / 2, y=(height - 1) / 2, **unknown | known)


def check_unique(ids: Iterable[str], where: object) -> None:
    """Raise `RadiosslError`, which begins with `where`, if cutouts of one store have the same id."""
    if twice := next((one for one, count in Counter(ids).items() if count > 1), None):
        raise RadiosslError(f"{where}: cutout id {twice!r} occurs more than once; the ids of a store must be unique")


def blank_fraction(pixels: NDArray[np.floating]) -> float:
    """Return the fraction of pixels that are NaN."""
    return np.count_nonzero(np.isnan(pixels)) / pixels.size
