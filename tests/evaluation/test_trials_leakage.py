"""Sources that were trained on are known again by their position."""

import numpy as np
import pytest

from radiossl import RadiosslError, load_backbone
from radiossl.evaluation.labels import Labels
from radiossl.evaluation.protocols import ProtocolSettings, evaluate
from radiossl.evaluation.trials import labelled_set, shared_sources, shared_with_pretraining
from radiossl.features.same_source import repeats
from radiossl.weights.backbone import save_backbone
from radiossl.weights.config import BackboneConfig, TrainingSky
from tests.evaluation.stores import unplaced


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


def test_python_does_not_test_on_what_was_trained_on_unless_told(small_store, tiny_backbone, tmp_path):
    ra = small_store.column("ra_deg")
    backbone = saved(tiny_backbone, tmp_path / "b", ra[:4], [-5.0] * 4, [5.0] * 4)
    trials = labelled_set(small_store, "kind", folds=2, seeds=1)
    quick = ProtocolSettings(k=3, baselines=False)
    found = evaluate(tmp_path / "b", trials, "knn", quick)
    assert found.results[-1].predictions().ids.tolist() == small_store.column("cutout_id")[4:].tolist()
    assert found.notes == ("4 of 24 sources were in the pretraining set and are left out",)
    again = evaluate(backbone, found.labelled, "knn", quick)
    assert again.notes == found.notes
    kept = evaluate(backbone, trials, "knn", quick, keep_shared=True)
    assert len(kept.results[-1].predictions()) == 24
    assert kept.notes == ("4 of 24 tested sources were in the pretraining set (without labels)",)
    assert "leaks cannot be found" in evaluate(tiny_backbone, trials, "knn", quick).notes[0]


def test_of_a_separate_test_set_the_tested_sources_alone_are_left_out(small_store, tiny_backbone, tmp_path):
    ra = small_store.column("ra_deg")
    backbone = saved(tiny_backbone, tmp_path / "b", ra[10:14], [-5.0] * 4, [5.0] * 4)
    halves = small_store.select(np.arange(12)), small_store.select(np.arange(12, 24))
    trials = labelled_set(halves[0], "kind", test=halves[1], seeds=1)
    found = evaluate(backbone, trials, "knn", ProtocolSettings(k=3, baselines=False)).labelled
    assert found.store.column("cutout_id")[found.tested].tolist() == [f"c{row}" for row in range(14, 24)]
    assert len(found.trials[0].split.train) == 12
    everywhere = saved(tiny_backbone, tmp_path / "all", ra, [-5.0] * 24, [5.0] * 24)
    with pytest.raises(RadiosslError, match="every tested source was in the pretraining set"):
        evaluate(everywhere, trials, "knn")


def test_sources_to_learn_from_that_are_tested_are_left_out(small_store, store_of, sky):
    half = small_store.select(np.arange(12))
    trials = labelled_set(small_store, "kind", test=half, seeds=1)
    assert len(trials.trials[0].split.train) == 12
    assert trials.notes == ("12 of 24 sources to learn from are in the test set and are left out",)
    assert len(labelled_set(small_store, "kind", test=half, seeds=1, keep_shared=True).trials[0].split.train) == 24
    with pytest.raises(RadiosslError, match="nearly all sources to learn from are in the test set"):
        labelled_set(small_store, "kind", test=small_store)


def test_pictures_are_compared_where_positions_are_missing(store_of, sky):
    fields = [sky(seed, (64, 64), sources=3) for seed in range(8)]
    store, copies = store_of(fields), store_of([100 * fields[2][:, ::-1], sky(99, (64, 64), sources=3)])
    for mine, other in ((store, unplaced(copies)), (unplaced(store), copies)):
        assert np.flatnonzero(shared_sources(mine, other)).tolist() == [2]
        assert np.flatnonzero(repeats(mine, other, 60)).tolist() == [2]


def test_every_picture_twice_is_no_way_to_learn_random_labels(store_of, tiny_backbone):
    """By folds that know no positions each picture was found by its copy, and any labels were told."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (40, 40)).astype(np.float32) for _ in range(40)]
    store = unplaced(store_of([picture for picture in pictures for _ in range(2)]))
    labels = Labels(np.arange(80), np.repeat(np.array(["A", "B"])[rng.integers(0, 2, 40)], 2))
    quick = ProtocolSettings(k=1, baselines=False)
    honest = evaluate(tiny_backbone, labelled_set(store, labels, seeds=3), "knn", quick).results[-1]
    fooled = labelled_set(store, labels, seeds=3, group_radius_arcsec=None)
    assert honest.accuracies().mean() < 0.65
    assert evaluate(tiny_backbone, fooled, "knn", quick).results[-1].accuracies().mean() > 0.9


def test_a_backbone_that_does_not_say_where_it_was_trained_gives_no_answer(small_store, tiny_backbone, tmp_path):
    assert shared_with_pretraining(tiny_backbone, small_store) is None
    assert shared_with_pretraining(saved(tiny_backbone, tmp_path / "b", [np.nan], [np.nan], [1.0]), small_store) is None


def test_the_training_sky_is_also_a_coverage_map(tiny_backbone, tmp_path):
    from astropy.coordinates import SkyCoord
    from mocpy import MOC

    saved(tiny_backbone, tmp_path / "b", [10.0, np.nan], [-20.0, 5.0], [60.0, 60.0])
    places = SkyCoord([10.0, 10.0, 10.0], [-20.0, -20 + 50 / 3600, -20 + 80 / 3600], unit="deg")
    covered = MOC.from_fits(tmp_path / "b" / "training_sky.moc.fits").contains_skycoords(places)
    assert covered.tolist() == [True, True, False]


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
