"""More mosaics as programs write them: versions of one image, odd headers, compressed whole numbers with gaps."""

import bz2
import lzma

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from radiossl import RadiosslError
from radiossl.store.cutout import Beam
from radiossl.survey.blind import cut_blind
from radiossl.survey.finding import find_mosaics
from radiossl.survey.header import normalise_unit
from radiossl.survey.mosaic import Mosaic


def header(projection="SIN", **cards):
    head = fits.Header()
    head["CTYPE1"], head["CTYPE2"], head["CRVAL1"], head["CRVAL2"] = (
        f"RA---{projection}",
        f"DEC--{projection}",
        187.5,
        12.5,
    )
    head["CRPIX1"] = head["CRPIX2"] = 25.5
    head["CDELT1"], head["CDELT2"] = -1 / 3600, 1 / 3600
    for key, value in cards.items():
        head[key] = value
    return head


def noise(*shape):
    return np.random.default_rng(0).normal(0, 1, shape or (50, 50)).astype(np.float32)


@pytest.mark.parametrize(
    ("kept", "left_out"),
    [
        (["a.image"], ["a.mask", "a.residual", "a.model", "a.pb", "a.psf", "a.sumwt"]),  # CASA
        (["a.image.tt0"], ["a.image.tt1", "a.alpha", "a.psf.tt0"]),
        (["a.image.pbcor"], ["a.image"]),
        (
            ["o-MFS-image-pb"],
            ["o-MFS-image", "o-0000-image", "o-0001-image-pb", "o-MFS-beam-0", "o-MFS-beam-15"],
        ),  # WSClean
        (["a-I-image"], ["a-Q-image", "a-U-image", "a-V-image"]),
        (["a"], ["a.pb", "a-pb", "a.wt", "a_rms", "a-model", "a-residual", "a_curve", "a_snr", "a_comp"]),
        (["a"], ["a.pybdsf.rms", "a.pybdsf.gaus_resid", "a_bkg"]),
        (
            ["image.i.SB1.cont.taylor.0.restored"],
            [
                "image.i.SB1.cont.taylor.1.restored",
                "weights.i.SB1.cont.taylor.0",
                "meanMap.image.i.SB1.cont.taylor.0.restored",
            ],
        ),
        (["mosaic-blanked"], ["mosaic", "mosaic-weights"]),  # LoTSS
        (["f_1", "f_2", "g_pb", "field-v"], []),  # nothing beside which they would be
        (["epoch1_image", "epoch2_image", "tile_0001", "tile_0002"], []),
    ],
)
def test_of_the_versions_of_an_image_one_is_taken(tmp_path, kept, left_out):
    for name in [*kept, *left_out]:
        (tmp_path / f"{name}.fits").touch()
    assert sorted(path.name for path in find_mosaics([tmp_path])) == sorted(f"{name}.fits" for name in kept)


@pytest.mark.parametrize(
    "unit", ["beam-1 Jy", "Jy.beam-1", "beam^-1 Jy", "Jy/bm", "Jy*beam^-1", "JY/BEAM", "Jy beam**-1", "beam**(-1) Jy"]
)
def test_units_in_any_order(unit):
    assert normalise_unit(unit) == "Jy/beam"


@pytest.mark.parametrize(
    "cards",
    [
        {"CUNIT1": "degs", "CUNIT2": "degs"},
        {"CUNIT1": "deg.", "CUNIT2": "deg."},
        {"CRVAL1": -172.5},
        {"CTYPE3": "FREQ-TAB", "PS3_0": "WCS-TABLE", "PS3_1": "FREQ"},
        {"CTYPE3": "FREQ", "CDELT3": 0.0, "CRVAL3": 1.4e9},
        {"CTYPE1": "ra---sin ", "CTYPE2": "dec--sin "},
    ],
)
def test_odd_headers_are_read_as_they_are_meant(tmp_path, cards):
    fits.writeto(tmp_path / "m.fits", noise(1, 50, 50), header(**cards))
    with Mosaic.open(tmp_path / "m.fits") as mosaic:
        assert np.ravel(mosaic.pixel_to_sky([24.5], [24.5])).tolist() == pytest.approx([187.5, 12.5])
        assert mosaic.pixel_scale_arcsec == pytest.approx(1)


def test_positions_in_a_look_up_table_are_refused(tmp_path):
    fits.writeto(tmp_path / "m.fits", noise(), header("TAB", PS1_0="T", PS1_1="RA"))
    with pytest.raises(RadiosslError, match="look-up table, -TAB"):
        Mosaic.open(tmp_path / "m.fits")


@pytest.mark.parametrize(("major", "known"), [(6.0, False), (6 / 3600, True)])
def test_a_beam_larger_than_its_image_is_none(tmp_path, major, known):
    fits.writeto(tmp_path / "m.fits", noise(), header(BMAJ=major, BMIN=major, BPA=0.0))
    with Mosaic.open(tmp_path / "m.fits") as mosaic:
        assert (mosaic.beam is not None) == known


@pytest.mark.parametrize("name", ["m.fits", "m.fits.fz"])
def test_scaled_whole_numbers_with_gaps(tmp_path, name):
    stored = np.random.default_rng(0).integers(-100, 100, (50, 50)).astype("i2")
    stored[:5] = -32768
    part = fits.PrimaryHDU(stored, header()) if name == "m.fits" else fits.CompImageHDU(stored, header())
    part.writeto(tmp_path / name)
    as_stored = {"disable_image_compression": True, "do_not_scale_image_data": True}
    with fits.open(tmp_path / name, mode="update", **as_stored) as parts:
        parts[-1].header.update(BSCALE=0.5, BZERO=10.0, BLANK=-32768)
    with Mosaic.open(tmp_path / name) as mosaic:
        found = mosaic.read(0, 0, 50, 50)
    expected = np.where(stored == -32768, np.nan, stored * 0.5 + 10)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize(("packing", "pack"), [("bzip2", bz2.compress), ("xz", lzma.compress)])
def test_files_of_other_packings_are_named(tmp_path, packing, pack):
    fits.writeto(tmp_path / "m.fits", noise(), header())
    packed = tmp_path / "m.fits.packed"
    packed.write_bytes(pack((tmp_path / "m.fits").read_bytes()))
    with pytest.raises(RadiosslError, match=f"packed by {packing}, unpack it first"):
        Mosaic.open(packed)


@pytest.mark.parametrize(("key", "value"), [("BSCALE", 0.0), ("BZERO", "NaN")])
def test_scales_that_leave_nothing_are_refused(tmp_path, key, value):
    fits.writeto(tmp_path / "m.fits", noise(), header())
    with fits.open(tmp_path / "m.fits", mode="update", do_not_scale_image_data=True) as parts:
        parts[0].header[key] = value
    with pytest.raises(RadiosslError, match="leave no valid pixel"):
        Mosaic.open(tmp_path / "m.fits")


@pytest.mark.parametrize("first", ["FREQ", "DEC--SIN"])
def test_axes_in_another_order(tmp_path, first):
    """The frequency first, as some cubes have it, and declination before right ascension."""
    cards = {"CRPIX2": 25.5, "CRPIX3": 25.5, "CRPIX1": 25.5}
    if first == "FREQ":
        head = fits.Header({"CTYPE1": "FREQ", "CTYPE2": "RA---SIN", "CTYPE3": "DEC--SIN", **cards, "CRPIX1": 1})
        head.update(CRVAL1=1.4e9, CRVAL2=187.5, CRVAL3=12.5, CDELT1=1e6, CDELT2=-1 / 3600, CDELT3=1 / 3600)
    else:
        head = fits.Header({"CTYPE1": "DEC--SIN", "CTYPE2": "RA---SIN", **cards})
        head.update(CRVAL1=12.5, CRVAL2=187.5, CDELT1=1 / 3600, CDELT2=-1 / 3600)
        del head["CRPIX3"]
    image = noise()
    fits.writeto(tmp_path / "m.fits", image[:, :, None] if first == "FREQ" else image, head)
    with Mosaic.open(tmp_path / "m.fits") as mosaic:
        ra, dec = mosaic.pixel_to_sky(34.5, 24.5)
        np.testing.assert_array_equal(mosaic.read(30, 20, 5, 4), image[20:24, 30:35])
    east_west, north = (187.5 - ra) * 3600 * np.cos(np.radians(12.5)), (dec - 12.5) * 3600
    expected = (10, 0) if first == "FREQ" else (0, 10)
    np.testing.assert_allclose((east_west, north), expected, atol=0.01)


@pytest.mark.parametrize(
    ("axis", "equinox", "frame"),
    [
        ("ELON ELAT", None, "barycentricmeanecliptic"),
        ("ELON ELAT", 1975.0, {"frame": "barycentricmeanecliptic", "equinox": "J1975"}),
        ("SLON SLAT", None, "supergalactic"),
    ],
)
def test_ecliptic_and_supergalactic_longitudes_are_no_right_ascensions(tmp_path, axis, equinox, frame):
    first, second = axis.split()
    cards = {"CTYPE1": f"{first}-TAN", "CTYPE2": f"{second}-TAN", **({"EQUINOX": equinox} if equinox else {})}
    fits.writeto(tmp_path / "m.fits", noise(), header(**cards))
    right = SkyCoord(187.5, 12.5, unit="deg", **({"frame": frame} if isinstance(frame, str) else frame)).icrs
    with Mosaic.open(tmp_path / "m.fits") as mosaic:
        found = SkyCoord(*mosaic.pixel_to_sky(24.5, 24.5), unit="deg")
        back = mosaic.sky_to_pixel(right.ra.deg, right.dec.deg)
    assert found.separation(right).arcsec < 1e-5
    np.testing.assert_allclose(back, 24.5, atol=1e-6)


@pytest.mark.parametrize("axis", ["HLON HLAT", "TLON TLAT", "HPLN HPLT", "MELN MELT"])
def test_longitudes_that_are_not_of_the_sky_are_refused(tmp_path, axis):
    first, second = axis.split()
    fits.writeto(tmp_path / "m.fits", noise(), header(CTYPE1=f"{first}-TAN", CTYPE2=f"{second}-TAN"))
    with pytest.raises(RadiosslError, match=rf"m\.fits: its coordinate frame is not known \({first}"):
        Mosaic.open(tmp_path / "m.fits").pixel_to_sky(0, 0)


def test_other_polarizations_and_units_are_said(tmp_path):
    stokes = {"CTYPE3": "STOKES", "CRPIX3": 1.0, "CDELT3": 1.0}
    for name, value, unit in (("a", 1.0, "Jy/beam"), ("b", 1.0, "JY/BEAM"), ("c", 4.0, "mJy/beam")):
        cards = header(BUNIT=unit, CRVAL3=value, **stokes)
        fits.writeto(tmp_path / f"{name}.fits", noise(1, 50, 50), cards)
    files = [tmp_path / f"{name}.fits" for name in "abc"]
    assert cut_blind(files[:2], tmp_path / "one", size=50).notes == ()
    said = cut_blind(files, tmp_path / "two", size=50).notes
    assert said[0].startswith("the mosaics are in several units, mJy/beam (such as c.fits), Jy/beam (such as a.fits)")
    assert said[1] == "c.fits: the header says V, not total intensity (Stokes I)"


@pytest.mark.parametrize("angle", ["nan", None])
def test_a_beam_of_unknown_position_angle_is_a_beam(tmp_path, angle):
    fits.writeto(tmp_path / "m.fits", noise(), header(BMAJ=6 / 3600, BMIN=5 / 3600, BPA=angle))
    beam = Mosaic.open(tmp_path / "m.fits").beam
    assert beam is not None
    assert (beam.major_arcsec, beam.minor_arcsec, beam.pa_deg) == pytest.approx((6, 5, 0))
    assert Beam(6.0, 5.0, float("nan")) == Beam(6.0, 5.0, None) == Beam(6.0, 5.0)
