"""How features are read out of a network: which stages are pooled how, and the whitening of what comes out.

The plain read-out is the network's own pooled output, for a ResNet the mean of its last stage. A wide one pools several
stages (mean, standard deviation and maximum of each), as texture descriptors do; whitening then keeps the directions
that tell sources apart at any zoom, centre, beam and noise (`radiossl.pretraining.whitening`). Joined read-outs have
the mean of the last stage beside these: better for classifiers, while neighbours stay as good.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, field_validator, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn

from radiossl.io.errors import RadiosslError
from radiossl.io.settings import validated

WHITENING_FILE = "whitening.safetensors"
#: Stages are the last feature maps that timm names of a network, such as the four blocks of a ResNet.
STAGES = 4

Pool = Literal["mean", "std", "max"]


class Readout(BaseModel, extra="forbid", frozen=True):
    """Which feature maps of a network are pooled how, beside each other; stage 4 is the last."""

    stages: tuple[int, ...] = Field(default=(1, 2, 3, 4), min_length=1)
    pool: tuple[Pool, ...] = Field(default=("mean", "std", "max"), min_length=1)

    @field_validator("stages")
    @classmethod
    def _known(cls, stages: tuple[int, ...]) -> tuple[int, ...]:
        if not set(stages) <= set(range(1, STAGES + 1)):
            raise ValueError(f"expected stages from 1 to {STAGES}, such as [1, 2, 3, 4]")
        return stages


#: What ``wide`` means: 2,880 numbers of a ResNet18.
WIDE = Readout()


class Embedding(BaseModel, extra="forbid", frozen=True):
    """How a backbone makes features, in the section ``embedding`` of its configuration."""

    #: Null for the network's own pooled output.
    readout: Readout | None = None
    #: Number of whitened components to keep; null for the read-out as it is.
    whiten: int | None = Field(default=None, ge=1)
    #: Whether the mean of the last stage stands beside the components, scaled to be as large.
    joined: bool = False

    @model_validator(mode="after")
    def _joined_to_components(self) -> Embedding:
        if self.joined and self.whiten is None:
            raise ValueError("joined: expected a number of components too (whiten), which the last stage stands beside")
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """What differs from the plain read-out, as JSON holds it; empty if nothing does."""
        return self.model_dump(mode="json", exclude_none=True, exclude=set() if self.joined else {"joined"})


PLAIN = Embedding()


@dataclass(frozen=True, eq=False)
class Whitening:
    """Transforms features of one read-out to uncorrelated components, those that tell sources apart best first."""

    #: Shape (d,), subtracted first.
    mean: NDArray[np.float32]
    #: Shape (k, d), the rows that the differences are projected on.
    components: NDArray[np.float32]
    readout: Readout | None = None
    #: Factor by which the mean of the last stage is as large as all components; None where it was not measured.
    last_scale: float | None = None

    def first(self, number: int, beside: slice | None = None) -> Whitening:
        """The first components, as features are made of them, and the numbers `beside` them at their `last_scale`.

        They are turned by an orthonormal cosine transform. Similarities stay as they are, but all numbers vary alike:
        a classifier that brings each to unit variance leaves the components the weights that they were given.
        """
        from scipy.fft import dct

        turned = dct(self.components[:number], norm="ortho", axis=0).astype(np.float32)
        if beside is not None:
            own = np.eye(len(self.mean), dtype=np.float32)[beside]
            turned = np.concatenate([turned, own * np.float32(self.last_scale)])
        return Whitening(self.mean, turned, self.readout)

    @property
    def sha256(self) -> str:
        """Hash of the numbers."""
        numbers = [array.tobytes() for array in self._arrays.values()]
        return hashlib.sha256(b"".join(numbers)).hexdigest()

    @property
    def _arrays(self) -> dict[str, NDArray[np.floating]]:
        scale = {} if self.last_scale is None else {"last_scale": np.array(self.last_scale)}
        return {"mean": self.mean, "components": self.components, **scale}

    def save(self, file: Path) -> None:
        """Write the whitening as safetensors."""
        readout = "null" if self.readout is None else self.readout.model_dump_json()
        arrays = {name: np.ascontiguousarray(array) for name, array in self._arrays.items()}
        save_file(arrays, file, {"readout": readout})

    @classmethod
    def load(cls, file: Path) -> Whitening | None:
        """Read a whitening; None if there is no such file, `RadiosslError` if it is damaged."""
        if not file.is_file():
            return None
        try:
            with safe_open(file, framework="numpy") as tensors:
                arrays = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118, no mapping
                mean, components = arrays["mean"], arrays["components"]
                scale = float(arrays["last_scale"].item()) if "last_scale" in arrays else None
                settings = json.loads((tensors.metadata() or {}).get("readout", "null"))
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise RadiosslError(f"{file}: damaged or cut short ({error})") from None
        if mean.ndim != 1 or components.ndim != 2 or components.shape[1] != len(mean) or not len(components):
            raise RadiosslError(f"{file}: mean of shape {mean.shape}, components of shape {components.shape}: no match")
        if not (np.isfinite(mean).all() and np.isfinite(components).all() and (scale is None or 0 < scale < np.inf)):
            raise RadiosslError(f"{file}: holds numbers that are not finite, or a scale that is not positive")
        return cls(mean, components, validated(Embedding, {"readout": settings}, f"{file}: embedding").readout, scale)


_POOLED: dict[Pool, Callable[[Tensor], Tensor]] = {
    "mean": lambda pixels: pixels.mean(dim=2),
    "std": lambda pixels: pixels.std(dim=2, correction=0),
    "max": lambda pixels: pixels.amax(dim=2),
}


class FeatureNetwork(nn.Module):
    """A network with another read-out than its own (None: its own pooled output), whitened if a whitening is given."""

    def __init__(self, network: nn.Module, readout: Readout | None, whitening: Whitening | None) -> None:
        super().__init__()
        self.network, self.readout = network, readout
        self.mean: Tensor | None
        self.components: Tensor | None
        device = next(network.parameters()).device
        for name in ("mean", "components"):
            array = None if whitening is None else torch.from_numpy(getattr(whitening, name)).to(device)
            self.register_buffer(name, array)

    def forward(self, images: Tensor) -> Tensor:
        """Turn preprocessed images (n, channels, size, size) into features (n, feature_dim)."""
        return self.whitened(self.pooled(images))

    def pooled(self, images: Tensor) -> Tensor:
        """Features before the whitening."""
        if self.readout is None:
            return self.network(images)
        maps = self.network.forward_intermediates(images, indices=STAGES, intermediates_only=True)  # type: ignore[operator]
        pixels = [maps[stage - 1].float().flatten(2) for stage in self.readout.stages]  # (n, channels, pixels) each
        return torch.cat([_POOLED[how](stage) for stage in pixels for how in self.readout.pool], dim=1)

    def whitened(self, features: Tensor) -> Tensor:
        """Features after the whitening."""
        if self.mean is None or self.components is None:
            return features
        return (features.float() - self.mean) @ self.components.T


def readout_dim(network: nn.Module, readout: Readout, name: str) -> int:
    """Return how many numbers a read-out gives of a network; `RadiosslError` if timm does not name its stages."""
    stages = list(getattr(network, "feature_info", []))[-STAGES:]
    if len(stages) < STAGES or not hasattr(network, "forward_intermediates"):
        raise RadiosslError(f"{name}: timm does not name {STAGES} stages of this network; use --readout last")
    return sum(stages[stage - 1]["num_chs"] for stage in readout.stages) * len(readout.pool)


def last_stage(network: nn.Module, readout: Readout | None) -> slice | None:
    """Return which numbers of a read-out are the means of the last stage; None if it does not have them."""
    if readout is None:
        return slice(None)
    if STAGES not in readout.stages or "mean" not in readout.pool:
        return None
    stages: list[dict[str, Any]] = list(getattr(network, "feature_info", []))[-STAGES:]
    channels = {stage: info["num_chs"] for stage, info in enumerate(stages, 1)}
    before = sum(channels[stage] for stage in readout.stages[: readout.stages.index(STAGES)]) * len(readout.pool)
    start = before + readout.pool.index("mean") * channels[STAGES]
    return slice(start, start + channels[STAGES])
