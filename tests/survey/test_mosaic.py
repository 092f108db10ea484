"""Mosaics: whatever way the image is stored, the same pixels at the same place on the sky."""

import gzip
import importlib
import shutil
import tracemalloc
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from radiossl import RadiosslError
from radiossl.survey import fits_image
from radiossl.survey.finding import find_mosaics, mosaic_labels
from radiossl.survey.header import normalise_unit
from radiossl.survey.mosaic import Box, Mosaic

SHAPE = (60, 90)


def image(shape=SHAPE):
    pixels = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    pixels[:7] = np.nan
    pixels[:, -11:] = np.nan
    return pixels


def header(shape=SHAPE, projection="SIN", **cards):
    result = fits.Header()
    result["CTYPE1"], result["CTYPE2"] = f"RA---{projection}", f"DEC--{projection}"
    result["CRVAL1"], result["CRVAL2"] = 150.0, -30.0
    result["CRPIX1"], result["CRPIX2"] = shape[1] / 2 + 3.25, shape[0] / 2 - 1.5
    result["CDELT1"], result["CDELT2"] = -2.0 / 3600, 2.0 / 3600
    result.update(cards)
    return result


def plain(path, pixels, head):
    fits.PrimaryHDU(pixels, head).writeto(path)
    return path


def gzipped(path, pixels, head):
    plain(path, pixels, head)
    zipped = path.with_name(path.name + ".gz")
    with path.open("rb") as source, gzip.open(zipped, "wb") as sink:
        shutil.copyfileobj(source, sink)
    path.unlink()
    return zipped


def tiled(path, pixels, head):
    path = path.with_name(path.name + ".fz")
    fits.CompImageHDU(pixels, head, compression_type="GZIP_2", quantize_level=0).writeto(path)
    return path


def second(path, pixels, head):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2, 3])])
    fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(pixels, head)]).writeto(path)
    return path


STORAGES = [plain, gzipped, tiled, second]


def expected(pixels, box):
    """What `read` is to return, the slow way: pad by a lot, then slice."""
    far = 500
    padded = np.pad(pixels, far, constant_values=np.nan)
    return padded[far + box.y0 : far + box.y0 + box.height, far + box.x0 : far + box.x0 + box.width]


BOXES = [
    Box(0, 0, 90, 60),
    Box(10, 20, 16, 8),
    Box(-5, -6, 20, 30),
    Box(80, 50, 33, 31),
    Box(-9, -9, 300, 200),
    Box(200, 10, 4, 4),
    Box(89, 59, 1, 1),
]


# Pixels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", STORAGES)
@pytest.mark.parametrize("axes", [2, 3, 4])
def test_the_pixels_read_are_those_written_with_nan_around_them(tmp_path, store, axes):
    pixels = image()
    head = header(**{"CTYPE3": "FREQ", "CTYPE4": "STOKES"} if axes == 4 else {})
    path = store(tmp_path / "m.fits", pixels.reshape((1,) * (axes - 2) + SHAPE), head)
    with Mosaic.open(path) as mosaic:
        assert mosaic.shape == SHAPE
        for box in BOXES:
            found = mosaic.read(*box)
            assert found.dtype == np.dtype("=f4")
            np.testing.assert_array_equal(found, expected(pixels, box))


@pytest.mark.parametrize("store", STORAGES)
def test_many_boxes_are_read_as_each_alone_whatever_fits_in_memory(tmp_path, monkeypatch, store):
    pixels = image()
    path = store(tmp_path / "m.fits", pixels, header())
    rng = np.random.default_rng(1)
    boxes = [Box(*map(int, rng.integers(-20, 70, 2)), *map(int, rng.integers(1, 25, 2))) for _ in range(60)]
    for rows in (1, 20, 1000):
        monkeypatch.setattr(fits_image, "BAND_BYTES", 4 * SHAPE[1] * rows)
        for given in (boxes, sorted(boxes, key=lambda box: box.y0)):
            with Mosaic.open(path) as mosaic:
                for box, found in zip(given, mosaic.read_boxes(given), strict=True):
                    np.testing.assert_array_equal(found, expected(pixels, box))


def test_sorted_boxes_decompress_every_row_at_most_once(tmp_path, monkeypatch):
    monkeypatch.setattr(fits_image, "BAND_BYTES", 4 * SHAPE[1] * 16)
    rows = []
    read = fits_image._TiledPixels.read
    monkeypatch.setattr(
        fits_image._TiledPixels,
        "read",
        lambda self, y0, y1, x0, x1: rows.extend(range(y0, y1)) or read(self, y0, y1, x0, x1),
    )
    with Mosaic.open(tiled(tmp_path / "m.fits", image(), header())) as mosaic:
        assert len(list(mosaic.read_boxes([Box(x, y, 8, 8) for y in range(0, 52, 4) for x in (0, 40)]))) == 26
    assert len(rows) == len(set(rows)) == 56


def test_plain_rows_are_read_as_a_whole_only_where_boxes_are_close(tmp_path, monkeypatch):
    asked = []
    read = fits_image._MappedPixels.read
    monkeypatch.setattr(
        fits_image._MappedPixels, "read", lambda self, *where: asked.append(where) or read(self, *where)
    )
    with Mosaic.open(plain(tmp_path / "m.fits", image(), header())) as mosaic:
        close = [Box(x, y, 8, 8) for y in range(0, 52, 4) for x in range(0, 80, 8)]
        assert len(list(mosaic.read_boxes(close))) == len(close)
        assert asked == [(0, 56, 0, SHAPE[1])]
        asked.clear()
        far = [Box(0, 0, 2, 2), Box(50, 30, 2, 2)]
        assert len(list(mosaic.read_boxes(far))) == 2
        assert asked == [(0, 2, 0, 2), (30, 32, 50, 52)]


@pytest.mark.parametrize("store", [plain, gzipped])
@pytest.mark.filterwarnings("ignore")
def test_scaled_integers_become_brightness_and_blank_becomes_nan(tmp_path, store):
    stored = np.arange(60 * 90, dtype=np.int16).reshape(SHAPE)
    stored[3, 4] = -32768
    path = store(tmp_path / "m.fits", stored, header(BLANK=-32768, PLACE1="", PLACE2=""))
    # astropy would scale on writing, so the scale is put in afterwards.
    content = path.read_bytes() if store is not gzipped else gzip.decompress(path.read_bytes())
    for place, card in ((b"PLACE1 ", "BSCALE  =                  0.5"), (b"PLACE2 ", "BZERO   =                 10.0")):
        start = content.index(place)
        content = content[:start] + card.ljust(80).encode() + content[start + 80 :]
    path.write_bytes(content if store is not gzipped else gzip.compress(content))
    wanted = stored * 0.5 + 10.0
    wanted[3, 4] = np.nan
    np.testing.assert_array_equal(Mosaic.open(path).read(0, 0, 90, 60), wanted.astype(np.float32))


def test_infinite_pixels_are_blank(tmp_path):
    pixels = image()
    pixels[30, 30] = np.inf
    assert np.isnan(Mosaic.open(plain(tmp_path / "m.fits", pixels, header())).read(30, 30, 1, 1)).all()


def test_a_large_mosaic_is_not_loaded(tmp_path):
    side = 15000  # 900 MB, a sparse file
    head = header((side, side), SIMPLE=True)
    head = fits.Header(
        [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", side), ("NAXIS2", side), *head.cards]
    )
    path = tmp_path / "large.fits"
    with path.open("wb") as file:
        file.write(head.tostring().encode())
        file.truncate(file.tell() + -(-4 * side * side // 2880) * 2880)
    importlib.import_module("radiossl.survey.padding")  # and with it the compiler, which is no memory of the mosaic
    tracemalloc.start()
    with Mosaic.open(path) as mosaic:
        assert (mosaic.read(14990, 14000, 20, 20)[:, :10] == 0).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_an_empty_box_is_refused(tmp_path):
    with pytest.raises(RadiosslError, match="0 x 5 pixels"):
        Mosaic.open(plain(tmp_path / "m.fits", image(), header())).read(0, 0, 0, 5)


# Sky ------------------------------------------------------------------------------------------------------------------


def astropy_sky(head, x, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SkyCoord.from_pixel(x, y, WCS(head).celestial).icrs


@pytest.mark.parametrize("projection", ["SIN", "TAN", "NCP", "AIT"])
@pytest.mark.parametrize("frame", [{}, {"RADESYS": "FK5", "EQUINOX": 2000.0}, {"EPOCH": 1950.0}, {"RADESYS": "FK4"}])
def test_positions_are_those_of_astropy(tmp_path, projection, frame):
    head = header(projection=projection, **frame)
    mosaic = Mosaic.open(plain(tmp_path / "m.fits", image(), head))
    x, y = np.array([0.0, 45.5, 89.0]), np.array([0.0, 30.0, 59.0])
    ra, dec = mosaic.pixel_to_sky(x, y)
    assert astropy_sky(head, x, y).separation(SkyCoord(ra, dec, unit="deg")).arcsec.max() < 1e-5
    back = mosaic.sky_to_pixel(ra, dec)
    np.testing.assert_allclose(back, [x, y], atol=1e-5)


def test_galactic_mosaics_and_swapped_axes_give_icrs(tmp_path):
    head = header()
    head["CTYPE1"], head["CTYPE2"] = "GLAT-TAN", "GLON-TAN"
    head["CRVAL1"], head["CRVAL2"] = 5.0, 330.0
    mosaic = Mosaic.open(plain(tmp_path / "m.fits", image(), head))
    ra, dec = mosaic.pixel_to_sky([47.25], [27.5])  # the reference pixel, 0-based
    centre = SkyCoord(l=330 * u.deg, b=5 * u.deg, frame="galactic")
    assert centre.separation(SkyCoord(ra, dec, unit="deg")).arcsec.max() < 1e-5
    np.testing.assert_allclose(np.ravel(mosaic.sky_to_pixel(ra, dec)), [47.25, 27.5], atol=1e-6)


@pytest.mark.parametrize("projection", ["SIN", "TAN", "NCP"])
def test_the_other_side_of_the_sky_is_nan(tmp_path, projection):
    mosaic = Mosaic.open(plain(tmp_path / "m.fits", image(), header(projection=projection)))
    x, y = mosaic.sky_to_pixel([330.0, np.nan, 150.0], [30.0, 0.0, -30.0])
    assert np.isnan(x).tolist() == np.isnan(y).tolist() == [True, True, False]


def test_positions_keep_the_shape_of_what_is_given(tmp_path):
    mosaic = Mosaic.open(plain(tmp_path / "m.fits", image(), header()))
    ra, _ = mosaic.pixel_to_sky(np.arange(90.0), np.arange(60.0)[:, None])
    assert ra.shape == SHAPE
    assert np.shape(mosaic.sky_to_pixel(150.0, -30.0)) == (2,)


def test_a_spectral_axis_that_wcslib_does_not_know_does_no_harm(tmp_path):
    head = header(CTYPE3="FREQ-XYZ", CUNIT3="parrots", CRVAL3=1.4e9)
    mosaic = Mosaic.open(plain(tmp_path / "m.fits", image()[None], head))
    np.testing.assert_allclose(np.ravel(mosaic.pixel_to_sky(47.25, 27.5)), [150.0, -30.0])


def test_the_scale_is_the_side_of_a_pixel(tmp_path):
    assert Mosaic.open(plain(tmp_path / "m.fits", image(), header())).pixel_scale_arcsec == pytest.approx(2.0)


# Header ---------------------------------------------------------------------------------------------------------------


def test_beam_unit_and_survey_are_read(tmp_path):
    head = header(BMAJ=6 / 3600, BMIN=5 / 3600, BPA=30.0, BUNIT="JY/BEAM ", TELESCOP="ATCA")
    mosaic = Mosaic.open(tiled(tmp_path / "m.fits", image(), head))
    assert (mosaic.beam.major_arcsec, mosaic.beam.minor_arcsec) == pytest.approx((6.0, 5.0))
    assert (mosaic.beam.pa_deg, mosaic.unit, mosaic.survey) == (30.0, "Jy/beam", "ATCA")


def test_without_them_there_is_no_beam_and_no_unit(tmp_path):
    mosaic = Mosaic.open(plain(tmp_path / "m.fits", image(), header(BMAJ=0.0, BMIN=0.0)))
    assert (mosaic.beam, mosaic.unit, mosaic.survey) == (None, "", "")


def test_the_beam_of_the_last_aips_clean_is_found(tmp_path):
    head = header()
    head.add_history("AIPS   CLEAN BMAJ=  9.0000E-03 BMIN=  9.0000E-03 BPA=   0.00")
    head.add_history("AIPS   CLEAN BMAJ=  1.5000E-03 BMIN=  1.2500E-03 BPA=  12.50")
    beam = Mosaic.open(plain(tmp_path / "m.fits", image(), head)).beam
    assert (beam.major_arcsec, beam.minor_arcsec, beam.pa_deg) == pytest.approx((5.4, 4.5, 12.5))


@pytest.mark.parametrize(("unit", "factor"), [("arcsec", 1.0), ("deg", 1 / 3600), (None, 1.0)])
def test_the_beam_of_the_first_plane_is_found_in_the_table_of_casa(tmp_path, unit, factor):
    values = {"BMAJ": [9 * factor, 6 * factor], "BMIN": [8 * factor, 5 * factor], "BPA": [0.0, 30.0]}
    columns = [fits.Column(n, "E", unit="deg" if n == "BPA" else unit, array=v) for n, v in values.items()]
    columns += [fits.Column("CHAN", "J", array=[1, 0]), fits.Column("POL", "J", array=[0, 0])]
    table = fits.BinTableHDU.from_columns(columns, name="BEAMS")
    fits.HDUList([fits.PrimaryHDU(image(), header(CASAMBM=True)), table]).writeto(tmp_path / "m.fits")
    beam = Mosaic.open(tmp_path / "m.fits").beam
    assert (beam.major_arcsec, beam.minor_arcsec, beam.pa_deg) == pytest.approx((6.0, 5.0, 30.0))


def test_a_beam_table_that_is_missing_is_no_beam(tmp_path):
    assert Mosaic.open(plain(tmp_path / "m.fits", image(), header(CASAMBM=True))).beam is None


@pytest.mark.parametrize(
    ("given", "usual"),
    [
        ("JY/BEAM", "Jy/beam"),
        ("Jy beam-1", "Jy/beam"),
        ("jy / Beam", "Jy/beam"),
        ("MJY/BEAM", "mJy/beam"),
        ("mJy beam^-1", "mJy/beam"),
        ("uJy/beam", "uJy/beam"),
        ("JY/PIXEL", "Jy/pixel"),
        ("MJy/sr", "MJy/sr"),
        ("K", "K"),
        ("", ""),
    ],
)
def test_units_get_their_usual_spelling(given, usual):
    assert normalise_unit(given) == usual


def test_unprintable_cards_are_dropped_in_silence(tmp_path):
    path = plain(tmp_path / "m.fits", image(), header(OBJECT="aTb", TELESCOP="V_LA", BUNIT="JY/BEAM"))
    path.write_bytes(path.read_bytes().replace(b"'aTb", b"'a\xe9b").replace(b"'V_LA", b"'V\tLA"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mosaic = Mosaic.open(path)
        mosaic.pixel_to_sky(1.0, 2.0)
        assert mosaic.read(10, 10, 5, 5).shape == (5, 5)
    assert (mosaic.unit, mosaic.survey) == ("Jy/beam", "")


# Bad input ------------------------------------------------------------------------------------------------------------


def refused(path, *words):
    """Opening or reading the file ends in one line that names it and says `words`."""
    with pytest.raises(RadiosslError) as caught, Mosaic.open(path) as mosaic:
        mosaic.read(0, 0, mosaic.shape[1], mosaic.shape[0])
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    for word in words:
        assert word in message


def test_a_missing_file_is_named(tmp_path):
    refused(tmp_path / "none.fits", "no such file")


@pytest.mark.parametrize("content", [b"id,ra,dec\n1,2,3\n" * 500, b"\x89PNG\r\n", b"SIMPLE"])
def test_what_is_not_fits_is_refused(tmp_path, content):
    path = tmp_path / "m.fits"
    path.write_bytes(content)
    refused(path, "not a FITS file")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "m.fits").touch()
    refused(tmp_path / "m.fits", "empty")


@pytest.mark.parametrize("store", STORAGES)
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, store, fraction):
    path = store(tmp_path / "m.fits", np.random.default_rng(0).normal(size=(200, 200)).astype("f4"), header())
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    refused(path, "fetch it again")


def test_a_file_cut_inside_its_header_is_refused(tmp_path):
    path = plain(tmp_path / "m.fits", image(), header())
    path.write_bytes(path.read_bytes()[:1000])
    refused(path, "cut short inside a header")


def test_missing_padding_at_the_end_is_forgiven(tmp_path):
    path = plain(tmp_path / "m.fits", image(), header())
    path.write_bytes(path.read_bytes()[: 2880 + 60 * 90 * 4])
    np.testing.assert_array_equal(Mosaic.open(path).read(0, 0, 90, 60), image())


def test_fits_without_an_image_is_refused(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2, 3])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "m.fits")
    refused(tmp_path / "m.fits", "no image")


def test_an_image_without_celestial_axes_is_refused(tmp_path):
    refused(plain(tmp_path / "m.fits", image(), fits.Header()), "no celestial coordinates", "CTYPE1")


def test_celestial_axes_that_make_no_sense_are_refused(tmp_path):
    refused(plain(tmp_path / "m.fits", image(), header(projection="XYZ")), "celestial coordinates")


def test_several_frequencies_are_refused_by_name(tmp_path):
    path = plain(tmp_path / "m.fits", np.zeros((1, 5, *SHAPE), "f4"), header(CTYPE3="FREQ", CTYPE4="STOKES"))
    refused(path, "axis 3 (FREQ) has 5 planes")


def test_a_blank_mosaic_is_told_from_others(tmp_path):
    assert Mosaic.open(plain(tmp_path / "a.fits", np.full(SHAPE, np.nan, "f4"), header())).is_blank()
    pixels = np.full(SHAPE, np.nan, "f4")
    pixels[-1, -1] = 1
    assert not Mosaic.open(plain(tmp_path / "b.fits", pixels, header())).is_blank()


# Finding --------------------------------------------------------------------------------------------------------------


def test_files_folders_and_patterns_are_found_once_and_in_order(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("b.fits", "a.fits.fz", "c.FITS.gz", "d.fit", "notes.txt", "x.fits.bz2", "deep/e.fits"):
        (tmp_path / name).touch()
    folder = [tmp_path / name for name in ("a.fits.fz", "b.fits", "c.FITS.gz", "d.fit")]
    assert find_mosaics([tmp_path]) == folder
    assert find_mosaics([tmp_path / "d.fit", tmp_path]) == [folder[3], *folder[:3]]
    assert find_mosaics([str(tmp_path / "*")]) == folder
    assert find_mosaics([str(tmp_path / "**/*.fits")]) == [folder[1], tmp_path / "deep" / "e.fits"]


@pytest.mark.parametrize("source", ["none.fits", "no-*.fits", "."])
def test_where_there_is_none_it_is_said(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RadiosslError, match=r"no such file|no FITS file"):
        find_mosaics([source])


def test_equal_names_are_told_apart_by_their_folders(tmp_path):
    paths = [tmp_path / name for name in ("one/m.fits", "two/m.fits", "n.fits")]
    assert mosaic_labels(paths) == ["one/m.fits", "two/m.fits", "n.fits"]
    with pytest.raises(RadiosslError, match="same names"):
        mosaic_labels([tmp_path / "m.fits", tmp_path / "m.fits.gz"])


# Real data ------------------------------------------------------------------------------------------------------------


def test_real_headers_with_unprintable_cards_open_in_silence(real_data):
    raw = sorted((real_data / "first" / "raw_headers").glob("*.fits"))
    assert len(raw) > 5
    for path in raw:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Mosaic.open(path) as mosaic:
                pixels = mosaic.read(0, 0, 300, 300)
                ra, dec = mosaic.pixel_to_sky(149.5, 149.5)
        with Mosaic.open(real_data / "first" / "tiles" / f"{path.name}.fz") as twin:
            np.testing.assert_allclose(pixels, twin.read(0, 0, 300, 300), atol=1e-4)  # the tiles are quantized
            np.testing.assert_allclose([ra, dec], twin.pixel_to_sky(149.5, 149.5), atol=1e-8)
        assert (mosaic.unit, mosaic.survey) == ("Jy/beam", "FIRST")
