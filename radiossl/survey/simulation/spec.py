"""What to simulate: the settings of a simulated survey."""

from __future__ import annotations

import math
from dataclasses import dataclass

from radiossl.io.errors import RadiosslError, check_number
from radiossl.store.statistics import FWHM_PER_SIGMA

MOST_TILES = 1000


@dataclass(frozen=True)
class SurveySpec:
    """What to simulate; the defaults resemble the VLA FIRST survey."""

    #: Number of mosaics, 1 to 1000.
    tiles: int = 4
    #: Side of a mosaic in pixels, at least 128.
    size: int = 2048
    #: Sources of known class in each mosaic.
    sources: int = 400
    #: The same seed gives the same survey, bit for bit; another one gives other sources, elsewhere on the sky and with
    #: other names.
    seed: int = 0
    pixel_scale_arcsec: float = 1.8
    #: Full widths at half maximum of the restoring beam; the minor one spans at least two pixels.
    beam_major_arcsec: float = 6.4
    beam_minor_arcsec: float = 5.4
    #: Position angle of its major axis, north through east.
    beam_pa_deg: float = 20.0
    #: Noise in the middle of a mosaic.
    rms_jybeam: float = 1.5e-4

    def __post_init__(self) -> None:
        check_number("tiles", self.tiles, 1, MOST_TILES, whole=True)
        check_number("size", self.size, 128, 32768, whole=True)
        check_number("sources", self.sources, 1, whole=True)
        check_number("seed", self.seed, 0, whole=True)
        for name in ("pixel_scale_arcsec", "beam_major_arcsec", "beam_minor_arcsec", "rms_jybeam"):
            check_number(name, getattr(self, name), 0, above=True)
        check_number("beam_pa_deg", self.beam_pa_deg)
        if self.sources > (room := (self.size // 32) ** 2):
            has = f"a mosaic of {self.size} x {self.size} pixels has room for {room}"
            raise RadiosslError(f"sources: {self.sources} given, but {has}")
        if self.beam_minor_arcsec < 2 * self.pixel_scale_arcsec:
            limit = f"at least two pixels of {self.pixel_scale_arcsec} arcsec"
            raise RadiosslError(f"beam_minor_arcsec: {self.beam_minor_arcsec} given, must span {limit}")
        check_number("beam_major_arcsec", self.beam_major_arcsec, self.beam_minor_arcsec, 2 * self.beam_minor_arcsec)

    @property
    def beam_sigma_px(self) -> tuple[float, float]:
        """Standard deviations of the beam along its major and minor axis, in pixels."""
        unit = FWHM_PER_SIGMA * self.pixel_scale_arcsec
        return self.beam_major_arcsec / unit, self.beam_minor_arcsec / unit

    @property
    def beam_area_px(self) -> float:
        """Solid angle of the beam in pixels: the sum of Jy/beam over a source, divided by this, is its flux in Jy."""
        major, minor = self.beam_sigma_px
        return 2.0 * math.pi * major * minor
