"""The guard against testing on what was trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radiossl.features.same_source import shows_picture
from radiossl.sky.positions import RADIUS_ARCSEC, match_sky
from radiossl.store.store import CutoutStore
from radiossl.weights.backbone import Backbone


def shared_with_pretraining(
    backbone: Backbone, store: CutoutStore, radius_arcsec: float = RADIUS_ARCSEC
) -> NDArray[np.bool_] | None:
    """Tell which cutouts (n,) show a source that the backbone was trained on; None if its folder does not say.

    A source is shared if it lies within the radius of the centre of a training cutout, or within the largest circle in
    one. Cutouts without a position are taken for new.
    """
    sky = backbone.config.sky
    if sky is None or not np.isfinite(sky.ra_deg).any():
        return None
    reach = np.maximum(np.nan_to_num(sky.reach_arcsec.astype(float)), radius_arcsec)
    matches = match_sky(sky.ra_deg, sky.dec_deg, *_positions(store), float(reach.max()))
    shared = np.zeros(len(store), dtype=bool)
    near = matches.separation_arcsec <= reach[matches.a]
    shared[matches.b[near]] = True
    return shared


def shared_sources(store: CutoutStore, other: CutoutStore, radius_arcsec: float = RADIUS_ARCSEC) -> NDArray[np.bool_]:
    """Tell which cutouts of a store show a source of another one: centres within the radius, or similar pictures.

    Pictures are compared where one of the two has no position (`radiossl.features.same_source.shows_picture`).
    """
    shared = shows_picture(store, other)
    shared[match_sky(*_positions(store), *_positions(other), radius_arcsec).a] = True
    return shared


def _positions(store: CutoutStore) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return store.column("ra_deg").astype(float), store.column("dec_deg").astype(float)
