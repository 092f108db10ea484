"""Reading a single image file of any kind."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

#: Name endings of FITS images.
FITS_SUFFIXES = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
#: What a picture may be inside, whatever its name: of others Pillow starts programs (PostScript).
PICTURE_FORMATS = ("PNG", "JPEG", "TIFF")
#: Longest side in pixels of one image: it is padded to a square, so that a line of 100,000 pixels would take 40 GB.
LONGEST_SIDE = 2**14
_BITS, _SAMPLE_FORMAT = 258, 339  # tags of TIFF


def read_image(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Read a FITS, NPY, PNG, JPEG or TIFF file as one image, shape (height, width), float32, FITS row order.

    The first row is at the bottom: pictures are turned upside down. Pixels are NaN where a FITS image is blank or
    padded with zeros (or has numbers such as -9999 and 1e20 in place of a brightness), as those of a mosaic are, or a
    picture transparent; colours are averaged, and a picture that its camera calls turned (EXIF) is turned back. Raises
    `RadiosslError` if the file is missing, damaged or no image.
    """
    path = existing_file(path)
    name = path.name.lower()
    if name.endswith(FITS_SUFFIXES):
        return _read_fits(path)
    if name.endswith(".npy"):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)  # nothing is allocated before the shape is known
        except Exception as error:  # numpy parses the header as Python, so damage can raise nearly anything
            raise RadiosslError(f"{path}: not a readable NPY file ({error})") from None
        return image_of_array(array, str(path))
    if name.endswith(PICTURE_SUFFIXES):
        return _read_picture(path)
    expected = ", ".join([*FITS_SUFFIXES, ".npy", *PICTURE_SUFFIXES])
    raise RadiosslError(f"{path}: not an image; expected a file ending in {expected}")


def image_shape(path: Path) -> tuple[int, int] | None:
    """Return the height and width of an image file, by its header alone; None if that does not say them."""
    from radiossl.survey.fits_image import find_image

    name = path.name.lower()
    try:
        if name.endswith(FITS_SUFFIXES):
            width, height = find_image(path).axes[:2]
            return height, width
        if name.endswith(".npy"):
            height, width = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return height, width
        with opened_picture(path) as picture:
            return picture.height, picture.width
    except Exception:  # whoever reads the pixels says what is wrong
        return None


def _read_fits(path: Path) -> NDArray[np.float32]:
    from radiossl.survey.fits_image import BRIGHTEST, HIGHEST_MARKER, damage_named, find_image, pixels_of

    with damage_named(path):
        image = find_image(path)
        width, height, *others = image.axes
        check_sides((height, width), str(path))
        if set(others) - {1}:
            raise RadiosslError(f"{path}: an image of {' x '.join(map(str, image.axes))}, expected a single plane")
        reader = pixels_of(path, image, (height, width), (1, 2))
        try:
            pixels = reader.read(0, height, 0, width)
        finally:
            reader.close()
    pixels[np.abs(pixels) >= BRIGHTEST] = np.nan
    if image.is_floating:
        from radiossl.survey.padding import announced_marker, may_be_solid, padding_side, zero_padding  # compiled

        if np.fmin.reduce(pixels, axis=None) <= HIGHEST_MARKER:
            pixels[pixels == announced_marker(path, pixels[np.isfinite(pixels) & (pixels != 0)])] = np.nan
        side = padding_side(pixels[np.isfinite(pixels) & (pixels != 0)]) if (pixels == 0).any() else 0
        if side and may_be_solid(pixels, side):
            pixels[zero_padding(pixels, side)] = np.nan
    return pixels


def image_of_array(array: Any, where: str = "array") -> NDArray[np.float32]:
    """Return an array as one image, shape (height, width), float32; what is masked becomes NaN.

    It holds numbers of shape (height, width), or colours of shape (height, width, 3 or 4), which are averaged, a fourth
    of 0 being blank: an array or masked array of NumPy, a tensor, a quantity or an `astropy.nddata.NDData`. Raises
    `RadiosslError`, which begins with `where`, if it is not one image.

    Examples
    --------
    >>> import numpy as np
    >>> image_of_array(np.ma.array([[1, 2]], mask=[[False, True]])).tolist()
    [[1.0, nan]]
    """
    mask = getattr(array, "mask", None)
    if hasattr(array, "uncertainty"):  # NDData, whose data lie beside their mask
        array = array.data
    values = np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
    if values.dtype.kind not in "fiub" or not (values.ndim == 2 or is_colour(values.shape)):
        expected = "expected numbers (height, width) or colours (height, width, 3)"
        raise RadiosslError(f"{where}: {values.dtype} array of shape {values.shape}, {expected}")
    check_sides(values.shape[:2], where)
    image = values.astype(np.float32)
    if isinstance(mask, np.ndarray) and mask.shape == values.shape:
        image[mask] = np.nan
    return _grey(image) if image.ndim == 3 else image


def check_sides(shape: Sequence[int], where: str) -> None:
    """Refuse an image with a side beyond `LONGEST_SIDE`, before there is room made for it."""
    if max(shape, default=0) > LONGEST_SIDE:
        raise RadiosslError(
            f"{where}: an image of {' x '.join(map(str, shape))} pixels; one image may have {LONGEST_SIDE:,} a side"
            " (cut a mosaic into cutouts first: radiossl cutouts)"
        )


def is_colour(shape: tuple[int, ...]) -> bool:
    """Return whether an array of this shape is one picture in colours, and not a number of narrow images."""
    return len(shape) == 3 and shape[2] in (3, 4) and shape[1] > 4


def _grey(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the colours, shape (height, width), NaN where they are transparent."""
    grey: NDArray[np.float32] = colours[:, :, :3].mean(axis=2)
    if colours.shape[2] == 4:
        grey[colours[:, :, 3] == 0] = np.nan
    return grey


@contextmanager
def opened_picture(path: Path, formats: tuple[str, ...] = PICTURE_FORMATS, remedy: str = "") -> Iterator[ImageFile]:
    """Open a picture of a side that is not too long; whatever is wrong with it becomes an error that names the file."""
    from PIL import Image

    try:
        # Not by its name: Pillow would map the file, and turned TIFF files come out scrambled then.
        with path.open("rb") as file, Image.open(file, formats=formats) as picture:
            check_sides(picture.size, str(path))
            yield picture
    except RadiosslError:
        raise
    except Exception as error:  # Pillow raises SyntaxError, struct.error and others beside its own
        raise RadiosslError(f"{path}: not a readable picture ({error}){remedy}") from None


def _read_picture(path: Path) -> NDArray[np.float32]:
    from PIL import ImageOps

    with opened_picture(path) as picture:
        if any("16" in str(tile[3]) for tile in picture.tile) and picture.mode in ("RGB", "RGBA", "LA"):
            # Pillow would drop the lower bytes without a word.
            raise RadiosslError(f"{path}: colours of 16 bits each; save it in one channel of 16 bits, or as FITS")
        if (pages := _pages(picture)) != 1:
            raise RadiosslError(f"{path}: {pages} pages of the same size; save each of them as a file")
        tags = getattr(picture, "tag_v2", {})
        unsigned = (tags.get(_BITS), tags.get(_SAMPLE_FORMAT, (1,))) == ((32,), (1,))
        return np.ascontiguousarray(_pixels(ImageOps.exif_transpose(picture), unsigned)[::-1])


def _pages(picture: Image.Image) -> int:
    """Return how many images of the size of the first a TIFF file holds; smaller ones are previews."""
    if picture.format != "TIFF":
        return 1
    size, count = picture.size, 0
    for page in range(getattr(picture, "n_frames", 1)):
        picture.seek(page)
        count += picture.size == size
    picture.seek(0)
    return count


def _pixels(picture: Image.Image, unsigned: bool) -> NDArray[np.float32]:
    """Return the values of a picture, first row on top: as stored if there is one channel, else the mean colour."""
    transparent = picture.info.get("transparency")
    if picture.mode == "F" or picture.mode.startswith("I"):
        values = np.asarray(picture)
        if picture.mode == "I" and unsigned:
            values = values.view(np.uint32)  # Pillow has no unsigned integers of 32 bits
        image = values.astype(np.float32)
        if isinstance(transparent, int):
            image[values == transparent] = np.nan
        return image
    if picture.mode == "L" and transparent is None:
        return np.asarray(picture, dtype=np.float32)
    seen = transparent is not None or "A" in picture.getbands()
    return _grey(np.asarray(picture.convert("RGBA" if seen else "RGB"), dtype=np.float32))
