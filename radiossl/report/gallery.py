"""Galleries of a page: pictures in a grid, each enlarged by a click or a key, with scale bars and beams."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from radiossl.report.sheets import Picture, as_rgb, begins_row

#: Longest side of a picture in pixels; larger ones are averaged.
_MOST_PX = 400

DIALOG = """<dialog id="enlarged" aria-label="Enlarged picture"><div></div><p></p><form method="dialog">
<button type="button" value="-1">Previous</button><button type="button" value="1">Next</button><button>Close</button>
</form></dialog>
"""
SCRIPT = Path(__file__).with_name("gallery.js").read_text(encoding="utf-8")


def gallery_html(pictures: Sequence[Picture]) -> str:
    """Return pictures as a grid of at most six in a row."""
    items = []
    for number, picture in enumerate(pictures):
        kinds = ["framed"] * picture.framed + ["first"] * begins_row(pictures, number)
        label = escape("Enlarge " + (" ".join(picture.caption.split()) or "picture"))
        items.append(
            f'<li class="{" ".join(kinds)}" data-scale="{escape(picture.scale_text)}"><button type="button"'
            f' aria-label="{label}">{_svg(picture)}</button><p>{escape(picture.caption)}</p></li>'
        )
    return f"<ul>{''.join(items)}</ul>"


def _svg(picture: Picture) -> str:
    """A picture, north up, with its scale bar and beam."""
    from PIL import Image

    rgb = as_rgb(picture.image)[::-1]
    height, width = rgb.shape[:2]
    image = Image.fromarray(rgb)
    image = image.reduce(max(1, -(-max(width, height) // _MOST_PX))).quantize(256, dither=Image.Dither.NONE)
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    marks = ""
    side = max(width, height)
    line, edge = side / 100, side / 25
    if (bar := picture.scale_bar(width)) is not None:
        end, y = width - edge, height - edge
        marks += (
            f'<path d="M{end - bar[0]:.2f} {y:.2f}H{end:.2f}" stroke="#000" stroke-width="{2 * line:.2f}"/>'
            f'<path d="M{end - bar[0]:.2f} {y:.2f}H{end:.2f}" stroke="#fff" stroke-width="{line:.2f}"/>'
            f'<text x="{end:.2f}" y="{y - 2 * line:.2f}" text-anchor="end" font-size="{side / 13:.2f}" fill="#fff"'
            f' stroke="#000" stroke-width="{line:.2f}" paint-order="stroke">{bar[1]}</text>'
        )
    if picture.beam is not None and picture.pixel_arcsec > 0:
        major, minor = (
            axis / picture.pixel_arcsec / 2 for axis in (picture.beam.major_arcsec, picture.beam.minor_arcsec)
        )
        x, y = edge + major, height - edge - major
        marks += (
            f'<ellipse cx="{x:.2f}" cy="{y:.2f}" rx="{minor:.2f}" ry="{major:.2f}" fill="#fff" stroke="#000"'
            f' stroke-width="{line / 2:.2f}" transform="rotate({-picture.beam.pa_deg:.1f} {x:.2f} {y:.2f})"/>'
        )
    return (
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true"><image width="{width}" height="{height}"'
        f' href="{source}"/>{marks}</svg>'
    )
