"""What the page asks for, as JSON, packed arrays and files: the same for the server and for a page to send."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.explorer.columns import LATER
from radiossl.explorer.pictures import COLOUR_MAPS, SIDES, picture_png
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.selection import chosen_rows, regions_bytes, table_bytes
from radiossl.explorer.session import Session
from radiossl.explorer.source import describe_source
from radiossl.features.sending import Program, send_table
from radiossl.io.errors import RadiosslError, counted
from radiossl.maps.figures import ClassColours, map_limits
from radiossl.ratings.active_learning import METHODS
from radiossl.ratings.ranking import agreement
from radiossl.report.sheets import STRETCHES
from radiossl.similarity.queries import Crop, CropBox
from radiossl.sky.angles import parse_arcsec
from radiossl.survey.received import is_catalogue

#: Lists of sources to rate.
RANKED, UNRATED, CLEAN, PROPOSED = (
    "ranked list",
    "ranked, not yet rated",
    "ranked, no noise or edges",
    "what to rate next",
)
_COLOUR_MAP, _SHADES = "viridis", 256
#: The part of the colour map that differs from the page, and the colour of sources without a value.
_THEMES = {"dark": ((0.2, 1.0), "#59626c"), "light": ((0.0, 0.88), "#c4c9ce")}
_MOST_ITEMS = 500
_LONGEST_NAME = 60


@dataclass(frozen=True)
class File:
    """An answer that is not JSON."""

    content: bytes
    kind: str = "application/octet-stream"  # media type
    kept: bool = False  # whether the browser may keep it: the same address always gets the same content


Answer: TypeAlias = File | dict[str, Any] | list[dict[str, Any]]


class Answers:
    """Answers to the page's questions; every public method is one of them, called with what the page sends, as text.

    Nothing is kept of a page, so any number of pages cost no memory, and a page outlives its server.
    """

    def __init__(self, session: Session, ranking: Ranking) -> None:
        self._session, self._ranking = session, ranking
        self._limits: dict[str, list[float]] = {}
        self._lock = Lock()
        self._ratings: tuple[int, dict[str, Any]] = -1, {}

    # What is shown ----------------------------------------------------------------------------------------------------

    def start(self) -> Answer:
        """Return what there is to choose from; asked again whenever `now` says that it has changed."""
        session = self._session
        maps = session.maps
        for name in maps.coordinates.keys() - self._limits.keys():
            self._limits[name] = list(map_limits(maps.coordinates[name]))
        groups = session.shown.groups().items()
        return {
            "title": session.file.path.name,
            "count": len(session),
            "key": session.key,
            "pictures": session.store is not None,
            "maps": {name: self._limits[name] for name in maps.coordinates},
            "second": maps.second,
            "can_umap": maps.can_make_umap,
            "columns": {group: {name: session.shown.label(name) for name in names} for group, names in groups},
            "later": LATER,
            "class_column": session.shown.class_column or "",
            "who": session.files.who,
            "lists": [RANKED, UNRATED, CLEAN, PROPOSED],
            "methods": sorted(METHODS, key="linear gp blend".find),
            "stretches": list(STRETCHES),
            "colour_maps": list(COLOUR_MAPS),
            "themes": {name: {"shades": _shades(span), "unknown": grey} for name, (span, grey) in _THEMES.items()},
            "now": self.now(),
        }

    def now(self) -> Answer:
        """Return what may have changed since, made beside the page or by another page; asked every second."""
        session, said = self._session, ""
        try:
            with self._lock:
                said = session.maps.poll()
                session.ratings.refresh()
        except (RadiosslError, OSError) as error:
            said = f"Something went wrong: {error}"
        shape = [*session.maps.coordinates, *session.shown.later, session.index is not None, session.trouble]
        return {
            "key": session.key,
            "message": said,
            "start": json.dumps(shape),
            "order": self._ranking.version,
            "ratings": session.ratings.version,
        }

    def map(self, name: str) -> Answer:
        """Return the coordinates of a map, float32, shape (n, 2)."""
        if name not in self._session.maps.coordinates:
            raise RadiosslError(f"no map {name!r}")
        return packed({}, np.asarray(self._session.maps.coordinates[name], dtype="<f4"))

    def column(self, name: str) -> Answer:
        """Return how a column colours the map: float32 values, or int16 codes of classes, -1 where unknown."""
        colours = self._session.shown.colours(name)
        if isinstance(colours, ClassColours):
            head: dict[str, Any] = {"classes": colours.names, "colours": colours.colours}
            return packed(head, colours.codes.astype("<i2"))
        head = {"low": float(colours.low), "high": float(colours.high), "logarithmic": bool(colours.logarithmic)}
        return packed(head, colours.values.astype("<f4"))

    def items(self, rows: str) -> Answer:
        """Return what is written beside small pictures of sources, by their rows, separated by commas."""
        session, wanted = self._session, _rows(rows, len(self._session))
        names = session.cutout_ids(wanted)
        marks = self._ranking.marks
        return [
            {"row": row, "id": name, "class": session.shown.class_of(row), "mark": str(marks[row])}
            for row, name in zip(wanted.tolist(), names, strict=True)
        ]

    def source(self, row: str) -> Answer:
        """Return all that is known of a source."""
        (number,) = _rows(row, len(self._session)).tolist()
        return describe_source(self._session, number) | {"why": self._ranking.why(number)}

    def find(self, text: str) -> Answer:
        """Return the row of a source by its id or position; see `Session.find`."""
        return {"row": self._session.find(text)}

    def named(self, name: str) -> Answer:
        """Return the row of the source of an address."""
        return {"row": self._row_named(name)}

    def picture(self, row: str, stretch: str, colours: str, side: str, **_: str) -> Answer:
        """Return a cutout as PNG."""
        (number,) = _rows(row, len(self._session)).tolist()
        if stretch not in STRETCHES or colours not in COLOUR_MAPS or side not in SIDES:
            raise RadiosslError("no such stretch, colours or size")
        content = self._session.picture(number, stretch, colours, SIDES[side])
        if content is None:
            raise FileNotFoundError
        return File(content, "image/png", kept=True)

    def neighbours(self, row: str) -> Answer:
        """Return the sources most like one."""
        (number,) = _rows(row, len(self._session)).tolist()
        found = self._session.neighbours(number)
        return {"rows": found["row"].tolist(), "scores": found["similarity"].tolist()}

    def clusters(self) -> Answer:
        """Return the clusters with their typical members; none while they are being computed."""
        clusters = self._session.clusters
        if clusters is None:
            return []
        shown, found = self._session.shown, []
        classes = None if shown.class_column is None else shown.colours(shown.class_column)
        for code, rows in enumerate(clusters.typical):
            members = clusters.codes == code
            one = {"name": str(clusters.names[rows[0]]), "count": int(members.sum()), "rows": rows.tolist(), "most": ""}
            if isinstance(classes, ClassColours):
                counts = np.bincount(classes.codes[members] + 1, minlength=len(classes.names) + 1)[1:]
                if counts.any():
                    one["most"] = f"{counts.max() / members.sum():.0%} {classes.names[int(counts.argmax())]}"
            found.append(one)
        return found

    # Ratings ----------------------------------------------------------------------------------------------------------

    def order(self, which: str = RANKED) -> Answer:
        """Return a list to rate: rows, int32; empty while there is none yet."""
        ranking, session, now = self._ranking, self._session, self._ranking.now
        rows = now.rows
        if which == UNRATED:
            rows = rows[~np.isin(rows, session.rows_of(session.ratings.last.index.tolist()))]
        elif which == CLEAN:
            rows = rows[ranking.marks[rows] == ""]
        elif which == PROPOSED:
            rows = ranking.proposal()
        return packed({"heading": now.heading, "trouble": ranking.trouble}, rows.astype("<i4"))

    def ratings(self) -> Answer:
        """Return the ratings that count, by row, and how far people agree, in words."""
        session = self._session
        with self._lock:
            version, last = session.ratings.version, session.ratings.last
            if self._ratings[0] != version:
                rows = ((session.row_of(str(name)), int(rating)) for name, rating in last.items())
                found, agreed = agreement(session.ratings.all), ""
                if found["pairs"]:
                    pairs = f"{found['within_one']:.0%} of {counted(round(found['pairs']), 'pair')} within 1"
                    agreed = f"{found['people']:.0f} people, {pairs}"
                known = [pair for pair in rows if pair[0] is not None]
                self._ratings = version, {"rows": known, "count": len(last), "agreed": agreed}
            return self._ratings[1]

    def rate(self, name: str, rating: int, who: str) -> Answer:
        """Save a rating; it is on the disk when this returns."""
        self._row_named(name)
        with self._lock:
            self._session.ratings.add(name, int(rating), _name(who))
        return {}

    def undo(self, who: str) -> Answer:
        """Take the last rating of a person back; return its source."""
        with self._lock:
            name = self._session.ratings.undo(_name(who))
        return {"name": name, "row": None if name is None else self._session.row_of(name)}

    def learn(self, method: str) -> Answer:
        """Rank by the ratings."""
        self._ranking.learn(method)
        return {"message": f"{self._ranking.now.heading} ({self._ranking.now.method})"}

    def umap(self) -> Answer:
        """Begin to make a UMAP."""
        with self._lock:
            self._session.maps.start_umap()
        return {}

    # Choices ----------------------------------------------------------------------------------------------------------

    def chosen(self, chosen_by: Mapping[str, Any]) -> Answer:
        """Return which sources are chosen: one bit for each; see `chosen_rows`. ``known`` says if the choice is one."""
        try:
            rows = chosen_rows(self._session, chosen_by)
        except RadiosslError:  # a column may still be computed
            raise
        except (KeyError, ValueError, TypeError, AttributeError):  # of a damaged address
            rows = None
        mask = np.zeros(len(self._session), bool)
        if rows is not None:
            mask[rows] = True
        return packed({"known": rows is not None, "count": int(mask.sum())}, np.packbits(mask, bitorder="little"))

    def table(self, name: str, chosen_by: Mapping[str, Any] | None = None) -> Answer:
        """Return chosen sources as a file, ``selection.csv``, ``.fits`` or ``.reg``; or the ranked list."""
        if name == "ranked.csv":
            return File(table_bytes(self._ranking.table(), "csv"))
        frame = self._session.rows_frame(self._chosen(chosen_by or {}))
        kind = name.rpartition(".")[2]
        return File(regions_bytes(frame) if kind == "reg" else table_bytes(frame, kind))

    def send(self, chosen_by: Mapping[str, Any], to: Program) -> Answer:
        """Send the chosen sources to a program that is open beside the explorer; see `send_table`."""
        frame = self._session.rows_frame(self._chosen(chosen_by))
        try:
            program = send_table(pa.Table.from_pandas(frame, preserve_index=False), to, self._session.file.path.name)
        except RadiosslError as error:  # it speaks of the option of a command
            raise RadiosslError(str(error).removeprefix("--to ")) from None
        return {"message": f"{len(frame):,} sources are in {program}"}

    def label(self, chosen_by: Mapping[str, Any], label: str) -> Answer:
        """Give the chosen sources a class; an empty one takes it away."""
        session, rows = self._session, self._chosen(chosen_by)
        session.labels.add(session.cutout_ids(rows), label)
        what = f"labelled {label!r}" if label.strip() else "labelled no more"
        return {"message": f"{counted(len(rows), 'source')} {what}, saved in {session.labels.path}"}

    def labels(self) -> Answer:
        """Return how many sources have each label."""
        return {"file": self._session.labels.path.name, "counts": self._session.labels.counts()}

    def upload(
        self, data: bytes, name: str, crop: str, radius: str, stretch: str = "asinh", colours: str = COLOUR_MAPS[0]
    ) -> Answer:
        """Search for an image that was sent, or choose the sources at the positions of a catalogue."""
        if stretch not in STRETCHES or colours not in COLOUR_MAPS:
            raise RadiosslError("no such stretch or colours")
        if is_catalogue(data):
            rows = self._session.match_upload(data, parse_arcsec(radius, "the radius of a match"))
            return {"ids": self._session.cutout_ids(rows)}
        query, found = self._session.search_upload(data, name, _crop(crop))
        whole = query.image if query.whole is None else query.whole
        assert whole is not None
        url = base64.b64encode(picture_png(np.asarray(whole), stretch, colours, 300)).decode()
        return {
            "name": query.name,
            "note": query.note,
            "picture": f"data:image/png;base64,{url}",
            "shape": whole.shape,
            "box": query.box,
            "rows": found["row"].tolist(),
            "scores": found["similarity"].tolist(),
        }

    def _row_named(self, name: str) -> int:
        row = self._session.row_of(name)
        if row is None:
            raise RadiosslError(f"no source has the id {name[:80]!r}")
        return row

    def _chosen(self, chosen_by: Mapping[str, Any]) -> NDArray[np.int64]:
        rows = chosen_rows(self._session, chosen_by)
        if rows is None:
            raise RadiosslError("no sources are chosen")
        return rows


#: What changes something, or has more to say than fits into an address.
POSTED = ("rate", "undo", "learn", "umap", "chosen", "table", "send", "label", "upload")
ASKED = tuple(name for name in vars(Answers) if not name.startswith("_") and name not in POSTED)


def packed(head: Mapping[str, Any], array: NDArray[Any]) -> File:
    """Return an array behind its head: the length of the JSON, the JSON filled up to 8 bytes, the rest."""
    text = json.dumps(head).encode()
    text += b" " * (-(len(text) + 4) % 8)
    return File(len(text).to_bytes(4, "little") + text + np.ascontiguousarray(array).tobytes())


def _rows(text: str, count: int) -> NDArray[np.int64]:
    """Rows of sources, as a page names them."""
    try:
        rows = np.array([int(row) for row in text.split(",") if row][:_MOST_ITEMS], np.int64)
    except (ValueError, OverflowError):
        raise RadiosslError("rows of sources were expected") from None
    if ((rows < 0) | (rows >= count)).any():
        raise RadiosslError(f"there are {counted(count, 'source')}")
    return rows


def _crop(text: str) -> Crop:
    """A crop as a page names it: ``auto``, ``none``, or its centre and side."""
    if text in ("auto", "none"):
        return text  # type: ignore[return-value]
    try:
        x, y, side = map(float, text.split(","))
        return CropBox(x, y, round(side))
    except (ValueError, OverflowError):
        raise RadiosslError("a crop was expected: its centre and its side") from None


def _name(text: str) -> str:
    """A person's name without what could not be printed."""
    return "".join(letter for letter in str(text).strip() if letter.isprintable())[:_LONGEST_NAME]


def _shades(span: tuple[float, float]) -> list[str]:
    """The colours of numbers, from low to high."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in colormaps[_COLOUR_MAP](np.linspace(span[0], span[1], _SHADES))]
