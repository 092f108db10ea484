"""Objects that look unusual because there is nothing to see: noise alone, or the edge of a mosaic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radiossl.features.table import FeatureTable

#: Below this peak signal-to-noise ratio a cutout counts as noise, above this blank fraction as an edge.
LEAST_SNR, MOST_BLANK = 5.0, 0.1
NOISE, EDGE = "noise", "edge"


def artefact_marks(table: FeatureTable) -> NDArray[np.str_]:
    """Return what each object is marked as: ``noise``, ``edge``, or empty.

    Parameters
    ----------
    table : FeatureTable
        With the columns that a cutout store keeps of every cutout: ``maximum``, ``background`` and ``rms`` in the
        mosaic's unit, and ``blank_fraction``. What is missing marks nothing; cutouts of 8-bit images, whose noise was
        clipped away, are never marked as noise.

    Examples
    --------
    >>> import numpy as np
    >>> import pyarrow as pa
    >>> columns = {"cutout_id": ["a", "b", "c"], "maximum": [9.0, 3.0, 9.0], "background": [0.0, 0.0, 0.0]}
    >>> columns |= {"rms": [1.0, 1.0, 1.0], "blank_fraction": [0.0, 0.0, 0.4]}
    >>> artefact_marks(FeatureTable(pa.table(columns), np.ones((3, 2), np.float32))).tolist()
    ['', 'noise', 'edge']
    """
    marks = np.full(len(table), "", dtype="<U5")
    names = set(table.columns.column_names)
    if {"maximum", "background", "rms"} <= names:
        maximum, background, rms = (table.column(name).astype(float) for name in ("maximum", "background", "rms"))
        noise = (maximum - background < LEAST_SNR * rms) & (rms > 0)
        if "unit" in names:
            noise &= table.column("unit").astype(str) != "8-bit"
        marks[noise] = NOISE
    if "blank_fraction" in names:
        marks[table.column("blank_fraction").astype(float) > MOST_BLANK] = EDGE
    return marks
