"""From backbones and images to features."""

from __future__ import annotations

import hashlib
import os
import time
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
from radiossl.files import naming_full_disk, read_json, write_json
from radiossl.images.preprocess import Preprocessing
from radiossl.progress import track
from radiossl.survey.image_file import read_image
from radiossl.survey.store import CutoutStore, open_store
from radiossl.weights.released import Backbone, load_backbone

#: How often the features of a long run are put on disk.
_KEEP_SECONDS = 20.0


@torch.inference_mode()
def embed_store(
    backbone: Backbone, store: CutoutStore, batch_size: int = 128, kept: Path | None = None
) -> NDArray[np.float32]:
    """Return the features of all cutouts of a store, shape (n, feature_dim), on the backbone's device.

    Parameters
    ----------
    backbone, store
        What makes features, and of what.
    batch_size
        Images at a time.
    kept
        Folder for what is done, so that a run that was interrupted goes on where it was. It is for the caller to remove
        once the features are safe. What is in it of another backbone or store is thrown away.
    """
    backbone.eval()
    shape = (len(store), backbone.feature_dim)
    features = np.empty(shape, dtype=np.float32)
    progress = None if kept is None else _KeptFeatures(kept, backbone, store, features)
    preprocessing, start = backbone.config.preprocessing, 0 if progress is None else progress.rows
    # Chosen by all passes, not by those that are left: the rounding of a run must not depend on interruptions.
    network = backbone.quick_network(len(store) * preprocessing.views)
    for rows, images in preprocessed_batches(preprocessing, store, batch_size, backbone.device, start=start):
        features[rows] = backbone(images, network).cpu().numpy()
        if progress is not None:
            progress.done(int(rows[-1]) + 1)
    return features


class _KeptFeatures:
    """A file of the features that are done, and how many rows of it count.

    The file is appended to, never mapped into memory: on a full disk a write fails with an error, a mapping kills.
    """

    def __init__(self, folder: Path, backbone: Backbone, store: CutoutStore, features: NDArray[np.float32]) -> None:
        digest = hashlib.sha256(backbone.identity.encode())
        digest.update("\0".join(store.column("cutout_id").astype(str)).encode())
        digest.update(store.pixel_key())
        self._key, self._file, self._state = digest.hexdigest(), folder / "features.raw", folder / "state.json"
        self._features = features
        self._row_bytes = 4 * features.shape[1]
        self.rows = 0
        state = read_json(self._state) if self._state.is_file() and self._file.is_file() else {}
        if state.get("key") == self._key and self._file.stat().st_size >= state["rows"] * self._row_bytes:
            self.rows = state["rows"]
            done = np.fromfile(self._file, np.float32, self.rows * features.shape[1])
            features[: self.rows] = done.reshape(self.rows, -1)
        else:
            with naming_full_disk(folder):
                folder.mkdir(parents=True, exist_ok=True)
                self._state.unlink(missing_ok=True)
                self._file.touch()
        self._saved = time.monotonic()

    def done(self, rows: int) -> None:
        """Record from time to time that all rows before this one are done."""
        if time.monotonic() - self._saved >= _KEEP_SECONDS:
            with naming_full_disk(self._file), self._file.open("r+b") as stream:
                stream.seek(self.rows * self._row_bytes)  # behind it may be rows that no state speaks of
                stream.write(self._features[self.rows : rows].tobytes())
            write_json(self._state, {"key": self._key, "rows": rows})  # first the rows, then the word of them
            self.rows, self._saved = rows, time.monotonic()


def preprocessed_batches(
    preprocessing: Preprocessing,
    store: CutoutStore,
    batch_size: int,
    device: torch.device | str = "cpu",
    description: str = "embedding",
    start: int = 0,
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """Yield (rows, preprocessed images) of a store from row `start` on, in its order, behind a progress bar."""
    for first in track(range(start, len(store), batch_size), description):
        rows = np.arange(first, min(first + batch_size, len(store)))
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
    kept: Path | None = None,
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
    kept
        See `embed_store`.

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
        return FeatureTable(
            images.table, embed_store(backbone, images, batch_size, kept), metadata | {"stores": stores}
        )
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
