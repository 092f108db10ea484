"""The map's own script in a real browser: colours of points and pixels in both themes, and what the pointer finds."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from radiossl.explorer.answers import _shades
from radiossl.explorer.pictures import page_html

pytestmark = pytest.mark.slow
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser tests")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine (apt-get install chromium): no browser tests", allow_module_level=True)

THEMES = {
    "dark": {"name": "dark", "shades": _shades((0.2, 1.0)), "unknown": "#59626c"},
    "light": {"name": "light", "shades": _shades((0.0, 0.88)), "unknown": "#c4c9ce"},
}
NUMBERS = {"array": [1.0, 100.0, None], "low": 1.0, "high": 100.0, "logarithmic": True}
CLASSES = {"array": [0, 1, -1], "classes": ["a<b", "c"], "colours": ["#ff0000", "#000000"]}
PLACES = [[0.12, 0.12], [0.88, 0.88], [0.12, 0.88]]


@pytest.fixture(scope="module")
def page():
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1300, "height": 800})
        page.set_content(page_html())
        page.evaluate(
            """() => {
                const known = (one) => one === null ? NaN : one;
                window.numbersOf = (column) => ({ ...column, array: column.array.map(known) });
            }"""
        )
        yield page
        browser.close()


def colours(page, column, theme="dark"):
    """The colour of each point."""
    found = page.evaluate(
        "([column, theme]) => { const found = codesOf(numbersOf(column), theme);"
        " return [...found.codes].map((code) => found.palette[code]); }",
        [column, THEMES[theme]],
    )
    return [tuple(one) for one in found]


def painted(page, column, theme="dark", size=(40, 30), mask=None, places=PLACES):
    """The pixels of a map from 0 to 1 in both directions, shape (height, width, 4), the uppermost row first."""
    found = page.evaluate(
        """([column, theme, width, height, places, mask]) => {
            const image = new ImageData(width, height);
            const xy = Float32Array.from(places.flatMap(([x, y]) => [x * width, y * height]));
            const colours = column && codesOf(numbersOf(column), theme);
            if (mask) paintPixels(image, xy, [0, height, 1], colours, [1, 2, 3], Uint8Array.from(mask), 0, 1);
            paintPixels(image, xy, [0, height, 1], colours, [1, 2, 3], mask && Uint8Array.from(mask), 1, 1);
            return JSON.stringify([...image.data]);
        }""",
        [column, THEMES[theme], *size, places, mask],
    )
    return np.array(json.loads(found)).reshape(size[1], size[0], 4)


def rgb(text):
    return tuple(int(text[at : at + 2], 16) for at in (1, 3, 5))


def test_points_take_the_colours_of_their_values(page):
    shades = THEMES["dark"]["shades"]
    assert colours(page, NUMBERS) == [rgb(shades[0]), rgb(shades[-1]), (0x59, 0x62, 0x6C)]
    assert colours(page, NUMBERS | {"array": [10.0]}) == [rgb(shades[128])]


def test_classes_have_their_colours_and_black_shows_on_black(page):
    assert colours(page, CLASSES)[:2] == [(255, 0, 0), (255, 255, 255)]
    assert colours(page, CLASSES, "light")[1] == (0, 0, 0)


@pytest.mark.parametrize("column", [None, NUMBERS, CLASSES])
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pixels_have_every_source_in_its_place(page, column, theme):
    image = painted(page, column, theme)
    for x, y in PLACES:
        assert image[29 - int(30 * y), int(40 * x), 3] > 50, (x, y)
    assert (image[..., 3] > 0).sum() == 3


def test_pixels_mix_classes_and_average_numbers(page):
    twice = [[0.5, 0.5], [0.5, 0.5]]
    red, white, mixed = (255, 0, 0), (255, 255, 255), (255, 128, 128)
    image = painted(page, CLASSES | {"array": [0, 1]}, places=twice)
    np.testing.assert_allclose(image[image[..., 3] > 0][0][:3], mixed, atol=1)
    assert red != white
    image = painted(page, NUMBERS | {"array": [1.0, 100.0]}, places=twice)
    assert tuple(image[image[..., 3] > 0][0][:3]) == rgb(THEMES["dark"]["shades"][128])


def test_what_is_not_chosen_is_dimmed(page):
    image = painted(page, CLASSES, size=(40, 40), mask=[1, 0, 0])
    assert image[35, 4, 3] > 100
    assert 0 < image[4, 35, 3] < 60
    assert painted(page, None, size=(9, 9), mask=[0, 0, 0])[..., 3].max() < 60


@pytest.fixture
def shown(page):
    """A map of 20,000 sources, more than are drawn as discs."""
    places = np.random.default_rng(0).uniform(-1, 1, (20_000, 2)).astype(np.float32)
    page.evaluate(
        "places => { page.theme = { name: 'dark' }; maps[0].whole = [-1, 1, -1, 1]; maps[0].limits = null;"
        " maps[0].show(Float32Array.from(places), [-1, 1, -1, 1]); maps[0].drawNow(); }",
        places.ravel().tolist(),
    )
    return places


def test_the_pointer_finds_the_nearest_source_within_its_reach(page, shown):
    for row in (0, 77, 19_999):
        assert page.evaluate("row => maps[0].near(...maps[0].toScreen(row), 0.01)", row) == row
    assert page.evaluate("() => maps[0].near(-5000, -5000)") == -1


def test_axes_have_one_scale_and_zooming_ends_where_it_began(page, shown):
    before = page.evaluate("maps[0].view")
    right, up = page.evaluate(
        """() => [[100, 0], [0, 100]].map(([x, y]) => {
            const [left, top] = maps[0].toMap(0, 0), [right, bottom] = maps[0].toMap(x, y);
            return Math.hypot(right - left, bottom - top);
        })"""
    )
    assert right == pytest.approx(up)
    still = page.evaluate(
        "() => { const at = maps[0].toMap(30, 40); maps[0].zoom(0.5, 30, 40); const then = maps[0].toMap(30, 40);"
        " maps[0].zoom(2, 30, 40); return [at, then]; }"
    )
    assert still[0] == pytest.approx(still[1])
    assert page.evaluate("maps[0].view") == pytest.approx(before)


def test_few_sources_in_view_are_discs_and_many_are_pixels(page, shown):
    listed = "() => maps[0].inView(maps[0].canvas.clientWidth, maps[0].canvas.clientHeight)?.length ?? null"
    assert page.evaluate(listed) is None
    page.evaluate("maps[0].zoom(0.1)")
    assert 0 < page.evaluate(listed) < 8000
    drawn = """() => {
        maps[0].drawNow();
        const { canvas } = maps[0], { width, height } = canvas;
        return canvas.getContext("2d").getImageData(0, 0, width, height).data.some((one) => one > 0);
    }"""
    assert page.evaluate(drawn)


@pytest.mark.parametrize(
    ("column", "label", "said"),
    [
        (CLASSES, "kind", ["3 sources", "a<b 1", "c 1", "unknown 1"]),
        (NUMBERS, "<flux> [mJy]", ["3 sources", "1", "10", "100", "<flux> [mJy] · logarithmic"]),
        (None, "", ["3 sources"]),
    ],
)
def test_a_legend_says_what_the_colours_mean(page, column, label, said):
    text = page.evaluate(
        """([column, label, theme]) => {
            start = { count: 3, columns: { catalogue: { flux: label } } };
            state.colour = "flux";
            Object.assign(page, { theme, chosen: null, column: column && numbersOf(column) });
            page.colours = codesOf(page.column, theme);
            showLegend();
            start = null;
            return document.getElementById("legend").innerText;
        }""",
        [column, label, THEMES["light"]],
    )
    for part in said:
        assert part in text, text
