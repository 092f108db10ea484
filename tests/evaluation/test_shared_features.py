import numpy as np

from radiossl.evaluation import shared_features
from radiossl.evaluation.shared_features import SharedFeatures
from radiossl.features.embedding import embed_store
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
    monkeypatch.setattr(shared_features, "embed_store", lambda *given: made.append(given) or embed_store(*given))
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
