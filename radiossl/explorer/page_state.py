"""What one open page shows: the source it is at, the sources chosen, and how pictures and map are drawn."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlencode

import numpy as np
import param

from radiossl.explorer.drawing import Theme
from radiossl.explorer.pictures import COLOUR_MAPS, HOVER, LARGE, THUMB, image_html, thumb_html
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.selection import chosen_rows
from radiossl.explorer.session import Session
from radiossl.io.errors import RadiosslError
from radiossl.report.html import format_value
from radiossl.report.sheets import STRETCHES

NO_COLOUR = "number of sources"
#: What a page's address contains, apart from the source.
_CHOICES = ("colour", "map_name", "second", "stretch", "colour_map", "tab")
_LIMITS = ("limits", "second_limits")
IN_ADDRESS = (*_CHOICES, *_LIMITS, "chosen_by")
ONE_MAP = "no second map"
#: Letters of a choice beyond which it is not kept in the address.
_LONGEST_CHOICE = 2000
#: How messages begin of what went wrong, and of a rating that was not saved.
FAILED, NOT_SAVED = "Something went wrong", "NOT SAVED"
#: The lists on the right.
TABS = ("Neighbours", "Anomalies", "Clusters", "Search", "Filter", "Selection")
NEIGHBOURS_TAB, ANOMALIES_TAB, CLUSTERS_TAB, SEARCH_TAB, FILTER_TAB, SELECTION_TAB = TABS


class PageState(param.Parameterized):
    """What the parts of a page watch and change.

    Parameters
    ----------
    session, ranking
        What all pages share.
    theme
        Dark or light.
    """

    row = param.Integer(default=None, allow_None=True, doc="Row of the source that the page is at.")
    chosen_by: Any = param.Dict(default={}, doc="How sources were chosen, see `chosen_rows`; empty for no choice.")
    selected = param.Array(default=None, allow_None=True, doc="Rows of the chosen sources; None for no choice.")
    colour = param.String(default=NO_COLOUR, doc="Column that colours the map.")
    map_name = param.String(doc="Which map is shown.")
    second = param.String(default=ONE_MAP, doc="Which map is shown below it.")
    stretch: Any = param.Selector(objects=list(STRETCHES), default="asinh", doc="Of pictures.")
    colour_map: Any = param.Selector(objects=list(COLOUR_MAPS), default=COLOUR_MAPS[0], doc="Of pictures.")
    neighbours = param.Array(default=None, allow_None=True, doc="Rows of the neighbours that are shown.")
    tab: Any = param.Selector(objects=list(TABS), default=NEIGHBOURS_TAB, doc="Which list is open.")
    limits: Any = param.Tuple(default=None, length=4, allow_None=True, doc="Part of the map that is shown; None: all.")
    second_limits: Any = param.Tuple(default=None, length=4, allow_None=True, doc="The same of the second map.")
    who = param.String(doc="Name of the person at this page.")
    message = param.String(doc="The last thing there was to say.")
    rated = param.Event(doc="This page rated a source.")
    ratings_changed = param.Event(doc="There are other ratings than before, this page's or another's.")

    def __init__(self, session: Session, ranking: Ranking, theme: Theme) -> None:
        super().__init__(who=session.files.who)
        self.session, self.ranking, self.theme = session, ranking, theme
        self.param.update(**self._first())
        #: Colour of an address whose column is still being computed.
        self._awaited = ""

    @param.depends("chosen_by", watch=True)
    def choose(self) -> None:
        """Look up the sources that are chosen; none while a column that chooses them is still being computed."""
        try:
            self.selected = chosen_rows(self.session, self.chosen_by)
        except RadiosslError as error:
            self.selected, self.message = None, str(error)
        except (KeyError, ValueError, TypeError, AttributeError):  # of a damaged address
            self.chosen_by = {}

    def use_later_columns(self) -> None:
        """Take over what the address asks of columns that have been computed since."""
        if self._awaited in self.session.shown.later:
            self.colour, self._awaited = self._awaited, ""
        if self.chosen_by:
            self.choose()

    def _first(self) -> dict[str, str]:
        """What a page shows at first, where that depends on the session."""
        maps = self.session.maps
        colour = self.session.shown.class_column or NO_COLOUR
        return {"colour": colour, "map_name": maps.names()[0], "second": maps.second or ONE_MAP}

    def address(self) -> str:
        """Return what of the page goes into its address, beside the source: whatever is not as it was at first."""
        first, now = self._first(), {name: getattr(self, name) for name in _CHOICES}
        said = {name: now[name] for name in _CHOICES if now[name] != first.get(name, self.param[name].default)}
        chosen_by = json.dumps(self.chosen_by, separators=(",", ":"), ensure_ascii=False)
        if self.chosen_by and len(chosen_by) <= _LONGEST_CHOICE:
            said["chosen_by"] = chosen_by
        shown = {name: getattr(self, name) for name in _LIMITS}
        said |= {name: ",".join(f"{limit:.5g}" for limit in limits) for name, limits in shown.items() if limits}
        return urlencode(said)

    def restore(self, address: str) -> None:
        """Take over what `address` returned; what this session does not know is left out."""
        said = {name: values[0] for name, values in parse_qs(address).items()}
        known = {
            "colour": [NO_COLOUR, *self.session.shown.names()],
            "map_name": self.session.maps.names(),
            "second": [ONE_MAP, *self.session.maps.names()],
            **{name: self.param[name].objects for name in _CHOICES[3:]},
        }
        self.param.update(**{name: said[name] for name in known if said.get(name) in known[name]})
        self._awaited = said.get("colour", "")
        with suppress(ValueError, RecursionError):  # of a damaged address
            self.chosen_by = json.loads(said.get("chosen_by", "{}"))
        for name in _LIMITS:
            with suppress(ValueError):
                left, right, bottom, top = map(float, said.get(name, "").split(","))
                if left < right and bottom < top and np.isfinite([left, right, bottom, top]).all():
                    setattr(self, name, (left, right, bottom, top))

    def guarded(self, act: Callable[..., None]) -> Callable[..., None]:
        """Return a function that says on the page what went wrong in it, instead of failing unseen."""

        def guard(*arguments: Any) -> None:
            try:
                act(*arguments)
            except Exception as error:
                self.fail(error)

        return guard

    def fail(self, error: BaseException) -> None:
        """Say on the page what went wrong, and write the traceback to the terminal."""
        if not isinstance(error, RadiosslError):
            logging.getLogger("radiossl").error("the page's program failed", exc_info=error)
        kind = "" if isinstance(error, RadiosslError) else f"{type(error).__name__}: "
        self.message = f"{FAILED}: {kind}{str(error)[:300]}"

    def image(self, row: int, side: int = LARGE) -> str:
        """Return a source as an HTML picture in the page's stretch and colours."""
        url = self.session.picture_url(row, self.stretch, self.colour_map, side)
        return image_html(url, self.session.cutout_id(row))

    def thumb(self, row: int, caption: str = "", badge: str = "") -> str:
        """Return a source as a small picture that leads to it."""
        url = self.session.picture_url(row, self.stretch, self.colour_map, THUMB)
        caption = " · ".join(part for part in (caption, self.session.shown.class_of(row)) if part)
        return thumb_html(url, self.session.cutout_id(row), caption, badge, row == self.row)

    def card(self, row: int) -> str:
        """Return what is shown of a source beside the pointer: its picture, id, and the value that colours the map."""
        text = escape(self.session.cutout_id(row))
        if self.colour != NO_COLOUR:
            value = format_value(self.session.details(row).get(self.colour), self.colour)
            text += f"<br><small>{escape(self.session.shown.label(self.colour))} {escape(value)}</small>"
        rating = self.session.ratings.of(self.session.cutout_id(row))
        text += f"<small> · rated {rating}</small>" if rating else ""
        return f'{self.image(row, HOVER)}<div class="rs-named">{text}</div>'

    def rate(self, rating: int, name: str) -> None:
        """Save a rating of the source of that id, which the page shows or has just shown, and say so."""
        if self.session.row_of(name) is None:
            raise RadiosslError(f"no source has the id {name[:80]!r}")
        try:
            self.session.ratings.add(name, rating, self.who)
        except (RadiosslError, OSError) as error:
            self.message = f"{NOT_SAVED}: {error}"
            return
        self.message = f"{name}: rated {rating}, saved (U takes it back)"
        here = self.row is not None and name == self.session.cutout_id(self.row)
        self.param.trigger("rated" if here else "ratings_changed")

    def undo(self) -> None:
        """Withdraw the last rating of the person at this page, and go to its source."""
        try:
            name = self.session.ratings.undo(self.who)
        except (RadiosslError, OSError) as error:
            self.message = f"{NOT_SAVED}: {error}"
            return
        if name is None:
            self.message = "there is no rating of yours to take back"
            return
        row = self.session.row_of(name)
        if row is not None:
            self.row = row
        self.message = f"{name}: your last rating is taken back"
        self.param.trigger("ratings_changed")
