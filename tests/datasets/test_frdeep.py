"""FR-DEEP's batches."""

import pickle

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.datasets.published import import_set, published_set


def write_batch(path, *, flat=True, **changes):
    images = np.random.default_rng(len(path.name)).integers(0, 256, (2, 150, 150)).astype(np.uint8)
    content = {
        "batch_label": "training batch 1 of 11",
        "labels": [1, 0],
        "data": images.reshape(2, -1) if flat else list(images),
        "filenames": ["11_CoNFIG_FR2.png", "FIRSTJ000242.3-001320.png"],
    } | changes
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps({key: value for key, value in content.items() if value is not None}, protocol=4))
    return images


@pytest.mark.parametrize("flat", [True, False])
def test_batches_become_a_store(tmp_path, flat):
    images = write_batch(tmp_path / "set" / "data_batch_11", flat=flat)
    write_batch(tmp_path / "set" / "test_batch", flat=flat)
    imported = import_set("frdeep-f", tmp_path / "set", tmp_path / "store")
    store = imported.store
    assert store.column("label").tolist() == ["FRII", "FRI"] * 2
    assert store.column("split").tolist() == ["train", "train", "test", "test"]
    assert store.column("cutout_id").tolist()[0] == "data_batch_11_00"
    np.testing.assert_array_equal(store.pixels(1), images[1])
    assert np.isnan(store.column("ra_deg")[0])
    assert store.column("dec_deg")[1] == pytest.approx(-0.222222, abs=1e-6)
    assert set(store.column("pixel_scale_arcsec")) == {1.8}


def test_batches_need_no_names_and_nvss_has_its_own_pixels(tmp_path):
    write_batch(tmp_path / "set" / "data_batch_1", filenames=None)
    imported = import_set("frdeep-n", tmp_path / "set", tmp_path / "store")
    assert imported.store.table["file_name"].to_pylist() == [None, None]
    assert set(imported.store.column("pixel_scale_arcsec")) == {15.0}
    assert imported.remarks[-1] == "the test batch is not in this folder"


def test_other_labels_are_refused(tmp_path):
    write_batch(tmp_path / "set" / "data_batch_1", labels=[0, 2])
    with pytest.raises(RadiosslError, match="data_batch_1: object 1 has label 2, expected 0"):
        import_set("frdeep-f", tmp_path / "set", tmp_path / "store")


@pytest.mark.parametrize("name", ["frdeep-f", "frdeep-n"])
def test_every_published_batch_has_a_checksum(name):
    (download,) = published_set(name).downloads
    assert download.md5
    assert len(download.contents) == 13
