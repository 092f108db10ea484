"""SimCLR: views of one image attract, those of different images repel each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from radiossl.pretraining.distributed import gather_rows
from radiossl.pretraining.methods.base import PretrainingMethod
from radiossl.pretraining.recipe import Recipe


class SimCLR(PretrainingMethod):
    """SimCLR (Chen et al. 2020): the views of an image attract, those of different images repel each other."""

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.models.modules import SimCLRProjectionHead

        super().__init__(network, feature_dim, recipe)
        self.projector = SimCLRProjectionHead(feature_dim, recipe.head.hidden, recipe.head.output)
        self.temperature = recipe.temperature

    def loss_between(self, features: Tensor, first: Tensor, second: Tensor, *crops: Tensor) -> Tensor:  # noqa: D102
        # The negatives of an image are all others of the batch, those that other processes hold too.
        a, b = map(gather_rows, self.projector(features).float().chunk(2))
        return nt_xent(a, b, self.temperature)


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Normalised, temperature-scaled cross entropy (Chen et al. 2020, equation 1) of projections (n, d), both ways.

    The numbers are those of lightly's `NTXentLoss`. That one takes the similarities of images to themselves out by
    indexing with a mask, for which the processor waits until the GPU has done all that it was given; here they are set
    to minus infinity, so that the next views are made meanwhile and the step can be recorded as a CUDA graph.

    Examples
    --------
    >>> round(float(nt_xent(torch.eye(4), torch.eye(4), 0.1)), 4)
    0.0003
    """
    rows = normalize(torch.cat([first, second]), dim=1)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    similarities = (rows @ rows.T / temperature).masked_fill(itself, -torch.inf)
    return cross_entropy(similarities, torch.arange(len(rows), device=rows.device).roll(len(first)))
