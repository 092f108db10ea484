"""The sources that two stores share: by position, by equal pixels, and by pixels that are registered on each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiossl.duplicates.pixels import NOISE_CORRELATION, SOURCE_CORRELATION, Pixels
from radiossl.features.vector_index import VectorIndex
from radiossl.images.registration import amplitude_spectra, prepare, register_prepared, zooms
from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track
from radiossl.sky.angles import angles_arcsec, unit_vectors
from radiossl.sky.positions import RADIUS_ARCSEC, match_sky
from radiossl.store.crossmatch import PIXEL_MATCHES, SMALLEST_FIELD, PixelMatch, exact_pairs, near_pairs, turn_of
from radiossl.store.store import CutoutStore

if TYPE_CHECKING:
    import pandas as pd

#: Nearest neighbours by amplitude spectrum, in either direction, that are registered.
_CANDIDATES = 5


def registered_pairs(a: CutoutStore, b: CutoutStore, turned: bool = False) -> NDArray[np.int64]:
    """Find the pairs of cutouts that show one source, offset, clipped or in 8 bits, by registering their pixels.

    Candidates are the nearest by `amplitude_spectra`, which a shift leaves as they are. Two cutouts that have their
    noise are one source if it correlates (`NOISE_CORRELATION`), others if their sources do (`SOURCE_CORRELATION`).
    Cutouts of less than 32 pixels are left out: they do not hold enough to know a source by.

    Parameters
    ----------
    a, b
        The stores.
    turned
        Whether to find mirror images and those turned by right angles too.

    Returns
    -------
    ndarray
        Rows of the first and the second store, shape (n, 2), in order.

    Notes
    -----
    Measured on FIRST fields of 200 x 200 pixels, 100 copies among 200 (300 among 600 for the first two), beside the
    hashes of `near_pairs` (benchmarks/same_source.py): shifted by up to 2 pixels 1.00 (hashes 1.00), by 1 to 30 pixels
    0.99 (0.13), in 8 bits 0.97 (0.96), clipped at 3 sigma to 8 bits 0.91 (0.11), clipped and shifted by 1 to 30 pixels
    0.90 (0.01), clipped beside clipped and shifted 0.99 (0.09), in 8 bits beside clipped 0.42 (0.17); no wrong pair
    among the last five.
    """
    rows = [np.flatnonzero(store.shapes.min(axis=1) >= SMALLEST_FIELD) for store in (a, b)]
    if not rows[0].size or not rows[1].size:
        return np.empty((0, 2), np.int64)
    parts = [store.select(kept) for store, kept in zip((a, b), rows, strict=True)]
    both, count = CutoutStore.joined(*parts), len(rows[0])
    pixels = Pixels(both)
    spectra = amplitude_spectra(both)
    found: set[tuple[int, int]] = set()
    for orientation in range(8 if turned else 1):
        turn = turn_of(orientation)
        other = amplitude_spectra(both, turn)[count:] if orientation else spectra[count:]
        for row, beside in track(_candidates(spectra[:count], other), "registering pixels"):
            if (row, beside) in found:
                continue
            shapes = tuple(both.shapes[row]), np.shape(turn(np.empty(both.shapes[count + beside], bool)))
            grids = zooms(*shapes, pixels.scales[row], pixels.scales[count + beside])
            second = prepare(turn(both.pixels(count + beside)), grids[1])
            measured = register_prepared(pixels.prepared(row, grids[0]), second, grids[2])
            noise = measured.noise_correlation
            if noise >= NOISE_CORRELATION or (np.isnan(noise) and measured.source_correlation >= SOURCE_CORRELATION):
                found.add((row, beside))
    pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    return np.stack([rows[0][pairs[:, 0]], rows[1][pairs[:, 1]]], axis=1)


def _candidates(first: NDArray[np.float32], second: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Pairs of which one is among the nearest of the other; none of images without a source."""
    pairs = set()
    for a, b, swapped in ((first, second, False), (second, first, True)):
        _, found = VectorIndex.from_features(b).search(a, min(_CANDIDATES, len(b)))
        for row, neighbours in enumerate(found.tolist()):
            pairs |= {(other, row) if swapped else (row, other) for other in neighbours if other >= 0}
    return sorted(pair for pair in pairs if first[pair[0]].any() and second[pair[1]].any())


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
        ``exact`` matches equal pixels too, ``near`` also those that show one source (`near_pairs`, `registered_pairs`).
    turned
        Whether ``near`` finds mirror images and right-angle rotations too.

    Returns
    -------
    DataFrame
        One row per pair: `row_a`, `row_b`, `cutout_id_a`, `ra_deg_a`, `dec_deg_a`, the same of b,
        `separation_arcsec` (NaN if a position is unknown), and `matched_by`: ``position``, ``exact`` and ``near``,
        joined by a plus sign.

    Raises
    ------
    RadiosslError
        If the radius is not an angle or `pixels` is something else.
    """
    import pandas as pd

    if pixels is not None and pixels not in PIXEL_MATCHES:
        raise RadiosslError(f"--pixels {pixels}: expected one of {', '.join(PIXEL_MATCHES)}")
    ra_a, dec_a, ra_b, dec_b = (store.column(name).astype(float) for store in (a, b) for name in ("ra_deg", "dec_deg"))
    close = match_sky(ra_a, dec_a, ra_b, dec_b, radius_arcsec)
    ways: dict[str, NDArray[np.int64]] = {"position": np.stack([close.a, close.b], axis=1)}
    if pixels is not None:
        ways["exact"] = exact_pairs(a, b)
    if pixels == "near":
        alike = np.concatenate([near_pairs(a, b, turned).pairs, registered_pairs(a, b, turned)])
        ways["near"] = np.unique(alike, axis=0)
    matched: dict[tuple[int, int], list[str]] = {}
    for way, pairs in ways.items():
        for row, other in pairs.tolist():
            matched.setdefault((row, other), []).append(way)
    rows = np.array(sorted(matched), dtype=np.int64).reshape(-1, 2)
    frame: dict[str, Any] = {"row_a": rows[:, 0], "row_b": rows[:, 1]}
    for suffix, store, chosen in (("a", a, rows[:, 0]), ("b", b, rows[:, 1])):
        for name in ("cutout_id", "ra_deg", "dec_deg"):
            frame[f"{name}_{suffix}"] = store.column(name)[chosen]
    frame["separation_arcsec"] = angles_arcsec(
        unit_vectors(ra_a[rows[:, 0]], dec_a[rows[:, 0]]), unit_vectors(ra_b[rows[:, 1]], dec_b[rows[:, 1]])
    )
    frame["matched_by"] = _joined(matched, rows)
    return pd.DataFrame(frame)


def _joined(matched: dict[tuple[int, int], list[str]], rows: NDArray[np.int64]) -> Sequence[str]:
    return ["+".join(matched[row, other]) for row, other in rows.tolist()]
