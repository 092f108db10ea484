"""What to simulate: the settings of a simulated survey."""

from __future__ import annotations

import math
from dataclasses import dataclass

from radiossl.io.errors import RadiosslError

FWHM_PER_SIGMA = math.sqrt(8.0 * math.log(2.0))
MOST_TILES = 1000


@dataclass(frozen=True)
class SurveySpec:
    """What to simulate; the defaults resemble the VLA FIRST survey.

    Attributes
    ----------
    tiles
        Number of mosaics, 1 to 1000.
    size
        Side of a mosaic in pixels, at least 128.
    sources
        Sources of known class in each mosaic.
    seed
        The same seed gives the same survey, bit for bit; another one gives other sources, elsewhere on the sky and with
        other names.
    pixel_scale_arcsec
        Side of a pixel.
    beam_major_arcsec, beam_minor_arcsec
        Full widths at half maximum of the restoring beam; the minor one spans at least two pixels.
    beam_pa_deg
        Position angle of its major axis, north through east.
    rms_jybeam
        Noise in the middle of a mosaic.
    """

    tiles: int = 4
    size: int = 2048
    sources: int = 400
    seed: int = 0
    pixel_scale_arcsec: float = 1.8
    beam_major_arcsec: float = 6.4
    beam_minor_arcsec: float = 5.4
    beam_pa_deg: float = 20.0
    rms_jybeam: float = 1.5e-4

    def __post_init__(self) -> None:
        for name, low, high in (
            ("tiles", 1, MOST_TILES),
            ("size", 128, 32768),
            ("sources", 1, None),
            ("seed", 0, None),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise RadiosslError(f"{name}: {value!r} given, must be a whole number")
            if value < low or (high is not None and value > high):
                limits = f"at least {low}" if high is None else f"from {low} to {high}"
                raise RadiosslError(f"{name}: {value} given, must be {limits}")
        room = (self.size // 32) ** 2
        if self.sources > room:
            raise RadiosslError(
                f"sources: {self.sources} given, but a mosaic of {self.size} x {self.size} pixels has room for {room}"
            )
        for name in ("pixel_scale_arcsec", "beam_major_arcsec", "beam_minor_arcsec", "rms_jybeam"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise RadiosslError(f"{name}: {value} given, must be a positive number")
        if not math.isfinite(self.beam_pa_deg):
            raise RadiosslError(f"beam_pa_deg: {self.beam_pa_deg} given, must be a number of degrees")
        if self.beam_minor_arcsec < 2 * self.pixel_scale_arcsec:
            raise RadiosslError(
                f"beam_minor_arcsec: {self.beam_minor_arcsec} given, must span at least two pixels of "
                f"{self.pixel_scale_arcsec} arcsec"
            )
        if not self.beam_minor_arcsec <= self.beam_major_arcsec <= 2 * self.beam_minor_arcsec:
            raise RadiosslError(
                f"beam_major_arcsec: {self.beam_major_arcsec} given, must be once to twice the minor axis, "
                f"{self.beam_minor_arcsec} arcsec"
            )

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
