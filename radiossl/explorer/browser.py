"""What only the browser knows: keys, the address, the system's theme, the person's name, a lost connection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import param
from bokeh.models import CustomJS
from panel.custom import JSComponent

#: Of a page's document; the script listens for it.
_LOST = 'window.dispatchEvent(new Event("radiossl-lost"))'


class Browser(JSComponent):
    """Reports keys and what was clicked inside HTML; reads and writes the address and the name.

    Parameters
    ----------
    act : callable
        Takes the name of a key, or the ``data-act`` of what was clicked, and where in it (0 to 1 from the upper left).
        They come one by one, each once: of properties changed twice at once Panel passes on the last value only.
    **values
        Of the properties.
    """

    fragment = param.String(default="", doc="The address from its # on.")
    query = param.String(default="", doc="The address between ? and #, without token and theme.")
    theme = param.String(default="dark", doc="Theme of this page.")
    who = param.String(default="", doc="Name of the person, remembered by the browser.")

    def __init__(self, act: Callable[[str, float, float], None], **values: Any) -> None:
        super().__init__(**values)
        self._act = act

    def _handle_msg(self, data: Any) -> None:
        name, x, y = data
        self._act(str(name), float(x), float(y))

    _esm = Path(__file__).with_name("browser.js")


def announce_loss(document: Any) -> None:
    """Have the browser tell the script when the connection of this document is lost."""
    document.js_on_event("connection_lost", CustomJS(code=_LOST))
