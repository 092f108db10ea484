"""Source finding: what stands out is found once, at its place, in tiles or not, next to blank borders or not."""

import numpy as np
import pytest
from astropy.io import fits

from radiossl import RadiosslError
from radiossl.survey import islands as detection
from radiossl.survey.cutting import Mosaics
from radiossl.survey.islands import detect_sources, find_islands
from radiossl.survey.mosaic import Mosaic

RMS = 1e-4
SCALE = 2.0


def write_mosaic(path, pixels, ra=150.0):
    head = fits.Header()
    head["CTYPE1"], head["CTYPE2"], head["RADESYS"] = "RA---SIN", "DEC--SIN", "ICRS"
    head["CRVAL1"], head["CRVAL2"] = ra, 2.0
    head["CRPIX1"], head["CRPIX2"] = (pixels.shape[1] + 1) / 2, (pixels.shape[0] + 1) / 2
    head["CDELT1"], head["CDELT2"] = -SCALE / 3600, SCALE / 3600
    fits.PrimaryHDU(pixels.astype(np.float32), head).writeto(path)
    return path


def field(shape, positions, peak=50 * RMS, width=1.5, seed=0):
    """Noise with a round source at every (x, y)."""
    image = np.random.default_rng(seed).normal(0, RMS, shape)
    y, x = np.indices(shape)
    for x0, y0 in positions:
        image += peak * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * width**2))
    return image


def grid(shape, step=41, margin=20):
    return [(x, y) for y in range(margin, shape[0] - margin, step) for x in range(margin, shape[1] - margin, step)]


def pixel_positions(path, found):
    with Mosaic.open(path) as mosaic:
        return np.stack(mosaic.sky_to_pixel(found.ra_deg, found.dec_deg), axis=1)


def test_sources_are_found_where_they_are(tmp_path):
    positions = [(40.3, 60.7), (150.0, 30.2), (120.5, 160.4)]
    path = write_mosaic(tmp_path / "m.fits", field((200, 220), positions))
    with Mosaic.open(path) as mosaic:
        found = detect_sources(mosaic)
    assert len(found) == 3
    places = pixel_positions(path, found)
    for position in positions:
        assert np.hypot(*(places - position).T).min() < 0.3
    # Above 5 sigma a Gaussian of 50 sigma and width 1.5 reaches 1.5 sqrt(2 ln 10) = 3.2 pixels to either side.
    np.testing.assert_allclose(found.extent_arcsec, 7 * SCALE, atol=1.5 * SCALE)
    np.testing.assert_allclose(found.area_px, np.pi * 3.2**2, rtol=0.25)
    np.testing.assert_allclose(found.snr, 50, rtol=0.15)
    np.testing.assert_allclose(found.peak, 50 * RMS, rtol=0.1)


def test_an_elongated_source_has_its_length_as_extent(tmp_path):
    image = field((200, 200), [])
    steps = np.linspace(0, 60, 400)
    x, y = (100 + steps * np.cos(0.6)).round().astype(int), (80 + steps * np.sin(0.6)).round().astype(int)
    for offset in (-1, 0, 1):
        image[y + offset, x] = 30 * RMS
    with Mosaic.open(write_mosaic(tmp_path / "m.fits", image)) as mosaic:
        found = detect_sources(mosaic)
    assert len(found) == 1
    assert found.extent_arcsec[0] == pytest.approx(61 * SCALE, abs=3 * SCALE)


def test_tiles_find_each_source_once_and_the_same(tmp_path, monkeypatch):
    shape = (330, 410)
    positions = grid(shape)
    path = write_mosaic(tmp_path / "m.fits", field(shape, positions))
    with Mosaic.open(path) as mosaic:
        whole = detect_sources(mosaic)
        monkeypatch.setattr(detection, "_TILE", 64)
        monkeypatch.setattr(detection, "_MARGIN", 64)
        tiled = detect_sources(mosaic)
    assert len(whole) == len(tiled) == len(positions)
    order, tiled_order = np.argsort(whole.peak), np.argsort(tiled.peak)
    places = pixel_positions(path, whole)[order], pixel_positions(path, tiled)[tiled_order]
    assert np.abs(places[0] - places[1]).max() < 0.2


def test_a_source_on_the_border_of_tiles_is_not_halved(tmp_path, monkeypatch):
    monkeypatch.setattr(detection, "_TILE", 64)
    monkeypatch.setattr(detection, "_MARGIN", 64)
    path = write_mosaic(tmp_path / "m.fits", field((200, 200), [(63.5, 63.5), (128, 100)]))
    with Mosaic.open(path) as mosaic:
        assert len(detect_sources(mosaic)) == 2


def test_blank_borders_make_no_sources_and_hide_none(tmp_path):
    y, x = np.indices((300, 300))
    positions = [(150, 150), (150, 40), (60, 130)]
    image = field((300, 300), positions)
    image[np.hypot(x - 150, y - 150) > 135] = np.nan
    path = write_mosaic(tmp_path / "m.fits", image)
    with Mosaic.open(path) as mosaic:
        found = detect_sources(mosaic)
    assert len(found) == 3
    assert np.isfinite(found.snr).all()


def test_the_local_noise_decides(tmp_path):
    image = field((400, 400), [])
    image[:, 200:] *= 10
    for x in (60, 340):
        image[195:204, x - 4 : x + 5] += 12 * RMS
    path = write_mosaic(tmp_path / "m.fits", image)
    with Mosaic.open(path) as mosaic:
        found = detect_sources(mosaic)
    assert pixel_positions(path, found).round(-1).tolist() == [[60, 200]]


def test_the_threshold_is_in_sigma(tmp_path):
    path = write_mosaic(tmp_path / "m.fits", field((200, 200), [(50, 50)], peak=20 * RMS, width=3))
    with Mosaic.open(path) as mosaic:
        assert [len(detect_sources(mosaic, threshold)) for threshold in (5, 15, 30)] == [1, 1, 0]
        with pytest.raises(RadiosslError, match="--threshold 0"):
            detect_sources(mosaic, 0)


def test_a_field_without_noise_gives_no_error(tmp_path):
    with Mosaic.open(write_mosaic(tmp_path / "m.fits", np.zeros((100, 100)))) as mosaic:
        assert len(detect_sources(mosaic)) == 0


def test_a_source_on_two_mosaics_counts_once(tmp_path):
    shift = 100  # pixels by which the second mosaic lies to the west
    positions = [(50, 100), (150, 100), (160, 40)]
    write_mosaic(tmp_path / "a.fits", field((200, 200), positions, seed=1))
    shifted = [(x - shift, y) for x, y in positions]
    write_mosaic(tmp_path / "b.fits", field((200, 200), shifted, seed=2), ra=150.0 - shift * SCALE / 3600)
    assert len(find_islands(Mosaics.find([tmp_path / "b.fits"])).catalogue) == 2
    found = find_islands(Mosaics.find([tmp_path])).catalogue
    assert len(found) == 3
    places = pixel_positions(tmp_path / "a.fits", found)
    assert sorted(places.round(-1).tolist()) == [[50, 100], [150, 100], [160, 40]]
    assert found.columns.column_names == ["extent_arcsec", "snr", "peak", "area_px"]
    assert all(name.startswith(("J09", "J10")) for name in found.ids)


def test_a_mosaic_with_nothing_in_it_is_told_from_a_blank_one(tmp_path):
    write_mosaic(tmp_path / "noise.fits", field((100, 100), []))
    write_mosaic(tmp_path / "void.fits", np.full((100, 100), np.nan))
    with pytest.raises(RadiosslError, match="no source above 6 sigma; lower the threshold"):
        find_islands(Mosaics.find([tmp_path / "noise.fits"]), threshold=6)
    with pytest.raises(RadiosslError, match=r"void\.fits: every pixel of the mosaic is blank"):
        find_islands(Mosaics.find([tmp_path / "void.fits"]))


def test_real_sources_of_scorpio_and_first_are_found(real_data):
    scorpio = find_islands(Mosaics.find([real_data / "scorpio"])).catalogue
    assert 40 < len(scorpio) < 100
    tile = next(iter(sorted((real_data / "first" / "raw_headers").glob("*.fits"))))
    found = find_islands(Mosaics.find([tile])).catalogue
    with Mosaic.open(tile) as mosaic:
        x, y = mosaic.sky_to_pixel(found.ra_deg, found.dec_deg)
    assert np.hypot(x - 149.5, y - 149.5).min() < 25  # the MiraBest source, 81 arcsec large
