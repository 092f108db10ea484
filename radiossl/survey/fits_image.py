"""The image in a FITS file: which part it is, and reading pieces of it, plain, gzipped or tile-compressed."""

from __future__ import annotations

import gzip
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError, reason_of
from radiossl.survey.finding import SCIENCE, is_auxiliary, name_words
from radiossl.survey.header import celestial_axes

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from radiossl.survey.rice import RiceTiles

_BLOCK = 2880
_CARD = 80
#: Lines of a header; a gzipped file of a megabyte could hold a gigabyte of them.
_MOST_CARDS = 200_000
_PRINTABLE = re.compile(rb"[ -~]*")
_GZIP_MAGIC = b"\x1f\x8b"
_PACKINGS = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x9d": "compress",
    b"PK\x03\x04": "zip",
}
_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
#: No brightness in any unit reaches this: numbers beyond it mean "not observed".
BRIGHTEST = 1e18
#: So do some whole numbers from this one down: see `radiossl.survey.padding.blank_marker`.
HIGHEST_MARKER = -9.0
#: Rows of a compressed mosaic that are held decompressed at a time, in bytes of float32.
BAND_BYTES = 32 * 2**20
#: Compressed pixels that are worth loading compiled code for.
_LARGE = 2**20
#: Rectangles that together have more than this part of the pixels of a band are cut from the whole of it.
_DENSE = 0.1


class Box(NamedTuple):
    """A rectangle of pixels: the first pixel's position, width and height. It may reach beyond the mosaic."""

    x0: int
    y0: int
    width: int
    height: int

    def cut_out(self, image: NDArray[Any], outside: float) -> NDArray[Any]:
        """Return this rectangle of an image (height, width), a copy, with `outside` where it reaches beyond it."""
        y0, x0 = max(self.y0, 0), max(self.x0, 0)
        inside = image[y0 : max(self.y0 + self.height, 0), x0 : max(self.x0 + self.width, 0)]
        box = np.full((self.height, self.width), outside, dtype=image.dtype)
        if inside.size:
            y, x = y0 - self.y0, x0 - self.x0
            box[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return box


# Finding the image ---------------------------------------------------------------------------------------------------


class FitsImage(NamedTuple):
    """Where the image of a FITS file is and how it is stored."""

    header: Header
    axes: tuple[int, ...]
    hdu: int
    offset: int
    size: int
    gzipped: bool
    tiled: bool

    @property
    def name(self) -> str:
        """EXTNAME of the header, "" if it has none."""
        return str(self.header.get("EXTNAME", "")).strip()

    @property
    def is_floating(self) -> bool:
        """Whether the pixels are stored as floating-point numbers."""
        return bool(self.header.get("ZBITPIX" if self.tiled else "BITPIX", 8) < 0)

    @property
    def merit(self) -> tuple[bool, bool, bool, bool, bool]:
        """The reasons to take it for the science image of its file, the weightiest first."""
        sky = set(celestial_axes(self.header, len(self.axes)))
        planes = all(length == 1 for axis, length in enumerate(self.axes, start=1) if axis not in sky)
        words = name_words(self.name)
        measured = self.is_floating or self.header.get("BSCALE", 1) != 1  # a mask holds whole numbers
        return len(sky) == 2 and planes, not is_auxiliary(words), measured, bool(words & SCIENCE), self.hdu == 0


def find_image(path: Path, hdu: str | int | None = None) -> FitsImage:
    """Find the science image of a file by its headers, or the one whose name or number is `hdu`.

    Images with celestial coordinates and a single plane come first, then those whose name is not that of a mask, a
    weight or the like, those that do not hold bare whole numbers, those called SCI or IMAGE, and the primary one. Only
    headers are read, and by hand: astropy's own walk costs three times more per file, and on a gzipped file
    decompresses everything on its way. Raises `RadiosslError` if the file is not FITS or cut short, has no image or not
    that one, or several that are equally good.
    """
    images = []
    for image in _walk(path):
        images.append(image)
        if hdu is None and all(image.merit[:3]) and image.hdu == 0:
            break  # nothing can be better
    image = _chosen(path, images, hdu)
    if not image.gzipped and (size := path.stat().st_size) < (promised := image.offset + image.size):
        raise RadiosslError(f"{path}: cut short, {size} bytes where its header promises {promised}; fetch it again")
    return image


def _chosen(path: Path, images: list[FitsImage], hdu: str | int | None) -> FitsImage:
    if not images:
        raise RadiosslError(f"{path}: has no image; expected one of at least two axes")
    if hdu is not None:
        named = [image for image in images if str(hdu).strip().upper() in (str(image.hdu), image.name.upper())]
    else:
        best = max(image.merit for image in images)
        named = [image for image in images if image.merit == best]
    if len(named) == 1:
        return named[0]
    which = "no such image" if not named else "several images could be meant"
    listed = ", ".join(f"{image.hdu} {image.name}".strip() for image in images)
    raise RadiosslError(f"{path}: {which}; choose one with --hdu (there are {listed})")


def _walk(path: Path) -> Iterator[FitsImage]:
    with path.open("rb") as raw:
        gzipped = raw.read(2) == _GZIP_MAGIC
    with cast(IO[bytes], gzip.open(path)) if gzipped else path.open("rb") as file:
        hdu = 0
        while (header := _read_header(path, file, hdu)) is not None:
            bits, axes = header.get("BITPIX", 8), _axes(header, "")
            tiled = bool(header.get("ZIMAGE", False))
            grouped = axes[1:] if header.get("GROUPS", False) and axes[:1] == (0,) else axes
            count = math.prod(grouped) if grouped else 0
            size = abs(bits) // 8 * header.get("GCOUNT", 1) * (header.get("PCOUNT", 0) + count)
            if size < 0:  # would lead back to this header, for ever
                raise RadiosslError(f"{path}: its header promises {size} bytes; fetch it again")
            is_image = tiled or (hdu == 0 or str(header.get("XTENSION", "")).strip() == "IMAGE")
            image_axes = _axes(header, "Z") if tiled else axes
            offset = file.tell()
            if is_image and len(image_axes) >= 2 and 0 not in image_axes:
                yield FitsImage(header, image_axes, hdu, offset, size, gzipped, tiled)
            file.seek(offset + math.ceil(size / _BLOCK) * _BLOCK)
            hdu += 1


def _axes(header: Header, prefix: str) -> tuple[int, ...]:
    return tuple(int(header[f"{prefix}NAXIS{axis}"]) for axis in range(1, header.get(f"{prefix}NAXIS", 0) + 1))


def _read_header(path: Path, file: IO[bytes], hdu: int) -> Header | None:
    """Read one header without its unprintable cards; None at the end of the file."""
    from astropy.io.fits import Header

    cards: list[bytes] = []
    while True:
        block = file.read(_BLOCK)
        first = b"SIMPLE  =" if hdu == 0 else b"XTENSION="
        if not cards and not block.startswith(first):
            if hdu > 0:
                return None  # the end, or the odd bytes that some writers leave behind the last part
            packing = next((name for magic, name in _PACKINGS.items() if block.startswith(magic)), None)
            what = f"packed by {packing}, unpack it first" if packing else "not a FITS file"
            raise RadiosslError(f"{path}: {what if block else 'an empty file, FITS was expected'}")
        if len(block) < _BLOCK:
            raise RadiosslError(f"{path}: cut short inside a header; fetch it again")
        if len(cards) > _MOST_CARDS:
            raise RadiosslError(f"{path}: a header of more than {_MOST_CARDS:,} lines; fetch it again")
        cards += [block[start : start + _CARD] for start in range(0, _BLOCK, _CARD)]
        if any(card.rstrip() == b"END" for card in cards[-_BLOCK // _CARD :]):
            break
    printable = b"".join(filter(_PRINTABLE.fullmatch, cards))
    return Header.fromstring(printable.decode("ascii"))


# The pixels -----------------------------------------------------------------------------------------------------------


def pixels_of(path: Path, image: FitsImage, shape: tuple[int, int], celestial: Sequence[int]) -> Pixels:
    """Return the reader for an image of `shape` whose axes `celestial`, counted from 1, are those of x and y."""
    reader = _TiledPixels if image.tiled else _GzippedPixels if image.gzipped else _MappedPixels
    return reader(path, image, shape, celestial)


class Pixels:
    """An image in a file that is opened when the first pixels are asked for."""

    #: Whether whole rows have to be decompressed anyway.
    by_rows = True

    def __init__(self, path: Path, image: FitsImage, shape: tuple[int, int], celestial: Sequence[int]) -> None:
        self._path, self._image, self._width, self._celestial = path, image, shape[1], celestial
        if not image.tiled:
            self._dtype = np.dtype(_DTYPES[image.header["BITPIX"]])
            self._row_bytes = shape[1] * self._dtype.itemsize
            self._scale, self._zero = (float(image.header.get(*key)) for key in (("BSCALE", 1.0), ("BZERO", 0.0)))
            if self._scale == 0 or not math.isfinite(self._scale + self._zero):
                raise RadiosslError(f"{path}: BSCALE {self._scale:g} and BZERO {self._zero:g} leave no valid pixel")
            self._blank = image.header.get("BLANK")
        self._file: Any = None

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[np.float32]:
        """Return rows `y0` to `y1` and columns `x0` to `x1`, the ends excluded; blank pixels are not finite."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file; `read` opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _scaled(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return the brightness that stored numbers mean (FITS standard 4.0, section 4.4.2.5)."""
        if (self._scale, self._zero) == (1.0, 0.0):
            pixels = stored.astype(np.float32)
        else:
            pixels = (stored.astype(np.float64) * self._scale + self._zero).astype(np.float32)
        if self._blank is not None and stored.dtype.kind in "iu":
            pixels[stored == self._blank] = np.nan
        return pixels


class _MappedPixels(Pixels):
    """An uncompressed image, of which only the rows that are being read are mapped into memory."""

    by_rows = False

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[np.float32]:
        if self._file is None:
            self._file = self._path.open("rb")
        start = self._image.offset + y0 * self._row_bytes
        rows = np.memmap(self._file, self._dtype, "r", start, (y1 - y0, self._width))
        return self._scaled(np.asarray(rows[:, x0:x1]))


class _GzippedPixels(Pixels):
    """A gzipped image, decompressed as a stream: memory stays small, but going back means starting over."""

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[np.float32]:
        if self._file is None:
            self._file = gzip.open(self._path)  # noqa: SIM115 (closed by `close`)
        self._file.seek(self._image.offset + y0 * self._row_bytes)
        stored = self._file.read((y1 - y0) * self._row_bytes)
        if len(stored) < (y1 - y0) * self._row_bytes:
            raise EOFError("the data end too early")
        rows = np.frombuffer(stored, self._dtype).reshape(y1 - y0, self._width)
        return self._scaled(rows[:, x0:x1])


class _TiledPixels(Pixels):
    """A tile-compressed image (fpack), decompressed by astropy tile by tile, large parts on all cores if possible."""

    @cached_property
    def _rice(self) -> RiceTiles | None:
        from radiossl.survey.rice import RiceTiles  # compiled

        return RiceTiles.of(self._path, self._image) if list(self._celestial) == [1, 2] else None

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[np.float32]:
        from astropy.io import fits

        if (y1 - y0) * (x1 - x0) >= _LARGE and self._rice and (quick := self._rice.read(y0, y1, x0, x1)) is not None:
            return quick

        where: list[int | slice] = [0] * len(self._image.axes)
        for axis, part in zip(self._celestial, (slice(x0, x1), slice(y0, y1)), strict=True):
            where[len(where) - axis] = part
        with warnings.catch_warnings(action="ignore"):
            if self._file is None:
                self._file = fits.open(self._path)
            return np.asarray(self._file[self._image.hdu].section[tuple(where)], dtype=np.float32)


class Bands:
    """Serves rectangles from a band of rows that moves upwards through the mosaic.

    Compressed rows have to be decompressed as a whole anyway. Of others a band is read where rectangles lie close
    together; a single one is read by itself.
    """

    def __init__(self, pixels: Pixels, shape: tuple[int, int]) -> None:
        self._pixels, self._shape = pixels, shape
        self._rows = max(1, BAND_BYTES // (4 * shape[1]))
        self._start = 0
        self._band = np.empty((0, shape[1]), dtype=np.float32)
        self._sparse = 0

    def read(self, y0: int, y1: int, x0: int, x1: int, following: Iterable[Box]) -> NDArray[np.float32]:
        """Return a rectangle inside the image; `following` are those that will be asked for next."""
        if y0 < self._start or y1 > self._start + len(self._band):
            if not self._pixels.by_rows and self._sparse - self._rows <= y0 < self._sparse:
                return self._pixels.read(y0, y1, x0, x1)
            end, wanted = self._end(y0, y1, following)
            if not self._pixels.by_rows and wanted < _DENSE * (end - y0) * self._shape[1]:
                self._sparse = y0 + self._rows  # no need to ask again before that row
                return self._pixels.read(y0, y1, x0, x1)
            self._move(y0, end)
        return self._band[y0 - self._start : y1 - self._start, x0:x1]

    def _end(self, y0: int, y1: int, following: Iterable[Box]) -> tuple[int, int]:
        """Return the last row worth reading now, what the next rectangles need within the budget, and their pixels."""
        wanted = 0
        for box in following:
            end = min(box.y0 + box.height, self._shape[0])
            if box.y0 < y0 or end > y0 + self._rows:
                break
            y1 = max(y1, end)
            wanted += box.width * box.height
        return y1, wanted

    def _move(self, start: int, end: int) -> None:
        """Hold the rows from `start` to before `end`, of which only those are read that are not held yet."""
        held = self._band[start - self._start :] if start >= self._start else self._band[:0]
        count = len(held)
        self._band = np.empty((end - start if count else 0, self._shape[1]), dtype=np.float32)
        self._band[:count] = held
        self._start = start
        del held  # the rows before go: there are never more than two bands in memory
        fresh = self._pixels.read(start + count, end, 0, self._shape[1])
        if count:
            self._band[count:] = fresh
        else:
            self._band = fresh


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever readers raise on a damaged file into one line that names the file."""
    try:
        yield
    except (RadiosslError, MemoryError):
        raise
    except PermissionError:
        raise RadiosslError(f"{path}: may not be read (permission denied)") from None
    except Exception as error:  # cfitsio has exceptions of its own, and astropy trips over damage in many ways
        raise RadiosslError(f"{path}: damaged or cut short ({reason_of(error)}); fetch it again") from None
