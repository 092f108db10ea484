"""Which mosaic shows a source, and where: coverage, oblong pixels, seams, mosaics that disagree."""

import csv

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from radiossl import RadiosslError
from radiossl.store.boxes import shows_position
from radiossl.survey.blind import cut_blind
from radiossl.survey.catalogue import Catalogue
from radiossl.survey.islands import detect_sources
from radiossl.survey.mosaic import Mosaic
from radiossl.survey.sources import cut_sources

ARCSEC = 1 / 3600


def head(shape=(300, 300), ctype="RA---SIN DEC--SIN", crval=(187.5, 12.5), cdelt=(-1.0, 1.0), **more):
    """A header with pixel sizes in arcsec; the reference position is the image's centre."""
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = ctype.split()
    header["CRVAL1"], header["CRVAL2"] = crval
    header["CRPIX1"], header["CRPIX2"] = (shape[1] + 1) / 2, (shape[0] + 1) / 2
    header["CDELT1"], header["CDELT2"] = (step * ARCSEC for step in cdelt)
    header["BUNIT"] = "Jy/beam"
    header.update(more)
    return header


def image(shape=(300, 300), *sources, seed=0, width=3.0, peak=0.05):
    """Noise with Gaussians at pixels x, y."""
    pixels = np.random.default_rng(seed).normal(0, 1e-4, shape)
    y, x = np.indices(shape)
    for at_x, at_y in sources:
        pixels += peak * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * width**2))
    return pixels.astype(np.float32)


def write(path, pixels, header):
    if path.name.endswith(".fz"):
        fits.CompImageHDU(pixels, header, compression_type="GZIP_2", quantize_level=0).writeto(path)
    else:
        fits.writeto(path, pixels, header)
    return path


def sky(header, *places):
    return np.array([(c.ra.deg, c.dec.deg) for c in (WCS(header).pixel_to_world(*place).icrs for place in places)])


def catalogue(positions, extent=None):
    ra, dec = np.array(positions, dtype=float).reshape(-1, 2).T
    ids = np.array([f"s{row}" for row in range(len(ra))], object)
    extent = None if extent is None else np.array(extent, dtype=float)
    return Catalogue("cat", ids, ra, dec, extent, pa.table({"name": ids.tolist()}))


def reasons(out):
    with (out / "not_cut.csv").open() as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


# The best covered box -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.fits.fz"])
@pytest.mark.parametrize(("fill", "first_seen"), [(0.0, 200), (np.nan, 137), (np.nan, 132), (0.0, 132)])
def test_the_mosaic_that_shows_the_most_of_a_box_wins(tmp_path, name, fill, first_seen):
    first, second = head(), head(CRPIX1=100.5)
    place = sky(first, (140, 150))
    pixels = image((300, 300), (140, 150))
    pixels[:, :first_seen] = fill
    paths = [
        write(tmp_path / name, pixels, first),
        write(tmp_path / "b.fits", image((300, 300), (90, 150), seed=1), second),
    ]
    result = cut_sources(paths, catalogue(place), tmp_path / "s", size=41)
    assert result.used == {"b.fits": 1}
    assert result.notes == ()
    assert result.store.column("blank_fraction")[0] == 0
    assert result.store.column("maximum")[0] == pytest.approx(0.05, rel=0.02)


def test_of_three_damaged_boxes_the_least_damaged_wins(tmp_path):
    header = head()
    for index, hole in enumerate((14, 6, 10)):
        pixels = image((300, 300), (150, 150), seed=index)
        pixels[150 : 150 + hole, 120:180] = (np.nan, 0, np.nan)[index]
        write(tmp_path / f"m{index}.fits", pixels, header)
    store = cut_sources([tmp_path], catalogue(sky(header, (150, 150))), tmp_path / "s", size=41).store
    assert store.column("mosaic").tolist() == ["m1.fits"]
    assert np.isnan(store.pixels(0)).sum() == 6 * 41


def test_distances_from_the_edge_are_compared_as_angles(tmp_path):
    fine, coarse = head((400, 400)), head((100, 100), cdelt=(-10.0, 10.0), CRPIX1=20.5)
    position = sky(fine, (120, 200))  # 120 arcsec from the edge there, about 20 x 10 here
    write(tmp_path / "a.fits", image((400, 400)), fine)
    write(tmp_path / "b.fits", image((100, 100)), coarse)
    result = cut_sources([tmp_path], catalogue(position), tmp_path / "s", size=11)
    assert result.used == {"b.fits": 1}


def test_a_box_beyond_the_edge_of_one_mosaic_is_cut_from_the_other(tmp_path):
    first, second = head(), head(CRPIX1=300.5)
    write(tmp_path / "a.fits", image((300, 300)), first)
    write(tmp_path / "b.fits", image((300, 300)), second)
    place = sky(first, (20, 150))  # in b at 170
    result = cut_sources([tmp_path], catalogue(place, extent=[60.0]), tmp_path / "s", box_factor=1.5)
    assert result.used == {"b.fits": 1}
    assert result.store.column("blank_fraction")[0] == 0


def test_blank_and_beyond_the_edge_are_told_apart(tmp_path):
    pixels = image()
    pixels[100:200, 100:200] = np.nan
    path = write(tmp_path / "m.fits", pixels, head())
    places = sky(head(), (150, 150), (1, 1), (250, 250))
    result = cut_sources([path], catalogue(places), tmp_path / "s", size=40)
    assert reasons(tmp_path / "s") == {"s0": "blank", "s1": "beyond the edge"}
    assert result.not_cut == {"blank": 1, "beyond the edge": 1}


# Oblong and turned pixels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cdelt", "shape"), [((-1.0, 4.0), (23, 90)), ((-4.0, 1.0), (90, 23)), ((-2.0, 2.0), (45, 45))]
)
def test_boxes_are_square_on_the_sky(tmp_path, cdelt, shape):
    path = write(tmp_path / "m.fits", image(), head(cdelt=cdelt))
    store = cut_sources([path], catalogue([(187.5, 12.5)], extent=[60.0]), tmp_path / "s").store
    assert store.shapes.tolist() == [list(shape)]
    assert store.column("pixel_width_arcsec")[0] == pytest.approx(-cdelt[0], rel=1e-6)
    assert store.column("pixel_height_arcsec")[0] == pytest.approx(cdelt[1], rel=1e-6)


def test_boxes_are_square_on_the_sky_far_from_the_equator_of_a_cylindrical_map(tmp_path):
    header = head((200, 400), "RA---CAR DEC--CAR", (180.0, 0.0), (-60.0, 60.0), CRPIX2=100.5 - 3600)
    path = write(tmp_path / "m.fits", image((200, 400)), header)
    place = sky(header, (200, 100))
    assert place[0, 1] == pytest.approx(60, abs=0.1)
    store = cut_sources([path], catalogue(place, extent=[600.0]), tmp_path / "s", min_size=8).store
    assert store.shapes.tolist() == [[15, 30]]
    shrunk = np.sqrt(np.cos(np.radians(place[0, 1])))
    assert store.column("pixel_scale_arcsec")[0] == pytest.approx(60 * shrunk, rel=1e-3)


@pytest.mark.parametrize(
    "more",
    [{}, {"CROTA2": 37.0}, {"ctype": "GLON-SIN GLAT-SIN"}, {"ctype": "DEC--SIN RA---SIN", "crval": (12.5, 187.5)}],
)
def test_footprints_follow_the_pixels(tmp_path, more):
    header = head((400, 400), cdelt=(-1.0, 4.0), **more)
    path = write(tmp_path / "m.fits", image((400, 400)), header)
    store = cut_sources([path], catalogue(sky(header, (200, 200))), tmp_path / "s", size=60).store
    x, y = np.random.default_rng(1).uniform(140, 260, (2, 300))
    places = sky(header, *zip(x, y, strict=True))
    width, height = store.column("pixel_width_arcsec")[0], store.column("pixel_height_arcsec")[0]
    # From pixel 170.5 to 230.5, and 10 arcsec beyond.
    expected = (np.abs(x - 200) * width <= 30 * width + 10) & (np.abs(y - 200) * height <= 30 * height + 10)
    near_border = np.abs(np.abs(x - 200) - 30 - 10 / width) < 0.6
    near_border |= np.abs(np.abs(y - 200) - 30 - 10 / height) < 0.6
    found = np.array([shows_position(store, [ra], [dec], 10.0)[0] for ra, dec in places])
    assert 20 < expected.sum() < 200
    np.testing.assert_array_equal(found[~near_border], expected[~near_border])


@pytest.mark.parametrize("cdelt", [(-1.0, 4.0), (-4.0, 1.0)])
def test_extents_of_detections_are_angles(tmp_path, cdelt):
    y, x = np.indices((300, 300))
    pixels = image() + 0.05 * (np.hypot((x - 150) * cdelt[0], (y - 150) * cdelt[1]) < 40).astype("f4")
    with Mosaic.open(write(tmp_path / "m.fits", pixels.astype("f4"), head(cdelt=cdelt))) as mosaic:
        found = detect_sources(mosaic)
    assert found.extent_arcsec.tolist() == pytest.approx([80], abs=5)


# Round the sky --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("projection", ["CAR", "CEA", "MER"])
@pytest.mark.parametrize("centre", [0.0, 180.0, 77.0])
def test_a_full_circle_of_longitude_has_no_seam(tmp_path, projection, centre):
    header = head((120, 720), f"GLON-{projection} GLAT-{projection}", (centre, 0.0), (-1800.0, 1800.0))
    header["CRPIX1"] = 720.5  # the reference is at the right edge
    pixels = np.random.default_rng(0).normal(size=(120, 720)).astype("f4")
    path = write(tmp_path / "m.fits", pixels, header)
    longitudes = np.arange(0.25, 360, 15)
    where = SkyCoord(longitudes, np.zeros(24), unit="deg", frame="galactic").icrs
    store = cut_sources([path], catalogue(np.stack([where.ra.deg, where.dec.deg], 1)), tmp_path / "s", size=9).store
    assert len(store) == 24
    assert (store.column("blank_fraction") == 0).all()
    for row in range(24):
        longitude = longitudes[int(store.column("cutout_id")[row][1:])]
        column = round(719.5 - (longitude - centre) * 2) % 720
        assert store.pixels(row)[4, 4] == pixels[round(store.column("y")[row]), column]
    blind = cut_blind([path], tmp_path / "b", size=36, overlap=0).store
    assert np.isfinite(blind.column("ra_deg")).all()
    assert np.isfinite(blind.column("pixel_width_arcsec")).all()


def test_positions_beside_a_map_that_does_not_go_round_stay_beside_it(tmp_path):
    header = head((100, 100), "RA---CAR DEC--CAR", (10.0, 0.0), (-60.0, 60.0))
    with Mosaic.open(write(tmp_path / "m.fits", image((100, 100)), header)) as mosaic:
        ra, dec = mosaic.pixel_to_sky([-3.0, 103.0], [50.0, 50.0])
        np.testing.assert_allclose(mosaic.sky_to_pixel(ra, dec)[0], [-3, 103], atol=1e-6)


def test_windows_that_are_not_on_the_sky_are_left_out(tmp_path):
    header = head((180, 360), "GLON-AIT GLAT-AIT", (0.0, 0.0), (-3600.0, 3600.0))
    store = cut_blind([write(tmp_path / "m.fits", image((180, 360)), header)], tmp_path / "s", size=20, overlap=0).store
    assert 50 < len(store) < 9 * 18
    assert np.isfinite(store.column("ra_deg")).all()


# Mosaics that disagree ------------------------------------------------------------------------------------------------


def two_fields(folder, same):
    """Two mosaics whose headers claim the same sky."""
    first = np.stack(np.meshgrid([60, 120, 180, 240], [80, 200]), axis=-1).reshape(-1, 2)
    second = first if same else first + np.array([25, 55])
    write(folder / "a.fits", image((300, 300), *first, seed=1), head())
    write(folder / "b.fits", image((300, 300), *second, seed=2), head())
    return first


@pytest.mark.parametrize("same", [True, False])
def test_mosaics_that_show_other_skies_at_one_place_are_reported(tmp_path, same):
    places = two_fields(tmp_path, same)
    result = cut_sources([tmp_path], catalogue(sky(head(), *places)), tmp_path / "s", size=41)
    assert len(result.notes) == (0 if same else 1)
    if not same:
        assert "a.fits and b.fits claim the same sky, but their pixels disagree" in result.notes[0]


def test_mosaics_of_other_beams_are_reported(tmp_path):
    places = two_fields(tmp_path, same=True)
    for name, beam_arcsec in (("a.fits", 6), ("b.fits", 12)):
        with fits.open(tmp_path / name, mode="update") as hdus:
            hdus[0].header.update(BMAJ=beam_arcsec / 3600, BMIN=beam_arcsec / 3600)
    result = cut_sources([tmp_path], catalogue(sky(head(), *places)), tmp_path / "s", size=41)
    assert len(result.notes) == 1
    assert 'a.fits and b.fits both show 8 sources, at beams of 6" and 12"' in result.notes[0]


@pytest.mark.parametrize("same", [True, False])
def test_what_was_found_is_cut_from_a_mosaic_that_shows_it(tmp_path, same):
    two_fields(tmp_path, same)
    result = cut_sources([tmp_path], None, tmp_path / "s", size=31)
    assert result.found == len(result.store) == (8 if same else 16)
    assert (result.store.column("maximum") > 0.04).all()
    assert len(result.used) == (2 if not same else len(result.used))
    for row in range(len(result.store)):
        peak = np.unravel_index(np.nanargmax(result.store.pixels(row)), (31, 31))
        assert np.hypot(peak[0] - 15, peak[1] - 15) < 4


# At once --------------------------------------------------------------------------------------------------------------


def test_a_column_called_features_is_refused_before_anything_is_read(tmp_path):
    table = pa.table({"features": [1.0]})
    targets = Catalogue("cat", np.array(["s0"], object), np.array([187.5]), np.array([12.5]), None, table)
    with pytest.raises(RadiosslError, match="'features' is one of the store's own: rename it"):
        cut_sources([tmp_path / "there is none.fits"], targets, tmp_path / "s", size=20)
