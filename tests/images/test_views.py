"""Views: reproducible, independent of how a batch is cut up, and with the numbers that the papers print."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from radiossl.images import preprocess
from radiossl.images.augment import FWHM_PER_SIGMA, RandomBeam
from radiossl.images.preprocess import Preprocessing
from radiossl.images.views import PRESETS, Augmentation, ViewMaker
from radiossl.store.statistics import PixelStatistics

SIZE = 24
MODES = ["sigma-zscale", "min-max", "floor-stretch"]
#: Everything at once, everywhere.
ALL_STEPS = Augmentation(
    crop_side=(0.6, 1.0),
    rotation="any",
    jitter_brightness=0.4,
    jitter_contrast=0.4,
    jitter_saturation=0.4,
    jitter_hue=0.1,
    jitter_probability=0.7,
    blur_sigma=(0.5, 1.0),
    blur_probability=0.5,
    threshold_probability=0.5,
    noise_probability=0.5,
    mask_probability=0.5,
    floor_sigma=(2.0, 5.0),
    log_gain=0.5,
    log_gamma=0.5,
)


def maker(augmentation=ALL_STEPS, mode="sigma-zscale", **options):
    return ViewMaker(Preprocessing(mode=mode, size=SIZE, **options), augmentation)


def statistics_of(images):
    return torch.from_numpy(np.stack([PixelStatistics.of(image).as_array() for image in images]))


def views(view_maker, images, seed=0, **options):
    pixels = torch.from_numpy(images) if isinstance(images, np.ndarray) else images
    return view_maker(pixels, statistics_of(images), torch.Generator().manual_seed(seed), **options)


def same(first, second, tolerance=0.0):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def images(sky):
    return np.stack([sky(seed, (32, 32), 2) for seed in range(10)])


@pytest.fixture(scope="module")
def ragged(sky):
    return [sky(seed, shape, 2) for seed, shape in enumerate([(32, 32), (20, 40), (41, 27), (24, 24), (32, 32)])]


# Reproducible ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_gives_the_same_views_and_another_seed_others(images, mode):
    first = views(maker(mode=mode), images)
    assert [view.shape for view in first] == [(10, 1 if mode == "min-max" else 3, SIZE, SIZE)] * 2
    torch.manual_seed(77)  # the global generator has no say
    same(first, views(maker(mode=mode), images))
    other = views(maker(mode=mode), images, seed=1)
    assert all((a != b).flatten(1).any(dim=1).all() for a, b in zip(first, other, strict=True))


def test_the_global_generator_is_left_alone(images):
    before = torch.get_rng_state()
    views(maker(), images)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mode", MODES)
def test_the_two_views_of_an_image_differ(images, mode):
    one, other = views(maker(mode=mode), images)
    assert (one != other).flatten(1).any(dim=1).all()


def test_as_many_views_as_asked_for(images):
    assert len(views(maker(), images, count=3)) == 3
    assert len(views(maker(), images, count=1)) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at_a_time", [1, 3])
def test_chunks_do_not_change_the_views(images, ragged, monkeypatch, mode, at_a_time):
    whole, whole_ragged = views(maker(mode=mode), images), views(maker(mode=mode), ragged)
    monkeypatch.setattr(preprocess, "CPU_CHUNK_PIXELS", at_a_time * 41 * 41)
    same(views(maker(mode=mode), images), whole, 1e-6)
    same(views(maker(mode=mode), ragged), whole_ragged)


@pytest.mark.parametrize("mode", MODES)
def test_a_list_of_arrays_gives_the_views_of_the_tensor(images, mode):
    same(views(maker(mode=mode), list(images)), views(maker(mode=mode), images))


def test_images_of_other_sizes_do_not_change_a_view(images, ragged):
    """The images of one size, seen among others and alone, with the parameters that they draw."""
    augmentation = Augmentation(crop_side=(0.9, 0.9), flips=(0.0, 0.0), rotation="none")  # only the place is random
    among = maker(augmentation)
    whole = views(among, ragged)[0]
    place = among.geometry.draw(len(ragged), torch.Generator().manual_seed(0))
    for i, image in enumerate(ragged):
        prepared = among.preprocessing.prepare(torch.from_numpy(image)[None], statistics_of([image]))
        own = {name: values[i, None] for name, values in place.items()}
        sizes, fields = torch.tensor([image.shape]), torch.tensor([float(max(image.shape))])
        alone = among.geometry.apply_to(prepared, sizes, fields, SIZE, own)[0]
        torch.testing.assert_close(whole[i], alone, rtol=0, atol=1e-5)


def test_without_randomness_a_view_is_the_preprocessed_image(sky):
    """At the size of the view nothing is resampled, so evaluation and training see the same."""
    still = Augmentation(flips=(0.0, 0.0), rotation="none")
    for mode in MODES:
        view_maker, image = maker(still, mode, mean=0.1, std=0.5), sky(0, (SIZE, SIZE), 2)
        expected = view_maker.preprocessing.of_arrays([image])
        tolerance = 1e-2 if mode == "floor-stretch" else 1e-5
        same(views(view_maker, image[None]), [expected, expected], tolerance)


@pytest.mark.parametrize("mode", ["sigma-zscale", "min-max"])
def test_gain_and_gamma_change_an_image_in_the_unit_interval(sky, mode):
    still = maker(Augmentation(flips=(0.0, 0.0), rotation="none"), mode)
    changing = maker(Augmentation(flips=(0.0, 0.0), rotation="none", log_gain=0.5, log_gamma=0.5), mode)
    images = np.stack([sky(seed, (SIZE, SIZE), 2) for seed in range(4)])
    drawn = changing._draw(len(images), torch.Generator().manual_seed(0))["finish"]
    plain = views(still, images, count=1)[0]
    for view, before, gain, gamma in zip(
        views(changing, images, count=1)[0], plain, drawn["gain"], drawn["gamma"], strict=True
    ):
        assert np.exp(-0.5) <= gain <= np.exp(0.5)
        torch.testing.assert_close(view, (before**gamma * gain).clamp(0, 1), rtol=0, atol=1e-5)
    assert drawn["gain"].std() > 0.01
    assert drawn["gamma"].std() > 0.01


# Large cutouts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "field_px"), [(96, None), (120, 96)])
def test_large_cutouts_are_averaged_before_they_are_resampled(side, field_px):
    """One lit pixel in 16 must not fall between the pixels of a view that are four times as large."""
    image = np.zeros((side, side), np.float32)
    image[::4, ::4] = 1.0
    still = Augmentation(flips=(0.0, 0.0), rotation="none")
    (view, _) = views(maker(still, "min-max", field_px=field_px), image[None])
    torch.testing.assert_close(view, torch.full_like(view, 1 / 16), rtol=0, atol=1e-5)


def test_shrinking_keeps_brightness_and_place():
    image = np.zeros((101, 99), np.float32)
    image[60:70, 20:30] = 1.0  # a square off the centre
    still = Augmentation(flips=(0.0, 0.0), rotation="none")
    (view, _) = views(maker(still, "min-max"), image[None])
    view = view[0, 0].double()
    scale = 101 / SIZE
    assert view.sum().item() * scale**2 == pytest.approx(100, rel=0.02)
    at = torch.arange(SIZE) + 0.5
    row, column = (view.sum(1) @ at.double() / view.sum()).item(), (view.sum(0) @ at.double() / view.sum()).item()
    assert row * scale == pytest.approx(65, abs=0.1 * scale)
    assert column * scale == pytest.approx(25 + 1, abs=0.1 * scale)  # 99 columns stand in the middle of 101


def test_shrinking_is_a_block_average(images):
    view_maker = ViewMaker(Preprocessing(mode="min-max", size=16), Augmentation(flips=(0.0, 0.0), rotation="none"))
    prepared = view_maker.preprocessing.prepare(torch.from_numpy(images), statistics_of(images))
    expected = F.avg_pool2d(prepared, 2)
    same(views(view_maker, images, count=1), [expected], 1e-5)


# Blank pixels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize("mode", MODES)
def test_blank_pixels_give_finite_views(images, name, mode):
    damaged = images.copy()
    damaged[0, :9], damaged[1, :, 20:] = np.nan, np.inf
    damaged[2], damaged[3], damaged[4] = np.nan, 0.0, 5.0
    damaged[5] = 0.0
    damaged[5, 16, 16] = 1.0
    for view in views(maker(Augmentation(**PRESETS[name]), mode), damaged):
        assert torch.isfinite(view).all()
        assert 0 <= view.min() <= view.max() <= 1
        assert not view[2].any()  # nothing makes something of a blank image


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mode", MODES)
def test_cuda_equals_cpu(images, mode):
    view_maker = maker(mode=mode)
    on_device = view_maker(
        torch.from_numpy(images).cuda(), statistics_of(images).cuda(), torch.Generator().manual_seed(0)
    )
    same([view.cpu() for view in on_device], views(view_maker, images), 1e-2 if mode == "floor-stretch" else 1e-4)


# Steps ----------------------------------------------------------------------------------------------------------------


def test_steps_that_are_off_are_left_out():
    assert not maker(Augmentation()).before
    assert not maker(Augmentation()).after
    assert list(maker().after) == ["jitter", "blur", "threshold"]


def test_noise_only_where_pixels_are_in_units_of_the_rms():
    assert "noise" in maker(mode="floor-stretch").before
    assert "noise" not in maker(mode="sigma-zscale").before


def test_floor_gain_and_gamma_are_drawn_from_their_ranges():
    drawn = maker(mode="floor-stretch")._draw(20_000, torch.Generator().manual_seed(0))["finish"]
    assert drawn["floor"].aminmax() == pytest.approx((2.0, 5.0), abs=0.01)
    assert drawn["gain"].log().aminmax() == pytest.approx((-0.5, 0.5), abs=0.01)
    assert drawn["gamma"].log().aminmax() == pytest.approx((-0.5, 0.5), abs=0.01)


# Presets --------------------------------------------------------------------------------------------------------------


def test_riggi_2024_table_2():
    preset = Augmentation(**PRESETS["riggi2024-hulk"])
    assert preset.crop_side == (0.8, 1.0)
    assert preset.crop_area is None
    assert (preset.flips, preset.exclusive_flips) == ((0.33, 0.33), True)
    assert (preset.rotation, preset.rotation_probability) == ("right-angle", 0.5)
    jitter = (preset.jitter_brightness, preset.jitter_contrast, preset.jitter_saturation, preset.jitter_hue)
    assert jitter == pytest.approx([0.5 * 0.8, 0.5 * 0.8, 0.5 * 0.8, 0.5 * 0.2])
    assert preset.jitter_probability == 0.8
    assert (preset.blur_sigma, preset.blur_kernel, preset.blur_probability) == ((1.0, 3.0), None, 0.1)
    assert (preset.threshold_percentile, preset.threshold_probability) == ((40.0, 60.0), 0.5)
    assert preset.noise_probability == preset.mask_probability == 0


def test_riggi_2024_banner_is_hulk_without_thresholding():
    hulk = Augmentation(**PRESETS["riggi2024-hulk"])
    banner = Augmentation(**PRESETS["riggi2024-banner"])
    assert banner.threshold_probability == 0
    assert banner == hulk.model_copy(update={"threshold_probability": 0.0})


def test_slijepcevic_2024_as_published():
    preset = Augmentation(**PRESETS["slijepcevic2024"])
    assert (preset.crop_area, preset.crop_ratio, preset.crop_side) == ((0.8, 1.0), (3 / 4, 4 / 3), None)
    assert (preset.flips, preset.exclusive_flips) == ((0.5, 0.5), False)
    assert (preset.rotation, preset.rotation_probability) == ("any", 1.0)
    assert (preset.jitter_brightness, preset.jitter_contrast, preset.jitter_probability) == (0.4, 0.4, 0.8)
    assert (preset.blur_kernel, preset.blur_sigma, preset.blur_probability) == (7, (0.1, 2.0), 0.1)
    assert preset.threshold_probability == preset.noise_probability == preset.mask_probability == 0


def test_slijepcevic_2022_differs_by_its_blur():
    preset = Augmentation(**PRESETS["slijepcevic2022"])
    assert (preset.blur_kernel, preset.blur_probability) == (3, 0.05)
    later = Augmentation(**PRESETS["slijepcevic2024"])
    assert preset == later.model_copy(update={"blur_kernel": 3, "blur_probability": 0.05})


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_view_maker_uses_the_numbers_of_the_preset(name):
    preset, made = Augmentation(**PRESETS[name]), maker(Augmentation(**PRESETS[name]), "floor-stretch")
    geometry = made.geometry
    keys = ("crop_side", "crop_area", "crop_ratio", "zoom", "shift", "wide", "flips", "exclusive_flips", "rotation")
    for key in (*keys, "rotation_probability"):
        assert getattr(geometry, key) == getattr(preset, key)
    steps = made.before | made.after
    assert set(steps) == {
        step
        for step in ("beam", "noise", "mask", "jitter", "blur", "threshold")
        if getattr(preset, f"{step}_probability") > 0
    }
    for step in steps:
        assert steps[step].probability == getattr(preset, f"{step}_probability")
    if "jitter" in steps:
        expected = {key: getattr(preset, f"jitter_{key}") for key in ("brightness", "contrast", "saturation")}
        assert (steps["jitter"].strengths, steps["jitter"].hue) == (expected, preset.jitter_hue)
    if "blur" in steps:
        assert steps["blur"].ranges["sigma"] == preset.blur_sigma
        assert steps["blur"].radius == (12 if preset.blur_kernel is None else preset.blur_kernel // 2)
    if "threshold" in steps:
        assert steps["threshold"].ranges["percentile"] == preset.threshold_percentile


def test_misspelt_keys_are_refused():
    with pytest.raises(ValidationError):
        Augmentation(crop_sides=(0.8, 1.0))


# Views of one source at many zooms and through other beams ------------------------------------------------------------

STILL = {"flips": (0.0, 0.0), "rotation": "none"}


def plain(side=96, **augmentation):
    """Views of unstretched brightness: min-max of images that lie between 0 and 1 already."""
    preprocessing = Preprocessing(mode="min-max", size=SIZE)
    return ViewMaker(preprocessing, Augmentation(**STILL | augmentation))


def ramp(side=96):
    """An image whose brightness is the column's number, from 0 to 1: a view's own brightness tells what it shows."""
    return np.tile(np.linspace(0, 1, side, dtype=np.float32), (1, side, 1))


@pytest.mark.parametrize("box", [20.0, 36.0])
def test_a_zoomed_view_shows_its_multiple_of_the_box_around_the_centre(box):
    [view] = views(plain(zoom=(1.5, 1.5)), ramp(), count=1, boxes=torch.tensor([box]))
    shown = (view[0, 0, 0, -1] - view[0, 0, 0, 0]) * 95 * SIZE / (SIZE - 1)
    assert float(shown) == pytest.approx(1.5 * box, rel=1e-3)
    assert float(view.mean()) == pytest.approx(0.5, abs=1e-4)


def test_without_a_box_zoom_is_relative_to_the_whole_field():
    maker = plain(zoom=(0.6, 0.6))
    known = views(maker, ramp(), count=1, boxes=torch.tensor([96.0]))
    same(views(maker, ramp(), count=1), known)
    same(views(maker, ramp(), count=1, boxes=torch.tensor([np.nan])), known)


def test_zooms_are_log_uniform_and_shifts_no_larger_than_said():
    draw = plain(zoom=(0.5, 2.0), shift=0.15).geometry.draw(4000, torch.Generator().manual_seed(0))
    log = draw["zoom"].log2()
    assert log.min() >= -1
    assert log.max() <= 1
    assert abs(float(log.mean())) < 0.03
    for axis in ("right", "down"):
        assert float(draw[axis].abs().max()) == pytest.approx(0.15, abs=0.002)


def test_a_shift_moves_the_view_by_its_part_of_the_side():
    image = ramp()
    maker = plain(zoom=(1.0, 1.0), shift=0.2)
    boxes = torch.full((1,), 30.0)
    right = float(maker._draw(1, torch.Generator().manual_seed(5))["geometry"]["right"])
    [view] = maker(torch.from_numpy(image), statistics_of(image), torch.Generator().manual_seed(5), 1, boxes)
    assert float(view.mean()) == pytest.approx(0.5 + right * 30 / 95, abs=2e-3)


def test_wide_views_reach_from_the_least_zoom_to_the_whole_field():
    geometry = plain(zoom=(0.7, 1.5), wide=1.0).geometry
    draw = geometry.draw(2000, torch.Generator().manual_seed(1))
    sides = geometry.sides(torch.full((2000,), 96.0), torch.full((2000,), 20.0), draw)
    assert 14 <= float(sides.min()) < 14.2
    assert 95 < float(sides.max()) <= 96


def test_small_views_keep_the_resolution_that_large_ones_average_away():
    image = np.zeros((1, 96, 96), np.float32)
    image[0, ::2] = 1.0  # lines that an average over four pixels turns grey
    [near] = views(plain(zoom=(1.0, 1.0)), image, count=1, boxes=torch.tensor([24.0]))
    [far] = views(plain(zoom=(1.0, 1.0)), image, count=1, boxes=torch.tensor([96.0]))
    assert float(near.std()) > 0.3
    assert float(far[:, :, 2:-2, 2:-2].std()) < 0.01


@pytest.mark.parametrize("zoom", [0.8, 1.6])
def test_an_added_beam_has_its_width_on_the_sky_whatever_the_zoom(zoom):
    image = np.zeros((1, 97, 97), np.float32)
    image[0, 48, 48] = 1.0
    augmentation = Augmentation(**STILL, zoom=(zoom, zoom), beam_fwhm=(0.25, 0.25), beam_probability=1.0)
    maker = ViewMaker(Preprocessing(mode="floor-stretch", floor_sigma=0.0, size=96), augmentation)
    statistics = statistics_of(image)
    statistics[:, :2] = torch.tensor([0.0, 1e-3])  # background and rms
    [view] = maker(torch.from_numpy(image), statistics, torch.Generator(), 1, torch.tensor([48.0]))
    profile = view[0, 0].sum(0)  # the first channel is linear
    where = (torch.arange(96.0) - 47.5) / 96 * zoom * 48  # in pixels of the image
    centre = (profile * where).sum() / profile.sum()
    sigma = float(((profile * (where - centre) ** 2).sum() / profile.sum()).sqrt())
    # The pixel itself, and the triangle of the interpolation, add a little.
    assert sigma == pytest.approx(0.25 * 48 / 2.3548, rel=0.02)


def test_noise_of_the_survey_has_unit_rms_through_any_beam():
    """Noise that is correlated over three pixels, as a beam of that width makes it, is still 1 rms in blurred views."""
    generator = np.random.default_rng(0)
    noise = gaussian_filter(generator.standard_normal((64, 192, 192)), (0, 3.0 / FWHM_PER_SIGMA, 3.0 / FWHM_PER_SIGMA))
    noise = torch.from_numpy((noise / noise.std()).astype(np.float32))[:, None]
    ones = torch.ones(64, dtype=torch.float64)
    for fwhm in (3.0, 6.0, 12.0):
        step = RandomBeam((fwhm / 100, fwhm / 100))
        drawn = step.in_pixels(step.draw(64, torch.Generator().manual_seed(0)), 100 * ones, ones)
        assert float(step.apply_(noise.clone(), drawn).std()) == pytest.approx(1.0, rel=0.06)


def test_zoomed_views_and_beams_do_not_depend_on_how_a_batch_is_cut_up_or_padded(images):
    augmentation = Augmentation(zoom=(0.6, 1.6), shift=0.15, wide=0.4, beam_probability=0.5, noise_probability=0.5)
    boxes = torch.tensor([12.0, 30.0, np.nan, 20.0, 9.0, 31.0, 18.0, 25.0, 14.0, 22.0])
    together = views(maker(augmentation, "floor-stretch"), images, boxes=boxes)
    assert all(torch.isfinite(view).all() for view in together)
    same(together, views(maker(augmentation, "floor-stretch"), list(images), boxes=boxes))
    exact = preprocess.CPU_CHUNK_PIXELS
    try:
        preprocess.CPU_CHUNK_PIXELS = 3 * 32 * 32
        same(together, views(maker(augmentation, "floor-stretch"), images, boxes=boxes), 1e-6)
    finally:
        preprocess.CPU_CHUNK_PIXELS = exact


@pytest.mark.parametrize(
    "wrong", [{"zoom": (0.0, 1.5)}, {"zoom": (1.5, 0.6)}, {"beam_fwhm": (-0.1, 0.2)}, {"floor_sigma": (0.0, 5.0)}]
)
def test_ratios_are_above_zero_and_in_order(wrong):
    with pytest.raises(ValidationError, match="two numbers above 0"):
        Augmentation(**wrong)
