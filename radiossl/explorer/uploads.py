"""Images that somebody sends to the page: known by their content alone, small enough, and forgotten at once."""

from __future__ import annotations

import io
import math
import tempfile
from pathlib import Path

from radiossl.io.errors import RadiosslError

MOST_BYTES = 32 * 2**20
#: Pixels of each side of an upload: a small file may unpack to a huge image, and a thin one becomes a square later.
MOST_SIDE = 4096
_LONGEST_NAME = 80

#: How files of each kind begin. Compressed FITS and archives are not among them: what they unpack to has no limit.
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


def saved_upload(data: bytes, folder: str | Path) -> Path:
    """Write an upload into a folder of ours, under a name of ours, once it is known to be a harmless image.

    The name under which it was sent plays no part.

    Parameters
    ----------
    data
        The file.
    folder
        Where to write it.

    Raises
    ------
    RadiosslError
        If it is larger than `MOST_BYTES`, is no image of a known kind, or has a side longer than `MOST_SIDE` pixels.
    """
    if len(data) > MOST_BYTES:
        raise RadiosslError(f"the file has {len(data) / 2**20:.0f} MB; at most {MOST_BYTES // 2**20} are taken")
    suffix = next((suffix for beginning, suffix in _BEGINNINGS.items() if data.startswith(beginning)), None)
    if suffix is None:
        raise RadiosslError("not an image: a FITS (not compressed), PNG, JPEG, TIFF or NPY file was expected")
    path = Path(folder) / f"upload{suffix}"
    path.write_bytes(data)
    sides = _declared_sides(path, data)
    if not sides or not all(0 < side <= MOST_SIDE for side in sides) or math.prod(sides) > MOST_SIDE**2:
        shown = " x ".join(f"{side:,}" for side in sides)
        raise RadiosslError(f"an image of {shown or 0} pixels; at most {MOST_SIDE:,} x {MOST_SIDE:,} are taken")
    return path


def shown_name(name: object) -> str:
    """Return the name of an upload as it is shown to its sender: its last part, shortened; it names no file of ours."""
    text = str(name).replace("\\", "/").rpartition("/")[2]
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text[:_LONGEST_NAME] or "upload"


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for one upload, removed when it is closed."""
    return tempfile.TemporaryDirectory(prefix="radiossl-upload-")


def _declared_sides(path: Path, data: bytes) -> tuple[int, ...]:
    """The sides that the header announces, before any pixel is read."""
    try:
        if path.suffix == ".fits":
            from radiossl.survey.fits_image import find_image

            image = find_image(path)
            if image.tiled:  # nobody knows what its tiles unpack to
                raise _RefusedError("a compressed FITS image; unpack it first (funpack)")
            return tuple(image.axes)
        if path.suffix == ".npy":
            import numpy as np

            stream = io.BytesIO(data)
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            return tuple(read(stream)[0])
        from PIL import Image

        with Image.open(path, formats=("PNG", "JPEG", "TIFF")) as picture:
            return tuple(picture.size)
    except _RefusedError:
        raise
    except RadiosslError:
        raise RadiosslError("not a readable image: its header is damaged") from None
    except Exception as error:  # parsers of three formats raise nearly anything on damage
        raise RadiosslError(f"not a readable image ({type(error).__name__})") from None
