"""The chosen sources: what they look like, and what becomes of them."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import panel as pn
from numpy.typing import NDArray

from radiossl.explorer.page_state import SELECTION_TAB, PageState
from radiossl.explorer.pictures import notice_html, sheet_html
from radiossl.explorer.selection import regions_bytes, table_bytes
from radiossl.explorer.style import column, html_pane, side_by_side
from radiossl.io.errors import RadiosslError

_SHOWN = 48
_EXPLAINED = (
    "Choose sources with the lasso beside the map, by filters, by a cluster, or by a catalogue dropped under Search."
    " They can be saved as a table, as DS9 regions, or given a class label for radiossl evaluate."
)


class SelectionView:
    """The tab of the chosen sources.

    Parameters
    ----------
    state
        Of the page.
    """

    def __init__(self, state: PageState) -> None:
        self.state = state
        self.sheet = html_pane()
        self.clear = pn.widgets.Button(name="choose none", on_click=lambda _: setattr(state, "chosen_by", {}))
        self.downloads = [
            self._download("selection.csv", lambda frame: table_bytes(frame, "csv")),
            self._download("selection.fits", lambda frame: table_bytes(frame, "fits")),
            self._download("selection.reg", regions_bytes),
        ]
        self.label = pn.widgets.TextInput(placeholder="class, such as FRII", width=170)
        self.apply = pn.widgets.Button(name="label them", button_type="primary", on_click=lambda _: self._label())
        self.labelled = html_pane()
        state.param.watch(lambda _: self._show(), ["selected", "stretch", "colour_map", "row", "tab"])
        state.param.watch(lambda event: self._choose(event.new), ["selected"])
        self._choose(state.selected)  # the address may have chosen them, and opened this list
        self._show()

    def view(self) -> pn.viewable.Viewable:
        """Return the tab."""
        labels = side_by_side(self.label, self.apply)
        files = side_by_side(*self.downloads)
        return column(
            self.clear,
            files,
            labels,
            self.labelled,
            self.sheet,
            kind="rs-side",
            sizing_mode="stretch_both",
            scroll=True,
        )

    def _show(self) -> None:
        if self.state.tab != SELECTION_TAB:
            return
        rows = self.state.selected
        counts = self.state.session.labels.counts()
        said = ", ".join(f"{name} ({count:,})" for name, count in counts.items())
        where = self.state.session.labels.path
        self.labelled.object = notice_html(f"Labels in {where.name}: {said}" if said else "")
        if rows is None:
            self.sheet.object = notice_html(_EXPLAINED)
            return
        some = rows if len(rows) <= _SHOWN else np.sort(np.random.default_rng(0).choice(rows, _SHOWN, replace=False))
        said = f"{len(rows):,} sources chosen{f'; {_SHOWN} of them, drawn at random' if len(rows) > _SHOWN else ''}"
        self.sheet.object = notice_html(said) + sheet_html([self.state.thumb(row) for row in some.tolist()])

    def _choose(self, rows: NDArray[np.int64] | None) -> None:
        for part in (self.clear, self.apply, *self.downloads):
            part.disabled = rows is None
        if rows is not None:
            self.state.message = f"{len(rows):,} sources chosen"

    def _label(self) -> None:
        session, rows, label = self.state.session, self.state.selected, self.label.value or ""
        if rows is None:
            return
        try:
            session.labels.add(session.cutout_ids(rows), label)
            what = f"labelled {label!r}" if label.strip() else "labelled no more"
            self.state.message = f"{len(rows):,} sources {what}, saved in {session.labels.path}"
        except (RadiosslError, OSError) as error:
            self.state.message = f"NOT SAVED: {error}"
        self._show()

    def _download(self, name: str, content: Callable[[pd.DataFrame], bytes]) -> pn.widgets.FileDownload:
        def made() -> io.BytesIO | None:
            if self.state.selected is None:
                return None
            try:
                return io.BytesIO(content(self.state.session.rows_frame(self.state.selected)))
            except RadiosslError as error:
                self.state.message = str(error)
                return None

        return pn.widgets.FileDownload(callback=made, filename=name, label=name, width=125)
