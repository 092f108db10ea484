"""Fluxes, positions and flags of sources that were put there."""

import numpy as np
import pytest
from astropy.io import fits

from radiossl.detection.objects import Detection
from radiossl.detection.report import beam_area_px, label_image, measure
from radiossl.survey.mosaic import Mosaic

BEAM_PX, SCALE = 5.0, 2.0


def mosaic_of(tmp_path, pixels, unit="Jy/beam", beam=True):
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 150.0, "CRVAL2": -30.0})
    header.update({"CRPIX1": 51.0, "CRPIX2": 41.0, "CDELT1": -SCALE / 3600, "CDELT2": SCALE / 3600, "BUNIT": unit})
    if beam:
        header.update({"BMAJ": BEAM_PX * SCALE / 3600, "BMIN": BEAM_PX * SCALE / 3600, "BPA": 0.0})
    fits.PrimaryHDU(pixels.astype(np.float32), header).writeto(tmp_path / "m.fits", overwrite=True)
    return Mosaic.open(tmp_path / "m.fits")


def point_sources(positions, fluxes, shape=(80, 100), rms=1e-4, background=3e-4):
    y, x = np.indices(shape)
    sigma = BEAM_PX / np.sqrt(8 * np.log(2))
    image = np.random.default_rng(0).normal(background, rms, shape)
    for (x0, y0), flux in zip(positions, fluxes, strict=True):
        image += flux * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))
    return image


def disc(x0, y0, radius=9, **more):
    y, x = np.indices((2 * radius + 1, 2 * radius + 1)) - radius
    box = (x0 - radius, y0 - radius, x0 + radius + 1, y0 + radius + 1)
    return Detection({"R": 0.9}, box, x0 - radius, y0 - radius, np.hypot(x, y) <= radius, **more)


def test_the_flux_of_point_sources_is_their_peak(tmp_path):
    fluxes = [0.02, 0.05]
    mosaic = mosaic_of(tmp_path, point_sources([(30.4, 40.2), (70, 30)], fluxes))
    found = [disc(30, 40), disc(70, 30)]
    table = measure(found, mosaic, label_image(found, mosaic.shape))
    np.testing.assert_allclose(table["flux_jy"], fluxes, atol=3 * table["flux_error_jy"].max())
    np.testing.assert_allclose(table["flux_error_jy"], 1e-4 * np.sqrt(253 / beam_area_px(mosaic)), rtol=0.15)
    np.testing.assert_allclose(table["x"], [30.4, 70], atol=0.1)
    np.testing.assert_allclose(table["y"], [40.2, 30], atol=0.1)
    np.testing.assert_allclose(table["background"], 3e-4, atol=3e-5)
    np.testing.assert_allclose(table["snr"], (table["peak"] - 3e-4) / 1e-4, rtol=0.15)
    ra, dec = mosaic.pixel_to_sky(30.4, 40.2)
    assert table["ra_deg"][0] == pytest.approx(float(ra), abs=1e-4)
    assert table["dec_deg"][0] == pytest.approx(float(dec), abs=1e-4)
    assert table["extent_arcsec"][0] == pytest.approx(19 * SCALE, rel=0.05)
    assert table.loc[0, ["area_px", "islands", "x_min", "x_max"]].tolist() == [253, 1, 21, 39]
    assert not table[["at_edge", "near_blank", "cut", "merged"]].to_numpy().any()


@pytest.mark.parametrize(("unit", "factor"), [("mJy/beam", 1e-3), ("JY/BEAM", 1.0), ("uJy/beam", 1e-6)])
def test_units_are_turned_into_jansky(tmp_path, unit, factor):
    mosaic = mosaic_of(tmp_path, point_sources([(50, 40)], [0.05]), unit)
    table = measure([disc(50, 40)], mosaic, label_image([disc(50, 40)], mosaic.shape))
    assert table["flux_jy"][0] == pytest.approx(0.05 * factor, rel=0.03)


@pytest.mark.parametrize(("unit", "beam"), [("K", True), ("Jy/beam", False), ("", True)])
def test_without_beam_or_unit_there_is_no_flux(tmp_path, unit, beam):
    mosaic = mosaic_of(tmp_path, point_sources([(50, 40)], [0.05]), unit, beam)
    table = measure([disc(50, 40)], mosaic, label_image([disc(50, 40)], mosaic.shape))
    assert np.isnan(table["flux_jy"][0])
    assert table["peak"][0] == pytest.approx(0.05, rel=0.05)


def test_edges_and_blanks_are_flagged(tmp_path):
    pixels = point_sources([(50, 40)], [0.05])
    pixels[:, 60:65] = np.nan
    mosaic = mosaic_of(tmp_path, pixels)
    corner = Detection({"R": 0.9}, (0, 0, 4, 4), 0, 0, np.ones((4, 4), bool), merged=True)
    blank = Detection({"R": 0.9}, (61, 20, 63, 22), 61, 20, np.ones((2, 2), bool))
    found = [disc(50, 40), corner, blank]
    table = measure(found, mosaic, label_image(found, mosaic.shape))
    assert table["at_edge"].tolist() == [False, True, False]
    assert table["near_blank"].tolist() == [True, False, True]
    assert table["merged"].tolist() == [False, True, False]
    assert np.isfinite(table["ra_deg"]).all()
    assert np.isnan(table["peak"][2])


def test_the_label_image_gives_shared_pixels_to_the_first():
    labels = label_image([disc(20, 20), disc(25, 20)], (40, 60))
    assert labels[20, 22] == 1
    assert labels[20, 32] == 2
    assert labels[0, 0] == 0


def test_no_object_is_an_empty_table(tmp_path):
    mosaic = mosaic_of(tmp_path, point_sources([], []))
    table = measure([], mosaic, label_image([], mosaic.shape))
    assert len(table) == 0
    assert {"ra_deg", "flux_jy", "near_blank"} <= set(table.columns)
