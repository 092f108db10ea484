"""Images of the same sources as another zoom, pointing, beam or survey would show them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.random import Generator
from numpy.typing import NDArray

from radiossl.benchmark.tasks import Change, FindTask
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, put_in_place, staged_folder
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.statistics import FWHM_PER_SIGMA, Noise
from radiossl.store.store import CutoutStore, open_store
from radiossl.store.writing import write_store


def fitting_sources(store: CutoutStore, task: FindTask) -> CutoutStore:
    """Return the sources whose boxes, original and changed, lie inside their cutouts; raise if fewer than ten do."""
    side = _sides_px(store, task)
    reach = max(
        0.5 * change.zoom * (np.sqrt(2) if change.rotation_deg % 90 else 1) + change.shift
        for change in (Change(), *task.changes.values())
    )
    inside = np.flatnonzero(side * reach + 1 < store.shapes.min(axis=1) / 2)
    if len(inside) < 10:
        raise RadiosslError(f"{store}: only {len(inside)} sources have cutouts wide enough; cut wider ones (--size)")
    return store.select(inside)


def changed_store(store: CutoutStore, task: FindTask, change: Change, path: PathLike, seed: int) -> CutoutStore:
    """Cut the changed box of every source of a store into a new store, or open it if it was written before.

    The cutouts are wide, such as `fitting_sources` returns. Raises `RadiosslError` if a beam is to be changed and the
    original one is unknown.
    """
    if (Path(path) / "store.json").is_file():
        return open_store(path)
    schema = store_schema(pa.schema([]))
    provenance = {
        "command": "benchmark",
        "stores": [str(folder) for folder in store.paths],
        "change": change.model_dump(),
        "seed": seed,
    }
    sides = _sides_px(store, task)

    def batches(rows: tuple[int, int]) -> Iterator[pa.RecordBatch]:
        return cutout_batches((_changed(store, row, sides[row], task, change, seed) for row in range(*rows)), schema)

    with staged_folder(path) as folder:  # two benchmarks that share a cache may write the same store at once
        write_store(folder, [(0, len(store))], batches, schema, provenance)
        put_in_place(folder, Path(path))
    return open_store(path)


def _sides_px(store: CutoutStore, task: FindTask) -> NDArray[np.float64]:
    extent = store.column(task.extent).astype(float)
    return np.maximum(task.box_factor * extent / store.column("pixel_scale_arcsec").astype(float), task.min_px)


def _changed(store: CutoutStore, row: int, side: float, task: FindTask, change: Change, seed: int) -> Cutout:
    generator = np.random.default_rng([seed, row])
    known = {name: store.column(name)[row] for name in ("cutout_id", "mosaic", "unit")}
    ra, dec, x, y, scale, rms = (
        float(store.column(name)[row]) for name in ("ra_deg", "dec_deg", "x", "y", "pixel_scale_arcsec", "rms")
    )
    beam = float(store.column("beam_major_arcsec")[row] or np.nan)
    beam_px = (task.beam_arcsec or beam if np.isnan(beam) else beam) / scale
    if not np.isfinite(beam_px) and (change.beam_factor > 1 or change.beam_arcsec is not None or change.noise > 0):
        raise RadiosslError(f"cutout {known['cutout_id']}: its beam is unknown; give beam_arcsec in the task file")
    wanted_px = max(beam_px * change.beam_factor, (change.beam_arcsec or 0.0) / scale)
    pixels = store.pixels(row).astype(np.float64)
    image = _smoothed(np.nan_to_num(pixels), beam_px, wanted_px, change, rms, generator)
    noise = Noise.of(image[np.isfinite(pixels)])  # as of a box that is cut from a mosaic, see `cut_pieces`
    step = (change.pixel_arcsec or scale) / scale
    size = max(round(side * change.zoom / step), task.min_px)
    return Cutout(
        pixels=_resampled(image, size, step, change, side, generator),
        **noise._asdict(),
        ra_deg=ra,
        dec_deg=dec,
        x=x,
        y=y,
        pixel_scale_arcsec=scale * step,
        **known,
    )


def _smoothed(
    image: NDArray[np.float64], beam_px: float, wanted_px: float, change: Change, rms: float, generator: Generator
) -> NDArray[np.float64]:
    """The image at its new beam, with its new noise."""
    from scipy.ndimage import gaussian_filter

    if wanted_px > beam_px:
        image = gaussian_filter(image, np.sqrt(wanted_px**2 - beam_px**2) / FWHM_PER_SIGMA)
        image *= (wanted_px / beam_px) ** 2  # brightness is per beam
    if change.blur_px:
        image = gaussian_filter(image, change.blur_px)
    if change.noise:
        noise = gaussian_filter(generator.standard_normal(image.shape), wanted_px / FWHM_PER_SIGMA)
        image = image + change.noise * rms * noise / noise.std()
    return image


def _resampled(
    image: NDArray[np.float64], pixels: int, step: float, change: Change, side: float, generator: Generator
) -> NDArray[np.float32]:
    """A box of `pixels` x `pixels`, each `step` of the image's, shifted and turned."""
    from scipy.ndimage import map_coordinates

    direction = generator.uniform(0, 2 * np.pi)
    centre = (np.array(image.shape) - 1) / 2 + change.shift * side * np.array([np.sin(direction), np.cos(direction)])
    if step == 1 and not change.rotation_deg:  # nothing to interpolate
        first = np.round(centre - (pixels - 1) / 2).astype(int)
        y, x = first[:, None] + np.arange(pixels)
        inside = ((y >= 0) & (y < image.shape[0]))[:, None] & ((x >= 0) & (x < image.shape[1]))
        box = image[np.ix_(y.clip(0, image.shape[0] - 1), x.clip(0, image.shape[1] - 1))]
        return np.where(inside, box, np.nan).astype(np.float32)
    angle = np.deg2rad(change.rotation_deg)
    offsets = (np.arange(pixels) - (pixels - 1) / 2) * step
    dy, dx = np.meshgrid(offsets, offsets, indexing="ij")
    y = centre[0] + dy * np.cos(angle) + dx * np.sin(angle)
    x = centre[1] - dy * np.sin(angle) + dx * np.cos(angle)
    return map_coordinates(image, [y, x], order=3, mode="constant", cval=np.nan).astype(np.float32)
