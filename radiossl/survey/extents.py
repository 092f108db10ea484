"""Extents of sources whose catalogue gives positions only, from the islands that a mosaic shows around them.

A radio galaxy is often several islands. To the one at the position belong others so near and so bright that chance
would hardly have put them there, and pairs on opposite sides that look like lobes; not those at which the catalogue
has another source. Of one island with several sources, a fainter one owns its summit, down to the saddle. Sizes are
published as separations of the outermost peaks and as lengths of the lowest contour: the extent is the mean of both,
without the beam.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from radiossl.store.statistics import PixelStatistics
from radiossl.survey.cutting import Mosaics
from radiossl.survey.islands import DIRECTIONS
from radiossl.survey.mosaic import Box, Mosaic
from radiossl.survey.placement import Places

#: Pixels of an island are above the first, its brightest above the second, in units of the noise.
_THRESHOLD, _PEAK = 3.0, 4.5
_LEAST_PIXELS = 5
#: How far from the position the nearest island may be, other single ones, and lobes of a pair, in arcsec.
_NEAREST, _REACH, _LOBE_REACH = 60.0, 45.0, 200.0
#: Islands farther from all positions than this show how many there are by chance, in arcsec.
_UNRELATED = 150.0
#: Expected number of islands as near and as bright by chance below which one belongs to the source, or a pair of lobes.
_CHANCE, _LOBES_CHANCE = 0.05, 0.01
#: Lobes lie at this angle from each other at least, and differ at most by these factors in distance and flux.
_LOBE_ANGLE_DEG, _LOBE_DISTANCE, _LOBE_FLUX = 140.0, 3.0, 8.0
#: Levels of brightness that differ by less than this fraction are the same.
_SAME_LEVEL = 0.02
#: Peaks fainter than this fraction of the brightest do not count.
_FAINTEST_PEAK = 0.01
#: Smallest extent that is reported, in beams.
_LEAST_BEAMS = 0.5
#: In a picture: scale in arcsec where it is unknown, how far from the centre its source may be as a fraction of the
#: side, and the noise of a picture without any as a fraction of its range.
_PICTURE_SCALE, _CENTRAL, _NO_NOISE = 1.8, 0.25, 0.002


class _Island(NamedTuple):
    """An island near a position: offsets (x, y) in arcsec from it, brightness in units of the noise.

    `nearest` is the distance of its nearest pixel, `width` that of its part above half its peak, `peaks` are its local
    maxima as rows of x, y, brightness; `first` and `last` are its ends in all `DIRECTIONS`, where it falls to `level`.
    """

    nearest: float
    centre: NDArray[np.float64]
    peak: float
    flux: float
    width: float
    peaks: NDArray[np.float64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    level: float

    def shifted(self, by: NDArray[np.float64]) -> _Island:
        """Return the island as seen from a position that lies `by` on the other side, without `nearest`."""
        along = DIRECTIONS @ by
        peaks = self.peaks + np.array([*by, 0.0])
        moved = self._replace(nearest=math.nan, centre=self.centre + by, peaks=peaks)
        return moved._replace(first=self.first + along, last=self.last + along)


def measure_extents(places: Places, mosaics: Mosaics, sources: int) -> NDArray[np.float64]:
    """Return the largest angular sizes of sources in arcsec, shape (sources,), NaN where no island is near.

    A source on several mosaics is measured where it is farthest from an edge. On 1,099 FIRST sources, whose catalogue
    gives the separation of the outermost components, the rank correlation is 0.78 and 81 % are within a factor 1.5
    (`benchmarks/extents.py`).
    """
    order = np.lexsort((-places.edge_arcsec, places.source))
    _, first = np.unique(places.source[order], return_index=True)
    chosen = places.take(order[first])
    fields: dict[int, tuple[list[_Island], float]] = {}
    area_arcmin2 = 0.0
    for index in np.unique(chosen.mosaic).tolist():
        here = np.flatnonzero(chosen.mosaic == index)
        here = here[np.argsort(chosen.y[here])]
        with mosaics.open(index) as mosaic:
            beam = 0.0 if mosaic.beam is None else mosaic.beam.major_arcsec
            found = _fields(mosaic, chosen.take(here), places.take(places.mosaic == index), beam)
            for source, (islands, seen) in zip(chosen.source[here].tolist(), found, strict=True):
                fields[source] = islands, beam
                area_arcmin2 += seen
    unrelated = [island.peak for islands, _ in fields.values() for island in islands if island.nearest > _UNRELATED]
    chance = _Chance(np.sort(unrelated), area_arcmin2)
    extents = np.full(sources, np.nan)
    for source, (islands, beam) in fields.items():
        if islands and islands[0].nearest <= _NEAREST:
            extents[source] = _extent(_belonging(islands, chance), beam)
    return extents


class SourceBox(NamedTuple):
    """The source that a picture shows, in pixels: the middle of its outermost peaks, and its largest extent."""

    x: float
    y: float
    extent: float


def find_source(
    pixels: NDArray[np.float32], pixel_scale_arcsec: float = math.nan, beam_arcsec: float = 0.0
) -> SourceBox | None:
    """Find the source that a picture was taken of: the brightest island near its centre, with what belongs to it.

    Lobes on opposite sides of the centre belong together, as in `measure_extents`. Pixels are NaN where blank; a
    picture without noise, such as one that was clipped, will do. Their size is taken to be 1.8 arcsec, as in FIRST,
    where it is unknown. The beam is subtracted from the width of a single peak; 0 where it is unknown. Returns None if
    there is no island.

    Examples
    --------
    >>> y, x = np.indices((200, 200))
    >>> two = np.exp(-((x - 90) ** 2 + (y - 110) ** 2) / 8) + np.exp(-((x - 120) ** 2 + (y - 110) ** 2) / 8)
    >>> box = find_source(two.astype(np.float32))
    >>> box.x, box.y, round(box.extent)
    (105.0, 110.0, 30)
    """
    scale = pixel_scale_arcsec if math.isfinite(pixel_scale_arcsec) else _PICTURE_SCALE
    if not PixelStatistics.of(pixels).rms > 0:  # far below what anybody sees, but noise to measure islands by
        faint = np.nanmax(pixels) - np.nanmin(pixels) if np.isfinite(pixels).any() else 0.0
        pixels = pixels + np.random.default_rng(0).normal(0, _NO_NOISE * faint, pixels.shape).astype(np.float32)
    pixel = np.array([scale, scale])
    middle = (np.array(pixels.shape[::-1]) - 1) / 2
    islands = sorted(_islands(pixels, middle, pixel), key=lambda island: island.nearest)
    if not islands:
        return None
    central = _CENTRAL * min(pixels.shape) * scale
    near = [island for island in islands if island.nearest <= central]
    main = max(near or islands[:1], key=lambda island: island.flux)
    around = sorted(_islands(pixels, middle + np.array(main.centre) / scale, pixel), key=lambda island: island.nearest)
    peaks = np.sort([island.peak for island in islands if not island.nearest <= central])
    chance = _Chance(peaks, pixels.size * scale**2 / 3600)
    lobes = [one for one in near if one is not main and chance.expected(one) < math.sqrt(_LOBES_CHANCE)]
    own = [main, *(one for one in lobes if _are_lobes(main, one))]
    own += [one.shifted(main.centre) for one in _belonging(around, chance)]
    peaks = np.concatenate([one.peaks for one in own])
    peaks = peaks[peaks[:, 2] >= _FAINTEST_PEAK * main.peak, :2]
    x, y = middle + (peaks.min(axis=0) + peaks.max(axis=0)) / 2 / scale
    return SourceBox(float(x), float(y), _extent(own, beam_arcsec) / scale)


class _Chance(NamedTuple):
    """How many unrelated islands there are: their brightness, in order, and the area in which they were counted."""

    peaks: NDArray[np.float64]
    area_arcmin2: float

    def expected(self, island: _Island) -> float:
        """Return how many islands as bright are as near to a position by chance."""
        brighter = len(self.peaks) - int(np.searchsorted(self.peaks, island.peak)) + 0.5
        return math.pi * (island.nearest / 60) ** 2 * brighter / max(self.area_arcmin2, 1.0)


def _fields(
    mosaic: Mosaic, places: Places, others: Places, beam_arcsec: float
) -> Iterator[tuple[list[_Island], float]]:
    """Yield the islands around each place, nearest first, and the area in arcmin2 that is too far to be related.

    Islands at which there are `others`, all places of the mosaic, but not this one are left out.
    """
    from scipy.spatial import cKDTree

    pixel = np.stack([places.pixel_width_arcsec, places.pixel_height_arcsec], axis=1)
    half = np.clip(np.ceil((_LOBE_REACH + _NEAREST) / pixel), 16, 1024).astype(int)
    corners = np.floor(np.stack([places.x, places.y], axis=1)).astype(int) - half
    boxes = [Box(*corner, *side) for corner, side in zip(corners.tolist(), (2 * half + 1).tolist(), strict=True)]
    positions = np.stack([others.x, others.y], axis=1)
    near = cKDTree(positions).query_ball_point(corners + half, half.max(axis=1), p=np.inf)
    for row, pixels in enumerate(mosaic.read_boxes(boxes)):
        centre = np.array([places.x[row], places.y[row]])
        elsewhere = positions[[at for at in near[row] if others.source[at] != places.source[row]]] - centre
        y, x = np.nonzero(np.isfinite(pixels))
        centre -= corners[row]
        distance = np.hypot((x - centre[0]) * pixel[row, 0], (y - centre[1]) * pixel[row, 1])
        seen = np.count_nonzero(distance > _UNRELATED) * math.prod(pixel[row]) / 3600
        reach = max(beam_arcsec, 2 * float(pixel[row].max()))
        islands = _islands(pixels, centre, pixel[row], elsewhere * pixel[row], reach)
        yield sorted(islands, key=lambda island: island.nearest), seen


def _islands(
    pixels: NDArray[np.float32],
    centre: NDArray[np.float64],
    pixel: NDArray[np.float64],
    others: NDArray[np.float64] | tuple[()] = (),
    reach: float = 0.0,
) -> Iterator[_Island]:
    """Yield the islands of a field but those within `reach` of `others`, offsets in arcsec, and not of the centre."""
    from scipy.ndimage import label, maximum_filter, value_indices
    from scipy.spatial import cKDTree

    noise = PixelStatistics.of(pixels)
    if not noise.rms > 0:
        return
    signal = np.nan_to_num((pixels - noise.background) / noise.rms)
    labels, _ = label(signal > _THRESHOLD, np.ones((3, 3)))
    is_peak = (maximum_filter(signal, 3) == signal) & (signal >= _PEAK)
    other = cKDTree(others) if len(others) else None
    for _, (rows, columns) in sorted(value_indices(labels, ignore_value=0).items()):
        bright = signal[rows, columns].astype(float)
        if len(rows) < _LEAST_PIXELS or bright.max() < _PEAK:
            continue
        at = np.stack([columns - centre[0], rows - centre[1]], axis=1) * pixel
        nearest = float(np.hypot(*at.T).min())
        level = _THRESHOLD
        if other is not None:
            distance, of = other.query(at)
            of[distance > reach] = -1
            shared = bool((of >= 0).any())
            if shared and nearest > reach:
                continue
            if shared:
                own, level = _own_part(rows, columns, bright, np.hypot(*at.T) <= reach, of)
                rows, columns, bright, at = rows[own], columns[own], bright[own], at[own]
        half, top = bright >= bright.max() / 2, is_peak[rows, columns]
        along = DIRECTIONS @ at.T
        yield _Island(
            nearest=nearest,
            centre=np.average(at, axis=0, weights=bright),
            peak=float(bright.max()),
            flux=float(bright.sum()),
            width=float(np.ptp(along[:, half], axis=1).max()),
            peaks=np.column_stack([at[top], bright[top]]),
            first=along.min(axis=1),
            last=along.max(axis=1),
            level=level,
        )


def _own_part(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    bright: NDArray[np.float64],
    near: NDArray[np.bool_],
    other: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], float]:
    """Return which pixels of an island are a position's own: down to where they join those of a brighter one.

    Given are the pixels, which of them are near the position, and which other position each is near, -1 for none.
    """
    from scipy.ndimage import label

    peak = int(np.argmax(np.where(near, bright, -np.inf)))
    rivals = [int(np.argmax(np.where(other == of, bright, -np.inf))) for of in np.unique(other[other >= 0])]
    rivals = [rival for rival in rivals if bright[rival] > bright[peak]]
    if not rivals:
        return np.ones(len(rows), dtype=bool), _THRESHOLD
    image = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1))
    place = rows - rows.min(), columns - columns.min()
    image[place] = bright
    low, high, own = _THRESHOLD, float(bright[peak]), np.arange(len(rows)) == peak
    while high - low > _SAME_LEVEL * low:
        level = (low + high) / 2
        parts = label(image >= level, np.ones((3, 3)))[0][place]
        if np.isin(parts[rivals], parts[peak]).any():
            low = level
        else:
            high, own = level, parts == parts[peak]
    return own, high


def _belonging(islands: Sequence[_Island], chance: _Chance) -> list[_Island]:
    """Choose those of the islands around a position, nearest first, that belong to the source there."""
    expected = [chance.expected(island) for island in islands]
    by_chance = zip(islands, expected, strict=True)
    own = [row == 0 or (one.nearest < _REACH and number < _CHANCE) for row, (one, number) in enumerate(by_chance)]
    lobes = [row for row, island in enumerate(islands) if not own[row] and island.nearest <= _LOBE_REACH]
    for a, b in combinations(lobes, 2):
        if _are_lobes(islands[a], islands[b]) and expected[a] * expected[b] < _LOBES_CHANCE:
            own[a] = own[b] = True
    return [island for island, belongs in zip(islands, own, strict=True) if belongs]


def _are_lobes(one: _Island, other: _Island) -> bool:
    distances = math.hypot(*one.centre), math.hypot(*other.centre)
    cosine = (one.centre[0] * other.centre[0] + one.centre[1] * other.centre[1]) / max(math.prod(distances), 1e-9)
    opposite = cosine < math.cos(math.radians(_LOBE_ANGLE_DEG))
    fluxes = one.flux, other.flux
    return opposite and max(distances) < _LOBE_DISTANCE * min(distances) and max(fluxes) < _LOBE_FLUX * min(fluxes)


def _extent(islands: Sequence[_Island], beam_arcsec: float) -> float:
    """Return the mean of the distance between the outermost peaks and the length of the whole, less the beam.

    A peak has at least the width that is left of it without the beam. Of an unknown beam (0) only the peaks are free.
    """
    from scipy.spatial.distance import pdist

    brightest = max(islands, key=lambda island: island.peak)
    islands = [island for island in islands if island.peak >= _FAINTEST_PEAK * brightest.peak]
    peaks = np.concatenate([island.peaks for island in islands])
    peaks = peaks[peaks[:, 2] >= _FAINTEST_PEAK * brightest.peak, :2]
    between = max(brightest.width - beam_arcsec, float(pdist(peaks).max()) if len(peaks) > 1 else 0.0)
    if not beam_arcsec:
        return between
    # A point source reaches so far above the threshold.
    blur = [beam_arcsec / 2 * math.sqrt(math.log2(island.peak / island.level)) for island in islands]
    last = np.max([island.last - more for island, more in zip(islands, blur, strict=True)], axis=0)
    first = np.min([island.first + more for island, more in zip(islands, blur, strict=True)], axis=0)
    least = _LEAST_BEAMS * beam_arcsec
    return (max(between, least) + max(float((last - first).max()), least)) / 2
