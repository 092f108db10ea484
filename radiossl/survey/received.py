"""Files that come as bytes, sent to a page or in a table: known by content alone, small enough, and never executed."""

from __future__ import annotations

import io
import math
import tempfile
import zlib
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from PIL import Image

from radiossl.io.errors import RadiosslError
from radiossl.io.files import staged_folder
from radiossl.survey.fits_image import find_image
from radiossl.survey.image_file import PICTURE_FORMATS

MOST_BYTES = 32 * 2**20
#: Pixels of each side of an upload: a small file may unpack to a huge image, and a thin one becomes a square later.
MOST_SIDE = 4096
_LONGEST_NAME = 80

_GZIP = b"\x1f\x8b"
#: Bytes that a compressed file may unpack to: those of the largest image, and its headers.
_MOST_UNPACKED = 8 * MOST_SIDE**2 + 2**20
#: Compressions of FITS tiles whose tiles have the size that they say.
_SIZED_TILES = ("RICE_1", "RICE_ONE", "PLIO_1", "HCOMPRESS_1", "GZIP_1", "GZIP_2")
#: How files of each kind begin. Archives are not among them.
_BEGINNINGS = {
    b"SIMPLE  =": ".fits",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"II*\x00": ".tif",
    b"MM\x00*": ".tif",
    b"\x93NUMPY": ".npy",
}


class _RefusedError(RadiosslError):
    """Readable, and not taken all the same."""


def saved_upload(data: bytes, folder: Path) -> Path:
    """Write an upload into a folder of the explorer, under a new name, once it is known to be a harmless image.

    The name under which it was sent plays no part. It is refused if it is larger than `MOST_BYTES`, is no image of a
    known kind, or has a side longer than `MOST_SIDE` pixels.
    """
    data = _unpacked(data)
    suffix = _image_suffix(data)
    if suffix is None:
        raise RadiosslError("not an image: a FITS, PNG, JPEG, TIFF or NPY file was expected")
    path = folder / f"upload{suffix}"
    path.write_bytes(data)
    sides = _declared_sides(path, data)
    if not sides or not all(0 < side <= MOST_SIDE for side in sides) or math.prod(sides) > MOST_SIDE**2:
        shown = " x ".join(f"{side:,}" for side in sides)
        raise RadiosslError(f"an image of {shown or 0} pixels; at most {MOST_SIDE:,} x {MOST_SIDE:,} are taken")
    return path


def is_image(data: bytes) -> bool:
    """Return whether bytes begin as an image that `saved_upload` takes, or as something packed."""
    return data.startswith(_GZIP) or _image_suffix(data) is not None


def is_catalogue(data: bytes) -> bool:
    """Return whether an upload is a table rather than an image: text, a VOTable, or FITS without an image."""
    try:
        data = _unpacked(data)
    except RadiosslError:
        return False
    if _image_suffix(data) == ".fits":
        with temporary_folder() as folder:
            path = folder / "upload.fits"
            path.write_bytes(data)
            return b"BINTABLE" in data and not _has_image(path)
    head = data[:4096]
    return bool(head) and b"\0" not in head and _image_suffix(data) is None and head.count(b"\n") > 0


def saved_catalogue(data: bytes, folder: Path) -> Path:
    """Write an uploaded table of at most `MOST_BYTES` into a folder, under a name that tells its format."""
    data = _unpacked(data)
    head = data[:1024].lstrip().lower()
    kinds = {b"simple": ".fits", b"<": ".vot", b"# %ecsv": ".ecsv"}
    path = folder / f"upload{next((end for start, end in kinds.items() if head.startswith(start)), '.csv')}"
    path.write_bytes(data)
    return path


def _image_suffix(data: bytes) -> str | None:
    return next((suffix for beginning, suffix in _BEGINNINGS.items() if data.startswith(beginning)), None)


def _unpacked(data: bytes) -> bytes:
    """An upload without gzip around it; refused if it is too large, or would be."""
    if len(data) > MOST_BYTES:
        raise RadiosslError(f"the file has {len(data) / 2**20:.0f} MB; at most {MOST_BYTES // 2**20} are taken")
    return _inflated(data, _MOST_UNPACKED) if data.startswith(_GZIP) else data


def _inflated(data: bytes, most: int) -> bytes:
    """What gzip packed, if it is no more than this many bytes."""
    packed = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        found = packed.decompress(data, most + 1)
    except zlib.error:
        found = b""
    if len(found) > most:
        raise _RefusedError(f"a compressed file of more than {most / 2**20:.3g} MB; unpack it, or send a part of it")
    if not packed.eof:
        raise _RefusedError("not a readable image: its compression is damaged")
    return found


def _has_image(path: Path) -> bool:
    try:
        find_image(path)
    except RadiosslError:
        return False
    return True


def _check_tiles(path: Path, hdu: int) -> None:
    """Refuse compressed tiles that would unpack to more than a part of an image of the largest size."""
    from astropy.io import fits

    with fits.open(path, disable_image_compression=True) as hdus:
        table = hdus[hdu]
        header, count = table.header, table.header["ZNAXIS"]
        sides = [(header[f"ZNAXIS{axis}"], header.get(f"ZTILE{axis}", 1)) for axis in range(1, count + 1)]
        pixels = math.prod(tile for _, tile in sides)
        tiles = math.prod(-(-side // tile) for side, tile in sides)
        if pixels > MOST_SIDE**2 or tiles != header["NAXIS2"] or header["ZCMPTYPE"] not in _SIZED_TILES:
            raise _RefusedError("a compressed FITS image whose tiles are unusual; unpack it first (funpack)")
        packed = ["GZIP_COMPRESSED_DATA", *(["COMPRESSED_DATA"] if header["ZCMPTYPE"].startswith("GZIP") else [])]
        for name in set(packed) & set(table.columns.names):
            for cell in table.data[name]:
                if len(cell):
                    _inflated(bytes(cell), 8 * pixels)


def shown_name(name: object) -> str:
    """Return the name of an upload as it is shown to its sender: its last part, shortened; it names no file here."""
    text = str(name).replace("\\", "/").rpartition("/")[2]
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text[:_LONGEST_NAME] or "upload"


def temporary_folder() -> AbstractContextManager[Path]:
    """Return a new folder, removed when it is left; the next explorer removes those of killed processes."""
    return staged_folder(Path(tempfile.gettempdir()) / "explorer")


def _declared_sides(path: Path, data: bytes) -> tuple[int, ...]:
    """The sides that the header announces, before any pixel is read."""
    try:
        if path.suffix == ".fits":
            image = find_image(path)
            if image.tiled:
                _check_tiles(path, image.hdu)
            return tuple(image.axes)
        if path.suffix == ".npy":
            stream = io.BytesIO(data)
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return tuple(read(stream)[0])
        with Image.open(path, formats=PICTURE_FORMATS) as picture:
            return tuple(picture.size)
    except _RefusedError:
        raise
    except RadiosslError:
        raise RadiosslError("not a readable image: its header is damaged") from None
    except Exception as error:  # parsers of three formats raise nearly anything on damage
        raise RadiosslError(f"not a readable image ({type(error).__name__})") from None
