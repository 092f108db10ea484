"""Preprocessing: from raw cutouts to what a backbone sees, in batches, from the stored statistics.

It has two halves around a single resampling: `prepare` works on the cutout's own pixels, `finish` on the resampled
ones. Evaluation resamples once; a training view resamples once too, with its random geometry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from radiossl.images import kernels
from radiossl.images.parallel import empty, map_on_cores
from radiossl.io.errors import RadiosslError
from radiossl.io.schema import Settings
from radiossl.store.statistics import STATISTICS, Noise, PixelStatistics

Mode = Literal["sigma-zscale", "min-max", "floor-stretch"]

_BACKGROUND, _RMS, _MINIMUM, _MAXIMUM = (STATISTICS.index(n) for n in ("background", "rms", "minimum", "maximum"))
_CLIPS = slice(STATISTICS.index("clip_sigma_low"), len(STATISTICS))

#: Images of this many pixels at a time on a CPU: what is worked on then stays in the cache, which makes the
#: element-wise steps several times faster than on a whole batch.
CPU_CHUNK_PIXELS = 32 * 224 * 224


class Preprocessing(Settings):
    """The complete preprocessing of a backbone; stored in the configuration of its weights.

    Attributes
    ----------
    mode
        ``sigma-zscale``: the three channels of Riggi et al. 2024, section 2.3 (sigma clip 5 below and 30 above, zscale
        with contrast 0.25, zscale with contrast 0.4), each scaled to [0, 1].
        ``min-max``: one channel, the image's own minimum to maximum, for 8-bit images such as MiraBest's.
        ``floor-stretch``: three channels, the pixels above a noise floor as a fraction of the peak, linear, asinh and
        square root. The stretches of zscale keep the noise at full contrast; this one removes it.
    size
        Side in pixels of what the backbone sees.
    field_px
        Side in pixels of the central part of the cutout that is used; null for all of it.
    floor_sigma
        ``floor-stretch``: pixels below this many rms are set to zero; below half the peak where that is less, since
        in a cutout that its source fills the clipped rms is the source's own.
    mean, std
        Subtracted and divided by at the end, one number for all channels.
    views
        1, or 8 to average the features over the four right-angle rotations and their mirror images.
    """

    mode: Mode = "sigma-zscale"
    size: int = Field(default=224, ge=16, le=1024)
    field_px: int | None = Field(default=None, ge=8)
    floor_sigma: float = Field(default=3.0, ge=0.0)
    mean: float = 0.0
    std: float = Field(default=1.0, gt=0.0)
    views: Literal[1, 8] = 1

    @property
    def channels(self) -> int:
        """Number of channels of the result."""
        return 1 if self.mode == "min-max" else 3

    def prepare(self, pixels: Tensor, statistics: Tensor) -> Tensor:
        """Scale raw pixels by their statistics, before any resampling: (n, 3 or 1, height, width), float32 and finite.

        Blank pixels are 0. In [0, 1], except for ``floor-stretch``, where it is the signal in units of the rms.

        Parameters
        ----------
        pixels
            Shape (n, height, width), in the mosaic's unit; non-finite where blank.
        statistics
            Shape (n, 10), float64, in the order of `radiossl.store.statistics.STATISTICS`.
        """
        low, high = self.limits(statistics)
        return _rescale(pixels, low, high, clip=self.mode != "floor-stretch")

    def limits(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `prepare` maps to 0 and to 1, from statistics (n, 10): two of (n, channels of `prepare`)."""
        if self.mode == "floor-stretch":
            background, rms = statistics[:, _BACKGROUND, None], statistics[:, _RMS, None]
            # Where the noise was cut away, as in most 8-bit sets, all that is brighter than the background is signal.
            rms = torch.where(rms > 0, rms, (statistics[:, _MAXIMUM, None] - background) / _NOISELESS_PEAK)
            return background, background + rms
        if self.mode == "min-max":
            return statistics[:, _MINIMUM, None], statistics[:, _MAXIMUM, None]
        limits = statistics[:, _CLIPS].unflatten(1, (3, 2))  # (n, channel, low and high)
        return limits[..., 0], limits[..., 1]

    def finish(
        self, images: Tensor, floor: Tensor | None = None, gain: Tensor | None = None, gamma: Tensor | None = None
    ) -> Tensor:
        """Turn resampled images into the channels that the backbone sees, still without mean and std.

        Parameters
        ----------
        images
            Result of `prepare`, resampled: (n, channels of `prepare`, size, size) becomes (n, `channels`, size, size).
        floor, gain, gamma
            For training views, shape (n,): noise floor in sigma instead of `floor_sigma`, for ``floor-stretch`` only,
            and the factor and the power by which an image in [0, 1] is changed.
        """
        shape = (-1, 1, 1, 1)
        signal = images
        if self.mode == "floor-stretch":
            floor = images.new_full((len(images),), self.floor_sigma) if floor is None else floor
            peak = images.amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
            signal = torch.where(images >= torch.minimum(floor.view(shape), _HIGHEST_FLOOR * peak), images, 0.0) / peak
        if gamma is not None:
            signal = signal.pow(gamma.view(shape))
        if gain is not None:
            signal = (signal * gain.view(shape)).clamp_(max=1.0)
        if self.mode != "floor-stretch":
            return signal
        return torch.cat([signal, torch.asinh(signal * _ASINH_SOFTENING) / _ASINH_NORM, signal.sqrt()], dim=1)

    def normalise(self, images: Tensor) -> Tensor:
        """Subtract `mean` and divide by `std`."""
        return images if (self.mean, self.std) == (0.0, 1.0) else (images - self.mean) / self.std

    def __call__(self, pixels: Tensor, statistics: Tensor) -> Tensor:
        """Preprocess a batch of cutouts of one size, given as for `prepare`: (n, `channels`, size, size), finite."""
        step = chunk_length(pixels.device, pixels.shape[-2] * pixels.shape[-1], len(pixels))

        def part(start: int) -> Tensor:
            square = to_square(pixels[start : start + step])
            if self.field_px is not None:
                square = central_field(square, self.field_px)
            images = self.prepare(square, statistics[start : start + step])
            if images.shape[-1] != self.size:
                images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)
            return self.normalise(self.finish(images))

        return torch.cat(map_on_cores(part, range(0, len(pixels), step)))

    def of_arrays(
        self,
        images: Sequence[NDArray[np.floating]],
        device: torch.device | str = "cpu",
        noise: Sequence[Noise | None] | None = None,
    ) -> Tensor:
        """Preprocess 2-D arrays of any sizes, non-finite where blank: (n, `channels`, size, size).

        `noise` is that of the sky around each, None where it is to be measured on its own pixels.
        """
        outputs = []
        for image, around in zip(images, noise or [None] * len(images), strict=True):
            if np.ndim(image) != 2 or 0 in np.shape(image):
                problem = "it has no pixels" if np.ndim(image) == 2 else "expected two dimensions, (height, width)"
                raise RadiosslError(f"an image of shape {np.shape(image)}: {problem}")
            pixels = np.array(image, dtype=np.float32)  # a copy: files are mapped read-only
            statistics = torch.from_numpy(PixelStatistics.of(pixels, around).as_array())
            outputs.append(self(torch.from_numpy(pixels)[None].to(device), statistics[None].to(device)))
        return torch.cat(outputs) if outputs else torch.empty(0, self.channels, self.size, self.size, device=device)


#: The peak of an image without any noise, in units of the rms that it is given.
_NOISELESS_PEAK = 1e4
#: The noise floor is at most this fraction of the peak.
_HIGHEST_FLOOR = 0.5
#: The asinh channel turns from linear to logarithmic at 1/50 of the peak.
_ASINH_SOFTENING = 50.0
_ASINH_NORM = float(np.arcsinh(_ASINH_SOFTENING))


def _rescale(pixels: Tensor, low: Tensor, high: Tensor, clip: bool) -> Tensor:
    """Map `low` to 0 and `high` to 1; blank pixels and images without a range (constant) to 0.

    `low` and `high` are float64 of shape (n, channels), `pixels` (n, height, width), the result has all four axes. The
    difference is taken in float64, since a background far from zero would cost float32 its digits.
    """
    spread = high - low
    valid = torch.isfinite(spread) & (spread > 0)
    scale, low = torch.where(valid, 1.0 / spread, 0.0), torch.where(valid, low, 0.0)
    if pixels.device.type != "cpu":
        return _rescale_on_device(pixels, low, scale, clip)
    images = empty(*low.shape, *pixels.shape[1:])
    sources, outputs, lows, scales = pixels.float().numpy(), images.numpy(), low.numpy(), scale.numpy()
    for i, channel in np.ndindex(*low.shape):
        kernels.rescale(sources[i], float(lows[i, channel]), float(scales[i, channel]), clip, outputs[i, channel])
    return images


def _rescale_on_device(pixels: Tensor, low: Tensor, scale: Tensor, clip: bool) -> Tensor:
    # Accelerators are slow in float64: rounding `low` to float32 shifts the result, and what is lost is added back.
    low32 = low.float()
    rest = ((low - low32) * scale).float()[..., None, None]
    scaled = torch.addcmul(-rest, pixels.unsqueeze(1) - low32[..., None, None], scale.float()[..., None, None])
    scaled = scaled.clamp_(0.0, 1.0) if clip else scaled
    return torch.where(torch.isfinite(pixels).unsqueeze(1), scaled, 0.0)


def to_square(pixels: Tensor) -> Tensor:
    """Pad a batch (n, height, width) with blank pixels to squares, so that resizing keeps shapes."""
    height, width = pixels.shape[-2:]
    if height == width:
        return pixels
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    padding = (left, side - width - left, top, side - height - top)
    return F.pad(pixels, padding, value=float("nan"))


def central_field(pixels: Tensor, side: int) -> Tensor:
    """Cut out, or pad with blank pixels to, the central `side` x `side` pixels of a batch (n, height, width)."""
    margins = [pixels.shape[-1] - side, pixels.shape[-2] - side]
    padding = [part for margin in margins for part in (-(margin // 2), -(margin - margin // 2))]
    return F.pad(pixels, padding, value=float("nan"))


def chunk_length(device: torch.device, pixels_per_image: int, images: int) -> int:
    """How many images to work on at a time: all of them on an accelerator, what fits the cache on a CPU."""
    return max(1, CPU_CHUNK_PIXELS // pixels_per_image) if device.type == "cpu" else max(1, images)


def flips_and_rotations(images: Tensor) -> Iterator[Tensor]:
    """Yield the four right-angle rotations of a batch (n, c, s, s) and of its mirror image."""
    for mirrored in (images, images.flip(-1)):
        for turns in range(4):
            yield mirrored.rot90(turns, dims=(-2, -1))
