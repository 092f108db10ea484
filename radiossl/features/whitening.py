"""Learning the whitening of a backbone's features from unlabelled images."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import torch

from radiossl.features.embedding import preprocessed_batches
from radiossl.features.scatter import Scatter
from radiossl.io.errors import RadiosslError
from radiossl.store.store import CutoutStore, open_store
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone
from radiossl.weights.readout import Embedding, Readout, Whitening

#: A component whose variance is less than this part of the largest is rounding.
_LEAST_VARIANCE = 1e-7


@torch.inference_mode()
def fit_whitening(
    backbone: Backbone,
    stores: Sequence[CutoutStore],
    readout: Readout | str | None = "wide",
    components: int = 256,
    batch_size: int = 128,
) -> Whitening:
    """Learn a whitening from the cutouts of stores, usually those that the backbone was trained on.

    Every number of the read-out is brought to unit variance first, so that no stage counts more because its numbers are
    larger; then come the principal components, each divided by its standard deviation.

    Parameters
    ----------
    backbone
        What makes the features.
    stores
        The cutouts. Labels are not looked at.
    readout
        See `Backbone.with_readout`.
    components
        How many to keep at most; fewer where the features do not vary along as many.
    batch_size
        Images at a time.

    Raises
    ------
    RadiosslError
        If there are fewer cutouts than components, or a feature is not finite.

    See Also
    --------
    radiossl.weights.backbone.Backbone.with_readout : Uses the whitening.
    """
    count = sum(map(len, stores))
    if count <= components:
        raise RadiosslError(f"{count} cutouts for {components} components: more cutouts than components are needed")
    plain = backbone.with_readout(readout or "last", whiten=0).eval()
    network = plain.inference_network(count * plain.config.preprocessing.views)
    scatter = Scatter(plain.feature_dim)
    for store in stores:
        batches = preprocessed_batches(plain.config.preprocessing, store, batch_size, plain.device, "reading out")
        for _, images in batches:
            features = plain(images, network).cpu().numpy()
            if not np.isfinite(features).all():
                raise RadiosslError(f"{backbone.name}: gives features that are not finite; it cannot be whitened")
            scatter.add(features)
    mean, covariance = scatter.mean_and_covariance()
    spread = np.sqrt(np.diag(covariance))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)  # a constant tells nothing
    variances, axes = np.linalg.eigh(covariance * np.outer(scale, scale))
    variances, axes = variances[::-1][:components], axes[:, ::-1][:, :components].T
    kept = variances > _LEAST_VARIANCE * variances[0]
    axes = axes[kept] * np.sign(axes[kept, np.abs(axes[kept]).argmax(axis=1)])[:, None]
    whitened = axes * scale / np.sqrt(variances[kept])[:, None]
    return Whitening(mean.astype(np.float32), whitened.astype(np.float32), plain.config.embedding.readout)


def store_whitening(
    weights: str | os.PathLike[str],
    stores: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    readout: str = "wide",
    components: int = 256,
    default: int | None = None,
    device: str = "cpu",
) -> Whitening:
    """Learn a whitening and write the backbone with it; see `fit_whitening`.

    Parameters
    ----------
    weights, out
        Backbone folders to read and to write, perhaps the same.
    stores
        Folders of the cutouts.
    readout, components
        As for `fit_whitening`.
    default
        Make this the read-out that is used unless another is asked for, cut to so many components (0: not whitened).
    device
        Where to compute.
    """
    backbone = load_backbone(weights, device)
    whitening = fit_whitening(backbone, [open_store(path) for path in stores], readout, components)
    embedding = backbone.config.embedding
    if default is not None:
        embedding = Embedding(readout=whitening.readout, whiten=default or None)
    config = dataclasses.replace(backbone.config, whitening=whitening, embedding=embedding)
    _ = Backbone(backbone.network, config, str(weights)).feature_network  # refuses more components than there are
    save_backbone(out, backbone.network, config)
    return whitening
