"""Cutouts as pictures that stand in the page itself, and the HTML around them, with every text escaped."""

from __future__ import annotations

import base64
import io
import re
from html import escape
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from radiossl.report.sheets import Stretch, as_rgb

#: The colour maps to choose from: names of matplotlib's.
COLOUR_MAPS = ("inferno", "viridis", "gray", "gray_r", "cubehelix", "magma")
#: Sides in pixels beyond which a picture is made smaller before it is sent.
LARGE, THUMB, HOVER = 512, 104, 180
_LINK = "#source-"


def picture_url(pixels: NDArray[np.floating], how: Stretch, colour_map: str, side: int) -> str:
    """Return a cutout as the address of a PNG that holds itself, north up, no side longer than `side` pixels."""
    from PIL import Image

    rgb = as_rgb(pixels, how=how, colour_map=colour_map)[::-1]  # FITS rows begin at the bottom
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    scale = side / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BOX)
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def source_link(cutout_id: str) -> str:
    """Return the part of the page's address that leads to a source.

    Panel looks for an element of that name, so it holds letters, digits and signs of names only: of all else the bytes
    in hexadecimals, each after an underscore.
    """
    return _LINK + re.sub(rb"[^0-9A-Za-z-]", lambda found: b"_%02X" % ord(found[0]), cutout_id.encode()).decode()


def linked_source(fragment: str) -> str | None:
    """Return the id in the part of an address after the page's; None if it leads to no source."""
    if not fragment.startswith(_LINK):
        return None
    return unquote(fragment.removeprefix(_LINK).replace("_", "%"))


def image_html(url: str | None, name: str) -> str:
    """Return the picture of a source, or a grey square where there is none."""
    if url is None:
        return '<span class="rs-none">no pixels</span>'
    return f'<img src="{escape(url)}" alt="cutout of {escape(name)}">'


def thumb_html(url: str | None, cutout_id: str, caption: str = "", badge: str = "", here: bool = False) -> str:
    """Return a small picture that leads to its source.

    Parameters
    ----------
    url
        From `picture_url`; None if there are no pixels.
    cutout_id
        Of the source.
    caption, badge
        A few characters below the picture, and over its corner.
    here
        Whether it is the source that the page shows.
    """
    over = f"<b>{escape(badge)}</b>" if badge else ""
    return (
        f'<a class="rs-thumb{" rs-here" if here else ""}" href="{escape(source_link(cutout_id))}"'
        f' title="{escape(cutout_id)}">{image_html(url, cutout_id)}{over}<small>{escape(caption)}</small></a>'
    )


def sheet_html(thumbs: list[str]) -> str:
    """Return small pictures as a sheet."""
    return f'<div class="rs-sheet">{"".join(thumbs)}</div>'


def notice_html(text: str, kind: str = "") -> str:
    """Return a sentence for the reader; `kind` is ``bad`` for what went wrong."""
    return f'<p class="rs-notice {escape(kind)}">{escape(text)}</p>' if text else ""


def rows_html(values: dict[str, str]) -> str:
    """Return names and values as a table."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in values.items())
    return f'<table class="rs-values">{rows}</table>'
