"""What is searched for: the features of a cutout or of an image, or several of them taken together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radiossl.features.neighbours import unit
from radiossl.io.errors import RadiosslError
from radiossl.similarity.query_image import CropBox

#: How much what is not wanted counts beside what is, in `query_of`.
AWAY_WEIGHT = 0.5


@dataclass(frozen=True, eq=False)
class Query:
    """What is searched for."""

    name: str  # its id or file name
    vector: NDArray[np.float32]  # its features, shape (feature_dim,)
    row: int | None = None  # in the index, if it is one of the cutouts
    image: NDArray[np.float32] | None = None  # its pixels, if it came from a file
    ra_deg: float = math.nan  # ICRS; NaN where unknown
    dec_deg: float = math.nan
    note: str = ""  # what was done to its image, for the report
    pixel_scale_arcsec: float = math.nan  # of its image; NaN where unknown
    examples: tuple[Query, ...] = ()  # the queries that it was made of, if it was
    away_from: tuple[Query, ...] = ()
    whole: NDArray[np.float32] | None = None  # its image before it was cropped, if it was
    box: CropBox | None = None  # which part of `whole` its image is

    @property
    def rows(self) -> list[int]:
        """The rows of the index that it stands for, which a search leaves out."""
        own = [] if self.row is None else [self.row]
        return own + [row for part in (*self.examples, *self.away_from) for row in part.rows]


def query_of(examples: Sequence[Query], away_from: Sequence[Query] = ()) -> Query:
    """Make one query of several: more like these, less like those.

    The mean of the examples' unit vectors, less `AWAY_WEIGHT` times the mean of those of `away_from`: Rocchio's
    relevance feedback (Manning, Raghavan & Schütze 2008, Introduction to Information Retrieval, section 9.1.1) on
    cosines. The similarities of what is found are cosines with this vector: with `away_from` they are lower than to any
    one example, and only their order means something.
    """
    if not examples:
        raise RadiosslError("a query of several needs at least one example")
    vector = unit(np.stack([query.vector for query in examples])).mean(axis=0)
    name = "mean of " + ", ".join(query.name for query in examples) if len(examples) > 1 else examples[0].name
    if away_from:
        vector = vector - AWAY_WEIGHT * unit(np.stack([query.vector for query in away_from])).mean(axis=0)
        name += ", unlike " + ", ".join(query.name for query in away_from)
    if np.linalg.norm(vector) < 1e-6:
        raise RadiosslError(f"{name}: the examples cancel out; give others")
    alone = examples[0] if len(examples) == 1 else None
    where = (alone.ra_deg, alone.dec_deg) if alone is not None else (math.nan, math.nan)
    return Query(
        name, vector.astype(np.float32), None, None, *where, examples=tuple(examples), away_from=tuple(away_from)
    )
