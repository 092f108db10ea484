"""What every method of self-supervised learning has."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from radiossl.pretraining.recipe import Recipe


class PretrainingMethod(nn.Module, ABC):
    """A backbone's network, the heads that are trained with it, and the loss between views, by the recipe's numbers."""

    #: Whether its passes can be recorded as CUDA graphs: nothing in them may wait for the GPU.
    recordable = True

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        super().__init__()
        self.network = network

    def forward(self, *views: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and the features of the first views.

        `views` are two of each image, shape (n, channels, size, size), and further, smaller ones for SwAV.
        """
        features = self.network(torch.cat(views[:2]))
        return self.loss_between(features, *views), features[: len(views[0])].detach()

    @abstractmethod
    def loss_between(self, features: Tensor, first: Tensor, second: Tensor, *crops: Tensor) -> Tensor:
        """Loss of a batch, given the features (2 n, feature_dim) of the first and the second views."""

    def chance_loss(self, pairs: int) -> float:
        """Loss of features without information, for a batch of `pairs` pairs of views; here of contrastive methods."""
        return math.log(2 * pairs - 1)

    def after_step(self, progress: float) -> None:
        """Do what is to be done after a step of the optimiser; `progress` is the fraction of the training done."""
