"""Which files of a folder, and which part of a file, is the science image."""

import logging

import numpy as np
import pytest
from astropy.io import fits

from radiossl import RadiosslError
from radiossl.survey.finding import find_mosaics
from radiossl.survey.fits_image import find_image
from radiossl.survey.mosaic import Mosaic


def header(**more):
    head = fits.Header()
    head["CTYPE1"], head["CTYPE2"] = "RA---SIN", "DEC--SIN"
    head["CRVAL1"], head["CRVAL2"], head["CRPIX1"], head["CRPIX2"] = 150.0, 2.0, 10.0, 10.0
    head["CDELT1"], head["CDELT2"] = -1 / 3600, 1 / 3600
    head.update(more)
    return head


def pixels(value, kind="f4"):
    return np.full((20, 30), value).astype(kind)


def names(folder):
    return [path.name for path in find_mosaics([folder])]


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("science", "others"),
    [
        (["obs-MFS-image.fits"], ["obs-MFS-dirty.fits", "obs-MFS-psf.fits", "obs-MFS-model.fits"]),
        (["obs-MFS-image-pb.fits"], ["obs-MFS-residual-pb.fits"]),
        (["field.fits"], ["field-rms.fits", "field_weight.fits", "field.noise.fits"]),
        (["P12_mosaic.fits"], ["P12_rmsMap.fits", "P12_weightMap.fits"]),
        (["mosaic-blanked.fits"], ["mosaic-weights.fits"]),
        (["image.i.EMU_0102-32.restored.fits"], ["weights.i.EMU_0102-32.fits", "noiseMap.i.EMU_0102-32.fits"]),
        (["a.fits.gz", "b.fits"], ["b.mask.fits.gz", "a_rms.fits.fz"]),
        (["P11Hetdex12-mosaic.fits"], ["P11.mask.fits", "P11Hetdex12-mosaic.full.rms.fits"]),
    ],
)
def test_what_is_made_beside_an_image_is_left_out(tmp_path, caplog, science, others):
    for name in science + others:
        (tmp_path / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        assert names(tmp_path) == sorted(science)
    assert len(caplog.records) == 1
    assert all(name in caplog.text for name in others)


@pytest.mark.parametrize(
    "kept",
    [
        ["a-rms.fits", "b-rms.fits"],  # nothing else is there
        ["residual_A.fits", "field_B.fits"],  # of another field
        ["beam01.fits", "beam02.fits", "Noisette.fits"],
        ["pilot.fits", "psfield.fits"],
    ],
)
def test_files_that_only_look_like_it_are_kept(tmp_path, caplog, kept):
    for name in kept:
        (tmp_path / name).write_bytes(b"x")
    assert names(tmp_path) == sorted(kept)
    assert caplog.text == ""


def test_a_single_file_needs_no_list(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"x")
    for source in (tmp_path / "a.fits", str(tmp_path / "a.fits")):
        assert find_mosaics(source) == [tmp_path / "a.fits"]


def test_what_is_beside_an_image_can_be_given_alone(tmp_path):
    for name in ("a.fits", "a-rms.fits"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in find_mosaics([tmp_path / "a-rms.fits"])] == ["a-rms.fits"]
    assert [path.name for path in find_mosaics([tmp_path / "a-rms.fits", tmp_path / "a.fits"])] == ["a.fits"]


def test_hidden_files_are_skipped(tmp_path):
    for name in ("a.fits", "._a.fits", ".tmp-abcdefgh-b.fits"):  # of macOS, and of a command that was killed
        (tmp_path / name).write_bytes(b"x")
    assert names(tmp_path) == ["a.fits"]


def test_links_that_lead_nowhere_are_named(tmp_path, caplog):
    (tmp_path / "a.fits").write_bytes(b"x")
    (tmp_path / "b.fits").symlink_to(tmp_path / "gone.fits")
    with caplog.at_level(logging.WARNING):
        assert names(tmp_path) == ["a.fits"]
    assert f"what they link to is gone: {tmp_path / 'b.fits'} (1 in all)" in caplog.text


# Parts of a file ------------------------------------------------------------------------------------------------------


def image(name, value=7.0, kind="f4", celestial=True, **more):
    return fits.ImageHDU(pixels(value, kind), header(**more) if celestial else None, name=name)


CASES = {
    "mask before": [fits.PrimaryHDU(), image("MASK", 1, "u1"), image("SCI")],
    "thumbnail before": [fits.PrimaryHDU(pixels(1)), image("IMAGE")],
    "thumbnail part before": [fits.PrimaryHDU(), image("PREVIEW", 1, celestial=False), image("")],
    "weights before": [fits.PrimaryHDU(), image("WHT", 1), image("SCI")],
    "errors and flags before": [fits.PrimaryHDU(), image("ERR", 1), image("DQ", 1, "i4"), image("SCI")],
    "psf in the primary": [fits.PrimaryHDU(pixels(1), header(EXTNAME="PSF")), image("restored")],
    "mask in the primary": [fits.PrimaryHDU(pixels(1, "u1"), header()), image("")],
    "rms behind": [fits.PrimaryHDU(), image("IMAGE"), image("RMS", 1)],
    "image in the primary": [fits.PrimaryHDU(pixels(7), header()), image("SCI", 1)],
    "unnamed beside SCI": [fits.PrimaryHDU(), image("", 1), image("SCI")],
    "compressed": [
        fits.PrimaryHDU(),
        fits.CompImageHDU(pixels(1, "u1"), header(), name="MASK"),
        fits.CompImageHDU(pixels(7), header(), name="SCI", quantize_level=0, compression_type="GZIP_1"),
    ],
    "cube before": [fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 20, 30), "f4"), header(CTYPE3="FREQ")), image("")],
}


@pytest.mark.parametrize("ending", ["fits", "fits.gz"])
@pytest.mark.parametrize("case", CASES)
def test_the_science_image_is_found_by_content_and_name(tmp_path, case, ending):
    path = tmp_path / f"m.{ending}"
    fits.HDUList(CASES[case]).writeto(path)
    with Mosaic.open(path) as mosaic:
        assert (mosaic.read(0, 0, 30, 20) == 7).all()


def test_of_equal_images_one_has_to_be_named(tmp_path):
    path = tmp_path / "m.fits"
    fits.HDUList([fits.PrimaryHDU(), image("EAST", 1), image("WEST", 2)]).writeto(path)
    with pytest.raises(RadiosslError, match=r"several images could be meant; choose one with --hdu \(.*1 EAST, 2 WEST"):
        Mosaic.open(path)
    for hdu, value in (("west", 2), (1, 1), ("2", 2)):
        with Mosaic.open(path, hdu) as mosaic:
            assert (mosaic.read(0, 0, 5, 5) == value).all()
    with pytest.raises(RadiosslError, match=r"no such image; choose one with --hdu"):
        Mosaic.open(path, "NORTH")


def test_a_usual_file_is_not_read_beyond_its_first_header(tmp_path):
    path = tmp_path / "m.fits"
    fits.HDUList([fits.PrimaryHDU(pixels(7), header()), image("RMS")]).writeto(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: 2 * 2880] + b"\0" * (len(whole) - 2 * 2880))
    assert find_image(path).hdu == 0


# Headers --------------------------------------------------------------------------------------------------------------


DEGREES = {"CRVAL1": 150.0, "CRVAL2": 2.0}
RADIANS = {f"{key}{axis}": np.radians(header()[f"{key}{axis}"]) for key in ("CRVAL", "CDELT") for axis in (1, 2)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"CUNIT1": "DEGREE", "CUNIT2": "DEGREE"},
        {"CUNIT1": "DEG", "CUNIT2": "DEG"},
        {"CUNIT1": "Degrees", "CUNIT2": "Degrees"},
        {"CUNIT1": "RADIANS", "CUNIT2": "RADIANS", **RADIANS},
        {"CTYPE1": "ra---sin", "CTYPE2": "dec--sin"},
        {"RADESYS": "icrs"},
        {"RADESYS": "ICRF"},
        {"EQUINOX": 0.0},
        {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CTYPE3": "FREQ", "CUNIT3": "wibble", "WCSAXES": 3},
    ],
)
def test_headers_are_mended(tmp_path, wrong):
    right, mended = tmp_path / "right.fits", tmp_path / "wrong.fits"
    fits.writeto(right, pixels(7), header(RADESYS="ICRS"))
    fits.writeto(mended, pixels(7), header(**{"RADESYS": "ICRS", **wrong}), output_verify="ignore")
    with Mosaic.open(right) as one, Mosaic.open(mended) as other:
        np.testing.assert_allclose(other.pixel_to_sky(3.0, 17.0), one.pixel_to_sky(3.0, 17.0), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"RADESYS": "fk5"}, {"RADESYS": "FK5"}),
        ({"RADESYS": "J2000"}, {"RADESYS": "FK5", "EQUINOX": 2000.0}),
        ({"RADESYS": "B1950"}, {"RADESYS": "FK4", "EQUINOX": 1950.0}),
        ({"EQUINOX": "B1950"}, {"RADESYS": "FK4", "EQUINOX": 1950.0}),
        ({"EQUINOX": "J2000"}, {"RADESYS": "FK5", "EQUINOX": 2000.0}),
        ({"EPOCH": "1950.0"}, {"RADESYS": "FK4", "EQUINOX": 1950.0}),
    ],
)
def test_frames_are_known_by_other_names(tmp_path, wrong, right):
    paths = tmp_path / "right.fits", tmp_path / "wrong.fits"
    for path, more in zip(paths, (right, wrong), strict=True):
        fits.writeto(path, pixels(7), header(**more), output_verify="ignore")
    with Mosaic.open(paths[0]) as one, Mosaic.open(paths[1]) as other:
        np.testing.assert_allclose(other.pixel_to_sky(3.0, 17.0), one.pixel_to_sky(3.0, 17.0), rtol=0, atol=1e-9)
