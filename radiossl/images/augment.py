"""Augmentations of batches, with different parameters for every image.

Every transform is an `nn.Module` whose `draw` makes the random parameters of n images, always on the CPU from a
`torch.Generator`, and whose `apply` uses them on the device of the images. So a seed gives the same views on
every device, and a batch may be worked on in pieces.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from radiossl.images import kernels
from radiossl.store.statistics import FWHM_PER_SIGMA

Range = tuple[float, float]


def uniform(n: int, bounds: Range, generator: torch.Generator | None) -> Tensor:
    """Draw n numbers uniformly from `bounds`."""
    low, high = bounds
    return low + (high - low) * torch.rand(n, generator=generator)


def log_uniform(n: int, bounds: Range, generator: torch.Generator | None) -> Tensor:
    """Draw n numbers from `bounds`, both above 0, whose logarithms are uniform."""
    return uniform(n, (math.log(bounds[0]), math.log(bounds[1])), generator).exp()


def chance(n: int, probability: float, generator: torch.Generator | None) -> Tensor:
    """Draw n booleans, true with `probability`."""
    return torch.rand(n, generator=generator) < probability


class BatchTransform(nn.Module):
    """Base of the transforms that change the values of images of shape (n, channels, height, width).

    An image is changed with some probability, by parameters drawn uniformly from the ranges of these names.
    """

    def __init__(self, probability: float, **ranges: Range) -> None:
        super().__init__()
        self.probability, self.ranges = probability, ranges

    def draw(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Draw the parameters of n images: tensors with n entries, on the CPU."""
        selected = {"selected": chance(n, self.probability, generator)}
        return selected | {name: uniform(n, bounds, generator) for name, bounds in self.ranges.items()}

    def change(self, images: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Return images (m, c, h, w), all of them changed, for parameters with m entries on the images' device."""
        raise NotImplementedError

    def change_one_(self, image: Tensor, parameters: dict[str, float]) -> None:
        """Change one float32 image (c, h, w) in place, on the CPU; as `change` does, if nothing else is said."""
        ones = {name: torch.tensor([value]) for name, value in parameters.items()}
        image.copy_(self.change(image[None], ones)[0])

    def apply_(self, images: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Apply the transform in place to those images that `draw` has selected, and return them all."""
        rows = parameters["selected"].nonzero().squeeze(1)  # drawn on the CPU, so no device has to wait
        if len(rows) == 0:
            return images
        chosen = {name: values[rows] for name, values in parameters.items()}
        if has_kernels(images):
            # One by one: an image fits the cache.
            columns = [values.tolist() for values in chosen.values()]
            for row, *numbers in zip(rows.tolist(), *columns, strict=True):
                self.change_one_(images[row], dict(zip(chosen, numbers, strict=True)))
            return images
        chosen = {name: values.to(images.device) for name, values in chosen.items()}
        index = rows.to(images.device)
        return images.index_copy_(0, index, self.change(images[index], chosen).to(images.dtype))

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw and apply, to a copy."""
        return self.apply_(images.clone(), self.draw(len(images), generator))


def has_kernels(images: Tensor) -> bool:
    """Whether the compiled kernels, which work on the memory of float32 images in place, can be used."""
    return images.device.type == "cpu" and images.dtype == torch.float32 and images.is_contiguous()


def _column(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device, images.dtype).view(-1, 1, 1, 1)


class RandomColorJitter(BatchTransform):
    """Brightness, contrast, saturation and hue, each changed at random, in this order.

    The operations are those of `torchvision.transforms.ColorJitter` (which shuffles their order). Saturation and hue
    do nothing to single-channel images. Factors of brightness, contrast and saturation are drawn from [1 - x, 1 + x],
    not below 0, the shift of the hue from [-x, x], in turns of the hue circle; x is at most 0.5.
    """

    def __init__(
        self, brightness: float, contrast: float, saturation: float = 0.0, hue: float = 0.0, probability: float = 1.0
    ) -> None:
        self.strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        factors = {name: (max(0.0, 1.0 - strength), 1.0 + strength) for name, strength in self.strengths.items()}
        super().__init__(probability, **factors, hue=(-hue, hue))
        self.hue = hue

    def change(self, images: Tensor, parameters: dict[str, Tensor]) -> Tensor:  # noqa: D102
        factors = {name: _column(values, images) for name, values in parameters.items()}
        result = (images * factors["brightness"]).clamp_(0.0, 1.0)
        mean = _grey(result).mean(dim=(-2, -1), keepdim=True)
        result = _blend(result, mean, factors["contrast"])
        if images.shape[1] == 3 and self.strengths["saturation"]:
            result = _blend(result, _grey(result), factors["saturation"])
        if images.shape[1] == 3 and self.hue:
            result = _shift_hue(result, factors["hue"])
        return result

    def change_one_(self, image: Tensor, parameters: dict[str, float]) -> None:  # noqa: D102
        factors = {name: np.float32(value) for name, value in parameters.items()}
        pixels = image.flatten(1).numpy()
        if len(pixels) == 3:
            names = ("brightness", "contrast", "saturation", "hue")
            kernels.jitter_colour(pixels, *(factors[name] for name in names))
        else:
            kernels.jitter_grey(pixels, factors["brightness"], factors["contrast"])


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Move images away from (factor above 1) or towards another, within [0, 1]."""
    return torch.addcmul(other * (1.0 - factor), images, factor).clamp_(0.0, 1.0)


def _grey(images: Tensor) -> Tensor:
    """Luma of three channels (ITU-R 601-2, as in Pillow and torchvision); a single channel is its own."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    return (0.2989 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)


def _shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of (n, 3, h, w) images by `shift` turns, shape (n, 1, 1, 1).

    Goes from RGB to hue, value and chroma and back in closed form, without the six-way selection of the usual
    conversion: channel c is value - chroma * clamp(min(k, 4 - k), 0, 1), with k = (5, 3, 1)[c] + 6 hue modulo 6.
    """
    red, green, blue = images.split(1, dim=1)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    inverse = chroma.clamp_min(1e-12).reciprocal_()
    hue = torch.where(value == green, (blue - red).mul_(inverse).add_(2.0), (red - green).mul_(inverse).add_(4.0))
    hue = torch.where(value == red, (green - blue).mul_(inverse), hue).add_(6.0 * shift)
    sector = torch.tensor([5.0, 3.0, 1.0], device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
    k = hue + sector
    k.sub_(torch.floor(k * (1.0 / 6.0)), alpha=6.0)
    weight = torch.minimum(k, 4.0 - k).clamp_(0.0, 1.0)
    return torch.addcmul(value, weight, chroma, value=-1.0)


class RandomGaussianBlur(BatchTransform):
    """Gaussian blur with a random width of `sigma` pixels, edges reflected.

    The kernel has a side of `kernel_size` pixels, odd; by default it reaches four sigma of the widest blur.
    """

    def __init__(self, sigma: Range, probability: float = 1.0, kernel_size: int | None = None) -> None:
        super().__init__(probability, sigma=sigma)
        self.radius = math.ceil(4 * sigma[1]) if kernel_size is None else kernel_size // 2

    def change(self, images: Tensor, parameters: dict[str, Tensor]) -> Tensor:  # noqa: D102
        # A blur with a width of its own for each image is a product with two banded matrices, A X B^T.
        rows = self._matrix(images.shape[-2], parameters["sigma"])
        columns = rows if images.shape[-1] == images.shape[-2] else self._matrix(images.shape[-1], parameters["sigma"])
        return rows @ images.float() @ columns.transpose(-1, -2)

    def change_one_(self, image: Tensor, parameters: dict[str, float]) -> None:  # noqa: D102
        radius = min(self.radius, min(image.shape[-2:]) - 1)
        kernels.blur(image.numpy(), self._taps(radius, torch.tensor([parameters["sigma"]]))[0].numpy())

    @staticmethod
    def _taps(radius: int, sigma: Tensor) -> Tensor:
        """Weights (n, 2 radius + 1) of the kernels, with a sum of one."""
        offsets = torch.arange(-radius, radius + 1, device=sigma.device, dtype=torch.float32)
        kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
        return kernel / kernel.sum(dim=1, keepdim=True)

    def _matrix(self, side: int, sigma: Tensor) -> Tensor:
        """Blurring matrices (n, 1, side, side): the kernel along the diagonal, folded back at the edges."""
        radius = min(self.radius, side - 1)
        kernel = self._taps(radius, sigma)
        source = torch.arange(side)[:, None] + torch.arange(-radius, radius + 1)
        source = torch.where(source < 0, -source, source)
        source = torch.where(source >= side, 2 * (side - 1) - source, source)  # (side, taps)
        matrix = torch.zeros(len(sigma), side, side, device=sigma.device)
        index = source.to(sigma.device).expand(len(sigma), -1, -1)
        return matrix.scatter_add_(2, index, kernel[:, None].expand(-1, side, -1)).unsqueeze(1)


class RandomBeam(RandomGaussianBlur):
    """Blur to the resolution of another telescope: a beam of a random width relative to the source's box.

    The width belongs to the sky, not to the view: a view that shows half of the box is blurred over twice as many of
    its pixels. It acts on brightness in units of the noise, before any stretch, and leaves it in units of the noise
    that the blurred image has: noise falls with the beam's width, taken to be `NOISE_PX` pixels of the image at first.
    The beam's full width at half maximum, as a fraction of the box's side, is drawn log-uniformly from `fwhm`.
    """

    def __init__(self, fwhm: Range, probability: float = 1.0) -> None:
        super().__init__((0.0, math.inf), probability, kernel_size=_ANY_RADIUS)
        self.fwhm = fwhm

    def draw(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Draw the parameters of n images; ``sigma`` is in units of the box's side until `in_pixels`."""
        sigma = log_uniform(n, self.fwhm, generator) / FWHM_PER_SIGMA
        return {"selected": chance(n, self.probability, generator), "sigma": sigma}

    @staticmethod
    def in_pixels(parameters: dict[str, Tensor], box_pixels: Tensor, per_pixel: Tensor) -> dict[str, Tensor]:
        """Return parameters of `draw` in pixels of views.

        `box_pixels` is the side of the box in pixels of the view, `per_pixel` how many of its pixels one of the image
        has along a side, shapes (n,).
        """
        sigma = (parameters["sigma"] * box_pixels).clamp_min(_LEAST_SIGMA)
        signal = torch.hypot(torch.ones(()).double(), FWHM_PER_SIGMA * sigma / (NOISE_PX * per_pixel))
        return parameters | {"sigma": sigma.float(), "signal": signal.float()}

    def change(self, images: Tensor, parameters: dict[str, Tensor]) -> Tensor:  # noqa: D102
        return super().change(images, parameters) * _column(parameters["signal"], images)

    def change_one_(self, image: Tensor, parameters: dict[str, float]) -> None:  # noqa: D102
        radius = min(math.ceil(5 * parameters["sigma"]), min(image.shape[-2:]) - 1)
        kernels.blur(image.numpy(), self._taps(radius, torch.tensor([parameters["sigma"]]))[0].numpy())
        image *= parameters["signal"]


#: Pixels over which the noise of an image is correlated: a beam is commonly sampled by three (FIRST: 5.4" by 1.8").
NOISE_PX = 3.0
#: A narrower blur does nothing, and would divide by zero.
_LEAST_SIGMA = 0.05
#: Wider than any view, so that the view's own side bounds the kernel.
_ANY_RADIUS = 2049


class RandomThresholding(BatchTransform):
    """Set the pixels below a random percentile to zero, in every channel by its own value.

    Riggi et al. 2024, section 2.3: it makes the model less dependent on the background. The percentile (0 to 100) is
    taken over the non-zero pixels of a channel (zero is blank or below a limit) and is the same for all channels.
    """

    def __init__(self, percentile: Range, probability: float = 1.0) -> None:
        super().__init__(probability, percentile=percentile)

    def change(self, images: Tensor, parameters: dict[str, Tensor]) -> Tensor:  # noqa: D102
        fraction = parameters["percentile"].double() / 100.0
        values = images.flatten(2)  # (n, channels, pixels)
        zeros = values.shape[2] - torch.count_nonzero(values, dim=2)
        inside = (values.shape[2] - zeros - 1).clamp_min(0)
        # A pixel is below the interpolated percentile exactly when it is below the next value of the sorted list.
        rank = zeros + torch.ceil(inside * fraction[:, None] - 1e-9).long()
        rank = rank.clamp_max(values.shape[2] - 1)
        ranked = torch.where(values == 0, -torch.inf, values).sort(dim=2).values
        limit = ranked.gather(2, rank[..., None])
        return images * (images >= limit[..., None])

    def change_one_(self, image: Tensor, parameters: dict[str, float]) -> None:  # noqa: D102
        kernels.threshold(image.flatten(1).numpy(), parameters["percentile"] / 100.0)


class RandomNoise(BatchTransform):
    """Add Gaussian noise of a random level `sigma`, in units of the image's values."""

    def __init__(self, sigma: Range, probability: float = 1.0) -> None:
        super().__init__(probability, sigma=sigma)

    def draw(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:  # noqa: D102
        # The noise itself is made later, on the images' device, from a seed for each image.
        seeds = torch.randint(2**31 - 1, (n,), generator=generator)
        level = uniform(n, self.ranges["sigma"], generator)
        return {"selected": chance(n, self.probability, generator), "sigma": level, "seed": seeds}

    def change(self, images: Tensor, parameters: dict[str, Tensor]) -> Tensor:  # noqa: D102
        noise = _normal(parameters["seed"].to(images.device), math.prod(images.shape[1:])).view(images.shape)
        return torch.addcmul(images, noise.to(images.dtype), _column(parameters["sigma"], images))

    def change_one_(self, image: Tensor, parameters: dict[str, float]) -> None:  # noqa: D102
        kernels.add_noise(image.view(-1).numpy(), int(parameters["seed"]), np.float32(parameters["sigma"]))


def _normal(seeds: Tensor, count: int) -> Tensor:
    """Standard normal numbers (n, count) out of n integer seeds, the same on every device.

    A counter is hashed (the finaliser of SplitMix64, Steele et al. 2014) and made normal by Box and Muller's transform.
    `radiossl.images.kernels.add_noise` makes the same ones on a CPU.
    """
    pairs = -(-count // 2)
    state = seeds[:, None] * _GOLDEN + torch.arange(1, pairs + 1, device=seeds.device) * _ODD
    for shift, factor in ((30, _MIX_1), (27, _MIX_2), (31, 1)):
        # A shift of signed numbers brings in copies of the sign, which the mask takes away.
        state = (state ^ ((state >> shift) & ((1 << (64 - shift)) - 1))) * factor
    first = ((state & 0xFFFFFFFF).double() + 1.0) / 2.0**32
    angle = ((state >> 32) & 0xFFFFFFFF).float() * (2 * math.pi / 2.0**32)
    radius = (-2.0 * first.log()).sqrt().float()
    return torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)[:, :count]


# With a sign, as tensors have their 64-bit integers.
_GOLDEN, _ODD, _MIX_1, _MIX_2 = (value - (1 << 64) for value in kernels.MIXING)


class RandomCircularMask(BatchTransform):
    """Blank what lies outside a circle around the centre: the background away from the source.

    The radius is drawn as a fraction of the image's side; 0.5 touches the edges.
    """

    def __init__(self, radius: Range, probability: float = 1.0) -> None:
        super().__init__(probability, radius=radius)

    def change(self, images: Tensor, parameters: dict[str, Tensor]) -> Tensor:  # noqa: D102
        height, width = images.shape[-2:]
        y = (torch.arange(height, device=images.device) - (height - 1) / 2) / height
        x = (torch.arange(width, device=images.device) - (width - 1) / 2) / width
        return images * (torch.hypot(y[:, None], x[None, :]) <= _column(parameters["radius"], images))
