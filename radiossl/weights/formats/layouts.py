"""How other codes name the tensors of their encoders, and what else their checkpoints hold.

Every tensor is accounted for: it belongs to the encoder, or to a part that is left out by name, or it is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from radiossl.io.errors import RadiosslError
from radiossl.io.files import one_or_more
from radiossl.weights.folder import CONFIG_FILE
from radiossl.weights.formats.files import Checkpoint

#: Tensors that every ResNet has, by which it is found under any prefix.
_BEGINNING = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight")


@dataclass(frozen=True)
class Layout:
    """The checkpoints of one code."""

    #: What `--format` calls it.
    name: str
    #: Where the names of the encoder's tensors may begin; the first that occurs counts, so the empty one, which fits
    #: everything, comes last. None: wherever a ResNet is, the deepest one first.
    prefixes: tuple[str, ...] | None
    #: Beginnings of the names of other parts, and what those are.
    left_out: dict[str, str] = field(default_factory=dict)
    #: Preprocessing, by its name in `radiossl.weights.formats.presets`.
    preset: str = "imagenet"
    #: Whether a 3x3 first convolution has no stride and the pooling after it, as `Architecture.stem` ``small``.
    #: Elsewhere such a stem comes without the pooling, and is refused.
    small_stem: bool = False


def _parts(start: str = "", **named: str) -> dict[str, str]:
    """What the parts with these names are, given as lists of names by what they are."""
    kinds = {"twin": "momentum twin", "queue": "queue of the training"}
    return {start + name: kinds.get(kind, kind) for kind, names in named.items() for name in names.split()}


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("torchvision", ("",), _parts(classifier="fc.")),
        Layout("timm", ("",), _parts(classifier="fc.")),
        Layout(
            "lightly",
            ("backbone.", "student_backbone.", ""),
            _parts(
                twin="backbone_momentum. teacher_backbone. projection_head_momentum. teacher_head."
                " teacher_projection_head.",
                head="projection_head. prediction_head. student_projection_head. student_prediction_head. student_head."
                " prototypes.",
                classifier="online_classifier. backbone.fc.",
                loss="criterion.",
            ),
        ),
        Layout(
            "solo-learn",
            ("backbone.",),
            _parts(
                twin="momentum_",
                head="projector. projector2. predictor. predictor2. head. prototypes. transformer_encoder. pos_enc.",
                classifier="classifier. backbone.fc.",
                loss="dino_loss_func.",
                queue="queue",
            ),
            preset="solo-learn",
        ),
        Layout(
            "byol-rgz",
            ("encoder.", "backbone."),
            _parts(
                twin="encoder_momentum. m_encoder. backbone_momentum. momentum_backbone. projection_head_momentum.",
                head="projection_head. prediction_head.",
                placeholder="dummy_param",
            ),
            preset="slijepcevic2024",
            small_stem=True,
        ),
        Layout("sclassifier", ("",), preset="riggi2024"),
        Layout(
            "torch-hub",
            None,
            {
                name: what
                for start in ("module.", "")
                for name, what in _parts(
                    start,
                    twin="encoder_k. momentum_encoder. target_encoder.",
                    queue="queue",
                    head="online_encoder.projector. online_predictor. projection_head. prototypes. projector."
                    " predictor. head. bn. model.projection_head.",
                ).items()
            },
        ),
    )
}

_LIGHTLY = ("projection_head", "prediction_head", "backbone_momentum", "online_classifier", "student_", "teacher_")
#: The children of torchvision's ResNets, which lightly's tutorials take without their names.
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}


def format_of(checkpoint: Checkpoint) -> str:
    """Tell whose checkpoint it is by the names of its tensors; raise `RadiosslError` if it is of no known code."""
    names = checkpoint.tensors.keys()
    if checkpoint.keras:
        return "sclassifier"
    for name, first in (("byol-rgz", "layers.0.0.weight"), ("lightly", "0.weight")):
        if any(f"{prefix}{first}" in names for prefix in LAYOUTS[name].prefixes or ()):
            return name
    if "backbone.conv1.weight" in names or "student_backbone.conv1.weight" in names:
        return "lightly" if any(name.startswith(_LIGHTLY) for name in names) else "solo-learn"
    if "architecture" in checkpoint.beside.get(CONFIG_FILE, {}):
        return "timm"
    if "conv1.weight" in names:
        return "torchvision"
    if _resnets(names):
        return "torch-hub"
    raise RadiosslError(
        f"{checkpoint.file}: no known encoder in it, its first tensor is {next(iter(names))}; formats are"
        f" {', '.join(LAYOUTS)}, and timm's need their {CONFIG_FILE} beside them"
    )


def encoder_of(
    checkpoint: Checkpoint, layout: Layout, ignore: Sequence[str] = ()
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Take the encoder's tensors out of a checkpoint, under torchvision's names; also say what is left out and why.

    `ignore` are beginnings of names to leave out besides those that the layout knows. Raises `RadiosslError` if there
    is no encoder, or a tensor belongs to nothing that is known.
    """
    names = checkpoint.tensors.keys()
    reasons = {**layout.left_out, **dict.fromkeys(one_or_more(ignore), "left out by --ignore")}
    if layout.prefixes is None:
        possible = _resnets(name for name in names if not name.startswith(tuple(reasons)))
        reasons |= {f"{start}fc.": "classifier" for start in possible}
    else:
        possible = [p for p in layout.prefixes if any(name.startswith(p) for name in names)]
    if not possible:
        expected = ", ".join(f"{p}*" for p in layout.prefixes or ["conv1.weight, bn1."])
        raise RadiosslError(f"{checkpoint.file}: no encoder of the format {layout.name} (tensors {expected}) in it")
    prefix = possible[0]
    encoder, left, unknown = {}, Counter[str](), []
    for name, tensor in checkpoint.tensors.items():
        part = next((start for start in reasons if name.startswith(start)), None)
        if part is not None:
            left[part] += 1
        elif name.startswith(prefix):
            encoder[name.removeprefix(prefix)] = tensor
        else:
            unknown.append(name)
    for name in unknown:
        endings = (name[dot.end() :] for dot in re.finditer(r"\.", name))  # the longest first
        inner = next((n for n in endings if n in encoder and encoder[n].equal(checkpoint.tensors[name])), None)
        if inner is None:
            raise RadiosslError(
                f"{checkpoint.file}: {name} is no part of the format {layout.name} that is known;"
                f" if it is not the encoder's, leave it out with --ignore {_part(name, prefix)}"
            )
        copy = name.removesuffix(inner)
        left[copy] += 1
        reasons[copy] = f"second copy of {prefix}*"
    left_out = {f"{part}*": f"{count} tensors, {reasons[part]}" for part, count in left.items()}
    left_out |= dict.fromkeys(checkpoint.other, "beside the weights")
    if any(name.startswith("finetuning_layers.") for name in encoder):
        copies = _without_copies(checkpoint.file, encoder, prefix)
        left_out[f"{prefix}finetuning_layers.*"] = f"{copies} tensors, second copy of {prefix}layers.*"
    if any(name.startswith("layers.") for name in encoder):
        encoder = _from_flat(encoder)
    elif any(name[:1].isdigit() for name in encoder):
        encoder = {re.sub(r"^\d+", lambda n: _CHILDREN.get(n[0], n[0]), key): value for key, value in encoder.items()}
    return encoder, left_out


def _resnets(names: Iterable[str]) -> list[str]:
    """Where ResNets are: what comes before the names of their tensors, the longest first."""
    known = set(names)
    found = [name.removesuffix(_BEGINNING[0]) for name in known if name.endswith(_BEGINNING[0])]
    whole = [start for start in found if all(f"{start}{name}" in known for name in _BEGINNING)]
    return sorted(whole, key=lambda start: (-len(start), start))


def _part(name: str, prefix: str) -> str:
    """The part of a network that a tensor belongs to, other than the one of that prefix."""
    ends = [place for place, letter in enumerate(name) if letter == "."]
    return next((name[:end] for end in ends if not prefix.startswith(name[: end + 1])), name)


def _without_copies(file: Path, encoder: dict[str, Tensor], prefix: str) -> int:
    """Drop the layers that are registered twice (inigoval/byol does so for its fine-tuning), if they are the same."""
    copies = [name for name in encoder if name.startswith("finetuning_layers.")]
    for name in copies:
        original = name.removeprefix("finetuning_")
        if original not in encoder or not torch.equal(encoder[original], encoder.pop(name)):
            raise RadiosslError(f"{file}: {prefix}{name} is not the copy of {prefix}{original} that it should be")
    return len(copies)


def _from_flat(encoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename ``layers.N``, which has the stem as 0 and then all blocks in a row, to stages of blocks."""
    blocks = sorted({int(found[1]) for name in encoder if (found := re.match(r"layers\.([1-9]\d*)\.", name))})
    starts, stage, block = {"layers.0.0.": "conv1.", "layers.0.1.": "bn1."}, 0, 0
    for number in blocks:
        # Each stage but the first of a ResNet18 or 34 begins with a block that changes the number of channels.
        if number == 1 or f"layers.{number}.downsample.0.weight" in encoder:
            stage, block = stage + 1, 0
        starts[f"layers.{number}."] = f"layer{stage}.{block}."
        block += 1

    def renamed(name: str) -> str:
        start = next((start for start in starts if name.startswith(start)), "")
        return starts.get(start, "") + name.removeprefix(start)

    return {renamed(name): tensor for name, tensor in encoder.items()}
