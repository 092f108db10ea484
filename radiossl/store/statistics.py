"""The few numbers per cutout that every preprocessing needs: noise, extremes and clip limits.

Three-channel preprocessing (Riggi et al. 2024, section 2.3) is, in every channel, a clip and a rescale. All that is
expensive in it is six numbers, so they are computed once, when a cutout is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Of the noise: three sigma on either side of the median, at most so many times, as everywhere in astronomy.
NOISE_CLIP, CLIP_ROUNDS = (3.0, 3.0), 5
#: Channel 1: sigma clipping, five sigma below and thirty above the median (Riggi et al. 2024, section 2.3).
SIGMA_CLIP = (5.0, 30.0)
#: Channels 2 and 3: the contrasts of the zscale transform (the same section).
ZSCALE_CONTRASTS = (0.25, 0.4)
#: Standard deviation of a normal distribution in units of its median absolute deviation, and its full width at half
#: maximum in units of its standard deviation.
MAD_TO_SIGMA, FWHM_PER_SIGMA = 1.4826, math.sqrt(8 * math.log(2))


class Noise(NamedTuple):
    """Background of an image and deviation from it, in its brightness unit; NaN if it has no finite pixel."""

    background: float
    rms: float

    @property
    def is_known(self) -> bool:
        """Whether there is any noise: not where it was cut away, as in many 8-bit images, nor where all is blank."""
        return math.isfinite(self.background) and 0 < self.rms < math.inf

    @classmethod
    def of(cls, pixels: NDArray[np.floating]) -> Noise:
        """Measure the noise of an image of any shape as `PixelStatistics.of` does."""
        ordered = _in_order(_finite(pixels))
        return cls.of_ordered(ordered) if ordered.size else cls(math.nan, math.nan)

    @classmethod
    def of_ordered(cls, ordered: NDArray[np.floating]) -> Noise:
        """Measure the noise of finite pixels that are sorted, shape (n,), n from 1."""
        from radiossl.store.clipping import deviation_of, median_of, sigma_clip

        first, last, _, _ = sigma_clip(ordered, *NOISE_CLIP, CLIP_ROUNDS)
        return cls(median_of(ordered[first:last]), deviation_of(ordered[first:last]))


def _finite(pixels: NDArray[np.floating]) -> NDArray[np.floating]:
    finite = np.asarray(pixels).ravel()
    known = np.isfinite(finite)
    return finite if known.all() else finite[known]


def _in_order(finite: NDArray[np.floating]) -> NDArray[np.floating]:
    """Sort; compiled code is for the single precision that images come in, and for double precision."""
    from radiossl.store.clipping import in_order

    return in_order(finite) if finite.dtype == np.float32 else np.sort(finite.astype(np.float64))


@dataclass(frozen=True)
class PixelStatistics:
    """Noise, extremes and effective clip limits of one image, in its own brightness unit.

    Blank (non-finite) pixels count in none of them. An image without any finite pixel has NaN everywhere.

    Attributes
    ----------
    background, rms
        Median and standard deviation after clipping at 3 sigma, at most five times; of the sky around where that is
        known, since in a tight box most pixels show the source.
    minimum, maximum
        Extremes of the finite pixels.
    clip_sigma_low, clip_sigma_high
        What channel 1 maps to 0 and to 1: the sigma-clip bounds, or the image's own extremes where they lie inside.
    clip_zscale25_low, clip_zscale25_high, clip_zscale40_low, clip_zscale40_high
        The same for channels 2 and 3, zscale with contrasts 0.25 and 0.4.
    """

    background: float
    rms: float
    minimum: float
    maximum: float
    clip_sigma_low: float
    clip_sigma_high: float
    clip_zscale25_low: float
    clip_zscale25_high: float
    clip_zscale40_low: float
    clip_zscale40_high: float

    @classmethod
    def of(cls, pixels: NDArray[np.floating], noise: Noise | None = None) -> PixelStatistics:
        """Measure an image.

        Parameters
        ----------
        pixels
            Image of any shape; non-finite pixels are blank.
        noise
            Noise of the sky around the image; that of its own pixels if it is None or unknown.

        Notes
        -----
        Equal to the literal chain of `astropy.stats.sigma_clip` or `astropy.visualization.ZScaleInterval` followed
        by a min-max scaling: that scaling only replaces a limit by the image's own extreme where the latter is inside.
        Sorted once, every clipping is a shorter slice of the pixels; both contrasts of zscale share one line fit.
        """
        from radiossl.store.clipping import sigma_clip

        finite = _finite(pixels)
        if finite.size == 0:
            return cls(*[float("nan")] * len(STATISTICS))
        ordered = _in_order(finite)
        minimum, maximum = float(ordered[0]), float(ordered[-1])
        if minimum == maximum:
            return cls(minimum, 0.0, *[minimum] * (len(STATISTICS) - 2))
        if noise is None or not noise.is_known:
            noise = Noise.of_ordered(ordered)
        _, _, *bounds = sigma_clip(ordered, *SIGMA_CLIP, CLIP_ROUNDS)
        limits = [bounds, *zscale_limits(finite, ZSCALE_CONTRASTS)]
        effective = [bound for low, high in limits for bound in (max(minimum, low), min(maximum, high))]
        return cls(*noise, minimum, maximum, *effective)

    def as_array(self) -> NDArray[np.float64]:
        """Return the numbers in the order of `STATISTICS`, shape (10,)."""
        return np.array([getattr(self, name) for name in STATISTICS], dtype=np.float64)


#: Of zscale as in IRAF and astropy: number of pixels looked at, rounds of rejection, its threshold, and the least part
#: and number of pixels that must be left for the fit to count.
ZSCALE_SAMPLES, ZSCALE_ROUNDS, ZSCALE_SIGMA, ZSCALE_LEAST_PART, ZSCALE_LEAST = 1000, 5, 2.5, 0.5, 5


def zscale_limits(finite: NDArray[np.floating], contrasts: Sequence[float]) -> list[tuple[float, float]]:
    """Return limits of zscale for several contrasts: a line through the sorted sample, steeper around its median.

    Pixels far from the line, and their neighbours, are left out and the line is fitted again.
    """
    from radiossl.store.clipping import median_of, zscale_slope

    stride = int(max(1.0, finite.size / ZSCALE_SAMPLES))
    sample = np.sort(finite[::stride][:ZSCALE_SAMPLES]).astype(np.float64)
    count = len(sample)
    least = max(ZSCALE_LEAST, int(count * ZSCALE_LEAST_PART))
    slope, left = zscale_slope(sample, ZSCALE_ROUNDS, ZSCALE_SIGMA, least, reach=max(1, int(count * 0.01)))
    low, high = float(sample[0]), float(sample[-1])
    if left < least:
        return [(low, high)] * len(contrasts)
    middle, median = (count - 1) // 2, median_of(sample)
    limits = []
    for contrast in contrasts:
        steep = slope / contrast if contrast > 0 else slope
        limits.append((max(low, median - (middle - 1) * steep), min(high, median + (count - middle) * steep)))
    return limits


#: Column names of the statistics in a cutout store, in the order of `PixelStatistics.as_array`.
STATISTICS: tuple[str, ...] = tuple(field.name for field in fields(PixelStatistics))
