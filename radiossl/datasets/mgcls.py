"""MGCLS: extended sources of the MeerKAT Galaxy Cluster Legacy Survey, some with a person's interest score.

Read from a folder of PNG cutouts with their catalogue. Knowles et al. 2022 describe the survey, Lochner & Rudnick 2025
a search for anomalies in such cutouts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from radiossl.datasets.published import Options, PublishedSet
from radiossl.io.errors import RadiosslError
from radiossl.io.tables import read_table
from radiossl.store.cutout import Cutout
from radiossl.survey.image_file import read_image

_PER_PART = 1000

COLUMNS = pa.schema(
    [
        ("interest_score", pa.int64()),
        ("peak_flux_jybeam", pa.float64()),
        ("size_pixels", pa.int64()),
        ("original_image", pa.string()),
    ]
)


def _rows(source: Path) -> list[dict[str, Any]]:
    if not (source / "images").is_dir():
        raise RadiosslError(f"{source}: no folder images in there; expected the folder with images and catalogue.csv")
    path = source / "catalogue.csv"
    table = read_table(path)
    needed = ["objid", "ra_deg", "dec_deg", *COLUMNS.names]
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise RadiosslError(f"{path}: no column {missing[0]!r}; there are {', '.join(table.column_names)}")
    schema = pa.schema([("objid", pa.string()), ("ra_deg", pa.float64()), ("dec_deg", pa.float64()), *COLUMNS])
    try:
        return table.select(needed).cast(schema).to_pylist()
    except pa.ArrowInvalid as error:
        raise RadiosslError(f"{path}: not the catalogue of the cutouts ({error})") from None


def _parts(source: Path, _: Options) -> list[str]:
    count = len(_rows(source))
    if count == 0:
        raise RadiosslError(f"{source / 'catalogue.csv'}: the catalogue has no rows")
    return [f"{start}:{min(start + _PER_PART, count)}" for start in range(0, count, _PER_PART)]


def _read(source: Path, part: str, _: Options) -> Iterator[Cutout]:
    start, stop = map(int, part.split(":"))
    for row in _rows(source)[start:stop]:
        name = f"{row['objid']}.png"
        # The pictures show the sky upright: in 78 of 79 pairs of cutouts that overlap, the neighbour is found where its
        # position says if the first row is taken to be the highest in declination. read_image turns them.
        pixels = read_image(source / "images" / name)
        height, width = pixels.shape
        yield Cutout(
            cutout_id=row["objid"],
            pixels=pixels,
            mosaic=name,
            ra_deg=row["ra_deg"],
            dec_deg=row["dec_deg"],
            x=(width - 1) / 2,
            y=(height - 1) / 2,
            pixel_scale_arcsec=math.nan,
            unit="8-bit",
            extra={column: row[column] for column in COLUMNS.names},
        )


def _remarks(source: Path, _: Options) -> list[str]:
    spare = len({path.stem for path in (source / "images").glob("*.png")} - {row["objid"] for row in _rows(source)})
    return [f"{spare} images are in no row of the catalogue and were left out"] if spare else []


MGCLS = PublishedSet(
    name="mgcls",
    title="MGCLS: cutouts of extended MeerKAT sources, some with an interest score",
    reference="Knowles et al. 2022, A&A, arXiv:2111.05673; Lochner & Rudnick 2025, arXiv:2411.04188",
    terms="MeerKAT data of SARAO; acknowledge the MGCLS as its paper asks",
    source="the folder with images and catalogue.csv",
    columns=COLUMNS,
    parts=_parts,
    read=_read,
    selections={"scored": "interest_score >= 1"},
    notes=(
        "every cutout is zoomed to the size of its object, so pixel_scale_arcsec is unknown (NaN) and size is lost in "
        "the pixels; from overlapping cutouts a side is about size_pixels arcsec long (to 4 %)",
        "interest_score goes from 1 (dull) to 5 (remarkable) and is null for the sources that nobody scored",
        "size_pixels alone ranks interest: an anomaly score should do better than it",
    ),
    remarks=_remarks,
)
