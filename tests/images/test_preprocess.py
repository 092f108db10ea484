"""Preprocessing in batches against the literal chain of one image at a time."""

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.stats import sigma_clip, sigma_clipped_stats
from astropy.visualization import ZScaleInterval
from torchvision.transforms import v2

from radiossl import RadiosslError
from radiossl.images import preprocess
from radiossl.images.preprocess import (
    Preprocessing,
    _rescale,
    _rescale_on_device,
    central_field,
    flips_and_rotations,
    to_square,
)
from radiossl.store.statistics import PixelStatistics
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone

MODES = ["sigma-zscale", "min-max", "floor-stretch"]


# The literal chains ---------------------------------------------------------------------------------------------------


def min_max(image):
    low, high = np.nanmin(image), np.nanmax(image)
    return (image - low) / (high - low)


def literal_channels(image):
    """Riggi et al. 2024, section 2.3, word for word, before the resize; blank pixels 0."""
    image = np.where(np.isfinite(image), image, np.nan).astype(np.float64)
    _, lower, upper = sigma_clip(image[np.isfinite(image)], sigma_lower=5, sigma_upper=30, return_bounds=True)
    clamped = image.copy()
    clamped[image < lower] = lower
    clamped[image > upper] = upper
    channels = [
        min_max(clamped),
        min_max(ZScaleInterval(contrast=0.25)(image)),
        min_max(ZScaleInterval(contrast=0.4)(image)),
    ]
    return np.nan_to_num(np.stack(channels))


def literal_floor_stretch(image, floor_sigma, size):
    """Noise floor and three stretches of the peak-scaled image, as the docstring of `Preprocessing` words it."""
    image = image.astype(np.float64)
    _, background, rms = sigma_clipped_stats(image[np.isfinite(image)], sigma=3, maxiters=5)
    signal = resized(np.nan_to_num((image - background) / rms)[None], size)[0]
    signal[signal < min(floor_sigma, signal.max() / 2)] = 0
    signal = signal / signal.max()
    return np.stack([signal, np.arcsinh(50 * signal) / np.arcsinh(50), np.sqrt(signal)])


def resized(channels, size):
    channels = torch.from_numpy(channels.astype(np.float32))
    return v2.functional.resize(channels, [size, size], antialias=True).numpy()


def preprocessed(image, **options):
    return Preprocessing(**options).of_arrays([image])[0].numpy()


# Three channels -------------------------------------------------------------------------------------------------------


def nan_bordered(image):
    image = image.copy()
    image[:7], image[:, -5:] = np.nan, -np.inf
    return image


@pytest.fixture(scope="module")
def images(sky):
    rng = np.random.default_rng(5)
    return {
        "faint": sky(0, (48, 48), 1),
        "many sources": sky(1, (48, 48), 6),
        "bright": sky(2, (48, 48), 1) * np.float32(50) + sky(3, (48, 48), 3),
        "NaN border": nan_bordered(sky(4, (48, 48), 2)),
        "negative": -sky(5, (48, 48), 3),
        "8 bit": rng.integers(0, 256, (48, 48)).astype(np.float32),
        "microjansky": np.float32(1e6) * sky(6, (48, 48), 2),
        "far from zero": sky(7, (48, 48), 2, rms=1e-3, background=1e4),
        # Clip limits inside the range of the pixels are no float32 numbers, unlike the extremes.
        "far from zero, with a bowl": sky(9, (48, 48), 2, rms=5e-3, background=1e4)
        - np.float32(0.3) * np.eye(48, dtype=np.float32),
        "far below zero": sky(8, (48, 48), 2, rms=3e-2, background=-1e5),
        "one channel of noise": rng.normal(size=(48, 48)).astype(np.float32),
    }


NAMES = [
    "faint", "many sources", "bright", "NaN border", "negative", "8 bit", "microjansky", "far from zero",
    "far from zero, with a bowl", "far below zero", "one channel of noise",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_three_channels_equal_the_literal_chain(images, name):
    image = images[name]
    np.testing.assert_allclose(preprocessed(image, size=48), literal_channels(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [32, 80])
def test_resized_channels_equal_torchvision(images, name, size):
    expected = resized(literal_channels(images[name]), size)
    np.testing.assert_allclose(preprocessed(images[name], size=size), expected, rtol=0, atol=2e-6)


def test_three_channels_equal_the_literal_chain_on_first_tiles(real_data):
    tiles = sorted((real_data / "first" / "tiles").glob("*.fits.fz"))[::100]
    assert len(tiles) >= 10
    for tile in tiles:
        image = fits.getdata(tile, 1).astype(np.float32)
        difference = preprocessed(image, size=image.shape[0]) - literal_channels(image)
        assert np.abs(difference).max() <= 1e-6, tile.name


def test_resized_channels_equal_torchvision_on_a_first_tile(real_data):
    image = fits.getdata(min((real_data / "first" / "tiles").glob("*.fits.fz")), 1).astype(np.float32)
    np.testing.assert_allclose(preprocessed(image), resized(literal_channels(image), 224), rtol=0, atol=2e-6)


def test_a_background_far_from_zero_costs_no_digits():
    """Steps of 2^-10 around 1e4 are exact in float32; a difference taken in float32 of a rounded limit is not."""
    steps = np.random.default_rng(0).integers(0, 1000, (32, 32))
    near, far = (steps / 1024).astype(np.float32), (1e4 + steps / 1024).astype(np.float32)
    np.testing.assert_allclose(preprocessed(far, size=32), preprocessed(near, size=32), rtol=0, atol=1e-6)


# Degenerate images ----------------------------------------------------------------------------------------------------


def single_bright_pixel(sky_value):
    image = np.full((40, 40), sky_value, np.float32)
    image[11, 23] = 5.0
    return image


DEGENERATE = {
    "constant": np.full((40, 40), 3.5, np.float32),
    "zero": np.zeros((40, 40), np.float32),
    "all blank": np.full((40, 40), np.nan, np.float32),
    "all infinite": np.full((40, 40), np.inf, np.float32),
    "single bright pixel": single_bright_pixel(0.0),
    "single finite pixel": single_bright_pixel(np.nan),
    "one pixel": np.ones((1, 1), np.float32),
    "one row": np.arange(40, dtype=np.float32)[None],
    "huge": np.where(np.eye(40) > 0, np.float32(3e38), np.float32(1)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_images_give_finite_tensors(name, mode):
    result = preprocessed(DEGENERATE[name], mode=mode, size=32)
    assert result.shape == (1 if mode == "min-max" else 3, 32, 32)
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1 + 1e-6


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["constant", "zero", "all blank"])
def test_images_without_contrast_are_black(name, mode):
    assert not preprocessed(DEGENERATE[name], mode=mode, size=32).any()


@pytest.mark.parametrize("mode", MODES)
def test_one_degenerate_image_leaves_its_neighbours_alone(sky, mode):
    good = sky(0, (40, 40))
    batch = Preprocessing(mode=mode, size=32).of_arrays([DEGENERATE["all blank"], good, DEGENERATE["constant"]])
    np.testing.assert_array_equal(batch[1].numpy(), preprocessed(good, mode=mode, size=32))


# Field and padding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(24, 40), (40, 25)])
def test_oblong_images_are_padded_not_stretched(sky, shape):
    image = sky(0, shape, 2)
    side = max(shape)
    top, left = (side - shape[0]) // 2, (side - shape[1]) // 2
    expected = np.zeros((3, side, side))
    expected[:, top : top + shape[0], left : left + shape[1]] = literal_channels(image)
    np.testing.assert_allclose(preprocessed(image, size=side), expected, rtol=0, atol=1e-6)


def test_field_cuts_out_the_centre_after_scaling_by_the_whole_image(sky):
    image = sky(0, (48, 48), 3)
    expected = literal_channels(image)[:, 8:40, 8:40]
    np.testing.assert_allclose(preprocessed(image, size=32, field_px=32), expected, rtol=0, atol=1e-6)


def test_field_larger_than_the_image_pads_it(sky):
    image = sky(0, (24, 24), 2)
    expected = np.zeros((3, 32, 32))
    expected[:, 4:28, 4:28] = literal_channels(image)
    np.testing.assert_allclose(preprocessed(image, size=32, field_px=32), expected, rtol=0, atol=1e-6)


def test_field_of_an_oblong_image(sky):
    image = sky(0, (24, 48), 2)
    expected = np.zeros((3, 32, 32))
    expected[:, 4:28] = literal_channels(image)[:, :, 8:40]
    np.testing.assert_allclose(preprocessed(image, size=32, field_px=32), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "expected"), [(3, [1, 2, 3]), (4, [0, 1, 2, 3]), (1, [2])])
def test_central_field_of_odd_and_even_sides(side, expected):
    row = torch.arange(5.0).expand(1, 5, 5)
    assert central_field(row, side)[0, 0].tolist() == expected


def test_central_field_and_padding_are_blank_outside():
    assert torch.isnan(central_field(torch.zeros(1, 2, 2), 4)).sum() == 12
    square = to_square(torch.zeros(2, 3, 5))
    assert square.shape == (2, 5, 5)
    assert torch.isnan(square).sum() == 2 * 2 * 5


# Other modes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_min_max(images, name):
    image = images[name]
    finite = np.where(np.isfinite(image), image, np.nan).astype(np.float64)
    expected = np.nan_to_num(min_max(finite))[None]
    np.testing.assert_allclose(preprocessed(image, mode="min-max", size=48), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["faint", "many sources", "bright", "microjansky", "far from zero"])
@pytest.mark.parametrize(("size", "floor_sigma"), [(48, 3.0), (32, 5.5), (80, 0.0)])
def test_floor_stretch(images, name, size, floor_sigma):
    result = preprocessed(images[name], mode="floor-stretch", size=size, floor_sigma=floor_sigma)
    expected = literal_floor_stretch(images[name], floor_sigma, size)
    np.testing.assert_allclose(result[0], expected[0], rtol=0, atol=2e-6)
    # The steep stretches magnify the rounding of pixels near zero.
    np.testing.assert_allclose(result[1:], expected[1:], rtol=0, atol=2e-3)


def test_floor_removes_the_noise_and_keeps_the_source():
    image = np.random.default_rng(0).normal(0, 1e-4, (64, 64)).astype(np.float32)
    image[30:33, 20:23] = 5e-3
    linear = preprocessed(image, mode="floor-stretch", size=64, floor_sigma=5.0)[0]
    expected = np.zeros((64, 64), bool)
    expected[30:33, 20:23] = True
    np.testing.assert_array_equal(linear > 0, expected)


def test_floor_stretch_sees_images_whose_background_was_cut_away():
    """8-bit sets are clipped at 3 sigma: their median and rms are 0, yet the source is there."""
    image = np.zeros((40, 40), np.float32)
    image[10:14, 20:24] = 255
    image[20, 20] = 1
    assert PixelStatistics.of(image).rms == 0
    linear = preprocessed(image, mode="floor-stretch", size=40, floor_sigma=6.0)[0]
    np.testing.assert_allclose(linear, image / 255, rtol=0, atol=1e-6)


def test_floor_spares_a_source_that_fills_its_cutout():
    """There the clipped rms is the source's own and the whole source below any floor in units of it."""
    y, x = np.indices((40, 40))
    image = (1 + np.random.default_rng(0).normal(0, 0.01, (40, 40)) - 2e-4 * ((x - 20) ** 2 + (y - 20) ** 2)).astype(
        "f4"
    )
    statistics = PixelStatistics.of(image)
    assert (statistics.maximum - statistics.background) / statistics.rms < 3.0
    linear = preprocessed(image, mode="floor-stretch", size=40, floor_sigma=3.0)[0]
    assert linear.max() == 1.0
    assert 0.05 < (linear > 0).mean() < 0.5


def test_random_floor_gain_and_gamma_act_on_the_peak_scaled_image():
    preprocessing = Preprocessing(mode="floor-stretch", size=16)
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 20
    floor, gain, gamma = torch.tensor([4.0, 8.0]), torch.tensor([1.5, 0.5]), torch.tensor([2.0, 0.5])
    result = preprocessing.finish(images, floor, gain, gamma).numpy()
    for i, image in enumerate(images[:, 0].double().numpy()):
        signal = np.where(image >= min(floor[i].item(), image.max() / 2), image, 0)
        signal = np.minimum((signal / signal.max()) ** gamma[i].item() * gain[i].item(), 1)
        expected = np.stack([signal, np.arcsinh(50 * signal) / np.arcsinh(50), np.sqrt(signal)])
        np.testing.assert_allclose(result[i], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_mean_and_std_come_last(sky, mode):
    image = sky(0, (40, 40))
    plain = preprocessed(image, mode=mode, size=32)
    np.testing.assert_allclose(
        preprocessed(image, mode=mode, size=32, mean=0.008, std=0.053),
        (plain - 0.008) / 0.053,
        rtol=1e-5,
        atol=1e-5,
    )


def test_statistics_are_those_of_the_pixels_as_float32():
    """As in a store: limits of finer numbers than the pixels' would fall between them."""
    image = 1e4 + np.random.default_rng(0).normal(0, 1e-3, (32, 32))
    for mode in MODES:
        expected = preprocessed(image.astype(np.float32), mode=mode, size=32)
        np.testing.assert_array_equal(preprocessed(image, mode=mode, size=32), expected)


# Batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_chunks_do_not_change_the_result(sky, monkeypatch, mode):
    images = np.stack([sky(seed, (40, 40)) for seed in range(7)])
    statistics = torch.from_numpy(np.stack([PixelStatistics.of(image).as_array() for image in images]))
    preprocessing = Preprocessing(mode=mode, size=32)
    whole = preprocessing(torch.from_numpy(images), statistics)
    monkeypatch.setattr(preprocess, "CPU_CHUNK_PIXELS", 3 * 40 * 40)
    torch.testing.assert_close(preprocessing(torch.from_numpy(images), statistics), whole, rtol=0, atol=1e-7)
    for image, expected in zip(images, whole, strict=True):
        np.testing.assert_allclose(preprocessed(image, mode=mode, size=32), expected.numpy(), rtol=0, atol=1e-7)


def test_raw_pixels_are_left_alone(sky):
    image = nan_bordered(sky(0, (40, 40)))
    kept = image.copy()
    for mode in MODES:
        preprocessed(image, mode=mode, size=40)
    np.testing.assert_array_equal(image, kept)


def test_no_images_give_an_empty_batch():
    assert Preprocessing(size=32).of_arrays([]).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("shape", [(3, 8, 8), (8,), (0, 8)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(RadiosslError, match="an image of shape"):
        Preprocessing(size=32).of_arrays([np.zeros(shape)])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mode", MODES)
def test_cuda_equals_cpu(sky, mode):
    images = [sky(seed, (40, 40)) for seed in range(4)]
    preprocessing = Preprocessing(mode=mode, size=32)
    torch.testing.assert_close(
        preprocessing.of_arrays(images, "cuda").cpu(), preprocessing.of_arrays(images), atol=1e-5, rtol=0
    )


# Averaging over views -------------------------------------------------------------------------------------------------


def test_flips_and_rotations_are_the_eight_symmetries_of_the_square():
    image = np.arange(9.0).reshape(3, 3)
    found = {tuple(turned.numpy().ravel()) for turned in flips_and_rotations(torch.from_numpy(image)[None, None])}
    mirrored = [image, image[:, ::-1]]
    assert found == {tuple(np.rot90(m, turns).ravel()) for m in mirrored for turns in range(4)}
    assert len(found) == 8


def test_backbone_averages_over_eight_views(sky, tiny_backbone):
    image = sky(0, (32, 32), 2)
    averaging = Backbone.random(Architecture(), Preprocessing(size=32, views=8), seed=0)
    channels = preprocessed(image, size=32)
    total = 0
    with torch.inference_mode():
        for mirrored in (channels, channels[:, :, ::-1]):
            for turns in range(4):
                view = np.ascontiguousarray(np.rot90(mirrored, turns, axes=(1, 2)))
                total = total + tiny_backbone.network(torch.from_numpy(view)[None])[0].double()
    features = averaging.features(image)[0]
    torch.testing.assert_close(features, (total / 8).float(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(features, tiny_backbone.features(image)[0], atol=1e-4)


def test_averaged_features_do_not_depend_on_orientation(sky):
    averaging = Backbone.random(Architecture(), Preprocessing(size=32, views=8), seed=0)
    images = averaging.preprocess(sky(0, (32, 32), 2))
    with torch.inference_mode():
        torch.testing.assert_close(averaging(images.rot90(1, (2, 3)).flip(2)), averaging(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("clip", [True, False])
def test_accelerators_rescale_as_cpus_do(clip):
    random = np.random.default_rng(5)
    pixels = torch.from_numpy(random.normal(20.0, 1.0, (4, 9, 11)).astype(np.float32))
    pixels[0, 0, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    low, scale = torch.full((4, 3), 19.0, dtype=torch.float64), torch.full((4, 3), 0.3, dtype=torch.float64)
    on_cpu = _rescale(pixels, low, low + 1 / scale, clip)
    torch.testing.assert_close(_rescale_on_device(pixels, low, scale, clip), on_cpu, rtol=0, atol=2e-6)
    assert (on_cpu[0, :, 0, :3] == 0).all()
