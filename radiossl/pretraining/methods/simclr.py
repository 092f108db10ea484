"""SimCLR: views of one image attract, those of different images repel each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from radiossl.pretraining.distributed import gather_rows
from radiossl.pretraining.methods.base import Method
from radiossl.pretraining.methods.nt_xent import nt_xent
from radiossl.pretraining.recipe import Recipe


class SimCLR(Method):
    """SimCLR (Chen et al. 2020): the views of an image attract, those of different images repel each other.

    Parameters
    ----------
    network
        The backbone's network.
    feature_dim
        Length of its feature vectors.
    recipe
        Gives the widths of the projector and the temperature.
    """

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.models.modules import SimCLRProjectionHead

        super().__init__()
        self.network = network
        self.projector = SimCLRProjectionHead(feature_dim, recipe.head.hidden, recipe.head.output)
        self.temperature = recipe.temperature

    def forward(self, first: Tensor, second: Tensor, *crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch of pairs and the features of the first views."""
        features = self.network(torch.cat([first, second]))
        projections = self.projector(features).float()
        # The negatives of an image are all others of the batch, those that other processes hold too.
        a, b = map(gather_rows, projections.chunk(2))
        return nt_xent(a, b, self.temperature), features[: len(first)].detach()

    def chance_loss(self, pairs: int) -> float:
        """Loss of features that do not tell the images of a batch apart."""
        return math.log(2 * pairs - 1)
