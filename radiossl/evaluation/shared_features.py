"""Features of labelled cutouts, made once for each backbone however many protocols judge it by them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from radiossl.features.embedding import embed_store, preprocessed_batches
from radiossl.images.preprocess import flips_and_rotations
from radiossl.store.store import CutoutStore
from radiossl.weights.backbone import Backbone


class SharedFeatures:
    """Features of the cutouts of one store, kept in memory.

    Parameters
    ----------
    store
        The cutouts.
    """

    def __init__(self, store: CutoutStore) -> None:
        self.store = store
        self._features: dict[str, NDArray[np.float32]] = {}
        self._views: dict[str, NDArray[np.float32]] = {}

    def of(self, backbone: Backbone) -> NDArray[np.float32]:
        """Return the features of all cutouts, shape (n, feature_dim)."""
        identity = backbone.identity
        if identity not in self._features:
            if identity in self._views:
                averaged = backbone.config.preprocessing.views == 8
                views = self._views[identity]
                self._features[identity] = views.mean(axis=0) if averaged else views[0]
            else:
                self._features[identity] = embed_store(backbone, self.store)
        return self._features[identity]

    def views_of(self, backbone: Backbone, batch_size: int = 128) -> NDArray[np.float32]:
        """Return the features of the four rotations of every cutout and of its mirror image, shape (8, n, d)."""
        identity = backbone.identity
        if identity not in self._views:
            self._views[identity] = self._make_views(backbone, batch_size)
        return self._views[identity]

    @torch.inference_mode()
    def _make_views(self, backbone: Backbone, batch_size: int) -> NDArray[np.float32]:
        backbone.eval()
        views = np.empty((8, len(self.store), backbone.feature_dim), dtype=np.float32)
        network = backbone.inference_network(8 * len(self.store))
        batches = preprocessed_batches(backbone.config.preprocessing, self.store, batch_size, backbone.device)
        for rows, images in batches:
            for number, turned in enumerate(flips_and_rotations(images)):
                views[number, rows] = network(turned).float().cpu().numpy()
        return views
