"""What is not morphology: noise, size, brightness, blank pixels; how much of a score they explain, and artefacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.features.table import FeatureTable
from radiossl.io.files import one_or_more

#: Columns of every cutout store that a score should not merely follow.
CONFOUNDERS = ("rms", "peak_snr", "maximum", "width", "blank_fraction", "las_arcsec")
#: A rank correlation beyond this is worth a warning.
NOTABLE = 0.5
#: Columns of sizes, the first one that a table has is taken.
SIZE_COLUMNS = ("size_pixels", "las_arcsec", "size_arcsec", "extent_arcsec")
#: Below this peak signal-to-noise ratio a cutout counts as noise, above this blank fraction as an edge.
LEAST_SNR, MOST_BLANK = 5.0, 0.1
NOISE, EDGE = "noise", "edge"


def confounder_table(
    scores: Mapping[str, NDArray[np.floating]], table: FeatureTable, also: Sequence[str] = ()
) -> pd.DataFrame:
    """Correlate scores, such as anomaly scores or the axes of a map, with the properties of their cutouts, by rank.

    The properties are those of `CONFOUNDERS` that the table has and the columns of `also`, which must be there. Each
    that is not constant has a row, the strongest first: ``property``, ``objects`` (where it is known) and, under the
    name of each score, Spearman's rank correlation.
    """
    rows, also = [], one_or_more(also)
    for name in dict.fromkeys([*CONFOUNDERS, *also]):
        values = _values(table, name, required=name in also)
        known = np.isfinite(values)
        if len(np.unique(values[known])) < 2:
            continue
        row: dict[str, object] = {"property": name, "objects": int(known.sum())}
        for score_name, score in scores.items():
            row[score_name] = rank_correlation(values[known], np.asarray(score, dtype=float)[known])
        rows.append(row)
    frame = pd.DataFrame(rows, columns=["property", "objects", *scores])
    strength = frame[list(scores)].abs().max(axis=1)
    return frame.loc[strength.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)


def rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two columns; NaN where one is constant."""
    if len(np.unique(first)) < 2 or len(np.unique(second)) < 2:
        return float("nan")
    return float(pd.Series(first).corr(pd.Series(second), method="spearman"))


def confounder_warnings(frame: pd.DataFrame) -> list[str]:
    """Return a sentence for each score that follows a property more closely than `NOTABLE`."""
    return [
        f"{name} follows {row['property']} (rank correlation {row[name]:+.2f})"
        for name in frame.columns.drop(["property", "objects"])
        for row in frame[frame[name].abs() > NOTABLE].to_dict("records")
    ]


def _values(table: FeatureTable, name: str, required: bool) -> NDArray[np.float64]:
    if name == "peak_snr" and {"maximum", "background", "rms"} <= set(table.columns.column_names):
        maximum, background, rms = (table.column(part).astype(float) for part in ("maximum", "background", "rms"))
        return np.divide(maximum - background, rms, out=np.full(len(rms), np.nan), where=rms > 0)
    if required:
        table.column(name)  # raises if there is none
    return table.numbers(name)


def size_column(table: FeatureTable) -> str | None:
    """Return the name of the column with the sizes of objects, at least half of them known and positive, or None."""
    for name in SIZE_COLUMNS:
        values = table.numbers(name)
        known = np.isfinite(values) & (values > 0)
        if 2 * known.sum() >= len(known) and len(np.unique(values[known])) > 1:
            return name
    return None


def artefact_marks(table: FeatureTable) -> NDArray[np.str_]:
    """Return what each object is marked as by the columns that a store keeps: ``noise``, ``edge``, or empty.

    Columns that are missing mark nothing; cutouts of 8-bit images, whose noise was clipped away, are never noise.

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
