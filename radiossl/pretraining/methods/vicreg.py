"""VICReg: views of one image agree, while every feature keeps its variance and none repeats another."""

from __future__ import annotations

from torch import Tensor, nn

from radiossl.pretraining.distributed import gather_rows
from radiossl.pretraining.methods.base import PretrainingMethod
from radiossl.pretraining.recipe import Recipe


class VICReg(PretrainingMethod):
    """VICReg (Bardes, Ponce & LeCun 2022): invariance, variance and covariance of projections, without negatives."""

    recordable = False  # lightly's covariance term indexes with a mask, for which the processor waits

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.loss import VICRegLoss
        from lightly.models.modules.heads import VICRegProjectionHead

        super().__init__(network, feature_dim, recipe)
        self.projector = VICRegProjectionHead(feature_dim, recipe.head.hidden, recipe.head.output)
        invariance, self.variance, covariance = recipe.vicreg_weights
        self.loss = VICRegLoss(invariance, self.variance, covariance)

    def loss_between(self, features: Tensor, first: Tensor, second: Tensor, *crops: Tensor) -> Tensor:  # noqa: D102
        return self.loss(*map(gather_rows, self.projector(features).float().chunk(2)))

    def chance_loss(self, pairs: int) -> float:
        """Loss of features that are the same for all images: the variance term alone."""
        return self.variance
