"""From backbones and images to features."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import radiossl
from radiossl.features.image_files import file_columns, find_images, is_store
from radiossl.features.table import FeatureTable
from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track
from radiossl.store.store import CutoutStore, open_store
from radiossl.survey.image_file import read_image
from radiossl.weights.backbone import Backbone, load_backbone
from radiossl.weights.health import check_features
from radiossl.weights.readout import embedding_from


@torch.inference_mode()
def embed_store(backbone: Backbone, store: CutoutStore, batch_size: int = 128) -> NDArray[np.float32]:
    """Return the features of all cutouts of a store, shape (n, feature_dim), on the backbone's device.

    Parameters
    ----------
    backbone, store
        What makes features, and of what.
    batch_size
        Images at a time.
    """
    backbone.eval()
    features = np.empty((len(store), backbone.feature_dim), dtype=np.float32)
    preprocessing = backbone.config.preprocessing
    network = backbone.inference_network(len(store) * preprocessing.views)
    for rows, images in preprocessed_batches(preprocessing, store, batch_size, backbone.device):
        features[rows] = backbone(images, network).cpu().numpy()
        check_features(features[rows], backbone.name or "backbone", store.column("cutout_id")[rows])
    return features


def preprocessed_batches(
    preprocessing: Preprocessing,
    store: CutoutStore,
    batch_size: int,
    device: torch.device | str = "cpu",
    description: str = "embedding",
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """Yield (rows, preprocessed images) of a store in its order, behind a progress bar."""
    for first in track(range(0, len(store), batch_size), description):
        rows = np.arange(first, min(first + batch_size, len(store)))
        yield rows, preprocessed(preprocessing, store, rows, device)


def preprocessed(
    preprocessing: Preprocessing, store: CutoutStore, rows: NDArray[np.int64], device: torch.device | str
) -> torch.Tensor:
    """Return the preprocessed images of these rows of a store, shape (n, channels, size, size)."""
    images = torch.empty(len(rows), preprocessing.channels, preprocessing.size, preprocessing.size, device=device)
    shapes, group = np.unique(store.shapes[rows], axis=0, return_inverse=True)
    for number in range(len(shapes)):  # cutouts of one size together
        chosen = np.flatnonzero(group.reshape(-1) == number)
        pixels = torch.from_numpy(np.stack([store.pixels(row) for row in rows[chosen]])).to(device)
        statistics = torch.from_numpy(store.statistics[rows[chosen]]).to(device)
        images[torch.from_numpy(chosen).to(device)] = preprocessing(pixels, statistics)
    return images


def embed(
    weights: Backbone | str | os.PathLike[str],
    images: CutoutStore | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    batch_size: int = 128,
    device: str = "auto",
) -> FeatureTable:
    """Make the feature table of a cutout store or of image files in memory.

    For a table on disk, in parts by any number of processes, see `radiossl.features.parts.write_features`.

    Parameters
    ----------
    weights
        A backbone or the folder of one.
    images
        A `CutoutStore`, the folder of one, or FITS, NPY or picture files: paths, folders and patterns such as
        ``"cutouts/*.fits"``.
    batch_size
        Images at a time.
    device
        Where to compute, if `weights` is a folder.

    Returns
    -------
    FeatureTable
        With the store's columns; for files those of `radiossl.features.image_files.file_columns`: `cutout_id`, `file`
        and, of FITS images, position, pixel scale and beam.

    Raises
    ------
    RadiosslError
        If the weights, the store or a file cannot be read.
    """
    backbone = weights if isinstance(weights, Backbone) else load_backbone(weights, device)
    if isinstance(images, (str, os.PathLike)):
        images = open_store(images) if is_store(images) else [images]
    if isinstance(images, CutoutStore):
        return FeatureTable(
            images.table, embed_store(backbone, images, batch_size), table_metadata(backbone, images.paths)
        )
    files = find_images(images)
    if not files:
        raise RadiosslError("no image to embed was given")
    features = np.stack([features_of_file(backbone, path) for path in track(files, "embedding")])
    return FeatureTable(file_columns(files), features, table_metadata(backbone))


def table_metadata(backbone: Backbone, stores: Sequence[Path] = ()) -> dict[str, Any]:
    """Return what a feature table says of its backbone and of the stores that it is of."""
    metadata = {
        "radiossl_version": radiossl.__version__,
        "weights": backbone.name,
        "weights_sha256": backbone.sha256,
        "preprocessing": backbone.config.preprocessing.model_dump(),
    }
    if backbone.embedding_metadata:
        metadata["embedding"] = backbone.embedding_metadata
    return metadata | ({"stores": [str(path.resolve()) for path in stores]} if stores else {})


def adapted_to_table(backbone: Backbone, metadata: Mapping[str, Any]) -> Backbone:
    """Return a backbone with the preprocessing and the read-out that a feature table was made with.

    Raises
    ------
    RadiosslError
        If the table was made with other weights, or with a whitening that the backbone does not have.
    """
    theirs = metadata.get("weights_sha256", "")
    if theirs and backbone.sha256 and theirs != backbone.sha256:
        raise RadiosslError(
            f"{backbone.name}: not the weights that the features were made with ({metadata.get('weights')});"
            " give those as --weights"
        )
    embedding = dict(metadata.get("embedding", {}))
    whitening = embedding.pop("whitening_sha256", None)
    wanted = embedding_from(embedding, "feature table")
    adapted = backbone.adapted(**metadata.get("preprocessing", {}))
    adapted = adapted.with_readout(wanted.readout or "last", wanted.whiten or 0)
    if adapted.embedding_metadata.get("whitening_sha256") != whitening:
        raise RadiosslError(f"{backbone.name}: its whitening is not that of the features; embed the cutouts again")
    return adapted


@torch.inference_mode()
def features_of_file(
    backbone: Backbone, path: str | os.PathLike[str], network: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> NDArray[np.float32]:
    """Return the features of an image file, shape (feature_dim,); raise `RadiosslError` if it is blank.

    `network` is what `Backbone.inference_network` returned, if that is to be used.
    """
    image = read_image(path)
    if not np.isfinite(image).any():
        raise RadiosslError(f"{path}: every pixel is blank")
    features = backbone.eval()(backbone.preprocess(image), network)
    check_features(features, backbone.name or "backbone", [path])
    return features[0].cpu().numpy()
