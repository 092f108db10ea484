"""Cutouts as pictures of a page, and the page itself with all that belongs to it."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radiossl.report.sheets import Stretch, as_rgb

#: The colour maps to choose from: names of matplotlib's.
COLOUR_MAPS = ("inferno", "viridis", "gray", "gray_r", "cubehelix", "magma")
#: Sizes of pictures, and the sides in pixels beyond which one is made smaller before it is sent.
SIDES = {"large": 512, "thumb": 104, "hover": 180}


def picture_png(pixels: NDArray[np.floating], how: Stretch, colour_map: str, side: int) -> bytes:
    """Return a cutout as a PNG, north up, no side longer than `side` pixels."""
    rgb = as_rgb(pixels, how=how, colour_map=colour_map)[::-1]  # FITS rows begin at the bottom
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    scale = side / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BOX)
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def page_html(data: str = "", nonce: str = "") -> str:
    """Return the page with its styles and scripts, which `nonce` marks as ours for the browser.

    `data` is put before the scripts: what a page without a server shows.
    """
    page, script = _parts()
    return page.replace("<!--data-->", data).replace("<!--scripts-->", f'<script nonce="{nonce}">{script}</script>')


@cache
def _parts() -> tuple[str, str]:
    """The markup, and the scripts in their order."""
    page, *scripts = (
        Path(__file__).with_name(name).read_text(encoding="utf-8")
        for name in ("page.html", "map.js", "local.js", "page.js", "lists.js")
    )
    return page, "".join(scripts)
