"""The device that a person names."""

from __future__ import annotations

import torch

from radiossl.io.errors import RadiosslError


def parse_device(name: str | torch.device) -> torch.device:
    """Return the device of a name: ``auto`` (CUDA if there is any), ``cpu``, ``cuda`` or ``cuda:1``; raise if none."""
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RadiosslError(f"--device {name}: no CUDA device is available; use --device cpu")
    try:
        return torch.device(name)
    except RuntimeError:
        raise RadiosslError(f"--device {name}: expected auto, cpu or cuda") from None
