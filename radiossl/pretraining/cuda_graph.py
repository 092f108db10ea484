"""The model's passes recorded once and replayed: launching their many small kernels then costs nothing."""

from __future__ import annotations

import torch

from radiossl.pretraining.methods.base import Method
from radiossl.pretraining.recipe import Recipe


def record_passes(method: Method, images: int, recipe: Recipe) -> None:
    """Record a method's forward and backward pass on its GPU; from now on it replays them while it is training.

    Call it under the autocast that the passes are to have, without its cache. The method's tensors stay as they are.

    Parameters
    ----------
    method
        On the GPU.
    images
        How many every batch has.
    recipe
        Gives the shapes of the views.
    """
    device = next(method.parameters()).device
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    sides = [recipe.preprocessing.size] * 2 + [recipe.crops.size] * recipe.crops.number
    views = [torch.rand(images, recipe.preprocessing.channels, side, side, device=device) for side in sides]
    method.train()
    torch.cuda.make_graphed_callables(
        method, tuple(view.contiguous(memory_format=torch.channels_last) for view in views)
    )
    method.load_state_dict(before)
