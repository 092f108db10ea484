"""What is searched for: features of a cutout or of an image, which is framed as the cutouts are, or of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from radiossl.features.neighbours import unit
from radiossl.io.errors import RadiosslError
from radiossl.store.cutout import Cutout
from radiossl.store.statistics import Noise
from radiossl.survey.extents import find_source


class CropBox(NamedTuple):
    """A square in an image that has the pixel scale of the cutouts: its centre and its side in pixels."""

    x: float
    y: float
    side: int


#: ``auto``, ``none``, the side in pixels of the box around the source, or a box.
Crop = Literal["auto", "none"] | int | CropBox

#: Pixel scales that differ by less count as equal: headers round them.
SAME_SCALE = 0.02
_LEAST_PIXELS, _MOST_PIXELS = 8, 8192
#: Pictures are cropped by themselves if they are this much larger than the field of the cutouts, or, where these are
#: boxes as large as their sources ask for, than the box of theirs: extents are measured within a factor of 1.5.
_LARGER_THAN_FIELD, _LARGER_THAN_BOX = 1.25, 2.0
#: Side of a box in extents of its source, and the least in pixels, as in `radiossl.cut_sources`.
_BOX_FACTOR, _LEAST_BOX = 1.5, 32


@dataclass(frozen=True)
class Framing:
    """How cutouts show their sources."""

    pixel_scale_arcsec: float = math.nan  # median; NaN where unknown
    field_px: int | None = None  # side of all of them; None if they are boxes of several sizes, or nothing is known


@dataclass(frozen=True, eq=False)
class QueryImage:
    """An image with its place on the sky."""

    name: str  # its id
    pixels: NDArray[np.float32]  # shape (height, width), NaN where blank
    ra_deg: float  # centre before it was cropped (ICRS); NaN where unknown
    dec_deg: float
    pixel_scale_arcsec: float  # NaN where unknown
    note: str = ""  # what was done to it; empty if nothing
    whole: NDArray[np.float32] | None = None  # the image before it was cropped, if it was
    box: CropBox | None = None  # which part of `whole` it is
    noise: Noise | None = None  # of the sky around it; None if it is to be measured on its own pixels

    @property
    def cutout(self) -> Cutout:
        """The image as a backbone reads it."""
        return Cutout.whole_image(self.name, self.pixels, "", **self.noise._asdict() if self.noise else {})


def frame_query(image: Cutout, framing: Framing, crop: Crop = "auto") -> QueryImage:
    """Bring an image to the pixel scale of cutouts where its own is known and another, and crop it to its source.

    With crop ``auto``, to the field of the cutouts, or where these are boxes to 1.5 times the extent of the source, if
    the image is much larger than that; a number: to that many pixels around the source (`find_source`); a box: to that;
    ``none``: not at all.
    """
    if not np.isfinite(image.pixels).any():
        raise RadiosslError(f"{image.cutout_id}: every pixel is blank")
    if np.nanmin(image.pixels) == np.nanmax(image.pixels):
        raise RadiosslError(f"{image.cutout_id}: every pixel has the same value, so nothing is like it")
    query = _rescaled(image, framing.pixel_scale_arcsec)
    return query if crop == "none" else _cropped(query, image, framing, crop)


def _rescaled(image: Cutout, wanted: float) -> QueryImage:
    scale, pixels = image.pixel_scale_arcsec, image.pixels
    query = QueryImage(image.cutout_id, pixels, image.ra_deg, image.dec_deg, scale, noise=image.noise)
    factor = scale / wanted
    if not math.isfinite(factor) or abs(factor - 1) < SAME_SCALE:
        return query
    height, width = pixels.shape
    shape = round(height * factor), round(width * factor)
    if min(shape) < _LEAST_PIXELS or max(shape) > _MOST_PIXELS:
        raise RadiosslError(
            f"{image.cutout_id}: {width} x {height} pixels of {scale:.3g} arcsec are {shape[1]} x {shape[0]} of the"
            f" {wanted:.3g} arcsec of the cutouts; give an image that has {_LEAST_PIXELS} to {_MOST_PIXELS}"
        )
    note = f"resampled from {scale:.3g} to {wanted:.3g} arcsec per pixel, the scale of the cutouts"
    return replace(query, pixels=resampled(pixels, shape), pixel_scale_arcsec=wanted, note=note, noise=None)  # averaged


def _cropped(query: QueryImage, image: Cutout, framing: Framing, crop: str | int | CropBox) -> QueryImage:
    height, width = query.pixels.shape
    if isinstance(crop, CropBox):
        return _boxed(query, crop, "centre that was chosen")
    source = find_source(query.pixels, query.pixel_scale_arcsec, image.beam.major_arcsec if image.beam else 0.0)
    if isinstance(crop, int):
        side, limit = crop, 1.0
    elif framing.field_px is not None:
        side, limit = framing.field_px, _LARGER_THAN_FIELD
    else:
        extent = 0.0 if source is None else source.extent
        side, limit = max(_LEAST_BOX, math.ceil(_BOX_FACTOR * extent)), _LARGER_THAN_BOX
    if (source is None and crop == "auto") or max(height, width) <= limit * side:
        return query
    x, y = ((width - 1) / 2, (height - 1) / 2) if source is None else (source.x, source.y)
    return _boxed(query, CropBox(x, y, side), "centre" if source is None else "source")


def _boxed(query: QueryImage, box: CropBox, around: str) -> QueryImage:
    """The part of an image in a box, which is moved into the image where it reaches beyond."""
    (height, width), side = query.pixels.shape, box.side
    x0, y0 = (
        int(np.clip(math.floor(place - (side - 1) / 2 + 0.5), 0, max(0, length - side)))
        for place, length in ((box.x, width), (box.y, height))
    )
    pixels = np.ascontiguousarray(query.pixels[y0 : y0 + side, x0 : x0 + side])
    note = f"cropped to {pixels.shape[1]} x {pixels.shape[0]} of {width} x {height} pixels around its {around}"
    inside = CropBox(x0 + (side - 1) / 2, y0 + (side - 1) / 2, side)
    notes = ", ".join(filter(None, [query.note, note]))
    noise = query.noise or Noise.of(query.pixels)
    return replace(query, pixels=pixels, note=notes, whole=query.pixels, box=inside, noise=noise)


def resampled(pixels: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return an image with another number of pixels on the same field, keeping its brightness (Jy/beam stays Jy/beam).

    Linear, and averaging where pixels become larger; blank pixels do not enter, and a pixel that is mostly blank is.
    """
    import torch
    import torch.nn.functional as F

    valid = np.isfinite(pixels)
    planes = torch.from_numpy(np.stack([np.where(valid, pixels, 0), valid]).astype(np.float64))[None]
    total, weight = F.interpolate(planes, size=shape, mode="bilinear", antialias=True)[0].numpy()
    return np.where(weight > 0.5, total / np.maximum(weight, 1e-12), np.nan).astype(np.float32)


#: How much what is not wanted counts beside what is, in `query_of`.
AWAY_WEIGHT = 0.5


@dataclass(frozen=True, eq=False)
class Query:
    """What is searched for."""

    name: str  # its id or file name
    vector: NDArray[np.float32]  # its features, shape (feature_dim,)
    row: int | None = None  # in the index, if it is one of the cutouts
    image: NDArray[np.float32] | None = None  # its pixels, if it came from a file
    ra_deg: float = math.nan  # ICRS; NaN where unknown
    dec_deg: float = math.nan
    note: str = ""  # what was done to its image, for the report
    pixel_scale_arcsec: float = math.nan  # of its image; NaN where unknown
    examples: tuple[Query, ...] = ()  # the queries that it was made of, if it was
    away_from: tuple[Query, ...] = ()
    whole: NDArray[np.float32] | None = None  # its image before it was cropped, if it was
    box: CropBox | None = None  # which part of `whole` its image is

    @property
    def rows(self) -> list[int]:
        """The rows of the index that it was made of, which a search leaves out."""
        own = [] if self.row is None else [self.row]
        return own + [row for part in (*self.examples, *self.away_from) for row in part.rows]


def query_of(examples: Sequence[Query], away_from: Sequence[Query] = ()) -> Query:
    """Make one query of several: more like these, less like those.

    The mean of the examples' unit vectors, less `AWAY_WEIGHT` times the mean of those of `away_from`: Rocchio's
    relevance feedback (Manning, Raghavan & Schütze 2008, Introduction to Information Retrieval, section 9.1.1) on
    cosines. The similarities of what is found are cosines with this vector: with `away_from` they are lower than to any
    one example, and only their order means something.
    """
    if not examples:
        raise RadiosslError("a query of several needs at least one example")
    vector = unit(np.stack([query.vector for query in examples])).mean(axis=0)
    name = "mean of " + ", ".join(query.name for query in examples) if len(examples) > 1 else examples[0].name
    if away_from:
        vector = vector - AWAY_WEIGHT * unit(np.stack([query.vector for query in away_from])).mean(axis=0)
        name += ", unlike " + ", ".join(query.name for query in away_from)
    if np.linalg.norm(vector) < 1e-6:
        raise RadiosslError(f"{name}: the examples cancel out; give others")
    ra, dec = (examples[0].ra_deg, examples[0].dec_deg) if len(examples) == 1 else (math.nan, math.nan)
    mean, wanted, unwanted = vector.astype(np.float32), tuple(examples), tuple(away_from)
    return Query(name, mean, ra_deg=ra, dec_deg=dec, examples=wanted, away_from=unwanted)
