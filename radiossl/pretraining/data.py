"""Raw cutouts, batch by batch, where the training needs them."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radiossl.features.same_source import repeats
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike
from radiossl.sky.positions import RADIUS_ARCSEC
from radiossl.store.store import CutoutStore, open_store, store_manifest
from radiossl.survey.fits_image import Box


class Batch(NamedTuple):
    """Raw cutouts, their statistics (n, 10), both on the device of the training, and the sides of their boxes (n,)."""

    pixels: Tensor | Sequence[NDArray[np.float32]]
    statistics: Tensor
    boxes: Tensor


#: Share of an accelerator's free memory that the cutouts may fill; the rest is for the training itself.
_RESIDENT_SHARE = 0.5


@dataclass(frozen=True)
class Exclusion:
    """Folders of stores whose sources must not be trained on.

    How close is the same: see `radiossl.features.same_source.repeats`.
    """

    stores: Sequence[PathLike] = ()
    radius_arcsec: float = RADIUS_ARCSEC

    def __post_init__(self) -> None:
        if not 0 <= self.radius_arcsec <= 180 * 3600:
            raise RadiosslError(f"--exclude-radius of {self.radius_arcsec} arcsec: expected 0 to 180 degrees")


def training_data(data: Sequence[PathLike], exclusion: Exclusion) -> tuple[CutoutStore, list[dict[str, Any]]]:
    """Open the training stores without what shows a source of the excluded ones.

    Returns the cutouts and, for each store, an entry of provenance that says how many were left out. Raises
    `RadiosslError` if a store cannot be opened, or nothing is left.
    """
    others = [(Path(path), open_store(path), store_manifest(path)["identity"]) for path in exclusion.stores]
    named, radius = ", ".join(str(folder) for folder, _, _ in others), float(exclusion.radius_arcsec)
    parts, provenance = [], []
    for path in map(Path, data):
        part, manifest = open_store(path), store_manifest(path)
        entry = {
            "store": path.name,
            "cutouts": manifest["count"],
            "identity": manifest["identity"],
            "command": manifest["provenance"].get("command"),
        }
        if others:
            masks = [repeats(part, other, radius) for _, other, _ in others]
            gone = np.logical_or.reduce(masks)
            entry["excluded"] = [
                {"store": folder.name, "identity": identity, "radius_arcsec": radius, "removed": int(mask.sum())}
                for (folder, _, identity), mask in zip(others, masks, strict=True)
            ]
            entry["removed"] = int(gone.sum())
            print(
                f"{path}: {gone.sum()} of {len(part)} cutouts left out: they show what is in {named}", file=sys.stderr
            )
            part = part.select(~gone)
        parts.append(part)
        provenance.append(entry)
    if others and not any(len(part) for part in parts):
        raise RadiosslError(
            f"{', '.join(map(str, data))}: every cutout shows what is in {named}; give other --data or a smaller"
            " --exclude-radius"
        )
    if not parts:
        raise RadiosslError("no cutout store was given")
    return CutoutStore.joined(*parts), provenance


class CutoutBatches:
    """Serves batches of raw cutouts and their statistics on a device.

    On a CPU the pixels are views of the store's memory-mapped files. On an accelerator, cutouts of one size stay in its
    memory as long as they fit; otherwise the next batch is read and sent while the present one is worked on.

    `field_px` is the side of the central field that views are made of. Pixels that no rotation of it can reach are left
    out, and smaller cutouts padded with blank pixels, so that all have one size. None for whole cutouts. `boxes` are
    the sides in pixels of the boxes around the sources, see `box_sides`; NaN if none are given.
    """

    def __init__(
        self,
        store: CutoutStore,
        device: torch.device,
        field_px: int | None = None,
        boxes: NDArray[np.float64] | None = None,
    ) -> None:
        self.store, self.device = store, device
        self.boxes = torch.from_numpy(np.full(len(store), np.nan) if boxes is None else boxes)
        self.statistics = torch.from_numpy(store.statistics).to(device)
        # One pixel more on either side for the interpolation.
        self.window = None if field_px is None else math.ceil(field_px * math.sqrt(2)) + 2
        shapes = np.unique(store.shapes, axis=0)
        self.shape = (self.window, self.window) if self.window else tuple(map(int, shapes[0]))
        self.uniform = self.window is not None or len(shapes) == 1
        self.resident: Tensor | None = None
        if device.type == "cuda" and self.uniform:
            needed = 4 * len(store) * math.prod(self.shape)
            if needed < _RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]:
                self.resident = torch.empty(len(store), *self.shape, device=device)
                for start in range(0, len(store), 1024):
                    rows = np.arange(start, min(start + 1024, len(store)))
                    self.resident[start : start + len(rows)] = self._stack(rows).to(device)

    def __call__(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yield the pixels and the statistics of each batch of row numbers."""
        if self.resident is not None:
            for rows in batches:
                index = torch.from_numpy(rows).to(self.device, non_blocking=True)
                yield Batch(self.resident[index], self.statistics[index], self.boxes[rows])
        elif self.device.type == "cpu":
            for rows in batches:
                pixels = [self._pixels(row) for row in rows]
                yield Batch(pixels, self.statistics[torch.from_numpy(rows)], self.boxes[rows])
        else:
            yield from self._prefetched(batches)

    def _prefetched(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as reader:
            pending = [reader.submit(self._read, rows) for rows in batches[:2]]
            for number, rows in enumerate(batches):
                pixels = pending.pop(0).result()
                if number + 2 < len(batches):
                    pending.append(reader.submit(self._read, batches[number + 2]))
                if isinstance(pixels, Tensor):
                    pixels = pixels.to(self.device, non_blocking=True)
                yield Batch(pixels, self.statistics[torch.from_numpy(rows).to(self.device)], self.boxes[rows])

    def _read(self, rows: NDArray[np.int64]) -> Tensor | list[NDArray[np.float32]]:
        if not self.uniform:
            return [self._pixels(row) for row in rows]
        pixels = self._stack(rows)
        return pixels.pin_memory() if self.device.type == "cuda" else pixels

    def _stack(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(np.stack([self._pixels(row) for row in rows]))

    def _pixels(self, row: int) -> NDArray[np.float32]:
        """A cutout, or the central `window` x `window` pixels of it, blank where it has none."""
        pixels, side = self.store.pixels(row), self.window
        if side is None:
            return pixels
        (height, width), half = pixels.shape, side // 2
        top, left = height // 2 - half, width // 2 - half
        if top >= 0 and left >= 0 and top + side <= height and left + side <= width:
            return pixels[top : top + side, left : left + side]
        return Box(left, top, side, side).cut_out(pixels, np.nan)


def made_ahead(parts: Iterator[list[Tensor]], device: torch.device) -> Iterator[list[Tensor]]:
    """Yield the items of `parts`; on a GPU the next is made on a separate stream while the current one is used.

    Making views sends many small parameters to the GPU, and each of those copies waits for the stream it is on. On the
    stream of the model it would wait for the whole step before.
    """
    if device.type != "cuda":
        yield from parts
        return
    side, main = torch.cuda.Stream(device, priority=-1), torch.cuda.current_stream(device)

    def make() -> list[Tensor] | None:
        with torch.cuda.stream(side):
            return next(parts, None)

    while (views := make()) is not None:
        main.wait_stream(side)
        for view in views:
            view.record_stream(main)  # so that its memory is not given away while the model reads it
        yield views


#: Side of the box around a source in units of its extent, as `radiossl cutouts sources` cuts it by default.
BOX_FACTOR = 1.5
#: Smallest box in pixels: fewer show nothing but the beam.
SMALLEST_BOX = 9.0
#: Columns that hold a source's largest extent where a recipe names none, the first that a store has.
EXTENTS = ("measured_extent_arcsec", "extent_arcsec", "las_arcsec", "extent_px")


def extent_column(store: CutoutStore, extent: str | None) -> str | None:
    """Return the column of a store with its sources' extents: the recipe's, or one of `EXTENTS`, or none."""
    return extent or next((name for name in EXTENTS if name in store.columns), None)


def box_sides(store: CutoutStore, extent: str | None) -> NDArray[np.float64]:
    """Return the side in pixels of the box around each cutout's source, NaN where its extent is unknown.

    `extent` is the column with the source's largest extent; its name ends with its unit, ``_px`` or ``_arcsec``. None
    for the first of `EXTENTS` that the store has. Raises `RadiosslError` if the store has no such column, its name has
    no unit, or it holds text.
    """
    extent = extent_column(store, extent)
    if extent is None:
        return np.full(len(store), np.nan)
    if not extent.endswith(("_px", "_arcsec")):
        raise RadiosslError(f"extent {extent!r}: expected a column whose name ends with its unit, _px or _arcsec")
    values = store.column(extent)
    try:
        sides = BOX_FACTOR * values.astype(float)
    except ValueError:
        raise RadiosslError(f"extent {extent!r}: expected a column of numbers") from None
    if extent.endswith("_arcsec"):
        sides = sides / store.column("pixel_scale_arcsec").astype(float)
    return np.where(sides > 0, np.maximum(sides, SMALLEST_BOX), np.nan)


def step_seed(*numbers: int) -> int:
    """Return the seed of the views of a step, out of the run's seed, the step, and the part of it if it has several."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def epoch_batches(cutouts: int, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Shuffle the rows of an epoch into full batches; depends on seed and epoch alone, so that runs can resume."""
    order = np.random.default_rng([seed, epoch]).permutation(cutouts)
    steps = cutouts // batch_size
    return list(order[: steps * batch_size].reshape(steps, batch_size))
