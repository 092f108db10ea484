"""VICReg: views of one image agree, while every feature keeps its variance and none repeats another."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from radiossl.pretraining.distributed import gather_rows
from radiossl.pretraining.methods.base import Method
from radiossl.pretraining.recipe import Recipe


class VICReg(Method):
    """VICReg (Bardes, Ponce & LeCun 2022): invariance, variance and covariance of projections, without negatives.

    Parameters
    ----------
    network
        The backbone's network.
    feature_dim
        Length of its feature vectors.
    recipe
        Gives the widths of the projector and the weights of the three terms.
    """

    recordable = False  # lightly's covariance term indexes with a mask, for which the processor waits

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.loss import VICRegLoss
        from lightly.models.modules.heads import VICRegProjectionHead

        super().__init__()
        self.network = network
        self.projector = VICRegProjectionHead(feature_dim, recipe.head.hidden, recipe.head.output)
        invariance, self.variance, covariance = recipe.vicreg_weights
        self.loss = VICRegLoss(invariance, self.variance, covariance)

    def forward(self, first: Tensor, second: Tensor, *crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch of pairs and the features of the first views."""
        features = self.network(torch.cat([first, second]))
        projections = self.projector(features).float()
        return self.loss(*map(gather_rows, projections.chunk(2))), features[: len(first)].detach()

    def chance_loss(self, pairs: int) -> float:
        """Loss of features that are the same for all images: the variance term alone."""
        return self.variance
