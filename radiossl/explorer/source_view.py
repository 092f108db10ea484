"""The source that the page is at: a large cutout, where it is, what is known of it, its neighbours, its rating."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import Any

import panel as pn

from radiossl.explorer.page_state import NEIGHBOURS_TAB, PageState
from radiossl.explorer.pictures import notice_html, rows_html, sheet_html
from radiossl.explorer.style import column, html_pane
from radiossl.io.errors import RadiosslError
from radiossl.report.html import format_value
from radiossl.report.sky_links import sky_links
from radiossl.store.schema import BASE_SCHEMA

#: What the ratings mean.
_MEANING = {
    1: "1: dull, an ordinary source",
    2: "2: hardly worth a look",
    3: "3: worth a look",
    4: "4: interesting, to be followed up",
    5: "5: remarkable",
}
_WELCOME = "Click a point of the map, or type an id or a position above."


class SourceView:
    """Everything about one source.

    Parameters
    ----------
    state
        Of the page.
    """

    def __init__(self, state: PageState) -> None:
        self.state = state
        #: One piece, so that a rating belongs to the source whose picture is seen, however late the page is.
        self.source = html_pane(notice_html(_WELCOME), "rs-large")
        #: Says where a source is in the list that is rated.
        self.place: Callable[[int], str] = lambda _: ""
        self.neighbours = html_pane(notice_html(_WELCOME))
        state.param.watch(lambda _: self._show(), ["row", "stretch", "colour_map", "rated", "ratings_changed"])
        state.param.watch(lambda _: self.show_neighbours(), ["row", "stretch", "colour_map", "tab"])

    def view(self) -> pn.viewable.Viewable:
        """Return the part of the page that is always there."""
        return column(self.source, kind="rs-side", width=380, sizing_mode="stretch_height", scroll=True)

    def show_neighbours(self) -> None:
        """Look for the neighbours of the source and show them, if their list is open."""
        row = self.state.row
        if row is None or self.state.tab != NEIGHBOURS_TAB:
            return
        try:
            found = self.state.session.neighbours(row)
        except RadiosslError as error:
            self.neighbours.object = notice_html(str(error))
            return
        pairs = zip(found["row"].tolist(), found["similarity"].tolist(), strict=True)
        thumbs = [self.state.thumb(other, f"{score:.3f}") for other, score in pairs]
        self.state.neighbours = found["row"].to_numpy()
        name = self.state.session.cutout_id(row)
        self.neighbours.object = notice_html(f"most like {name}, cosine similarity") + sheet_html(thumbs)

    def _show(self) -> None:
        row = self.state.row
        if row is None:
            return
        session = self.state.session
        name, known = session.cutout_id(row), session.details(row)
        # What a catalogue says comes before what was measured when the cutout was made.
        names = sorted(known, key=lambda name: name in BASE_SCHEMA.names)
        texts = {name: format_value(known[name], name) for name in names if known[name] is not None}
        self.source.object = (
            f"{self.state.image(row)}<h2>{escape(name)}</h2><p>{escape(_position(known))}</p>"
            f"{_rating_buttons(name, session.ratings.of(name))}{notice_html(self._context(row))}"
            f"{_links(known)}{rows_html(texts)}"
        )

    def _context(self, row: int) -> str:
        """Who rated the source, where it is in the list, and why."""
        given = self.state.session.ratings.history(self.state.session.cutout_id(row)).to_dict("records")
        who = ", ".join(f"{one['who'] or 'somebody'} {one['rating']} ({one['when'][:16]})" for one in given)
        parts = [f"rated by {who}" if who else "", self.place(row), self.state.ranking.why(row)]
        return "\n".join(part for part in parts if part)


def _rating_buttons(name: str, given: int | None) -> str:
    """A button for each rating, that names the source; the keys 1 to 5 press them."""
    buttons = "".join(
        f'<button data-act="{escape(f"rate {rating} {name}")}" aria-pressed="{str(rating == given).lower()}"'
        f' title="{meaning}">{rating}</button>'
        for rating, meaning in _MEANING.items()
    )
    return f'<div class="rs-rating">dull {buttons} remarkable</div>'


def _place(known: dict[str, Any]) -> tuple[float, float]:
    ra, dec = (math.nan if known.get(name) is None else float(known[name]) for name in ("ra_deg", "dec_deg"))
    return ra, dec


def _position(known: dict[str, Any]) -> str:
    """Where a source is, in hours and degrees and in degrees alone."""
    ra, dec = _place(known)
    if not (math.isfinite(ra) and math.isfinite(dec)):
        return "position unknown"
    from astropy.coordinates import SkyCoord

    text = SkyCoord(ra, dec, unit="deg").to_string("hmsdms", sep=":", precision=1)
    return f"{text}   ({ra:.5f} {dec:+.5f})"


def _links(known: dict[str, Any]) -> str:
    """Other surveys' pictures of the same place, and databases."""
    ra, dec = _place(known)
    if not (math.isfinite(ra) and math.isfinite(dec) and abs(dec) <= 90):
        return ""
    scale = known.get("pixel_scale_arcsec")
    size = math.nan if scale is None else float(scale) * max(known.get("height") or 0, known.get("width") or 0)
    anchors = (
        f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(name)}</a>'
        for name, address in sky_links(ra, dec, size or math.nan).items()
    )
    return f'<p class="rs-links">{" · ".join(anchors)}</p>'
