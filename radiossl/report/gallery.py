"""Galleries of a page: pictures in a grid, each enlarged by a click or a key, with scale bars and beams."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from radiossl.report.sheets import QUERY_COLOUR, Picture, as_rgb, begins_row

#: Longest side of a picture in pixels; larger ones are averaged.
_MOST_PX = 400

STYLE = f"""
.gallery figcaption {{ margin-top: .75rem; }}
.gallery ul {{ list-style: none; padding: 0; margin: 0; display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(max(7rem, (100% - 3.75rem) / 6), 1fr)); }}
.gallery li {{ font-size: .8rem; line-height: 1.35; overflow-wrap: anywhere; }} .gallery li.first {{ grid-column: 1; }}
.gallery button {{ display: block; width: 100%; padding: 0; border: 0; background: none; cursor: zoom-in; }}
.gallery .framed button {{ outline: 3px solid {QUERY_COLOUR}; outline-offset: 2px; }}
.gallery button:focus-visible {{ outline: 3px solid var(--link); outline-offset: 2px; }}
.gallery svg, dialog svg {{ display: block; width: 100%; aspect-ratio: 1; }}
.gallery p, dialog p {{ margin: .25rem 0 0; white-space: pre-line; }} .gallery p:first-line {{ font-weight: 600; }}
dialog {{ border: 0; border-radius: 6px; color: var(--ink); background: var(--paper); }}
dialog {{ max-width: min(92vw, 80vh); width: 46rem; }} dialog::backdrop {{ background: rgb(0 0 0 / .75); }}
dialog image {{ image-rendering: pixelated; }} dialog form {{ display: flex; gap: .5rem; margin-top: .5rem; }}
dialog form button {{ font: inherit; color: inherit; background: none; cursor: pointer; padding: .2rem .7rem;
  border: 1px solid var(--soft); border-radius: 4px; }}
"""
DIALOG = """<dialog id="enlarged" aria-label="Enlarged picture"><div></div><p></p><form method="dialog">
<button type="button" value="-1">Previous</button><button type="button" value="1">Next</button><button>Close</button>
</form></dialog>
"""
SCRIPT = """
const box = document.getElementById("enlarged"), all = [...document.querySelectorAll(".gallery button")];
let at = 0;
function show(number) {
  at = (number + all.length) % all.length;
  const item = all[at].parentElement;
  box.querySelector("div").replaceChildren(all[at].firstElementChild.cloneNode(true));
  box.querySelector("p").textContent = [item.querySelector("p").textContent, item.dataset.scale].join("\\n").trim();
}
all.forEach((button, number) => button.addEventListener("click", () => { show(number); box.showModal(); }));
box.querySelectorAll("[value]").forEach(b => b.addEventListener("click", () => show(at + Number(b.value))));
box.addEventListener("keydown", event => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) { event.preventDefault(); show(at + step); }
});
box.addEventListener("click", event => { if (event.target === box) box.close(); });
box.addEventListener("close", () => all[at].focus());
"""


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
