"""Decompressing tiles of RICE_1, the usual compression of float mosaics, on all cores.

astropy's decoder holds the interpreter's lock and looks headers up tile by tile. This one is compiled, works on many
tiles at a time in threads and gives the same numbers to the bit; it takes float32 images quantised to 32-bit integers,
and leaves all else, damage included, to astropy.

Sources: FITS standard 4.0, sections 10.2 (quantisation, dithering), 10.4.1 (Rice) and appendix I (random numbers).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from radiossl.io.compiling import exact_kernel
from radiossl.io.cores import threads

if TYPE_CHECKING:
    from radiossl.survey.fits_image import FitsImage

_DITHERS = {"NONE": 0, "NO_DITHER": 0, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}
#: How many random numbers dithering has.
_RANDOM = 10_000
#: What an exact zero is quantised to by SUBTRACTIVE_DITHER_2.
_ZERO = -2147483646
#: Bits that give the length of the binary part of a block, and the length that means "stored as it is".
_LENGTH_BITS, _VERBATIM = 5, 25
_PARTS_PER_THREAD = 4
#: Zero bits before the first 1 in a byte.
_LEADING_ZEROS = np.array([8 - int(byte).bit_length() for byte in range(256)], dtype=np.uint8)


class RiceTiles(NamedTuple):
    """The tiles of one image in a file, of which `read` decompresses those that a rectangle needs."""

    #: The compressed bytes of all tiles, mapped.
    heap: NDArray[np.uint8]
    #: Length and first byte of each tile, and its scale and zero point, both of shape (tiles, 2).
    places: NDArray[np.int64]
    scales: NDArray[np.float64]
    #: (height, width) of the image and of a tile.
    shape: tuple[int, int]
    tile: tuple[int, int]
    #: Pixels per block, kind of dithering, row of the random numbers, and the number that means "not observed".
    coding: tuple[int, int, int, int]

    @classmethod
    def of(cls, path: Path, image: FitsImage) -> RiceTiles | None:
        """Return the tiles of a compressed image; None if astropy has to read them."""
        from astropy.io import fits

        get = image.header.get
        settings = {str(get(f"ZNAME{i}")).upper(): get(f"ZVAL{i}") for i in range(1, 9)}
        known = (
            get("ZCMPTYPE") in ("RICE_1", "RICE_ONE")
            and get("ZBITPIX") == -32
            and settings.get("BYTEPIX", 4) == 4
            and get("ZQUANTIZ", "NO_DITHER") in _DITHERS
            and not {"BSCALE", "BZERO", "BLANK"} & set(image.header)
            and not image.gzipped
            and all(length == 1 for length in image.axes[2:])
        )
        if not known:
            return None
        with fits.open(path, disable_image_compression=True) as hdus:
            columns = hdus[image.hdu].columns
            forms = dict(zip(columns.names, columns.formats, strict=True))
            row = columns.dtype.newbyteorder(">")
        if "ZBLANK" in forms or not {"ZSCALE", "ZZERO"} <= set(forms):
            return None
        if forms.get("COMPRESSED_DATA", "").removeprefix("1")[:2] not in ("PB", "QB"):
            return None
        table = np.memmap(path, row, "r", image.offset, (get("NAXIS2"),))
        heap = image.offset + get("THEAP", get("NAXIS1") * get("NAXIS2"))
        return cls(
            np.memmap(path, np.uint8, "r", heap, (image.offset + image.size - heap,)),
            table["COMPRESSED_DATA"].astype(np.int64),
            np.stack([table["ZSCALE"], table["ZZERO"]], axis=1).astype(np.float64),
            (image.axes[1], image.axes[0]),
            (get("ZTILE2", 1), get("ZTILE1", image.axes[0])),
            (
                int(settings.get("BLOCKSIZE", 32)),
                _DITHERS[get("ZQUANTIZ", "NO_DITHER")],
                int(get("ZDITHER0", 0)),
                int(get("ZBLANK", 2**40)),  # no 32 bits hold that
            ),
        )

    def read(self, y0: int, y1: int, x0: int, x1: int) -> NDArray[np.float32] | None:
        """Return rows `y0` to `y1` and columns `x0` to `x1`, NaN where blank; None if astropy has to read them."""
        high, wide = self.tile
        top, left, end, right = y0 // high, x0 // wide, -(-y1 // high), -(-x1 // wide)
        across = -(-self.shape[1] // wide)
        tiles = (np.arange(top, end)[:, None] * across + np.arange(left, right)).ravel()
        if tiles[-1] >= len(self.places):
            return None
        lengths, starts = self.places[tiles].T
        if (lengths < 4).any() or (starts < 0).any() or (starts + lengths > len(self.heap)).any():
            return None
        y, x = top * high, left * wide
        image = np.empty((min(end * high, self.shape[0]) - y, min(right * wide, self.shape[1]) - x), dtype=np.float32)

        def decode(part: NDArray[np.int64]) -> bool:
            tables = (_random_numbers(), _LEADING_ZEROS)
            where = (top, left, across, high, wide)
            return _decode_tiles(self.heap, self.places, self.scales, part, image, where, self.coding, tables)

        with ThreadPoolExecutor(threads()) as pool:
            if not all(pool.map(decode, np.array_split(tiles, _PARTS_PER_THREAD * threads()))):
                return None
        return image[y0 - y : y1 - y, x0 - x : x1 - x]


@lru_cache(maxsize=1)
def _random_numbers() -> NDArray[np.float32]:
    found, state = np.empty(_RANDOM, dtype=np.float32), 1
    for place in range(_RANDOM):
        state = 16807 * state % 2147483647
        found[place] = state / 2147483647
    return found


@exact_kernel
def _decode_tiles(heap, places, scales, tiles, image, where, coding, tables):  # type: ignore[no-untyped-def]
    """Decode some tiles into an image; False if the bytes of one do not suffice."""
    top, left, across, high, wide = where
    for tile in tiles:
        y, x = (tile // across - top) * high, (tile % across - left) * wide
        size, start = places[tile]
        target = image[y : y + high, x : x + wide]
        if not _decode(heap[start : start + size], target, tile, scales[tile, 0], scales[tile, 1], coding, tables):
            return False
    return True


@exact_kernel
def _filled(bits, held, data, at):  # type: ignore[no-untyped-def]
    """Take four more bytes, or what is left of them, behind the bits that are held."""
    if at + 4 <= len(data):
        word = np.uint64(0)
        for i in range(at, at + 4):
            word = word << np.uint64(8) | np.uint64(data[np.uint64(i)])
        return bits | word << np.uint64(32 - held), held + 32, at + 4
    while held <= 56 and at < len(data):
        bits |= np.uint64(data[at]) << np.uint64(56 - held)
        held, at = held + 8, at + 1
    return bits, held, at


@exact_kernel
def _decode(data, target, tile, scale, zero, coding, tables):  # type: ignore[no-untyped-def]
    block, dither, row, blank = coding
    random, leading = tables
    last = np.int32(np.uint32(_filled(np.uint64(0), 0, data, 0)[0] >> np.uint64(32)))
    bits, held, at = np.uint64(0), 0, 4  # the next bits of the stream, the highest first, and how many
    if dither:
        seed = (tile + row - 1) % _RANDOM
        place = int(random[seed] * np.float32(500))
    in_block, length = 0, 0
    height, width = target.shape
    for y in range(height):
        for x in range(width):
            if held < 32:
                bits, held, at = _filled(bits, held, data, at)
            if in_block == 0:
                in_block = block
                length = int(bits >> np.uint64(64 - _LENGTH_BITS)) - 1
                bits <<= np.uint64(_LENGTH_BITS)
                held -= _LENGTH_BITS
                if held < 32:
                    bits, held, at = _filled(bits, held, data, at)
            in_block -= 1
            if length == _VERBATIM:
                difference = np.uint32(bits >> np.uint64(32))
                bits <<= np.uint64(32)
                held -= 32
            elif length >= 0:
                zeros = 0
                while bits >> np.uint64(56) == 0:
                    if held < 8:
                        return False
                    zeros += 8
                    bits <<= np.uint64(8)
                    held -= 8
                    if held < 32:
                        bits, held, at = _filled(bits, held, data, at)
                more = int(leading[bits >> np.uint64(56)])
                bits <<= np.uint64(more + 1)
                # twice, since a shift by 64 is not defined
                binary = bits >> np.uint64(1) >> np.uint64(63 - length)
                difference = np.uint32(zeros + more) << np.uint32(length) | np.uint32(binary)
                bits <<= np.uint64(length)
                held -= more + 1 + length
            else:
                difference = np.uint32(0)
            if held < 0:
                return False
            last = np.int32(last + (np.int32(difference >> np.uint32(1)) ^ -np.int32(difference & np.uint32(1))))
            if last == blank:
                target[y, x] = np.nan
            elif dither == 0:
                target[y, x] = last * scale + zero
            elif dither == 2 and last == _ZERO:
                target[y, x] = 0
            else:
                target[y, x] = (last - np.float64(random[place]) + 0.5) * scale + zero
            if dither:
                place += 1
                if place == _RANDOM:
                    seed = (seed + 1) % _RANDOM
                    place = int(random[seed] * np.float32(500))
    return True
