"""The few numbers per cutout from which every preprocessing is made: noise, extremes and clip limits.

Three-channel preprocessing (Riggi et al. 2024, section 2.3) is, in every channel, a clip and a rescale. All that is
expensive in it is six numbers, so they are computed once, with astropy, when a cutout is made.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

#: Channel 1: sigma clipping, five sigma below and thirty above the median (Riggi et al. 2024, section 2.3).
SIGMA_CLIP = (5.0, 30.0)
#: Channels 2 and 3: the contrasts of the zscale transform (the same section).
ZSCALE_CONTRASTS = (0.25, 0.4)


@dataclass(frozen=True)
class PixelStatistics:
    """Noise, extremes and effective clip limits of one image, in its own brightness unit.

    Blank (non-finite) pixels count in none of them. An image without any finite pixel has NaN everywhere.

    Attributes
    ----------
    background, rms
        Median and standard deviation after clipping at 3 sigma, at most five times.
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
    def of(cls, pixels: NDArray[np.floating]) -> PixelStatistics:
        """Measure an image.

        Parameters
        ----------
        pixels
            Image of any shape; non-finite pixels are blank.

        Notes
        -----
        Equal to the literal chain of `astropy.stats.sigma_clip` or `astropy.visualization.ZScaleInterval` followed
        by a min-max scaling: that scaling only replaces a limit by the image's own extreme where the latter is inside.
        """
        from astropy.stats import sigma_clip, sigma_clipped_stats
        from astropy.visualization import ZScaleInterval

        finite = np.asarray(pixels, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        if finite.size == 0:
            return cls(*[float("nan")] * len(STATISTICS))
        minimum, maximum = float(finite.min()), float(finite.max())
        if minimum == maximum:
            return cls(minimum, 0.0, *[minimum] * (len(STATISTICS) - 2))
        _, background, rms = sigma_clipped_stats(finite, sigma=3.0, maxiters=5)
        lower, upper = SIGMA_CLIP
        _, low, high = sigma_clip(finite, sigma_lower=lower, sigma_upper=upper, masked=False, return_bounds=True)
        limits = [(low, high)]
        limits += [ZScaleInterval(contrast=contrast).get_limits(finite) for contrast in ZSCALE_CONTRASTS]
        effective = [bound for low, high in limits for bound in (max(minimum, float(low)), min(maximum, float(high)))]
        return cls(float(background), float(rms), minimum, maximum, *effective)

    def as_array(self) -> NDArray[np.float64]:
        """Return the numbers in the order of `STATISTICS`, shape (10,)."""
        return np.array(astuple(self), dtype=np.float64)


#: Column names of the statistics in a cutout store, in the order of `PixelStatistics.as_array`.
STATISTICS: tuple[str, ...] = tuple(field.name for field in fields(PixelStatistics))
