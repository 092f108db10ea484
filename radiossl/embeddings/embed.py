"""From backbones and images to features."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

import radiossl
from radiossl.embeddings.table import FeatureTable
from radiossl.errors import RadiosslError
from radiossl.images.preprocess import Preprocessing
from radiossl.progress import track
from radiossl.survey.image_file import read_image
from radiossl.survey.store import CutoutStore, open_store
from radiossl.weights.released import Backbone, load_backbone


@torch.inference_mode()
def embed_store(backbone: Backbone, store: CutoutStore, batch_size: int = 128) -> NDArray[np.float32]:
    """Return the features of all cutouts of a store, shape (n, feature_dim), on the backbone's device."""
    backbone.eval()
    features = np.empty((len(store), backbone.feature_dim), dtype=np.float32)
    for rows, images in preprocessed_batches(backbone.config.preprocessing, store, batch_size, backbone.device):
        features[rows] = backbone(images).cpu().numpy()
    return features


def preprocessed_batches(
    preprocessing: Preprocessing,
    store: CutoutStore,
    batch_size: int,
    device: torch.device | str = "cpu",
    description: str = "embedding",
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """Yield (rows, preprocessed images) of a store, in its order, behind a progress bar."""
    for start in track(range(0, len(store), batch_size), description):
        rows = np.arange(start, min(start + batch_size, len(store)))
        images = torch.empty(len(rows), preprocessing.channels, preprocessing.size, preprocessing.size, device=device)
        shapes, group = np.unique(store.shapes[rows], axis=0, return_inverse=True)
        for number in range(len(shapes)):  # cutouts of one size together
            chosen = np.flatnonzero(group.reshape(-1) == number)
            pixels = torch.from_numpy(np.stack([store.pixels(row) for row in rows[chosen]])).to(device)
            statistics = torch.from_numpy(store.statistics[rows[chosen]]).to(device)
            images[torch.from_numpy(chosen).to(device)] = preprocessing(pixels, statistics)
        yield rows, images


def embed(
    weights: Backbone | str | os.PathLike[str],
    images: CutoutStore | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    batch_size: int = 128,
    device: str = "cpu",
) -> FeatureTable:
    """Make the feature table of a cutout store or of image files.

    Parameters
    ----------
    weights
        A backbone or the folder of one.
    images
        A `CutoutStore`, the folder of one, or paths of FITS, NPY or picture files.
    batch_size
        Images at a time.
    device
        Where to compute, if `weights` is a folder.

    Returns
    -------
    FeatureTable
        With the store's columns, or `cutout_id` (the file's name) for files.

    Raises
    ------
    RadiosslError
        If the weights, the store or a file cannot be read.
    """
    backbone = weights if isinstance(weights, Backbone) else load_backbone(weights, device)
    metadata: dict[str, Any] = {
        "radiossl_version": radiossl.__version__,
        "weights": backbone.name,
        "weights_sha256": backbone.sha256,
        "preprocessing": backbone.config.preprocessing.model_dump(),
    }
    if isinstance(images, (str, os.PathLike)):
        images = open_store(images) if Path(images).is_dir() else [images]
    if isinstance(images, CutoutStore):
        stores = [str(path.resolve()) for path in images.paths]
        return FeatureTable(images.table, embed_store(backbone, images, batch_size), metadata | {"stores": stores})
    if not images:
        raise RadiosslError("no image to embed was given")
    features = np.stack([_features_of_file(backbone, path) for path in track(images, "embedding")])
    columns = pa.table({"cutout_id": [Path(path).name for path in images], "file": [str(path) for path in images]})
    return FeatureTable(columns, features, metadata)


def _features_of_file(backbone: Backbone, path: str | os.PathLike[str]) -> NDArray[np.float32]:
    image = read_image(path)
    if not np.isfinite(image).any():
        raise RadiosslError(f"{path}: every pixel is blank")
    return backbone.features(image)[0].cpu().numpy()
