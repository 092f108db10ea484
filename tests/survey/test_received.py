"""What is sent to the page is known by its content, and refused before it can do harm."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from radiossl.io.errors import RadiosslError
from radiossl.survey.catalogue import read_catalogue
from radiossl.survey.image_file import read_image
from radiossl.survey.received import MOST_BYTES, is_catalogue, saved_catalogue, saved_upload, shown_name


def fits_bytes(pixels, **cards):
    stream = io.BytesIO()
    header = fits.Header()
    header.update(cards)
    fits.PrimaryHDU(pixels, header).writeto(stream)
    return stream.getvalue()


def picture_bytes(kind, size=(20, 10)):
    stream = io.BytesIO()
    Image.new("L", size, 9).save(stream, kind)
    return stream.getvalue()


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


PIXELS = np.arange(200, dtype=np.float32).reshape(10, 20)


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (fits_bytes(PIXELS), ".fits"),
        (picture_bytes("PNG"), ".png"),
        (picture_bytes("JPEG"), ".jpg"),
        (picture_bytes("TIFF"), ".tif"),
        (npy_bytes(PIXELS), ".npy"),
    ],
)
def test_images_of_every_kind_are_known_by_their_content(tmp_path, data, suffix):
    path = saved_upload(data, tmp_path)
    assert path == tmp_path / f"upload{suffix}"
    assert read_image(path).shape == (10, 20)


def compressed_fits(pixels, kind="RICE_1", change=None, **options):
    """A tile-compressed FITS image, as fpack writes it; `change` may falsify its table."""
    stream = io.BytesIO()
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, compression_type=kind, **options)])
    hdus.writeto(stream)
    if change is None:
        return stream.getvalue()
    stream.seek(0)
    with fits.open(stream, disable_image_compression=True) as opened:
        table = opened[1]
        change(table)
        changed = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(changed, output_verify="ignore")
    return changed.getvalue()


def tile_bomb():
    """GZIP tiles of which one unpacks to a hundred times what it may."""
    stream = io.BytesIO(compressed_fits(np.zeros((64, 64), np.int16), "GZIP_1", tile_shape=(1, 64)))
    hdus = fits.open(stream, disable_image_compression=True)
    table = hdus[1]
    cells = [np.frombuffer(bytes(cell), np.uint8) for cell in table.data["COMPRESSED_DATA"]]
    cells[5] = np.frombuffer(gzip.compress(bytes(64 * 8 * 100), mtime=0), np.uint8)
    made = fits.BinTableHDU.from_columns(
        [fits.Column("COMPRESSED_DATA", "1PB()", array=np.array(cells, dtype=object))], header=table.header
    )
    changed = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), made]).writeto(changed)
    return changed.getvalue()


def huge_tiles(table):
    table.header["ZTILE1"] = table.header["ZTILE2"] = 100_000


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
def test_compressed_images_are_taken(tmp_path, kind):
    pixels = np.random.default_rng(0).normal(size=(48, 40)).astype(np.float32)
    lossless = {} if kind == "HCOMPRESS_1" else {"quantize_level": 0} if kind != "RICE_1" else {}
    shape = {"tile_shape": (48, 40)} if kind == "HCOMPRESS_1" else {}
    for data in (compressed_fits(pixels, kind, **lossless, **shape), gzip.compress(fits_bytes(pixels), mtime=0)):
        read = read_image(saved_upload(data, tmp_path))
        np.testing.assert_allclose(read, pixels, atol=0.2)


TEXT = b"ra,dec\n10.0,-5.0\n"


def vot_bytes():
    stream = io.BytesIO()
    Table({"ra": [10.0], "dec": [-5.0]}).write(stream, format="votable")
    return stream.getvalue()


def table_bytes():
    stream = io.BytesIO()
    Table({"ra": [10.0], "dec": [-5.0]}).write(stream, format="fits")
    return stream.getvalue()


@pytest.mark.parametrize(
    "data", [TEXT, gzip.compress(TEXT, mtime=0), vot_bytes(), table_bytes()], ids=["text", "gzip", "votable", "fits"]
)
def test_catalogues_are_told_from_images(tmp_path, data):
    assert is_catalogue(data)
    assert read_catalogue(saved_catalogue(data, tmp_path)).ra_deg.tolist() == [10.0]
    images = fits_bytes(PIXELS), compressed_fits(PIXELS), picture_bytes("PNG"), npy_bytes(PIXELS), b"", bytes(99)
    assert not any(map(is_catalogue, images))


def huge_header(width):
    """A FITS file that announces more pixels than it has."""
    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", width), ("NAXIS2", width)])
    return header.tostring().encode()


def endless_header():
    """A FITS file whose second part claims a size that leads back to its own header."""
    first = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    second = fits.Header(
        {"XTENSION": "BINTABLE", "BITPIX": 8, "NAXIS": 2, "NAXIS1": 1, "NAXIS2": 2880, "PCOUNT": 0, "GCOUNT": -1}
    )
    return first.tostring().encode() + second.tostring().encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not an image"),
        (b"#!/bin/sh\nrm -rf /\n", "not an image"),
        (gzip.compress(b"no image", mtime=0), "not an image"),
        (gzip.compress(bytes(400 * 2**20), 1, mtime=0), "a compressed file of more than"),
        (gzip.compress(fits_bytes(PIXELS), mtime=0)[:20] + b"damage", "compression is damaged"),
        (compressed_fits(np.zeros((64, 64), np.float32), change=huge_tiles), "funpack"),
        (tile_bomb(), "a compressed file of more than"),
        (fits_bytes(PIXELS)[:3000], "not a readable image"),
        (huge_header(100_000), "not a readable image"),
        (endless_header(), "not a readable image"),
        (picture_bytes("PNG")[:40], "not a readable image"),
        (picture_bytes("PNG", (5000, 5000)), "pixels"),
        (npy_bytes(np.zeros((5000, 5000), np.uint8)), "pixels"),
        (npy_bytes(np.zeros((1, 100_000), np.uint8)), "1 x 100,000 pixels"),
        (picture_bytes("PNG", (100_000, 1)), "pixels; at most 4,096 x 4,096"),
        (npy_bytes(np.zeros((3000, 3000, 2), np.uint8)), "pixels"),
        (b"\x93NUMPY\x01\x00\x10\x00" + b"__import__('os')", "not a readable image"),
        (b"GIF89a" + bytes(100), "not an image"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_all_else_is_refused(tmp_path, data, said):
    with pytest.raises(RadiosslError, match=said):
        saved_upload(data, tmp_path)


def test_large_files_are_refused_unread(tmp_path):
    with pytest.raises(RadiosslError, match="at most 32"):
        saved_upload(b"SIMPLE  =" + bytes(MOST_BYTES), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_in_an_npy_file_is_not_opened(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    path = saved_upload(npy_bytes(np.array([[Harm()]], dtype=object)), tmp_path)
    with pytest.raises(RadiosslError, match="not a readable NPY"):
        read_image(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\x.fits", "x.fits"),
        ("a\nb\x00.png", "a?b?.png"),
        ("..", ".."),
        ("", "upload"),
        ("x" * 500, "x" * 80),
    ],
)
def test_names_are_only_shown(name, shown):
    assert shown_name(name) == shown
