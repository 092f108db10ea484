"""The columns of a cutout store, and what its files are called."""

from __future__ import annotations

from typing import Annotated

import pyarrow as pa
from pydantic import Field

from radiossl.io.errors import RadiosslError
from radiossl.store.statistics import STATISTICS

FORMAT = "radiossl cutout store"
VERSION = 1
PIXELS = "pixels"
PARTIAL = "store.partial.json"
#: What a manifest calls a file beside it, never elsewhere.
FileName = Annotated[str, Field(pattern=r"^[^/\\]+$")]
#: The columns that every store has.
BASE_SCHEMA = pa.schema(
    {
        **{"cutout_id": "string", PIXELS: pa.list_(pa.float32()), "height": "int32", "width": "int32"},
        **{"mosaic": "string", "ra_deg": "double", "dec_deg": "double", "x": "double", "y": "double"},
        **{"pixel_scale_arcsec": "double", "blank_fraction": "double", "unit": "string"},
        **dict.fromkeys(("beam_major_arcsec", "beam_minor_arcsec", "beam_pa_deg", *STATISTICS), "double"),
        **dict.fromkeys(("pixel_width_arcsec", "pixel_height_arcsec", "pixel_pa_deg"), "double"),
    }
)
#: Names that a store's columns may not have, since feature tables need them.
RESERVED = ("features",)


def store_schema(extra: pa.Schema | None = None) -> pa.Schema:
    """Return the schema of a store with the further columns `extra`; raise `RadiosslError` on a name taken twice."""
    extra = extra if extra is not None else pa.schema([])
    taken = [name for name in extra.names if name in (*BASE_SCHEMA.names, *RESERVED)]
    if taken:
        raise RadiosslError(f"column {taken[0]!r} is one of the store's own: rename it in the catalogue")
    return pa.schema([*BASE_SCHEMA, *extra])
