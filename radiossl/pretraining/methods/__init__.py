"""Methods of self-supervised learning, one a file, by the names that recipes use."""

from __future__ import annotations

from torch import nn

from radiossl.pretraining.methods.base import PretrainingMethod
from radiossl.pretraining.methods.byol import BYOL
from radiossl.pretraining.methods.nnclr import NNCLR
from radiossl.pretraining.methods.simclr import SimCLR
from radiossl.pretraining.methods.swav import SwAV
from radiossl.pretraining.methods.vicreg import VICReg
from radiossl.pretraining.recipe import MethodName, Recipe

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
