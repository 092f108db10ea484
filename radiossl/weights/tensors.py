"""The tensors of a backbone: their file, whether they are a network's, and whether they or its features diverged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from radiossl.io.errors import RadiosslError

WEIGHTS_FILE = "model.safetensors"
#: Largest weight of a network that can have been trained; those of released ones stay below a few hundred.
LARGEST_WEIGHT = 1e5
#: Largest mean or variance of activations that batch normalisation may have kept.
LARGEST_STATISTIC = 1e10
_DIVERGED = "the training diverged"


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Read a safetensors file; raise `RadiosslError` if it is missing or damaged."""
    if not file.is_file():
        raise RadiosslError(f"{file}: no such file")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise RadiosslError(f"{file}: damaged or cut short ({error})") from None


def save_tensors(network: nn.Module, file: Path) -> None:
    """Write the tensors of a network as safetensors."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, file, metadata={"format": "pt"})


def load_state(network: nn.Module, tensors: dict[str, Tensor], source: str, architecture: str) -> None:
    """Give a network these tensors; raise `RadiosslError` naming the first that is not its own, or if they diverged."""
    expected = network.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            problem = f"{name} is missing"
        elif name not in expected:
            problem = f"{name} is not part of it"
        elif tensors[name].shape != expected[name].shape:
            problem = f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(expected[name].shape)}"
        else:
            continue
        raise RadiosslError(f"{source}: weights of another architecture than {architecture}: {problem}")
    check_weights(tensors, source)
    network.load_state_dict(tensors)


def check_weights(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raise `RadiosslError`, naming the `source`, if weights are not finite or larger than those of trained networks.

    Examples
    --------
    >>> check_weights({"fc.weight": torch.tensor([[1.0, float("nan")]])}, "a.pth")
    Traceback (most recent call last):
        ...
    radiossl.io.errors.RadiosslError: a.pth: fc.weight is not finite (1 of 2 numbers); the training diverged
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or tensor.numel() == 0:
            continue
        low, high = map(float, tensor.detach().aminmax())
        if not (np.isfinite(low) and np.isfinite(high)):
            wrong = int((~tensor.isfinite()).sum())
            raise RadiosslError(f"{source}: {name} is not finite ({wrong} of {tensor.numel()} numbers); {_DIVERGED}")
        statistic = name.endswith(("running_mean", "running_var"))
        limit, largest = LARGEST_STATISTIC if statistic else LARGEST_WEIGHT, max(-low, high)
        if largest > limit:
            raise RadiosslError(f"{source}: {name} reaches {largest:.1e}, no trained network has that; {_DIVERGED}")
        if name.endswith("running_var") and low < 0:
            raise RadiosslError(f"{source}: {name} is negative ({low:.1e}), a variance cannot be; the file is damaged")


def check_features(
    features: Tensor | NDArray[np.floating], source: str, names: Sequence[Any] | NDArray[Any] | None = None
) -> None:
    """Raise `RadiosslError` if features, shape (n, feature_dim), are not finite.

    The message begins with `source` and names the row by its number, or as `names` has it.
    """
    values = torch.as_tensor(features)
    if bool(values.isfinite().all()):
        return
    row = int((~values.isfinite().all(dim=1)).nonzero()[0])
    name = row if names is None else names[row]
    raise RadiosslError(f"{source}: the features of {name} are not finite; its weights are of no use")


def check_network(network: nn.Module, channels: int, size: int, source: str) -> None:
    """Raise `RadiosslError` if weights, or the features that a network makes of noise, are not finite or absurd."""
    check_weights(network.state_dict(), source)
    tensor = next(network.parameters())
    noise = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    training = network.training
    with torch.inference_mode():
        features = network.eval()(noise.to(tensor.device, tensor.dtype)).float()
    network.train(training)
    check_features(features, source, ["an image of noise"] * 2)
