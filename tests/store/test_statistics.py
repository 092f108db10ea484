"""PixelStatistics against the chain of astropy calls that it stands for."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import sigma_clip, sigma_clipped_stats
from astropy.visualization import ZScaleInterval

from radiossl.store.clipping import in_order
from radiossl.store.statistics import STATISTICS, PixelStatistics


def min_max(image):
    low, high = np.nanmin(image), np.nanmax(image)
    return (image - low) / (high - low)


def literal_chain(image):
    """Riggi et al. 2024, section 2.3, word for word."""
    finite = image[np.isfinite(image)]
    _, lower, upper = sigma_clip(finite, sigma_lower=5, sigma_upper=30, return_bounds=True)
    clamped = image.copy()
    clamped[image < lower] = lower
    clamped[image > upper] = upper
    return np.stack(
        [
            min_max(clamped),
            min_max(ZScaleInterval(contrast=0.25)(image)),
            min_max(ZScaleInterval(contrast=0.4)(image)),
        ]
    )


def clip_and_rescale(image, statistics):
    limits = [
        (statistics.clip_sigma_low, statistics.clip_sigma_high),
        (statistics.clip_zscale25_low, statistics.clip_zscale25_high),
        (statistics.clip_zscale40_low, statistics.clip_zscale40_high),
    ]
    return np.stack([(np.clip(image, low, high) - low) / (high - low) for low, high in limits])


def noise(seed=0, shape=(120, 90)):
    return np.random.default_rng(seed).normal(1e-5, 2e-4, shape)


def with_source(image, peak, width=4.0):
    y, x = np.indices(image.shape)
    return image + peak * np.exp(-((y - 60) ** 2 + (x - 45) ** 2) / (2 * width**2))


def nan_bordered(image):
    image = image.copy()
    image[:13] = np.nan
    image[:, -7:] = np.inf
    return image


IMAGES = {
    "noise": noise(),
    "uniform": np.random.default_rng(1).random((64, 64)),
    "faint source": with_source(noise(2), 2e-3),
    "bright source": with_source(noise(3), 2.0),
    "source filling the image": with_source(noise(4), 0.1, width=40.0),
    "negative bowl": with_source(noise(5), -0.05),
    "NaN border": nan_bordered(with_source(noise(6), 0.01)),
    "8 bit": np.random.default_rng(7).integers(0, 256, (50, 50)).astype(float),
    "large numbers": 1e6 * with_source(noise(8), 0.01) + 1e4,
}


@pytest.mark.parametrize("name", IMAGES)
def test_clip_and_rescale_equals_the_literal_chain(name):
    image = IMAGES[name]
    image = np.where(np.isfinite(image), image, np.nan)
    result = clip_and_rescale(image, PixelStatistics.of(image))
    np.testing.assert_array_equal(np.isnan(result), np.broadcast_to(np.isnan(image), result.shape))
    np.testing.assert_allclose(result, literal_chain(image), rtol=0, atol=1e-6)


def test_clip_and_rescale_equals_the_literal_chain_on_first_tiles():
    data = os.environ.get("RADIOSSL_TEST_DATA")
    if not data:
        pytest.skip("RADIOSSL_TEST_DATA is not set")
    tiles = sorted(Path(data, "first", "tiles").glob("*.fits.fz"))[::19]
    assert len(tiles) >= 50
    for tile in tiles:
        image = fits.getdata(tile, 1).astype(np.float32)
        statistics = PixelStatistics.of(image)
        difference = clip_and_rescale(image.astype(float), statistics) - literal_chain(image.astype(float))
        assert np.nanmax(np.abs(difference)) <= 1e-6, tile.name


def test_background_and_extremes():
    image = nan_bordered(with_source(noise(), 5.0, width=1.0))
    finite = image[np.isfinite(image)]
    statistics = PixelStatistics.of(image)
    _, median, deviation = sigma_clipped_stats(finite, sigma=3, maxiters=5)
    assert (statistics.background, statistics.rms) == pytest.approx((median, deviation), rel=1e-14)
    assert (statistics.minimum, statistics.maximum) == (finite.min(), finite.max())
    assert statistics.rms == pytest.approx(2e-4, rel=0.1)


@pytest.mark.parametrize("values", [
    np.random.default_rng(0).exponential(size=(70, 70)) ** 3,  # five rounds of clipping are not enough
    np.random.default_rng(1).standard_cauchy((40, 41)),
    np.random.default_rng(2).normal(size=(2, 3)),
    np.r_[np.zeros(3000), np.arange(4.0)],
    1e8 + np.random.default_rng(3).normal(size=(64, 64)),
], ids=["long tail", "no variance", "six pixels", "nearly constant", "far from zero"])  # fmt: skip
def test_numbers_equal_those_of_astropy(values):
    statistics = PixelStatistics.of(values)
    flat = values.ravel()
    _, median, deviation = sigma_clipped_stats(flat, sigma=3, maxiters=5)
    expected = [median, deviation, flat.min(), flat.max()]
    _, low, high = sigma_clip(flat, sigma_lower=5, sigma_upper=30, masked=False, return_bounds=True)
    limits = [(low, high), *(ZScaleInterval(contrast=contrast).get_limits(flat) for contrast in (0.25, 0.4))]
    expected += [bound for low, high in limits for bound in (max(low, flat.min()), min(high, flat.max()))]
    np.testing.assert_allclose(statistics.as_array(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 65536])
def test_pixels_are_sorted_as_numpy_sorts_them(count):
    rng = np.random.default_rng(count)
    every_size = rng.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    with_copies = rng.normal(0, 30, count).round().astype(np.float32)
    extremes = np.resize(np.float32([3.4e38, -3.4e38, 1e-45, -1e-45, 0, -0.0, 1, -1]), count)
    for values in (every_size[np.isfinite(every_size)], with_copies, extremes):
        before = values.copy()
        np.testing.assert_array_equal(in_order(values), np.sort(values))
        np.testing.assert_array_equal(values, before)


def test_limits_lie_inside_the_extremes():
    for image in IMAGES.values():
        statistics = PixelStatistics.of(image)
        limits = statistics.as_array()[4:]
        assert (statistics.minimum <= limits).all()
        assert (limits <= statistics.maximum).all()


def test_sigma_bounds_are_asymmetric():
    image = noise()
    image[0, 0], image[1, 1] = 1.0, -1.0
    statistics = PixelStatistics.of(image)
    below = statistics.background - statistics.clip_sigma_low
    above = statistics.clip_sigma_high - statistics.background
    assert above / below == pytest.approx(30 / 5, rel=0.01)


def test_constant_image_has_its_value_everywhere_and_no_noise():
    statistics = PixelStatistics.of(np.full((8, 8), 3.5))
    assert statistics.rms == 0
    assert set(np.delete(statistics.as_array(), 1)) == {3.5}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_image_without_finite_pixels_has_nan_everywhere(value):
    assert np.isnan(PixelStatistics.of(np.full((8, 8), value)).as_array()).all()


def test_image_without_pixels_has_nan_everywhere():
    assert np.isnan(PixelStatistics.of(np.empty((0, 8))).as_array()).all()


@pytest.mark.parametrize("sky", [0.0, np.nan])
def test_single_bright_pixel_gives_finite_statistics(sky):
    image = np.full((64, 64), sky)
    image[10, 20] = 7.0
    statistics = PixelStatistics.of(image)
    assert np.isfinite(statistics.as_array()).all()
    assert statistics.maximum == 7.0


def test_single_finite_value_among_noise_of_float32():
    image = noise().astype(np.float32)
    image[3, 3] = np.float32(3e38)
    assert np.isfinite(PixelStatistics.of(image).as_array()).all()


def test_blank_pixels_count_in_nothing():
    image = with_source(noise(), 0.01)
    padded = np.concatenate([image.ravel(), np.full(500, np.nan), np.full(3, -np.inf)])
    assert PixelStatistics.of(padded) == PixelStatistics.of(image)


def test_names_match_the_array():
    statistics = PixelStatistics.of(noise())
    assert statistics.as_array().shape == (len(STATISTICS),) == (10,)
    assert dict(zip(STATISTICS, statistics.as_array(), strict=True))["rms"] == statistics.rms
