"""Features made once, in memory and on disk."""

import numpy as np
import pytest

from radiossl.evaluation import shared_features
from radiossl.evaluation.shared_features import SharedFeatures
from radiossl.features.embedding import embed_images
from radiossl.weights.backbone import Backbone


def test_views_average_to_the_features_of_the_averaged_backbone(small_store, tiny_backbone):
    views = SharedFeatures().views_of(tiny_backbone, small_store)
    assert views.shape == (8, 24, tiny_backbone.feature_dim)
    network = tiny_backbone.adapted(views=8)
    images = [small_store.pixels(row) for row in range(4)]
    np.testing.assert_allclose(views.mean(axis=0)[:4], network.features(images).numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(views[0, :4], tiny_backbone.features(images).numpy(), rtol=1e-3, atol=1e-4)


def test_features_are_the_same_whether_made_from_views_or_alone(small_store, tiny_backbone):
    for backbone in (tiny_backbone, tiny_backbone.adapted(views=8)):
        first, second = SharedFeatures(), SharedFeatures()
        first.views_of(backbone, small_store)
        np.testing.assert_allclose(
            first.of(backbone, small_store), second.of(backbone, small_store), rtol=1e-4, atol=1e-5
        )


def test_features_are_made_once_for_each_backbone(small_store, tiny_backbone, monkeypatch):
    made = []
    monkeypatch.setattr(shared_features, "embed_images", lambda *given: made.append(given) or embed_images(*given))
    shared = SharedFeatures()
    config = tiny_backbone.config
    other = Backbone.random(config.architecture, config.preprocessing, 77)
    again = Backbone.random(config.architecture, config.preprocessing, 77)
    results = [
        shared.of(backbone, small_store) for backbone in (tiny_backbone, other, again, tiny_backbone.adapted(views=8))
    ]
    assert len(made) == 3  # the same weights again, even as another object, are not embedded again
    assert results[1] is results[2]
    assert not np.allclose(results[0], results[1])


def test_features_are_kept_on_disk_by_weights_and_pixels(small_store, tiny_backbone, store_of, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(shared_features, "embed_images", lambda *given: made.append(given) or embed_images(*given))
    first = SharedFeatures(tmp_path).of(tiny_backbone, small_store)
    assert len(made) == 1
    same = small_store.select(np.arange(24))
    np.testing.assert_array_equal(SharedFeatures(tmp_path).of(tiny_backbone, same), first)
    assert len(made) == 1
    turned = [store_of([small_store.pixels(0)[::step].copy()]) for step in (1, -1)]
    for store in turned:  # of the same statistics
        SharedFeatures(tmp_path).of(tiny_backbone, store)
    assert len(made) == 3
    SharedFeatures(tmp_path).of(tiny_backbone.adapted(views=8), small_store)
    assert len(made) == 4
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(SharedFeatures(tmp_path).of(tiny_backbone, small_store), first)
    assert len(made) == 5
    for file in tmp_path.glob("*.npz"):  # a flipped bit of a feature
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    np.testing.assert_array_equal(SharedFeatures(tmp_path).of(tiny_backbone, small_store), first)
    assert len(made) == 6


def test_the_cache_on_disk_does_not_grow_without_end(small_store, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_features, "_LIMIT", 3000)
    for number in range(5):
        SharedFeatures(tmp_path / "cache").made(f"array {number}", small_store, lambda: np.zeros(128))
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2  # of some 1,300 bytes each


def test_a_cache_that_cannot_be_written_is_no_obstacle(small_store, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.warns(UserWarning, match="file: the cache cannot be used"):
        made = SharedFeatures(tmp_path / "file").made("array", small_store, lambda: np.arange(3))
    np.testing.assert_array_equal(made, [0, 1, 2])
