"""Losses against slow, obvious versions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from radiossl.pretraining.methods import BYOL, METHODS, NNCLR, Memory, SimCLR, SwAV, VICReg, build_method
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


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_and_beats_chance(name):
    torch.manual_seed(0)
    recipe = _recipe(f"method={name}", "prototypes=6", "memory=32", "optimizer.lr=0.02", "head.output=8")
    method = build_method(Tiny(), 6, recipe)
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=0.02)
    images = torch.randn(16, 3, 2, 2)
    losses = []
    for step in range(80):
        noise = torch.randn(4, 16, 3, 2, 2, generator=torch.Generator().manual_seed(step)) * 0.05
        optimizer.zero_grad()
        loss, features = method(*(images + part for part in noise))
        loss.backward()
        optimizer.step()
        method.after_step(step / 80)
        losses.append(loss.item())
    assert features.shape == (16, 6)
    assert not features.requires_grad
    late = sum(losses[-10:]) / 10
    assert late < 0.9 * sum(losses[:5]) / 5
    assert late < method.chance_loss(16)


def test_nnclr_attracts_the_nearest_of_its_memory():
    torch.manual_seed(0)
    method = NNCLR(Tiny(), 6, _recipe("method=nnclr", "memory=20", "temperature=0.3")).eval()
    first, second = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
    loss, features = method(first, second)
    a, b = (method.projector(method.network(images)) for images in (first, second))
    ahead, back = method.predictor(a), method.predictor(b)

    def nearest(z: torch.Tensor) -> torch.Tensor:
        rows = [max(method.memory.bank, key=lambda kept: float(nn.functional.cosine_similarity(kept, v, 0))) for v in z]
        return torch.stack(rows)

    halves = [(nearest(a), back), (nearest(b), ahead)]
    expected = sum(_literal_nt_xent(torch.cat(pair), 5, 0.3) for pair in halves) / 2
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(features, method.network(first))


def test_the_memory_keeps_the_latest_and_is_part_of_a_checkpoint():
    memory = Memory(5, 2)
    memory.add(torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]))
    memory.add(torch.tensor([[0.0, -1.0], [1.0, 1.0], [1.0, -1.0]]))
    half = 2**-0.5
    expected = torch.tensor([[half, -half], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [half, half]])
    torch.testing.assert_close(memory.bank, expected)
    torch.testing.assert_close(memory.nearest(torch.tensor([[9.0, 1.0]])), expected[4:])
    memory.add(torch.arange(14.0).view(7, 2))  # more than it holds
    assert {"bank", "oldest"} == set(memory.state_dict())
    assert int(memory.oldest) == 1


def test_swav_predicts_the_codes_of_the_other_views():
    torch.manual_seed(0)
    method = SwAV(Tiny(), 6, _recipe("method=swav", "prototypes=4", "temperature=0.2")).eval()
    views = [torch.randn(8, 3, 2, 2) for _ in range(4)]
    loss, _ = method(*views)
    vectors = [nn.functional.normalize(method.projector(method.network(view)), dim=1) for view in views]
    scores = [method.prototypes(vector) for vector in vectors]

    def codes(score: torch.Tensor) -> torch.Tensor:
        """Caron et al. 2020, equations 3 to 5: rows and columns in turn made of equal sums, three times."""
        q = torch.exp(score / 0.05)
        for _ in range(3):
            q = q / q.sum(0, keepdim=True)
            q = q / q.sum(1, keepdim=True)
        return q

    terms = []
    for i in range(2):
        with torch.no_grad():
            q = codes(scores[i])
        for j in range(4):
            if j != i:
                terms.append(-(q * torch.log_softmax(scores[j] / 0.2, dim=1)).sum(1).mean())
    torch.testing.assert_close(loss, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)
    for weights in method.prototypes.parameters():
        if weights.ndim == 2:
            torch.testing.assert_close(weights.norm(dim=1), torch.ones(4))


def test_vicreg_is_the_papers_three_terms():
    torch.manual_seed(0)
    method = VICReg(Tiny(), 6, _recipe("method=vicreg", "vicreg_weights=[3.0, 2.0, 0.5]")).eval()
    first, second = torch.randn(9, 3, 2, 2), torch.randn(9, 3, 2, 2)
    loss, _ = method(first, second)
    a, b = (method.projector(method.network(images)) for images in (first, second))

    def variance(z: torch.Tensor) -> torch.Tensor:
        return torch.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()

    def covariance(z: torch.Tensor) -> torch.Tensor:
        c = torch.cov(z.T)
        return (c - c.diag().diag()).square().sum() / z.shape[1]

    spread = (variance(a) + variance(b)) / 2
    expected = 3 * (a - b).square().mean() + 2 * spread + 0.5 * (covariance(a) + covariance(b))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
