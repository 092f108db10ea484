"""Finding sources where there is no catalogue: islands of pixels above a multiple of the local noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from radiossl.io.errors import check_number
from radiossl.io.progress import track
from radiossl.sky.angles import unit_vectors
from radiossl.survey.catalogue import Catalogue, position_ids, unique_ids
from radiossl.survey.cutting import Mosaics
from radiossl.survey.mosaic import Box, Mosaic

#: Side of the boxes in which background and noise are measured, in beams, as in Aegean's BANE.
_BEAMS_PER_MESH = 20
_MESH_LIMITS = (32, 256)
_UNKNOWN_BEAM_MESH = 64
#: Side of a tile in pixels, and how far it looks beyond: an island is seen whole if it is smaller than that.
_TILE = 2048
_MARGIN = 128
#: Meshes with a larger percentage of blank pixels take the values of their neighbours.
_MESH_BLANK_PERCENT = 80
#: Islands of fewer pixels are taken for noise.
_LEAST_PIXELS = 5
_ANGLES = np.radians(np.arange(0, 180, 5))
#: Unit vectors (x, y) of the directions in which extents are measured.
DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


@dataclass(frozen=True, eq=False)
class Detections:
    """Islands found in one mosaic, arrays of shape (n,)."""

    #: Position weighted by brightness above the background, ICRS.
    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    #: Largest extent of the island in any direction.
    extent_arcsec: NDArray[np.float64]
    #: Brightest pixel above the background in units of the local noise, and in the mosaic's unit.
    snr: NDArray[np.float64]
    peak: NDArray[np.float64]
    #: Number of pixels.
    area_px: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ra_deg)


@dataclass(frozen=True, eq=False)
class FoundSources:
    """Sources found in several mosaics."""

    catalogue: Catalogue
    #: Index of the mosaic in which each is clearest, shape (n,).
    home: NDArray[np.int64]
    #: Sources and further mosaics in which they were found, shape (m, 2).
    elsewhere: NDArray[np.int64]

    def shows(self, source: NDArray[np.int64], mosaic: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell for pairs of a source and a mosaic whether the one was found in the other."""
        found = {(row, index) for row, index in self.elsewhere.tolist()}
        others = [pair in found for pair in zip(source.tolist(), mosaic.tolist(), strict=True)]
        return (self.home[source] == mosaic) | np.array(others, dtype=bool)


def find_islands(mosaics: Mosaics, threshold: float = 5.0) -> FoundSources:
    """Find the sources of several mosaics; one that is on more than one of them counts once, where it is clearest.

    See `detect_sources`. Raises `RadiosslError` if a mosaic cannot be read or nothing is found.
    """
    found: list[Detections] = []
    indices = range(len(mosaics))
    for index in track(indices, "finding sources") if len(mosaics) > 1 else indices:
        with mosaics.open(index) as mosaic:
            found.append(detect_sources(mosaic, threshold, show_progress=len(mosaics) == 1))
    if not any(map(len, found)):
        reason = f"no source above {threshold:g} sigma; lower the threshold with --threshold"
        raise mosaics.nothing_there(reason)
    columns = {one.name: np.concatenate([getattr(part, one.name) for part in found]) for one in fields(Detections)}
    of_mosaic = np.repeat(np.arange(len(found)), [len(part) for part in found])
    kept, elsewhere = _once(columns, of_mosaic)
    columns = {name: values[kept] for name, values in columns.items()}
    ra_deg, dec_deg = columns.pop("ra_deg"), columns.pop("dec_deg")
    ids, _ = unique_ids(position_ids(ra_deg, dec_deg))
    name = f"sources above {threshold:g} sigma"
    catalogue = Catalogue(name, ids, ra_deg, dec_deg, columns["extent_arcsec"], pa.table(columns))
    return FoundSources(catalogue, of_mosaic[kept], elsewhere)


def detect_sources(mosaic: Mosaic, threshold: float = 5.0, *, show_progress: bool = False) -> Detections:
    """Find islands of five or more connected pixels (at sides or corners) above the local background.

    Background and noise are sigma-clipped median and standard deviation in meshes of 20 beams, interpolated
    (photutils `Background2D`). Islands are not deblended: a source and its lobes are one island if they touch. Large
    mosaics are searched in overlapping tiles, on one grid of meshes; an island belongs to the tile of its brightest
    pixel. Its pixels are `threshold` times the local noise above the background or more; raises `RadiosslError` if that
    is not above 0.
    """
    check_number("--threshold", threshold, 0, above=True)
    mesh = _UNKNOWN_BEAM_MESH
    if mosaic.beam is not None:
        mesh = int(np.clip(_BEAMS_PER_MESH * mosaic.beam.major_arcsec / mosaic.pixel_scale_arcsec, *_MESH_LIMITS))
    tiles = list(_tiles(mosaic.shape, mesh))
    islands = [
        island
        for core, around in (track(tiles, "finding sources") if show_progress else tiles)
        for island in _islands(mosaic.read(*around), around, threshold, mesh)
        if core.x0 <= island.peak_x < core.x0 + core.width and core.y0 <= island.peak_y < core.y0 + core.height
    ]
    columns = (np.array([island[at] for island in islands]) for at in range(7))
    x, y, peak_x, peak_y, snr, peak, area = columns
    ra_deg, dec_deg = mosaic.pixel_to_sky(x, y)
    extents = extents_arcsec(mosaic, peak_x, peak_y, [island.pixels for island in islands])
    return Detections(ra_deg, dec_deg, extents, snr, peak, area.astype(np.int64))


def extents_arcsec(
    mosaic: Mosaic, x: ArrayLike, y: ArrayLike, islands: Sequence[tuple[NDArray[Any], ...]]
) -> NDArray[np.float64]:
    """Return the largest extents of sets of pixels (rows, columns) near some positions of a mosaic, shape (n,)."""
    widths, heights, _ = mosaic.pixel_shape(x, y)
    unknown = ~np.isfinite(widths * heights)
    widths[unknown] = heights[unknown] = mosaic.pixel_scale_arcsec
    sides = zip(islands, widths, heights, strict=True)
    return np.array([longest_extent(rows, columns, width, height) for (rows, columns), width, height in sides])


def _tiles(shape: tuple[int, int], mesh: int) -> Iterator[tuple[Box, Box]]:
    """Yield the tiles of a mosaic: the part whose sources count, and the part to look at, both in whole meshes."""
    height, width = shape
    step, margin = (-(-length // mesh) * mesh for length in (_TILE, _MARGIN))
    for y0 in range(0, height, step):
        for x0 in range(0, width, step):
            left, low = max(0, x0 - margin), max(0, y0 - margin)
            right, top = min(width, x0 + step + margin), min(height, y0 + step + margin)
            yield Box(x0, y0, step, step), Box(left, low, right - left, top - low)


class _Island(NamedTuple):
    """Position, brightest pixel and pixels (rows, columns) of an island."""

    x: float
    y: float
    peak_x: int
    peak_y: int
    snr: float
    peak: float
    area: int
    pixels: tuple[NDArray[Any], ...]


def _islands(pixels: NDArray[np.float32], around: Box, threshold: float, mesh: int) -> Iterator[_Island]:
    from photutils.background import Background2D
    from photutils.segmentation import detect_sources as segments_above
    from scipy.ndimage import value_indices

    blank = np.isnan(pixels)
    box = (min(mesh, pixels.shape[0]), min(mesh, pixels.shape[1]))
    with warnings.catch_warnings(action="ignore"):  # photutils warns where it finds no source
        try:
            local = Background2D(pixels, box, coverage_mask=blank, exclude_percentile=_MESH_BLANK_PERCENT)
        except ValueError:  # every mesh is (nearly) blank
            return
        noise = _interpolate(local.background_rms_mesh, box, pixels.shape)
        noise[blank | (noise <= 0)] = np.inf
        signal = pixels - _interpolate(local.background_mesh, box, pixels.shape)
        signal[blank] = 0
        segments = segments_above(signal, threshold * noise, _LEAST_PIXELS, connectivity=8)
    if segments is None:
        return
    for _, (rows, columns) in sorted(value_indices(np.asarray(segments.data), ignore_value=0).items()):
        flux = signal[rows, columns].astype(np.float64)
        brightest = int(np.argmax(flux))
        peak_row, peak_column = rows[brightest], columns[brightest]
        yield _Island(
            x=around.x0 + float(np.average(columns, weights=flux)),
            y=around.y0 + float(np.average(rows, weights=flux)),
            peak_x=around.x0 + int(peak_column),
            peak_y=around.y0 + int(peak_row),
            pixels=(rows, columns),
            snr=float(flux[brightest] / noise[peak_row, peak_column]),
            peak=float(pixels[peak_row, peak_column]),
            area=rows.size,
        )


def _interpolate(mesh: NDArray[np.floating], box: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate the values of meshes linearly to all pixels; photutils' own cubic spline is slower and overshoots."""
    for axis in (0, 1):
        position = np.clip((np.arange(shape[axis]) + 0.5) / box[axis] - 0.5, 0, mesh.shape[axis] - 1)
        below = np.minimum(position.astype(np.int64), max(0, mesh.shape[axis] - 2))
        above = np.minimum(below + 1, mesh.shape[axis] - 1)
        weight = np.expand_dims((position - below).astype(np.float32), 1 - axis)
        mesh = mesh.take(below, axis).astype(np.float32) * (1 - weight) + mesh.take(above, axis) * weight
    return mesh.astype(np.float32)


def longest_extent(
    rows: NDArray[Any], columns: NDArray[Any], pixel_width: float = 1.0, pixel_height: float = 1.0
) -> float:
    """Return the length of the longest projection of pixels on a line, in the unit of a pixel's width and height."""
    across, up = (DIRECTIONS * (pixel_width, pixel_height)).T
    along = np.outer(across, columns) + np.outer(up, rows)
    return float((np.ptp(along, axis=1) + np.hypot(across, up)).max())


def _once(
    columns: dict[str, NDArray[np.float64]], of_mosaic: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to keep where mosaics overlap: of islands that cover each other, the one of highest S/N.

    Also return, for the others, the number of the one that was kept and their mosaic, shape (m, 2).
    """
    from scipy.spatial import cKDTree

    if len(np.unique(of_mosaic)) == 1:
        return np.arange(len(of_mosaic)), np.empty((0, 2), np.int64)
    vectors = unit_vectors(columns["ra_deg"], columns["dec_deg"])
    radius = np.radians(columns["extent_arcsec"] / 2 / 3600)  # small angles: the chord is the arc
    tree = cKDTree(vectors)
    keeper = np.arange(len(vectors))
    for row in np.argsort(-columns["snr"], kind="stable"):
        if keeper[row] == row:
            near = np.array(tree.query_ball_point(vectors[row], radius[row]), dtype=np.int64)
            keeper[near[(of_mosaic[near] != of_mosaic[row]) & (keeper[near] == near)]] = row
    kept = np.flatnonzero(keeper == np.arange(len(keeper)))
    dropped = np.flatnonzero(keeper != np.arange(len(keeper)))
    return kept, np.stack([np.searchsorted(kept, keeper[dropped]), of_mosaic[dropped]], axis=1)
