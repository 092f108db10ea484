"""The preprocessing of raw pixels in tensor operations alone, so that it can be exported with a network.

A slow twin of `radiossl.images.preprocess` and `radiossl.store.statistics` for one image of any shape. What ends early
there, or works on fewer and fewer pixels, goes on to the end here with masks, since a program has no such choices.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from radiossl.images.preprocess import Preprocessing
from radiossl.store import statistics as constants


class RawPreprocessing(nn.Module):
    """Turn a raw image into what a backbone sees, as `Preprocessing.of_arrays` does.

    Examples
    --------
    >>> RawPreprocessing(Preprocessing(size=32))(torch.eye(40, 50)).shape
    torch.Size([1, 3, 32, 32])
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    def forward(self, pixels: Tensor) -> Tensor:
        """Preprocess an image (height, width), non-finite where blank, into (1, channels, size, size), both float32."""
        seen = self.preprocessing
        known = torch.isfinite(pixels)
        values = torch.where(known, pixels, 0.0).double()
        low, high = seen.limits(image_statistics(values.flatten(), known.flatten(), seen.mode == "sigma-zscale")[None])
        spread = high - low
        valid = torch.isfinite(spread) & (spread > 0)
        scaled = (values - torch.where(valid, low, 0.0).view(-1, 1, 1)) / torch.where(valid, spread, 1.0).view(-1, 1, 1)
        scaled = torch.where(known & valid.view(-1, 1, 1), scaled, 0.0)
        scaled = (scaled if seen.mode == "floor-stretch" else scaled.clamp(0.0, 1.0)).float()
        down, across = _resampling(pixels[:, 0], pixels[0], seen), _resampling(pixels[0], pixels[:, 0], seen)
        return seen.normalise(seen.finish((down @ scaled @ across.T)[None]))


def _resampling(line: Tensor, other: Tensor, seen: Preprocessing) -> Tensor:
    """Weights (size, n) of an antialiased linear resampling of n pixels, which lie in the middle of a square.

    The side of the square is that of the longer of two lines of pixels, and its central field is what is resampled.
    """
    places, others = _counted(line), _counted(other)
    length = torch.ones_like(places).sum()
    side = torch.maximum(length, torch.ones_like(others).sum())
    field = side if seen.field_px is None else torch.full_like(side, seen.field_px)
    scale = field / seen.size
    centres = (torch.arange(seen.size, device=line.device) + 0.5)[:, None] * scale

    def weights(places: Tensor) -> Tensor:
        near = (1.0 - (places + 0.5 - centres).abs() / scale.clamp_min(1.0)).clamp_min(0.0)
        return torch.where((places >= 0) & (places < field), near, 0.0)

    if seen.field_px is None:  # the longer line fills the square
        total = torch.maximum(weights(places).sum(1), weights(others).sum(1))
    else:
        total = weights(torch.arange(seen.field_px, device=line.device).double()).sum(1)
    first = torch.floor((side - length) / 2) - torch.floor((side - field) / 2)
    return (weights(places + first) / total[:, None]).float()


def image_statistics(values: Tensor, known: Tensor, clip_limits: bool) -> Tensor:
    """Measure pixels (n,), float64, as `radiossl.store.statistics.PixelStatistics.of` does those `known`: shape (10,).

    NaN if all is blank, and where `clip_limits` of sigma clipping and zscale are not wanted.
    """
    count = known.sum()
    ordered = torch.sort(torch.where(known, values, torch.inf)).values
    ordered = torch.where(_counted(ordered) < count, ordered, 0.0)
    lowest, highest = ordered[0], _at(ordered, count - 1)
    first, last, _, _ = _sigma_clip(ordered, count, *constants.NOISE_CLIP)
    noise = [*_median_and_deviation(ordered, first, last), lowest, highest]
    limits = [torch.full_like(lowest, torch.nan)] * 6
    if clip_limits:
        _, _, low, high = _sigma_clip(ordered, count, *constants.SIGMA_CLIP)
        bounds = [(low, high), *_zscale(values, known)]
        limits = [one for low, high in bounds for one in (torch.maximum(low, lowest), torch.minimum(high, highest))]
    return torch.where(count > 0, torch.stack([*noise, *limits]), torch.nan)


def _counted(values: Tensor) -> Tensor:
    """0, 1, 2 ... in double precision, as many as there are values."""
    return torch.arange(values.shape[0], device=values.device).double()


def _at(values: Tensor, index: Tensor) -> Tensor:
    """The value at a place that is a tensor itself, within bounds."""
    return values.gather(0, index.clamp(min=0).long().reshape(1))[0]


def _median_and_deviation(ordered: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Median and standard deviation of the sorted values from `first` to before `last`."""
    places = _counted(ordered)
    kept = ((places >= first) & (places < last)).double()
    count = (last - first).clamp(min=1)
    median = 0.5 * (_at(ordered, first + (count - 1) // 2) + _at(ordered, first + count // 2))
    distances = (ordered - median) * kept
    mean = distances.sum() / count
    return median, ((distances.square().sum() / count) - mean.square()).clamp_min(0.0).sqrt()


def _sigma_clip(ordered: Tensor, count: Tensor, below: float, above: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`radiossl.store.clipping.sigma_clip` of the first `count` values."""
    places = _counted(ordered)
    first, last = torch.zeros_like(count), count
    low = high = torch.zeros_like(ordered[0])
    for _ in range(constants.CLIP_ROUNDS):
        median, deviation = _median_and_deviation(ordered, first, last)
        low, high = median - below * deviation, median + above * deviation
        kept = (places >= first) & (places < last)
        first, last = first + (kept & (ordered < low)).sum(), first + (kept & (ordered <= high)).sum()
    return first, last, low, high


def _zscale(values: Tensor, known: Tensor) -> list[tuple[Tensor, Tensor]]:
    """`radiossl.store.statistics.zscale_limits` for the two contrasts."""
    number, total = _counted(values), known.sum()
    stride = torch.floor(total / constants.ZSCALE_SAMPLES).clamp_min(1.0)
    rank = known.long().cumsum(0) - 1.0  # among the known pixels
    taken = known & (torch.remainder(rank, stride) == 0) & (rank < stride * constants.ZSCALE_SAMPLES)
    count = taken.sum()
    sample = torch.sort(torch.where(taken, values, torch.inf)).values
    inside = number < count
    sample = torch.where(inside, sample, 0.0)
    least = torch.floor(count * constants.ZSCALE_LEAST_PART).clamp_min(constants.ZSCALE_LEAST)
    reach = torch.floor(count * 0.01).clamp_min(1.0)
    ahead = torch.floor((reach - 1) / 2)
    behind = reach - 1 - ahead
    good, left, before = inside.double(), count.double(), count + 1.0
    slope = torch.zeros_like(left)
    for _ in range(constants.ZSCALE_ROUNDS):
        going = (left < before) & (left >= least)
        shared = left.clamp_min(1.0)
        x = good * (number - (good * number).sum() / shared)
        mean = (good * sample).sum() / shared
        fitted = (x * (sample - mean)).sum() / x.square().sum().clamp_min(1e-300)
        flat = sample - (mean + fitted * (number - (good * number).sum() / shared))
        centre = (good * flat).sum() / shared
        threshold = constants.ZSCALE_SIGMA * ((good * (flat - centre).square()).sum() / shared).sqrt()
        bad = (inside & ((good == 0) | (flat.abs() > threshold))).long().cumsum(0)
        until = bad.gather(0, torch.minimum(number + ahead, count - 1.0).clamp_min(0.0).long())
        earlier = number - behind - 1
        since = torch.where(earlier >= 0, bad.gather(0, earlier.clamp_min(0.0).long()), 0)
        kept = (inside & (until <= since)).double()
        slope, before = torch.where(going, fitted, slope), torch.where(going, left, before)
        good, left = torch.where(going, kept, good), torch.where(going, kept.sum(), left)
    low, high = sample[0], _at(sample, count - 1)
    median, _ = _median_and_deviation(sample, torch.zeros_like(count), count)
    middle = torch.floor((count - 1.0) / 2)
    limits = []
    for contrast in constants.ZSCALE_CONTRASTS:
        steep, enough = slope / contrast, left >= least
        below = torch.maximum(low, median - (middle - 1) * steep)
        above = torch.minimum(high, median + (count - middle) * steep)
        limits.append((torch.where(enough, below, low), torch.where(enough, above, high)))
    return limits
