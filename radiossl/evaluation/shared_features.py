"""Features of labelled cutouts, made once for each backbone, and features without a network for the baselines."""

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
import torch.nn.functional as F
from numpy.typing import NDArray

from radiossl.features.embedding import embed_images, preprocessed_batches
from radiossl.images.preprocess import Preprocessing, flips_and_rotations
from radiossl.io.cache import optional_cache
from radiossl.io.files import PathLike, atomic_file
from radiossl.store.store import CutoutStore
from radiossl.weights.backbone import Backbone

#: Bytes that the cache on disk may hold; what was used longest ago is removed first.
_LIMIT = 2**31
#: Images that are preprocessed at a time.
_BATCH = 128


class SharedFeatures:
    """Features known by the weights and pixels they were made of, in memory and, in a folder, for later calls."""

    def __init__(self, folder: PathLike | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._made: dict[str, NDArray[Any]] = {}
        self._digests: WeakKeyDictionary[CutoutStore, str] = WeakKeyDictionary()

    def of(self, backbone: Backbone, store: CutoutStore) -> NDArray[np.float32]:
        """Return the features of all cutouts of a store, shape (n, feature_dim)."""

        def make() -> NDArray[np.float32]:
            views = self._made.get(self._key(f"views {backbone.identity}", store))
            if views is None:
                return embed_images(backbone, store)
            return views.mean(axis=0) if backbone.config.preprocessing.views == 8 else views[0]

        return self.made(f"features {backbone.identity}", store, make)

    def views_of(self, backbone: Backbone, store: CutoutStore) -> NDArray[np.float32]:
        """Return the features of the four rotations of every cutout and of its mirror image, shape (8, n, d)."""
        return self.made(f"views {backbone.identity}", store, lambda: _features_of_views(backbone, store))

    def made(self, identity: str, store: CutoutStore, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return what `make` makes of a store, or made before under the same identity of the same pixels."""
        key = self._key(identity, store)
        if key not in self._made:
            file = None if self.folder is None else self.folder / f"{key}.npz"
            self._made[key] = make() if file is None else _kept(file, make)
        return self._made[key]

    def _key(self, identity: str, store: CutoutStore) -> str:
        if store not in self._digests:  # of all pixels in their order, and of their statistics
            digest = hashlib.blake2b(store.pixel_key(), digest_size=16)
            for row in range(len(store)):
                digest.update(np.ascontiguousarray(store.pixels(row)).data)
            self._digests[store] = digest.hexdigest()
        return hashlib.sha256(f"{identity} {self._digests[store]}".encode()).hexdigest()[:32]


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
def _features_of_views(backbone: Backbone, store: CutoutStore) -> NDArray[np.float32]:
    backbone.eval()
    views = np.empty((8, len(store), backbone.feature_dim), dtype=np.float32)
    network = backbone.inference_network(8 * len(store))
    for rows, images in preprocessed_batches(backbone.config.preprocessing, store, _BATCH, backbone.device):
        for number, turned in enumerate(flips_and_rotations(images)):
            views[number, rows] = network(turned).float().cpu().numpy()
    return views


#: Raw pixels are compared at no more than this many pixels a side.
RAW_SIZE = 64


def raw_pixels(preprocessing: Preprocessing, store: CutoutStore) -> NDArray[np.float32]:
    """The preprocessed pixels themselves, at `RAW_SIZE` pixels a side at most, shape (n, channels * side**2)."""
    size = min(preprocessing.size, RAW_SIZE)
    flat = np.empty((len(store), preprocessing.channels * size**2), dtype=np.float32)
    for rows, images in preprocessed_batches(preprocessing, store, _BATCH, description="raw pixels"):
        flat[rows] = F.interpolate(images, size=(size, size), mode="area").flatten(1).numpy()
    return flat


def image_moments(preprocessing: Preprocessing, store: CutoutStore) -> NDArray[np.float64]:
    """Numbers that describe the shape of the source in each preprocessed image, shape (n, 17).

    Of the first channel: flux, area and number of peaks, extent and ellipticity from the second moments, concentration,
    asymmetry under half a turn, distance of the brightest pixel from the centroid, the seven invariants of Hu 1962
    (logarithms), kurtosis and skewness along the major axis.
    """
    rows_of = []
    for _, images in preprocessed_batches(preprocessing, store, _BATCH, description="moments"):
        rows_of += [_moments(image) for image in images[:, 0].double().numpy()]
    return np.array(rows_of)


def _moments(image: NDArray[np.float64]) -> list[float]:
    from scipy import ndimage

    flux = image.sum()
    if not flux > 0:
        return [0.0] * 17
    y, x = np.indices(image.shape, dtype=float)
    cy, cx = (image * y).sum() / flux, (image * x).sum() / flux
    dy, dx = y - cy, x - cx

    def moment(p: int, q: int) -> float:
        return float((image * dx**p * dy**q).sum())

    xx, yy, xy = moment(2, 0) / flux, moment(0, 2) / flux, moment(1, 1) / flux
    spread, difference = xx + yy, np.hypot(xx - yy, 2 * xy)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    along = dx * np.cos(angle) + dy * np.sin(angle)
    width = np.sqrt(max((spread + difference) / 2, 1e-9))
    third, fourth = ((image * (along / width) ** power).sum() / flux for power in (3, 4))
    ordered = np.sort(image.ravel())[::-1].cumsum() / flux
    peaks = (image == ndimage.maximum_filter(image, 5)) & (image > 0.3 * image.max())
    brightest = np.unravel_index(image.argmax(), image.shape)
    return [
        np.log(flux),
        float((image > 0).mean()),
        float(ndimage.label(peaks)[1]),
        float(width),
        float(difference / max(spread, 1e-9)),
        float((ordered < 0.5).mean()),
        float(np.abs(image - image[::-1, ::-1]).sum() / (2 * flux)),
        float(np.hypot(brightest[0] - cy, brightest[1] - cx) / width),
        *_hu(moment, flux),
        float(fourth),
        float(abs(third)),
    ]


def _hu(moment: Any, flux: float) -> list[float]:
    """The seven invariants, as signed logarithms since they span many decades."""
    n = {(p, q): moment(p, q) / flux ** (1 + (p + q) / 2) for p in range(4) for q in range(4) if 2 <= p + q <= 3}
    a, b = n[3, 0] - 3 * n[1, 2], 3 * n[2, 1] - n[0, 3]
    c, d = n[3, 0] + n[1, 2], n[2, 1] + n[0, 3]
    e = n[2, 0] - n[0, 2]
    invariants = [
        n[2, 0] + n[0, 2],
        e**2 + 4 * n[1, 1] ** 2,
        a**2 + b**2,
        c**2 + d**2,
        a * c * (c**2 - 3 * d**2) + b * d * (3 * c**2 - d**2),
        e * (c**2 - d**2) + 4 * n[1, 1] * c * d,
        b * c * (c**2 - 3 * d**2) - a * d * (3 * c**2 - d**2),
    ]
    return [float(np.sign(value) * np.log10(1 + 1e6 * abs(value))) for value in invariants]
