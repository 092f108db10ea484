"""Filters: a histogram of any column with the range that is shown, and all filters together as a selection."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import panel as pn
from numpy.typing import NDArray

from radiossl.explorer.page_state import FILTER_TAB, PageState
from radiossl.explorer.pictures import notice_html
from radiossl.explorer.style import column, html_pane, select, side_by_side
from radiossl.maps.colours import ClassColours, NumberColours
from radiossl.report.html import format_value

_BINS, _HEIGHT = 48, 56
_EXPLAINED = "Choose a column, then the range or classes to show. Several filters narrow each other."


class FilterView:
    """The tab of filters.

    Parameters
    ----------
    state : PageState
        Of the page.
    """

    def __init__(self, state: PageState) -> None:
        self.state = state
        self._values: NumberColours | ClassColours | None = None
        self.column = select("column to filter by", {}, width=220)
        self.low = pn.widgets.TextInput(placeholder="from", width=100)
        self.high = pn.widgets.TextInput(placeholder="to", width=100)
        self.classes = pn.widgets.MultiChoice(options=[], placeholder="classes to show", sizing_mode="stretch_width")
        self.histogram = html_pane()
        self.active = html_pane(notice_html(_EXPLAINED))
        self.clear = pn.widgets.Button(name="remove all filters", on_click=lambda _: setattr(state, "chosen_by", {}))
        self.column.param.watch(state.guarded(lambda _: self._choose()), "value")
        for part in (self.low, self.high, self.classes):
            part.param.watch(state.guarded(lambda _: self._apply()), "value")
        state.param.watch(state.guarded(lambda _: self._open()), ["tab"])
        state.param.watch(state.guarded(lambda _: self._show()), ["selected"])
        self._open()  # the address may have said so

    def view(self) -> pn.viewable.Viewable:
        """Return the tab."""
        limits = side_by_side(self.low, self.high)
        parts = self.column, self.histogram, limits, self.classes, self.active, self.clear
        return column(*parts, kind="rs-side", sizing_mode="stretch_both", scroll=True)

    @property
    def _filters(self) -> dict[str, list[str]]:
        return dict(self.state.chosen_by.get("filters", {}))

    def _open(self) -> None:
        if self.state.tab == FILTER_TAB:
            groups = self.state.session.shown.groups()
            if groups != self.column.groups:
                self.column.groups = groups
            if self.column.value in (None, "") or (self._filters and self.column.value not in self._filters):
                self.column.value = next(iter([*self._filters, *self.state.session.shown.names()]), None)
            self._show()

    def _choose(self) -> None:
        """Show the range or the classes of a column, as they are filtered."""
        name = self.column.value
        if not name:
            return
        self._values = None  # nothing is filtered while the fields are filled
        values, wanted = self.state.session.shown.colours(name), self._filters.get(name)
        numbers = isinstance(values, NumberColours)
        self.low.visible = self.high.visible = numbers
        self.classes.visible = not numbers
        if isinstance(values, ClassColours):
            self.classes.options, self.classes.value = list(values.names), wanted or []
        else:
            self.low.value, self.high.value = wanted or ("", "")
        self._values = values
        self._draw()

    def _apply(self) -> None:
        name, values = self.column.value, self._values
        if values is None:
            return
        numbers = isinstance(values, NumberColours)
        wanted = [_number(self.low.value), _number(self.high.value)] if numbers else list(self.classes.value)
        filters = self._filters | {name: wanted}
        if not any(wanted):
            del filters[name]
        self.state.chosen_by = {"filters": filters} if filters else {}

    def _show(self) -> None:
        if self.state.tab != FILTER_TAB:
            return
        said, rows = [], self.state.selected
        for name, wanted in self._filters.items() if rows is not None else ():
            if isinstance(self.state.session.shown.colours(name), ClassColours):
                said.append(f"{name}: {', '.join(wanted)}")
            else:
                said.append(f"{name} from {wanted[0] or 'the lowest'} to {wanted[1] or 'the highest'}")
        if rows is not None:
            said.append(f"{len(rows):,} of {len(self.state.session):,} sources, under Selection as pictures and files")
        self.active.object = notice_html("\n".join(said) or _EXPLAINED)
        self._choose()

    def _draw(self) -> None:
        """Draw the column's distribution: of all sources, and of those that the filters leave."""
        values, rows = self._values, self.state.selected
        if values is None:
            return
        name = str(self.column.value)
        left_over = np.ones(len(self.state.session), bool)
        if rows is not None:
            left_over[:] = False
            left_over[rows] = True
        if isinstance(values, NumberColours):
            positive = np.where(values.values > 0, values.values, np.nan)
            numbers = np.log10(positive) if values.logarithmic else values.values
            known = np.isfinite(numbers)
            ends = values.values[known].min(), values.values[known].max()
            edges = np.linspace(numbers[known].min(), numbers[known].max() + 1e-12, _BINS + 1)
            bins = np.searchsorted(edges, np.where(known, numbers, edges[0]), "right") - 1
            bins, count = np.clip(bins, 0, _BINS - 1), _BINS
            scale = " to ".join(format_value(float(end), name) for end in ends)
            scale += ", logarithmic" if values.logarithmic else ""
        else:
            known, bins, count = values.codes >= 0, values.codes, len(values.names)
            scale = ", ".join(values.names[:6]) + ("…" if count > 6 else "")
        every = np.bincount(bins[known], minlength=count)
        left = np.bincount(bins[known & left_over], minlength=count)
        self.histogram.object = _bars(every, left, f"{self.state.session.shown.label(name)}: {scale}")


def _bars(every: NDArray[Any], left: NDArray[Any], label: str) -> str:
    top = np.sqrt(max(1, int(every.max())))
    width = 100 / len(every)
    shapes = []
    for kind, counts in (("rs-all", every), ("rs-left", left)):
        for place, number in enumerate(counts.tolist()):
            height = _HEIGHT * np.sqrt(number) / top
            shapes.append(
                f'<rect class="{kind}" x="{place * width:.3f}" width="{0.92 * width:.3f}" y="{_HEIGHT - height:.2f}"'
                f' height="{height:.2f}"/>'
            )
    label = escape(label)
    return (
        f'<svg class="rs-bars" viewBox="0 0 100 {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{''.join(shapes)}</svg><small>{label}</small>"
    )


def _number(text: str | None) -> str:
    """A limit as it is kept: empty if it is no number."""
    try:
        return str(float(text or "")).removesuffix(".0")
    except ValueError:
        return ""
