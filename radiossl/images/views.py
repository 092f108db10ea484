"""Random views of cutouts: what the two branches of a contrastive method see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from radiossl.images import augment
from radiossl.images.augment import BatchTransform, Range
from radiossl.images.geometry import RandomGeometry
from radiossl.images.parallel import empty, map_on_cores
from radiossl.images.preprocess import Preprocessing, chunk_length


class Augmentation(RandomGeometry):
    """Everything random about a view: its `RandomGeometry`, and what follows. A null leaves a step out.

    Attributes
    ----------
    beam_fwhm, beam_probability
        See `RandomBeam`; preprocessing mode ``floor-stretch`` only, for elsewhere the pixels are clipped by then.
    jitter_brightness, jitter_contrast, jitter_saturation, jitter_hue, jitter_probability
        See `RandomColorJitter`.
    blur_sigma, blur_kernel, blur_probability
        See `RandomGaussianBlur`.
    threshold_percentile, threshold_probability
        See `RandomThresholding`.
    noise_sigma, noise_probability
        Noise added to images in units of their rms; preprocessing mode ``floor-stretch`` only.
    mask_radius, mask_probability
        See `RandomCircularMask`.
    floor_sigma
        Range of the noise floor of each view in units of the rms, log-uniform; mode ``floor-stretch`` only. Where a
        source fills its cutout, the rms at embedding is partly the source's own: so up to several times the usual one.
    log_gain, log_gamma
        The gain and the power of a view, of an image in [0, 1], are exp(U(-x, x)).
    """

    beam_fwhm: Range = (0.03, 0.3)
    beam_probability: float = Field(default=0.0, ge=0, le=1)
    jitter_brightness: float = Field(default=0.0, ge=0)
    jitter_contrast: float = Field(default=0.0, ge=0)
    jitter_saturation: float = Field(default=0.0, ge=0)
    jitter_hue: float = Field(default=0.0, ge=0, le=0.5)
    jitter_probability: float = Field(default=0.0, ge=0, le=1)
    blur_sigma: Range = (0.1, 2.0)
    blur_kernel: int | None = Field(default=None, ge=3)
    blur_probability: float = Field(default=0.0, ge=0, le=1)
    threshold_percentile: Range = (40.0, 60.0)
    threshold_probability: float = Field(default=0.0, ge=0, le=1)
    noise_sigma: Range = (0.0, 1.0)
    noise_probability: float = Field(default=0.0, ge=0, le=1)
    mask_radius: Range = (0.35, 0.6)
    mask_probability: float = Field(default=0.0, ge=0, le=1)
    floor_sigma: Range | None = None
    log_gain: float = Field(default=0.0, ge=0)
    log_gamma: float = Field(default=0.0, ge=0)

    @field_validator("zoom", "beam_fwhm", "floor_sigma")
    @classmethod
    def _ratios(cls, bounds: Range | None) -> Range | None:
        if bounds is not None and not 0 < bounds[0] <= bounds[1]:
            raise ValueError(f"expected two numbers above 0, the smaller first, not {list(bounds)}")
        return bounds

    @field_validator("blur_sigma", "threshold_percentile", "noise_sigma", "mask_radius")
    @classmethod
    def _from_zero(cls, bounds: Range, info: ValidationInfo) -> Range:
        highest = 100.0 if info.field_name == "threshold_percentile" else math.inf
        if not 0 <= bounds[0] <= bounds[1] <= highest:
            limit = f"from 0 to {highest:g}" if highest < math.inf else "from 0 on"
            raise ValueError(f"expected two numbers {limit}, the smaller first, not {list(bounds)}")
        return bounds


# Riggi et al. 2024, Table 2. The jitter's strength of 0.5 multiplies its four ranges (0.8, 0.8, 0.8, 0.2), as in
# SimCLR; horizontal and vertical flip, each with probability 0.33, exclude each other.
_RIGGI_2024 = {
    "crop_side": (0.8, 1.0),
    "jitter_brightness": 0.4,
    "jitter_contrast": 0.4,
    "jitter_saturation": 0.4,
    "jitter_hue": 0.1,
    "jitter_probability": 0.8,
    "flips": (0.33, 0.33),
    "exclusive_flips": True,
    "rotation": "right-angle",
    "rotation_probability": 0.5,
    "blur_sigma": (1.0, 3.0),
    "blur_probability": 0.1,
}
# Slijepcevic et al. 2024 as published in their code: any angle, crop of 80 to 100 % of the area, jitter of half
# strength, blur with a 7-pixel kernel (one tenth of the 70-pixel image) in a tenth of the views.
_SLIJEPCEVIC_2024 = {
    "crop_area": (0.8, 1.0),
    "flips": (0.5, 0.5),
    "rotation": "any",
    "jitter_brightness": 0.4,
    "jitter_contrast": 0.4,
    "jitter_probability": 0.8,
    "blur_kernel": 7,
    "blur_sigma": (0.1, 2.0),
    "blur_probability": 0.1,
}

#: Augmentations by name.
PRESETS: dict[str, dict[str, Any]] = {
    "riggi2024-hulk": _RIGGI_2024 | {"threshold_percentile": (40.0, 60.0), "threshold_probability": 0.5},
    "riggi2024-banner": _RIGGI_2024,
    # Slijepcevic et al. 2022, section 3: blur with a 3-pixel kernel at 0.05. The rest is not printed there; it is taken
    # from the later paper.
    "slijepcevic2022": _SLIJEPCEVIC_2024 | {"blur_kernel": 3, "blur_probability": 0.05},
    "slijepcevic2024": _SLIJEPCEVIC_2024,
    # The package's own; docs/conventions.md says which shortcuts it prevents. Zooms and shifts are of the source,
    # not of its box; beams are those of other telescopes.
    "radiossl": {
        "zoom": (0.75, 1.9),
        "shift": 0.15,
        "wide": 0.4,
        "beam_fwhm": (0.04, 0.4),
        "beam_probability": 0.5,
        "noise_sigma": (0.0, 1.0),
        "noise_probability": 0.3,
        "flips": (0.5, 0.5),
        "rotation": "any",
        "threshold_percentile": (40.0, 60.0),
        "threshold_probability": 0.5,
        "floor_sigma": (2.5, 25.0),
        "log_gain": 0.5,
        "log_gamma": 0.5,
    },
}


class ViewMaker:
    """Makes random views of batches of raw cutouts.

    Parameters
    ----------
    preprocessing
        What is done to every image; its `size` is the views'.
    augmentation
        What is random.
    part
        Of several processes with equal parts of a batch, the number of this one, from 0, and how many there are.
        Randomness is drawn for the whole batch, so that views do not depend on who makes them.
    """

    def __init__(
        self, preprocessing: Preprocessing, augmentation: Augmentation, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.preprocessing, self.part = preprocessing, part
        self.augmentation = a = augmentation
        self.geometry: RandomGeometry = augmentation
        before: dict[str, BatchTransform] = {
            "beam": augment.RandomBeam(a.beam_fwhm, a.beam_probability),
            "noise": augment.RandomNoise(a.noise_sigma, a.noise_probability),
            "mask": augment.RandomCircularMask(a.mask_radius, a.mask_probability),
        }
        after: dict[str, BatchTransform] = {
            "jitter": augment.RandomColorJitter(
                a.jitter_brightness, a.jitter_contrast, a.jitter_saturation, a.jitter_hue, a.jitter_probability
            ),
            "blur": augment.RandomGaussianBlur(a.blur_sigma, a.blur_probability, a.blur_kernel),
            "threshold": augment.RandomThresholding(a.threshold_percentile, a.threshold_probability),
        }
        # Steps that are off are left out altogether, as those are that need brightness in units of the rms.
        if preprocessing.mode != "floor-stretch":
            del before["noise"], before["beam"]
        self.before, self.after = (
            {name: step for name, step in steps.items() if step.probability > 0} for steps in (before, after)
        )

    def __call__(
        self,
        pixels: Tensor | Sequence[NDArray[np.float32]],
        statistics: Tensor,
        generator: torch.Generator | None = None,
        count: int = 2,
        boxes: Tensor | None = None,
    ) -> list[Tensor]:
        """Make `count` random views of every cutout.

        Parameters
        ----------
        pixels
            Raw cutouts: a tensor (n, height, width) on the device to work on, or arrays of any sizes.
        statistics
            Shape (n, 10), float64, on the device to work on.
        generator
            Where the randomness comes from, on the CPU. The views depend on nothing else.
        count
            Views of each cutout.
        boxes
            Side in pixels of the box around each cutout's source, shape (n,), on the CPU, to which `zoom` and beams are
            relative; the whole field where it is NaN, or if none are given.

        Returns
        -------
        list of Tensor
            `count` tensors of shape (n, channels, size, size), on the device of `statistics`.
        """
        n, size = len(statistics), self.preprocessing.size
        rank, processes = self.part
        own = slice(rank * n, (rank + 1) * n)
        draws = [_rows(self._draw(n * processes, generator), own) for _ in range(count)]
        shapes = [pixels.shape[1:]] if isinstance(pixels, Tensor) else [image.shape for image in pixels]
        step = chunk_length(statistics.device, max([size**2, *map(math.prod, shapes)]), n)
        views = [empty(n, self.preprocessing.channels, size, size, device=statistics.device) for _ in draws]

        def part(start: int) -> None:
            rows = slice(start, start + step)
            prepared, sizes = self._prepare(pixels[rows], statistics[rows])
            fields = sizes.amax(dim=1).float()
            if self.preprocessing.field_px is not None:
                fields = torch.full_like(fields, self.preprocessing.field_px)
            known = torch.full((len(fields),), torch.nan) if boxes is None else boxes[rows]
            sides = torch.where(known > 0, known, fields).double()
            for view, draw in zip(views, draws, strict=True):
                self._view(prepared, sizes, fields, sides, _rows(draw, rows), view[rows])

        map_on_cores(part, range(0, n, step))
        return views

    def _draw(self, n: int, generator: torch.Generator | None) -> dict[str, dict[str, Tensor]]:
        a = self.augmentation
        draws = {"geometry": self.geometry.draw(n, generator)}
        for name, step in (self.before | self.after).items():
            draws[name] = step.draw(n, generator)
        finish: dict[str, Tensor] = {}
        if self.preprocessing.mode == "floor-stretch":
            usual = torch.full((n,), self.preprocessing.floor_sigma)
            finish["floor"] = augment.log_uniform(n, a.floor_sigma, generator) if a.floor_sigma else usual
        for name, strength in (("gain", a.log_gain), ("gamma", a.log_gamma)):
            if strength:
                finish[name] = augment.uniform(n, (-strength, strength), generator).exp()
        return draws | {"finish": finish} if finish else draws

    def _prepare(
        self, pixels: Tensor | Sequence[NDArray[np.float32]], statistics: Tensor
    ) -> tuple[Tensor | list[Tensor], Tensor]:
        """Scale cutouts.

        Returns images (n, channels, height, width) and their own sizes (n, 2). Those of several sizes are a list on a
        CPU, and padded to one size on an accelerator.
        """
        device = statistics.device
        if not isinstance(pixels, Tensor) and len({image.shape for image in pixels}) == 1:
            pixels = torch.from_numpy(np.stack(pixels)).to(device)
        if isinstance(pixels, Tensor):
            sizes = torch.tensor([pixels.shape[1:]]).expand(len(pixels), 2)
            return self.preprocessing.prepare(pixels, statistics), sizes
        singles = [torch.from_numpy(np.array(image))[None].to(device) for image in pixels]
        images = [self.preprocessing.prepare(im, statistics[i, None])[0] for i, im in enumerate(singles)]
        sizes = torch.tensor([image.shape[1:] for image in images])
        if device.type == "cpu":
            return images, sizes
        height, width = sizes.amax(dim=0).tolist()
        return torch.stack([F.pad(im, (0, width - im.shape[2], 0, height - im.shape[1])) for im in images]), sizes

    def _view(
        self,
        prepared: Tensor | list[Tensor],
        sizes: Tensor,
        fields: Tensor,
        boxes: Tensor,
        draw: dict[str, dict[str, Tensor]],
        out: Tensor,
    ) -> None:
        size, geometry = out.shape[-1], draw["geometry"]
        target = out if len(prepared[0]) == out.shape[1] else None  # else its channels are made later
        images = self.geometry.apply_to(prepared, sizes, fields, size, geometry, boxes, target)
        for name, step in self.before.items():
            parameters = draw[name]
            if isinstance(step, augment.RandomBeam):
                per_pixel = self.preprocessing.size / self.geometry.sides(fields, boxes, draw["geometry"])
                parameters = step.in_pixels(parameters, boxes * per_pixel, per_pixel)
            images = step.apply_(images, parameters)
        if "finish" in draw:
            images = self.preprocessing.finish(images, **{k: v.to(images.device) for k, v in draw["finish"].items()})
        for name, step in self.after.items():
            images = step.apply_(images, draw[name])
        images = self.preprocessing.normalise(images)
        if images is not out:
            out.copy_(images)


def _rows(draw: dict[str, dict[str, Tensor]], rows: slice) -> dict[str, dict[str, Tensor]]:
    return {step: {name: values[rows] for name, values in parameters.items()} for step, parameters in draw.items()}
