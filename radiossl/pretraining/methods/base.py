"""What every method of self-supervised learning has."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Method(nn.Module, ABC):
    """A backbone's network, the heads that are trained with it, and the loss between views.

    Attributes
    ----------
    network
        The backbone's network.
    recordable
        Whether its passes can be recorded as CUDA graphs: nothing in them may wait for the GPU.
    """

    network: nn.Module
    recordable = True

    @abstractmethod
    def forward(self, first: Tensor, second: Tensor, *crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and the features of the first views.

        Parameters
        ----------
        first, second
            Two views of each image, shape (n, channels, size, size).
        crops
            Further, smaller views, for the methods that use them.
        """

    @abstractmethod
    def chance_loss(self, pairs: int) -> float:
        """Loss of features that know nothing, for a batch of so many pairs of views."""

    def after_step(self, progress: float) -> None:
        """Do what is to be done after a step of the optimiser; `progress` is the fraction of the training done."""
