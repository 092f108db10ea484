"""The result folder of a similarity search: tables, regions, a gallery, and the page that ties them together."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.datasets.image_files import ImageFiles
from radiossl.features.exporting import write_astropy
from radiossl.features.table import seen_field_px
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import counted
from radiossl.io.files import PathLike
from radiossl.io.results import writes_result_folder
from radiossl.report.figures import BLUE, FONT, GREY, ORANGE, drawn_axes, shorten
from radiossl.report.html import Report
from radiossl.report.sheets import Picture, central_pixels, cutout_pictures, image_grid
from radiossl.report.sky_links import link_rows, write_regions
from radiossl.similarity.calibration import Calibration
from radiossl.similarity.queries import Query
from radiossl.sky.angles import readable_angle
from radiossl.store.store import CutoutStore

TableFormat = Literal["csv", "fits", "votable"]
_SUFFIXES: dict[TableFormat, str] = {"csv": ".csv", "fits": ".fits", "votable": ".vot"}

#: Rows of a query that the page shows; the tables have them all.
_SHOWN = 50
#: Circle of a neighbour whose cutout has no size in arcsec.
_CIRCLE_ARCSEC = 15.0
_QUERY_NAME_LENGTH = 60
#: Up to this many different captions are counted as classes.
_CLASSES = 6


@dataclass(frozen=True)
class Found:
    """A query and the frame of its neighbours, as `SimilarityIndex.search` returns it."""

    query: Query
    neighbours: pd.DataFrame


@writes_result_folder
def write_search_results(
    searches: Sequence[Found],
    store: CutoutStore | ImageFiles | None,
    out: PathLike,
    caption: str | None = None,
    table_format: TableFormat = "csv",
    metadata: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
) -> Path:
    """Write neighbours.csv, neighbours.reg, a gallery and report.html; return the report's path.

    Without a store no gallery is drawn; it shows the pixels that the backbone saw, and the column `caption` under the
    pictures besides the position. With the table format ``fits`` or ``votable`` neighbours.fits or neighbours.vot is
    written too, for TOPCAT. `metadata` is that of the feature table. A `calibration` is drawn and put into words.
    """
    out = Path(out)
    everything = neighbour_table(searches)
    tables = [out / "neighbours.csv"]
    write_table(everything, tables[0])
    if table_format != "csv":
        tables.append(out / f"neighbours{_SUFFIXES[table_format]}")
        write_astropy_table(everything, tables[1], table_format)
    if {"ra_deg", "dec_deg"} <= set(everything.columns):
        tables.append(out / "neighbours.reg")
        captions = everything[caption] if caption else [None] * len(everything)
        names = everything["rank"].astype(str) + " " + everything["cutout_id"].astype(str)
        labels = [f"{one} {text}" if not pd.isna(text) else one for one, text in zip(names, captions, strict=True)]
        write_regions(everything["ra_deg"], everything["dec_deg"], labels, tables[-1], circle_radii(everything))
    report = Report("Similarity search")
    report.verdict(_verdict(searches, caption))
    galleries = None
    if store is not None:
        field_px = seen_field_px(metadata)
        galleries = search_pictures(searches, store, field_px, caption)
        image_grid([picture for gallery in galleries for picture in gallery], out=out / "gallery.png")
    shown = ["rank", "similarity", "same_class", "cutout_id", "ra_deg", "dec_deg", "separation"]
    shown += [caption] if caption else []
    for number, found in enumerate(searches):
        report.section(shorten(found.query.name, _QUERY_NAME_LENGTH))
        if found.query.note:
            report.text(f"The image was {found.query.note}.")
        if galleries is not None:
            report.gallery(galleries[number], "The query in its frame, then its neighbours by rank and similarity.")
        frame = found.neighbours.head(_SHOWN).copy()
        if "separation_arcsec" in frame:
            frame["separation"] = [readable_angle(angle) for angle in frame["separation_arcsec"]]
        columns = [column for column in shown if column in frame.columns]
        if len(frame) < len(found.neighbours):
            report.text(f"The first {len(frame)} of {len(found.neighbours)}.")
        report.table(frame[columns], links=link_rows(frame[columns].to_dict("records"), sizes_arcsec(frame)))
    if calibration is not None:
        _calibration_figure(calibration, out / "calibration.png")
        report.section("What a similarity means").figure(out / "calibration.png", calibration.sentence)
    metrics = {"queries": [found.query.name for found in searches], "neighbours": len(everything)}
    metrics["best_similarity"] = float(everything["similarity"].max())
    files = [*(["gallery.png"] if galleries else []), *(table.name for table in tables)]
    how = "Neighbours are the cutouts with the highest cosine similarity."
    return report.finish(out, metrics, files, how, metadata)


def _verdict(searches: Sequence[Found], caption: str | None) -> str:
    """What was found for one query, or how near the nearest neighbours of several are."""
    searches = [found for found in searches if len(found.neighbours)]
    nearest = [float(found.neighbours["similarity"].max()) for found in searches]
    if len(searches) != 1:
        span = f"{min(nearest, default=math.nan):.3f} to {max(nearest, default=math.nan):.3f}"
        return f"The nearest neighbours of {len(searches)} queries have similarities of {span}."
    frame = searches[0].neighbours
    found = f"Nearest to {searches[0].query.name}: {frame['cutout_id'].iloc[0]}, similarity {nearest[0]:.3f}"
    counts = frame[caption].value_counts() if caption else pd.Series(dtype=int)
    if not 0 < len(counts) <= _CLASSES:
        return f"{found}."
    classes = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{found}; its {counted(len(frame), 'neighbour')}: {classes}."


def _calibration_figure(calibration: Calibration, out: Path) -> None:
    """Draw the measured shares of the query's class against the similarity, and the fitted curve."""
    label = f"neighbours with the query's {calibration.label}"
    with drawn_axes(out, 5.2, 3.4, xlabel="cosine similarity", ylabel=label) as axes:
        low, high, share, error = calibration.steps.T
        axes.axhline(calibration.chance, color=GREY, linestyle=":", linewidth=1)
        axes.annotate("any two", (low[0], calibration.chance), color=GREY, fontsize=FONT - 1, va="bottom")
        axes.plot(calibration.similarity, calibration.share, color=BLUE, linewidth=1.2)
        middle = (low + high) / 2
        lengths = (middle - low, high - middle)
        axes.errorbar(middle, share, yerr=error, xerr=lengths, fmt="o", color=ORANGE, markersize=4, elinewidth=1)
        axes.set_ylim(0, 1.02)


def neighbour_table(searches: Sequence[Found]) -> pd.DataFrame:
    """Return the neighbours of all queries as one frame, with a column `query` in front."""
    frames = [found.neighbours.assign(row=found.query.name).rename(columns={"row": "query"}) for found in searches]
    whole = pd.concat(frames, ignore_index=True)
    return whole[["query", *whole.columns.drop("query")]]


def write_astropy_table(frame: pd.DataFrame, path: PathLike, table_format: TableFormat) -> None:
    """Write a frame as FITS or VOTable, atomically; see `radiossl.features.exporting`."""
    columns = {}
    for name in frame.columns:
        try:
            columns[str(name)] = pa.array(frame[name], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # of several types
            texts = [None if pd.isna(value) else str(value) for value in frame[name]]
            columns[str(name)] = pa.array(texts, pa.string())
    write_astropy(pa.table(columns), path, "votable" if table_format == "votable" else "fits")


def sizes_arcsec(frame: pd.DataFrame) -> list[float]:
    """Return the longer side of each cutout on the sky; NaN where unknown."""
    known = frame.reindex(columns=["height", "width", "pixel_scale_arcsec"]).astype(float)
    return (known[["height", "width"]].max(axis=1) * known["pixel_scale_arcsec"]).tolist()


def circle_radii(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return the radius of a circle around each cutout in arcsec, 15 where its size is unknown."""
    sizes = np.array(sizes_arcsec(frame), dtype=float)
    return np.where(np.isfinite(sizes) & (sizes > 0), sizes / 2, _CIRCLE_ARCSEC)


def search_pictures(
    searches: Sequence[Found], store: CutoutStore | ImageFiles, field_px: int | None = None, caption: str | None = None
) -> list[list[Picture]]:
    """Return the pictures of each search: its query in a frame, or all its examples, then the neighbours by rank.

    See `write_search_results` for the parameters.
    """
    shown = [found.neighbours.head(_SHOWN).to_dict("records") for found in searches]
    asked = [found.query.examples or (found.query,) for found in searches]
    wanted = {_place(one.name, one.ra_deg, one.dec_deg) for queries in asked for one in queries if one.image is None}
    wanted |= {_place(row["cutout_id"], row.get("ra_deg"), row.get("dec_deg")) for rows in shown for row in rows}
    places = sorted(wanted)
    cutouts = store.select_ids(*(list(column) for column in zip(*places, strict=True)))
    pictures = dict(zip(places, cutout_pictures(cutouts, [""] * len(places), field_px), strict=True))

    def neighbour(row: dict[Hashable, Any]) -> Picture:
        located = "ra_deg" in row and not pd.isna(row["ra_deg"])
        position = f"{row['ra_deg']:.4f} {row['dec_deg']:+.4f}" if located else row["cutout_id"]
        label = row[caption] if caption else None
        sure = f" ({row['same_class']:.0%})" if "same_class" in row else ""
        lines = [f"#{row['rank']}: {row['similarity']:.3f}{sure}", "" if pd.isna(label) else str(label), position]
        place = _place(row["cutout_id"], row.get("ra_deg"), row.get("dec_deg"))
        return replace(pictures[place], caption="\n".join(filter(None, lines)))

    def own(query: Query) -> Picture:
        if query.image is not None:
            scale = query.pixel_scale_arcsec
            return Picture(central_pixels(query.image, field_px), query.name, scale, framed=True)
        picture = pictures[_place(query.name, query.ra_deg, query.dec_deg)]
        return replace(picture, caption=query.name, framed=True)

    return [[*map(own, queries), *map(neighbour, rows)] for queries, rows in zip(asked, shown, strict=True)]


#: Id and position, which tell cutouts apart; -1 where a position is unknown.
_Place = tuple[str, float, float]


def _place(cutout_id: str, ra_deg: Any, dec_deg: Any) -> _Place:
    return (cutout_id, -1.0, -1.0) if pd.isna([ra_deg, dec_deg]).any() else (cutout_id, ra_deg, dec_deg)
