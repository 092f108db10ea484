"""What one open page shows: the source it is at, the sources chosen, and how pictures and map are drawn."""

from __future__ import annotations

from html import escape
from typing import Any

import param

from radiossl.explorer.drawing import Theme
from radiossl.explorer.pictures import COLOUR_MAPS, HOVER, LARGE, THUMB, image_html, thumb_html
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.session import Session
from radiossl.io.errors import RadiosslError
from radiossl.report.html import format_value
from radiossl.report.sheets import STRETCHES

NO_COLOUR = "number of sources"
#: The lists on the right.
TABS = ("Neighbours", "Anomalies", "Search", "Selection")
NEIGHBOURS_TAB, ANOMALIES_TAB, SEARCH_TAB, SELECTION_TAB = TABS


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
    selected = param.Array(default=None, allow_None=True, doc="Rows of the chosen sources; None for no choice.")
    colour = param.String(default=NO_COLOUR, doc="Column that colours the map.")
    map_name = param.String(doc="Which map is shown.")
    stretch: Any = param.Selector(objects=list(STRETCHES), default="asinh", doc="Of pictures.")
    colour_map: Any = param.Selector(objects=list(COLOUR_MAPS), default=COLOUR_MAPS[0], doc="Of pictures.")
    tab: Any = param.Selector(objects=list(TABS), default=NEIGHBOURS_TAB, doc="Which list is open.")
    message = param.String(doc="The last thing there was to say.")
    rated = param.Event(doc="A source was rated.")

    def __init__(self, session: Session, ranking: Ranking, theme: Theme) -> None:
        super().__init__(map_name=session.maps.names()[0])
        self.session, self.ranking, self.theme = session, ranking, theme

    def image(self, row: int, side: int = LARGE) -> str:
        """Return a source as an HTML picture in the page's stretch and colours."""
        url = self.session.picture_url(row, self.stretch, self.colour_map, side)
        return image_html(url, self.session.cutout_id(row))

    def thumb(self, row: int, caption: str = "", badge: str = "") -> str:
        """Return a source as a small picture that leads to it."""
        url = self.session.picture_url(row, self.stretch, self.colour_map, THUMB)
        return thumb_html(url, self.session.cutout_id(row), caption, badge, row == self.row)

    def card(self, row: int) -> str:
        """Return what is shown of a source beside the pointer: its picture, id, and the value that colours the map."""
        text = escape(self.session.cutout_id(row))
        if self.colour != NO_COLOUR:
            value = self.session.details(row).get(self.colour)
            text += f"<br><small>{escape(self.colour)} {escape(format_value(value, self.colour))}</small>"
        rating = self.session.ratings.of(self.session.cutout_id(row))
        text += f"<small> · rated {rating}</small>" if rating else ""
        return f'{self.image(row, HOVER)}<div class="rs-named">{text}</div>'

    def rate(self, rating: int) -> None:
        """Save a rating of the source that the page is at, and say so."""
        if self.row is None:
            self.message = "choose a source first, then rate it"
            return
        name = self.session.cutout_id(self.row)
        try:
            self.session.ratings.add(name, rating)
        except (RadiosslError, OSError) as error:
            self.message = f"NOT SAVED: {error}"
            return
        self.message = f"{name}: rated {rating}, saved"
        self.param.trigger("rated")
