"""Complexity as the size of the compressed image."""

import gzip

import numpy as np
import pytest

from radiossl.anomalies.search import EIGHT_BIT, WITH_NOISE, compressed_size, compressed_sizes
from radiossl.images.preprocess import Preprocessing
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store


def _blobs(number, seed=0, rms=0.01, side=64):
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side))
    image = rng.normal(0, rms, (side, side))
    for _ in range(number):
        y0, x0 = rng.uniform(5, side - 5, 2)
        image += np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / 8)
    return image.astype(np.float32)


def test_the_size_is_that_of_gzip_less_its_header():
    image = np.random.default_rng(0).random((32, 32))
    whole = len(gzip.compress(np.rint(255 * image).astype(np.uint8).tobytes(), 9))
    # 18 bytes of header and trailer instead of the 6 of zlib (RFC 1950 and 1952).
    assert compressed_size(image) == whole - 12
    assert compressed_size(np.zeros((32, 32))) < 30


def test_more_sources_are_more_complex_and_more_noise_is_not(store_of):
    sizes = compressed_sizes(store_of([_blobs(1), _blobs(4), _blobs(12), _blobs(1, rms=0.002)]))
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[3] == pytest.approx(sizes[0], rel=0.5)


def test_sizes_follow_the_preprocessing_image_by_image(store_of):
    images = [_blobs(3), _blobs(2, side=40), np.full((30, 30), np.nan, np.float32)]
    store = store_of(images)
    coarse = Preprocessing(mode="sigma-zscale", size=32)
    expected = [compressed_size(coarse.of_arrays([image])[0, 0].numpy()) for image in images]
    np.testing.assert_array_equal(compressed_sizes(store, coarse), expected)
    by_default = [compressed_size(WITH_NOISE.of_arrays([image])[0, 0].numpy()) for image in images]
    np.testing.assert_array_equal(compressed_sizes(store), by_default)


def test_grey_levels_have_no_noise_floor(tmp_path):
    schema = store_schema()
    images = [np.rint(20 + 200 * np.clip(_blobs(number), 0, 1)).astype(np.float32) for number in (1, 5)]
    cutouts = [Cutout(f"c{n}", image, "m", 1.0, 1.0, 0, 0, 1.8, EIGHT_BIT) for n, image in enumerate(images)]
    store = write_store(tmp_path / "s", [0], lambda _: cutout_batches(cutouts, schema), schema, {})
    expected = [compressed_size(Preprocessing(mode="min-max", size=64).of_arrays([i])[0, 0].numpy()) for i in images]
    np.testing.assert_array_equal(compressed_sizes(store), expected)
