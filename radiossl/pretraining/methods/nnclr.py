"""NNCLR: the positive of a view is the nearest neighbour of the other view among images seen before."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from radiossl.pretraining.distributed import gather_rows
from radiossl.pretraining.methods.base import PretrainingMethod
from radiossl.pretraining.methods.simclr import nt_xent
from radiossl.pretraining.recipe import Recipe


class NNCLR(PretrainingMethod):
    """NNCLR (Dwibedi et al. 2021): as SimCLR, but a view attracts the neighbour of its partner in a memory.

    So sources that look alike attract each other too, not only views of one source.
    """

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.models.modules import NNCLRPredictionHead, NNCLRProjectionHead

        super().__init__(network, feature_dim, recipe)
        head = recipe.head
        self.projector = NNCLRProjectionHead(feature_dim, head.hidden, head.output)
        self.predictor = NNCLRPredictionHead(head.output, head.predictor_hidden, head.output)
        self.memory = Memory(recipe.memory, head.output)
        self.temperature = recipe.temperature

    def loss_between(self, features: Tensor, first: Tensor, second: Tensor, *crops: Tensor) -> Tensor:  # noqa: D102
        projections = self.projector(features)
        predictions = self.predictor(projections).float()
        a, b = map(gather_rows, projections.float().detach().chunk(2))
        ahead, back = map(gather_rows, predictions.chunk(2))
        losses = [nt_xent(self.memory.nearest(x), y, self.temperature) for x, y in ((a, back), (b, ahead))]
        if self.training:
            self.memory.add(a)
        return (losses[0] + losses[1]) / 2


class Memory(nn.Module):
    """The latest `size` projections, of length `dim` and unit norm, at random to begin with; saved with a checkpoint.

    (lightly's memory is not saved, so that a resumed run would go another way.)
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
