"""Tensors out of checkpoint files, without running what may be hidden in them.

PyTorch's files are pickles: they are read with ``weights_only``, which builds tensors and plain values alone. Two more
things are let in, as neither can do anything: the options of a command line (`argparse.Namespace`), and a path, which
the BYOL of Slijepcevic et al. 2024 keeps beside its weights and which is read as a `PurePosixPath`.
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file, read_json
from radiossl.weights.folder import CONFIG_FILE
from radiossl.weights.formats.keras import is_hdf5, read_keras
from radiossl.weights.tensors import WEIGHTS_FILE, load_tensors

# Python 3.13 moved the class.
_HARMLESS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *((PurePosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")),
    Namespace,
]
#: What wraps a whole network, at the beginning of every name.
_WRAPPERS = ("model.", "net.", "network.", "learner.")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file of another code holds."""

    file: Path
    #: By the names that the file gives them; for Keras HDF5 files already in PyTorch's names and axes.
    tensors: dict[str, Tensor]
    keras: bool = False
    #: What else is in the file, such as the state of the optimiser.
    other: Mapping[str, Any] = field(default_factory=dict)
    #: `config.json` and `args.json` from the file's folder, where they are.
    beside: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def read_checkpoint(path: Path, entry: str | None = None) -> Checkpoint:
    """Read a PyTorch, safetensors or Keras 2 HDF5 file, or a folder in timm's layout.

    `entry` is the key of the wanted dictionary of tensors, where a PyTorch file holds several, with dots where it is
    inside of others. Raises `RadiosslError`
    if the file is missing, damaged, holds no weights, or asks for more than tensors and plain values.
    """
    file = existing_file(path / WEIGHTS_FILE if path.is_dir() else path)
    beside = {}
    for name in (CONFIG_FILE, "args.json"):
        if (file.parent / name).is_file() and isinstance(content := read_json(file.parent / name), dict):
            beside[name] = content
    if is_hdf5(file):
        tensors, other = read_keras(file)
        return Checkpoint(file, tensors, True, other, beside)
    if file.suffix == ".safetensors":
        return Checkpoint(file, _unwrapped(load_tensors(file)), beside=beside)
    content = _read_torch(file)
    if _are_tensors(content):
        return Checkpoint(file, _unwrapped(content), beside=beside)
    try:
        sets = dict(_sets_of_tensors(content))
    except RecursionError:
        raise RadiosslError(f"{file}: too deeply nested to be a network's weights") from None
    chosen = _chosen_entry(file, sets, entry)
    other = {str(key): value for key, value in content.items() if str(key) != chosen.split(".")[0]}
    return Checkpoint(file, _unwrapped(sets[chosen]), False, other, beside)


def _read_torch(file: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for what it refuses or cannot read
        asked = re.search(r"GLOBAL (\S+) was not", str(error))
        # PyTorch's own words are left out: they advise to read the file without this protection.
        problem = f"it asks for {asked[1]}" if asked else f"it is damaged or of another kind, {type(error).__name__}"
        raise RadiosslError(
            f"{file}: not a plain file of weights ({problem}); save the state_dict alone in the code that wrote it"
        ) from None


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the names of wrappers out of those of the tensors: `torch.compile`'s, and one that they all begin with."""
    plain = {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}
    if len(plain) < len(tensors):  # compiled and not, side by side: neither is the wrapper of the other
        return tensors
    wrapper = next((start for start in _WRAPPERS if all(name.startswith(start) for name in plain)), "")
    return {name.removeprefix(wrapper): tensor for name, tensor in plain.items()}


def _are_tensors(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(key, str) and isinstance(item, Tensor) for key, item in value.items())
    )


def _sets_of_tensors(content: Any, start: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The dictionaries of tensors in a file, by their keys, joined by dots."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if _are_tensors(value):
            yield f"{start}{key}", value
        else:
            yield from _sets_of_tensors(value, f"{start}{key}.")


def _chosen_entry(file: Path, sets: Mapping[str, dict[str, Tensor]], wanted: str | None) -> str:
    """Which of several sets of tensors is meant: the only network, however usual the name of one of several."""
    if not sets:
        raise RadiosslError(f"{file}: not a dictionary of tensors, nor one that holds such a dictionary")
    if wanted is not None and wanted not in sets:
        raise RadiosslError(f"{file}: no weights {wanted!r} in it; there are {', '.join(sets)}")
    networks = [  # not what an optimiser keeps of each weight
        name
        for name, tensors in sets.items()
        if any(tensor.ndim == 4 and key.endswith("weight") for key, tensor in tensors.items())
    ]
    possible = [wanted] if wanted is not None else networks or list(sets)
    if len(possible) > 1:
        raise RadiosslError(f"{file}: holds several sets of weights ({', '.join(possible)}); choose one with --entry")
    return possible[0]
