"""Features of labelled cutouts, made once for each backbone however many protocols and calls use them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from radiossl.features.embedding import embed_store, preprocessed_batches
from radiossl.images.preprocess import flips_and_rotations
from radiossl.io.cache import optional_cache
from radiossl.io.files import atomic_file
from radiossl.store.store import CutoutStore
from radiossl.weights.backbone import Backbone

#: Bytes that the cache on disk may hold; what was used longest ago is removed first.
_LIMIT = 2**31


class SharedFeatures:
    """Features known by the weights and pixels they were made of, in memory and, in a folder, for later calls."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._made: dict[str, NDArray[Any]] = {}
        self._digests: WeakKeyDictionary[CutoutStore, str] = WeakKeyDictionary()

    def of(self, backbone: Backbone, store: CutoutStore) -> NDArray[np.float32]:
        """Return the features of all cutouts of a store, shape (n, feature_dim)."""

        def make() -> NDArray[np.float32]:
            views = self._made.get(self._key(f"views {backbone.identity}", store))
            if views is None:
                return embed_store(backbone, store)
            return views.mean(axis=0) if backbone.config.preprocessing.views == 8 else views[0]

        return self.made(f"features {backbone.identity}", store, make)

    def views_of(self, backbone: Backbone, store: CutoutStore, batch_size: int = 128) -> NDArray[np.float32]:
        """Return the features of the four rotations of every cutout and of its mirror image, shape (8, n, d)."""
        return self.made(f"views {backbone.identity}", store, lambda: _features_of_views(backbone, store, batch_size))

    def made(self, identity: str, store: CutoutStore, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return what `make` makes of a store, or made before under the same identity of the same pixels."""
        key = self._key(identity, store)
        if key not in self._made:
            file = None if self.folder is None else self.folder / f"{key}.npz"
            self._made[key] = make() if file is None else _kept(file, make)
        return self._made[key]

    def _key(self, identity: str, store: CutoutStore) -> str:
        if store not in self._digests:
            self._digests[store] = pixel_digest(store)
        return hashlib.sha256(f"{identity} {self._digests[store]}".encode()).hexdigest()[:32]


def pixel_digest(store: CutoutStore) -> str:
    """Return a hash of the pixels of all cutouts and their statistics, in their order."""
    digest = hashlib.blake2b(store.pixel_key(), digest_size=16)
    for row in range(len(store)):
        digest.update(np.ascontiguousarray(store.pixels(row)).data)
    return digest.hexdigest()


def _kept(file: Path, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Read an array that was made before, or make and write it; a cache that cannot be used is no obstacle."""
    try:
        with np.load(file, allow_pickle=False) as archive:  # with a checksum, as every zip file
            array = archive["array"]
        os.utime(file)
        return np.asarray(array)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        array = make()
    with optional_cache(file.parent):
        with atomic_file(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, array=array)
        others = sorted(file.parent.glob("*.np[yz]"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in others:
            total += path.stat().st_size
            if total > _LIMIT:
                path.unlink(missing_ok=True)
    return array


@torch.inference_mode()
def _features_of_views(backbone: Backbone, store: CutoutStore, batch_size: int) -> NDArray[np.float32]:
    backbone.eval()
    views = np.empty((8, len(store), backbone.feature_dim), dtype=np.float32)
    network = backbone.inference_network(8 * len(store))
    for rows, images in preprocessed_batches(backbone.config.preprocessing, store, batch_size, backbone.device):
        for number, turned in enumerate(flips_and_rotations(images)):
            views[number, rows] = network(turned).float().cpu().numpy()
    return views
