"""Preprocessing as tensor operations: the same as the compiled one, for images of every kind and shape."""

import numpy as np
import pytest
import torch

from radiossl.images.preprocess import Preprocessing
from radiossl.store.statistics import PixelStatistics
from radiossl.weights.raw_program import RawPreprocessing, image_statistics


def images():
    rng = np.random.default_rng(0)
    noise = rng.normal(3.0, 1.0, (33, 57)).astype(np.float32)
    source = noise.copy()
    source[10:16, 20:24] += 40
    blank_corner = source.copy()
    blank_corner[:9, :13] = np.nan
    one_pixel = np.zeros((24, 24), np.float32)
    one_pixel[3, 5] = 1.0
    steps = rng.integers(0, 4, (90, 31)).astype(np.float32)  # many equal pixels, as in 8-bit images
    return {
        "noise": noise,
        "source": source,
        "blank corner": blank_corner,
        "infinite": np.where(np.arange(57) == 4, np.inf, source).astype(np.float32),
        "large": rng.normal(0, 1e-4, (150, 150)).astype(np.float32),
        "far from zero": source + np.float32(1e4),
        "one bright pixel": one_pixel,
        "steps": steps,
        "constant": np.full((20, 30), 7.0, np.float32),
        "all blank": np.full((20, 30), np.nan, np.float32),
        "a line": noise[:1],
        "one pixel": noise[:1, :1],
    }


IMAGES = images()


@pytest.mark.parametrize("name", IMAGES)
def test_statistics_are_those_of_the_sorted_slices(name):
    pixels = torch.from_numpy(IMAGES[name])
    known = torch.isfinite(pixels)
    measured = image_statistics(torch.where(known, pixels, 0.0).double().flatten(), known.flatten(), clip_limits=True)
    expected = PixelStatistics.of(IMAGES[name]).as_array()
    np.testing.assert_allclose(measured.numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("field_px", [None, 24, 90])
@pytest.mark.parametrize("mode", ["floor-stretch", "sigma-zscale", "min-max"])
def test_what_a_backbone_sees_is_the_same(mode, field_px):
    preprocessing = Preprocessing(mode=mode, size=32, field_px=field_px, mean=0.1, std=0.4)
    program = RawPreprocessing(preprocessing)
    for name, image in IMAGES.items():
        seen = preprocessing.of_arrays([image])
        torch.testing.assert_close(program(torch.from_numpy(image)), seen, rtol=0, atol=5e-6, msg=name)
