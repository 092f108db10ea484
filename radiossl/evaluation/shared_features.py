"""Features of labelled cutouts, made once for each backbone however many protocols use them."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from radiossl.features.embedding import embed_store, preprocessed_batches
from radiossl.images.preprocess import flips_and_rotations
from radiossl.store.store import CutoutStore
from radiossl.weights.backbone import Backbone


class SharedFeatures:
    """Features kept in memory, known by the weights and the pixels that they were made of."""

    def __init__(self) -> None:
        self._features: dict[tuple[str, str], NDArray[np.float32]] = {}
        self._views: dict[tuple[str, str], NDArray[np.float32]] = {}

    def of(self, backbone: Backbone, store: CutoutStore) -> NDArray[np.float32]:
        """Return the features of all cutouts of a store, shape (n, feature_dim)."""
        key = backbone.identity, pixel_digest(store)
        if key not in self._features:
            if key in self._views:
                averaged = backbone.config.preprocessing.views == 8
                self._features[key] = self._views[key].mean(axis=0) if averaged else self._views[key][0]
            else:
                self._features[key] = embed_store(backbone, store)
        return self._features[key]

    def views_of(self, backbone: Backbone, store: CutoutStore, batch_size: int = 128) -> NDArray[np.float32]:
        """Return the features of the four rotations of every cutout and of its mirror image, shape (8, n, d)."""
        key = backbone.identity, pixel_digest(store)
        if key not in self._views:
            self._views[key] = _features_of_views(backbone, store, batch_size)
        return self._views[key]


def pixel_digest(store: CutoutStore) -> str:
    """Return a hash of the pixels of all cutouts and their statistics, in their order."""
    digest = hashlib.blake2b(store.pixel_key(), digest_size=16)
    for row in range(len(store)):
        digest.update(np.ascontiguousarray(store.pixels(row)).data)
    return digest.hexdigest()


@torch.inference_mode()
def _features_of_views(backbone: Backbone, store: CutoutStore, batch_size: int) -> NDArray[np.float32]:
    backbone.eval()
    views = np.empty((8, len(store), backbone.feature_dim), dtype=np.float32)
    network = backbone.inference_network(8 * len(store))
    for rows, images in preprocessed_batches(backbone.config.preprocessing, store, batch_size, backbone.device):
        for number, turned in enumerate(flips_and_rotations(images)):
            views[number, rows] = network(turned).float().cpu().numpy()
    return views
