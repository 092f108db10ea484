"""From backbones and images to features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import radiossl
from radiossl.datasets.image_files import ImageFiles
from radiossl.datasets.image_sources import Images, find_images
from radiossl.features.table import FeatureTable
from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError, check_number
from radiossl.io.files import PathLike
from radiossl.io.progress import track
from radiossl.io.settings import validated
from radiossl.store.store import CutoutStore
from radiossl.survey.image_file import read_image
from radiossl.weights.backbone import Backbone, load_backbone
from radiossl.weights.readout import Embedding
from radiossl.weights.tensors import check_features


@torch.inference_mode()
def embed_images(backbone: Backbone, images: CutoutStore | ImageFiles, batch_size: int = 128) -> NDArray[np.float32]:
    """Return the features of all images, shape (n, feature_dim), made on the backbone's device, batch by batch."""
    check_number("--batch-size", batch_size, 1, whole=True)
    backbone.eval()
    features = np.empty((len(images), backbone.feature_dim), dtype=np.float32)
    network = backbone.inference_network(len(images) * backbone.config.preprocessing.views)
    for start in track(range(0, len(images), batch_size), "embedding"):
        rows = range(start, min(start + batch_size, len(images)))
        features[rows] = batch_features(backbone, images, rows, network)
    return features


def batch_features(
    backbone: Backbone, images: CutoutStore | ImageFiles, rows: range, network: Callable[[torch.Tensor], torch.Tensor]
) -> NDArray[np.float32]:
    """Return the features of these rows of a store, or of files, by what `Backbone.inference_network` returned.

    Files, which may be as large as mosaics, are read one after the other. Raises `RadiosslError` if one is blank, or
    features are not finite.
    """
    if isinstance(images, CutoutStore):
        names: Any = images.table.column("cutout_id")
        ready = preprocessed(backbone.config.preprocessing, images, np.array(rows), backbone.device)
    else:
        names = images.paths
        ready = torch.cat([backbone.preprocess(_not_blank(names[row])) for row in rows])
    features = backbone(ready, network).cpu().numpy()
    check_features(features, backbone.name or "backbone", names[rows.start : rows.stop])
    return features


def _not_blank(path: Path) -> NDArray[np.float32]:
    image = read_image(path)
    if not np.isfinite(image).any():
        raise RadiosslError(f"{path}: every pixel is blank")
    return image


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
    weights: Backbone | PathLike,
    images: Images,
    batch_size: int = 128,
    device: str = "auto",
    mosaics: Sequence[PathLike] | PathLike | None = None,
    **options: Any,
) -> FeatureTable:
    """Make the feature table of images, in memory.

    For a table on disk, in parts by any number of processes, see `radiossl.features.parts.write_features`.

    Parameters
    ----------
    weights
        A backbone, its folder or the name of a released one.
    images
        Cutout stores, image files, folders and patterns of them, arrays, tables that name or hold images, or a
        catalogue beside `mosaics`; see `radiossl.open_images`.
    batch_size
        Images at a time.
    device
        Where to compute, if `weights` is a folder: auto, cpu or cuda.
    mosaics
        FITS files, folders of them or patterns, from which the sources of a catalogue are cut.
    options
        See `radiossl.open_images`, such as ``size``, the side in pixels of boxes around catalogued sources.

    Returns
    -------
    FeatureTable
        With the columns of the store; for files `cutout_id`, `file`, those of the table that names them and, where
        they are known, position, pixel scale, unit and beam.

    Raises
    ------
    RadiosslError
        If the weights, the store or a file cannot be read.

    See Also
    --------
    radiossl.write_features : the same as a file, for any number of images.

    Examples
    --------
    >>> import numpy as np
    >>> from radiossl.weights.architecture import Architecture
    >>> backbone = Backbone.random(Architecture(), Preprocessing(size=32), seed=0)
    >>> embed(backbone, np.random.default_rng(0).normal(size=(3, 40, 40))).features.shape
    (3, 512)
    """
    backbone = weights if isinstance(weights, Backbone) else load_backbone(weights, device)
    found = find_images(images, mosaics, **options)
    return FeatureTable(found.table, embed_images(backbone, found, batch_size), table_metadata(backbone, found))


def table_metadata(backbone: Backbone, images: CutoutStore | ImageFiles) -> dict[str, Any]:
    """Return what a feature table says of its backbone and of the stores that it is of."""
    metadata: dict[str, Any] = {"radiossl_version": radiossl.__version__, "weights": backbone.name}
    metadata |= {"weights_sha256": backbone.sha256, "preprocessing": backbone.config.preprocessing.model_dump()}
    stores = images.paths if isinstance(images, CutoutStore) else ()
    further = {"embedding": backbone.embedding_metadata, "stores": [str(path.resolve()) for path in stores]}
    return metadata | {name: value for name, value in further.items() if value}


def adapted_to_table(backbone: Backbone, metadata: Mapping[str, Any]) -> Backbone:
    """Return a backbone with the preprocessing and the read-out that a feature table was made with, or refuse it."""
    theirs = metadata.get("weights_sha256", "")
    if theirs and backbone.sha256 and theirs != backbone.sha256:
        raise RadiosslError(
            f"{backbone.name}: not the weights that the features were made with ({metadata.get('weights')});"
            " give those as --weights"
        )
    embedding = dict(metadata.get("embedding", {}))
    whitening = embedding.pop("whitening_sha256", None)
    adapted = backbone.adapted(**metadata.get("preprocessing", {}))
    adapted = adapted.with_embedding(validated(Embedding, embedding, "feature table: embedding"))
    if adapted.embedding_metadata.get("whitening_sha256") != whitening:
        raise RadiosslError(f"{backbone.name}: its whitening is not that of the features; embed the cutouts again")
    return adapted
