"""Read-outs against pooling written out, whitening against scikit-learn's discriminants, through a released folder."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from radiossl import RadiosslError, load_backbone
from radiossl.features.embedding import adapted_to_table, embed, embed_images
from radiossl.features.parts import write_features
from radiossl.features.table import FeatureTable
from radiossl.images.preprocess import Preprocessing
from radiossl.io.settings import validated
from radiossl.pretraining.whitening import fit_whitening, repeatable_components, scale_beside, store_whitening
from radiossl.store.store import open_store
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone, save_backbone
from radiossl.weights.readout import WIDE, Embedding, Readout, Whitening

WIDTHS = (64, 128, 256, 512)  # of the stages of a ResNet18


@pytest.fixture(scope="module")
def backbone():
    return Backbone.random(Architecture(), Preprocessing(size=32), seed=0)


@pytest.fixture(scope="module")
def small():
    """A ResNet of 672 numbers in the wide read-out, since eigenvectors take the cube of them."""
    return Backbone.random(Architecture(name="test_resnet"), Preprocessing(size=32), seed=0)


@pytest.fixture
def folder(tmp_path, small):
    save_backbone(tmp_path / "weights", small.network, small.config)
    return tmp_path / "weights"


@pytest.fixture(scope="module")
def images(sky):
    return [sky(seed, (40, 40)) for seed in range(5)]


@torch.inference_mode()
def literal_wide(network, images):
    """The blocks of a ResNet one after the other, pooled pixel by pixel."""
    maps = [network.maxpool(network.act1(network.bn1(network.conv1(images))))]
    for block in (network.layer1, network.layer2, network.layer3, network.layer4):
        maps.append(block(maps[-1]))
    features = []
    for stage in maps[1:]:
        pixels = stage.numpy().astype(np.float64).reshape(*stage.shape[:2], -1)
        features += [pixels.mean(axis=2), pixels.std(axis=2), pixels.max(axis=2)]
    return np.concatenate(features, axis=1)


def test_the_wide_readout_pools_every_stage(backbone, images):
    wide = backbone.features(images, readout="wide")
    assert wide.shape == (5, 2880)
    assert backbone.with_readout("wide").feature_dim == 2880
    np.testing.assert_allclose(wide, literal_wide(backbone.network, backbone.preprocess(images)), rtol=1e-4, atol=1e-5)


def test_the_mean_of_the_last_stage_is_the_plain_readout(backbone, images):
    last = backbone.features(images, readout=Readout(stages=(4,), pool=("mean",)))
    np.testing.assert_allclose(last, backbone.features(images), rtol=1e-5, atol=1e-6)
    assert torch.equal(backbone.features(images, readout="last"), backbone.features(images))


def test_a_wide_readout_is_averaged_over_views_too(backbone, images):
    turned = backbone.adapted(views=8).with_readout("wide")
    seen = turned.preprocess(images)
    with torch.inference_mode():
        np.testing.assert_allclose(turned(seen), turned(seen.flip(-1)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["convnext_atto", "efficientnet_lite0", "vit_tiny_patch16_224"])
def test_other_networks_have_stages_too(name, images):
    size = 224 if name.startswith("vit") else 64
    made = Backbone.random(Architecture(name=name), Preprocessing(size=size), 0).with_readout("wide")
    assert made.features(images[:2]).shape == (2, made.feature_dim)


def test_the_quick_network_reads_out_alike(backbone, small_store):
    wide = backbone.with_readout("wide")
    quick = wide.inference_network(10**6)
    seen = wide.preprocess([small_store.pixels(row) for row in range(4)])
    with torch.inference_mode():
        np.testing.assert_allclose(wide(seen, quick), wide(seen), rtol=1e-3, atol=1e-4)


# Whitening ------------------------------------------------------------------------------------------------------------


def test_components_are_the_discriminants_of_scikit_learn():
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(6, 6))
    centres = generator.normal(size=(400, 1, 6)) * np.array([4, 2, 1, 0.5, 0.2, 0.1])
    views = (centres + generator.normal(size=(400, 8, 6))) @ mixing
    means = views.mean(axis=1, keepdims=True)
    within = np.einsum("svi,svj->ij", views - means, views - means) / views.shape[0] / views.shape[1]
    between = np.cov(means[:, 0].T, bias=True)
    found = repeatable_components(within, between, 3, shrinkage=0.0)
    learner = LinearDiscriminantAnalysis(solver="eigen").fit(views.reshape(-1, 6), np.repeat(np.arange(400), 8))
    expected = learner.scalings_[:, :3].T
    cosine = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-6)
    ratios = np.array([found[k] @ between @ found[k] / (found[k] @ within @ found[k]) for k in range(3)])
    np.testing.assert_allclose([row @ within @ row for row in found], np.sqrt(ratios / (1 + ratios)), rtol=1e-6)
    np.testing.assert_allclose(ratios / [16, 4, 1], 1, atol=0.45)  # and an eighth: the mean of the views' noise


def test_what_varies_in_no_image_and_noise_alone_are_left_out():
    within, between = np.diag([1.0, 1.0, 0.0]), np.diag([4.0, -0.1, 0.0])
    (only,) = repeatable_components(within, between, 3)
    assert only[0] > 0
    assert np.all(only[1:] == 0)


def test_whitened_features_find_another_view_of_their_source(store_of, sky):
    boxes = [sky(seed, (40, 40), sources=1 + seed % 3) for seed in range(120)]
    store = store_of(boxes)
    seen = Preprocessing(mode="floor-stretch", size=32, views=8)
    backbone = Backbone.random(Architecture(name="test_resnet"), seen, seed=0)
    whitening = fit_whitening(backbone, [store], "last", components=12, views=4)
    config = dataclasses.replace(backbone.config, whitening=whitening)
    white = Backbone(backbone.network, config).with_readout("last", 12)
    closer = [image[4:-4, 4:-4] for image in boxes]

    def first(seeing):
        cosine = torch.nn.functional.cosine_similarity(
            seeing.features(closer)[:, None], seeing.features(boxes)[None], dim=2
        )
        return int((cosine.argmax(dim=1) == torch.arange(len(boxes))).sum())

    assert first(white) > first(backbone)
    again = fit_whitening(backbone, [store], "last", components=12, views=4)
    np.testing.assert_array_equal(again.components, whitening.components)
    other = fit_whitening(backbone, [store], "last", components=12, views=4, seed=1)
    assert not np.allclose(other.components, whitening.components)


def test_turned_components_keep_similarities_and_vary_alike():
    whitening = Whitening(np.zeros(64, np.float32), np.diag(np.geomspace(10, 0.1, 64)).astype(np.float32))
    rows = np.random.default_rng(0).normal(size=(500, 64))
    given, turned = rows @ whitening.components[:48].T, rows @ whitening.first(48).components.T
    np.testing.assert_allclose(given @ given.T, turned @ turned.T, rtol=1e-4, atol=1e-3)
    spread = lambda numbers: np.ptp(numbers.std(axis=0)) / numbers.std(axis=0).mean()  # noqa: E731
    assert spread(given) > 2 > 0.6 > spread(turned)


def test_whitened_features_come_from_the_folder(folder, small_store, tmp_path):
    plain = embed_images(load_backbone(folder), small_store)
    store_whitening(folder, small_store.paths, tmp_path / "white", "wide", 6)
    loaded = load_backbone(tmp_path / "white")
    np.testing.assert_array_equal(embed_images(loaded, small_store), plain)  # the default is as it was
    white = loaded.with_readout("wide", 4)
    features = embed_images(white, small_store)
    assert features.shape == (24, 4)
    np.testing.assert_allclose(
        loaded.features(small_store.pixels(3), readout="wide", whiten=4)[0], features[3], rtol=1e-3, atol=1e-3
    )
    with pytest.raises(RadiosslError, match=r"--whiten 7: .* has 6 components"):
        loaded.with_readout("wide", 7)
    with pytest.raises(RadiosslError, match="has no whitening for this read-out; radiossl weights whiten"):
        loaded.with_readout("last", 4)


def test_a_default_readout_is_kept_and_can_be_undone(folder, small_store, tmp_path):
    plain = embed_images(load_backbone(folder), small_store)
    store_whitening(folder, small_store.paths, tmp_path / "white", "wide", 6, default=5)
    loaded = load_backbone(tmp_path / "white")
    assert json.loads((tmp_path / "white" / "config.json").read_text())["radiossl"]["embedding"] == {
        "readout": {"stages": [1, 2, 3, 4], "pool": ["mean", "std", "max"]},
        "whiten": 5,
    }
    assert (loaded.feature_dim, embed_images(loaded, small_store).shape) == (5, (24, 5))
    np.testing.assert_array_equal(embed_images(loaded.with_readout("last"), small_store), plain)
    with pytest.raises(RadiosslError, match=r"--whiten 9: .* has 6 components"):
        store_whitening(folder, small_store.paths, tmp_path / "other", "wide", 6, default=9)


def test_the_last_stage_stands_beside_the_components(folder, small_store, tmp_path):
    store_whitening(folder, small_store.paths, tmp_path / "white", "wide", 6, default=5, joined=True)
    loaded = load_backbone(tmp_path / "white")
    assert loaded.feature_dim == loaded.with_readout("joined").feature_dim == 5 + 96
    features = embed_images(loaded, small_store)
    alone = embed_images(loaded.with_readout("wide", 5), small_store)
    np.testing.assert_allclose(features[:, :5], alone, rtol=1e-3, atol=1e-4)
    last = Readout(stages=(4,), pool=("mean",))
    plain = embed_images(loaded.with_readout(last), small_store)
    shifted, scaled = plain - plain.mean(axis=0), features[:, 5:] - features[:, 5:].mean(axis=0)
    np.testing.assert_allclose(scaled, shifted * loaded.config.whitening.last_scale, rtol=1e-3, atol=1e-4)
    most = embed_images(loaded.with_readout("joined", 6), small_store)
    np.testing.assert_allclose(most[:, 6:], features[:, 5:], rtol=1e-5, atol=1e-5)
    assert (loaded.with_readout(whiten=4).feature_dim, loaded.with_readout("wide").feature_dim) == (4, 5)


def test_the_last_stage_has_half_of_the_components_variance():
    rows = np.random.default_rng(0).normal(size=(4000, 9)) * np.arange(1, 10)
    between, axes = np.cov(rows.T), np.random.default_rng(1).normal(size=(3, 9))
    scale = scale_beside(axes, between, slice(5, 9))
    variance = (rows @ axes.T).var(axis=0).sum()
    np.testing.assert_allclose((scale * rows[:, 5:]).var(axis=0).sum(), variance / 2, rtol=1e-6)
    between[5:, 5:] = 0  # numbers that never vary are not made any larger
    assert scale_beside(axes, between, slice(5, 9)) is None


def test_a_table_remembers_that_it_was_joined(folder, small_store, tmp_path):
    store_whitening(folder, small_store.paths, folder, "wide", 6, default=5, joined=True)
    loaded = load_backbone(folder)
    done = write_features(loaded, open_store(*small_store.paths), tmp_path / "f.parquet")
    table = FeatureTable.read(done.table.path)
    np.testing.assert_array_equal(table.features, embed_images(loaded, small_store))
    again = adapted_to_table(loaded.with_readout("last"), table.metadata)
    assert again.config.embedding == loaded.config.embedding


def test_what_cannot_be_joined(folder, small, small_store, tmp_path):
    with pytest.raises(RadiosslError, match="has no whitening for this read-out"):
        small.with_readout("joined")
    with pytest.raises(RadiosslError, match="--readout joined --whiten 0: expected one component or more"):
        small.with_readout("joined", 0)
    with pytest.raises(RadiosslError, match=r"config\.json: embedding: .*joined: expected a number of components too"):
        validated(Embedding, {"joined": True}, "config.json: embedding")
    with pytest.raises(RadiosslError, match="--joined: give --default N too"):
        store_whitening(folder, small_store.paths, tmp_path / "white", joined=True)
    store_whitening(folder, small_store.paths, folder, "wide", 6)
    file = folder / "whitening.safetensors"
    kept = load_file(file)
    save_file({name: kept[name] for name in ("mean", "components")}, file, {"readout": WIDE.model_dump_json()})
    earlier = load_backbone(folder)  # of a version that did not measure it
    assert earlier.with_readout("wide", 6).feature_dim == 6
    with pytest.raises(RadiosslError, match="does not know how large the last stage is"):
        earlier.with_readout("joined")
    save_file(kept | {"last_scale": np.array(0.0)}, file, {"readout": WIDE.model_dump_json()})
    with pytest.raises(RadiosslError, match="a scale that is not positive"):
        load_backbone(folder)


def test_a_table_says_how_it_was_read_out(folder, small_store, tmp_path):
    store_whitening(folder, small_store.paths, folder, "wide", 6)
    loaded = load_backbone(folder)
    done = write_features(loaded.with_readout("wide", 4), open_store(*small_store.paths), tmp_path / "f.parquet")
    table = FeatureTable.read(done.table.path)
    np.testing.assert_array_equal(table.features, embed_images(loaded.with_readout("wide", 4), small_store))
    assert table.metadata["embedding"]["whiten"] == 4
    again = adapted_to_table(loaded, table.metadata)
    assert again.config.embedding.readout == WIDE
    assert "embedding" not in embed(loaded, small_store).metadata
    store_whitening(folder, small_store.select(np.arange(20)).paths, folder, "wide", 5)  # another one
    with pytest.raises(RadiosslError, match="its whitening is not that of the features"):
        adapted_to_table(load_backbone(folder), table.metadata)


@pytest.mark.parametrize("damage", ["cut", "shapes", "nan"])
def test_a_damaged_whitening_is_refused(folder, small_store, damage):
    store_whitening(folder, small_store.paths, folder, "wide", 3)
    file = folder / "whitening.safetensors"
    mean, components = np.zeros(4, np.float32), np.zeros((2, 4 if damage == "nan" else 5), np.float32)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:100])
    else:
        save_file({"mean": mean * np.nan if damage == "nan" else mean, "components": components}, file)
    with pytest.raises(RadiosslError, match=r"whitening\.safetensors: "):
        load_backbone(folder)


def test_what_cannot_be_whitened(small, small_store):
    with pytest.raises(RadiosslError, match="24 cutouts for 24 components: more cutouts than components are needed"):
        fit_whitening(small, [small_store], "wide", 24)
    with pytest.raises(RadiosslError, match="1 views: two or more of each cutout are needed"):
        fit_whitening(small, [small_store], "wide", 6, views=1)
    with pytest.raises(RadiosslError, match="--readout odd: expected one of last, wide, joined"):
        small.with_readout("odd")
    with pytest.raises(RadiosslError, match="has no whitening"):
        small.with_readout("wide", 4)
