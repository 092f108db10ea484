"""ResNet weights in torchvision's layout, such as those trained on ImageNet, as a backbone."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from radiossl.errors import RadiosslError
from radiossl.files import existing_file
from radiossl.weights.architecture import Architecture
from radiossl.weights.released import Backbone, BackboneConfig, check_tensors, load_tensors


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
    file = existing_file(path)
    if file.suffix == ".safetensors":
        tensors = load_tensors(file)
    else:
        try:
            tensors = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for what it refuses or cannot read
            raise RadiosslError(f"{file}: not a plain file of weights ({str(error).splitlines()[0]})") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise RadiosslError(f"{file}: not a dictionary of tensors, as torchvision saves them")
    architecture = Architecture(name=like.architecture.name)
    network = architecture.build(like.preprocessing.channels)
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    first = kept.get("conv1.weight")
    if first is not None and first.ndim == 4 and like.preprocessing.channels == 1:
        kept["conv1.weight"] = first.sum(dim=1, keepdim=True)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):  # older files lack it
            kept.setdefault(name, tensor)
    check_tensors(kept, network.state_dict(), str(file), architecture.name)
    network.load_state_dict(kept)
    config = BackboneConfig(architecture, like.preprocessing)
    return Backbone(network, config, name=str(file)).eval()
