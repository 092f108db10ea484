"""The preprocessing that belongs to imported weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError
from radiossl.weights.folder import CONFIG_FILE
from radiossl.weights.formats.files import Checkpoint

# The mean over the three colours of ImageNet's (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225): the channels of a radio
# image are stretches of one brightness, none of them is red.
_IMAGENET: dict[str, Any] = {"mean": 0.449, "std": 0.226}

PRESETS: Mapping[str, Preprocessing] = {
    # Weights trained on photographs, or on radio images that were normalised as if they were such.
    "imagenet": Preprocessing(mode="sigma-zscale", size=224, **_IMAGENET),
    "imagenet-grey": Preprocessing(mode="min-max", size=224, **_IMAGENET),
    # Riggi et al. 2024, section 2.3.
    "riggi2024": Preprocessing(mode="sigma-zscale", size=224),
    # Three stretches of the image, each from 0 to 1 (Cecconello et al. 2024); the code draws two of them at random even
    # for evaluation, the nearest that is fixed is this.
    "solo-learn": Preprocessing(mode="sigma-zscale", size=224),
    # Slijepcevic et al. 2024: the central 70 of 150 pixels, 8 bits as a fraction of 255, the mean and sigma of RGZ DR1.
    "slijepcevic2024": Preprocessing(mode="min-max", size=70, field_px=70, mean=0.008008896, std=0.05303395),
}


def preset(name: str) -> Preprocessing:
    """Return a preset by name; raise `RadiosslError` if there is none."""
    if name not in PRESETS:
        raise RadiosslError(f"--preprocessing {name}: no such preset; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def described_preprocessing(checkpoint: Checkpoint, layout: str) -> dict[str, Any]:
    """Return the values of `Preprocessing` that a checkpoint, or a file that its code wrote beside it, records.

    Raises `RadiosslError` if they are not written as that code writes them.
    """
    if layout == "sclassifier":
        return dict(checkpoint.other.get("model_config", {}))
    readers = {"byol-rgz": _of_byol, "solo-learn": _of_solo, "timm": _of_timm}
    if layout not in readers:
        return {}
    try:
        return readers[layout](checkpoint)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise RadiosslError(
            f"{checkpoint.file}: its record of the preprocessing is not in the form of {layout} ({error!r});"
            " give --preprocessing"
        ) from None


def _of_byol(checkpoint: Checkpoint) -> dict[str, Any]:
    parameters = checkpoint.other.get("hyper_parameters")
    if not isinstance(parameters, dict) or "config" not in parameters:
        return {}
    data, augmentations = (parameters["config"].get(name, {}) for name in ("data", "augmentations"))
    scale = {"mean": _one(data["mu"]), "std": _one(data["sig"])} if {"mu", "sig"} <= data.keys() else {}
    side = augmentations.get("center_crop_size", augmentations.get("center_crop"))
    return scale | ({} if side is None else {"size": int(side), "field_px": int(side)})


def _of_solo(checkpoint: Checkpoint) -> dict[str, Any]:
    args = checkpoint.beside.get("args.json")
    if args is None:
        return {}
    view = args["augmentations"][0]
    size, scale = {"size": int(view["crop_size"])}, view.get("meanstd")
    if scale is None:
        return size | _IMAGENET  # solo-learn itself, and not its radio version, always normalises so
    return size | ({name: _one(scale[name]) for name in ("mean", "std")} if scale["enabled"] else {})


def _of_timm(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.beside.get(CONFIG_FILE, {})
    known = config.get("pretrained_cfg") or {}
    found: dict[str, Any] = {name: _one(known[name]) for name in ("mean", "std") if name in known}
    channels = (config.get("model_args") or {}).get("in_chans")
    if "input_size" in known:
        found["size"] = int(known["input_size"][-1])
        channels = channels or known["input_size"][0]
    return found | ({"mode": "min-max"} if channels == 1 else {})


def _one(values: Any) -> float:
    """One number for all channels: their mean."""
    numbers = [float(value) for value in values] if isinstance(values, (list, tuple)) else [float(values)]
    return sum(numbers) / len(numbers)
