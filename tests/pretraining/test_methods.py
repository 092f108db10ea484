"""Losses against slow, obvious versions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from radiossl.pretraining.methods import BYOL, SimCLR
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


def _literal_nt_xent(z: torch.Tensor, n: int, temperature: float) -> torch.Tensor:
    """Equations 1 to 3 of Riggi et al. 2024, pair by pair; z holds the n first views, then the n second ones."""

    def similarity(i: int, j: int) -> torch.Tensor:
        return z[i] @ z[j] / (z[i].norm() * z[j].norm())

    losses = []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        above = torch.exp(similarity(i, j) / temperature)
        below = sum(torch.exp(similarity(i, k) / temperature) for k in range(2 * n) if k != i)
        losses.append(-torch.log(above / below))
    return torch.stack(losses).mean()


def test_simclr_loss_is_nt_xent():
    torch.manual_seed(0)
    method = SimCLR(Tiny(), 6, _recipe("temperature=0.3")).eval()
    first, second = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    loss, features = method(first, second)
    z = method.projector(method.network(torch.cat([first, second])))
    torch.testing.assert_close(loss, _literal_nt_xent(z, 5, 0.3), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(features, method.network(first))


def test_byol_loss_is_the_distance_of_normalised_vectors_both_ways():
    torch.manual_seed(0)
    method = BYOL(Tiny(), 6, _recipe("method=byol")).eval()
    first, second = torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2)

    def distance(online: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        q = method.predictor(method.projector(method.network(online)))
        z = method.target_projector(method.target_network(target))
        return (nn.functional.normalize(q, dim=1) - nn.functional.normalize(z, dim=1)).square().sum(1).mean()

    expected = (distance(first, second) + distance(second, first)) / 2
    torch.testing.assert_close(method(first, second)[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "progress", "tau"), [("constant", 0.5, 0.9), ("cosine", 0.0, 0.9), ("cosine", 0.5, 0.95)]
)
def test_byol_target_is_a_moving_average(schedule, progress, tau):
    method = BYOL(Tiny(), 6, _recipe("method=byol", "tau=0.9", f"tau_schedule={schedule}"))
    before = [p.clone() for p in method.target_network.parameters()]
    with torch.no_grad():
        for p in method.network.parameters():
            p.add_(torch.randn_like(p))
    method.after_step(progress)
    for old, source, new in zip(before, method.network.parameters(), method.target_network.parameters(), strict=True):
        torch.testing.assert_close(new, tau * old + (1 - tau) * source)


def test_byol_target_gets_no_gradient():
    method = BYOL(Tiny(), 6, _recipe("method=byol"))
    method(torch.randn(4, 3, 2, 2), torch.randn(4, 3, 2, 2))[0].backward()
    assert all(p.grad is None for p in method.target_network.parameters())
    assert all(p.grad is not None for p in method.network.parameters())
