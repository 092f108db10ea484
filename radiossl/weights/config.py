"""The description of a backbone: `config.json` and the training sky in its folder."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

import radiossl
from radiossl.images.preprocess import Preprocessing
from radiossl.io.checksums import file_sha256
from radiossl.io.errors import RadiosslError
from radiossl.io.files import write_json
from radiossl.io.settings import first_problem, validated
from radiossl.store.store import CutoutStore
from radiossl.weights.architecture import Architecture
from radiossl.weights.folder import CONFIG_FILE, described
from radiossl.weights.readout import PLAIN, WHITENING_FILE, Embedding, Whitening
from radiossl.weights.tensors import WEIGHTS_FILE

SKY_FILE = "training_sky.npz"
#: What the configuration holds as JSON, besides the schemas.
FACTS = ("recipe", "data", "scores", "imported", "about")
#: The same as a coverage map, so that anyone can check a catalogue against it without any image.
COVERAGE_FILE = "training_sky.moc.fits"


@dataclass(frozen=True, eq=False)
class TrainingSky:
    """Where the cutouts were that a backbone was trained on: centres and half the shorter sides, NaN where unknown."""

    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    reach_arcsec: NDArray[np.float32]

    @classmethod
    def from_store(cls, store: CutoutStore, before: TrainingSky | None = None) -> TrainingSky:
        """Return the positions of a store, after those of an earlier training if there was one."""
        reach = 0.5 * store.shapes.min(axis=1) * store.column("pixel_scale_arcsec").astype(float)
        parts = [store.column("ra_deg").astype(float), store.column("dec_deg").astype(float), reach.astype(np.float32)]
        if before is not None:
            earlier = [before.ra_deg, before.dec_deg, before.reach_arcsec]
            parts = [np.concatenate([first, then]) for first, then in zip(earlier, parts, strict=True)]
        return cls(*parts)

    def write_moc(self, path: Path) -> None:
        """Write a coverage map of it, squares of twice the reach; nothing if no position is known.

        Without mocpy there is only a warning, so that no training is lost.
        """
        from radiossl.sky.moc import boxes_moc, write_moc

        if not np.isfinite(self.ra_deg * self.dec_deg).any():
            return
        side = 2 * self.reach_arcsec.astype(float)
        try:
            write_moc(boxes_moc(self.ra_deg, self.dec_deg, side, side), path)
        except ModuleNotFoundError as error:
            warnings.warn(f"{path} is not written, since {error.name} is not installed", stacklevel=2)


@dataclass(frozen=True)
class BackboneConfig:
    """Everything recorded about a backbone but its weights."""

    architecture: Architecture
    #: Everything that is done to a raw cutout before the network sees it.
    preprocessing: Preprocessing
    #: The resolved training recipe; empty for random weights.
    recipe: dict[str, Any] = field(default_factory=dict)
    #: Provenance of the training images, one entry per store.
    data: Sequence[dict[str, Any]] = ()
    #: Measured scores by name: numbers, or whole evaluations (`radiossl.weights.release.evaluation_scores`).
    scores: dict[str, Any] = field(default_factory=dict)
    #: Where the training images were, for those who test on others; None if that is not known.
    sky: TrainingSky | None = field(default=None, compare=False)
    #: For weights of another code: the file they come from, its format and hash, and what of it was left out.
    imported: dict[str, Any] = field(default_factory=dict)
    #: For people: ``limits``, ``terms`` and ``citation`` as Markdown, and ``compute``; see `radiossl.weights.release`.
    about: dict[str, Any] = field(default_factory=dict)
    #: How features are read out of the network unless asked for otherwise.
    embedding: Embedding = PLAIN
    #: Learnt on the training images, for those who ask for whitened features.
    whitening: Whitening | None = field(default=None, compare=False)


def change_preprocessing(preprocessing: Preprocessing, changes: dict[str, Any]) -> Preprocessing:
    """Return a preprocessing with some values changed; raise `RadiosslError` if one is unknown or out of range."""
    try:
        return Preprocessing.model_validate(preprocessing.model_dump() | changes)
    except ValidationError as error:
        raise RadiosslError(f"preprocessing {first_problem(error)}") from None


def write_config(folder: Path, network: nn.Module, config: BackboneConfig) -> None:
    """Write all but the weights, which are there, and the card into the folder of a backbone."""
    architecture, seen = config.architecture, config.preprocessing
    known: dict[str, Any] = getattr(network, "pretrained_cfg", {})
    pretrained = {
        "input_size": [seen.channels, seen.size, seen.size],
        "mean": [seen.mean] * seen.channels,
        "std": [seen.std] * seen.channels,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "num_classes": architecture.output_dim or 0,
    }
    ours = {
        "version": radiossl.__version__,
        "backbone": architecture.model_dump(),
        "preprocessing": seen.model_dump(),
        **{name: getattr(config, name) for name in FACTS},
        **({} if config.embedding == PLAIN else {"embedding": config.embedding.settings}),
        "sha256": file_sha256(folder / WEIGHTS_FILE),
    }
    raw = {
        "architecture": architecture.timm_name,
        "num_classes": architecture.output_dim or 0,
        "num_features": architecture.feature_dim(network),
        "global_pool": "avg",
        "model_args": network.model_args,
        "pretrained_cfg": pretrained | {name: known[name] for name in ("first_conv", "classifier") if name in known},
        "radiossl": ours,
    }
    write_json(folder / CONFIG_FILE, raw)
    if config.sky is not None:
        np.savez_compressed(folder / SKY_FILE, **asdict(config.sky))
        config.sky.write_moc(folder / COVERAGE_FILE)
    if config.whitening is not None:
        config.whitening.save(folder / WHITENING_FILE)


def read_config(path: Path) -> tuple[BackboneConfig, str]:
    """Read the `config.json` of a backbone folder; returns it and the weights' hash."""
    ours = described(path)
    try:
        config = BackboneConfig(
            Architecture.model_validate(ours["backbone"]),
            Preprocessing.model_validate(ours["preprocessing"]),
            **{name: ours[name] for name in FACTS if name in ours},
            sky=_read_sky(path / SKY_FILE),
            embedding=validated(Embedding, ours.get("embedding", {}), f"{path / CONFIG_FILE}: embedding"),
            whitening=Whitening.load(path / WHITENING_FILE),
        )
    except (KeyError, ValidationError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else first_problem(error)
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
