"""The sources that two stores share: by position, by equal pixels, and by pixels that are registered on each other."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.duplicates.search import largest_offset
from radiossl.features.same_source import exact_pairs, same_pictures
from radiossl.io.errors import check_choice
from radiossl.sky.angles import angles_arcsec, unit_vectors
from radiossl.sky.positions import RADIUS_ARCSEC, match_sky
from radiossl.store.store import CutoutStore

#: How pixels can be compared.
PixelMatch = Literal["exact", "near"]


def crossmatch_stores(
    a: CutoutStore,
    b: CutoutStore,
    radius_arcsec: float = RADIUS_ARCSEC,
    pixels: PixelMatch | None = None,
    turned: bool = False,
) -> pd.DataFrame:
    """Match the cutouts of two stores by the positions of their centres and, on request, by their pixels.

    Parameters
    ----------
    a, b
        The stores.
    radius_arcsec
        Largest separation of the centres.
    pixels
        ``exact`` matches equal pixels too, ``near`` also those that show one source (`same_pictures`).
    turned
        Whether ``near`` finds mirror images and right-angle rotations too.

    Returns
    -------
    DataFrame
        One row per pair: `row_a`, `row_b`, `cutout_id_a`, `ra_deg_a`, `dec_deg_a`, the same of b,
        `separation_arcsec` (NaN if a position is unknown), `positions_disagree` (farther apart than offset cutouts of
        one source can be), and `matched_by`: ``position``, ``exact`` and ``near``, joined by a plus sign.

    Raises
    ------
    RadiosslError
        If the radius is not an angle or `pixels` is something else.
    """
    if pixels is not None:
        check_choice("--pixels", pixels, PixelMatch)
    close = match_sky(*a.positions, *b.positions, radius_arcsec)
    ways: dict[str, NDArray[np.int64]] = {"position": np.stack([close.a, close.b], axis=1)}
    if pixels is not None:
        ways["exact"] = exact_pairs(a, b)
    if pixels == "near":
        ways["near"] = same_pictures(a, b, turned)
    matched: dict[tuple[int, int], list[str]] = {}
    for way, pairs in ways.items():
        for row, other in pairs.tolist():
            matched.setdefault((row, other), []).append(way)
    rows = np.array(sorted(matched), dtype=np.int64).reshape(-1, 2)
    frame: dict[str, Any] = {"row_a": rows[:, 0], "row_b": rows[:, 1]}
    vectors, diagonals = [], []
    for suffix, store, chosen in (("a", a, rows[:, 0]), ("b", b, rows[:, 1])):
        for name in ("cutout_id", "ra_deg", "dec_deg"):
            frame[f"{name}_{suffix}"] = store.column(name)[chosen]
        vectors.append(unit_vectors(*store.positions)[chosen])
        diagonals.append(np.hypot(*store.shapes[chosen].T) * store.column("pixel_scale_arcsec")[chosen].astype(float))
    frame["separation_arcsec"] = angles_arcsec(*vectors)
    frame["positions_disagree"] = frame["separation_arcsec"] > radius_arcsec + largest_offset(*diagonals)
    frame["matched_by"] = ["+".join(matched[row, other]) for row, other in rows.tolist()]
    return pd.DataFrame(frame)
