"""Optimisers, what they spare from weight decay, and the learning rate of each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import nn

from radiossl.pretraining.recipe import Recipe
from radiossl.pretraining.schedule import warmup_cosine


class LARS(torch.optim.Optimizer):
    """SGD with momentum and a learning rate for each tensor (You, Gitman & Ginsburg 2017, algorithm 1).

    With the gradient g and the weight decay b, a tensor w moves by

        v <- momentum v + lr trust |w| / (|g| + b |w|) (g + b w),    w <- w - v

    with or without weight decay. (lightly's LARS is plain SGD where the weight decay is 0.)

    Parameters
    ----------
    params
        Tensors or groups of them. Biases and the parameters of normalisation layers, which are the tensors with at most
        one axis, move by plain SGD with momentum.
    lr
        Learning rate.
    momentum
        Factor of the earlier steps.
    weight_decay
        b above.
    trust
        Trust coefficient, 0.001 in the paper.

    Examples
    --------
    >>> layer = torch.nn.Linear(3, 2)
    >>> optimizer = LARS(layer.parameters(), lr=1.0)
    >>> layer(torch.ones(1, 3)).sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                change = weight.grad.add(weight, alpha=group["weight_decay"])
                if weight.ndim > 1:
                    size, slope = weight.norm(), weight.grad.norm()
                    ratio = group["trust"] * size / (slope + group["weight_decay"] * size)
                    # A tensor of zeros, or one without gradient, has no ratio.
                    change *= torch.where((size > 0) & (slope > 0), ratio, 1.0)
                velocity = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                weight -= velocity.mul_(group["momentum"]).add_(change, alpha=group["lr"])
        return loss


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float, **options: Any) -> list[dict[str, Any]]:
    """Return parameter groups of which only the first has a weight decay: biases and normalisation layers have none.

    Parameters
    ----------
    parameters
        Tensors to train; those without gradient are left out.
    weight_decay
        Of the tensors with more than one axis. Biases and the parameters of normalisation layers are exactly those with
        at most one.
    options
        Further entries of both groups, such as ``lr``.

    Examples
    --------
    >>> groups = decay_groups(torch.nn.Linear(3, 2).parameters(), 0.05)
    >>> [group["weight_decay"] for group in groups]
    [0.05, 0.0]
    """
    trained = [tensor for tensor in parameters if tensor.requires_grad]
    return [
        {"params": [tensor for tensor in trained if tensor.ndim > 1], "weight_decay": weight_decay, **options},
        {"params": [tensor for tensor in trained if tensor.ndim <= 1], "weight_decay": 0.0, **options},
    ]


def build_optimizer(method: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser of a method's trainable parameters."""
    spec = recipe.optimizer
    groups = decay_groups(method.parameters(), spec.weight_decay)
    if not spec.exclude_bias_and_norm:
        groups = [{"params": [p for p in method.parameters() if p.requires_grad], "weight_decay": spec.weight_decay}]
    if spec.name == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum)
    if spec.name == "adam":
        return torch.optim.Adam(groups, lr=spec.lr)
    if spec.name == "adamw":
        return torch.optim.AdamW(groups, lr=spec.lr)
    return LARS(groups, lr=spec.lr, momentum=spec.momentum)


def learning_rate(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Learning rate of the 0-based `step`: linear warm-up that ends on the recipe's, then a cosine."""
    schedule = recipe.schedule
    total = schedule.epochs * steps_per_epoch
    warmup = min(round(schedule.warmup_epochs * steps_per_epoch), total - 1)
    return recipe.optimizer.lr * warmup_cosine(step, total, warmup, schedule.final_lr_fraction)
