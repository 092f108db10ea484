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
from radiossl.maps.colours import ClassColours, NumberColours, column_colours
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
        self._masks: dict[str, tuple[str, NDArray[np.bool_]]] = {}
        self._values: NumberColours | ClassColours | None = None
        self.column = select("column to filter by", [], width=220)
        self.low = pn.widgets.TextInput(placeholder="from", width=100)
        self.high = pn.widgets.TextInput(placeholder="to", width=100)
        self.classes = pn.widgets.MultiChoice(options=[], placeholder="classes to show", sizing_mode="stretch_width")
        self.histogram = html_pane()
        self.active = html_pane(notice_html(_EXPLAINED))
        self.clear = pn.widgets.Button(name="remove all filters", on_click=lambda _: self._clear())
        self.column.param.watch(state.guarded(lambda _: self._choose()), "value")
        for part in (self.low, self.high, self.classes):
            part.param.watch(state.guarded(lambda _: self._apply()), "value")
        state.param.watch(state.guarded(lambda _: self._open()), ["tab"])
        self._open()  # the address may have said so

    def view(self) -> pn.viewable.Viewable:
        """Return the tab."""
        limits = side_by_side(self.low, self.high)
        parts = self.column, self.histogram, limits, self.classes, self.active, self.clear
        return column(*parts, kind="rs-side", sizing_mode="stretch_both", scroll=True)

    def _open(self) -> None:
        if self.state.tab == FILTER_TAB:
            names = self.state.session.colour_columns()
            if names != self.column.options:
                self.column.options = names

    def _choose(self) -> None:
        name = self.column.value
        if not name:
            return
        self._values = None  # no filter while the fields are emptied
        self.low.value = self.high.value = ""
        self.classes.value = []
        self._values = column_colours(self.state.session.colour_table(name), name)
        numbers = isinstance(self._values, NumberColours)
        self.low.visible = self.high.visible = numbers
        self.classes.visible = not numbers
        self.classes.options = [] if isinstance(self._values, NumberColours) else list(self._values.names)
        self._draw()

    def _apply(self) -> None:
        name, values = self.column.value, self._values
        if values is None:
            return
        self._masks.pop(name, None)
        if isinstance(values, NumberColours):
            low, high = _number(self.low.value, -np.inf), _number(self.high.value, np.inf)
            if np.isfinite([low, high]).any():
                text = f"{name} from {self.low.value or 'the lowest'} to {self.high.value or 'the highest'}"
                self._masks[name] = (text, (values.values >= low) & (values.values <= high))
        elif self.classes.value:
            codes = [values.names.index(one) for one in self.classes.value]
            self._masks[name] = (f"{name}: {', '.join(self.classes.value)}", np.isin(values.codes, codes))
        self._show()

    def _clear(self) -> None:
        self._masks.clear()
        self._choose()
        self._show()

    def _show(self) -> None:
        mask = self._mask()
        self.state.selected = None if mask is None else np.flatnonzero(mask)
        said = [text for text, _ in self._masks.values()]
        if mask is not None:
            said.append(f"{int(mask.sum()):,} of {len(mask):,} sources, under Selection as pictures and files")
        self.active.object = notice_html("\n".join(said) or _EXPLAINED)
        self._draw()

    def _mask(self) -> NDArray[np.bool_] | None:
        masks = [mask for _, mask in self._masks.values()]
        return np.logical_and.reduce(masks) if masks else None

    def _draw(self) -> None:
        """Draw the column's distribution: of all sources, and of those that the filters leave."""
        values, mask = self._values, self._mask()
        if values is None:
            return
        name = str(self.column.value)
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
        left = every if mask is None else np.bincount(bins[known & mask], minlength=count)
        self.histogram.object = _bars(every, left, f"{name}: {scale}")


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


def _number(text: str | None, otherwise: float) -> float:
    try:
        return float(text or "")
    except ValueError:
        return otherwise
