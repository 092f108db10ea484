"""Zeros and other numbers that mean "no data" are told from zeros that were measured or made on purpose."""

import numpy as np
import pytest

from radiossl.survey.blind import cut_blind
from radiossl.survey.image_file import read_image
from radiossl.survey.mosaic import Mosaic
from tests.survey.test_placement import head, image, write


def test_windows_of_padding_are_left_out(tmp_path):
    pixels = image()
    pixels[:, :150] = 0
    result = cut_blind([write(tmp_path / "m.fits", pixels, head())], tmp_path / "s", size=75, overlap=0)
    assert sorted(set(result.store.column("x"))) == [187.0, 262.0]
    assert result.not_cut == {"blank": 8}


@pytest.mark.parametrize("thickness", [1, 2, 5])
def test_a_strip_of_zeros_along_the_edge_is_blank(tmp_path, thickness):
    pixels = image()
    pixels[:thickness] = 0
    pixels[:, -thickness:] = 0
    with Mosaic.open(write(tmp_path / "m.fits", pixels, head())) as mosaic:
        found = mosaic.read(0, 0, 300, 300)
    np.testing.assert_array_equal(np.isnan(found), pixels == 0)


def test_a_round_hole_of_zeros_is_blank_and_single_zeros_are_not(tmp_path):
    pixels = image()
    y, x = np.indices(pixels.shape)
    hole = np.hypot(x - 150, y - 140) < 20
    pixels[hole] = 0
    pixels[10, 10] = pixels[20, 30] = pixels[20, 31] = 0
    with Mosaic.open(write(tmp_path / "m.fits", pixels, head())) as mosaic:
        found = mosaic.read(0, 0, 300, 300)
    np.testing.assert_array_equal(np.isnan(found), hole)


@pytest.mark.parametrize("how", ["clipped at 3 sigma", "clipped at 0", "whole numbers", "nothing but zeros"])
def test_zeros_that_were_made_on_purpose_stay(tmp_path, how):
    pixels = image((300, 300), (150, 150))
    pixels = {
        "clipped at 3 sigma": np.where(pixels > 3e-4, pixels, 0).astype("f4"),
        "clipped at 0": np.clip(pixels, 0, None),
        "whole numbers": np.round(np.clip(pixels * 1e3, -5, None)).astype("i2"),
        "nothing but zeros": np.zeros_like(pixels),
    }[how]
    with Mosaic.open(write(tmp_path / "m.fits", pixels, head())) as mosaic:
        np.testing.assert_array_equal(mosaic.read(0, 0, 300, 300), pixels)


def test_the_zeros_of_noise_stored_in_steps_stay_but_not_its_padding(tmp_path):
    pixels = image((300, 300), (150, 150))
    pixels = (np.round(pixels / 1e-4) * 1e-4).astype("f4")  # in steps of one sigma: 4 of 10 pixels are 0
    pixels[:, :100] = 0
    with Mosaic.open(write(tmp_path / "m.fits", pixels, head())) as mosaic:
        found = mosaic.read(0, 0, 300, 300)
    assert np.isnan(found[:, :100]).all()
    assert np.isnan(found[:, 100:]).mean() < 0.03  # what touches the padding
    assert (pixels[:, 100:] == 0).mean() > 0.3


@pytest.mark.parametrize(
    ("marker", "unit"),
    [*((m, 1) for m in (-99, -9999, -1e30, 1e20, -np.inf)), *((m, 1e6) for m in (-9999, -32768, -3.4028235e38))],
)
def test_numbers_that_no_brightness_has_are_blank(tmp_path, caplog, marker, unit):
    pixels = image((300, 300), (150, 150)) * np.float32(unit)  # Jy and uJy: of a noise of 1e-4 and 100
    pixels[:100, :150] = marker
    pixels[:20, 150:] = 0
    with Mosaic.open(write(tmp_path / "m.fits", pixels, head())) as mosaic:
        found = mosaic.read(0, 0, 300, 300)
    blank = (pixels == np.float32(marker)) | (pixels == 0)
    np.testing.assert_array_equal(np.isnan(found), blank)
    np.testing.assert_array_equal(found[~blank], pixels[~blank])
    guessed = abs(marker) < 1e18
    said = f"{tmp_path / 'm.fits'}: pixels of {marker:g} are taken as not observed, as in all images of this folder"
    assert caplog.messages == [said] * guessed
    np.testing.assert_array_equal(np.isnan(read_image(tmp_path / "m.fits")), blank)
    for number in range(3):
        read_image(write(tmp_path / f"{number}.fits", pixels, head()))
    assert len(caplog.messages) == guessed  # one line for all images of a folder


def test_only_mosaics_with_such_low_numbers_are_looked_through_for_them(tmp_path, monkeypatch):
    pixels = image((300, 300), (150, 150))
    pixels[:100, :150] = 0
    with Mosaic.open(write(tmp_path / "m.fits", pixels, head())) as mosaic:
        monkeypatch.setattr(Mosaic, "_marker", property(lambda _: pytest.fail("looked for")))
        assert np.isnan(mosaic.read(0, 0, 300, 300)).sum() == 100 * 150


@pytest.mark.parametrize("how", ["clipped from below", "one deep pixel", "counts"])
def test_low_numbers_that_were_measured_stay(tmp_path, how):
    pixels = image((300, 300), (150, 150)) * np.float32(1e6)
    pixels = {
        "clipped from below": np.maximum(pixels, -150),
        "one deep pixel": np.where(np.arange(300)[:, None] == np.arange(300), pixels, 0)
        - 9999 * (pixels == pixels.max()),
        "counts": np.round(pixels),
    }[how].astype("f4")
    with Mosaic.open(write(tmp_path / "m.fits", pixels, head())) as mosaic:
        assert np.nanmin(mosaic.read(0, 0, 300, 300)) == pixels.min()
