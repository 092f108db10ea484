"""Anomalies: ranked cutouts, rated with the keys 1 to 5, ranked anew when asked."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import numpy as np
import panel as pn
from numpy.typing import NDArray

from radiossl.explorer.page_state import ANOMALIES_TAB, PageState
from radiossl.explorer.pictures import notice_html, sheet_html
from radiossl.explorer.selection import table_bytes
from radiossl.explorer.style import column, html_pane, select, side_by_side
from radiossl.io.errors import RadiosslError
from radiossl.ratings.active_learning import METHODS
from radiossl.ratings.quality import agreement
from radiossl.ratings.records import HIGHEST, LOWEST

PER_PAGE = 32
RANKED, PROPOSED, UNRATED = "ranked list", "what to rate next", "ranked, not yet rated"
CLEAN = "ranked, no noise or edges"


class RatingView:
    """The list and its controls.

    Parameters
    ----------
    state
        Of the page.
    """

    def __init__(self, state: PageState) -> None:
        self.state = state
        self._rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self._page = 0
        self._order = state.ranking.now
        self.which = select("list of sources", [RANKED, UNRATED, CLEAN, PROPOSED], width=200)
        self.method = select("method that learns from ratings", sorted(METHODS, key="linear gp blend".find), width=85)
        self.learn = pn.widgets.Button(name="rank by ratings", button_type="primary", on_click=self._learn)
        self.back = pn.widgets.Button(name="◀", width=36, on_click=lambda _: self._turn(-1))
        self.forth = pn.widgets.Button(name="▶", width=36, on_click=lambda _: self._turn(1))
        self.progress = html_pane()
        self.sheet = html_pane()
        self.download = pn.widgets.FileDownload(
            callback=self._table, filename="ranked.csv", label="ranked.csv", button_type="default", width=130
        )
        self.which.param.watch(lambda _: self.refresh(), "value")
        state.param.watch(lambda _: self._show(), ["row", "stretch", "colour_map", "tab"])
        state.param.watch(lambda _: self._advance(), ["rated"])
        state.param.watch(lambda _: self._show(), ["ratings_changed"])

    def view(self) -> pn.viewable.Viewable:
        """Return the tab."""
        first = side_by_side(self.which, self.back, self.forth)
        second = side_by_side(self.method, self.learn, self.download)
        return column(first, second, self.progress, self.sheet, kind="rs-side", sizing_mode="stretch_both", scroll=True)

    def refresh(self) -> None:
        """Take the list from the ranking once more and begin at its top."""
        order = self._order = self.state.ranking.now
        self._page = 0
        self._rows = order.rows
        if self.which.value == UNRATED:
            rated = self.state.session.rows_of(self.state.session.ratings.last.index.tolist())
            self._rows = order.rows[~np.isin(order.rows, rated)]
        elif self.which.value == CLEAN:
            self._rows = order.rows[self.state.ranking.marks[order.rows] == ""]
        elif self.which.value == PROPOSED:
            try:
                self._rows = self.state.ranking.proposal()
            except RadiosslError as error:
                self.state.message = str(error)
        self._show()

    def place(self, row: int) -> str:
        """Return where a source is in the list that is shown, in words."""
        here = np.flatnonzero(self._rows == row)
        return f"place {int(here[0]) + 1:,} of {len(self._rows):,}, {self._order.heading}" if len(here) else ""

    def go(self, step: int) -> None:
        """Go to the next source of the list, or the one before."""
        if not len(self._rows):
            return
        here = np.flatnonzero(self._rows == self.state.row)
        place = int(here[0]) + step if len(here) else 0
        place = min(max(place, 0), len(self._rows) - 1)
        self._page = place // PER_PAGE
        self.state.row = int(self._rows[place])

    def _advance(self) -> None:
        """After a rating in this list: to its next source that has none."""
        here = np.flatnonzero(self._rows == self.state.row)
        if self.state.tab != ANOMALIES_TAB or not len(here):
            return
        session = self.state.session
        following = self._rows[int(here[0]) + 1 :][: 50 * PER_PAGE]
        for step, name in enumerate(session.cutout_ids(following), 1):
            if session.ratings.of(name) is None:
                self.go(step)
                return
        self._show()

    def _turn(self, step: int) -> None:
        last = max(0, (len(self._rows) - 1) // PER_PAGE)
        self._page = min(max(self._page + step, 0), last)
        self._show()

    def _show(self) -> None:
        if self.state.tab != ANOMALIES_TAB:
            return
        session, ranking = self.state.session, self.state.ranking
        if not len(self._rows):
            text = ranking.trouble or "The anomaly scores are being made …"
            self.progress.object = notice_html(text, "bad" if ranking.trouble else "")
            return
        start = self._page * PER_PAGE
        shown = self._rows[start : start + PER_PAGE]
        self.progress.object = notice_html(
            f"{len(session.ratings.last):,} of {len(session):,} rated · {self._order.heading} · places {start + 1:,} to"
            f" {start + len(shown):,}{self._agreed()} · keys {LOWEST} (dull) to {HIGHEST} (remarkable) rate, U takes"
            " back, ← → move"
        )
        thumbs = []
        for place, (row, name) in enumerate(zip(shown.tolist(), session.cutout_ids(shown), strict=True), start + 1):
            rating = session.ratings.of(name)
            caption = " · ".join(filter(None, [f"#{place:,}", str(ranking.marks[row])]))
            thumbs.append(self.state.thumb(row, caption, "" if rating is None else str(rating)))
        self.sheet.object = sheet_html(thumbs)

    def _agreed(self) -> str:
        """How far several people agree, in words."""
        found = agreement(self.state.session.ratings.all)
        if not found["pairs"]:
            return ""
        return f" · {found['people']:.0f} people, {found['within_one']:.0%} of {found['pairs']:.0f} pairs within 1"

    async def _learn(self, _: Any) -> None:
        self.learn.disabled = True
        self.state.message = "learning from the ratings …"
        try:
            await asyncio.to_thread(self.state.ranking.learn, self.method.value)
            now = self.state.ranking.now
            self.state.message = f"{now.heading} ({now.method})"
            self.refresh()
        except Exception as error:
            self.state.fail(error)
        finally:
            self.learn.disabled = False

    def _table(self) -> io.BytesIO:
        return io.BytesIO(table_bytes(self.state.ranking.table(), "csv"))
