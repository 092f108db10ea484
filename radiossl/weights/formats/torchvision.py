"""ResNet weights in torchvision's layout, such as those trained on ImageNet, as a backbone."""

from __future__ import annotations

import os
from pathlib import Path

from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone
from radiossl.weights.config import BackboneConfig
from radiossl.weights.formats.files import read_checkpoint
from radiossl.weights.formats.layouts import LAYOUTS, encoder_of
from radiossl.weights.importing import network_with


def load_torchvision(path: str | os.PathLike[str], like: BackboneConfig) -> Backbone:
    """Load a state dictionary of torchvision's ResNets, whose names timm shares, to compare it with another backbone.

    The preprocessing is that of the other, and so is the architecture, but for a small stem or a further layer. The
    classifier is left out. Raises `RadiosslError` as `read_checkpoint`, and for weights of another network.
    """
    checkpoint = read_checkpoint(Path(path))
    tensors, _ = encoder_of(checkpoint, LAYOUTS["torchvision"])
    architecture = Architecture(name=like.architecture.name)
    network = network_with(architecture, like.preprocessing, tensors, checkpoint.file)
    return Backbone(network, BackboneConfig(architecture, like.preprocessing), name=str(checkpoint.file)).eval()
