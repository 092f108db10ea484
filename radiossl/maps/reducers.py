"""What places features on a map: principal components, or the sources that a UMAP was fitted to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from radiossl.features.neighbours import unit
from radiossl.features.vector_index import VectorIndex
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, atomic_file, existing_file

#: File of the reducer in a map's folder.
REDUCER_FILE = "reducer.safetensors"

#: With more training sources, neighbours are searched in the nearest clusters only.
_EXACT_SEARCH = 20_000
#: Nearer than this in cosine distance is the same source: float16 moves a unit vector by less.
_SAME = 1e-6
#: Half of UMAP's usual least distance; keeps Weiszfeld's iteration from sticking to a source.
_SOFTENING = 0.05
_ITERATIONS = 30


@dataclass(frozen=True)
class PcaReducer:
    """Projection of unit vectors on their first principal components."""

    mean: NDArray[np.float64]  # shape (feature_dim,)
    #: shape (k, feature_dim), orthonormal; of each, the largest entry in size is positive
    components: NDArray[np.float64]
    explained: NDArray[np.float64]  # fraction of the variance along each, shape (k,)
    method = "pca"

    @property
    def dimension(self) -> int:
        """Of the features."""
        return len(self.mean)

    def first(self, count: int) -> PcaReducer:
        """Return the projection on the first `count` components only."""
        return PcaReducer(self.mean, self.components[:count], self.explained[:count])

    def transform(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the coordinates of features of shape (n, feature_dim), shape (n, k)."""
        return ((unit(features) - self.mean) @ self.components.T).astype(np.float32)


@dataclass(frozen=True)
class UmapReducer:
    """The sources that a UMAP was fitted to and where they lie on it; others are placed among them.

    A source comes to lie at the geometric median of its nearest training sources, each weighted by ``exp(-(d - d_1) /
    s)``, with d the cosine distance, d_1 that of the nearest and s the mean of ``d - d_1`` (the shape of UMAP's
    memberships, McInnes et al. 2018, section 3.1). The mean, with which UMAP's own ``transform`` begins, may lie in the
    void between two groups; the median goes to the larger. Unlike with ``transform`` the place of a source does not
    depend on which others are placed with it.
    """

    training: NDArray[np.float16]  # unit vectors, shape (n, feature_dim)
    coordinates: NDArray[np.float32]  # shape (n, 2)
    neighbours: int  # how many of the nearest decide
    min_dist: float  # of the fit, as the seed; for the record
    seed: int
    method = "umap"

    @property
    def dimension(self) -> int:
        """Of the features."""
        return self.training.shape[1]

    @cached_property
    def _index(self) -> VectorIndex:
        return VectorIndex.from_features(self.training, _EXACT_SEARCH)

    def transform(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Place features of shape (n, feature_dim); return shape (n, 2)."""
        similarities, rows = self._index.search(features, self.neighbours)
        # An inverted file may find fewer than asked for; the empty places get no weight.
        distances = np.where(rows < 0, np.inf, np.maximum(0.0, 1.0 - similarities)).astype(np.float64)
        places = self.coordinates[np.maximum(rows, 0)].astype(np.float64)  # (n, neighbours, 2)
        found = geometric_median(places, neighbour_weights(distances))
        same = distances[:, 0] < _SAME
        found[same] = places[same, 0]
        return found.astype(np.float32)


Reducer = PcaReducer | UmapReducer


def save_reducer(reducer: Reducer, path: PathLike, metadata: dict[str, Any]) -> None:
    """Write a reducer as safetensors, atomically, with the metadata of its features.

    The format holds numbers and text only: loading a map of somebody else's runs no code.
    """
    about: dict[str, Any] = {"method": reducer.method, "features": metadata}
    names: tuple[str, ...] = ("mean", "components", "explained")
    if isinstance(reducer, UmapReducer):
        names = ("training", "coordinates")
        about |= {"neighbours": reducer.neighbours, "min_dist": reducer.min_dist, "seed": reducer.seed}
    arrays = {name: np.ascontiguousarray(getattr(reducer, name)) for name in names}
    with atomic_file(path) as temporary:
        save_file(arrays, temporary, {"radiossl_map": json.dumps(about)})


def load_reducer(folder: PathLike, metadata: dict[str, Any] | None = None) -> Reducer:
    """Read the reducer in a map's folder; refuse it for features of other weights or preprocessing."""
    path = existing_file(Path(folder) / REDUCER_FILE)
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})["radiossl_map"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        reducer = _restored(about, arrays)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RadiosslError(f"{path}: not a readable map ({error})") from None
    ours, theirs = about.get("features", {}), metadata or {}
    if ours.get("weights_sha256") and theirs.get("weights_sha256") not in (None, "", ours["weights_sha256"]):
        raise RadiosslError(
            f"{path}: a map of features from the weights {ours.get('weights')}, the features to place are from"
            f" {theirs.get('weights')}; embed the images with the weights of the map"
        )
    if "preprocessing" in ours and "preprocessing" in theirs and ours["preprocessing"] != theirs["preprocessing"]:
        keys = ours["preprocessing"].keys() | theirs["preprocessing"].keys()
        other = sorted(k for k in keys if ours["preprocessing"].get(k) != theirs["preprocessing"].get(k))
        raise RadiosslError(f"{path}: a map of features with other preprocessing ({', '.join(other)})")
    if theirs and ours.get("embedding") != theirs.get("embedding"):
        raise RadiosslError(f"{path}: a map of features with another read-out; embed the images as those of the map")
    return reducer


def neighbour_weights(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of neighbours by their distance, nearest first, shape (n, k); see `UmapReducer`."""
    excess = distances - distances[:, :1]
    known = np.isfinite(excess)
    excess = np.where(known, excess, 0.0)
    scale = excess.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(known, np.exp(-excess / np.maximum(scale, 1e-12)), 0.0)


def geometric_median(points: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted geometric medians (n, 2) of n sets of k points (n, k, 2) by Weiszfeld's iteration."""
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    found = np.einsum("nk,nkc->nc", weights / total, points)
    for _ in range(_ITERATIONS):
        pull = weights / np.hypot(np.linalg.norm(points - found[:, None], axis=2), _SOFTENING)
        found = np.einsum("nk,nkc->nc", pull, points) / np.maximum(pull.sum(axis=1, keepdims=True), 1e-12)
    return found


def _restored(about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Reducer:
    if about["method"] == "umap":
        training, coordinates, neighbours = arrays["training"], arrays["coordinates"], int(about["neighbours"])
        if training.ndim != 2 or coordinates.shape != (len(training), 2) or not 1 <= neighbours <= len(training):
            raise ValueError(f"shapes {training.shape} and {coordinates.shape} do not fit")
        return UmapReducer(training, coordinates, neighbours, float(about["min_dist"]), int(about["seed"]))
    if about["method"] != "pca":
        raise ValueError(f"unknown method {about['method']!r}")
    mean, components = arrays["mean"], arrays["components"]
    if mean.ndim != 1 or components.shape != (2, len(mean)):
        raise ValueError(f"shapes {mean.shape} and {components.shape} do not fit")
    return PcaReducer(mean, components, arrays["explained"])
