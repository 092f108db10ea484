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
    """Load a state dictionary of torchvision's ResNets, whose names timm shares.

    Parameters
    ----------
    path
        A ``.pth`` or ``.safetensors`` file. Its classifier is left out; where the backbone that it is compared with
        sees a single channel, the first convolution is summed over its three.
    like
        The backbone to be compared with: the preprocessing is its, and the architecture but for a small stem or a
        further layer.

    Raises
    ------
    RadiosslError
        If the file is missing, damaged, no dictionary of tensors, or of another network.
    """
    checkpoint = read_checkpoint(Path(path))
    tensors, _ = encoder_of(checkpoint, LAYOUTS["torchvision"])
    architecture = Architecture(name=like.architecture.name)
    network = network_with(architecture, like.preprocessing, tensors, checkpoint.file)
    return Backbone(network, BackboneConfig(architecture, like.preprocessing), name=str(checkpoint.file)).eval()
