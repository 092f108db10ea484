"""The map on the page: hover shows a cutout, a click goes there, a lasso chooses; wheel and drag move."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import panel as pn
from bokeh.events import MouseLeave, MouseMove, RangesUpdate, Reset, SelectionGeometry, Tap
from bokeh.models import BoxZoomTool, ColumnDataSource, LassoSelectTool, Range1d, WheelZoomTool
from bokeh.plotting import figure
from numpy.typing import NDArray

from radiossl.explorer.drawing import Colours, Limits, draw_raster, legend_html, point_colours
from radiossl.explorer.page_state import NO_COLOUR, ONE_MAP, PageState
from radiossl.explorer.selection import lasso
from radiossl.explorer.style import column, html_pane
from radiossl.io.errors import RadiosslError
from radiossl.maps.figures import RASTER_ABOVE, map_limits

#: How near to a point, in pixels, the pointer is at it.
REACH_PX = 14
#: Before a hovered cutout or a new raster is sent, in milliseconds: the last movement of many counts.
_HOVER_MS, _REDRAW_MS = 30, 90
_CARD_PX = 210
#: Until the page says how large it is the axes may differ in scale: of these nearest sources the nearest in pixels.
_CANDIDATES = 12
#: Size of the first raster, until the page says how large it is.
_FIRST_SIZE = (760, 720)


class MapView:
    """The map, its legend and the card that follows the pointer.

    Parameters
    ----------
    state : PageState
        Of the page.
    which, limits : str
        What of the state says which map is shown, and which part of it.
    """

    def __init__(self, state: PageState, which: str = "map_name", limits: str = "limits") -> None:
        self.state, self._which, self._limits_name = state, which, limits
        self._pending: dict[str, Any] = {}
        self._colours: Colours = None
        #: Of the map in pixels.
        self._size = _FIRST_SIZE
        self.dense = len(state.session) > RASTER_ABOVE
        self.figure = self._figure()
        self._points = ColumnDataSource({"x": [], "y": [], "colour": np.zeros((0,), np.uint32)})
        self._raster = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self._marks = ColumnDataSource({"x": [], "y": [], "size": [], "colour": []})
        self._near_marks = ColumnDataSource({"x": [], "y": []})
        self._draw_glyphs()
        self.card = html_pane(kind="rs-card", visible=False, width=_CARD_PX, sizing_mode=None)
        self.legend = html_pane(min_height=40)
        self._fit()
        if self._wanted is not None:
            self._show_limits(self._wanted)
        self._recolour()
        for name, act in (
            ("colour", self._recolour),
            ("selected", self._redraw),
            ("row", self._mark),
            (which, self._move),
            ("neighbours", self._mark_neighbours),
        ):
            state.param.watch(partial(self._locked, act), [name])
        self._listen()

    def view(self) -> pn.Column:
        """Return the part of the page."""
        pane = pn.pane.Bokeh(self.figure, sizing_mode="stretch_both", theme=None)
        frame = column(pane, self.card, kind="rs-map", sizing_mode="stretch_both", min_height=300)
        parts = (frame, self.legend) if self._which == "map_name" else (frame,)
        return column(*parts, kind="rs-map-part", sizing_mode="stretch_both")

    @property
    def name(self) -> str:
        """Of the map that is shown."""
        return getattr(self.state, self._which)

    @property
    def _wanted(self) -> Limits | None:
        """The part of the map that the page is to show; None for all of it."""
        return getattr(self.state, self._limits_name)

    @property
    def coordinates(self) -> NDArray[np.float32]:
        """Of the map that is shown, shape (n, 2)."""
        return self.state.session.maps.coordinates[self.name]

    # Drawing ----------------------------------------------------------------------------------------------------------

    def _figure(self) -> Any:
        made = figure(
            sizing_mode="stretch_both",
            x_range=Range1d(),
            y_range=Range1d(),
            tools="pan,reset",
            toolbar_location="left",
            background_fill_alpha=0,
            border_fill_alpha=0,
            outline_line_alpha=0,
            output_backend="canvas" if self.dense else "webgl",
            min_border=4,
            name=self._which,
            stylesheets=["* { outline: none !important; }"],  # no frame around the map that was clicked
        )
        wheel = WheelZoomTool()
        made.add_tools(wheel, BoxZoomTool(match_aspect=True), LassoSelectTool(renderers=[], continuous=False))
        made.toolbar.active_scroll = wheel
        made.toolbar.logo = None
        made.axis.visible = False  # the axes of a map mean nothing by themselves
        made.grid.visible = False
        return made

    def _draw_glyphs(self) -> None:
        if self.dense:
            self.figure.image_rgba("image", source=self._raster, x="x", y="y", dw="dw", dh="dh")
        else:
            size = float(np.clip(900 / np.sqrt(len(self.state.session)), 3.5, 11))
            self.figure.scatter(
                "x",
                "y",
                source=self._points,
                size=size,
                fill_color="colour",
                line_color=None,
                nonselection_fill_alpha=1.0,
            )
        self.figure.scatter(
            "x", "y", source=self._near_marks, size=12, fill_color=None, line_color="#e8590c", line_width=1.2
        )
        self.figure.scatter(
            "x", "y", source=self._marks, size="size", fill_color=None, line_color="colour", line_width=2.5
        )

    def _locked(self, act: Callable[[], None], _: Any) -> None:
        """Act as soon as the document is ours: unlike Panel's parts, those of Bokeh may not be changed at any time."""
        document = self.figure.document
        if self.name == ONE_MAP:
            return
        if document is None:
            act()
        else:
            document.add_next_tick_callback(act)

    def _fit(self) -> None:
        """Show the whole map."""
        left, right, bottom, top = self._home = self._equal_axes(map_limits(self.coordinates))
        x, y = self.figure.x_range, self.figure.y_range
        x.update(start=left, end=right, reset_start=left, reset_end=right)
        y.update(start=bottom, end=top, reset_start=bottom, reset_end=top)
        self._limits = self._home

    def _equal_axes(self, limits: Limits) -> Limits:
        """Widen limits so that a step to the right is as far as a step up, whatever the shape of the window."""
        left, right, bottom, top = limits
        width, height = self._size
        scale = max((right - left) / width, (top - bottom) / height) / 2
        x, y = (left + right) / 2, (bottom + top) / 2
        return x - scale * width, x + scale * width, y - scale * height, y + scale * height

    def _show_limits(self, limits: Limits) -> None:
        self.figure.x_range.update(start=limits[0], end=limits[1])
        self.figure.y_range.update(start=limits[2], end=limits[3])
        self._limits = limits

    def _move(self) -> None:
        self._fit()
        setattr(self.state, self._limits_name, None)
        self._recolour()
        self._mark()
        self._mark_neighbours()

    def _recolour(self) -> None:
        name = self.state.colour
        try:
            self._colours = None if name == NO_COLOUR else self.state.session.shown.colours(name)
        except RadiosslError as error:
            self.state.message = str(error)
            return
        label = self.state.session.shown.label(name)
        self.legend.object = legend_html(self._colours, name, label, len(self.state.session), self.state.theme)
        self._redraw()

    def _redraw(self) -> None:
        coordinates, theme, chosen = self.coordinates, self.state.theme, self.state.selected
        shown = None
        if chosen is not None:
            shown = np.zeros(len(coordinates), bool)
            shown[chosen] = True
        if not self.dense:
            colours = point_colours(self._colours, len(coordinates), theme, shown)
            packed = colours.view(">u4").ravel().astype(np.uint32)  # 0xRRGGBBAA, as Bokeh wants it
            self._points.data = {"x": coordinates[:, 0], "y": coordinates[:, 1], "colour": packed}
            return
        width, height = self._size
        left, right, bottom, top = self._limits
        if shown is None:
            name = "" if self._colours is None else self.state.colour
            image = self.state.session.raster(self.name, name, theme, self._limits, (width, height))
        else:
            image = draw_raster(coordinates, self._colours, theme, self._limits, (width, height), shown)
        self._raster.data = {
            "image": [np.ascontiguousarray(image).view(np.uint32).reshape(image.shape[:2])],
            "x": [left],
            "y": [bottom],
            "dw": [right - left],
            "dh": [top - bottom],
        }

    def _mark(self) -> None:
        row = self.state.row
        if row is None:
            self._marks.data = {"x": [], "y": [], "size": [], "colour": []}
            return
        x, y = self.coordinates[row]
        ring = "#ffffff" if self.state.theme.name == "dark" else "#000000"
        self._marks.data = {"x": [x, x], "y": [y, y], "size": [18, 24], "colour": ["#e8590c", ring]}

    def _mark_neighbours(self) -> None:
        rows = self.state.neighbours
        places = np.zeros((0, 2)) if rows is None else self.coordinates[rows]
        self._near_marks.data = {"x": places[:, 0], "y": places[:, 1]}

    # Events -----------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        def on(event: Any, act: Callable[[Any], None]) -> None:
            self.figure.on_event(event, self.state.guarded(act))

        on(MouseMove, lambda event: self._later("hover", event, self._hover, _HOVER_MS))
        on(MouseLeave, lambda _: self._leave())
        on(Tap, self._tap)
        on(SelectionGeometry, self._select)
        on(Reset, lambda _: setattr(self.state, "chosen_by", {}))
        on(RangesUpdate, lambda event: self._later("ranges", event, self._ranges, _REDRAW_MS))
        for side in ("inner_width", "inner_height"):
            self.figure.on_change(side, lambda attr, old, new: self._later("size", None, self._resized, _REDRAW_MS))

    def _later(self, what: str, event: Any, act: Any, wait_ms: int) -> None:
        """Act on the last of many events, a moment after the first of them."""
        if what in self._pending:
            self._pending[what] = event
            return
        self._pending[what] = event
        document = pn.state.curdoc
        if document is not None:
            document.add_timeout_callback(self.state.guarded(lambda: act(self._pending.pop(what))), wait_ms)

    def _ranges(self, event: Any) -> None:
        self._limits = (event.x0, event.x1, event.y0, event.y1)
        whole = np.allclose(self._limits, self._home)
        setattr(self.state, self._limits_name, None if whole else self._limits)
        if self.dense:
            self._redraw()

    def _resized(self, _: Any) -> None:
        self._size = (max(1, self.figure.inner_width), max(1, self.figure.inner_height))
        limits = self._limits
        self._fit()
        if self._wanted is not None:
            self._show_limits(self._equal_axes(limits))
        if self.dense:
            self._redraw()

    def _near(self, x: float | None, y: float | None) -> int | None:
        """The source under the pointer, if there is one within its reach."""
        left, right, bottom, top = self._limits
        width, height = self._size
        per_px = np.array([(right - left) / width, (top - bottom) / height])
        if x is None or y is None or not np.isfinite([x, y]).all() or not (per_px > 0).all():
            return None
        tree = self.state.session.maps.tree(self.name)
        _, rows = tree.query([x, y], k=min(_CANDIDATES, len(self.coordinates)))
        rows = np.atleast_1d(rows)
        off = np.linalg.norm((self.coordinates[rows] - [x, y]) / per_px, axis=1)
        nearest = int(np.argmin(off))
        return int(rows[nearest]) if off[nearest] <= REACH_PX else None

    def _hover(self, event: Any) -> None:
        row = self._near(event.x, event.y)
        if row is None:
            self.card.visible = False
            return
        self.card.object = self.state.card(row)
        width, height = self._size
        left = event.sx + 22 if event.sx < width - _CARD_PX - 30 else event.sx - _CARD_PX - 22
        top = max(4, min(event.sy - 40, height - _CARD_PX - 20))
        self.card.styles = {"left": f"{left:.0f}px", "top": f"{top:.0f}px"}
        self.card.visible = True

    def _leave(self) -> None:
        self.card.visible = False

    def _tap(self, event: Any) -> None:
        row = self._near(event.x, event.y)
        if row is not None:
            self.state.row = row

    def _select(self, event: Any) -> None:
        if not event.final or event.geometry.get("type") != "poly":
            return
        self.state.chosen_by = lasso(self.name, event.geometry["x"], event.geometry["y"])
        if self.state.selected is not None and not len(self.state.selected):
            self.state.chosen_by = {}
