"""Every batched augmentation against a literal version for one image, given the parameters that were drawn."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torchvision.transforms import RandomResizedCrop, v2

from radiossl.images.augment import (
    RandomCircularMask,
    RandomColorJitter,
    RandomGaussianBlur,
    RandomNoise,
    RandomThresholding,
    _normal,
    uniform,
)
from radiossl.images.geometry import RandomGeometry, affine_matrices, resample_at_once
from radiossl.images.preprocess import Preprocessing
from radiossl.images.views import PRESETS, Augmentation, ViewMaker

#: A deviation of five sigma: chance makes a test fail once in two million seeds, and the seeds are fixed.
SIGMAS = 5


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=8, channels=3, height=20, width=24, seed=1):
    """Images with black regions, as thresholds and blank pixels leave them."""
    images = torch.rand(n, channels, height, width, generator=generator(seed))
    return torch.where(images < 0.15, 0.0, images)


def one_by_one(function, images, parameters):
    """Apply `function(image, i)` to the selected images."""
    return torch.stack(
        [function(image, i) if parameters["selected"][i] else image for i, image in enumerate(images)]
    ).to(images.dtype)


def assert_fraction(chosen, probability):
    """The fraction of true values is that of independent draws with `probability`."""
    spread = math.sqrt(probability * (1 - probability) / len(chosen))
    assert abs(chosen.double().mean().item() - probability) <= SIGMAS * spread


def assert_uniform(values, low, high):
    values = values.double()
    assert values.min() >= low - 1e-6
    assert values.max() <= high + 1e-6
    assert abs(values.mean().item() - (low + high) / 2) <= SIGMAS * (high - low) / math.sqrt(12 * len(values))
    assert values.min() < low + 0.01 * (high - low)
    assert values.max() > high - 0.01 * (high - low)


# Colour jitter --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "strengths", [(0.4, 0.4, 0.4, 0.1), (0.9, 0.0, 0.0, 0.0), (0.0, 0.9, 0.0, 0.0), (0, 0, 3, 0.5)]
)
def test_jitter_equals_torchvision_in_the_order_it_names(channels, strengths):
    jitter = RandomColorJitter(*strengths, probability=0.8)
    images, parameters = batch(24, channels), jitter.draw(24, generator())

    def literal(image, i):
        factors = {name: values[i].item() for name, values in parameters.items()}
        image = v2.functional.adjust_brightness(image, factors["brightness"])
        image = v2.functional.adjust_contrast(image, factors["contrast"])
        if channels == 3:
            image = v2.functional.adjust_saturation(image, factors["saturation"])
            image = v2.functional.adjust_hue(image, factors["hue"])
        return image

    result = jitter.apply_(images.clone(), parameters)
    torch.testing.assert_close(result, one_by_one(literal, images, parameters), rtol=0, atol=1e-5)
    assert 0 <= result.min() <= result.max() <= 1
    assert torch.equal(result, images) == (channels == 1 and strengths[:2] == (0, 0))


def test_jitter_of_grey_images_keeps_them_grey():
    grey = batch(channels=1).expand(-1, 3, -1, -1)
    result = RandomColorJitter(0.4, 0.4, 0.4, 0.5)(grey, generator())
    torch.testing.assert_close(result, result[:, :1].expand_as(result), rtol=0, atol=1e-6)


def test_jitter_parameters():
    parameters = RandomColorJitter(0.4, 0.3, 1.5, 0.1, probability=0.8).draw(20_000, generator())
    assert_fraction(parameters["selected"], 0.8)
    assert_uniform(parameters["brightness"], 0.6, 1.4)
    assert_uniform(parameters["contrast"], 0.7, 1.3)
    assert_uniform(parameters["saturation"], 0.0, 2.5)
    assert_uniform(parameters["hue"], -0.1, 0.1)


# Blur -----------------------------------------------------------------------------------------------------------------


def test_blur_equals_scipy():
    blur = RandomGaussianBlur((1.0, 3.0), probability=0.7)
    images, parameters = batch(12, height=40, width=33), blur.draw(12, generator())

    def literal(image, i):
        sigma = (0, parameters["sigma"][i].item(), parameters["sigma"][i].item())
        return torch.from_numpy(
            ndimage.gaussian_filter(image.double().numpy(), sigma, mode="mirror", radius=(0, 12, 12))
        )

    expected = one_by_one(literal, images, parameters)
    torch.testing.assert_close(blur.apply_(images.clone(), parameters), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [3, 7])
def test_blur_of_a_given_kernel_equals_torchvision(kernel_size):
    blur = RandomGaussianBlur((0.1, 2.0), kernel_size=kernel_size)
    images, parameters = batch(12), blur.draw(12, generator())

    def literal(image, i):
        return v2.functional.gaussian_blur(image, [kernel_size] * 2, [parameters["sigma"][i].item()] * 2)

    expected = one_by_one(literal, images, parameters)
    torch.testing.assert_close(blur.apply_(images.clone(), parameters), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 4), (1, 9)])
def test_blur_of_images_smaller_than_its_kernel(shape):
    images = torch.ones(3, 1, *shape)
    torch.testing.assert_close(RandomGaussianBlur((1.0, 3.0))(images, generator()), images, rtol=0, atol=1e-6)


def test_blur_parameters():
    parameters = RandomGaussianBlur((1.0, 3.0), 0.1).draw(20_000, generator())
    assert_fraction(parameters["selected"], 0.1)
    assert_uniform(parameters["sigma"], 1.0, 3.0)


# Thresholding ---------------------------------------------------------------------------------------------------------


def literal_threshold(image, percentile):
    """Per channel, the percentile of the non-zero pixels; what is lower becomes zero."""
    result = image.double().numpy().copy()
    for channel in result:
        if (channel > 0).any():
            channel[channel < np.percentile(channel[channel > 0], percentile)] = 0
    return torch.from_numpy(result)


@pytest.mark.parametrize("percentile", [(40.0, 60.0), (0.0, 100.0), (50.0, 50.0), (0.0, 0.0), (100.0, 100.0)])
def test_thresholding_equals_numpy_percentiles(percentile):
    threshold = RandomThresholding(percentile, probability=0.7)
    images, parameters = batch(20), threshold.draw(20, generator())
    images[3, 1] = 0  # nothing in one channel
    images[4] = 0.5  # a single value
    images[5, 0].flatten()[1:] = 0  # a single pixel
    images[6] = (images[6] * 4).round() / 4  # few values, each many times
    parameters["selected"][3:7] = True
    expected = one_by_one(
        lambda image, i: literal_threshold(image, parameters["percentile"][i].item()), images, parameters
    )
    torch.testing.assert_close(threshold.apply_(images.clone(), parameters), expected, rtol=0, atol=1e-7)
    selected = parameters["selected"]
    at_once = threshold.change(images[selected], {name: values[selected] for name, values in parameters.items()})
    torch.testing.assert_close(at_once, expected[selected], rtol=0, atol=1e-7)


def test_large_images_are_thresholded_at_the_same_percentile():
    image = torch.rand(1, 2, 190, 190, generator=generator())
    image[:, :, :30] = 0
    parameters = {"selected": torch.tensor([True]), "percentile": torch.tensor([41.7])}
    expected = literal_threshold(image[0], 41.7).float()
    found = RandomThresholding((40.0, 60.0)).apply_(image.clone(), parameters)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_thresholding_images_with_negative_pixels_ranks_them_below():
    image = torch.tensor([-3.0, -0.0, 0.0, 1.0, -1.0, 2.0, 0.5, 4.0]).view(1, 1, 2, 4)
    threshold = RandomThresholding((50.0, 50.0))
    at_once = threshold.change(image, {"percentile": torch.tensor([50.0])})
    for result in (threshold(image, generator()), at_once):
        assert result.abs().flatten().tolist() == [0, 0, 0, 1, 0, 2, 0, 4]  # of -3, -1, 0.5, 1, 2, 4 the upper half


def test_thresholding_takes_its_limit_from_each_channel():
    images = batch(1) * torch.tensor([1.0, 0.1, 0.01]).view(1, 3, 1, 1)
    result = RandomThresholding((50.0, 50.0))(images, generator())
    kept = (result > 0).sum(dim=(2, 3)) / (images > 0).sum(dim=(2, 3))
    torch.testing.assert_close(kept, torch.full((1, 3), 0.5), rtol=0, atol=0.01)


def test_thresholding_parameters():
    parameters = RandomThresholding((40.0, 60.0), 0.5).draw(20_000, generator())
    assert_fraction(parameters["selected"], 0.5)
    assert_uniform(parameters["percentile"], 40.0, 60.0)


# Noise and mask -------------------------------------------------------------------------------------------------------


def test_noise_has_the_level_that_was_drawn():
    noise = RandomNoise((0.5, 2.0), probability=0.5)
    images, parameters = torch.full((10, 1, 60, 60), 7.0), noise.draw(10, generator())
    added = noise.apply_(images.clone(), parameters) - images
    for i in range(10):
        sigma = parameters["sigma"][i].item() if parameters["selected"][i] else 0.0
        assert added[i].std().item() == pytest.approx(sigma, rel=SIGMAS / math.sqrt(2 * 3600), abs=1e-9)
        assert abs(added[i].mean().item()) <= SIGMAS * sigma / 60
    first, second = parameters["selected"].nonzero().flatten()[:2]
    assert abs(np.corrcoef(added[first].flatten(), added[second].flatten())[0, 1]) < SIGMAS / 60


def test_noise_parameters():
    parameters = RandomNoise((0.5, 2.0), 0.3).draw(20_000, generator())
    assert_fraction(parameters["selected"], 0.3)
    assert_uniform(parameters["sigma"], 0.5, 2.0)
    assert len(parameters["seed"].unique()) > 19_900


@pytest.mark.parametrize("shape", [(20, 20), (21, 21), (20, 30)])
def test_mask_keeps_the_disc(shape):
    mask = RandomCircularMask((0.2, 0.6), probability=0.7)
    images, parameters = 1 + batch(10, 2, *shape), mask.draw(10, generator())
    height, width = shape
    y, x = np.indices(shape)

    def literal(image, i):
        distance = np.sqrt(((y - (height - 1) / 2) / height) ** 2 + ((x - (width - 1) / 2) / width) ** 2)
        return image * torch.from_numpy(distance <= parameters["radius"][i].item())

    torch.testing.assert_close(
        mask.apply_(images.clone(), parameters), one_by_one(literal, images, parameters), rtol=0, atol=0
    )


def test_mask_parameters():
    parameters = RandomCircularMask((0.35, 0.6), 0.25).draw(20_000, generator())
    assert_fraction(parameters["selected"], 0.25)
    assert_uniform(parameters["radius"], 0.35, 0.6)


# All of them ----------------------------------------------------------------------------------------------------------

TRANSFORMS = {
    "jitter": RandomColorJitter(0.4, 0.4, 0.4, 0.1, 0.8),
    "blur": RandomGaussianBlur((1.0, 3.0), 0.5),
    "threshold": RandomThresholding((40.0, 60.0), 0.5),
    "noise": RandomNoise((0.5, 1.0), 0.5),
    "mask": RandomCircularMask((0.3, 0.5), 0.5),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_batch_may_be_worked_on_in_pieces(name):
    transform, images = TRANSFORMS[name], batch(9)
    parameters = transform.draw(9, generator())
    assert all(len(values) == 9 for values in parameters.values())
    pieces = [
        transform.apply_(images[rows].clone(), {key: values[rows] for key, values in parameters.items()})
        for rows in (slice(0, 2), slice(2, 7), slice(7, 9))
    ]
    torch.testing.assert_close(torch.cat(pieces), transform.apply_(images.clone(), parameters), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_seed_gives_the_same_result_and_the_input_is_left_alone(name):
    images = batch(9)
    kept = images.clone()
    first = TRANSFORMS[name](images, generator(3))
    torch.testing.assert_close(first, TRANSFORMS[name](images, generator(3)), rtol=0, atol=0)
    assert not torch.equal(first, TRANSFORMS[name](images, generator(4)))
    torch.testing.assert_close(images, kept, rtol=0, atol=0)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_none_and_all_selected(name):
    transform, images = TRANSFORMS[name], batch(5)
    parameters = transform.draw(5, generator())
    none = parameters | {"selected": torch.zeros(5, dtype=torch.bool)}
    torch.testing.assert_close(transform.apply_(images.clone(), none), images, rtol=0, atol=0)
    every = parameters | {"selected": torch.ones(5, dtype=torch.bool)}
    changed = transform.apply_(images.clone(), every)
    for i in range(5):
        alone = transform.apply_(images[i, None].clone(), {key: values[i, None] for key, values in every.items()})
        torch.testing.assert_close(changed[i, None], alone, rtol=0, atol=1e-6)
        assert not torch.equal(alone[0], images[i])


@pytest.mark.parametrize("name", TRANSFORMS)
def test_black_images_stay_finite(name):
    assert torch.isfinite(TRANSFORMS[name](torch.zeros(6, 3, 16, 16), generator())).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_cuda_equals_cpu(name):
    transform, images = TRANSFORMS[name], batch(9)
    on_device = transform(images.cuda(), generator()).cpu()
    torch.testing.assert_close(on_device, transform(images, generator()), rtol=0, atol=1e-5)


# Geometry -------------------------------------------------------------------------------------------------------------


def place(height=1.0, width=1.0, top=0.5, left=0.5, mirror_x=False, mirror_y=False, angle=0.0):
    """Parameters of `RandomGeometry` for one image."""
    values = {"height": height, "width": width, "top": top, "left": left, "angle": angle}
    parameters = {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}
    return parameters | {"mirror_x": torch.tensor([mirror_x]), "mirror_y": torch.tensor([mirror_y])}


def resampled(image, size, parameters, field=None, padded=None):
    """One image (channels, height, width) through `RandomGeometry`."""
    height, width = image.shape[-2:]
    images = image[None] if padded is None else padded[None]
    sizes, fields = torch.tensor([[height, width]]), torch.tensor([float(field or max(height, width))])
    return RandomGeometry().apply_to(images, sizes, fields, size, parameters)[0]


def literal_steps(image, size, turns, mirror_x, mirror_y, top, left, side):
    """Crop, flip, turn and resize an image one after the other."""
    piece = image[:, top : top + side, left : left + side].numpy()
    piece = piece[:, :, ::-1] if mirror_x else piece
    piece = piece[:, ::-1] if mirror_y else piece
    piece = torch.from_numpy(np.rot90(piece, -turns, axes=(1, 2)).copy())
    return F.interpolate(piece[None], size=(size, size), mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize(("mirror_x", "mirror_y"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("size", [24, 20, 16, 37])
def test_geometry_equals_crop_flip_turn_and_resize(turns, mirror_x, mirror_y, size):
    image = torch.rand(2, 30, 30, generator=generator())
    top, left, side = 4, 1, 24  # of a freedom of 6 pixels
    parameters = place(side / 30, side / 30, top / 6, left / 6, mirror_x, mirror_y, turns * math.pi / 2)
    result = resampled(image, size, parameters)
    expected = literal_steps(image, size, turns, mirror_x, mirror_y, top, left, side)
    # Enlarged, the outermost pixels lie between the crop and its surroundings, which a crop on its own does not have.
    edge = 0 if size <= side else math.ceil(size / side / 2)
    inside = (slice(None), slice(edge, size - edge), slice(edge, size - edge))
    torch.testing.assert_close(result[inside], expected[inside], rtol=0, atol=1e-5)


def test_a_right_angle_turn_sends_the_first_axis_to_the_second():
    image = torch.zeros(1, 9, 9)
    image[0, 0, 4] = 1  # first row, middle
    turned = resampled(image, 9, place(angle=math.pi / 2))
    torch.testing.assert_close(turned[0, 4, 8].item(), 1.0, rtol=0, atol=1e-5)


def literal_map(image, size, parameters, field):
    """Where each pixel of the result comes from, followed back step by step, and scipy's bilinear interpolation."""
    p = {name: value.item() for name, value in parameters.items()}
    height, width = image.shape[-2:]
    i, j = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    v, u = (i + 0.5) / size - 0.5, (j + 0.5) / size - 0.5  # of the view, from -1/2 to 1/2, centre 0
    x = np.cos(p["angle"]) * u + np.sin(p["angle"]) * v
    y = -np.sin(p["angle"]) * u + np.cos(p["angle"]) * v
    x, y = (-x if p["mirror_x"] else x), (-y if p["mirror_y"] else y)
    crop_height, crop_width = p["height"] * field, p["width"] * field
    first_row = (height - field) / 2 + p["top"] * (field - crop_height)
    first_column = (width - field) / 2 + p["left"] * (field - crop_width)
    rows = first_row + (y + 0.5) * crop_height - 0.5
    columns = first_column + (x + 0.5) * crop_width - 0.5
    channels = [
        ndimage.map_coordinates(channel.double().numpy(), [rows, columns], order=1, mode="grid-constant", cval=0.0)
        for channel in image
    ]
    return torch.from_numpy(np.stack(channels)).float()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("shape", "field", "size"), [((30, 30), 30, 24), ((40, 26), 40, 50), ((40, 36), 24, 24)])
def test_any_geometry_equals_scipy_interpolation(seed, shape, field, size):
    options = {"crop_side": (0.5, 1.0)} if seed % 2 else {"crop_area": (0.3, 0.9)}
    parameters = RandomGeometry(**options, rotation="any").draw(1, generator(seed))
    image = torch.rand(2, *shape, generator=generator(seed))
    result = resampled(image, size, parameters, field)
    torch.testing.assert_close(result, literal_map(image, size, parameters, field), rtol=0, atol=2e-5)


def test_rotation_equals_scipy_affine_transform():
    image = torch.rand(1, 31, 31, generator=generator())
    angle = 0.4
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]])  # from (row, column) of the result to that of the image
    offset = np.array([15, 15]) - matrix @ [15, 15]
    expected = ndimage.affine_transform(
        image[0].double().numpy(), matrix, offset, order=1, mode="grid-constant", cval=0.0
    )
    result = resampled(image, 31, place(angle=angle))[0]
    torch.testing.assert_close(result, torch.from_numpy(expected).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 1.0])
def test_padding_in_the_lower_right_corner_changes_nothing(angle):
    image = torch.rand(2, 20, 28, generator=generator())
    padded = F.pad(image, (0, 13, 0, 30))
    parameters = place(0.8, 0.8, 0.3, 0.9, True, False, angle)
    expected = resampled(image, 24, parameters)
    torch.testing.assert_close(resampled(image, 24, parameters, padded=padded), expected, rtol=0, atol=1e-5)


def test_a_rotation_brings_in_the_sky_around_the_field():
    image = torch.ones(1, 48, 48)
    assert resampled(image, 24, place(angle=math.pi / 4), field=24).min() > 0.999
    assert resampled(image, 24, place(angle=math.pi / 4), field=48).min() == 0


def test_no_images_give_an_empty_batch():
    geometry = RandomGeometry()
    nothing = geometry.apply_to(
        torch.zeros(0, 3, 9, 9), torch.zeros(0, 2), torch.zeros(0), 8, geometry.draw(0, generator())
    )
    assert nothing.shape == (0, 3, 8, 8)


def test_exclusive_flips_never_both():
    drawn = RandomGeometry(flips=(0.33, 0.33), exclusive_flips=True).draw(20_000, generator())
    assert not (drawn["mirror_x"] & drawn["mirror_y"]).any()
    assert_fraction(drawn["mirror_x"], 0.33)
    assert_fraction(drawn["mirror_y"], 0.33)


def test_independent_flips():
    drawn = RandomGeometry(flips=(0.5, 0.2)).draw(20_000, generator())
    assert_fraction(drawn["mirror_x"], 0.5)
    assert_fraction(drawn["mirror_y"], 0.2)
    assert_fraction(drawn["mirror_x"] & drawn["mirror_y"], 0.1)


def test_right_angles_are_alike_and_half_of_the_views_stay():
    drawn = RandomGeometry(rotation="right-angle", rotation_probability=0.5).draw(20_000, generator())
    turns = drawn["angle"] / (math.pi / 2)
    torch.testing.assert_close(turns, turns.round(), rtol=0, atol=1e-6)
    assert_fraction(turns.round() == 0, 0.5)
    for number in (1, 2, 3):
        assert_fraction(turns.round() == number, 1 / 6)


def test_any_angle_and_none():
    assert_uniform(RandomGeometry(rotation="any").draw(20_000, generator())["angle"], 0, 2 * math.pi)
    assert_fraction(
        RandomGeometry(rotation="any", rotation_probability=0.3).draw(20_000, generator())["angle"] != 0, 0.3
    )
    assert not RandomGeometry(rotation="none").draw(1000, generator())["angle"].any()


def test_crop_by_side():
    drawn = RandomGeometry(crop_side=(0.8, 1.0)).draw(20_000, generator())
    torch.testing.assert_close(drawn["height"], drawn["width"], rtol=0, atol=0)
    assert_uniform(drawn["height"], 0.8, 1.0)
    assert_uniform(drawn["top"], 0, 1)
    assert_uniform(drawn["left"], 0, 1)


def test_no_crop():
    drawn = RandomGeometry().draw(100, generator())
    assert set(drawn["height"].tolist()) == set(drawn["width"].tolist()) == {1.0}


def test_crop_by_area_is_spread_like_torchvisions():
    drawn = RandomGeometry(crop_area=(0.8, 1.0), crop_ratio=(3 / 4, 4 / 3)).draw(20_000, generator())
    area, ratio = drawn["height"] * drawn["width"], drawn["width"] / drawn["height"]
    assert 0.8 - 1e-6 <= area.min() <= area.max() <= 1
    assert 0.75 - 1e-6 <= ratio.min() <= ratio.max() <= 4 / 3 + 1e-6
    torch.manual_seed(0)
    field = torch.empty(1, 1000, 1000)
    boxes = [RandomResizedCrop.get_params(field, [0.8, 1.0], [3 / 4, 4 / 3])[2:] for _ in range(3000)]
    reference = np.array(boxes) / 1000
    for ours, theirs in (
        (drawn["height"].numpy(), reference[:, 0]),
        (drawn["width"].numpy(), reference[:, 1]),
        (area.numpy(), reference.prod(axis=1)),
    ):
        quantiles = np.linspace(0.05, 0.95, 7)
        np.testing.assert_allclose(np.quantile(ours, quantiles), np.quantile(theirs, quantiles), atol=0.01)


def test_accelerators_resample_as_cpus_do():
    random = generator()
    images = torch.rand(8, 3, 31, 40, generator=random)
    geometry = RandomGeometry(crop_side=(0.5, 1.0))
    sizes, fields = torch.tensor([[31.0, 40.0]]).expand(8, 2), torch.full((8,), 45.0)
    parameters = geometry.draw(8, random)
    shapes, crops = torch.tensor([images.shape[-2:]]), geometry.crops(fields, fields, parameters)
    theta = affine_matrices(shapes, sizes, crops, parameters)
    at_once = resample_at_once(images.double(), theta, 29).float()
    torch.testing.assert_close(geometry.apply_to(images, sizes, fields, 29, parameters), at_once, rtol=0, atol=1e-5)
    assert (at_once == 0).any(), "some of the crops reach outside"


@pytest.mark.parametrize("shape", [(31, 40), (150, 97)])
def test_zooms_see_the_part_that_they_show_as_accelerators_see_the_whole(shape):
    random = generator()
    images = torch.rand(40, 3, *shape, generator=random)
    geometry = RandomGeometry(zoom=(0.4, 3.0), shift=0.3, wide=0.3)
    sizes, fields = torch.tensor([shape]).expand(40, 2), torch.full((40,), float(max(shape)))
    boxes, parameters = uniform(40, (9.0, 60.0), random), geometry.draw(40, random)
    whole = images.to(memory_format=torch.channels_last)  # which no kernel takes
    at_once = geometry.apply_to(whole, sizes, fields, 12, parameters, boxes)
    torch.testing.assert_close(
        geometry.apply_to(images, sizes, fields, 12, parameters, boxes), at_once, rtol=0, atol=1e-5
    )
    blocks = geometry.sides(fields, boxes, parameters) // 12
    assert blocks.min() < 2 < blocks.max(), "some views have averages of blocks"


@pytest.mark.parametrize(
    "step",
    [
        RandomColorJitter(0.4, 0.4, 0.4, 0.1),
        RandomGaussianBlur((1.0, 2.0)),
        RandomThresholding((40.0, 60.0)),
        RandomNoise((0.5, 2.0)),
    ],
)
def test_precision_and_order_in_memory_do_not_matter(step):
    images = batch(4, 3, 16, 20)
    expected = step(images, generator())
    assert (expected != images).any()
    for other in (images.double(), images.to(memory_format=torch.channels_last), images.mT.contiguous().mT):
        result = step(other, generator())
        assert result.dtype == other.dtype
        torch.testing.assert_close(result.float(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["riggi2024-hulk", "slijepcevic2024"])
def test_changing_a_batch_at_once_is_changing_it_one_by_one(name):
    """An accelerator changes all selected images at once, a CPU one after the other."""
    random = generator()
    images = torch.rand(6, 3, 24, 24, generator=random)
    maker = ViewMaker(Preprocessing(size=24), Augmentation(**PRESETS[name]))
    for step in maker.after.values():
        parameters = step.draw(6, random)
        parameters["selected"] = torch.tensor([True, False, True, True, False, True])
        rows = parameters["selected"].nonzero().squeeze(1)
        one_by_one = step.apply_(images.clone(), parameters)
        at_once = images.clone()
        at_once[rows] = step.change(images[rows], {key: values[rows] for key, values in parameters.items()})
        torch.testing.assert_close(one_by_one, at_once, rtol=1e-5, atol=1e-6)


def test_noise_out_of_seeds_is_normal_white_and_its_own_for_every_seed():
    noise = _normal(torch.arange(64), 4096)
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert float(noise.std()) == pytest.approx(1, abs=0.01)
    assert float((noise.abs() > 3).double().mean()) == pytest.approx(0.0027, abs=0.0004)
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean()
    assert abs(float(neighbours)) < 0.01
    between = torch.corrcoef(noise) - torch.eye(64)
    assert float(between.abs().max()) < 5 / 64  # five standard deviations of a correlation of 4096 numbers
    torch.testing.assert_close(noise[7:9], _normal(torch.tensor([7, 8]), 4096))
