"""What is sent to the page is known by its content, and refused before it can do harm."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from radiossl.explorer.uploads import MOST_BYTES, saved_upload, shown_name
from radiossl.io.errors import RadiosslError
from radiossl.survey.image_file import read_image


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


def compressed_fits():
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((64, 64), np.float32))]).writeto(stream)
    return stream.getvalue()


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
        (gzip.compress(fits_bytes(PIXELS)), "not an image"),
        (compressed_fits(), "funpack"),
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
