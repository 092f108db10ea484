"""Methods by the names that recipes use."""

from __future__ import annotations

from torch import nn

from radiossl.pretraining.methods.base import Method
from radiossl.pretraining.methods.byol import BYOL
from radiossl.pretraining.methods.nnclr import NNCLR
from radiossl.pretraining.methods.simclr import SimCLR
from radiossl.pretraining.methods.swav import SwAV
from radiossl.pretraining.methods.vicreg import VICReg
from radiossl.pretraining.recipe import MethodName, Recipe
from radiossl.weights.readout import FeatureNetwork, parse_readout, readout_dim

METHODS: dict[MethodName, type[Method]] = {
    "simclr": SimCLR,
    "byol": BYOL,
    "nnclr": NNCLR,
    "swav": SwAV,
    "vicreg": VICReg,
}


def build_method(network: nn.Module, feature_dim: int, recipe: Recipe) -> Method:
    """Return the recipe's method around a network whose feature vectors have this length."""
    readout = parse_readout(recipe.head.readout)
    if readout is not None:
        feature_dim = readout_dim(network, readout, recipe.backbone.name)
        network = nn.Sequential(FeatureNetwork(network, readout, None), nn.BatchNorm1d(feature_dim, affine=False))
    return METHODS[recipe.method](network, feature_dim, recipe)
