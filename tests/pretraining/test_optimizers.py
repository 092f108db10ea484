"""Optimisers against the formulas of their papers, and the learning rate."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from radiossl.pretraining.methods import SimCLR
from radiossl.pretraining.optimizers import LARS, build_optimizer, decay_groups, learning_rate
from radiossl.pretraining.recipe import read_recipe


class Tiny(nn.Module):
    """A network of one layer, with one normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(12, 6), nn.BatchNorm1d(6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(self.layer(images.flatten(1)))


def _recipe(*changes: str):
    return read_recipe("radiossl", ["head.hidden=8", "head.output=5", "head.predictor_hidden=7", *changes])[0]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_optimisers_learn_and_spare_biases_and_norms_from_decay(name):
    torch.manual_seed(0)
    recipe = _recipe(f"optimizer.name={name}", "optimizer.lr=0.02", "optimizer.weight_decay=0.1")
    method = SimCLR(Tiny(), 6, recipe)
    optimizer = build_optimizer(method, recipe)
    decays = {p.ndim > 1: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {True: 0.1, False: 0.0}
    views = torch.randn(8, 3, 2, 2), torch.randn(8, 3, 2, 2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = method(*views)[0]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_learning_rate_warms_up_to_its_peak_and_falls_along_a_cosine():
    recipe = _recipe("schedule.epochs=10", "schedule.warmup_epochs=2", "optimizer.lr=0.4")
    rates = [learning_rate(step, 5, recipe) for step in range(50)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[9] == max(rates) == pytest.approx(0.4)
    assert rates[30] == pytest.approx(0.4 * (1 + math.cos(math.pi * 20 / 40)) / 2)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.001


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lars_is_the_papers_formula(decay):
    """You, Gitman & Ginsburg 2017, algorithm 1, number by number over steps of different learning rates."""
    torch.manual_seed(0)
    model = Tiny().double()
    optimizer = LARS(decay_groups(model.parameters(), decay), lr=0.0, momentum=0.9)
    expected = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    velocity = {name: torch.zeros_like(tensor) for name, tensor in expected.items()}
    images = torch.randn(8, 3, 2, 2, dtype=torch.float64)
    for lr in (0.5, 2.0, 1.0):
        optimizer.zero_grad()
        (model(images) ** 3).sum().backward()
        for group in optimizer.param_groups:
            group["lr"] = lr
        for name, tensor in model.named_parameters():
            w, g = expected[name], tensor.grad
            if w.ndim > 1:
                rate = 0.001 * w.square().sum().sqrt() / (g.square().sum().sqrt() + decay * w.square().sum().sqrt())
                g = rate * (g + decay * w)
            velocity[name] = 0.9 * velocity[name] + lr * g
            expected[name] = w - velocity[name]
        optimizer.step()
        for name, tensor in model.named_parameters():
            torch.testing.assert_close(tensor.detach(), expected[name], rtol=1e-9, atol=1e-12, msg=name)


def test_a_step_of_lars_without_decay_does_not_depend_on_the_length_of_the_gradient():
    recipe = _recipe("optimizer.name=lars", "optimizer.weight_decay=0", "optimizer.lr=0.5")
    steps = []
    for scale in (1.0, 1000.0):
        torch.manual_seed(0)
        model = Tiny()
        before = model.layer.weight.detach().clone()
        optimizer = build_optimizer(model, recipe)
        (scale * model(torch.randn(8, 3, 2, 2)) ** 3).sum().backward()
        optimizer.step()
        steps.append(model.layer.weight.detach() - before)
        assert float(steps[-1].norm()) == pytest.approx(0.001 * 0.5 * float(before.norm()), rel=1e-4)
    torch.testing.assert_close(*steps, rtol=1e-3, atol=1e-9)


def test_lars_leaves_tensors_of_zeros_and_without_gradient_finite():
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    optimizer = LARS(layer.parameters(), lr=0.1)
    layer(torch.zeros(1, 3)).sum().backward()
    optimizer.step()
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert all(tensor.isfinite().all() for tensor in layer.parameters())
