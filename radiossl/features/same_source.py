"""Which cutouts show one source by their pixels: equal ones, and registered ones that agree."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.features.vector_index import VectorIndex
from radiossl.images.registration import (
    SOURCE_SIGMA,
    Registration,
    amplitude_spectra,
    prepare,
    register,
    turn,
    turned_spectra,
    zooms,
)
from radiossl.io.progress import track
from radiossl.store.boxes import shows_position
from radiossl.store.store import CutoutStore

#: Least correlation of the noise of two cutouts of one observation. That of different fields rarely exceeds 0.1
#: (docs/duplicates.md), that of one field is 0.67 where one cutout has had as much noise again added.
NOISE_CORRELATION = 0.5
#: Least correlation of the sources of two cutouts of one source, where the noise is not the same.
SOURCE_CORRELATION = 0.97
#: Smallest side in pixels of cutouts that are registered: fewer pixels do not hold enough to know a source by.
SMALLEST_SIDE = 32
#: Nearest neighbours by amplitude spectrum, in either direction, that are registered.
_CANDIDATES = 5
#: If one store is this many times larger than the other, fewer neighbours of its cutouts are registered.
_UNEVEN = 10
#: Cutouts kept ready for registration.
_KEPT = 512


class PreparedImages:
    """The images of a store, ready to be registered; the last ones used are kept prepared."""

    def __init__(self, store: CutoutStore) -> None:
        self.store, self.scales = store, store.column("pixel_scale_arcsec").astype(float)
        self.prepared = lru_cache(_KEPT)(lambda row, zoom: prepare(store.pixels(row), zoom))

    def register(self, first: int, second: int, orientation: int = 0) -> Registration:
        """Register two of the images, the second after a `turn`; see `radiossl.images.registration.register`."""
        shapes = self.store.shapes
        grids = zooms(tuple(shapes[first]), tuple(shapes[second]), self.scales[first], self.scales[second])
        other = self.prepared(second, grids[1])
        if orientation and other is not None:
            values, valid = (turn(part, orientation) for part in (other.values, other.valid))
            other = replace(other, values=values, valid=valid)
        return register(self.prepared(first, grids[0]), other, grids[2])

    def source_distance_px(self, row: int) -> float:
        """Distance of the brightness-weighted centre of the sources in the central half from the cutout's centre."""
        prepared = self.prepared(row, 1.0)
        if prepared is None:
            return float("nan")
        height, width = prepared.values.shape
        cut = slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)
        values = np.sinh(prepared.values[cut])
        weight = np.where(values > SOURCE_SIGMA, values, 0).astype(np.float64)
        if weight.sum() == 0:
            return float("nan")
        y, x = (np.average(axis, weights=weight) for axis in np.indices(weight.shape))
        return float(np.hypot(y - (weight.shape[0] - 1) / 2, x - (weight.shape[1] - 1) / 2))


def pixel_hash(pixels: NDArray[np.floating]) -> bytes:
    """Return 16 bytes that two images share if they have the same shape and equal float32 pixels, NaN included."""
    canonical = np.where(np.isnan(pixels), np.float32(np.nan), pixels).astype("<f4") + np.float32(0)  # -0 equals 0
    digest = hashlib.blake2b(repr(canonical.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(canonical).tobytes())
    return digest.digest()


def exact_pairs(a: CutoutStore, b: CutoutStore) -> NDArray[np.int64]:
    """Rows of all pairs with equal pixels, shape (n, 2); constant cutouts, which equal too many, are left out."""

    def hashes(store: CutoutStore) -> pd.DataFrame:
        varied = np.flatnonzero(store.column("minimum").astype(float) < store.column("maximum").astype(float))
        keys = [pixel_hash(store.pixels(row)) for row in track(varied.tolist(), "hashing pixels")]
        return pd.DataFrame({"key": keys, "row": varied})

    first, second = hashes(a), hashes(b)
    return first.merge(second, on="key")[["row_x", "row_y"]].to_numpy(dtype=np.int64)


def same_pictures(a: CutoutStore, b: CutoutStore, turned: bool = False) -> NDArray[np.int64]:
    """Find the pairs of cutouts that show one source: equal, offset, clipped or in 8 bits.

    Besides cutouts with equal pixels, the nearest by `amplitude_spectra`, which a shift leaves as they are, are
    registered: two that have their noise are one source if it correlates (`NOISE_CORRELATION`), others if their sources
    do (`SOURCE_CORRELATION`). Cutouts of less than 32 pixels must be equal. With `turned`, mirror images and those
    turned by right angles are found too. Returns rows of the first and the second store, shape (n, 2), in order.

    Notes
    -----
    Measured on 200 FIRST fields of 200 x 200 pixels and copies of half of them (benchmarks/same_source.py): shifted by
    up to 30 pixels 1.00, in 8 bits 0.96, clipped at 3 sigma to 8 bits, shifted or not, 0.87; no wrong pair. With
    `turned` up to 6 wrong pairs among the clipped ones, which show one compact source each.
    """
    rows = [np.flatnonzero(store.shapes.min(axis=1) >= SMALLEST_SIDE) for store in (a, b)]
    pairs = exact_pairs(a, b)
    if rows[0].size and rows[1].size:
        found = _registered_pairs(a.select(rows[0]), b.select(rows[1]), turned)
        pairs = np.concatenate([pairs, np.stack([rows[0][found[:, 0]], rows[1][found[:, 1]]], axis=1)])
    return np.unique(pairs, axis=0)


def _registered_pairs(a: CutoutStore, b: CutoutStore, turned: bool) -> NDArray[np.int64]:
    both, count = CutoutStore.joined(a, b), len(a)
    pixels, spectra = PreparedImages(both), amplitude_spectra(both)
    # A half turn does not change an amplitude spectrum, so that two orientations have one each.
    ways = [(0, 3), (1, 2), (4, 7), (5, 6)] if turned else [(0,)]
    found: set[tuple[int, int]] = set()
    others = np.stack([turned_spectra(spectra[count:], orientations[0]) for orientations in ways])
    for row, other, way in track(_candidates(spectra[:count], others), "registering pixels"):
        for orientation in ways[way]:
            if (row, other) not in found:
                measured = pixels.register(row, count + other, orientation)
                noise = measured.noise_correlation
                if noise >= max(NOISE_CORRELATION, measured.noise_limit) or (
                    np.isnan(noise) and measured.source_correlation >= SOURCE_CORRELATION
                ):
                    found.add((row, other))
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)


def _candidates(first: NDArray[np.float32], second: NDArray[np.float32]) -> list[tuple[int, int, int]]:
    """Rows of the first and of the second, and the way it is turned, of which one is among the nearest of the other.

    The spectra have the shapes (n, d) and (ways, m, d).
    """
    ways, total = second.shape[:2]
    small = min(len(first), total)
    wanted = [min(_CANDIDATES, -(-_CANDIDATES * _UNEVEN * small // number)) for number in (len(first), total)]
    _, near = VectorIndex.from_features(second.reshape(ways * total, -1)).search(first, min(wanted[0], ways * total))
    pairs = ((row, other) for row, line in enumerate(near.tolist()) for other in line if other >= 0)
    found = {(row, other % total, other // total) for row, other in pairs}
    k = min(wanted[1], len(first))
    cosines, near = VectorIndex.from_features(first).search(second.reshape(ways * total, -1), k)
    cosines = cosines.reshape(ways, total, k).swapaxes(0, 1).reshape(total, -1)
    near = near.reshape(ways, total, k).swapaxes(0, 1).reshape(total, -1)
    for other, best in enumerate(np.argsort(-cosines, axis=1)[:, :k].tolist()):
        found |= {(int(near[other, place]), other, place // k) for place in best if near[other, place] >= 0}
    return sorted(one for one in found if first[one[0]].any() and second[one[2], one[1]].any())


def shows_picture(store: CutoutStore, other: CutoutStore) -> NDArray[np.bool_]:
    """Tell which cutouts look like one of another store (`same_pictures`), compared where one has no position."""
    shown = np.zeros(len(store), dtype=bool)
    lost, other_lost = (~np.isfinite(np.add(*part.positions)) for part in (store, other))
    for mine, theirs in ((lost, np.ones_like(other_lost)), (~lost, other_lost)):
        if mine.any() and theirs.any():
            pairs = same_pictures(store.select(mine), other.select(theirs), turned=True)
            shown[np.flatnonzero(mine)[pairs[:, 0]]] = True
    return shown


def repeats(store: CutoutStore, other: CutoutStore, radius_arcsec: float) -> NDArray[np.bool_]:
    """Tell which cutouts of a store show a source of another one.

    By position (`shows_position`), equal pixels or, where one has no position, pictures that look alike
    (`shows_picture`).
    """
    mask = shows_position(store, *other.positions, radius_arcsec)
    mask[exact_pairs(store, other)[:, 0]] = True
    return mask | shows_picture(store, other)
