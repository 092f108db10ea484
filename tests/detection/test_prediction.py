"""A mosaic is searched tile by tile, as a whole, once, and on after an interruption."""

import numpy as np
import pytest
from astropy.io import fits

from radiossl.detection import prediction
from radiossl.detection.objects import as_plain
from radiossl.detection.prediction import detect_mosaic
from radiossl.io.errors import RadiosslError
from radiossl.survey.mosaic import Mosaic

from .conftest import blobs


@pytest.fixture
def mosaic(tmp_path):
    pixels = np.block([[blobs(2 * row + column)[0] for column in range(2)] for row in range(3)])
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 150.0, "CRVAL2": -30.0})
    header.update({"CRPIX1": 51.0, "CRPIX2": 41.0, "CDELT1": -5e-4, "CDELT2": 5e-4})
    fits.PrimaryHDU(pixels, header).writeto(tmp_path / "m.fits")
    return Mosaic.open(tmp_path / "m.fits")


def plain(found):
    return [as_plain(item) for item in found]


@pytest.mark.slow
def test_an_interrupted_search_goes_on_and_ends_the_same(detector, mosaic, tmp_path, monkeypatch):
    straight = detect_mosaic(detector, mosaic, score=0.2, kept=tmp_path / "straight")
    assert len(straight) > 3
    looked_at = []
    search = prediction._in_tiles

    def interrupted_in_the_second_row(*arguments):
        looked_at.append(arguments[2][0].y0)
        if len(looked_at) == 2:
            raise KeyboardInterrupt
        return search(*arguments)

    monkeypatch.setattr(prediction, "_in_tiles", interrupted_in_the_second_row)
    with pytest.raises(KeyboardInterrupt):
        detect_mosaic(detector, mosaic, score=0.2, kept=tmp_path / "kept")
    found = detect_mosaic(detector, mosaic, score=0.2, kept=tmp_path / "kept")
    assert looked_at.count(0) == 1  # the first row was not searched again
    assert plain(found) == plain(straight)


def test_objects_lie_inside_the_mosaic_and_small_ones_are_padded(detector, mosaic, tmp_path):
    for window in (64, 80, 300):
        for item in detect_mosaic(detector, mosaic, window=window, score=0.2, kept=tmp_path):
            x0, y0, width, height = item.extent
            assert x0 >= 0
            assert y0 >= 0
            assert x0 + width <= mosaic.shape[1]
            assert y0 + height <= mosaic.shape[0]


def test_a_tile_is_seen_as_an_image_of_its_own(detector, mosaic):
    """What one tile gives is what the network says of those pixels, moved to their place."""
    from radiossl.detection.prediction import detect_prepared
    from radiossl.survey.mosaic import Box

    box = Box(45, 100, 64, 64)
    pixels = mosaic.read(*box)
    seen = detect_prepared(detector, detector.config.field.prepare(pixels[None])[None], [(64, 64)])[0]
    tiled = prediction._in_tiles(detector, mosaic, [box], 0.05)
    assert [(i.x0, i.y0, i.label) for i in tiled] == [(i.x0 + 45, i.y0 + 100, i.label) for i in seen]
    assert any(item.cut for item in tiled)


def test_blank_tiles_are_passed_over(detector, mosaic, tmp_path, monkeypatch):
    pixels = mosaic.read(0, 0, 128, 192)
    pixels[:, :] = np.nan
    fits.PrimaryHDU(pixels, fits.getheader(mosaic.path)).writeto(tmp_path / "blank.fits")
    monkeypatch.setattr(prediction, "detect_prepared", None)  # would fail if it were called
    assert detect_mosaic(detector, Mosaic.open(tmp_path / "blank.fits"), kept=tmp_path / "kept") == []


@pytest.mark.parametrize("options", [{"window": 8}, {"overlap": 1.0}, {"score": 0.0}, {"score": 1.0}])
def test_options_out_of_range_are_refused(detector, mosaic, tmp_path, options):
    with pytest.raises(RadiosslError, match=f"--{next(iter(options))}"):
        detect_mosaic(detector, mosaic, kept=tmp_path, **options)
