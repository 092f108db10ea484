"""Registered pixels of cutouts, and when they show one source."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from radiossl.images.registration import SOURCE_SIGMA, Prepared, Registration, prepare, register_prepared, zooms
from radiossl.store.store import CutoutStore

#: Least correlation of the noise of two cutouts of one observation. That of different fields rarely exceeds 0.2
#: (docs/duplicates.md), that of one field to 0.7 where one cutout has had as much noise again added.
NOISE_CORRELATION = 0.5
#: Least correlation of the sources of two cutouts of one source, where the noise is not the same.
SOURCE_CORRELATION = 0.97
#: Cutouts kept ready for registration.
_KEPT = 512


class Pixels:
    """The images of a store, ready to be registered; the last ones used are kept prepared."""

    def __init__(self, store: CutoutStore) -> None:
        self.store = store
        self.scales = self.store.column("pixel_scale_arcsec").astype(float)
        self.prepared = lru_cache(_KEPT)(self._prepared)

    def _prepared(self, row: int, zoom: float) -> Prepared | None:
        return prepare(self.store.pixels(row), zoom)

    def register(self, first: int, second: int) -> Registration:
        """Register two of the images; see `radiossl.images.registration.register`."""
        shapes = self.store.shapes
        grids = zooms(tuple(shapes[first]), tuple(shapes[second]), self.scales[first], self.scales[second])
        return register_prepared(self.prepared(first, grids[0]), self.prepared(second, grids[1]), grids[2])

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
