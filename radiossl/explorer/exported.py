"""The explorer as a page to send: a folder or one file that opens without a server."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radiossl.explorer.answers import Answers, File
from radiossl.explorer.pictures import page_html
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.session import Files, Pixels, Session
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_folder, check_folder, write_text
from radiossl.io.progress import track
from radiossl.io.replacing import OURS, check_replaceable
from radiossl.report.sheets import as_rgb

#: Sources that an exported page may have, neighbours of each, and columns that it keeps.
MOST_SOURCES = 100_000
NEIGHBOURS, MOST_COLUMNS = 12, 24
#: Side of a thumbnail in pixels, and thumbnails in a row and column of a sheet.
_SIDE, _PER_ROW = 64, 32
_BATCH = 4096


def check_export(out: str | os.PathLike[str]) -> Path:
    """Return where a page is to be written; raise `RadiosslError`, before the work, where none can be."""
    out = Path(out)
    if out.suffix != ".html":
        check_folder(out, "web page")
    else:
        check_replaceable(out, OURS, "page of radiossl", "--export")
    return out


def export_page(files: Files, store: Pixels | None, out: str | os.PathLike[str]) -> Path:
    """Write the explorer as a page that needs no server, of at most 100,000 sources; return what to open.

    `out` is a folder, with ``index.html``, or one file, if the name ends in ``.html``.
    """
    out = check_export(out)
    session = Session(files, store)
    if len(session) > MOST_SOURCES:
        raise RadiosslError(
            f"{files.features}: {len(session):,} sources, an exported page takes at most {MOST_SOURCES:,}; select some"
        )
    session.load()
    if session.trouble:
        raise RadiosslError(session.trouble)
    ranking = Ranking(session)
    ranking.prepare()
    session.find_clusters()
    data = _data(session, ranking)
    sheets = _sheets(session) if store is not None else []
    if out.suffix == ".html":
        data["sheets"] = ["data:image/jpeg;base64," + base64.b64encode(sheet).decode() for sheet in sheets]
        write_text(out, page_html(f"<script>{_script(data)}</script>"))
        return out
    data["sheets"] = [f"sheets/{number:03d}.jpg" for number in range(len(sheets))]
    with atomic_folder(out, "web page") as folder:
        (folder / "sheets").mkdir()
        for name, sheet in zip(data["sheets"], sheets, strict=True):
            (folder / name).write_bytes(sheet)
        (folder / "data.js").write_text(_script(data), encoding="utf-8")
        index = page_html('<script src="data.js"></script>')
        (folder / "index.html").write_text(index, encoding="utf-8")
    return out / "index.html"


def _data(session: Session, ranking: Ranking) -> dict[str, Any]:
    """What the page would ask a server for, and what it needs to answer by itself."""
    answers, count = Answers(session, ranking), len(session)
    names = session.shown.names()  # those of the catalogue come first
    columns = names[:MOST_COLUMNS] + [name for name in names[MOST_COLUMNS:] if name in ("ra_deg", "dec_deg")]
    asked = [("map", name) for name in session.maps.coordinates] + [("column", name) for name in columns]
    files = {f"{what} {name}": getattr(answers, what)(name) for what, name in asked} | {"order ": answers.order()}
    start = cast(dict[str, Any], answers.start())
    groups = {
        group: {name: labels[name] for name in labels if name in columns} for group, labels in start["columns"].items()
    }
    return {
        "start": start | {"columns": groups, "key": ""},
        "per_row": _PER_ROW,
        "ids": session.cutout_ids(np.arange(count)),
        "files": {
            name: base64.b64encode(file.content).decode() for name, file in files.items() if isinstance(file, File)
        },
        "neighbours": base64.b64encode(_neighbours(session).astype("<i4").tobytes()).decode(),
        "pictures": base64.b64encode((session.store_rows >= 0).astype(np.uint8).tobytes()).decode(),
        "clusters": answers.clusters(),
        "ratings": answers.ratings(),
    }


def _neighbours(session: Session) -> NDArray[np.int32]:
    """The most similar other sources of each, shape (n, k), -1 where there are fewer."""
    vectors, count = session.known_index.vectors, len(session)
    found = np.full((count, NEIGHBOURS), -1, np.int32)
    wanted = min(NEIGHBOURS + 1, count)
    for start in track(range(0, count, _BATCH), "neighbours"):
        rows = np.arange(start, min(start + _BATCH, count))
        _, near = vectors.search(vectors.vectors(rows), wanted)
        for row, others in zip(rows, near, strict=True):
            others = others[(others != row) & (others >= 0)][:NEIGHBOURS]
            found[row, : len(others)] = others
    return found


def _sheets(session: Session) -> list[bytes]:
    """Thumbnails as JPEG sheets of 32 x 32, in the order of the sources."""
    per_sheet, sheets = _PER_ROW**2, []
    for start in track(range(0, len(session), per_sheet), "thumbnails"):
        rows = range(start, min(start + per_sheet, len(session)))
        height = math.ceil(len(rows) / _PER_ROW)
        sheet = Image.new("RGB", (_SIDE * _PER_ROW, _SIDE * height))
        for place, row in enumerate(rows):
            pixels = session.pixels(row)
            if pixels is not None:
                rgb = np.ascontiguousarray(as_rgb(pixels, how="asinh", colour_map="inferno")[::-1])
                thumb = Image.fromarray(rgb).resize((_SIDE, _SIDE), Image.Resampling.BOX)
                sheet.paste(thumb, (_SIDE * (place % _PER_ROW), _SIDE * (place // _PER_ROW)))
        stream = io.BytesIO()
        sheet.save(stream, "JPEG", quality=82)
        sheets.append(stream.getvalue())
    return sheets


def _script(data: dict[str, Any]) -> str:
    """The data as a script that no text of a catalogue can leave."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return "window.radiossl=" + text.replace("<", "\\u003c").replace(">", "\\u003e") + ";"
