"""Which cutouts show the same piece of sky: by position, footprint, equal pixels, or pixels that look alike."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiossl.io.progress import track
from radiossl.sky.angles import angles_arcsec
from radiossl.sky.positions import ROUNDING_ARCSEC, chord_of, known_positions
from radiossl.store.statistics import MAD_TO_SIGMA
from radiossl.store.store import CutoutStore

if TYPE_CHECKING:
    pass

PixelMatch = Literal["exact", "near"]

#: How pixels can be compared.
PIXEL_MATCHES: tuple[PixelMatch, ...] = ("exact", "near")


def shows_position(store: CutoutStore, ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> NDArray[np.bool_]:
    """Tell which cutouts show one of some positions, shape (number of cutouts,).

    Where the pixel size is known, a position is shown if it lies inside the cutout's box, widened on every side by the
    radius. Stores that do not know the sizes along each axis and the orientation of their pixels are taken to have
    square ones, north up. Elsewhere a position must lie within the radius of the centre. A cutout without position
    shows none.
    """
    from scipy.spatial import cKDTree

    chord_of(radius_arcsec)
    shown = np.zeros(len(store), dtype=bool)
    rows, centres = known_positions(store.column("ra_deg").astype(float), store.column("dec_deg").astype(float))
    _, sources = known_positions(ra, dec)
    if rows.size == 0 or len(sources) == 0:
        return shown
    sides, turn = pixel_shapes(store, rows)
    # Half sides in arcsec: y first, as in `shapes`.
    half = store.shapes[rows] / 2 * np.nan_to_num(sides) + radius_arcsec
    boxed: NDArray[np.bool_] = np.isfinite(sides.sum(axis=1))
    reach = np.where(boxed, np.hypot(*half.T), radius_arcsec)
    # A gnomonic box reaches a little farther on the plane than on the sphere, so the sphere's circle holds it.
    chords = 2 * np.sin(np.radians(np.minimum(reach / 3600, 180)) / 2) * (1 + 1e-9) + 1e-15
    tree = cKDTree(sources)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = tree.query_ball_point(centres[part], chords[part])
        counts = np.array([len(item) for item in found])
        if counts.sum() == 0:
            continue
        cutout = np.repeat(np.arange(start, start + len(found)), counts)
        source = sources[np.concatenate([np.asarray(item, dtype=np.int64) for item in found])]
        east, north = _plane_arcsec(centres[cutout], source)
        up = east * np.sin(turn[cutout]) + north * np.cos(turn[cutout])
        across = east * np.cos(turn[cutout]) - north * np.sin(turn[cutout])
        inside = (np.abs(across) <= half[cutout, 1]) & (np.abs(up) <= half[cutout, 0])
        inside |= angles_arcsec(centres[cutout], source) <= radius_arcsec + ROUNDING_ARCSEC
        shown[rows[cutout[np.where(boxed[cutout], inside, True)]]] = True
    return shown


_CHUNK = 4096


def pixel_shapes(store: CutoutStore, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Heights and widths of pixels in arcsec, shape (n, 2), NaN if unknown, and position angles in radians, (n,)."""
    scale = store.column("pixel_scale_arcsec").astype(float)[rows]
    if "pixel_width_arcsec" not in store.columns:  # written by an older radiossl
        return np.stack([scale, scale], axis=1), np.zeros(len(rows))
    names = ("pixel_height_arcsec", "pixel_width_arcsec", "pixel_pa_deg")
    height, width, angle = (store.column(name).astype(float)[rows] for name in names)
    known = np.isfinite(height * width * angle)
    sides = np.stack([np.where(known, height, scale), np.where(known, width, scale)], axis=1)
    return sides, np.radians(np.where(known, angle, 0.0))


def _plane_arcsec(
    centre: NDArray[np.float64], point: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Offsets east and north of the centre on the tangent plane; infinite beyond the horizon."""
    east = np.stack([-centre[:, 1], centre[:, 0], np.zeros(len(centre))], axis=1)
    length = np.linalg.norm(east, axis=1, keepdims=True)
    east = np.where(length > 1e-12, east / np.maximum(length, 1e-12), [0.0, 1.0, 0.0])  # at a pole any east will do
    north = np.cross(centre, east)
    depth = np.einsum("ij,ij->i", centre, point)
    depth = np.where(depth > 0, depth, 1e-300)
    with np.errstate(over="ignore"):
        x, y = (np.degrees(np.einsum("ij,ij->i", axis, point) / depth) * 3600 for axis in (east, north))
    return x, y


# Equal pixels ---------------------------------------------------------------------------------------------------------


def pixel_hash(pixels: NDArray[np.floating]) -> bytes:
    """Return 16 bytes that two images share if they have the same shape and equal float32 pixels, NaN included."""
    canonical = np.where(np.isnan(pixels), np.float32(np.nan), pixels).astype("<f4") + np.float32(0)  # -0 equals 0
    digest = hashlib.blake2b(repr(canonical.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(canonical).tobytes())
    return digest.digest()


def pixel_hashes(store: CutoutStore) -> NDArray[Any]:
    """Return the `pixel_hash` of every cutout; None for one that has fewer than two values and so equals too many."""
    minimum, maximum = store.column("minimum").astype(float), store.column("maximum").astype(float)
    hashes = np.full(len(store), None, dtype=object)
    for row in track(np.flatnonzero(minimum < maximum).tolist(), "hashing pixels"):
        hashes[row] = pixel_hash(store.pixels(row))
    return hashes


def exact_pairs(a: CutoutStore, b: CutoutStore) -> NDArray[np.int64]:
    """Rows of all pairs with equal pixels, shape (n, 2)."""
    rows_of: dict[bytes, list[int]] = {}
    for row, key in enumerate(pixel_hashes(b)):
        if key is not None:
            rows_of.setdefault(key, []).append(row)
    pairs = [(row, other) for row, key in enumerate(pixel_hashes(a)) for other in rows_of.get(key, [])]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def similar_pictures(a: CutoutStore, b: CutoutStore) -> NDArray[np.int64]:
    """Rows of all pairs of pictures that are equal or look alike in any orientation (`near_pairs`), shape (n, 2)."""
    return np.unique(np.concatenate([exact_pairs(a, b), near_pairs(a, b, turned=True).pairs]), axis=0)


def shows_picture(store: CutoutStore, other: CutoutStore) -> NDArray[np.bool_]:
    """Tell which cutouts look like one of another store (`similar_pictures`), compared where one has no position."""
    shown = np.zeros(len(store), dtype=bool)
    lost, other_lost = (
        ~np.isfinite(part.column("ra_deg").astype(float) + part.column("dec_deg").astype(float))
        for part in (store, other)
    )
    for mine, theirs in ((lost, np.ones_like(other_lost)), (~lost, other_lost)):
        if mine.any() and theirs.any():
            pairs = similar_pictures(store.select(mine), other.select(theirs))
            shown[np.flatnonzero(mine)[pairs[:, 0]]] = True
    return shown


def repeats(store: CutoutStore, other: CutoutStore, radius_arcsec: float) -> NDArray[np.bool_]:
    """Tell which cutouts of a store show a source of another one.

    By position (`shows_position`), equal pixels or, where one has no position, pictures that look alike
    (`shows_picture`).
    """
    mask = shows_position(
        store, other.column("ra_deg").astype(float), other.column("dec_deg").astype(float), radius_arcsec
    )
    mask[exact_pairs(store, other)[:, 0]] = True
    return mask | shows_picture(store, other)


# Pixels that look alike -----------------------------------------------------------------------------------------------

#: Most bits of 255 in which the hashes of two noisy images of one field differ; see `near_pairs` for the measurement.
HASH_BITS = 60
#: Least correlation of two images of one field of which at least one has lost its noise.
CORRELATION = 0.97
#: Smallest field in pixels that is compared: fewer do not hold enough to know a field by.
SMALLEST_FIELD = 32

_SIDE, _WAVES = 32, 16  # images are averaged to 32 x 32 blocks, of whose cosine transform 16 x 16 terms are kept
_SHORTLIST, _SHORTLIST_COSINE = 10, 0.9
_SHIFT = 3
_LEVEL = 1 / 255


@dataclass(frozen=True, eq=False)
class _Looks:
    """What images look like: arrays with one entry for each of the `rows` that can be compared.

    Attributes
    ----------
    rows
        Rows of the store.
    noise
        Standard deviation of the noise as a fraction of the peak; 0 where clipping or 8 bits have removed it.
    faint, bright
        Low cosine terms, (n, 16, 16): of the noise, and of what stands above it.
    """

    rows: NDArray[np.int64]
    noise: NDArray[np.float32]
    faint: NDArray[np.float32]
    bright: NDArray[np.float32]

    def take(self, chosen: NDArray[Any]) -> _Looks:
        return _Looks(self.rows[chosen], self.noise[chosen], self.faint[chosen], self.bright[chosen])


@dataclass(frozen=True, eq=False)
class NearPairs:
    """Pairs of images that look alike.

    Attributes
    ----------
    pairs
        Rows of the first and the second store, shape (n, 2).
    field_px
        Side of the central field that was compared.
    left_out
        How many images of the first and the second store are smaller than that, or blank.
    """

    pairs: NDArray[np.int64]
    field_px: int
    left_out: tuple[int, int]


def near_pairs(a: CutoutStore, b: CutoutStore, turned: bool = False) -> NearPairs:
    """Find the pairs of images that show one field with other brightness scales, bit depths, or up to 2 pixels shifted.

    Compared is the central field of the size of the smallest image of either store, though not below 32 pixels; pixels
    must have one angular size. Two images that still have their noise are told by it: a perceptual hash (signs of 255
    low terms of the cosine transform of the image, clipped at 2 sigma and averaged to 32 x 32 blocks) differs in at
    most 60 bits. Where one has lost its noise to clipping or 8 bits, their sources must correlate to 0.97 above the
    higher floor, over shifts of up to 3 pixels, among the 10 most similar.

    Parameters
    ----------
    a, b
        The stores.
    turned
        Whether to find mirror images and those turned by right angles too.

    Notes
    -----
    Bits by which hashes differ, measured on 500 FIRST fields of 200 x 200 pixels: 31 (median; 64 at most) for copies
    shifted by 2 pixels, 4 (43 at most) for 8-bit copies, at least 70 between different fields (125,000 pairs, one in
    10,000 below 85). Without the clip at 2 sigma it is the bright source that is hashed, and 1 in 100 pairs is as alike
    as copies are.

    Found among 1,099 such fields, with the limits used here: all that were scaled or shifted by 1 pixel, 1,098 shifted
    by 2, 1,062 in 8 bits (turned or not); among the 600,000 pairs of different fields one, whose sources are 6 arcsec
    apart. MiraBest's own images of 1,098 of them, clipped and masked: 954, with 4 other pairs. Copies cut at 3 sigma
    to 8 bits: 130 beside the raw images and 834 beside clipped ones, with 1 and 2 other pairs. Of RadioGalaxyDataset,
    which resampled its fields and clipped them, 30 images find a partner: far too few to rely on.
    Without noise compact sources are all alike: different ones correlate to 0.968, so a lower limit would join them.
    Positions find what this misses.
    """
    sides = np.concatenate([a.shapes.ravel(), b.shapes.ravel()])
    field = max(SMALLEST_FIELD, int(sides.min()))
    looks_a, looks_b = _looks(a, field), _looks(b, field)
    found: set[tuple[int, int]] = set()
    for orientation in range(8 if turned else 1):
        turn = turn_of(orientation)
        turned_b = _Looks(looks_b.rows, looks_b.noise, _turned(looks_b.faint, orientation),
                          _turned(looks_b.bright, orientation))  # fmt: skip
        found |= _alike_in_noise(looks_a, turned_b)
        found |= _alike_in_sources(a, b, looks_a, turned_b, field, turn)
    pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    return NearPairs(pairs, field, (len(a) - len(looks_a.rows), len(b) - len(looks_b.rows)))


def _alike_in_noise(a: _Looks, b: _Looks) -> set[tuple[int, int]]:
    """Rows of noisy images whose hashes are close."""
    import faiss

    a, b = a.take(a.noise > 0), b.take(b.noise > 0)
    if len(a.rows) == 0 or len(b.rows) == 0:
        return set()
    index = faiss.IndexBinaryFlat(_WAVES**2)
    index.add(_bits(b.faint))
    # faiss takes the radius as exclusive.
    limits, _, found = index.range_search(_bits(a.faint), HASH_BITS + 1)
    first = a.rows[np.searchsorted(limits, np.arange(len(found)), side="right") - 1]
    return set(zip(first.tolist(), b.rows[found].tolist(), strict=True))


def _alike_in_sources(
    a: CutoutStore, b: CutoutStore, looks_a: _Looks, looks_b: _Looks, field: int, turn: Callable[[Any], Any]
) -> set[tuple[int, int]]:
    """Rows of images, at least one of a pair without noise, whose sources correlate."""
    found: set[tuple[int, int]] = set()
    quiet_a, quiet_b = looks_a.noise == 0, looks_b.noise == 0
    for part_a, part_b in ((looks_a.take(quiet_a), looks_b), (looks_a.take(~quiet_a), looks_b.take(quiet_b))):
        for row, other in _shortlist(part_a, part_b):
            pair = (int(part_a.rows[row]), int(part_b.rows[other]))
            if pair not in found:
                first, second = _central(a.pixels(pair[0]), field), turn(_central(b.pixels(pair[1]), field))
                floor = max(3 * float(part_a.noise[row]), 3 * float(part_b.noise[other]), _LEVEL)
                if _correlation(first, second, floor) >= CORRELATION:
                    found.add(pair)
    return found


def _shortlist(a: _Looks, b: _Looks) -> list[tuple[int, int]]:
    import faiss

    if len(a.rows) == 0 or len(b.rows) == 0:
        return []
    index = faiss.IndexFlatIP(_WAVES**2)
    index.add(_unit(b.bright))
    cosines, found = index.search(_unit(a.bright), min(_SHORTLIST, len(b.rows)))
    return [(row, int(found[row, k])) for row, k in zip(*np.nonzero(cosines >= _SHORTLIST_COSINE), strict=True)]


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32], floor: float) -> float:
    """Largest correlation of what stands above a floor (a fraction of the peak), over small shifts."""
    from scipy import fft

    spectra, norms = [], []
    for image in (first, second):
        scaled = _above_background(image[None])[0][0]
        source = np.where(scaled > floor, np.arcsinh(scaled / floor), 0)
        source = source - source.mean()
        spectra.append(fft.rfft2(source))
        norms.append(float(np.linalg.norm(source)))
    if min(norms) == 0:
        return 0.0
    shifts = np.arange(-_SHIFT, _SHIFT + 1)
    products = fft.irfft2(spectra[0] * np.conj(spectra[1]), first.shape)[np.ix_(shifts, shifts)]
    return float(products.max()) / (norms[0] * norms[1])


def _looks(store: CutoutStore, field: int) -> _Looks:
    minimum, maximum = store.column("minimum").astype(float), store.column("maximum").astype(float)
    rows = np.flatnonzero((store.shapes.min(axis=1) >= field) & (minimum < maximum))
    average = _cosines(_SIDE)[:_WAVES] @ _block_average(field)
    noise: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
    faint: list[NDArray[np.float32]] = [np.empty((0, _WAVES, _WAVES), np.float32)]
    bright = faint.copy()
    step = max(1, 2**22 // field**2)
    for start in track(range(0, len(rows), step), "looking at pixels"):
        images = np.stack([_central(store.pixels(row), field) for row in rows[start : start + step]])
        scaled, sigma = _above_background(images)
        unit = np.maximum(sigma, _LEVEL / 3)[:, None, None]
        floor = np.maximum(3 * sigma, 0.02)[:, None, None]
        noise.append(sigma)
        faint.append(average @ np.clip(scaled / unit, -2, 2) @ average.T)
        bright.append(average @ np.where(scaled > floor, np.arcsinh(scaled / floor), 0) @ average.T)
    return _Looks(rows, np.concatenate(noise), np.concatenate(faint), np.concatenate(bright))


def _above_background(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Images (n, height, width) above their median as fractions of the peak, blanks 0, and their noise (n,) alike."""
    flat = images.reshape(len(images), -1)
    background = np.nanmedian(flat, axis=1, keepdims=True)
    flat = flat - background
    sigma = MAD_TO_SIGMA * np.nanmedian(np.abs(flat), axis=1)
    peak = np.nanmax(flat, axis=1)
    peak = np.where(peak > 0, peak, 1)
    scaled = np.nan_to_num(flat / peak[:, None]).reshape(images.shape)
    return scaled.astype(np.float32), (sigma / peak).astype(np.float32)


def _block_average(length: int) -> NDArray[np.float32]:
    """Matrix (32, length) that averages pixels over blocks, those on an edge by their share."""
    edges = np.linspace(0, length, _SIDE + 1)
    pixel = np.arange(length)
    inside = np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None])
    return (np.clip(inside, 0, None) * _SIDE / length).astype(np.float32)


def _cosines(length: int) -> NDArray[np.float32]:
    """Matrix of the cosine transform (DCT-II)."""
    wave, place = np.arange(length)[:, None], np.arange(length) + 0.5
    return (np.cos(np.pi * wave * place / length) * np.sqrt(2 / length)).astype(np.float32)


def _bits(terms: NDArray[np.float32]) -> NDArray[np.uint8]:
    bits = terms.reshape(len(terms), -1) > 0
    bits[:, 0] = False  # the mean
    return np.packbits(bits, axis=1)


def _unit(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = terms.reshape(len(terms), -1).copy()
    flat[:, 0] = 0
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)


def turn_of(orientation: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """One of the eight flips and rotations of (..., height, width): by bits, transposed, upside down, mirrored."""

    def turn(image: NDArray[Any]) -> NDArray[Any]:
        image = np.swapaxes(image, -1, -2) if orientation & 4 else image
        image = image[..., ::-1, :] if orientation & 2 else image
        return image[..., ::-1] if orientation & 1 else image

    return turn


def _turned(terms: NDArray[np.float32], orientation: int) -> NDArray[np.float32]:
    """The cosine terms of the images that `_turn` makes: mirroring changes the signs of the odd ones."""
    signs = np.where(np.arange(_WAVES) % 2, -1, 1).astype(np.float32)
    terms = np.swapaxes(terms, -1, -2) if orientation & 4 else terms
    terms = terms * signs[:, None] if orientation & 2 else terms
    return np.ascontiguousarray(terms * signs if orientation & 1 else terms)


def _central(pixels: NDArray[np.float32], field: int) -> NDArray[np.float32]:
    top, left = (pixels.shape[0] - field) // 2, (pixels.shape[1] - field) // 2
    return pixels[top : top + field, left : left + field]
