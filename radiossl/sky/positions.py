"""Which positions on the sky belong together: pairs within a radius, and groups linked by steps of a radius."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiossl.io.errors import RadiosslError
from radiossl.sky.angles import angles_arcsec, unit_vectors

#: Centres closer than this are taken for one source: about the size of a large radio galaxy, and ten FIRST beams.
RADIUS_ARCSEC = 60.0


@dataclass(frozen=True, eq=False)
class Matches:
    """Pairs of positions in the order of `a`, then `b`: indices into two lists, and great-circle distances, (n,)."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    separation_arcsec: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.a)


def match_sky(ra_a: ArrayLike, dec_a: ArrayLike, ra_b: ArrayLike, dec_b: ArrayLike, radius_arcsec: float) -> Matches:
    """Find all pairs of positions (degrees, in one frame) no farther apart than a radius; NaN matches nothing.

    Raises `RadiosslError` if the radius is not an angle from 0 to 180 degrees.
    """
    from scipy.spatial import cKDTree

    chord = chord_of(radius_arcsec)
    rows_a, vectors_a = known_positions(ra_a, dec_a)
    rows_b, vectors_b = known_positions(ra_b, dec_b)
    if rows_a.size == 0 or rows_b.size == 0:
        return Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    found = cKDTree(vectors_a).sparse_distance_matrix(cKDTree(vectors_b), chord, output_type="ndarray")
    first, second = found["i"].astype(np.int64), found["j"].astype(np.int64)
    separations = angles_arcsec(vectors_a[first], vectors_b[second])
    near = separations <= radius_arcsec + ROUNDING_ARCSEC
    a, b, separations = rows_a[first[near]], rows_b[second[near]], separations[near]
    order = np.lexsort((b, a))
    return Matches(a[order], b[order], separations[order])


def groups_by_position(ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> NDArray[np.int64]:
    """Number the friends of friends: positions linked by steps of no more than a radius are one group.

    Groups are numbered from 0 in the order in which they first occur; a position with NaN is a separate group.
    """
    from scipy.spatial import cKDTree

    chord = chord_of(radius_arcsec)
    rows, vectors = known_positions(ra, dec)
    total = len(np.atleast_1d(np.asarray(ra)))
    pairs = cKDTree(vectors).query_pairs(chord, output_type="ndarray") if rows.size else np.empty((0, 2), np.int64)
    close = angles_arcsec(vectors[pairs[:, 0]], vectors[pairs[:, 1]]) <= radius_arcsec + ROUNDING_ARCSEC
    first, second = rows[pairs[close]].T
    return linked_groups(total, np.stack([first, second], axis=1))


def linked_groups(total: int, pairs: NDArray[np.int64], groups: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Number the sets of objects that links connect, from 0 in the order in which they first occur, shape (total,).

    `pairs`, shape (n, 2), are the links; objects of one of the `groups`, shape (total,), are linked from the start.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if groups is not None:
        first_of = np.unique(groups, return_index=True)[1][np.unique(groups, return_inverse=True)[1]]
        pairs = np.concatenate([pairs, np.stack([np.arange(total), first_of], axis=1)])
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(total, total))
    labels = connected_components(links, directed=False)[1]
    _, start, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(start))[inverse].astype(np.int64)


#: Unit vectors of double precision tell positions apart to about this angle.
ROUNDING_ARCSEC = 1e-10


def chord_of(radius_arcsec: Any) -> Any:
    """Return the straight distance on the unit sphere that is at least as long as an angle, or those of an array."""
    given = np.asarray(radius_arcsec)
    if given.dtype.kind not in "fiu" or not np.all((given >= 0) & (given <= 180 * 3600)):
        raise RadiosslError(f"a radius of {radius_arcsec} arcsec: expected an angle from 0 to 180 degrees")
    return 2 * np.sin(np.radians(radius_arcsec / 3600) / 2) * (1 + 1e-9) + 1e-15


def known_positions(ra: ArrayLike, dec: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows with a position, and their unit vectors."""
    ra, dec = np.atleast_1d(np.asarray(ra, dtype=np.float64)), np.atleast_1d(np.asarray(dec, dtype=np.float64))
    if ra.shape != dec.shape or ra.ndim != 1:
        raise RadiosslError(f"right ascensions of shape {ra.shape} with declinations of shape {dec.shape}: must match")
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    return rows, unit_vectors(ra[rows], dec[rows])
