"""Random rotation, mirroring and brightness of annotated images; masks are rotated with the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from radiossl.detection.examples import Examples
from radiossl.detection.images import CONTRASTS, FieldPreprocessing
from radiossl.images.augment import chance, uniform

#: Objects of which less than this part is left in the image after a rotation are not trained on.
_LEAST_PART = 0.5
#: Smallest width and height, in pixels of the network's input, of an object to train on.
LEAST_SIDE = 2.0
#: For backbones with a noise floor, as in the recipe `radiossl`: the floor in sigma, and the power of the brightness.
_FLOOR_SIGMA, _LOG_GAMMA = (2.5, 6.0), 0.3

Target = dict[str, Tensor]


def training_batch(
    examples: Examples, rows: list[int], preprocessing: FieldPreprocessing, rotate: bool, generator: torch.Generator
) -> tuple[Tensor, list[Target]]:
    """Return augmented images (n, channels, size, size), and targets as torchvision's detectors take them.

    Those are ``boxes`` (m, 4), ``labels`` (m,) and ``masks`` (m, size, size). Images are mirrored at random and rotated
    by right angles, with `rotate` half of them also by any angle (which blurs), and changed in brightness: a random
    contrast of zscale from 0.25 to 0.4 (Riggi et al. 2024, section 4.3), or for backbones with a noise floor a random
    floor and power.
    """
    n = len(rows)
    mirrored, quarter = chance(n, 0.5, generator), torch.randint(4, (n,), generator=generator)
    turned = chance(n, 0.5 if rotate else 0.0, generator)
    angle = uniform(n, (-45.0, 45.0), generator)
    contrast = torch.randint(len(CONTRASTS), (n,), generator=generator)
    floor, gamma = uniform(n, _FLOOR_SIGMA, generator), uniform(n, (-_LOG_GAMMA, _LOG_GAMMA), generator).exp()
    images, targets = [], []
    for place, row in enumerate(rows):
        labels, masks = examples.target(row)
        area = masks.flatten(1).sum(dim=1)
        image = examples.prepared[row].float()
        pair = [_right_angles(part, bool(mirrored[place]), int(quarter[place])) for part in (image, masks)]
        if turned[place]:
            pair = [_rotated(part, float(angle[place])) for part in pair]
        images.append(pair[0])
        targets.append(_target(labels, pair[1], area))
    stack = torch.stack(images)
    how = preprocessing.preprocessing.mode
    if how == "floor-stretch":
        return preprocessing.finish(stack, floor=floor, gamma=gamma), targets
    if how == "sigma-zscale":
        limits = examples.contrasts[torch.tensor(rows), contrast]
        return preprocessing.finish(stack, contrast=limits), targets
    return preprocessing.finish(stack, gamma=gamma), targets


def _right_angles(images: Tensor, mirrored: bool, quarter: int) -> Tensor:
    return (images.flip(-1) if mirrored else images).rot90(quarter, dims=(-2, -1))


def _rotated(images: Tensor, angle_deg: float) -> Tensor:
    """Rotate (k, size, size) around the centre by linear interpolation; corners from outside are 0."""
    from torchvision.transforms.v2.functional import InterpolationMode, rotate

    if len(images) == 0:
        return images
    turned = rotate(images.float(), angle_deg, InterpolationMode.BILINEAR)
    return turned if images.is_floating_point() else (turned >= 0.5).to(images.dtype)


def _target(labels: Tensor, masks: Tensor, area: Tensor) -> Target:
    """Boxes around what is left of the masks; objects that are mostly gone are left out."""
    from torchvision.ops import masks_to_boxes

    kept = masks.flatten(1).sum(dim=1) >= (_LEAST_PART * area).clamp_min(1)
    labels, masks = labels[kept], masks[kept]
    boxes = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])  # edges of pixels instead of their centres
    kept = (boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(dim=1)
    return {"boxes": boxes[kept], "labels": labels[kept], "masks": masks[kept]}
