"""Stretches, contact sheets and galleries."""

import numpy as np
import pytest
from astropy.visualization import ZScaleInterval
from PIL import Image

from radiossl import RadiosslError
from radiossl.report import sheets as images_module
from radiossl.report.sheets import (
    BLANK_COLOUR,
    QUERY_COLOUR,
    STRETCHES,
    Picture,
    as_rgb,
    cutout_pictures,
    image_grid,
    stretch,
)
from radiossl.store.cutout import Beam

BRIGHT, DARK = (252, 254, 164), (0, 0, 3)  # the ends of inferno


def sky(seed=0, shape=(40, 50)):
    image = np.random.default_rng(seed).normal(0, 1e-4, shape)
    image[20:23, 30:33] += 0.02
    return image


def colour_fraction(path, colour):
    """Fraction of a picture's pixels that have exactly this colour."""
    return (np.asarray(Image.open(path).convert("RGB")) == np.array(colour)).all(axis=-1).mean()


def centre_of(path, colour, tolerance=3):
    """Mean row and column, as fractions of the picture, of the pixels near a colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    rows, columns = np.nonzero((np.abs(pixels - np.array(colour)) <= tolerance).all(axis=-1))
    return rows.mean() / pixels.shape[0], columns.mean() / pixels.shape[1]


# Stretch --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", STRETCHES)
def test_stretch_is_monotonic_and_uses_the_whole_range(how):
    image = sky()
    result = stretch(image, how)
    assert (result.min(), result.max()) == (0, 1)
    assert (np.diff(result.ravel()[np.argsort(image.ravel())]) >= 0).all()


@pytest.mark.parametrize("how", STRETCHES)
def test_blank_pixels_are_marked_and_change_nothing_else(how):
    image = sky()
    padded = np.pad(image, 3, constant_values=np.nan)
    padded[0, 0], padded[0, 1] = np.inf, -np.inf
    result = stretch(padded, how)
    np.testing.assert_array_equal(np.isnan(result), ~np.isfinite(padded))
    np.testing.assert_array_equal(result[3:-3, 3:-3], stretch(image, how))


@pytest.mark.parametrize("how", STRETCHES)
def test_degenerate_images(how):
    np.testing.assert_array_equal(stretch(np.full((3, 4), 7.0), how), 0)
    assert np.isnan(stretch(np.full((3, 4), np.nan), how)).all()
    single = np.zeros((30, 30))
    single[3, 4] = 1e-3
    np.testing.assert_array_equal(stretch(single, how), single > 0)
    extreme = np.array([[-1.7e308, 1.7e308], [0.0, 1.0]])
    assert ((stretch(extreme, how) >= 0) & (stretch(extreme, how) <= 1)).all()


def test_zscale_is_astropy_s():
    image = sky()
    low, high = ZScaleInterval().get_limits(image)
    low = max(low, image.min())
    np.testing.assert_allclose(stretch(image, "zscale"), np.clip((image - low) / (high - low), 0, 1), atol=1e-12)


def test_asinh_and_log_raise_faint_emission_above_minmax():
    image = sky()
    image[5, 5] = 1e-3  # ten sigma, a twentieth of the peak
    linear, asinh, log = (stretch(image, how)[5, 5] for how in ("minmax", "asinh", "log"))
    assert linear < 0.1
    assert asinh > 3 * linear
    assert log > 3 * linear


def test_stretch_does_not_write_into_its_input():
    image = sky()
    image[0, 0] = np.inf
    image.flags.writeable = False
    stretch(image)


def test_unknown_stretch_is_refused():
    with pytest.raises(RadiosslError, match="--stretch sqrt: expected one of zscale, asinh, log, minmax"):
        stretch(sky(), "sqrt")


# Colours --------------------------------------------------------------------------------------------------------------


def test_two_dimensional_images_go_through_the_colour_map_and_blanks_are_grey():
    rgb = as_rgb(np.array([[0.0, 1.0, np.nan]]), how="minmax")
    np.testing.assert_array_equal(rgb[0], [DARK, BRIGHT, BLANK_COLOUR])


def test_blank_colour_is_not_in_the_colour_map():
    ramp = as_rgb(np.linspace(0, 1, 256)[None], how="minmax")[0].astype(int)
    assert np.abs(ramp - BLANK_COLOUR).sum(axis=1).min() > 60


def test_three_channels_are_red_green_and_blue_or_strips():
    tensor = np.zeros((3, 2, 50), np.float32)
    tensor[0, 0, 0], tensor[2, 1, 0], tensor[1, 1, 1] = 1.0, 0.5, np.nan
    rgb = as_rgb(tensor)
    np.testing.assert_array_equal(rgb[0, 0], [255, 0, 0])
    np.testing.assert_array_equal(rgb[1, 0], [0, 0, 128])
    np.testing.assert_array_equal(rgb[1, 1], BLANK_COLOUR)
    strips = as_rgb(tensor, strips=True)
    assert strips.shape == (2, 152, 3)
    np.testing.assert_array_equal(strips[0, 0], BRIGHT)
    np.testing.assert_array_equal(strips[0, 50], [255, 255, 255])
    np.testing.assert_array_equal(strips[1, 52], BLANK_COLOUR)
    np.testing.assert_array_equal(strips[0, 51], DARK)


def test_torch_tensors_and_single_channels():
    torch = pytest.importorskip("torch")
    image = torch.arange(6.0).reshape(1, 2, 3)
    np.testing.assert_array_equal(as_rgb(image, how="minmax"), as_rgb(image[0].numpy(), how="minmax"))


def test_other_shapes_are_refused():
    with pytest.raises(RadiosslError, match=r"shape \(4, 2, 2\) cannot be drawn"):
        as_rgb(np.zeros((4, 2, 2)))


# Sheets ---------------------------------------------------------------------------------------------------------------


def test_first_row_of_pixels_is_at_the_bottom(tmp_path):
    image = np.zeros((10, 10))
    image[0, :3] = 1.0  # low declination, left
    image_grid([image], out=tmp_path / "a.png", how="minmax")
    row, column = centre_of(tmp_path / "a.png", BRIGHT)
    assert row > 0.8
    assert column < 0.4


def test_images_stand_in_reading_order(tmp_path):
    bright, dark = np.array([[0.0, 1.0]]), np.array([[0.0, 0.0]])
    image_grid([dark, bright, dark, dark], columns=2, out=tmp_path / "a.png", how="minmax")
    row, column = centre_of(tmp_path / "a.png", BRIGHT)
    assert row < 0.5 < column


def test_grid_of_many_kinds_with_hostile_captions(tmp_path):
    images = [sky(), np.full((3, 3), np.nan), np.zeros((1, 9)), np.random.default_rng(0).random((3, 8, 8))]
    captions = ["$\\frac{", "<b>\n" * 9, "x" * 500, "α ✓ 中"]
    image_grid(images, captions, out=tmp_path / "a.png", title="$\\notamacro" * 20)
    assert colour_fraction(tmp_path / "a.png", BLANK_COLOUR) > 0.1
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_captions_are_drawn(tmp_path):
    image_grid([np.zeros((5, 5))], out=tmp_path / "without.png")
    image_grid([np.zeros((5, 5))], ["J1234"], out=tmp_path / "with.png")
    without, with_caption = (Image.open(tmp_path / f"{name}.png") for name in ("without", "with"))
    assert with_caption.height > without.height
    below = np.asarray(with_caption)[without.height - 5 :]
    assert (below[..., 3] == 255).any()  # letters, on clear paper
    letters, pages = below[below[..., 3] == 255][:, :3].mean(), (255.0, 23.0)
    assert all(abs(letters - page) > 90 for page in pages), "to be read on a light page and on a dark one"


def test_column_count(tmp_path):
    image_grid([sky()] * 6, columns=6, out=tmp_path / "wide.png")
    image_grid([sky()] * 6, columns=1, out=tmp_path / "high.png")
    wide, high = Image.open(tmp_path / "wide.png"), Image.open(tmp_path / "high.png")
    assert wide.width > 5 * wide.height
    assert high.height > 5 * high.width


def test_large_sheet_is_made_of_one_axes(tmp_path, monkeypatch):
    sheets = []
    monkeypatch.setattr(images_module._Sheet, "save", lambda self, out: sheets.append(self))
    image_grid([np.zeros((2, 2))] * 100, out=tmp_path / "a.png")
    assert len(sheets[0].figure.axes) == 1
    assert len(sheets[0].axes.images) == 100


@pytest.mark.parametrize(
    ("images", "captions", "message"), [([], None, "no image"), ([np.zeros((2, 2))], ["a", "b"], "2 captions for 1")]
)
def test_grid_refusals(tmp_path, images, captions, message):
    with pytest.raises(RadiosslError, match=message):
        image_grid(images, captions, out=tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_no_pyplot_state(tmp_path):
    from matplotlib import _pylab_helpers

    image_grid([sky()], out=tmp_path / "a.png")
    assert not _pylab_helpers.Gcf.figs


# Queries, scales and beams --------------------------------------------------------------------------------------------


def sheet_of(monkeypatch, pictures, **options):
    """The sheet that a grid draws, unsaved."""
    sheets = []
    monkeypatch.setattr(images_module._Sheet, "save", lambda self, out: sheets.append(self))
    image_grid(pictures, out="unused.png", **options)
    return sheets[0]


def test_only_the_query_is_framed(tmp_path):
    frame = tuple(int(QUERY_COLOUR[start : start + 2], 16) for start in (1, 3, 5))
    query, found = Picture(np.zeros((4, 4)), "one", framed=True), Picture(np.zeros((5, 5)), "n")
    image_grid([query, *[found] * 3, query], out=tmp_path / "a.png", title="found")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    columns = np.nonzero((np.abs(pixels - frame) < 10).all(axis=-1))[1]
    assert columns.size > 1000
    assert columns.max() < 0.35 * pixels.shape[1]


def test_a_query_begins_a_row_and_all_examples_of_one_stand_beside_each_other(monkeypatch):
    query, found = Picture(sky(), framed=True), Picture(sky())
    sheet = sheet_of(monkeypatch, [query, query, found, query, found], columns=4)
    tops = [round(image.get_extent()[3], 3) for image in sheet.axes.images]
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4]


def test_the_default_stretch_is_asinh(monkeypatch):
    sheet = sheet_of(monkeypatch, [Picture(sky())])
    np.testing.assert_array_equal(sheet.axes.images[0].get_array(), as_rgb(sky(), how="asinh"))
    np.testing.assert_array_equal(stretch(sky()), stretch(sky(), "asinh"))


@pytest.mark.parametrize(
    ("pixel_arcsec", "width", "length", "text"),
    [
        (1.0, 100, 20, "20″"),
        (2.0, 150, 30, "1′"),
        (0.5, 1000, 240, "2′"),
        (0.01, 50, 10, "0.1″"),
        (60.0, 300, 60, "1°"),
    ],
)
def test_scale_bars_are_round_angles_of_at_most_a_third(pixel_arcsec, width, length, text):
    assert Picture(sky(), pixel_arcsec=pixel_arcsec).scale_bar(width) == (pytest.approx(length), text)


def test_without_a_pixel_scale_there_is_no_bar():
    assert Picture(sky()).scale_bar(100) is None
    assert Picture(sky(), beam=Beam(6.0, 5.0)).scale_text == "beam 6″ × 5″"
    assert Picture(sky()).scale_text == ""


def test_pictures_know_what_the_store_knows(store_of):
    (picture,) = cutout_pictures(store_of([sky(shape=(20, 30))]), ["c"], field_px=10)
    assert picture.image.shape == (10, 10)
    assert (picture.caption, picture.pixel_arcsec) == ("c", 1.8)


def test_the_beam_is_drawn_at_its_size_and_angle(monkeypatch):
    pixels = np.zeros((100, 100))
    sheet = sheet_of(monkeypatch, [Picture(pixels, pixel_arcsec=1.0, beam=Beam(20.0, 10.0, 30.0))], cell_inches=2.0)
    (ellipse,) = [patch for patch in sheet.axes.patches if hasattr(patch, "angle")]
    assert (ellipse.height, ellipse.width) == (pytest.approx(0.4), pytest.approx(0.2))
    assert ellipse.angle == -30  # y grows downwards: the upper end is to the left, which is east
    (line,) = sheet.axes.lines
    assert np.ptp(line.get_xdata()) == pytest.approx(20 / 100 * 2.0)
    assert "20″" in [text.get_text() for text in sheet.axes.texts]
