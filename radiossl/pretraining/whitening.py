"""Learning from unlabelled images which directions of a backbone's features tell sources apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

from radiossl.features.neighbours import Scatter
from radiossl.images.views import PRESETS, Augmentation, ViewMaker
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, check_folder
from radiossl.io.progress import track
from radiossl.pretraining.data import CutoutBatches, box_sides, step_seed
from radiossl.store.store import CutoutStore, open_store
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone
from radiossl.weights.readout import Embedding, Readout, Whitening, last_stage

#: Another number whenever the same images give another whitening, so that none is taken from a cache of before.
VERSION = 2
#: Part of the mean variance that is added to each variance among views: a few thousand sources give the smallest ones
#: too small. Chosen among 0.1, 0.3 and 1 (docs/measured/recipes.md).
_SHRINKAGE = 0.3


@torch.inference_mode()
def fit_whitening(
    backbone: Backbone,
    stores: Sequence[CutoutStore],
    readout: Readout | str | None = "wide",
    components: int = 256,
    views: int = 4,
    batch_size: int = 128,
    seed: int = 0,
) -> Whitening:
    """Learn a whitening from random views of cutouts, usually those that the backbone was trained on.

    How features vary among the views of one source (other zooms, centres, beams, noise: the augmentations of the recipe
    ``radiossl``) is what they should not be compared by. So the components are those that vary most among sources for
    what they vary among views; each is divided by its standard deviation among views (within-class covariance
    normalisation, Hatch et al. 2006, with every source as its own class) and weighted by the fourth root of its
    repeatability, the share of its variance that is among sources.

    For joined read-outs the whitening keeps the factor by which the mean of the last stage has half of their variance
    among sources.

    Labels are not looked at. At most so many components are kept, fewer where fewer tell sources apart. Each of the
    random views of a cutout is averaged over rotations and mirror images; `batch_size` cutouts are read at a time.
    Raises `RadiosslError` if there are no more cutouts than components, fewer than two views, or a feature that is not
    finite. See `Backbone.with_readout`, which uses the whitening.
    """
    store = CutoutStore.joined(*stores)
    if len(store) <= components:
        raise RadiosslError(
            f"{len(store)} cutouts for {components} components: more cutouts than components are needed"
        )
    if views < 2:
        raise RadiosslError(f"{views} views: two or more of each cutout are needed to see what varies among them")
    plain = backbone.adapted(views=8).with_readout(readout or "last", whiten=0).eval()
    seen, network = plain.config.preprocessing, plain.inference_network(len(store) * views * 8)
    make = ViewMaker(seen, Augmentation.model_validate(PRESETS["radiossl"]))
    boxes = box_sides(store, plain.config.recipe.get("extent"))
    starts = range(0, len(store), batch_size)
    rows = [np.arange(start, min(start + batch_size, len(store))) for start in starts]
    batches = CutoutBatches(store, plain.device, seen.field_px, boxes)(rows)
    among_views, among_sources = Scatter(plain.feature_dim), Scatter(plain.feature_dim)
    for start, batch in zip(track(starts, "reading out"), batches, strict=True):
        generator = torch.Generator().manual_seed(step_seed(seed, start))
        drawn = make(batch.pixels, batch.statistics, generator, count=views, boxes=batch.boxes)
        features = np.stack([plain(view, network).cpu().numpy() for view in drawn])
        if not np.isfinite(features).all():
            raise RadiosslError(f"{backbone.name}: gives features that are not finite; it cannot be whitened")
        means = features.mean(axis=0)
        among_sources.add(means)
        among_views.add((features - means).reshape(-1, plain.feature_dim))
    mean, between = among_sources.mean_and_covariance()
    within = among_views.mean_and_covariance()[1] * views / (views - 1)
    axes = repeatable_components(within, between - within / views, components)  # means still vary among views
    read = plain.config.embedding.readout
    last = last_stage(plain.network, read)
    scale = None if last is None else scale_beside(axes, between, last)
    return Whitening(mean.astype(np.float32), axes.astype(np.float32), read, scale)


def scale_beside(axes: NDArray[np.float64], between: NDArray[np.float64], last: slice) -> float | None:
    """Return the factor that gives some numbers half the variance of the components among sources."""
    variance = np.diag(between)[last].sum()
    return float(np.sqrt(0.5 * ((axes @ between) * axes).sum() / variance)) if variance > 0 else None


def repeatable_components(
    within: NDArray[np.float64], between: NDArray[np.float64], most: int, shrinkage: float = _SHRINKAGE
) -> NDArray[np.float64]:
    """Return what varies most among sources for what it varies among views, best first, weighted by its repeatability.

    From the covariances (d, d) of features among the views of one source and among sources; shape (components, d), at
    most as many as asked for and those alone that tell something apart.
    """
    spread = np.sqrt(np.diag(within) + np.diag(between).clip(0))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)  # a constant tells nothing
    within, between = within * np.outer(scale, scale), between * np.outer(scale, scale)
    within[np.diag_indices_from(within)] += shrinkage * np.trace(within) / len(within)
    ratios, axes = eigh(between, within, subset_by_index=[max(0, len(within) - most), len(within) - 1])
    kept = np.flatnonzero(ratios > 0)[::-1]
    ratios, axes = ratios[kept], axes[:, kept].T
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    return axes * scale * ((ratios / (1 + ratios)) ** 0.25)[:, None]


def store_whitening(
    weights: PathLike,
    stores: Sequence[PathLike],
    out: PathLike,
    readout: str = "wide",
    components: int = 256,
    views: int = 4,
    default: int | None = None,
    joined: bool = False,
    seed: int = 0,
    device: str = "auto",
) -> Whitening:
    """Learn a whitening and write the backbone with it, to the same folder or another; see `fit_whitening`.

    With `default`, its read-out is used from now on unless another is asked for, cut to so many components (0: not
    whitened), with the mean of the last stage beside them if `joined`.
    """
    if joined and not default:
        raise RadiosslError("--joined: give --default N too, the number of components beside the last stage")
    check_folder(out, "backbone")
    backbone = load_backbone(weights, device)
    opened = [open_store(path) for path in stores]
    whitening = fit_whitening(backbone, opened, readout, components, views, seed=seed)
    embedding = backbone.config.embedding
    if default is not None:
        embedding = Embedding(readout=whitening.readout, whiten=default or None, joined=joined)
    config = dataclasses.replace(backbone.config, whitening=whitening, embedding=embedding)
    _ = Backbone(backbone.network, config, str(weights)).feature_network  # refuses more components than there are
    save_backbone(out, backbone.network, config)
    return whitening
