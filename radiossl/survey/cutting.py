"""What both ways of cutting share: the mosaics to cut, and the store that is made of them.

`radiossl.survey.blind` tiles mosaics with windows, `radiossl.survey.sources` cuts boxes around sources. Both plan
first, from headers alone, and then cut shard by shard with one mosaic open at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.io.csv_cells import write_csv_rows
from radiossl.io.errors import RadiosslError, check_choice, check_number, counted
from radiossl.io.progress import track
from radiossl.store.cutout import Beam, Cutout, blank_fraction
from radiossl.store.statistics import Noise
from radiossl.store.store import CutoutStore, open_store
from radiossl.store.writing import FinishedStoreError, write_store
from radiossl.survey.finding import find_mosaics, mosaic_labels
from radiossl.survey.mosaic import Box, Mosaic

OnError = Literal["stop", "skip"]

#: File inside the store that lists the sources without a cutout.
NOT_CUT = "not_cut.csv"
#: File inside the store that lists the mosaics that could not be read.
SKIPPED = "skipped.csv"
#: What does not show total intensity.
_POLARIZED = ("Q", "U", "V", "RL", "LR", "XY", "YX")
#: The noise of a source's cutout is measured on a field of at least so many pixels a side; where cutouts are boxes as
#: large as their sources ask for, so many times as large as the box. Of larger fields every n-th pixel will do.
LEAST_SKY, SKY_AROUND_BOX = 64, 2
#: Pixels whose size differs by less than this fraction from the mosaic's are said to have the mosaic's.
_SAME_SCALE = 0.005


@dataclass(frozen=True)
class CuttingResult:
    """What a run of cutting made."""

    store: CutoutStore
    #: How many mosaics were given.
    mosaics: int
    #: How many windows or sources gave no cutout, by reason.
    not_cut: dict[str, int]
    #: What is wrong with each mosaic that was left out, by its name.
    skipped: dict[str, str] = field(default_factory=dict)
    #: Whether the same cutting was finished before, so that nothing was cut.
    again: bool = False
    #: What a user should know, one sentence each.
    notes: tuple[str, ...] = ()
    #: How many sources were found in the mosaics, if they were looked for.
    found: int | None = None

    @property
    def used(self) -> dict[str, int]:
        """How many cutouts come from each mosaic that gave any, by its name."""
        names, counts = np.unique(self.store.column("mosaic").astype(str), return_counts=True)
        return dict(zip(names.tolist(), counts.tolist(), strict=True))

    @property
    def flat(self) -> int:
        """How many cutouts have one value everywhere, such as 0, so that nothing is seen on them."""
        return int(np.count_nonzero(self.store.column("minimum") == self.store.column("maximum")))


@dataclass(frozen=True)
class Mosaics:
    """The mosaics of a run: files, a unique name for each, and which part of the files to read."""

    #: The mosaics that can be read.
    paths: list[Path]
    labels: list[str]
    #: See `Mosaic.open`.
    hdu: str | int | None = None
    #: What is wrong with each of the others, by its name.
    skipped: dict[str, str] = field(default_factory=dict)
    #: Of those that have been opened, by their indices: the file, and survey, unit, Stokes, pixel scale and beam.
    opened: dict[int, tuple[os.stat_result, str, str, str, float, Beam | None]] = field(default_factory=dict)

    @classmethod
    def find(
        cls,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        on_error: OnError = "stop",
        hdu: str | int | None = None,
    ) -> Mosaics:
        """Find mosaics among files, folders and patterns, see `find_mosaics`.

        ``stop`` takes all as readable, so that damage is reported when they are read. ``skip`` reads every pixel of
        every one first, so that what is planned afterwards can be carried out. Raises `RadiosslError` if `on_error` is
        neither, or none can be read.
        """
        check_choice("--on-error", on_error, OnError)
        paths = find_mosaics(sources)
        labels, skipped = dict(zip(paths, mosaic_labels(paths), strict=True)), {}
        for path in track(paths, "checking mosaics") if on_error == "skip" else ():
            try:
                with Mosaic.open(path, hdu) as mosaic:
                    for _ in mosaic.read_boxes(mosaic.bands()):
                        pass
            except RadiosslError as error:
                skipped[labels.pop(path)] = str(error)
        if not labels:
            first = next(iter(skipped.values()))
            raise RadiosslError(f"none of {counted(len(paths), 'mosaic')} can be read; the first: {first}")
        return cls(list(labels), list(labels.values()), hdu, skipped)

    def __len__(self) -> int:
        return len(self.paths)

    def open(self, index: int) -> Mosaic:
        """Open one of them."""
        mosaic = Mosaic.open(self.paths[index], self.hdu)
        if index not in self.opened:
            known = mosaic.survey, mosaic.unit, mosaic.stokes, mosaic.pixel_scale_arcsec, mosaic.beam
            self.opened[index] = mosaic.path.stat(), *known
        return mosaic

    def nothing_there(self, otherwise: str, indices: Iterable[int] | None = None) -> RadiosslError:
        """Return the error where nothing was found in some of them: all are blank, or else the reason `otherwise`."""
        chosen = list(range(len(self)) if indices is None else indices)
        for index in track(chosen, "looking for values"):
            with self.open(index) as mosaic:
                if not mosaic.is_blank():
                    return RadiosslError(f"nothing to cut out: {otherwise}")
        others = f" and so are the {len(chosen) - 1} others" if len(chosen) > 1 else ""
        path = self.paths[chosen[0]]
        return RadiosslError(f"{path}: every pixel of the mosaic is blank{others}; there is nothing to cut out")

    def doubts(self) -> list[str]:
        """Return a sentence on brightness in several units, and on mosaics that do not show total intensity."""
        found = []
        units = {unit: index for index, (_, _, unit, *_) in sorted(self.opened.items(), reverse=True)}
        if len(units) > 1:
            named = ", ".join(f"{unit or 'none'} (such as {self.labels[index]})" for unit, index in units.items())
            found.append(f"the mosaics are in several units, {named}: brightness cannot be compared between them")
        if other := [
            (self.labels[index], stokes) for index, (_, _, _, stokes, *_) in self.opened.items() if stokes in _POLARIZED
        ]:
            more = f" and {len(other) - 1} more" if len(other) > 1 else ""
            found.append(f"{other[0][0]}{more}: the header says {other[0][1]}, not total intensity (Stokes I)")
        return found

    def provenance(self) -> dict[str, Any]:
        """Return what the store remembers of the mosaics, all of which have been opened before."""
        files, surveys, units, _, scales, known = zip(*(self.opened[index] for index in range(len(self))), strict=True)
        beams = [beam.major_arcsec for beam in known if beam is not None]
        named = zip(self.labels, files, strict=True)
        return {
            "mosaics": [{"name": n, "bytes": file.st_size, "modified_ns": file.st_mtime_ns} for n, file in named],
            "survey": {
                "names": sorted({*surveys} - {""}),
                "units": sorted({*units} - {""}),
                "pixel_scale_arcsec": [min(scales), max(scales)],
                "beam_major_arcsec": [min(beams), max(beams)] if beams else None,
            },
        }


@dataclass(frozen=True)
class Piece:
    """A cutout to be made: its name, its box, and its centre on the mosaic and on the sky."""

    cutout_id: str
    box: Box
    x: float
    y: float
    ra_deg: float
    dec_deg: float


def cut_pieces(
    mosaic: Mosaic,
    label: str,
    pieces: Sequence[Piece],
    max_blank: float,
    columns: Sequence[dict[str, Any]] | None = None,
    sky: int | None = None,
) -> Iterator[Cutout]:
    """Yield the cutouts of a mosaic in the order of `pieces`, without those that are blanker than `max_blank`.

    `columns` are further columns of each. Their noise is that of a field `sky` times as wide, of `LEAST_SKY` pixels at
    least; None for that of their own pixels.
    """
    shape = mosaic.pixel_shape(np.array([piece.x for piece in pieces]), np.array([piece.y for piece in pieces]))
    # The side of a square pixel of the same area; the mosaic's own where that is nearly equal.
    scale, nominal = np.sqrt(shape.width_arcsec * shape.height_arcsec), mosaic.pixel_scale_arcsec
    scale = np.where(np.isfinite(scale) & (np.abs(scale - nominal) > _SAME_SCALE * nominal), scale, nominal)
    names = ("pixel_scale_arcsec", "pixel_width_arcsec", "pixel_height_arcsec", "pixel_pa_deg")
    sizes = zip(*(values.tolist() for values in (scale, *shape)), strict=True)
    extras = columns or [{}] * len(pieces)
    boxes = [(piece.box,) if sky is None else sky_around(piece.box, sky) for piece in pieces]
    images = mosaic.read_boxes([box for both in boxes for box in both])
    for piece, both, size, extra in zip(pieces, boxes, sizes, extras, strict=True):
        pixels = next(images)
        noise = noise_of_field(next(images)) if len(both) == 2 else None
        if blank_fraction(pixels) <= max_blank:
            known = {name: value for name, value in vars(piece).items() if name != "box"}
            known |= dict(zip(names, size, strict=True)) | {"unit": mosaic.unit, "beam": mosaic.beam}
            known |= {} if noise is None else noise._asdict()
            yield Cutout(pixels=pixels, mosaic=label, extra=extra, **known)


def sky_around(box: Box, factor: int) -> tuple[Box, ...]:
    """Return a box and, if it is larger than that, the field around it in which the noise of the sky is measured."""
    width, height = (max(factor * side, LEAST_SKY) for side in (box.width, box.height))
    field = Box(box.x0 - (width - box.width) // 2, box.y0 - (height - box.height) // 2, width, height)
    return (box,) if field == box else (box, field)


def noise_of_field(pixels: NDArray[np.float32]) -> Noise:
    """Measure the noise of a field, NaN where blank, on a sample of its pixels if it is large."""
    steps = [max(1, side // LEAST_SKY) for side in pixels.shape]
    return Noise.of(pixels[:: steps[0], :: steps[1]])


def make_store(
    out: str | os.PathLike[str],
    jobs: Sequence[Any],
    cutouts: Callable[[Any], Iterable[Cutout]],
    schema: pa.Schema,
    provenance: dict[str, Any],
    mosaics: Mosaics,
    *,
    beside: Callable[[Path, list[str]], None] = lambda folder, ids: None,
    **running: Any,
) -> tuple[CutoutStore, bool]:
    """Write the store, with `SKIPPED` in it; also return whether the same command has done so before.

    `running` are further arguments of `write_store`.
    """

    def write_beside(folder: Path, ids: list[str]) -> None:
        write_rows(folder / SKIPPED, ("mosaic", "reason"), list(mosaics.skipped.items()))
        beside(folder, ids)

    try:
        return write_store(out, jobs, cutouts, schema, provenance, beside=write_beside, **running), False
    except FinishedStoreError:
        return open_store(out), True


def write_rows(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a CSV file, none if there are no rows."""
    if rows:
        write_csv_rows(path, head, rows)


def check_limits(*, max_blank: float, **pixels: int | None) -> None:
    """Raise `RadiosslError` if a size is below a pixel or `max_blank` is no fraction below 1."""
    for name, value in pixels.items():
        if value is not None:
            check_number(f"--{name.replace('_', '-')}", value, 1, whole=True)
    check_number("--max-blank", max_blank, 0, 1, below=True)
