"""Colours of points and of pixels, in both themes."""

from __future__ import annotations

import numpy as np
import pytest

from radiossl.explorer.drawing import DARK, LIGHT, draw_raster, legend_html, point_colours
from radiossl.maps.colours import ClassColours, NumberColours

COORDINATES = np.array([[0.1, 0.1], [0.9, 0.9], [0.1, 0.9]])
LIMITS = (0.0, 1.0, 0.0, 1.0)
NUMBERS = NumberColours(np.array([1.0, 100.0, np.nan]), 1.0, 100.0, True)
CLASSES = ClassColours(np.array([0, 1, -1]), ("a<b", "c"), ("#ff0000", "#000000"))


def test_points_take_the_colours_of_their_values():
    shades = DARK.shades()
    colours = point_colours(NUMBERS, 3, DARK, None)
    assert colours[0, :3].tolist() == shades[0].tolist()
    assert colours[1, :3].tolist() == shades[-1].tolist()
    assert colours[2, :3].tolist() == [0x59, 0x62, 0x6C]
    middle = NumberColours(np.array([10.0]), 1.0, 100.0, True)
    assert point_colours(middle, 1, DARK, None)[0, :3].tolist() == shades[128].tolist()


def test_classes_have_their_colours_and_black_shows_on_black():
    assert point_colours(CLASSES, 3, DARK, None)[:, :3].tolist()[:2] == [[255, 0, 0], [255, 255, 255]]
    assert point_colours(CLASSES, 3, LIGHT, None)[1, :3].tolist() == [0, 0, 0]


def test_what_is_not_chosen_is_dimmed():
    alpha = point_colours(None, 3, DARK, np.array([True, False, True]))[:, 3]
    assert alpha[0] == alpha[2] == 255
    assert alpha[1] < 60


@pytest.mark.parametrize("colours", [None, NUMBERS, CLASSES])
@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_a_raster_has_every_source_in_its_place(colours, theme):
    image = draw_raster(COORDINATES, colours, theme, LIMITS, (40, 30))
    assert image.shape == (30, 40, 4)
    for x, y in COORDINATES:
        assert image[int(30 * y), int(40 * x), 3] > 50, (x, y)
    assert image[15, 20, 3] == 0


def test_a_raster_dims_what_is_not_chosen():
    image = draw_raster(COORDINATES, CLASSES, DARK, LIMITS, (40, 40), np.array([True, False, False]))
    assert image[4, 4, 3] > 100
    assert 0 < image[36, 36, 3] < 60
    assert draw_raster(COORDINATES, None, DARK, LIMITS, (9, 9), np.zeros(3, bool))[..., 3].max() < 60


def test_a_legend_says_what_the_colours_mean_and_escapes_it():
    assert "a&lt;b" in legend_html(CLASSES, "kind", "kind", 3, DARK)
    assert "unknown" in legend_html(CLASSES, "kind", "kind", 3, DARK)
    numbers = legend_html(NUMBERS, "<flux>", "<flux> [mJy]", 3, LIGHT)
    assert "&lt;flux&gt; [mJy]" in numbers
    assert [f"<span>{tick}</span>" in numbers for tick in (1, 10, 100)] == [True] * 3
    assert "logarithmic" in numbers
    assert "3 sources" in legend_html(None, "", "", 3, DARK)
