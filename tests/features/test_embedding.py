"""From images to features: stores and files give the same ones, in the right rows."""

import numpy as np
import pandas as pd
import pytest
import torch

import radiossl
from radiossl import RadiosslError
from radiossl.features.embedding import embed, embed_images, preprocessed_batches
from radiossl.images.preprocess import Preprocessing
from radiossl.store.store import open_store
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone


def literal_features(backbone, store):
    """One image at a time."""
    return np.concatenate([backbone.features(np.array(store.pixels(row))).numpy() for row in range(len(store))])


@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "min-max", "field_px": 30}, {"mode": "floor-stretch", "views": 8}, {"mean": 0.1, "std": 0.2}],
)
def test_features_of_a_store_are_those_of_its_images(small_store, options):
    backbone = Backbone.random(Architecture(), Preprocessing(size=32, **options), seed=0)
    store = small_store.select(np.arange(7))  # two batches, sizes mixed in each
    features = embed_images(backbone, store, batch_size=5)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, literal_features(backbone, store), rtol=1e-4, atol=1e-5)


def test_features_of_a_store_are_those_of_its_images_as_files(small_store, tiny_backbone, tmp_path):
    rows = range(6)
    paths = [tmp_path / f"{row}.npy" for row in rows]
    for row, path in zip(rows, paths, strict=True):
        np.save(path, small_store.pixels(row))
    by_file = embed(tiny_backbone, paths)
    by_store = embed(tiny_backbone, small_store.select(list(rows)))
    np.testing.assert_allclose(by_file.features, by_store.features, rtol=1e-4, atol=1e-5)
    assert by_file.column("cutout_id").tolist() == [path.name for path in paths]
    assert by_file.column("file").tolist() == [str(path) for path in paths]


@pytest.mark.parametrize("batch_size", [1, 4, 128])
def test_batches_of_mixed_sizes_come_in_the_order_of_the_store(small_store, batch_size):
    preprocessing = Preprocessing(size=16)
    seen = []
    for rows, images in preprocessed_batches(preprocessing, small_store, batch_size):
        assert 0 < len(rows) <= batch_size
        expected = preprocessing.of_arrays([small_store.pixels(row) for row in rows])
        torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)
        seen += rows.tolist()
    assert seen == list(range(24))
    assert len(np.unique(small_store.shapes, axis=0)) == 3


def test_columns_of_the_store_are_kept(small_store, tiny_backbone):
    table = embed(tiny_backbone, small_store)
    assert table.columns.schema.equals(small_store.table.schema)
    pd.testing.assert_frame_equal(table.columns.to_pandas(), small_store.table.to_pandas())
    assert table.features.shape == (24, 512)


def test_weights_and_store_by_their_folders(small_store, tiny_backbone, tmp_path):
    save_backbone(tmp_path / "weights", tiny_backbone.network, tiny_backbone.config)
    table = embed(str(tmp_path / "weights"), str(small_store.paths[0]))
    np.testing.assert_allclose(table.features, embed(tiny_backbone, small_store).features, rtol=1e-5, atol=1e-6)
    assert table.metadata["weights"] == str(tmp_path / "weights")
    assert table.metadata["weights_sha256"] == load_backbone(tmp_path / "weights").sha256
    assert table.metadata["radiossl_version"] == radiossl.__version__
    assert table.metadata["stores"] == [str(small_store.paths[0].resolve())]
    assert Preprocessing(**table.metadata["preprocessing"]) == tiny_backbone.config.preprocessing


def test_a_single_file(small_store, tiny_backbone, tmp_path):
    np.save(tmp_path / "a.npy", small_store.pixels(0))
    table = radiossl.embed(tiny_backbone, tmp_path / "a.npy")
    np.testing.assert_allclose(table.features[0], tiny_backbone.features(small_store.pixels(0))[0], rtol=1e-5)


def test_training_mode_of_the_backbone_has_no_say(small_store):
    backbone = Backbone.random(Architecture(), Preprocessing(size=32), seed=0)
    expected = embed_images(backbone, small_store)
    np.testing.assert_array_equal(embed_images(backbone.train(), small_store), expected)


def test_no_image_and_unreadable_images_are_refused(tiny_backbone, tmp_path):
    with pytest.raises(RadiosslError, match="no image"):
        embed(tiny_backbone, [])
    with pytest.raises(RadiosslError, match=r"a\.fits: no such file"):
        embed(tiny_backbone, [tmp_path / "a.fits"])
    with pytest.raises(RadiosslError, match="not a cutout store"):
        embed(tiny_backbone, tmp_path)
    np.save(tmp_path / "blank.npy", np.full((9, 9), np.nan))
    with pytest.raises(RadiosslError, match=r"blank\.npy: every pixel is blank"):
        embed(tiny_backbone, [tmp_path / "blank.npy"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_equals_cpu(small_store, tiny_backbone, tmp_path):
    save_backbone(tmp_path / "weights", tiny_backbone.network, tiny_backbone.config)
    on_device = embed(tmp_path / "weights", small_store, device="cuda")
    np.testing.assert_allclose(on_device.features, embed(tiny_backbone, small_store).features, rtol=1e-2, atol=1e-2)


def test_a_part_of_a_store(small_store, tiny_backbone):
    part = open_store(small_store.paths[0]).select([7, 2, 11])
    table = embed(tiny_backbone, part)
    assert table.column("cutout_id").tolist() == ["c07", "c02", "c11"]
    np.testing.assert_allclose(table.features, literal_features(tiny_backbone, part), rtol=1e-4, atol=1e-5)


def test_the_quick_network_gives_the_same_features(small_store, monkeypatch):
    import radiossl.weights.backbone as released

    backbone = Backbone.random(Architecture(), Preprocessing(size=32, views=8), 3)
    with torch.no_grad():
        for name, buffer in backbone.network.named_buffers():  # as after training
            if name.endswith("running_mean"):
                buffer.uniform_(-0.2, 0.2)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    assert backbone.inference_network(10) is backbone.network
    expected = embed_images(backbone, small_store, 7)
    monkeypatch.setattr(released, "_WORTH_FREEZING", 1)
    assert backbone.inference_network(10) is not backbone.network
    found = embed_images(backbone, small_store, 7)  # the last batch is smaller
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    assert not backbone.network.training
