"""Search: by id or position in the bar, by an image that is sent to the page."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import panel as pn

from radiossl.explorer.page_state import SEARCH_TAB, PageState
from radiossl.explorer.pictures import image_html, notice_html, picture_url, sheet_html
from radiossl.explorer.style import UNSEEN, column, html_pane, side_by_side
from radiossl.explorer.uploads import MOST_BYTES, is_catalogue
from radiossl.io.errors import RadiosslError
from radiossl.similarity.query_image import Crop, CropBox
from radiossl.similarity.search import Query
from radiossl.sky.angles import parse_arcsec

_EXPLAINED = (
    "Drop a FITS image or a picture above to find the sources most like it, or a catalogue of positions to choose the"
    " sources that are there. It goes to the computer that radiossl explore runs on, no farther, and is forgotten with"
    " this page."
)
#: How a crop can be changed, and the words of its buttons.
CROPS = {"left": "←", "up": "↑", "down": "↓", "right": "→", "smaller": "−", "larger": "+", "all": "whole image"}
_STEPS = {"left": (-1, 0), "up": (0, 1), "down": (0, -1), "right": (1, 0)}
_LEAST_SIDE = 8


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
        self.radius = pn.widgets.TextInput(value="10arcsec", width=90, name="radius of a match", stylesheets=[UNSEEN])
        self.found = html_pane(notice_html(_EXPLAINED))
        #: The image that was sent last, for other crops of it.
        self._sent = b"", ""
        self._query: tuple[Query, list[tuple[int, float]]] | None = None
        state.param.watch(lambda _: self._show(), ["stretch", "colour_map", "row", "tab"])

    def view(self) -> pn.viewable.Viewable:
        """Return the tab."""
        within = side_by_side("catalogues match within", self.radius)
        return column(self.dropper, within, self.found, kind="rs-side", sizing_mode="stretch_both", scroll=True)

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
        if await asyncio.to_thread(is_catalogue, data):
            await self._match(data)
        else:
            self._sent = data, str(name)
            await self._search("auto")

    async def _match(self, data: bytes) -> None:
        """Choose the sources at the positions of a catalogue."""
        session = self.state.session
        try:
            radius = parse_arcsec(self.radius.value or "", "the radius of a match")
            rows = await asyncio.to_thread(session.match_upload, data, radius)
        except RadiosslError as error:
            self.found.object = notice_html(str(error), "bad")
            return
        self.state.chosen_by = {"ids": session.cutout_ids(rows)}
        self.found.object = notice_html(f"{len(rows):,} sources of the catalogue are chosen, see Selection")

    async def _search(self, crop: Crop) -> None:
        """Search for the image that was sent."""
        data, name = self._sent
        self.state.message = "searching …"
        try:
            query, frame = await asyncio.to_thread(self.state.session.search_upload, data, name, crop)
        except RadiosslError as error:
            self._query, self.state.message = None, ""
            self.found.object = notice_html(str(error), "bad")
            return
        self._query = query, list(zip(frame["row"].tolist(), frame["similarity"].tolist(), strict=True))
        self.state.message = f"{query.name}: {query.note or 'searched as it is'}"
        self._show()

    async def crop(self, how: str, x: float, y: float) -> None:
        """Search for another part of the image: around a place (0 to 1, from the upper left), moved, larger, smaller.

        Parameters
        ----------
        how : str
            One of `CROPS`.
        x, y : float
            The place, if it is ``here``.
        """
        if self._query is None:
            return
        query = self._query[0]
        assert query.image is not None
        whole = query.image if query.whole is None else query.whole
        height, width = whole.shape
        box = query.box or CropBox((width - 1) / 2, (height - 1) / 2, max(height, width))
        if how == "all":
            await self._search("none")
            return
        if how == "here":  # the first row of a picture is its lowest
            box = box._replace(x=x * width - 0.5, y=(1 - y) * height - 0.5)
        elif how in _STEPS:
            right, up = _STEPS[how]
            box = box._replace(x=box.x + right * box.side / 4, y=box.y + up * box.side / 4)
        else:
            side = round(box.side * (1.25 if how == "larger" else 0.8))
            box = box._replace(side=min(max(side, _LEAST_SIDE), max(height, width)))
        await self._search(box)

    def _show(self) -> None:
        if self._query is None or self.state.tab != SEARCH_TAB:
            return
        query, found = self._query
        assert query.image is not None
        thumbs = [self.state.thumb(row, f"{score:.3f}") for row, score in found]
        said = notice_html(f"{query.name}. {query.note}" if query.note else query.name)
        buttons = "".join(
            f'<button data-act="crop {how}" title="crop: {how}">{text}</button>' for how, text in CROPS.items()
        )
        self.found.object = (
            f'<div class="rs-query">{self._framed(query)}<div>{said}<p>{buttons}</p></div></div>{sheet_html(thumbs)}'
        )

    def _framed(self, query: Query) -> str:
        """The whole image, with the part that is searched for framed; a click in it moves the frame."""
        whole = query.image if query.whole is None else query.whole
        assert whole is not None
        height, width = whole.shape
        url = picture_url(np.asarray(whole), self.state.stretch, self.state.colour_map, 300)
        frame = ""
        if query.box is not None:
            x, y, side = query.box
            edges = {
                "left": max(0, x + 0.5 - side / 2) / width,
                "right": max(0, width - (x + 0.5 + side / 2)) / width,
                "bottom": max(0, y + 0.5 - side / 2) / height,
                "top": max(0, height - (y + 0.5 + side / 2)) / height,
            }
            style = ";".join(f"{edge}:{100 * part:.2f}%" for edge, part in edges.items())
            frame = f'<i style="{style}"></i>'
        return f'<span class="rs-frame" data-act="crop here">{image_html(url, query.name)}{frame}</span>'
