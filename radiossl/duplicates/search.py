"""Duplicates: pairs and groups of cutouts that show one source, by position, by features and by their pixels.

Cutouts of one source that are slightly offset from each other evade a comparison of positions or of pixels; neighbours
in feature space find some of them (Slijepcevic et al. 2022, section 4.2), beside many sources that merely look alike.
So where the pixels are at hand features only propose, together with amplitude spectra, and registered pixels decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.features.neighbours import unit
from radiossl.features.same_source import NOISE_CORRELATION, SOURCE_CORRELATION, PreparedImages, pixel_hash
from radiossl.features.table import FeatureTable
from radiossl.features.vector_index import VectorIndex
from radiossl.images.registration import LARGEST_OFFSET, amplitude_spectra
from radiossl.io.errors import RadiosslError, check_number, counted
from radiossl.io.progress import track
from radiossl.sky.angles import angles_arcsec, unit_vectors
from radiossl.sky.positions import linked_groups, match_sky
from radiossl.store.store import CutoutStore

#: Above this number of rows, neighbours are searched in the nearest clusters only.
_EXACT_ROWS = 100_000
_BLOCK = 4096
#: Cosines of float32 features are no more exact than this.
_ROUNDING = 1e-6


def mutual_neighbours(features: NDArray[np.floating], k: int = 10) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of rows where each is among the k nearest of the other by cosine similarity.

    Rows that are equal in every bit are linked in a chain, however many there are.

    The search is exact up to 100,000 rows; above, it is in the nearest clusters (`VectorIndex`). Rows are of shape (m,
    2), the smaller one first, in order. Beside them are ratios, shape (m,): the distance 1 - similarity, divided by the
    geometric mean of the two rows' distances to their k-th neighbours (local scaling, Zelnik-Manor & Perona 2004). The
    scale of a backbone's similarities drops out.
    """
    total = len(features)
    keys, counts, far = neighbour_keys(features, k)
    marks = np.array([hash(row.tobytes()) for row in features])
    order = np.argsort(marks, kind="stable")  # of copies, the smaller row first
    chained = (order[:-1] * total + order[1:])[marks[order[1:]] == marks[order[:-1]]]
    rows = np.stack(np.divmod(np.union1d(keys[counts == 2], chained), total), axis=1)
    distance = np.maximum(1 - cosine_of_pairs(features, rows), 0)
    scale = np.sqrt(np.maximum(far[rows[:, 0]], 0) * np.maximum(far[rows[:, 1]], 0))
    # Where all k neighbours are copies there is no scale, and a copy is as close as can be.
    return rows, np.divide(distance, scale, out=np.zeros(len(rows)), where=scale > _ROUNDING)


def neighbour_keys(
    features: NDArray[np.floating], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return all pairs in which one is among the k nearest of the other by cosine similarity.

    As keys, smaller row * n + larger row, ascending, shape (m,); with counts, in how many of the two lists of
    neighbours each is, 1 or 2; and the distance 1 - similarity of every row to its k-th neighbour, shape (n,).
    """
    total = len(features)
    k = min(k, total - 1)
    found = np.empty((total, k), dtype=np.int64)
    far = np.empty(total)
    index = VectorIndex.from_features(features, _EXACT_ROWS)
    for start in track(range(0, total, _BLOCK), "searching neighbours"):
        stop = min(start + _BLOCK, total)
        # One more than k, since a row finds itself; among more than k copies of it, perhaps not.
        similarities, neighbours = index.search(features[start:stop], k + 1)
        own = neighbours == np.arange(start, stop)[:, None]
        own[~own.any(axis=1), -1] = True
        found[start:stop] = neighbours[~own].reshape(-1, k)
        far[start:stop] = 1 - similarities[~own].reshape(-1, k)[:, -1]
    first, second = np.repeat(np.arange(total), k), found.ravel()
    known = second >= 0  # an inexact search may come back with fewer
    keys = np.minimum(first, second)[known] * total + np.maximum(first, second)[known]
    keys, counts = np.unique(keys, return_counts=True)
    return keys, counts, far


def cosine_of_pairs(features: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the cosine similarity of pairs of rows, shape (m,) for `rows` of shape (m, 2)."""
    cosines = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        first, second = (unit(features[part[:, side]]).astype(np.float64) for side in (0, 1))
        cosines[start : start + len(part)] = np.einsum("ij,ij->i", first, second)
    return cosines


#: Centres closer than this show one source whatever they look like; two FIRST beams.
RADIUS_ARCSEC = 10.0
#: Nearest neighbours that each cutout proposes as its duplicates.
NEIGHBOURS = 10
#: Nearest neighbours by amplitude spectrum, which are far more often right.
SPECTRUM_NEIGHBOURS = 3
#: Without pixels: largest `neighbour_ratio` of a duplicate (docs/duplicates.md has the measurement).
NEIGHBOUR_RATIO = 0.2


@dataclass(frozen=True)
class Duplicates:
    """What was found.

    `pairs` has a row for every pair that anything speaks for: ``row_a``, ``row_b`` and ``cutout_id_a``,
    ``cutout_id_b``; ``similarity`` (cosine of the features) and ``neighbour_ratio``; ``separation_arcsec`` of the
    centres; ``source_correlation``, ``noise_correlation``, ``offset_x_px``, ``offset_y_px`` and ``offset_px`` as
    `register` found them; ``evidence`` (``position``, ``features``, ``pixels``, joined by plus signs); ``duplicate``,
    the verdict; ``positions_disagree``, where pixels show one field and positions two: such a pair is no duplicate, but
    one of its positions is wrong. NaN where unknown.
    `groups` has one for every cutout with a duplicate: ``group`` (from 0), ``keeper``, ``cutout_id``, ``row``, and what
    the keeper was chosen by: ``blank_fraction``, ``source_distance_px``, ``rms``.
    """

    pairs: pd.DataFrame
    groups: pd.DataFrame
    candidates: int  # how many pairs were looked at


def find_duplicates(
    table: FeatureTable,
    store: CutoutStore | None = None,
    radius_arcsec: float = RADIUS_ARCSEC,
    similarity: float | None = None,
    neighbours: int = NEIGHBOURS,
    positions: bool = True,
) -> Duplicates:
    """Find the cutouts that show the same source (after Slijepcevic et al. 2022, section 4.2).

    Candidates are pairs with centres within the radius; pairs where each is among the other's nearest neighbours in
    feature space; and, where pixels are at hand, the nearest neighbours by `amplitude_spectra`. A pair is a duplicate

    - by *position*, if the centres are within the radius;
    - by *pixels*, if the registered cutouts share their noise (`NOISE_CORRELATION`), or their sources correlate
      (`SOURCE_CORRELATION`) and positions do not contradict;
    - by *features*, only where pixels are not at hand: if the two are far closer to each other than to their other
      neighbours (`NEIGHBOUR_RATIO`), or as similar as asked for, and positions do not contradict.

    Positions contradict where both are known and the centres are farther apart than offset cutouts can be: by more than
    the radius and, where the field is known, `LARGEST_OFFSET` of its diagonal.

    Parameters
    ----------
    table
        The features.
    store
        Where the pixels are, by `cutout_id`; None decides without them.
    radius_arcsec
        Largest separation of the centres of one source.
    similarity
        Least cosine similarity of a duplicate by features, instead of the neighbour ratio; with a store, of a
        candidate.
    neighbours
        Nearest neighbours of each cutout that are candidates.
    positions
        Set to false to disregard positions, if they are wrong.

    Raises
    ------
    RadiosslError
        If a number is out of range, or the store lacks a cutout of the table.
    """
    if similarity is not None:
        check_number("--similarity", similarity, -1, 1)
    check_number("--neighbours", neighbours, 1, whole=True)
    if len(table) < 2:
        raise RadiosslError(f"{counted(len(table), 'cutout')}: duplicates need at least two")
    places = [table.numbers(name) for name in ("ra_deg", "dec_deg")]
    pixels = None if store is None else PreparedImages(store.select_ids(table.column("cutout_id"), *places))
    frame = _candidates(table, pixels, radius_arcsec, neighbours, similarity, positions)
    if pixels is not None:
        frame = _with_registration(frame, pixels)
    pairs = _judged(frame, has_pixels=pixels is not None)
    return Duplicates(pairs, _groups(pairs, table, pixels), len(frame))


def keep_table(table: FeatureTable, duplicates: Duplicates) -> pd.DataFrame:
    """Return, for every cutout, `cutout_id`, `keep` (false for duplicates that are not keepers), `duplicate_group`.

    The group is -1 where there is none. Made for ``radiossl store join``, then ``store filter --where keep``.
    """
    groups = duplicates.groups
    frame = pd.DataFrame({"cutout_id": table.column("cutout_id"), "keep": True, "duplicate_group": -1})
    frame.loc[groups.loc[~groups["keeper"], "row"], "keep"] = False
    frame.loc[groups["row"], "duplicate_group"] = groups["group"].to_numpy()
    return frame


def _candidates(
    table: FeatureTable,
    pixels: PreparedImages | None,
    radius_arcsec: float,
    k: int,
    similarity: float | None,
    positions: bool,
) -> pd.DataFrame:
    """All pairs to look at, with what features and positions say."""
    total = len(table)
    rows, ratios = mutual_neighbours(table.features, k)
    ratio_of = pd.Series(ratios, index=rows[:, 0] * total + rows[:, 1], dtype=float)
    if similarity is not None:
        ratio_of = ratio_of[cosine_of_pairs(table.features, rows) >= similarity]
    ra, dec = (table.numbers(name) if positions else np.full(total, np.nan) for name in ("ra_deg", "dec_deg"))
    close = match_sky(ra, dec, ra, dec, radius_arcsec)
    keys = np.union1d(ratio_of.index.to_numpy(), (close.a * total + close.b)[close.a < close.b])
    if pixels is not None:
        keys = np.union1d(keys, neighbour_keys(amplitude_spectra(pixels.store), SPECTRUM_NEIGHBOURS)[0])
    rows = np.stack(np.divmod(keys, total), axis=1)
    frame = pd.DataFrame({"row_a": rows[:, 0], "row_b": rows[:, 1]})
    ids = table.column("cutout_id")
    frame["cutout_id_a"], frame["cutout_id_b"] = ids[rows[:, 0]], ids[rows[:, 1]]
    frame["similarity"] = cosine_of_pairs(table.features, rows)
    frame["neighbour_ratio"] = ratio_of.reindex(keys).to_numpy()
    vectors = unit_vectors(ra, dec)
    frame["separation_arcsec"] = angles_arcsec(vectors[rows[:, 0]], vectors[rows[:, 1]])
    frame["near"] = np.isin(keys, close.a * total + close.b)
    diagonal = np.hypot(table.numbers("height"), table.numbers("width")) * table.numbers("pixel_scale_arcsec")
    reach = largest_offset(diagonal[rows[:, 0]], diagonal[rows[:, 1]])
    frame["far"] = frame["separation_arcsec"] > radius_arcsec + reach
    frame["alike"] = frame["neighbour_ratio"] <= (NEIGHBOUR_RATIO if similarity is None else np.inf)
    return frame


def largest_offset(diagonal: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating]:
    """How far apart the centres of offset cutouts are at most, by the smaller diagonal; 0 where unknown."""
    return LARGEST_OFFSET * np.nan_to_num(np.minimum(diagonal, other))


def _with_registration(frame: pd.DataFrame, pixels: PreparedImages) -> pd.DataFrame:
    pairs = frame[["row_a", "row_b"]].to_numpy().tolist()
    found = [pixels.register(*pair) for pair in track(pairs, "registering pixels")]
    names = ["source_correlation", "noise_correlation", "noise_limit", "offset_x_px", "offset_y_px"]
    measured = pd.DataFrame([[getattr(one, name) for name in names] for one in found], columns=names, dtype=float)
    measured["offset_px"] = np.hypot(measured["offset_x_px"], measured["offset_y_px"])
    alike = measured["source_correlation"] >= SOURCE_CORRELATION
    hashes = {row: pixel_hash(pixels.store.pixels(row)) for row in np.unique(frame.loc[alike, ["row_a", "row_b"]])}
    measured["equal"] = [known and hashes[a] == hashes[b] for known, (a, b) in zip(alike, pairs, strict=True)]
    return pd.concat([frame, measured], axis=1)


def _judged(frame: pd.DataFrame, has_pixels: bool) -> pd.DataFrame:
    """The pairs that anything speaks for, with the verdict."""
    frame = frame.copy()
    if has_pixels:
        noise, alike = frame["noise_correlation"], frame["source_correlation"] >= SOURCE_CORRELATION
        same_noise = noise >= np.maximum(NOISE_CORRELATION, frame.pop("noise_limit"))
        same_noise |= frame.pop("equal")
        # Compact sources look alike: they are one where positions allow it, or where no noise is left to compare.
        placed = noise.isna() | frame["separation_arcsec"].notna()
        same_pixels = same_noise | (alike & ~frame["far"])
        frame["positions_disagree"] = frame["far"] & same_noise
        frame["duplicate"] = frame["near"] | (~frame["far"] & (same_noise | (alike & placed)))
    else:
        names = ("source_correlation", "noise_correlation", "offset_x_px", "offset_y_px", "offset_px")
        frame = frame.assign(**dict.fromkeys(names, np.nan), positions_disagree=False)
        same_pixels = np.zeros(len(frame), dtype=bool)
        frame["duplicate"] = frame["near"] | (frame["alike"] & ~frame["far"])
    ways = pd.DataFrame({"position": frame["near"], "features": frame["alike"], "pixels": same_pixels})
    frame["evidence"] = ["+".join(ways.columns[row]) for row in ways.to_numpy(bool)]
    return frame[frame["evidence"] != ""].drop(columns=["near", "far", "alike"]).reset_index(drop=True)


def _groups(pairs: pd.DataFrame, table: FeatureTable, pixels: PreparedImages | None) -> pd.DataFrame:
    """Number the connected components of the duplicates and choose the keeper of each."""
    linked = pairs.loc[pairs["duplicate"], ["row_a", "row_b"]].to_numpy(dtype=np.int64)
    rows = np.unique(linked)
    frame = pd.DataFrame({"row": rows, "cutout_id": table.column("cutout_id")[rows]})
    frame["group"] = linked_groups(len(rows), np.searchsorted(rows, linked))
    for name in ("ra_deg", "dec_deg", "blank_fraction", "rms"):
        frame[name] = table.numbers(name)[rows]
    distances = [np.nan if pixels is None else pixels.source_distance_px(row) for row in rows.tolist()]
    frame["source_distance_px"] = np.array(distances, dtype=float)
    # Rounded, so that a difference that nobody would mind does not outweigh what comes next.
    rounded = {"blank": frame["blank_fraction"].round(2), "distance": frame["source_distance_px"].round()}
    order = frame.assign(**rounded).sort_values(["group", "blank", "distance", "rms", "row"], na_position="last").index
    frame = frame.loc[order].reset_index(drop=True)
    frame.insert(0, "keeper", ~frame["group"].duplicated())
    frame.insert(0, "group", frame.pop("group"))
    return frame
