"""Search: by id or position in the bar, by an image that is sent to the page."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import panel as pn

from radiossl.explorer.page_state import SEARCH_TAB, PageState
from radiossl.explorer.pictures import image_html, notice_html, picture_url, sheet_html
from radiossl.explorer.style import column, html_pane
from radiossl.explorer.uploads import MOST_BYTES
from radiossl.io.errors import RadiosslError
from radiossl.similarity.search import Query

_EXPLAINED = (
    "Drop a FITS image or a picture above to find the sources most like it. It goes to the computer that radiossl"
    " explore runs on, no farther, and is not kept."
)


class LimitedDropper(pn.widgets.FileDropper):
    """A place to drop a file, which stops listening to files that are too large whatever the browser says."""

    def _process_event(self, event: Any) -> None:
        if event.event_name != "delete_event":
            if event.data["chunk"] == 1:
                self._file_buffer.clear()  # one file at a time
            held = sum(len(part) for parts in self._file_buffer.values() for part in parts)
            if event.data["name"] not in self._file_buffer and event.data["chunk"] != 1:
                return
            if held + len(event.data["data"]) > MOST_BYTES:
                self._file_buffer.clear()
                return
            self.value.clear()
        super()._process_event(event)


class SearchView:
    """The bar's field and the tab for images.

    Parameters
    ----------
    state
        Of the page.
    """

    def __init__(self, state: PageState) -> None:
        self.state = state
        self.field = pn.widgets.TextInput(placeholder="id, or position: 187.70 +12.39", width=260)
        self.field.param.watch(self._find, "value")
        self.dropper = LimitedDropper(
            max_file_size=f"{MOST_BYTES // 2**20}MB",
            chunk_size=1_000_000,
            previews=[],
            layout="compact",
            sizing_mode="stretch_width",
            height=90,
        )
        self.dropper.param.watch(self._upload, "value")
        self.found = html_pane(notice_html(_EXPLAINED))
        self._query: tuple[Query, list[tuple[int, float]]] | None = None
        state.param.watch(lambda _: self._show(), ["stretch", "colour_map", "row", "tab"])

    def view(self) -> pn.viewable.Viewable:
        """Return the tab."""
        return column(self.dropper, self.found, kind="rs-side", sizing_mode="stretch_both", scroll=True)

    def _find(self, event: Any) -> None:
        if not event.new.strip():
            return
        try:
            self.state.row = self.state.session.find(event.new)
            self.state.message = ""
        except RadiosslError as error:
            self.state.message = str(error)

    async def _upload(self, event: Any) -> None:
        if not event.new:
            return
        name, data = list(event.new.items())[-1]
        data = data.encode() if isinstance(data, str) else bytes(data)
        self.found.object = notice_html("searching …")
        try:
            query, frame = await asyncio.to_thread(self.state.session.search_upload, data, name)
        except RadiosslError as error:
            self._query = None
            self.found.object = notice_html(str(error), "bad")
            return
        self._query = query, list(zip(frame["row"].tolist(), frame["similarity"].tolist(), strict=True))
        self._show()

    def _show(self) -> None:
        if self._query is None or self.state.tab != SEARCH_TAB:
            return
        query, found = self._query
        assert query.image is not None
        url = picture_url(np.asarray(query.image), self.state.stretch, self.state.colour_map, 240)
        thumbs = [self.state.thumb(row, f"{score:.3f}") for row, score in found]
        said = notice_html(f"{query.name}. {query.note}" if query.note else query.name)
        self.found.object = f'<div class="rs-query">{image_html(url, query.name)}{said}</div>{sheet_html(thumbs)}'
