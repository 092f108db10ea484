"""Recipes: everything that determines a training run but its data, as YAML that is checked key by key."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from radiossl.images.augment import Range
from radiossl.images.preprocess import Preprocessing
from radiossl.images.views import PRESETS, Augmentation
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike
from radiossl.io.schema import Settings
from radiossl.io.settings import apply_settings, parse_yaml, read_yaml
from radiossl.weights.architecture import Architecture
from radiossl.weights.formats.presets import PRESETS as PREPROCESSING

#: See `radiossl.pretraining.methods`.
MethodName = Literal["simclr", "byol", "nnclr", "swav", "vicreg"]


class Head(Settings):
    """Widths of the projector (hidden, output) and, for BYOL, of the predictor's hidden layer."""

    hidden: int = Field(default=256, ge=1)
    output: int = Field(default=128, ge=1)
    predictor_hidden: int = Field(default=512, ge=1)


class Optimizer(Settings):
    """The optimiser; `exclude_bias_and_norm` spares biases and normalisation layers from the weight decay."""

    name: Literal["sgd", "adam", "adamw", "lars"] = "adamw"
    lr: float = Field(default=2e-3, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    exclude_bias_and_norm: bool = True


class Schedule(Settings):
    """Linear warm-up, then a cosine to `final_lr_fraction` of the learning rate, step by step."""

    epochs: int = Field(default=100, ge=1)
    warmup_epochs: float = Field(default=10, ge=0)
    final_lr_fraction: float = Field(default=0.0, ge=0, le=1)


class Crops(Settings):
    """Smaller views beside the two of every image, for SwAV: how many, their size in pixels, and how much they show.

    `side` is the range of their side as a part of the box or field that `Augmentation.zoom` or `crop_side` refer to.
    """

    number: int = Field(default=0, ge=0)
    size: int = Field(default=32, ge=8)
    side: Range = (0.4, 0.7)


class Recipe(Settings):
    """One stage of training.

    Attributes
    ----------
    name
        What the run is called.
    method
        ``simclr``, ``byol``, ``nnclr``, ``swav`` or ``vicreg``.
    backbone, preprocessing, augmentation, head, optimizer, schedule
        See the classes. In the YAML, `augmentation` and `preprocessing` may name a `preset`, whose values the other
        keys override.
    temperature
        Of the loss of SimCLR, NNCLR and SwAV.
    memory
        Images that NNCLR chooses its neighbours from.
    prototypes, crops
        Of SwAV: at most as many prototypes as a batch has images.
    vicreg_weights
        Of the invariance, variance and covariance of VICReg.
    tau, tau_schedule
        Of BYOL's moving average: its start value, held constant or raised to 1 along a cosine.
    batch_size
        Images per optimiser step, all processes and accumulated parts together.
    accumulate
        Parts into which a batch is split to save memory; SimCLR sees only the negatives of its own part.
    extent
        Column with the extent of each source, in ``_px`` or ``_arcsec``: `augmentation.zoom` and beams are relative to
        a box of 1.5 times that. Null for a usual name (`radiossl.pretraining.data.EXTENTS`); where the stores have
        none, a whole cutout is its source's box.
    where
        Expression over the store's columns that selects the cutouts to train on; null for all.
    precision
        ``32-true``, ``bf16-mixed``, ``16-mixed``, or ``auto`` for the fastest that the hardware computes in.
    compile
        Let torch compile the network: minutes at the start, worth it for long runs on GPUs.
    seed
        The same seed gives the same run.
    checkpoint_minutes, checkpoint_steps
        How often `last.ckpt` is saved; steps are for when minutes are not exact enough.
    monitor_epochs
        How often the online kNN is measured, when a labelled store is given.
    """

    name: str
    method: MethodName
    backbone: Architecture = Architecture()
    preprocessing: Preprocessing = Preprocessing()
    augmentation: Augmentation = Augmentation()
    head: Head = Head()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    temperature: float = Field(default=0.1, gt=0)
    memory: int = Field(default=8192, ge=2)
    prototypes: int = Field(default=128, ge=2)
    crops: Crops = Crops()
    vicreg_weights: tuple[float, float, float] = (25.0, 25.0, 1.0)
    tau: float = Field(default=0.99, ge=0, le=1)
    tau_schedule: Literal["constant", "cosine"] = "cosine"
    batch_size: int = Field(default=256, ge=2)
    accumulate: int = Field(default=1, ge=1)
    extent: str | None = None
    where: str | None = None
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    compile: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    checkpoint_steps: int | None = Field(default=None, ge=1)
    monitor_epochs: int = Field(default=5, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, data: Any) -> Any:
        known: dict[str, dict[str, dict[str, Any]]] = {
            "augmentation": dict(PRESETS),
            "preprocessing": {name: preset.model_dump() for name, preset in PREPROCESSING.items()},
        }
        for part, presets in known.items():
            section = data.get(part) if isinstance(data, dict) else None
            if isinstance(section, dict) and "preset" in section:
                name = section["preset"]
                if name not in presets:
                    raise ValueError(f"{part}.preset {name!r} is unknown; there are {', '.join(presets)}")
                changes = {key: value for key, value in section.items() if key != "preset"}
                data = data | {part: presets[name] | changes}
        return data

    @model_validator(mode="after")
    def _parts_of_a_batch(self) -> Recipe:
        if self.batch_size % self.accumulate or self.batch_size // self.accumulate < 2:
            raise ValueError(f"batch_size {self.batch_size} cannot be split into accumulate = {self.accumulate} parts")
        return self

    def with_epochs(self, epochs: int) -> Recipe:
        """Return the recipe with another number of epochs."""
        return self.model_copy(update={"schedule": self.schedule.model_copy(update={"epochs": epochs})})

    def of_crops(self) -> Recipe:
        """Return the recipe of the smaller views alone: their preprocessing and augmentation."""
        shown = "crop_side" if self.augmentation.zoom is None else "zoom"
        return self.model_copy(
            update={
                "preprocessing": self.preprocessing.model_copy(update={"size": self.crops.size}),
                "augmentation": self.augmentation.model_copy(update={shown: self.crops.side}),
            }
        )

    def to_yaml(self) -> str:
        """Return the recipe with every value written out; reading it gives the same recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("radiossl.pretraining") / "recipes"
    return sorted(Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_recipe(source: PathLike, changes: Sequence[str] = ()) -> list[Recipe]:
    """Read a recipe and return its stages: one, or several that start from each other's weights.

    Parameters
    ----------
    source
        Name of a recipe of the package, or path of a YAML file.
    changes
        ``key=value`` with dotted keys and YAML values, such as ``optimizer.lr=0.1``; they apply to every stage.

    Raises
    ------
    RadiosslError
        If there is no such recipe, or a key or value is wrong; the message names it.
    """
    return _stages(source, changes, ())


def _stages(source: PathLike, changes: Sequence[str], outer: tuple[str, ...]) -> list[Recipe]:
    raw, where = _read_yaml(source)
    if where in outer:
        raise RadiosslError(f"{where}: is a stage of itself")
    if "stages" in raw:
        stages = raw["stages"]
        if not isinstance(stages, list) or not stages or set(raw) - {"name", "stages"}:
            raise RadiosslError(f"{where}: 'stages' must be a list of recipe names, with no other key than 'name'")
        return [recipe for stage in stages for recipe in _stages(str(stage), changes, (*outer, where))]
    return [apply_settings(Recipe, raw, changes, source=where)]


def _read_yaml(source: PathLike) -> tuple[dict[str, Any], str]:
    name = str(source)
    if name in recipe_names():
        where = f"recipe {name}"
        raw = parse_yaml(
            (resources.files("radiossl.pretraining") / "recipes" / f"{name}.yaml").read_text("utf-8"), where
        )
    elif Path(source).is_file():
        raw, where = read_yaml(source), name
    else:
        close = difflib.get_close_matches(name, recipe_names(), n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise RadiosslError(f"{name}: no such recipe or file; {hint}recipes are {', '.join(recipe_names())}")
    if not isinstance(raw, dict):
        raise RadiosslError(f"{where}: not a recipe; keys and values were expected")
    return raw, where
