"""Sources that were trained on are known again by their position."""

import numpy as np
import pytest

from radiossl import RadiosslError, load_backbone
from radiossl.evaluation.leakage import shared_with_pretraining
from radiossl.weights.backbone import save_backbone
from radiossl.weights.config import BackboneConfig, TrainingSky


def saved(tiny_backbone, folder, ra, dec, reach):
    sky = TrainingSky(np.array(ra, float), np.array(dec, float), np.array(reach, np.float32))
    config = BackboneConfig(tiny_backbone.config.architecture, tiny_backbone.config.preprocessing, sky=sky)
    save_backbone(folder, tiny_backbone.network, config)
    return load_backbone(folder)


def test_near_a_centre_or_within_a_cutout_is_shared(small_store, tiny_backbone, tmp_path):
    """The store's sources stand at 10.0, 10.1, ... degrees, at declination -5."""
    arcsec = 1 / 3600
    backbone = saved(
        tiny_backbone,
        tmp_path / "b",
        [10.0, 10.1, 10.2, 10.3, np.nan],
        [-5 + 59 * arcsec, -5 + 61 * arcsec, -5 + 199 * arcsec, -5 + 201 * arcsec, -5.0],
        [5.0, 5.0, 200.0, 200.0, 10.0],
    )
    shared = shared_with_pretraining(backbone, small_store)
    assert np.flatnonzero(shared).tolist() == [0, 2]
    assert np.flatnonzero(shared_with_pretraining(backbone, small_store, radius_arcsec=62)).tolist() == [0, 1, 2]


def test_a_backbone_that_does_not_say_where_it_was_trained_gives_no_answer(small_store, tiny_backbone, tmp_path):
    assert shared_with_pretraining(tiny_backbone, small_store) is None
    assert shared_with_pretraining(saved(tiny_backbone, tmp_path / "b", [np.nan], [np.nan], [1.0]), small_store) is None


def test_positions_of_a_store_are_added_to_those_of_an_earlier_training(small_store):
    before = TrainingSky(np.array([1.0]), np.array([2.0]), np.array([3.0], np.float32))
    sky = TrainingSky.from_store(small_store, before)
    np.testing.assert_array_equal(sky.ra_deg, [1.0, *small_store.column("ra_deg")])
    np.testing.assert_array_equal(sky.dec_deg, [2.0, *small_store.column("dec_deg")])
    np.testing.assert_allclose(sky.reach_arcsec[:4], [3.0, 0.9 * 40, 0.9 * 32, 0.9 * 24])


def test_a_damaged_list_of_positions_is_named(tiny_backbone, tmp_path):
    saved(tiny_backbone, tmp_path / "b", [1.0], [1.0], [1.0])
    (tmp_path / "b" / "training_sky.npz").write_bytes(b"PK rubbish")
    with pytest.raises(RadiosslError, match=r"training_sky\.npz: damaged"):
        load_backbone(tmp_path / "b")
