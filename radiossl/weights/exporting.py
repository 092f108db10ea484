"""Backbones as files that run without radiossl: TorchScript, PyTorch's exported programs, ONNX.

What is exported takes preprocessed images and returns features, the averaging over flips and rotations included. The
preprocessing is not in it, since it clips by robust statistics of each cutout; its values are stored beside the network
in the file, as JSON under the name `METADATA`. timm needs no export: it reads a backbone's folder.
"""

from __future__ import annotations

import json
import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

import radiossl
from radiossl.images.preprocess import flips_and_rotations
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file
from radiossl.weights.backbone import Backbone

Format = Literal["torchscript", "export", "onnx"]

#: Name under which the files hold what is known of the backbone.
METADATA = "radiossl.json"


class _Features(nn.Module):
    """`Backbone.forward` without anything that depends on the number of images."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.network, self.views = backbone.feature_network, backbone.config.preprocessing.views

    def forward(self, images: Tensor) -> Tensor:
        if self.views == 1:
            return self.network(images).float()
        return torch.stack([self.network(turned).float() for turned in flips_and_rotations(images)]).mean(dim=0)


def export_backbone(backbone: Backbone, format: str, out: str | os.PathLike[str]) -> None:
    """Write a backbone to a file that runs without radiossl.

    The program takes float32 images (n, channels, size, size) on the CPU, preprocessed as `Backbone.preprocess` does,
    for any n, and returns features (n, feature_dim).

    Parameters
    ----------
    backbone
        What to export.
    format
        ``torchscript`` for `torch.jit.load`, ``export`` for `torch.export.load`, ``onnx`` for ONNX runtimes.
    out
        File to write, atomically.

    Raises
    ------
    RadiosslError
        If the format is unknown, the packages for ONNX are not installed, or the file's name is not for the format.
    """
    if format not in get_args(Format):
        raise RadiosslError(f"--format {format}: expected {', '.join(get_args(Format))}")
    if format == "onnx" and (missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]):
        raise RadiosslError(f"--format onnx: needs packages that are not installed; pip install {' '.join(missing)}")
    if format == "export" and Path(out).suffix != ".pt2":
        raise RadiosslError(f"{out}: PyTorch reads exported programs from .pt2 files only; call it so")
    if Path(out).is_dir():
        raise RadiosslError(f"{out}: is a folder, a file to write was expected")
    seen, device, training = backbone.config.preprocessing, backbone.device, backbone.training
    module = _Features(backbone).cpu().eval()
    # Two images, since PyTorch takes a single one for a constant.
    example = torch.rand(2, seen.channels, seen.size, seen.size, generator=torch.Generator().manual_seed(0))
    write = {"torchscript": _torchscript, "export": _program, "onnx": _onnx}[format]
    try:
        with torch.no_grad(), warnings.catch_warnings(), atomic_file(out) as file:
            warnings.simplefilter("ignore")  # of PyTorch's own deprecations
            write(module, example, file, json.dumps(_metadata(backbone)))
    finally:
        backbone.to(device).train(training)


def _metadata(backbone: Backbone) -> dict[str, Any]:
    config = backbone.config
    return {
        "version": radiossl.__version__,
        "sha256": backbone.sha256,
        "backbone": config.architecture.model_dump(),
        "preprocessing": config.preprocessing.model_dump(),
        "feature_dim": backbone.feature_dim,
        **({"embedding": backbone.embedding_metadata} if backbone.embedding_metadata else {}),
    }


def _torchscript(module: nn.Module, example: Tensor, file: Path, metadata: str) -> None:
    torch.jit.save(torch.jit.trace(module, example), file, _extra_files={METADATA: metadata})


def _program(module: nn.Module, example: Tensor, file: Path, metadata: str) -> None:
    torch.export.save(_traced(module, example), file, extra_files={METADATA: metadata})


def _onnx(module: nn.Module, example: Tensor, file: Path, metadata: str) -> None:
    import onnx

    program = torch.onnx.export(
        _traced(module, example), dynamo=True, verbose=False, input_names=["images"], output_names=["features"]
    )
    if program is None:
        raise RadiosslError("--format onnx: PyTorch made no program of this network")
    model = program.model_proto
    onnx.helper.set_model_props(model, {METADATA: metadata})
    onnx.save_model(model, str(file))


def _traced(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    return torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("images", min=1)},))
