"""What only the browser knows: keys, the address, the system's theme, the person's name, a lost connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import param
from bokeh.models import CustomJS
from panel.custom import JSComponent

#: Of a page's document; the script listens for it.
_LOST = 'window.dispatchEvent(new Event("radiossl-lost"))'


class Browser(JSComponent):
    """Reports keys, unless pressed in a field or with Ctrl, Alt or Cmd; reads and writes the address and the name."""

    pressed = param.List(default=["", 0], doc="The key, and how many were pressed: the same one twice is two events.")
    acted = param.List(["", 0.0, 0.0, 0], doc="The data-act of what was clicked, where in it (0 to 1), and a count.")
    fragment = param.String(default="", doc="The address from its # on.")
    query = param.String(default="", doc="The address between ? and #, without token and theme.")
    theme = param.String(default="dark", doc="Theme of this page.")
    who = param.String(default="", doc="Name of the person, remembered by the browser.")

    _esm = Path(__file__).with_name("browser.js")


def announce_loss(document: Any) -> None:
    """Have the browser tell the script when the connection of this document is lost."""
    document.js_on_event("connection_lost", CustomJS(code=_LOST))
