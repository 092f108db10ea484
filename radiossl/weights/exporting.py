"""Backbones as files that run without radiossl: TorchScript, PyTorch's exported programs, ONNX.

What is exported returns features, the averaging over flips and rotations included, of preprocessed images or of raw
pixels. The file also describes the backbone, as JSON under the name `METADATA`. timm needs no export: it reads a
backbone's folder.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

import radiossl
from radiossl.images.preprocess import flips_and_rotations
from radiossl.io.errors import RadiosslError, check_choice
from radiossl.io.extras import require
from radiossl.io.files import PathLike, atomic_file
from radiossl.io.replacing import check_replaceable
from radiossl.weights.backbone import Backbone
from radiossl.weights.raw_program import RawPreprocessing

Format = Literal["torchscript", "export", "onnx"]

#: Name of the backbone's description in the files.
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


def export_backbone(backbone: Backbone, format: str, out: PathLike, *, with_preprocessing: bool = False) -> None:
    """Write a backbone to a file that runs without radiossl.

    The program takes float32 images (n, channels, size, size) on the CPU, preprocessed as `Backbone.preprocess` does,
    for any n, and returns features (n, feature_dim). With its preprocessing it takes the raw pixels of one image
    (height, width), not a number where blank, and returns features (1, feature_dim).

    Parameters
    ----------
    backbone
        What to export.
    format
        ``torchscript`` for `torch.jit.load`, ``export`` for `torch.export.load`, ``onnx`` for ONNX runtimes.
    out
        File to write, atomically.
    with_preprocessing
        Whether the program takes raw pixels; not for ``torchscript``.

    Raises
    ------
    RadiosslError
        If the format is unknown or holds no preprocessing, the packages for ONNX are not installed, or the file's name
        is not for the format.
    """
    check_choice("--format", format, Format)
    if with_preprocessing and format == "torchscript":
        raise RadiosslError("--format torchscript: holds no preprocessing; use onnx or export")
    if format == "onnx":
        require("onnx", "onnxscript")
    if format == "export" and Path(out).suffix != ".pt2":
        raise RadiosslError(f"{out}: PyTorch reads exported programs from .pt2 files only; use that ending")
    check_replaceable(out, METADATA, "exported backbone")
    seen, device, training = backbone.config.preprocessing, backbone.device, backbone.training
    # Two images, since PyTorch takes a single one for a constant.
    shape = (seen.size + 1, seen.size + 3) if with_preprocessing else (2, seen.channels, seen.size, seen.size)
    example, features = torch.rand(shape, generator=torch.Generator().manual_seed(0)), _Features(backbone)
    module = nn.Sequential(RawPreprocessing(seen), features) if with_preprocessing else features
    module.cpu().eval()
    known = {METADATA: json.dumps(_metadata(backbone))}
    try:
        with torch.no_grad(), warnings.catch_warnings(), atomic_file(out) as file:
            warnings.simplefilter("ignore")  # of PyTorch's own deprecations
            if format == "torchscript":
                torch.jit.save(torch.jit.trace(module, example), file, _extra_files=known)
            elif format == "export":
                torch.export.save(_traced(module, example), file, extra_files=known)
            else:
                _save_onnx(_traced(module, example), file, "pixels" if with_preprocessing else "images", known)
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


def _save_onnx(traced: torch.export.ExportedProgram, file: Path, given: str, known: dict[str, str]) -> None:
    import onnx

    program = torch.onnx.export(traced, dynamo=True, verbose=False, input_names=[given], output_names=["features"])
    if program is None:
        raise RadiosslError("--format onnx: PyTorch cannot export this network")
    model = program.model_proto
    onnx.helper.set_model_props(model, known)
    onnx.save_model(model, str(file))


def _traced(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    names = ("height", "width") if example.ndim == 2 else ("images",)
    shapes = {axis: torch.export.Dim(name, min=1) for axis, name in enumerate(names)}
    return torch.export.export(module, (example,), dynamic_shapes=(shapes,))
