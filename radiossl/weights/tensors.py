"""The weights file of a backbone, and whether tensors are those of a network."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from radiossl.io.errors import RadiosslError

WEIGHTS_FILE = "model.safetensors"


def load_tensors(file: Path) -> dict[str, Tensor]:
    """Read a safetensors file; raise `RadiosslError` if it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise RadiosslError(f"{file}: no such file")
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise RadiosslError(f"{file}: damaged or cut short ({error})") from None


def check_tensors(found: dict[str, Tensor], expected: dict[str, Tensor], file: str, architecture: str) -> None:
    """Raise `RadiosslError` naming the first tensor that does not belong to an architecture."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            problem = f"{name} is missing"
        elif name not in expected:
            problem = f"{name} is not part of it"
        elif found[name].shape != expected[name].shape:
            problem = f"{name} has shape {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}"
        else:
            continue
        raise RadiosslError(f"{file}: weights of another architecture than {architecture}: {problem}")
