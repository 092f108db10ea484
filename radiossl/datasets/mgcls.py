"""MGCLS: extended sources of the MeerKAT Galaxy Cluster Legacy Survey, some with a person's interest score.

Read from a folder of PNG cutouts with their catalogue. Knowles et al. 2022 describe the survey, Lochner & Rudnick 2025
a search for anomalies in such cutouts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from radiossl.datasets.published import Options, Reader, part_ranges, part_slice, published_set
from radiossl.io.errors import RadiosslError, check_columns, counted
from radiossl.io.tables import read_table
from radiossl.store.cutout import Cutout
from radiossl.survey.image_file import read_image

_PER_PART = 1000


def _rows(source: Path) -> list[dict[str, Any]]:
    if not (source / "images").is_dir():
        raise RadiosslError(f"{source}: no folder images in there; expected the folder with images and catalogue.csv")
    path = source / "catalogue.csv"
    table = read_table(path)
    own = published_set("mgcls").columns or ()
    schema = pa.schema([("objid", pa.string()), ("ra_deg", pa.float64()), ("dec_deg", pa.float64()), *own])
    check_columns(schema.names, table.column_names, path)
    try:
        return table.select(schema.names).cast(schema).to_pylist()
    except pa.ArrowInvalid as error:
        raise RadiosslError(f"{path}: not the catalogue of the cutouts ({error})") from None


def _parts(source: Path, _: Options) -> list[str]:
    count = len(_rows(source))
    if count == 0:
        raise RadiosslError(f"{source / 'catalogue.csv'}: the catalogue has no rows")
    return part_ranges(count, _PER_PART)


def _read(source: Path, part: str, _: Options) -> Iterator[Cutout]:
    for row in _rows(source)[part_slice(part)]:
        name = f"{row['objid']}.png"
        # The pictures show the sky upright: in 78 of 79 pairs of cutouts that overlap, the neighbour is found where its
        # position says if the first row is taken to be the highest in declination. read_image turns them.
        pixels, place = read_image(source / "images" / name), {key: row.pop(key) for key in ("ra_deg", "dec_deg")}
        yield Cutout.whole_image(row.pop("objid"), pixels, name, unit="8-bit", extra=row, **place)


def _remarks(source: Path, _: Options) -> list[str]:
    spare = len({path.stem for path in (source / "images").glob("*.png")} - {row["objid"] for row in _rows(source)})
    return [f"{counted(spare, 'image')} in no row of the catalogue: left out"] if spare else []


READER = Reader(_parts, _read, remarks=_remarks)
