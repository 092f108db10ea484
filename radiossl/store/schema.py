"""The columns of a cutout store, and what its files are called."""

from __future__ import annotations

import pyarrow as pa

from radiossl.io.errors import RadiosslError
from radiossl.store.statistics import STATISTICS

FORMAT = "radiossl cutout store"
VERSION = 1
PIXELS = "pixels"
PARTIAL = "store.partial.json"
#: The columns that every store has.
BASE_SCHEMA = pa.schema(
    [
        ("cutout_id", pa.string()),
        (PIXELS, pa.list_(pa.float32())),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("mosaic", pa.string()),
        ("ra_deg", pa.float64()),
        ("dec_deg", pa.float64()),
        ("x", pa.float64()),
        ("y", pa.float64()),
        ("pixel_scale_arcsec", pa.float64()),
        ("blank_fraction", pa.float64()),
        ("unit", pa.string()),
        ("beam_major_arcsec", pa.float64()),
        ("beam_minor_arcsec", pa.float64()),
        ("beam_pa_deg", pa.float64()),
        *[(name, pa.float64()) for name in STATISTICS],
        *[(name, pa.float64()) for name in ("pixel_width_arcsec", "pixel_height_arcsec", "pixel_pa_deg")],
    ]
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
