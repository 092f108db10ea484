"""NNCLR: the positive of a view is the nearest neighbour of the other view among images seen before."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from radiossl.pretraining.distributed import gather_rows
from radiossl.pretraining.methods.base import Method
from radiossl.pretraining.methods.nt_xent import nt_xent
from radiossl.pretraining.recipe import Recipe


class NNCLR(Method):
    """NNCLR (Dwibedi et al. 2021): as SimCLR, but a view attracts the neighbour of its partner in a memory.

    So sources that look alike attract each other too, not only views of one source.

    Parameters
    ----------
    network
        The backbone's network.
    feature_dim
        Length of its feature vectors.
    recipe
        Gives the widths of projector and predictor, the temperature and the size of the memory.
    """

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.models.modules import NNCLRPredictionHead, NNCLRProjectionHead

        super().__init__()
        head = recipe.head
        self.network = network
        self.projector = NNCLRProjectionHead(feature_dim, head.hidden, head.output)
        self.predictor = NNCLRPredictionHead(head.output, head.predictor_hidden, head.output)
        self.memory = Memory(recipe.memory, head.output)
        self.temperature = recipe.temperature

    def forward(self, first: Tensor, second: Tensor, *crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch of pairs, averaged over both directions, and the features of the first views."""
        features = self.network(torch.cat([first, second]))
        projections = self.projector(features)
        predictions = self.predictor(projections).float()
        a, b = map(gather_rows, projections.float().detach().chunk(2))
        ahead, back = map(gather_rows, predictions.chunk(2))
        losses = [nt_xent(self.memory.nearest(x), y, self.temperature) for x, y in ((a, back), (b, ahead))]
        if self.training:
            self.memory.add(a)
        return (losses[0] + losses[1]) / 2, features[: len(first)].detach()

    def chance_loss(self, pairs: int) -> float:
        """Loss of features that do not tell the images of a batch apart."""
        return math.log(2 * pairs - 1)


class Memory(nn.Module):
    """The latest projections, of unit length, at random to begin with; saved with a checkpoint.

    (lightly's memory is not saved, so that a resumed run would go another way.)

    Parameters
    ----------
    size
        How many.
    dim
        Their length.
    """

    bank: Tensor
    oldest: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("bank", normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    def nearest(self, projections: Tensor) -> Tensor:
        """Return the most similar one for each projection (n, dim), same shape."""
        bank = self.bank.to(projections.dtype)
        return bank[(normalize(projections, dim=1) @ bank.T).argmax(dim=1)]

    @torch.no_grad()
    def add(self, projections: Tensor) -> None:
        """Replace the oldest ones by projections (n, dim)."""
        size = len(self.bank)
        kept = normalize(projections[-size:], dim=1)
        places = (self.oldest + torch.arange(len(kept), device=kept.device)) % size
        self.bank[places] = kept.to(self.bank.dtype)
        self.oldest.copy_((self.oldest + len(kept)) % size)
