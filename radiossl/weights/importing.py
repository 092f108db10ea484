"""Weights that other codes trained, as a backbone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from radiossl.images.preprocess import Preprocessing
from radiossl.io.checksums import file_sha256
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone
from radiossl.weights.config import BackboneConfig, change_preprocessing
from radiossl.weights.folder import CONFIG_FILE
from radiossl.weights.formats.files import Checkpoint, read_checkpoint
from radiossl.weights.formats.layouts import LAYOUTS, Layout, encoder_of, format_of
from radiossl.weights.formats.presets import described_preprocessing, preset
from radiossl.weights.tensors import check_network, load_state

#: Blocks per stage, whether they have three convolutions, and the shape of the second convolution of the first.
_RESNETS: dict[tuple[tuple[int, ...], bool, tuple[int, ...]], str] = {
    ((2, 2, 2, 2), False, (64, 64)): "resnet18",
    ((3, 4, 6, 3), False, (64, 64)): "resnet34",
    ((3, 4, 6, 3), True, (64, 64)): "resnet50",
    ((3, 4, 23, 3), True, (64, 64)): "resnet101",
    ((3, 8, 36, 3), True, (64, 64)): "resnet152",
    ((3, 4, 6, 3), True, (128, 128)): "wide_resnet50_2",
    ((3, 4, 23, 3), True, (128, 128)): "wide_resnet101_2",
    ((3, 4, 6, 3), True, (128, 4)): "resnext50_32x4d",
    ((3, 4, 23, 3), True, (256, 8)): "resnext101_32x8d",
}
#: Networks of timm that differ from these only in layers without weights.
_SAME_TENSORS = {"resnet18": ("resnetblur18",), "resnet50": ("resnetblur50", "resnetaa50")}


@dataclass(frozen=True, eq=False)
class ImportedBackbone:
    """A backbone out of another code's checkpoint, in evaluation mode, and the account of its tensors."""

    backbone: Backbone
    #: Whose checkpoint it was, and how many of its tensors became the backbone.
    format: str
    used: int
    #: What else the file holds: name or beginning of names to what it is.
    left_out: Mapping[str, str]
    #: What was taken for granted of the architecture, for the user to check; "" if nothing was.
    guess: str = ""


def import_backbone(
    path: PathLike,
    format: str = "auto",
    preprocessing: str | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    entry: str | None = None,
    ignore: Sequence[str] = (),
    architecture: str | None = None,
) -> ImportedBackbone:
    """Turn a checkpoint of another code, a file or a folder in timm's layout, into a backbone.

    `format` is a key of `LAYOUTS`; ``auto`` finds it by the names of the tensors. `preprocessing` is a preset of
    `radiossl.weights.formats.presets`; None for the format's own, with the numbers that the checkpoint or an
    `args.json` or `config.json` beside it gives. `changes` are values of `Preprocessing` to change after that. `entry`
    is the key of the weights in a file that holds several; tensors whose names begin with those of `ignore` are left
    out. `architecture` is timm's name of the network; None to find it by the tensors, which some networks have in
    common. Raises `RadiosslError` if the file cannot be read safely, a tensor cannot be accounted for, or the network
    is not one that `Architecture` can build.

    >>> backbone = import_backbone("byol.ckpt").backbone  # doctest: +SKIP
    """
    checkpoint = read_checkpoint(Path(path), entry)
    layout = _layout(checkpoint, format)
    layout, network_of = _of_timm(checkpoint, layout) if layout.name == "timm" else (layout, None)
    tensors, left_out = encoder_of(checkpoint, layout, ignore)
    if not tensors:
        raise RadiosslError(f"{checkpoint.file}: every tensor in it is left out")
    network_of, guess = Architecture(name=architecture) if architecture else network_of, ""
    if network_of is None:
        network_of, guess = _named_like(checkpoint, resnet_of(checkpoint.file, tensors, layout))
    described = described_preprocessing(checkpoint, layout.name) if preprocessing is None else {}
    grey = "conv1.weight" in tensors and tensors["conv1.weight"].shape[1] == 1
    if grey and preprocessing is None:
        described["mode"] = "min-max"
    seen = change_preprocessing(preset(preprocessing or layout.preset), {**described, **(changes or {})})
    if grey and seen.channels != 1:
        raise RadiosslError(
            f"{checkpoint.file}: the network sees one channel, the preprocessing {seen.mode} makes {seen.channels};"
            " --set mode=min-max makes one"
        )
    network = _network_with(network_of, seen, tensors, checkpoint.file)
    check_network(network, seen.channels, seen.size, str(checkpoint.file))
    imported = {"file": checkpoint.file.name, "format": layout.name, "sha256": file_sha256(checkpoint.file)}
    config = BackboneConfig(network_of, seen, imported=imported | {"left_out": left_out})
    backbone = Backbone(network, config, name=str(checkpoint.file)).eval()
    return ImportedBackbone(backbone, layout.name, len(tensors), left_out, guess)


def _network_with(
    architecture: Architecture, seen: Preprocessing, tensors: Mapping[str, Tensor], file: Path
) -> nn.Module:
    network = architecture.build(seen.channels, seen.size)
    kept = dict(tensors)
    first = kept.get("conv1.weight")
    if first is not None and first.ndim == 4 and first.shape[1] == 3 and seen.channels == 1:
        kept["conv1.weight"] = first.sum(dim=1, keepdim=True)  # as if the one channel were given three times
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):  # Keras and old files of PyTorch lack it
            kept.setdefault(name, tensor)
    load_state(network, kept, str(file), architecture.name)
    return network


def load_torchvision(path: PathLike, like: BackboneConfig) -> Backbone:
    """Load a state dictionary of torchvision's ResNets, without its classifier, to compare it with another backbone.

    Preprocessing and architecture are those of the other, but for a small stem or a further layer.
    """
    changes, name = like.preprocessing.model_dump(), like.architecture.name
    return import_backbone(path, "torchvision", changes=changes, architecture=name).backbone


def resnet_of(file: Path, tensors: Mapping[str, Tensor], layout: Layout) -> Architecture:
    """Tell which ResNet has these tensors; raise `RadiosslError` if none has."""
    names = ("conv1.weight", "layer1.0.conv2.weight")
    missing = next((name for name in names if name not in tensors or tensors[name].ndim != 4), None)
    if missing:
        raise RadiosslError(f"{file}: no ResNet, it has no convolution {missing}; other networks come as timm folders")
    first, second = (tensors[name] for name in names)
    blocks = tuple(
        len({name.split(".")[1] for name in tensors if name.startswith(f"layer{stage}.")}) for stage in range(1, 5)
    )
    name = _RESNETS.get((blocks, "layer1.0.conv3.weight" in tensors, tuple(second.shape[:2])))
    if name is None:
        shape = "x".join(map(str, second.shape))
        raise RadiosslError(f"{file}: a ResNet of {blocks} blocks and {shape} convolutions is not known here")
    side = first.shape[-1]
    if side == 7 or (side == 3 and layout.small_stem):
        return Architecture(name=name, stem="standard" if side == 7 else "small")
    raise RadiosslError(
        f"{file}: conv1.weight is {side}x{side}, expected 7x7; what {layout.name} pads and pools with it is not known"
    )


def _named_like(checkpoint: Checkpoint, found: Architecture) -> tuple[Architecture, str]:
    """Return the network that the file names among those with the same tensors, and what had to be guessed."""
    twins = _SAME_TENSORS.get(found.name, ())
    if not twins or found.stem == "small":
        return found, ""
    other = checkpoint.other
    said = [str(other.get(key, "")) for key in ("arch", "architecture", "model_name")]
    for options in (other.get("args"), other.get("hyper_parameters")):
        options = vars(options) if isinstance(options, Namespace) else options
        if isinstance(options, dict):
            said += [str(options.get(key, "")) for key in ("arch", "architecture", "model", "model_name", "backbone")]
    if named := next((name for name in said if name in (found.name, *twins)), None):
        return Architecture(name=named), ""
    if named := next((name for name in twins if name in checkpoint.file.name), None):
        return Architecture(name=named), f"{named}, by the name of the file; {found.name} has the same tensors"
    return found, f"{found.name}; {', '.join(twins)} has the same tensors (--architecture)"


def _layout(checkpoint: Checkpoint, format: str) -> Layout:
    if format == "auto":
        return LAYOUTS[format_of(checkpoint)]
    if format not in LAYOUTS:
        raise RadiosslError(f"--format {format}: expected auto, {', '.join(LAYOUTS)}")
    if checkpoint.keras != (format == "sclassifier"):
        kind = "a Keras HDF5 file" if checkpoint.keras else "not HDF5"
        raise RadiosslError(f"{checkpoint.file}: {kind}, the format {format} is not written so")
    return LAYOUTS[format]


def _of_timm(checkpoint: Checkpoint, layout: Layout) -> tuple[Layout, Architecture | None]:
    """Read from timm's configuration which network it is, and how its classifier is called."""
    known = checkpoint.beside.get(CONFIG_FILE, {})
    if "radiossl" in known:
        raise RadiosslError(f"{checkpoint.file.parent}: is already a backbone of radiossl; use it directly")
    if "architecture" not in known:
        return layout, None
    classifiers = (known.get("pretrained_cfg") or {}).get("classifier") or ()
    classifiers = [classifiers] if isinstance(classifiers, str) else classifiers
    left_out = {f"{name}.": "classifier" for name in classifiers} or layout.left_out
    return replace(layout, left_out=left_out), Architecture(name=str(known["architecture"]))
