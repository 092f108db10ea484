"""Keys pressed on the page. Neither Panel nor Bokeh tells of them, so these few lines of script are our own."""

from __future__ import annotations

import param
from panel.custom import JSComponent


class Keys(JSComponent):
    """Tells which key was pressed, unless it was typed into a field or beside Ctrl, Alt or Cmd."""

    pressed = param.List(default=["", 0], doc="The key, and how many were pressed: the same one twice is two events.")

    _esm = """
    export function render({ model, el }) {
      el.style.display = "none";
      const listen = (event) => {
        const field = event.composedPath()[0];
        if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
        if (/^(INPUT|TEXTAREA|SELECT)$/.test(field.tagName ?? "")) return;
        if (!/^([1-5]|ArrowLeft|ArrowRight)$/.test(event.key)) return;
        event.preventDefault();
        model.pressed = [event.key, model.pressed[1] + 1];
      };
      window.addEventListener("keydown", listen);
      model.on("remove", () => window.removeEventListener("keydown", listen));
    }
    """
