"""The geometry of views: zooms, shifts, crops, flips and rotations by a single resampling."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from radiossl.images import kernels
from radiossl.images.augment import Range, chance, has_kernels, log_uniform, uniform
from radiossl.images.parallel import empty
from radiossl.io.schema import Settings


class RandomGeometry(Settings):
    """Crop, flip, rotate and resize by a single bilinear resampling.

    Attributes
    ----------
    crop_side
        Range of the crop's side as a fraction of the field's (RandomCropResize of Riggi et al. 2024, Table 2).
    zoom, shift
        Instead: range of the crop's side in units of the box around the source, drawn log-uniformly, and how far the
        crop's centre lies from the source's at most, along each axis, as a fraction of the crop's side.
    wide
        With `zoom`: probability that the crop's side is drawn up to the whole field instead, so that a source is seen
        small among its neighbours, too.
    crop_area, crop_ratio
        Instead: range of the crop's area as a fraction and of its aspect ratio, as `RandomResizedCrop` takes them.
    flips
        Probabilities of a horizontal and a vertical flip.
    exclusive_flips
        At most one of the two flips, each with its probability; otherwise they are independent.
    rotation, rotation_probability
        ``right-angle``: by 90, 180 or 270 degrees, alike; ``any``: by an angle from the whole circle.

    Notes
    -----
    The crop lies in the image's central field. What a rotation brings in from outside of it is real sky as long as the
    image has it, and 0 beyond.
    """

    crop_side: Range | None = None
    crop_area: Range | None = None
    crop_ratio: Range = (3 / 4, 4 / 3)
    zoom: Range | None = None
    shift: float = Field(default=0.0, ge=0, le=1)
    wide: float = Field(default=0.0, ge=0, le=1)
    flips: Range = (0.5, 0.5)
    exclusive_flips: bool = False
    rotation: Literal["none", "right-angle", "any"] = "any"
    rotation_probability: float = Field(default=1.0, ge=0, le=1)

    @field_validator("crop_side", "crop_area", "crop_ratio")
    @classmethod
    def _parts(cls, bounds: Range | None, info: ValidationInfo) -> Range | None:
        highest = math.inf if info.field_name == "crop_ratio" else 1.0
        if bounds is not None and not 0 < bounds[0] <= bounds[1] <= highest:
            limit = " and at most 1" if highest == 1 else ""
            raise ValueError(f"expected two numbers above 0{limit}, the smaller first, not {list(bounds)}")
        return bounds

    @field_validator("flips")
    @classmethod
    def _probabilities(cls, flips: Range) -> Range:
        if not all(0 <= flip <= 1 for flip in flips):
            raise ValueError(f"expected two probabilities from 0 to 1, not {list(flips)}")
        return flips

    def draw(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Draw the parameters of n images.

        ``height``, ``width``: of the crop, as fractions of the field; ``top``, ``left``: its place, 0 to 1 from one end
        of its freedom to the other; ``mirror_x``, ``mirror_y``: booleans; ``angle``: radians, from the first towards
        the second image axis. With `zoom`, instead of the first four: ``zoom``, the side in boxes; ``wide``, how far
        along the way from the least zoom to the whole field it lies, negative where `zoom` counts; ``right``, ``down``:
        the centre's shift in sides.
        """
        crop = self._draw_crop(n, generator) if self.zoom is None else self._draw_zoom(self.zoom, n, generator)
        horizontal, vertical = self.flips
        if self.exclusive_flips:
            choice = torch.rand(n, generator=generator)
            mirror_x = choice < horizontal
            mirror_y = (choice >= horizontal) & (choice < horizontal + vertical)
        else:
            mirror_x, mirror_y = chance(n, horizontal, generator), chance(n, vertical, generator)
        if self.rotation == "right-angle":
            angle = torch.randint(1, 4, (n,), generator=generator) * (math.pi / 2)
        else:
            angle = uniform(n, (0.0, 2 * math.pi), generator)
        turned = chance(n, 0.0 if self.rotation == "none" else self.rotation_probability, generator)
        return crop | {"mirror_x": mirror_x, "mirror_y": mirror_y, "angle": torch.where(turned, angle, 0.0)}

    def _draw_crop(self, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        if self.crop_area is not None:
            # As in torchvision, the first of ten shapes that fits; the whole field if none does.
            area = uniform(10 * n, self.crop_area, generator).view(10, n)
            ratio = log_uniform(10 * n, self.crop_ratio, generator).view(10, n)
            shapes = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()])  # (2, 10, n)
            fits = (shapes <= 1.0).all(dim=0)
            height, width = torch.where(fits, shapes, 1.0)[:, fits.long().argmax(dim=0), torch.arange(n)]
        else:
            height = width = uniform(n, self.crop_side or (1.0, 1.0), generator)
        top, left = torch.rand(2, n, generator=generator)
        return {"height": height, "width": width, "top": top, "left": left}

    def _draw_zoom(self, zoom: Range, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        right, down = self.shift * (2 * torch.rand(2, n, generator=generator) - 1)
        return {
            "zoom": log_uniform(n, zoom, generator),
            "wide": torch.where(chance(n, self.wide, generator), torch.rand(n, generator=generator), -1.0),
            "right": right,
            "down": down,
        }

    def sides(self, fields: Tensor, boxes: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Return the sides in pixels of the crops, without `zoom` those of the fields, shape (n,), on the CPU."""
        if self.zoom is None:
            return fields.cpu()
        wide = parameters["wide"].double()
        least = self.zoom[0] * boxes.double()
        whole = torch.maximum(fields.double(), least)
        return torch.where(wide < 0, parameters["zoom"].double() * boxes, least * (whole / least) ** wide)

    def crops(self, fields: Tensor, boxes: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        """Return height and width of the crops and the shift of their centres down and right, pixels, shape (4, n)."""
        side = self.sides(fields, boxes, parameters).double()
        if self.zoom is not None:
            return torch.stack([side, side, parameters["down"] * side, parameters["right"] * side])
        height, width, top, left = (parameters[name].double() for name in ("height", "width", "top", "left"))
        down, right = (top - 0.5) * (1 - height) * side, (left - 0.5) * (1 - width) * side
        return torch.stack([height * side, width * side, down, right])

    def apply_to(
        self,
        images: Tensor | list[Tensor],
        sizes: Tensor,
        fields: Tensor,
        size: int,
        parameters: dict[str, Tensor],
        boxes: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Resample images (n, channels, height, width) to (n, channels, size, size), 0 outside the image.

        `sizes` (n, 2) are height and width of what is image, in the top left corner; the rest is padding. On a CPU,
        images of several sizes can be a list instead. `fields` (n,) are the sides in pixels of the central fields that
        count as the whole images, `boxes` (n,), for `zoom`, those of the boxes around the sources, and `parameters`
        come from `draw`. Where a pixel of the result covers two or more of the image (of its field, without `zoom`),
        these are averaged first, so that nothing falls between. The result is `out`, a new tensor if none is given.
        """
        boxes = fields if boxes is None else boxes
        blocks = (self.sides(fields, boxes, parameters) / size).floor().clamp(min=1).long()
        # Where the sides are no multiples of a block, sizes are fractions: the centre stays where it was.
        sizes, fields, boxes = sizes / blocks[:, None], fields / blocks, boxes / blocks
        shapes = (torch.tensor([image.shape[-2:] for image in images]).view(-1, 2) / blocks[:, None]).ceil()
        theta = affine_matrices(shapes, sizes, self.crops(fields, boxes, parameters), parameters)
        if out is None:
            channels = images.shape[1] if isinstance(images, Tensor) else len(images[0])
            out = empty(len(images), channels, size, size, device=images[0].device if len(images) else "cpu")
        if not isinstance(images, Tensor) or has_kernels(images):
            views = zip(images, theta.numpy(), blocks.tolist(), out.numpy(), strict=True)
            for image, matrix, block, target in views:
                kernels.resample(image.numpy(), matrix, block, target)
            return out
        for block in blocks.unique().tolist():
            rows = (blocks == block).nonzero().squeeze(1)
            index = rows.to(images.device)
            part = images if len(rows) == len(images) else images[index]
            part = part if block == 1 else F.avg_pool2d(part, block, ceil_mode=True)
            out[index] = resample_at_once(part, theta[rows], size)
        return out


def resample_at_once(images: Tensor, theta: Tensor, size: int) -> Tensor:
    """Resample a batch by torch's own operations, on any device; see `affine_matrices`."""
    grid = F.affine_grid(theta.to(images.device, images.dtype), [len(images), 1, size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def affine_matrices(shapes: Tensor, sizes: Tensor, crop: Tensor, parameters: dict[str, Tensor]) -> Tensor:
    """Matrices (n, 2, 3) from the result's to the padded images' coordinates, both from -1 to 1.

    `shapes` (n, 2) are height and width of the padded images. `crop`, shape (4, n), holds height and width of the crop
    and how far its centre lies down and right of the image's, in pixels. The order of the steps is crop, flip, rotate.
    Coordinates of the result are therefore rotated back first, then mirrored, then scaled into the crop.
    """
    sizes, shapes = sizes.double().cpu(), shapes.double()
    height, width, down, right = crop.double()
    angle = parameters["angle"].double()
    cos, sin = angle.cos(), angle.sin()
    half_x = (1 - 2 * parameters["mirror_x"].double()) * width / 2
    half_y = (1 - 2 * parameters["mirror_y"].double()) * height / 2
    # Centre of the crop, in pixels from the padded image's corner.
    centre_x, centre_y = sizes[:, 1] / 2 + right, sizes[:, 0] / 2 + down
    first = torch.stack([cos * half_x, sin * half_x, centre_x], dim=1) * (2.0 / shapes[:, 1, None])
    second = torch.stack([-sin * half_y, cos * half_y, centre_y], dim=1) * (2.0 / shapes[:, 0, None])
    theta = torch.stack([first, second], dim=1)
    theta[:, :, 2] -= 1.0
    return theta
