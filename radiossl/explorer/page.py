"""The page: map on the left, the source in the middle, lists on the right, one bar above."""

from __future__ import annotations

from html import escape
from typing import Any

import panel as pn

from radiossl.explorer.browser import Browser
from radiossl.explorer.drawing import DARK, LIGHT, Theme
from radiossl.explorer.map_view import MapView
from radiossl.explorer.maps import MADE
from radiossl.explorer.page_state import NO_COLOUR, TABS, PageState
from radiossl.explorer.pictures import linked_source, notice_html, source_link
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.rating_view import RatingView
from radiossl.explorer.search_view import SearchView
from radiossl.explorer.selection_view import SelectionView
from radiossl.explorer.session import Session
from radiossl.explorer.source_view import SourceView
from radiossl.explorer.style import column, html_pane, page_style, side_by_side, tabs

_POLL_MS = 1000


class Page:
    """One open page.

    Parameters
    ----------
    session, ranking
        What all pages share.
    theme
        Dark or light.
    """

    def __init__(self, session: Session, ranking: Ranking, theme: Theme) -> None:
        self.session, self.ranking = session, ranking
        self.state = state = PageState(session, ranking, theme)
        self.map, self.source, self.search = MapView(state), SourceView(state), SearchView(state)
        self.rating, self.selection = RatingView(state), SelectionView(state)
        self.browser = Browser()
        self.browser.param.watch(self._key, "pressed")
        self.browser.param.watch(lambda event: self._follow(event.new), "fragment")
        self.colour = _choice(state, "colour", [NO_COLOUR, *session.colour_columns()], 170)
        self.which = _choice(state, "map_name", session.maps.names(), 170)
        self.umap = pn.widgets.Button(name="make a UMAP", width=110, on_click=lambda _: self._start_umap())
        self.umap.visible = session.maps.can_make_umap
        self.said = html_pane()
        state.param.watch(lambda event: self._say(event.new), ["message"])
        state.param.watch(lambda event: self._locate(event.new), ["row"])
        self._had = self._there()

    def view(self) -> pn.viewable.Viewable:
        """Return all of it, and begin to look for what comes up beside the page."""
        state = self.state
        head = side_by_side(
            html_pane(self._title(), sizing_mode=None, width=330),
            self.search.field,
            self.said,
            html_pane(_theme_link(state.theme), sizing_mode=None, width=90),
            kind="rs-head",
            sizing_mode="stretch_width",
        )
        choices = self.which, self.umap, "coloured by", self.colour, "cutouts", *self._looks()
        tools = side_by_side("map", *choices, kind="rs-tools")
        neighbours = column(self.source.neighbours, kind="rs-side", sizing_mode="stretch_both", scroll=True)
        parts = neighbours, self.rating.view(), self.search.view(), self.selection.view()
        lists = tabs(*zip(TABS, parts, strict=True), width=470, sizing_mode="stretch_height")
        lists.param.watch(lambda event: setattr(state, "tab", TABS[event.new]), "active")
        self.rating.refresh()
        pn.state.add_periodic_callback(self._poll, _POLL_MS)
        body = side_by_side(
            self.map.view(), self.source.view(), lists, self.browser, kind="rs-body", sizing_mode="stretch_both"
        )
        return column(head, tools, body, kind="rs-page", sizing_mode="stretch_both")

    def _looks(self) -> list[pn.widgets.Select]:
        params = self.state.param
        return [
            _choice(self.state, "stretch", params.stretch.objects, 90),
            _choice(self.state, "colour_map", params.colour_map.objects, 100),
        ]

    def _title(self) -> str:
        return f"<h1>radiossl <small>{escape(self.session.file.path.name)} · {len(self.session):,} sources</small></h1>"

    # What happens ----------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.said.object = notice_html(text, "bad" if text.startswith("NOT SAVED") else "")

    def _key(self, event: Any) -> None:
        key = str(event.new[0])
        if key.isdigit():
            self.state.rate(int(key))
        elif key in ("ArrowRight", "ArrowLeft"):
            self.rating.go(1 if key == "ArrowRight" else -1)

    def _locate(self, at: int | None) -> None:
        """Write the source into the address, so that it can be kept, sent and gone back to."""
        if at is not None:
            self.browser.fragment = source_link(self.session.cutout_id(at))

    def _follow(self, fragment: str) -> None:
        """Go where the address says."""
        name = linked_source(fragment)
        if name is None:
            return
        found = self.session.row_of(name)
        if found is None:
            self.state.message = f"no source has the id {name[:80]!r}"
        else:
            self.state.row = found

    def _start_umap(self) -> None:
        self.session.maps.start_umap()
        self.umap.visible = False

    def _there(self) -> tuple[Any, ...]:
        """What may have come up since, made by threads and processes beside the page or by another page."""
        session = self.session
        return session.index is not None, tuple(session.extra), len(self.ranking.order), tuple(session.maps.names())

    def _poll(self) -> None:
        said = self.session.maps.poll()
        if said and said != self.state.message:
            self.state.message = said
        now, before = self._there(), self._had
        if now == before:
            return
        self._had = now
        if now[0] != before[0]:
            self.source.show_neighbours()
        if now[1] != before[1]:
            self.colour.options = [NO_COLOUR, *self.session.colour_columns()]
        if now[2] != before[2]:
            self.rating.refresh()
        if now[3] != before[3]:
            self.which.options = self.session.maps.names()
            self.which.value = MADE
            self.state.message = "the UMAP is there"


def make_page(session: Session, ranking: Ranking) -> pn.viewable.Viewable:
    """Return a page for whoever has just opened one; ``?theme=light`` in its address makes it light."""
    wanted = pn.state.session_args.get("theme", [b""])[0]
    theme = LIGHT if wanted == b"light" else DARK
    pn.config.raw_css = [page_style(theme)]
    pn.config.theme = "default" if theme is LIGHT else "dark"  # type: ignore[misc]  # set in a way of Panel's own
    return Page(session, ranking, theme).view()


def _choice(state: PageState, name: str, options: list[str], width: int) -> pn.widgets.Select:
    """A list of which one entry is the page's value of that name."""
    widget = pn.widgets.Select(options=options, value=getattr(state, name), width=width)
    widget.param.watch(lambda event: setattr(state, name, event.new), "value")
    return widget


def _theme_link(theme: Theme) -> str:
    other = "light" if theme is DARK else "dark"
    return f'<a href="?theme={other}">{other} page</a>'
