"""The page: map on the left, the source in the middle, lists on the right, one bar above."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any
from urllib.parse import urlencode

import panel as pn

from radiossl.explorer.browser import Browser, announce_loss
from radiossl.explorer.cluster_view import ClusterView
from radiossl.explorer.drawing import DARK, LIGHT, Theme
from radiossl.explorer.filter_view import FilterView
from radiossl.explorer.map_view import MapView
from radiossl.explorer.maps import MADE
from radiossl.explorer.page_state import FAILED, IN_ADDRESS, NO_COLOUR, NOT_SAVED, ONE_MAP, TABS, PageState
from radiossl.explorer.pictures import linked_source, notice_html, source_link
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.rating_view import RatingView
from radiossl.explorer.search_view import SearchView
from radiossl.explorer.selection_view import SelectionView
from radiossl.explorer.session import Session
from radiossl.explorer.source_view import SourceView
from radiossl.explorer.style import Options, column, html_pane, page_style, select, side_by_side, tabs
from radiossl.io.errors import RadiosslError

_POLL_MS = 1000
_LONGEST_NAME = 60


class Page:
    """One open page.

    Parameters
    ----------
    session, ranking
        What all pages share.
    theme
        Dark or light.
    """

    def __init__(self, session: Session, ranking: Ranking, theme: Theme, address: str = "") -> None:
        self.session, self.ranking = session, ranking
        self.state = state = PageState(session, ranking, theme)
        state.restore(address)
        self.map, self.source, self.search = MapView(state), SourceView(state), SearchView(state)
        self.rating, self.filter, self.selection = RatingView(state), FilterView(state), SelectionView(state)
        self.clusters = ClusterView(state)
        self.source.place = self.rating.place
        self.browser = Browser(state.guarded(self._act), theme=theme.name, who=state.who, query=state.address())
        self.browser.param.watch(state.guarded(lambda event: self._follow(event.new)), "fragment")
        self.browser.param.watch(lambda event: setattr(self.who, "value", event.new), "who")
        self.colour = choice(state, "colour", self._colour_groups(), 170, "colour of the map")
        self.which = choice(state, "map_name", session.maps.names(), 170, "map")
        self.second = choice(state, "second", [ONE_MAP, *session.maps.names()], 150, "second map")
        self.maps = column(self.map.view(), kind="rs-maps", sizing_mode="stretch_both")
        state.param.watch(state.guarded(lambda _: self._show_second()), ["second"])
        self._below: pn.Column | None = None
        self._show_second()
        self.umap = pn.widgets.Button(name="make a UMAP", width=110, on_click=lambda _: self._start_umap())
        self.umap.visible = session.maps.can_make_umap
        self.who = pn.widgets.TextInput(placeholder="your name", value=state.who, width=120)
        self.who.param.watch(lambda event: self._name(event.new), "value")
        self.said = html_pane(kind="rs-said")
        state.param.watch(lambda event: self._say(event.new), ["message"])
        self._say(state.message)  # of what the address asked for
        state.param.watch(lambda event: self._locate(event.new), ["row"])
        state.param.watch(lambda event: setattr(self.colour, "value", event.new), ["colour"])
        state.param.watch(lambda _: self._write_address(), list(IN_ADDRESS))
        self._trouble = ""
        self._had = self._there()

    def view(self) -> pn.viewable.Viewable:
        """Return all of it, and begin to look for what comes up beside the page."""
        state = self.state
        head = side_by_side(
            html_pane(self._title(), sizing_mode=None, width=300),
            self.search.field,
            self.who,
            self.said,
            html_pane(_theme_link(state.theme), sizing_mode=None, width=90),
            kind="rs-head",
            sizing_mode="stretch_width",
        )
        choices = self.which, self.second, self.umap, "coloured by", self.colour, "cutouts", *self._looks()
        tools = side_by_side("map", *choices, kind="rs-tools", sizing_mode="stretch_width")
        neighbours = column(self.source.neighbours, kind="rs-side", sizing_mode="stretch_both", scroll=True)
        parts = (
            neighbours,
            *(part.view() for part in (self.rating, self.clusters, self.search, self.filter, self.selection)),
        )
        lists = tabs(*zip(TABS, parts, strict=True), active=TABS.index(state.tab), width=470, dynamic=True)
        lists.param.watch(lambda event: setattr(state, "tab", TABS[event.new]), "active")
        self.rating.refresh()
        pn.state.add_periodic_callback(state.guarded(self._poll), _POLL_MS)
        body = side_by_side(
            self.maps, self.source.view(), lists, self.browser, kind="rs-body", sizing_mode="stretch_both"
        )
        return column(head, tools, body, kind="rs-page", sizing_mode="stretch_both")

    def _looks(self) -> list[pn.widgets.Select]:
        params = self.state.param
        return [
            choice(self.state, "stretch", params.stretch.objects, 90, "stretch of the cutouts"),
            choice(self.state, "colour_map", params.colour_map.objects, 100, "colours of the cutouts"),
        ]

    def _title(self) -> str:
        return f"<h1>radiossl <small>{escape(self.session.file.path.name)} · {len(self.session):,} sources</small></h1>"

    # What happens ----------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self.said.object = notice_html(text, "bad" if text.startswith((NOT_SAVED, FAILED)) else "")

    def _name(self, text: str) -> None:
        name = "".join(letter for letter in text.strip() if letter.isprintable())[:_LONGEST_NAME]
        self.state.who = self.browser.who = name
        self.state.message = f"ratings are saved as {name}'s" if name else "ratings are saved without a name"

    def _act(self, name: str, x: float, y: float) -> None:
        """Do what a key, or a button or picture inside a piece of HTML, is for."""
        what, _, rest = name.partition(" ")
        if what == "crop":
            pn.state.execute(partial(self.search.crop, rest, x, y))
        elif what == "rate":
            rating, _, name = rest.partition(" ")
            self.state.rate(int(rating), name)
        elif what == "cluster":
            self.clusters.choose(rest)
        elif what == "u":
            self.state.undo()
        elif what in ("ArrowRight", "ArrowLeft"):
            self.rating.go(1 if what == "ArrowRight" else -1)
        elif what.isdigit():
            self.state.message = "choose a source first, then rate it"

    def _show_second(self) -> None:
        """Show a second map below the first: chosen, hovered and coloured as the first, for the page is the same."""
        shown = self.state.second != ONE_MAP
        if shown and self._below is None:
            self._below = MapView(self.state, "second", "second_limits").view()
            self.maps.append(self._below)
        if self._below is not None:
            self._below.visible = shown

    def _colour_groups(self) -> dict[str, list[str]]:
        return {"all sources": [NO_COLOUR], **self.session.shown.groups()}

    def _write_address(self) -> None:
        self.browser.query = self.state.address()

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
        ranking, names = self.ranking.now, tuple(session.maps.names())
        return session.index is not None, tuple(session.shown.later), ranking, names, session.ratings.version

    def _refresh_ratings(self) -> None:
        """Take over what others have rated; say once what is wrong with the file."""
        try:
            self.session.ratings.refresh()
            self._trouble = ""
        except (RadiosslError, OSError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                self.state.fail(error)

    def _poll(self) -> None:
        self._refresh_ratings()
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
            self.colour.groups = self._colour_groups()
            self.state.use_later_columns()
            self.clusters.show()
        if now[2] is not before[2]:
            self.rating.refresh()
        if now[4] != before[4]:
            self.state.param.trigger("ratings_changed")
        if now[3] != before[3]:
            self.which.options = self.session.maps.names()
            self.second.options = [ONE_MAP, *self.session.maps.names()]
            self.which.value = MADE
            self.state.message = "the UMAP is there"


def make_page(session: Session, ranking: Ranking) -> pn.viewable.Viewable:
    """Return a page for whoever has just opened one, as its address says and dark or light as the browser's system."""
    said = {name: values[0].decode(errors="replace") for name, values in pn.state.session_args.items() if values}
    wanted = said.get("theme") or pn.state.cookies.get("radiossl-theme")
    theme = LIGHT if wanted == LIGHT.name else DARK
    pn.config.raw_css = [page_style(theme)]
    pn.config.theme = "default" if theme is LIGHT else "dark"  # type: ignore[misc]  # set in a way of Panel's own
    page = Page(session, ranking, theme, urlencode(said))
    announce_loss(pn.state.curdoc)
    pn.config.exception_handler = page.state.fail
    return page.view()


def choice(state: PageState, name: str, options: Options, width: int, label: str) -> pn.widgets.Select:
    """Return a list of which one entry is the page's value of that name; the label is for screen readers."""
    widget = select(label, options, value=getattr(state, name), width=width)
    widget.param.watch(lambda event: setattr(state, name, event.new), "value")
    return widget


def _theme_link(theme: Theme) -> str:
    other = "light" if theme is DARK else "dark"
    return f'<a href="?theme={other}">{other} page</a>'
