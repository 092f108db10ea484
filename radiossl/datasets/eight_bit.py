"""8-bit images as CRUMB and MiraBest have them: what is above the noise, within a circle, from 0 to 255."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError

INCOMPLETE, EMPTY = "incomplete", "nothing above the noise"


@dataclass(frozen=True)
class ImageRecipe:
    """How an image is made."""

    #: Side of the image in which the noise is measured.
    field_px: int = 300
    #: Side of the final image, at most `field_px`.
    side_px: int = 150
    #: Pixels up to this many times the noise become 0. The noise is the standard deviation after clipping at 3 sigma,
    #: at most five times; as in the authors' code, the median is not added to it.
    sigma: float = 3.0
    #: ``circle`` keeps the largest circle in the image, as in CRUMB and MiraBest; ``extent`` a circle as wide as the
    #: source's largest angular size, but at most the former; ``none`` keeps everything.
    mask: Literal["circle", "extent", "none"] = "circle"
    #: Pixel size by which ``extent`` is converted to pixels.
    pixel_arcsec: float = 1.8
    #: Largest fraction of blank pixels inside the mask, such as a row at the edge of a mosaic; they become 0.
    max_blank: float = 0.01

    def __post_init__(self) -> None:
        if not 1 <= self.side_px <= self.field_px:
            raise RadiosslError(f"images of {self.side_px} pixels from {self.field_px}: expected 1 to {self.field_px}")
        if self.mask not in ("circle", "extent", "none"):
            raise RadiosslError(f"mask {self.mask!r}: expected circle, extent or none")
        if not (self.sigma >= 0 and self.pixel_arcsec > 0):
            given = f"sigma {self.sigma}, pixels of {self.pixel_arcsec} arcsec"
            raise RadiosslError(f"{given}: expected 0 or more, above 0")
        if not 0 <= self.max_blank < 1:
            raise RadiosslError(f"max-blank of {self.max_blank}: expected a fraction from 0 to below 1")

    def radius_px(self, extent_arcsec: float | None = None, *, masked: bool = True) -> float:
        """Return the radius of the mask for a source, in pixels; infinite without a mask."""
        if self.mask == "none" or not masked:
            return math.inf
        largest = self.side_px // 2
        if self.mask == "circle":
            return largest
        if extent_arcsec is None or not math.isfinite(extent_arcsec):
            raise RadiosslError("a mask by extent needs the largest angular size of every source; use the mask circle")
        return min(math.ceil(math.ceil(extent_arcsec / self.pixel_arcsec) / 2), largest)


def image_8bit(
    field: NDArray[np.float32], recipe: ImageRecipe | None = None, radius_px: float | None = None
) -> NDArray[np.uint8]:
    """Turn the surroundings of a source, NaN where blank, into its 8-bit image, in the same order of rows.

    The shapes are (field_px, field_px) and (side_px, side_px); `radius_px` is that of the mask, by default that of the
    recipe's circle. Raises `NoImageError` if too many pixels inside the mask are blank, or none is above the noise.
    """
    from astropy.stats import sigma_clipped_stats

    recipe = recipe or ImageRecipe()
    start = recipe.field_px // 2 - recipe.side_px // 2
    crop = np.s_[start : start + recipe.side_px]
    image = field[crop, crop].copy()
    mask = circle(recipe.side_px, recipe.radius_px() if radius_px is None else radius_px)
    if np.isnan(image[mask]).mean() > recipe.max_blank:
        raise NoImageError(INCOMPLETE)
    noise = sigma_clipped_stats(field[np.isfinite(field)], sigma=3.0, maxiters=5)[2]
    # Written so that blank pixels become 0 as well.
    image[~(image > recipe.sigma * noise)] = 0
    image[~mask] = 0
    low, high = image[mask].min(), image[mask].max()
    if not low < high:
        raise NoImageError(EMPTY)
    # The minimum is 0 unless every pixel of the mask is above the noise, so the corners stay 0.
    image[mask] = (image[mask] - low) / (high - low)
    return (image * np.float32(255)).astype(np.uint8)


class NoImageError(RadiosslError):
    """A source has no image; the message is the reason."""


def circle(side: int, radius: float) -> NDArray[np.bool_]:
    """Return the mask of pixels no farther than `radius` from pixel ``side / 2``, as the authors centre it."""
    offset = np.arange(side) - round(side / 2)
    return offset[:, None] ** 2 + offset**2 <= radius**2
