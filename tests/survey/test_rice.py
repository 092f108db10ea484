"""Tiles of RICE_1: the same numbers as astropy's decoder gives, to the bit."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from radiossl import RadiosslError
from radiossl.survey import fits_image
from radiossl.survey.fits_image import find_image
from radiossl.survey.mosaic import Mosaic
from radiossl.survey.rice import RiceTiles

SHAPE = (61, 330)


def noise(shape=SHAPE):
    pixels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    pixels[20:30, 50:150] *= 1e4
    return pixels


def with_gaps():
    pixels = noise()
    pixels[5:9, 100:200] = np.nan
    pixels[40, ::7] = 0
    return pixels


def compressed(path, pixels, **how):
    head = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 10.0, "CRVAL2": 20.0})
    head.update(CRPIX1=1.0, CRPIX2=1.0, CDELT1=-1e-3, CDELT2=1e-3)
    fits.CompImageHDU(pixels, head, **{"compression_type": "RICE_1", **how}).writeto(path)
    return Path(path)


def tiles_of(path):
    return RiceTiles.of(path, find_image(path))


@pytest.mark.parametrize("where", [(0, 61, 0, 330), (11, 45, 37, 329)])
@pytest.mark.parametrize("tile", [None, (61, 330), (16, 50), (7, 100)])
@pytest.mark.parametrize("dither", [-1, 1, 2])
@pytest.mark.parametrize("level", [0.05, 16.0, -1e-4], ids=["runs of zeros", "as usual", "blocks stored as they are"])
def test_tiles_are_decoded_to_the_bit(tmp_path, level, dither, tile, where):
    how = {"quantize_level": level, "quantize_method": dither, "dither_seed": 9998, "tile_shape": tile}
    path = compressed(tmp_path / "m.fits", with_gaps(), **how)
    y0, y1, x0, x1 = where
    with fits.open(path) as hdus:
        wanted = hdus[1].section[y0:y1, x0:x1]
    np.testing.assert_array_equal(tiles_of(path).read(*where), wanted)


def test_random_numbers_go_on_from_one_row_to_the_next(tmp_path):
    path = compressed(tmp_path / "m.fits", noise((3, 40_000)), dither_seed=10_000)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(tiles_of(path).read(0, 3, 0, 40_000), hdus[1].data)


@pytest.mark.parametrize(
    ("pixels", "how"),
    [
        (noise(), {"compression_type": "GZIP_2"}),
        (noise().astype(np.float64), {}),
        (noise().astype(np.int16), {}),
    ],
    ids=["another algorithm", "double precision", "whole numbers"],
)
def test_other_kinds_are_left_to_astropy(tmp_path, pixels, how):
    assert tiles_of(compressed(tmp_path / "m.fits", pixels, **how)) is None


def test_mosaics_with_a_tile_of_another_kind_are_read_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(fits_image, "_LARGE", 0)
    pixels = noise()
    pixels[10] = 0.25  # not quantised but stored by gzip
    path = compressed(tmp_path / "m.fits", pixels)
    assert tiles_of(path).read(10, 11, 0, 330) is None
    with fits.open(path) as hdus, Mosaic.open(path) as mosaic:
        np.testing.assert_array_equal(mosaic.read(0, 0, 330, 61), hdus[1].data)


def test_a_tile_that_ends_too_early_is_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(fits_image, "_LARGE", 0)
    path = compressed(tmp_path / "m.fits", noise())
    offset, stride = (image := find_image(path)).offset, image.header["NAXIS1"]
    content = bytearray(path.read_bytes())
    content[offset + 3 * stride : offset + 3 * stride + 4] = (40).to_bytes(4, "big")  # the length of the fourth tile
    path.write_bytes(content)
    assert tiles_of(path).read(3, 4, 0, 330) is None
    with Mosaic.open(path) as mosaic, pytest.raises(RadiosslError, match="damaged or cut short"):
        mosaic.read(0, 0, 330, 61)
