"""Optimisers, what they spare from weight decay, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from radiossl.pretraining.recipe import Recipe


class LARS(torch.optim.Optimizer):
    """SGD with momentum and a learning rate for each tensor (You, Gitman & Ginsburg 2017, algorithm 1).

    With the gradient g and the weight decay b, a tensor w moves by

        v <- momentum v + lr trust |w| / (|g| + b |w|) (g + b w),    w <- w - v

    with or without weight decay. (lightly's LARS is plain SGD where the weight decay is 0.) Biases and the parameters
    of normalisation layers, which are the tensors with at most one axis, move by plain SGD with momentum.

    Examples
    --------
    >>> layer = torch.nn.Linear(3, 2)
    >>> optimizer = LARS(layer.parameters(), lr=1.0)
    >>> layer(torch.ones(1, 3)).sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self, params: Iterable[Any], lr: float, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 0.001
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take one step; there is no closure."""
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


def decay_groups(parameters: Iterable[nn.Parameter], weight_decay: float, **options: Any) -> list[dict[str, Any]]:
    """Return parameter groups with and without weight decay: biases and normalisation layers have none.

    Those are exactly the tensors with at most one axis. Tensors without gradient are left out, and so are groups
    without tensors; `options` are further entries of both groups, such as ``lr``.

    Examples
    --------
    >>> groups = decay_groups(torch.nn.Linear(3, 2).parameters(), 0.05)
    >>> [group["weight_decay"] for group in groups]
    [0.05, 0.0]
    """
    trained = [tensor for tensor in parameters if tensor.requires_grad]
    parts = [tensor for tensor in trained if tensor.ndim > 1], [tensor for tensor in trained if tensor.ndim <= 1]
    pairs = zip(parts, (weight_decay, 0.0), strict=True)
    return [{"params": tensors, "weight_decay": decay, **options} for tensors, decay in pairs if tensors]


def build_optimizer(method: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser of a method's trainable parameters."""
    spec = recipe.optimizer
    groups = decay_groups(method.parameters(), spec.weight_decay)
    if not spec.exclude_bias_and_norm:
        groups = [{"params": [p for p in method.parameters() if p.requires_grad], "weight_decay": spec.weight_decay}]
    if spec.name in ("adam", "adamw"):
        return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.name](groups, lr=spec.lr)
    return (torch.optim.SGD if spec.name == "sgd" else LARS)(groups, lr=spec.lr, momentum=spec.momentum)


def learning_rate(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Learning rate of the 0-based `step`: linear warm-up that ends on the recipe's, then a cosine."""
    schedule = recipe.schedule
    total = schedule.epochs * steps_per_epoch
    warmup = min(round(schedule.warmup_epochs * steps_per_epoch), total - 1)
    return recipe.optimizer.lr * warmup_cosine(step, total, warmup, schedule.final_lr_fraction)


def warmup_cosine(step: int, steps: int, rising: int, floor: float = 0.0) -> float:
    """Return the part of the peak rate at a 0-based step: up a line of `rising` steps to 1, then down a cosine."""
    if step < rising:
        return (step + 1) / rising
    progress = (step - rising) / max(1, steps - rising)
    return floor + (1.0 - floor) * (1.0 + math.cos(math.pi * progress)) / 2.0
