"""The released-weights format: a folder with `model.safetensors`, `config.json` and a model card.

The layout is timm's, so that ``timm.create_model("local-dir:PATH")`` loads it too. `config.json` holds the complete
preprocessing, the recipe and where the training images came from.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

import radiossl
from radiossl.images.preprocess import Preprocessing, flips_and_rotations
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_folder, read_json, write_json, write_text
from radiossl.store.store import CutoutStore
from radiossl.weights.architecture import Architecture
from radiossl.weights.card import model_card

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
SKY_FILE = "training_sky.npz"
#: Forward passes of one image each from which `Backbone.quick_network` saves more than it costs.
_WORTH_FREEZING = 2000


@dataclass(frozen=True, eq=False)
class TrainingSky:
    """Where on the sky the cutouts were that a backbone was trained on.

    Attributes
    ----------
    ra_deg, dec_deg
        ICRS positions of their centres, shape (n,); NaN where unknown.
    reach_arcsec
        Half the shorter side of each, shape (n,); NaN where unknown.
    """

    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    reach_arcsec: NDArray[np.float32]

    @classmethod
    def of(cls, store: CutoutStore, before: TrainingSky | None = None) -> TrainingSky:
        """Take the positions of a store, after those of an earlier training if there was one."""
        reach = 0.5 * store.shapes.min(axis=1) * store.column("pixel_scale_arcsec").astype(float)
        parts = [store.column("ra_deg").astype(float), store.column("dec_deg").astype(float), reach.astype(np.float32)]
        if before is not None:
            earlier = [before.ra_deg, before.dec_deg, before.reach_arcsec]
            parts = [np.concatenate([first, then]) for first, then in zip(earlier, parts, strict=True)]
        return cls(*parts)


@dataclass(frozen=True)
class BackboneConfig:
    """What is known of a backbone besides its weights.

    Attributes
    ----------
    architecture
        The network.
    preprocessing
        Everything that is done to a raw cutout before the network sees it.
    recipe
        The resolved training recipe; empty for random weights.
    data
        Provenance of the training images, one entry per store.
    scores
        Measured scores by name: numbers, or whole evaluations (`radiossl.weights.release.evaluation_scores`).
    sky
        Where the training images were, for those who test on others; None if that is not known.
    imported
        For weights of another code: the file they come from, its format and hash, and what of it was left out.
    about
        For people: ``limits``, ``terms`` and ``citation`` as Markdown, and ``compute``; see `radiossl.weights.release`.
    """

    architecture: Architecture
    preprocessing: Preprocessing
    recipe: dict[str, Any] = field(default_factory=dict)
    data: Sequence[dict[str, Any]] = ()
    scores: dict[str, Any] = field(default_factory=dict)
    sky: TrainingSky | None = field(default=None, compare=False)
    imported: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


class Backbone(nn.Module):
    """A network that turns raw cutouts into features.

    Attributes
    ----------
    network
        The bare network: (n, channels, size, size) to (n, feature_dim).
    config
        Its `BackboneConfig`.
    name
        Where it was loaded from.
    sha256
        Hash of its weights file; "" for weights that were never saved.
    """

    def __init__(self, network: nn.Module, config: BackboneConfig, name: str = "", sha256: str = "") -> None:
        super().__init__()
        self.network, self.config, self.name, self.sha256 = network, config, name, sha256

    @classmethod
    def random(cls, architecture: Architecture, preprocessing: Preprocessing, seed: int) -> Backbone:
        """Return an untrained backbone: the baseline that a trained one has to beat."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # unlike torch.manual_seed leaves the accelerator's alone
            network = architecture.build(preprocessing.channels)
        return cls(network, BackboneConfig(architecture, preprocessing), name=f"random-init-{seed}").eval()

    @property
    def feature_dim(self) -> int:
        """Length of the feature vectors."""
        return self.config.architecture.feature_dim(self.network)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def identity(self) -> str:
        """Architecture, preprocessing and the very numbers of the weights, as text, with a file or without."""
        digest = self.sha256
        if not digest:
            state = hashlib.sha256()
            for name, tensor in self.network.state_dict().items():
                state.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
            digest = state.hexdigest()
        return f"{self.config.architecture} {self.config.preprocessing} weights {digest}"

    def adapted(self, **changes: Any) -> Backbone:
        """Return this backbone with some of its preprocessing changed, such as ``views=8`` or ``field_px=100``.

        Raises
        ------
        RadiosslError
            If a change is none of `Preprocessing`.
        """
        config = dataclasses.replace(self.config, preprocessing=changed(self.config.preprocessing, changes))
        return Backbone(self.network, config, self.name, self.sha256).train(self.training)

    def preprocess(self, cutouts: Tensor | NDArray[np.floating] | str | os.PathLike[str] | Sequence[Any]) -> Tensor:
        """Preprocess raw cutouts as the backbone was trained.

        Parameters
        ----------
        cutouts
            A 2-D array or tensor, a path of a FITS, NPY or picture file, a sequence of these (sizes may differ), or an
            array (n, height, width).

        Returns
        -------
        Tensor
            Shape (n, channels, size, size), on the device of the weights.
        """
        from radiossl.survey.image_file import read_image

        if isinstance(cutouts, (str, os.PathLike)) or (hasattr(cutouts, "ndim") and cutouts.ndim == 2):
            cutouts = [cutouts]
        arrays = [
            read_image(item) if isinstance(item, (str, os.PathLike)) else np.asarray(item, dtype=np.float32)
            for item in cutouts
        ]
        return self.config.preprocessing.of_arrays(arrays, self.device)

    def forward(self, images: Tensor, network: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Turn preprocessed images (n, channels, size, size) into features (n, feature_dim), float32.

        Features are averaged over rotations and mirror images where the preprocessing says so. `network` is what
        `quick_network` returned, if that is to be used.
        """
        network = network or self.network
        if self.config.preprocessing.views == 1:
            return network(images).float()
        total = torch.zeros(len(images), self.feature_dim, device=images.device)
        for turned in flips_and_rotations(images):
            total += network(turned).float()
        return total / 8

    def quick_network(self, passes: int, bfloat16: bool = False) -> Callable[[Tensor], Tensor]:
        """Return the network in its quickest form for so many forward passes of one image, in evaluation mode.

        With `bfloat16` it computes in that precision, of three digits: for hardware that does so, since it changes the
        features a little. Otherwise, on a CPU, many passes are worth the seconds that it takes to fold the batch
        normalisation into the convolutions and to lay the weights out for the processor: about 1.6 times faster,
        features equal to float32 rounding.
        """
        if bfloat16:
            return self._in_bfloat16
        seen = self.config.preprocessing
        if self.device.type != "cpu" or passes < _WORTH_FREEZING:
            return self.network
        example = torch.zeros(2, seen.channels, seen.size, seen.size)
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")  # of branches that a trace cannot follow; there are none at one input size
            traced = torch.jit.trace(copy.deepcopy(self.network).eval(), example, check_trace=False)
            return torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def _in_bfloat16(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return self.network(images.contiguous(memory_format=torch.channels_last))

    @torch.inference_mode()
    def features(self, cutouts: Any) -> Tensor:
        """Features of raw cutouts, shape (n, feature_dim): `preprocess` and `forward` in one."""
        was_training = self.training
        self.eval()
        try:
            return self(self.preprocess(cutouts))
        finally:
            self.train(was_training)


def changed(preprocessing: Preprocessing, changes: dict[str, Any]) -> Preprocessing:
    """Return a preprocessing with other values; raise `RadiosslError` if one is none of its own."""
    try:
        return Preprocessing.model_validate(preprocessing.model_dump() | changes)
    except ValidationError as error:
        first = error.errors()[0]
        raise RadiosslError(f"preprocessing {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def save_backbone(path: str | os.PathLike[str], network: nn.Module, config: BackboneConfig) -> None:
    """Write a backbone folder atomically, replacing an older one only when the new one is complete."""
    from safetensors.torch import save_file

    preprocessing, architecture = config.preprocessing, config.architecture
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_folder(path) as folder:
        save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        size = [preprocessing.channels, preprocessing.size, preprocessing.size]
        mean, std = [preprocessing.mean] * preprocessing.channels, [preprocessing.std] * preprocessing.channels
        write_json(
            folder / CONFIG_FILE,
            {
                "architecture": architecture.name,
                "num_classes": architecture.output_dim or 0,
                "num_features": architecture.feature_dim(network),
                "global_pool": "avg",
                "model_args": {"in_chans": preprocessing.channels},
                "pretrained_cfg": {
                    "input_size": size,
                    "mean": mean,
                    "std": std,
                    "interpolation": "bilinear",
                    "crop_pct": 1.0,
                    "num_classes": architecture.output_dim or 0,
                    "first_conv": "conv1",
                    "classifier": "fc",
                },
                "radiossl": {
                    "version": radiossl.__version__,
                    "backbone": architecture.model_dump(),
                    "preprocessing": preprocessing.model_dump(),
                    "recipe": config.recipe,
                    "data": list(config.data),
                    "scores": config.scores,
                    "imported": config.imported,
                    "about": config.about,
                    "sha256": file_sha256(folder / WEIGHTS_FILE),
                },
            },
        )
        if config.sky is not None:
            np.savez_compressed(folder / SKY_FILE, **dataclasses.asdict(config.sky))
        write_text(folder / CARD_FILE, model_card(Path(path).name, config, architecture.feature_dim(network)))


def load_backbone(path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Backbone:
    """Load a released backbone.

    Parameters
    ----------
    path
        Its folder.
    device
        Where to put it.

    Returns
    -------
    Backbone
        In evaluation mode; takes raw cutouts through `Backbone.preprocess` or `Backbone.features`.

    Raises
    ------
    RadiosslError
        If the folder is incomplete or damaged, or the weights belong to another architecture.

    Examples
    --------
    >>> backbone = radiossl.load_backbone("checkpoints/simclr-first")  # doctest: +SKIP
    >>> features = backbone.features(["J0000+00.fits", array])  # doctest: +SKIP
    """
    path = Path(path)
    if not path.is_dir():
        raise RadiosslError(f"{path}: no such backbone; a folder with {WEIGHTS_FILE} and {CONFIG_FILE} was expected")
    config, sha256 = read_config(path)
    network = config.architecture.build(config.preprocessing.channels)
    tensors = load_tensors(path / WEIGHTS_FILE)
    check_tensors(tensors, network.state_dict(), f"{path / WEIGHTS_FILE}", config.architecture.name)
    network.load_state_dict(tensors)
    actual = file_sha256(path / WEIGHTS_FILE)
    if sha256 and sha256 != actual:
        raise RadiosslError(f"{path / WEIGHTS_FILE}: not the weights that {CONFIG_FILE} describes (sha256 differs)")
    return Backbone(network, config, name=str(path), sha256=actual).to(device).eval()


def read_config(path: Path) -> tuple[BackboneConfig, str]:
    """Read the `config.json` of a backbone folder; returns it and the weights' hash."""
    raw = read_json(path / CONFIG_FILE)
    ours = raw.get("radiossl") if isinstance(raw, dict) else None
    if not isinstance(ours, dict):
        raise RadiosslError(f"{path / CONFIG_FILE}: has no 'radiossl' section; not a backbone written by radiossl")
    try:
        config = BackboneConfig(
            Architecture.model_validate(ours["backbone"]),
            Preprocessing.model_validate(ours["preprocessing"]),
            ours.get("recipe", {}),
            ours.get("data", []),
            ours.get("scores", {}),
            _read_sky(path / SKY_FILE),
            ours.get("imported", {}),
            ours.get("about", {}),
        )
    except KeyError as error:
        raise RadiosslError(f"{path / CONFIG_FILE}: damaged or from a newer radiossl ({error} is missing)") from None
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise RadiosslError(f"{path / CONFIG_FILE}: damaged or from a newer radiossl ({problem})") from None
    return config, ours.get("sha256", "")


def _read_sky(file: Path) -> TrainingSky | None:
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return TrainingSky(*(arrays[name] for name in ("ra_deg", "dec_deg", "reach_arcsec")))
    except Exception as error:  # a damaged archive raises nearly anything
        raise RadiosslError(f"{file}: damaged ({type(error).__name__}: {error})") from None


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


def file_sha256(file: Path) -> str:
    """Return the hash of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
