"""BYOL: a network predicts what a moving average of itself makes of the other view."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from radiossl.pretraining.methods.base import PretrainingMethod
from radiossl.pretraining.recipe import Recipe


class BYOL(PretrainingMethod):
    """BYOL (Grill et al. 2020): one network predicts what a moving average of itself makes of the other view."""

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead

        super().__init__(network, feature_dim, recipe)
        head = recipe.head
        self.projector = BYOLProjectionHead(feature_dim, head.hidden, head.output)
        self.predictor = BYOLPredictionHead(head.output, head.predictor_hidden, head.output)
        self.target_network = copy.deepcopy(network).requires_grad_(False)
        self.target_projector = copy.deepcopy(self.projector).requires_grad_(False)
        self.similarity = NegativeCosineSimilarity()
        self.tau, self.tau_schedule = recipe.tau, recipe.tau_schedule

    def loss_between(self, features: Tensor, first: Tensor, second: Tensor, *crops: Tensor) -> Tensor:
        """2 - 2 cos, squared distance of the normalised vectors (Slijepcevic et al. 2022, equation 2), both ways."""
        predictions = self.predictor(self.projector(features)).float()
        with torch.no_grad():
            targets = self.target_projector(self.target_network(torch.cat([second, first]))).float()
        return 2.0 + 2.0 * self.similarity(predictions, targets)

    def chance_loss(self, pairs: int) -> float:
        """Loss of predictions at right angles to their targets."""
        return 2.0

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the target."""
        tau = self.tau
        if self.tau_schedule == "cosine":
            tau = 1.0 - (1.0 - tau) * (math.cos(math.pi * progress) + 1.0) / 2.0
        pairs = ((self.target_network, self.network), (self.target_projector, self.projector))
        targets = [p for target, _ in pairs for p in target.parameters()]
        sources = [p for _, source in pairs for p in source.parameters()]
        torch._foreach_lerp_(targets, sources, 1.0 - tau)
