"""How much of a score is explained by what is not morphology: noise, size, brightness, blank pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.features.table import FeatureTable

#: Columns of every cutout store that a score should not merely follow.
CONFOUNDERS = ("rms", "peak_snr", "maximum", "width", "blank_fraction", "las_arcsec")
#: A rank correlation beyond this is worth a warning.
NOTABLE = 0.5


def confounder_table(
    scores: Mapping[str, NDArray[np.floating]], table: FeatureTable, also: Sequence[str] = ()
) -> pd.DataFrame:
    """Correlate scores with the physical properties of their cutouts, by rank.

    Parameters
    ----------
    scores
        By name, one number for each row of `table`, such as anomaly scores or the axes of a map.
    table
        With the columns of the cutouts' stores.
    also
        Further columns of numbers to correlate with, beside those of `CONFOUNDERS` that the table has.

    Returns
    -------
    DataFrame
        One row for each property that is not constant: ``property``, ``objects`` (where it is known) and, for each
        score, Spearman's rank correlation with it under the score's name. The strongest comes first.

    Raises
    ------
    RadiosslError
        If a column of `also` does not exist.
    """
    rows = []
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
    return float(pd.Series(first).rank().corr(pd.Series(second).rank()))


def confounder_warnings(frame: pd.DataFrame) -> list[str]:
    """Return a sentence for each score that follows a property more closely than `NOTABLE`."""
    sentences = []
    for name in frame.columns.drop(["property", "objects"]):
        for row in frame[frame[name].abs() > NOTABLE].itertuples():
            value = frame.loc[row.Index, name]
            sentences.append(f"{name} follows {row.property} (rank correlation {value:+.2f})")
    return sentences


def _values(table: FeatureTable, name: str, required: bool) -> NDArray[np.float64]:
    names = table.columns.column_names
    if name == "peak_snr" and {"maximum", "background", "rms"} <= set(names):
        rms = table.column("rms").astype(float)
        signal = table.column("maximum").astype(float) - table.column("background").astype(float)
        return np.divide(signal, rms, out=np.full(len(rms), np.nan), where=rms > 0)
    if name not in names and not required:
        return np.full(len(table), np.nan)
    return pd.to_numeric(pd.Series(table.column(name)), errors="coerce").to_numpy(dtype=float)
