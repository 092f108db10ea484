"""What the cutouts of a store look like, without a plotting library: for notebooks and a quick look."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radiossl.io.errors import check_number, check_seed

if TYPE_CHECKING:
    from PIL import Image

    from radiossl.store.store import CutoutStore

#: Brightness in units of the noise at which the asinh stretch turns from linear to logarithmic.
_SOFTENING = 3.0
_TINY = float(np.finfo(np.float32).tiny)
_IN_HTML, _HTML_SIDE, _A_ROW = 8, 96, 6


def thumbnail(pixels: NDArray[np.floating], side: int) -> Image.Image:
    """Return a cutout as a square picture in grey, north up, asinh-stretched from the background to its peak."""
    from PIL import Image, ImageOps

    known = pixels[np.isfinite(pixels)]
    low, middle, high = np.percentile(known, [16, 50, 100]).tolist() if known.size else (0.0, 0.0, 1.0)
    noise = max(middle - low, 1e-3 * (high - low), _TINY)
    stretched = np.arcsinh(np.nan_to_num(pixels - middle, nan=0.0, posinf=0.0, neginf=0.0) / (_SOFTENING * noise))
    top = max(float(np.arcsinh((high - middle) / (_SOFTENING * noise))), _TINY)
    grey = (255 * np.clip(stretched / top, 0, 1)).astype(np.uint8)[::-1]  # FITS row order: the first is the lowest
    return ImageOps.pad(Image.fromarray(np.ascontiguousarray(grey)), (side, side))


def png_thumbnail(pixels: NDArray[np.floating], side: int) -> bytes:
    """Return `thumbnail` as the content of a PNG file."""
    stream = io.BytesIO()
    thumbnail(pixels, side).save(stream, "png")
    return stream.getvalue()


def contact_sheet(store: CutoutStore, number: int, seed: int, side: int) -> Image.Image:
    """Return a picture of some cutouts, drawn at random, in rows of six."""
    from PIL import Image

    check_number("number of cutouts", number, 1, whole=True)
    check_number("side in pixels", side, 8, whole=True)
    check_seed(seed)
    rows = np.sort(np.random.default_rng(seed).permutation(len(store))[:number])
    columns = min(_A_ROW, max(1, len(rows)))
    sheet = Image.new("L", (columns * side, -(-max(1, len(rows)) // columns) * side))
    for place, row in enumerate(rows):
        sheet.paste(thumbnail(store.pixels(int(row)), side), (place % columns * side, place // columns * side))
    return sheet


def store_html(store: CutoutStore) -> str:
    """Return what Jupyter shows of a store: its first cutouts and a table of all columns' first values."""
    pictures = []
    for row in range(min(_IN_HTML, len(store))):
        name = html.escape(str(store.table.column("cutout_id")[row].as_py()), quote=True)
        data = base64.b64encode(png_thumbnail(store.pixels(row), _HTML_SIDE)).decode()
        pictures.append(f'<img src="data:image/png;base64,{data}" title="{name}" alt="{name}">')
    head = store.table.slice(0, _IN_HTML).to_pandas().to_html(max_cols=12, border=0)
    return f"<p>{html.escape(repr(store))}</p><p>{' '.join(pictures)}</p>{head}"
