"""Reading one image of any kind, and one clear line for everything that is none."""

import contextlib
import gzip
import math
import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from astropy import units
from astropy.io import fits
from astropy.nddata import NDData
from PIL import EpsImagePlugin, Image

from radiossl import RadiosslError
from radiossl.survey.image_file import image_of_array, read_image


@pytest.fixture
def image(sky):
    image = sky(0, (20, 30), 2)
    image[2, 3] = np.nan
    return image


def refused(path, *words):
    """The one line that says what is wrong with a file, checked for naming it."""
    with pytest.raises(RadiosslError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message


# FITS -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.fits", "a.fit", "a.FTS", "a.fits.gz"])
def test_fits(tmp_path, image, name):
    fits.PrimaryHDU(image).writeto(tmp_path / name.lower())
    (tmp_path / name.lower()).rename(tmp_path / name)
    result = read_image(tmp_path / name)
    np.testing.assert_array_equal(result, image)
    assert result.dtype == np.dtype("=f4")


def test_compressed_fits(tmp_path):
    image = np.random.default_rng(0).integers(0, 1000, (20, 30)).astype(np.int32)
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type="RICE_1")])
    hdus.writeto(tmp_path / "a.fits.fz")
    np.testing.assert_array_equal(read_image(tmp_path / "a.fits.fz"), image)


def test_image_behind_an_empty_primary_part_and_with_further_axes(tmp_path, image):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image[None, None])]).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.fits")), image)


def test_scaled_integers_and_blank(tmp_path):
    hdu = fits.PrimaryHDU(np.array([[1, 2], [3, -9]], np.int16))
    hdu.header["BLANK"] = -9
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 10.0
    hdu.writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(read_image(tmp_path / "a.fits"), [[10.5, 11.0], [11.5, np.nan]])


def test_real_tiles(real_data):
    for folder in ("tiles", "extra"):
        tile = min((real_data / "first" / folder).glob("*.fits.fz"))
        np.testing.assert_array_equal(read_image(tile), fits.getdata(tile, 1).astype(np.float32))


def test_real_headers_with_unprintable_cards(real_data):
    files = sorted((real_data / "first" / "raw_headers").iterdir())
    assert files
    for file in files:
        image = read_image(file)
        padded = math.ceil(image.nbytes / 2880) * 2880
        data = file.read_bytes()[-padded:][: image.nbytes]
        np.testing.assert_array_equal(image, np.frombuffer(data, ">f4").reshape(image.shape))


def test_zeros_that_pad_an_image_are_blank_as_in_a_mosaic(tmp_path, sky):
    padded = sky(0, (40, 40), rms=1.0)
    padded[:, :7] = 0
    clipped = np.maximum(padded, 0)
    for name, pixels in (("padded", padded), ("clipped", clipped)):
        fits.writeto(tmp_path / f"{name}.fits", pixels)
    assert np.isnan(read_image(tmp_path / "padded.fits")).sum() == 7 * 40
    np.testing.assert_array_equal(read_image(tmp_path / "clipped.fits"), clipped)


def test_cube_is_refused(tmp_path):
    fits.PrimaryHDU(np.zeros((3, 20, 30), np.float32)).writeto(tmp_path / "a.fits")
    refused(tmp_path / "a.fits", "30 x 20 x 3", "single plane")


def test_text_with_a_fits_name_is_refused(tmp_path):
    (tmp_path / "a.fits").write_text("name,ra,dec\n" * 500)
    refused(tmp_path / "a.fits", "not a FITS file")


def test_empty_fits_is_refused(tmp_path):
    (tmp_path / "a.fits").touch()
    refused(tmp_path / "a.fits", "empty file")


def test_fits_without_an_image_is_refused(tmp_path):
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "a.fits")
    refused(tmp_path / "a.fits", "no image")


@pytest.mark.parametrize("kept", [1000, 2880 + 100])
def test_truncated_fits_is_refused(tmp_path, image, kept):
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")
    (tmp_path / "a.fits").write_bytes((tmp_path / "a.fits").read_bytes()[:kept])
    refused(tmp_path / "a.fits", "cut short")


def test_truncated_gzip_is_refused(tmp_path):
    image = np.random.default_rng(0).normal(size=(50, 50)).astype(np.float32)
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits.gz")
    (tmp_path / "a.fits.gz").write_bytes((tmp_path / "a.fits.gz").read_bytes()[:5000])
    refused(tmp_path / "a.fits.gz", "cut short")


def test_truncated_real_tile_is_refused(tmp_path, real_data):
    tile = min((real_data / "first" / "tiles").glob("*.fits.fz"))
    (tmp_path / tile.name).write_bytes(tile.read_bytes()[:20_000])
    refused(tmp_path / tile.name, "cut short")


# NPY ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "u1", "i4", "?"])
def test_npy(tmp_path, dtype):
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    result = read_image(tmp_path / "a.npy")
    np.testing.assert_array_equal(result, array)
    assert result.dtype == np.dtype("=f4")


def test_pickled_npy_is_refused_and_not_run(tmp_path):
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return ran.touch, ()

    np.save(tmp_path / "object.npy", np.array([[Payload()]], dtype=object), allow_pickle=True)
    (tmp_path / "plain.npy").write_bytes(pickle.dumps(Payload()))
    refused(tmp_path / "object.npy", "not a readable NPY file")
    refused(tmp_path / "plain.npy", "not a readable NPY file")
    assert not ran.exists()


@pytest.mark.parametrize("array", [np.zeros((2, 3, 4)), np.zeros(3), np.zeros((2, 2), complex), np.array([["a"]])])
def test_npy_that_is_no_image_is_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    refused(tmp_path / "a.npy", "expected numbers (height, width)")


def test_npy_cut_short_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 9)))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:300])
    refused(tmp_path / "a.npy", "not a readable NPY file")


# Pictures -------------------------------------------------------------------------------------------------------------


def test_picture_rows_are_turned_to_fits_order(tmp_path):
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)  # first row on top
    Image.fromarray(array).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), array[::-1])


@pytest.mark.parametrize(
    ("suffix", "dtype"), [(".png", "u2"), (".tif", "u2"), (".TIFF", "f4"), (".tif", "i4"), (".tif", "f4")]
)
def test_pictures_of_more_than_eight_bits(tmp_path, suffix, dtype):
    array = (1000 * np.arange(12).reshape(3, 4)).astype(dtype)
    Image.fromarray(array).save(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), array[::-1])


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_averaged(tmp_path, mode):
    array = np.random.default_rng(0).integers(1, 256, (5, 6, len(mode)), dtype=np.uint8)
    Image.fromarray(array, mode).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), array[::-1, :, :3].mean(axis=2), rtol=1e-6)


def test_palette_pictures_are_read_by_their_colours(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([30, 60, 90, 200, 200, 200])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), [[60, 200]])


@pytest.mark.parametrize("dtype", [">u2", "<u2"])
def test_tiff_of_16_bits_in_either_byte_order(tmp_path, dtype):
    array = (5000 * np.arange(12).reshape(3, 4)).astype(dtype)
    big = dtype[0] == ">"
    mode = "I;16B" if big else "I;16"
    Image.frombytes(mode, (4, 3), array.tobytes()).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as picture:
        assert picture.mode == mode
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), array[::-1])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I;16"])
def test_what_is_transparent_is_blank(tmp_path, mode):
    grey = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    alpha = np.array([[255, 0, 255], [255, 128, 255]], np.uint8)
    expected = grey.astype(float)
    expected[0, 1] = np.nan
    if mode in ("RGBA", "LA"):
        layers = [grey] * (len(mode) - 1) + [alpha]
        Image.fromarray(np.stack(layers, axis=2), mode).save(tmp_path / "a.png")
    elif mode == "P":
        picture = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3), "P")
        picture.putpalette(np.repeat(grey.ravel(), 3).tobytes())
        picture.save(tmp_path / "a.png", transparency=1)
    else:
        picture = Image.fromarray(grey if mode == "L" else grey.astype(np.uint16))
        picture.save(tmp_path / "a.png", transparency=20)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected[::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_turned_pictures_are_turned_back(tmp_path, orientation, suffix):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3)
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(turn(upright))).save(tmp_path / f"a{suffix}", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), upright[::-1])


def test_colours_of_16_bits_are_refused(tmp_path):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + np.full((3, 3), 256 * row + 7, ">u2").tobytes() for row in range(3))
    head = struct.pack(">IIBBBBB", 3, 3, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    refused(tmp_path / "a.png", "16 bits", "one channel")


def test_several_pages_are_refused_and_previews_left_aside(tmp_path):
    pages = [Image.fromarray(np.full((6, 6), value, np.uint8)) for value in (1, 2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    refused(tmp_path / "a.tif", "2 pages")
    pages[0].save(tmp_path / "b.tif", save_all=True, append_images=[pages[1].resize((2, 2))])
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), np.ones((6, 6)))


def test_unsigned_integers_of_32_bits(tmp_path):
    array = np.array([[0, 1], [2**31, 2**32 - 256]], np.uint32)
    Image.fromarray(array.view(np.int32), "I").save(tmp_path / "signed.tif")
    signed, unsigned = (struct.pack("<HHIHH", 339, 3, 1, kind, 0) for kind in (2, 1))  # SampleFormat
    content = (tmp_path / "signed.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content.replace(signed, unsigned))
    with Image.open(tmp_path / "a.tif") as written:
        assert written.tag_v2[339] == (1,)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), array[::-1].astype(np.float32))


def test_jpeg(tmp_path):
    Image.fromarray(np.full((16, 24), 100, np.uint8)).save(tmp_path / "a.jpg")
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), np.full((16, 24), 100), atol=2)


@pytest.mark.parametrize("kept", [10, 40, 300])
def test_broken_picture_is_refused(tmp_path, kept):
    array = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:kept])
    refused(tmp_path / "a.png", "not a readable picture")


def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (8, 8)).save(path, "EPS")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("PostScript was run"))
    refused(path, "not a readable picture")


def test_text_with_a_picture_name_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    refused(tmp_path / "a.png", "not a readable picture")


# Arrays ---------------------------------------------------------------------------------------------------------------


def test_what_is_masked_is_blank():
    masked = np.ma.array([[1, 2], [3, 4]], mask=[[False, True], [False, False]])
    np.testing.assert_array_equal(image_of_array(masked), [[1, np.nan], [3, 4]])
    np.testing.assert_array_equal(image_of_array(NDData(masked.data, mask=masked.mask)), [[1, np.nan], [3, 4]])


def test_arrays_of_every_kind():
    expected = np.array([[1, 2]], np.float32)
    for array in ([[1, 2]], np.array([[1, 2]], ">i2"), torch.tensor([[1, 2]]), [[1, 2]] * units.Jy):
        np.testing.assert_array_equal(image_of_array(array), expected)


def test_colours_of_an_array_are_averaged():
    colours = np.random.default_rng(0).uniform(size=(40, 50, 3))
    np.testing.assert_allclose(image_of_array(colours), colours.mean(axis=2), rtol=1e-6)
    seen = np.dstack([colours, np.arange(2000).reshape(40, 50) > 0])
    assert np.isnan(image_of_array(seen)[0, 0])
    np.testing.assert_allclose(image_of_array(seen).ravel()[1:], colours.mean(axis=2).ravel()[1:], rtol=1e-6)


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((5, 6, 7)), np.zeros((2, 2), complex), [["a"]]])
def test_arrays_that_are_no_image_are_refused(array):
    with pytest.raises(RadiosslError, match=r"query: .* expected numbers \(height, width\)"):
        image_of_array(array, "query")


# Anything -------------------------------------------------------------------------------------------------------------


def test_missing_file_folder_and_unknown_kind_are_refused(tmp_path):
    refused(tmp_path / "a.fits", "no such file")
    (tmp_path / "b.fits").mkdir()
    refused(tmp_path / "b.fits", "folder")
    (tmp_path / "c.csv").write_text("a,b")
    refused(tmp_path / "c.csv", "expected a file ending in", ".fits", ".npy", ".png")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz", "a.fits.fz", "a.npy", "a.png", "a.jpg", "a.tif"])
def test_damage_gives_an_image_or_a_radiossl_error(tmp_path, name, capfd):
    """Whatever bytes are changed: no other exception than the one that the command line knows."""
    rng = np.random.default_rng(0)
    image, path = rng.integers(0, 256, (24, 20), dtype=np.uint8), tmp_path / name
    if name == "a.fits.fz":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image.astype(np.int16))]).writeto(path)
    elif ".fits" in name:
        fits.PrimaryHDU(image).writeto(path)
    elif name == "a.npy":
        np.save(path, image)
    else:
        Image.fromarray(image).save(path)
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), rng.choice([200, 3000, 9000])), rng.integers(1, 8)):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged[: rng.choice([len(whole), len(whole), rng.integers(1, len(whole))])])
        with contextlib.suppress(RadiosslError):
            assert read_image(path).ndim == 2
    capfd.readouterr()  # libtiff complains on its own


def test_an_endless_header_is_not_read_to_its_end(tmp_path):
    lines = b"".join(card.ljust(80) for card in (b"SIMPLE  =                    T", b"NAXIS   =                    0"))
    with gzip.open(tmp_path / "a.fits.gz", "wb", 1) as file:
        file.write(lines + b" " * 80 * 250_000)
    refused(tmp_path / "a.fits.gz", "a header of more than 200,000 lines")


@pytest.mark.parametrize("suffix", ["png", "tif", "npy", "fits", "fits.fz"])
@pytest.mark.parametrize("shape", [(1, 100_000), (20_000, 2)])
def test_thin_images_are_refused_before_they_become_squares(tmp_path, suffix, shape):
    path, image = tmp_path / f"a.{suffix}", np.zeros(shape, np.uint8)
    if suffix == "npy":
        np.save(path, image)
    elif suffix == "fits":
        fits.PrimaryHDU(image).writeto(path)
    elif suffix == "fits.fz":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image.astype(np.int16))]).writeto(path)
    else:
        Image.fromarray(image).save(path)
    refused(path, "pixels; one image may have 16,384 a side")
    with pytest.raises(RadiosslError, match="16,384 a side"):
        image_of_array(image)
