"""Keys and the address of the page, in the few lines of script that are our own.

Neither Panel nor Bokeh tells of keys, and Panel's `Location` puts every step into the browser's history twice.
"""

from __future__ import annotations

import param
from panel.custom import JSComponent


class Browser(JSComponent):
    """Tells which key was pressed, unless into a field or beside Ctrl, Alt or Cmd; reads and writes the address."""

    pressed = param.List(default=["", 0], doc="The key, and how many were pressed: the same one twice is two events.")
    fragment = param.String(default="", doc="The address from its # on.")

    _esm = """
    export function render({ model, el }) {
      el.style.display = "none";
      const key = (event) => {
        const field = event.composedPath()[0];
        if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
        if (/^(INPUT|TEXTAREA|SELECT)$/.test(field.tagName ?? "")) return;
        if (!/^([1-5]|ArrowLeft|ArrowRight)$/.test(event.key)) return;
        event.preventDefault();
        model.pressed = [event.key, model.pressed[1] + 1];
      };
      const read = () => { model.fragment = window.location.hash; };
      const write = () => { if (window.location.hash !== model.fragment) window.location.hash = model.fragment; };
      window.addEventListener("keydown", key);
      window.addEventListener("hashchange", read);
      model.on("fragment", write);
      model.on("remove", () => {
        window.removeEventListener("keydown", key);
        window.removeEventListener("hashchange", read);
      });
      if (window.location.hash) read();
    }
    """
