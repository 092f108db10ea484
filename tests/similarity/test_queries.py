"""A query is framed as the cutouts are: what is cropped, to what, and what is left alone."""

import numpy as np
import pytest

from radiossl.datasets.image_sources import open_images
from radiossl.similarity.queries import Framing, frame_query
from radiossl.store.statistics import Noise, PixelStatistics
from radiossl.survey.extents import find_source


def field(side, places, noise=0.02, width=2.0, seed=0):
    """A noisy square picture with round sources at (x, y, brightness)."""
    y, x = np.indices((side, side))
    image = np.random.default_rng(seed).normal(0, noise, (side, side))
    for x0, y0, bright in places:
        image += bright * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * width**2))
    return image.astype(np.float32)


BOXES = Framing(1.8)


def framed(image, framing=BOXES, crop="auto"):
    return frame_query(open_images(image, options={"pixel_scale_arcsec": 1.8})[0], framing, crop)


def test_the_brightest_island_near_the_centre_is_the_source():
    image = field(200, [(110, 95, 1.0), (100, 60, 0.3), (15, 180, 8.0)])
    box = find_source(image, 1.8)
    assert (box.x, box.y) == (pytest.approx(110, abs=1), pytest.approx(95, abs=1))
    assert box.extent < 15


def test_lobes_on_both_sides_are_one_source_with_or_without_noise():
    for noise in (0.02, 0.0):
        box = find_source(field(200, [(70, 100, 1.0), (128, 102, 0.6)], noise), 1.8)
        assert (box.x, box.y) == (pytest.approx(99, abs=1), pytest.approx(101, abs=1))
        assert box.extent == pytest.approx(58, abs=3)


def test_a_crowded_field_is_not_one_source():
    places = np.random.default_rng(3).uniform(20, 580, (80, 2))
    image = field(600, [(360, 305, 2.0), *((x, y, 1.0) for x, y in places)])
    box = find_source(image, 1.8)
    assert (box.x, box.y) == (pytest.approx(360, abs=15), pytest.approx(305, abs=15))
    assert box.extent < 60


def test_what_shows_no_source_has_none():
    assert find_source(field(100, [])) is None
    assert find_source(np.zeros((50, 50), np.float32)) is None
    assert find_source(np.full((50, 50), np.nan, np.float32)) is None


def test_a_field_is_cropped_to_a_box_around_its_source_and_a_box_is_left_alone():
    image = field(150, [(54, 76, 1.0), (94, 80, 0.8)])
    query = framed(image)
    side = query.pixels.shape[0]
    assert query.pixels.shape == (side, side)
    assert side == pytest.approx(1.5 * 40, abs=6)
    assert query.note == f"cropped to {side} x {side} of 150 x 150 pixels around its source"
    left, low = 74 - (side - 1) / 2, 78 - (side - 1) / 2
    y, x = np.unravel_index(query.pixels.argmax(), query.pixels.shape)
    assert (x + left, y + low) == (pytest.approx(54, abs=2), pytest.approx(76, abs=2))
    box = field(64, [(12, 32, 1.0), (52, 32, 0.8)])
    assert framed(box).note == ""
    np.testing.assert_array_equal(framed(box).pixels, box)


def test_the_noise_of_a_crop_is_that_of_the_picture_and_that_of_a_cutout_the_stored_one():
    image = field(150, [(75, 75, 1.0)], width=6.0)
    query = framed(image, crop=24)
    assert query.noise == Noise.of(image)
    assert query.cutout.rms < 0.3 * PixelStatistics.of(query.pixels).rms
    assert framed(query.pixels, crop="none").noise == Noise.of(query.pixels)  # nothing is known of its surroundings
    known = frame_query(query.cutout, BOXES, crop="none")
    assert known.noise == query.noise
    finer = open_images(np.kron(image, np.ones((2, 2))), options={"pixel_scale_arcsec": 0.9})[0]
    averaged = frame_query(finer, BOXES, crop=24)
    assert averaged.noise == Noise.of(averaged.whole)


def test_cutouts_of_one_size_set_the_size_of_the_crop():
    image = field(300, [(180, 140, 1.0)])
    query = framed(image, Framing(1.8, 100))
    assert query.pixels.shape == (100, 100)
    assert query.pixels[49:52, 49:52].max() > 0.9
    assert framed(image[:120, :120], Framing(1.8, 100)).note == ""  # hardly larger than they are


def test_a_number_and_none_are_obeyed():
    image = field(100, [(15, 90, 1.0)])
    assert framed(image, crop="none").note == ""
    query = framed(image, crop=40)
    assert query.note == "cropped to 40 x 40 of 100 x 100 pixels around its source"
    np.testing.assert_array_equal(query.pixels, image[60:, :40])  # moved into the image
    empty = framed(field(100, []), crop=40)
    assert empty.note == "cropped to 40 x 40 of 100 x 100 pixels around its centre"
    assert framed(field(300, [])).note == ""


def test_the_crop_follows_the_change_of_scale():
    image = open_images(np.kron(field(150, [(75, 75, 1.0)]), np.ones((2, 2))), options={"pixel_scale_arcsec": 0.9})[0]
    query = frame_query(image, BOXES)
    assert query.pixels.shape == (32, 32)
    assert query.note.startswith(
        "resampled from 0.9 to 1.8 arcsec per pixel, the scale of the cutouts, cropped to 32 x"
    )
