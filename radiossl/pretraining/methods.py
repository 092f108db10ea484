"""Methods of self-supervised learning, by the names that recipes use: heads beside the network, and the loss."""

from __future__ import annotations

import copy
import math
import warnings
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from radiossl.pretraining.distributed import gather_rows
from radiossl.pretraining.recipe import MethodName, Recipe


class PretrainingMethod(nn.Module, ABC):
    """A backbone's network, the heads that are trained with it, and the loss between views, by the recipe's numbers."""

    #: Whether its passes can be recorded as CUDA graphs: nothing in them may wait for the GPU.
    recordable = True

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe

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

    def record_passes(self, images: int) -> None:
        """Record the forward and backward pass on the GPU; from now on it replays them while it is training.

        Launching their many small kernels then costs the processor nothing. `images` is how many every batch has.
        Call it under the autocast that the passes are to have, without its cache. All tensors stay as they are. Nothing
        is recorded where a recorded pass would be wrong: gradients of several parts of a batch would add up in the same
        memory, and compiled networks have graphs of their own.
        """
        recipe = self.recipe
        if not self.recordable or recipe.accumulate > 1 or recipe.compile:
            return
        # torch warns once of the stream that it records on itself.
        warnings.filterwarnings("ignore", "The AccumulateGrad node's stream does not match")
        device = next(self.parameters()).device
        before = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        sides = [recipe.preprocessing.size] * 2 + [recipe.crops.size] * recipe.crops.number
        views = [torch.rand(images, recipe.preprocessing.channels, side, side, device=device) for side in sides]
        self.train()
        views = [view.contiguous(memory_format=torch.channels_last) for view in views]
        torch.cuda.make_graphed_callables(self, tuple(views))
        self.load_state_dict(before)


class SimCLR(PretrainingMethod):
    """SimCLR (Chen et al. 2020): the views of an image attract, those of different images repel each other."""

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.models.modules import SimCLRProjectionHead

        super().__init__(network, feature_dim, recipe)
        self.projector = SimCLRProjectionHead(feature_dim, recipe.head.hidden, recipe.head.output)

    def loss_between(self, features: Tensor, first: Tensor, second: Tensor, *crops: Tensor) -> Tensor:  # noqa: D102
        # The negatives of an image are all others of the batch, those that other processes hold too.
        a, b = map(gather_rows, self.projector(features).float().chunk(2))
        return nt_xent(a, b, self.recipe.temperature)


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
        tau = self.recipe.tau
        if self.recipe.tau_schedule == "cosine":
            tau = 1.0 - (1.0 - tau) * (math.cos(math.pi * progress) + 1.0) / 2.0
        pairs = ((self.target_network, self.network), (self.target_projector, self.projector))
        targets = [p for target, _ in pairs for p in target.parameters()]
        sources = [p for _, source in pairs for p in source.parameters()]
        torch._foreach_lerp_(targets, sources, 1.0 - tau)


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

    def loss_between(self, features: Tensor, first: Tensor, second: Tensor, *crops: Tensor) -> Tensor:  # noqa: D102
        projections = self.projector(features)
        predictions = self.predictor(projections).float()
        a, b = map(gather_rows, projections.float().detach().chunk(2))
        ahead, back = map(gather_rows, predictions.chunk(2))
        losses = [nt_xent(self.memory.nearest(x), y, self.recipe.temperature) for x, y in ((a, back), (b, ahead))]
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


class SwAV(PretrainingMethod):
    """SwAV (Caron et al. 2020): from each view it is predicted to which prototypes the others, small crops too, belong.

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
        return math.log(self.recipe.prototypes)

    def after_step(self, progress: float) -> None:
        """Bring the prototypes back to unit length."""
        self.prototypes.normalize()


class VICReg(PretrainingMethod):
    """VICReg (Bardes, Ponce & LeCun 2022): views of one image agree, features keep their variance and do not correlate.

    The three terms are those of invariance, variance and covariance of the projections; there are no negatives.
    """

    recordable = False  # lightly's covariance term indexes with a mask, for which the processor waits

    def __init__(self, network: nn.Module, feature_dim: int, recipe: Recipe) -> None:
        from lightly.loss import VICRegLoss
        from lightly.models.modules.heads import VICRegProjectionHead

        super().__init__(network, feature_dim, recipe)
        self.projector = VICRegProjectionHead(feature_dim, recipe.head.hidden, recipe.head.output)
        self.loss = VICRegLoss(*recipe.vicreg_weights)

    def loss_between(self, features: Tensor, first: Tensor, second: Tensor, *crops: Tensor) -> Tensor:  # noqa: D102
        return self.loss(*map(gather_rows, self.projector(features).float().chunk(2)))

    def chance_loss(self, pairs: int) -> float:
        """Loss of features that are the same for all images: the variance term alone."""
        return self.recipe.vicreg_weights[1]


METHODS: dict[MethodName, type[PretrainingMethod]] = {
    "simclr": SimCLR,
    "byol": BYOL,
    "nnclr": NNCLR,
    "swav": SwAV,
    "vicreg": VICReg,
}


def build_method(network: nn.Module, feature_dim: int, recipe: Recipe) -> PretrainingMethod:
    """Return the recipe's method around a network whose feature vectors have this length."""
    return METHODS[recipe.method](network, feature_dim, recipe)
