"""SwAV: views of one image are to belong to the same prototypes, small crops of it too."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from radiossl.pretraining.distributed import gather_rows
from radiossl.pretraining.methods.base import PretrainingMethod
from radiossl.pretraining.recipe import Recipe


class SwAV(PretrainingMethod):
    """SwAV (Caron et al. 2020): from each view it is predicted to which prototypes the others belong.

    The prototypes share the images of a batch equally among them (Sinkhorn's algorithm), so that they cannot collapse.
    """

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.loss import SwaVLoss
        from lightly.models.modules import SwaVProjectionHead, SwaVPrototypes

        super().__init__(network, feature_dim, recipe)
        self.projector = SwaVProjectionHead(feature_dim, recipe.head.hidden, recipe.head.output)
        self.prototypes = SwaVPrototypes(recipe.head.output, recipe.prototypes)
        self.prototypes.normalize()
        self.loss = SwaVLoss(temperature=recipe.temperature)
        self.count = recipe.prototypes

    def loss_between(self, features: Tensor, first: Tensor, second: Tensor, *crops: Tensor) -> Tensor:  # noqa: D102
        large = self._similarities(features, 2)
        small = self._similarities(self.network(torch.cat(crops)), len(crops)) if crops else []
        return self.loss(large, small).sum()

    def _similarities(self, features: Tensor, views: int) -> list[Tensor]:
        """Similarities of the images of all processes to the prototypes, (n, prototypes) for each view."""
        similarities: Any = self.prototypes(normalize(self.projector(features), dim=1)).float()
        return [gather_rows(part) for part in similarities.chunk(views)]

    def chance_loss(self, pairs: int) -> float:
        """Loss of features that belong to all prototypes alike."""
        return math.log(self.count)

    def after_step(self, progress: float) -> None:
        """Bring the prototypes back to unit length."""
        self.prototypes.normalize()
