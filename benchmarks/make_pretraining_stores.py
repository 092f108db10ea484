"""The stores that `simclr-first-zoom` was trained on, from published data: fields of 256 pixels with sources' extents.

    python benchmarks/make_pretraining_stores.py DATA STORES [--keep CATALOGUE]

DATA holds first/tiles, first/catalogue.csv and radiogalaxydataset/galaxy_data.h5. STORES gets three stores with a
column `extent_px`: `first` (the sources of the catalogue), `first_islands` (what else shines in their fields) and
`radiogalaxydataset` (its split train, one image a source, none of a source that `first` shows or that its split
valid tests). --keep leaves out all within 60" of a catalogue's positions (CSV with ra_deg and dec_deg), such as a test
set; the released weights were trained without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy import ndimage

from radiossl import CutoutStore, cut_sources, import_set, open_store
from radiossl.sky.positions import RADIUS_ARCSEC, groups_by_position, match_sky
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store
from radiossl.survey.fits_image import Box

SIDE, SCALE = 256, 1.8
SCHEMA = store_schema(pa.schema([("extent_px", pa.float64())]))
SMALLEST = 6.0  # pixels: two beams


def field(pixels: NDArray[np.float32], x: float, y: float) -> NDArray[np.float32]:
    """The SIDE x SIDE pixels around a position, blank beyond the image."""
    return Box(round(x) - SIDE // 2, round(y) - SIDE // 2, SIDE, SIDE).cut_out(pixels, np.nan)


def extent(mask: NDArray[np.bool_]) -> float:
    """Largest extent of a mask along eighteen directions, in pixels."""
    y, x = np.nonzero(mask)
    angles = np.linspace(0, np.pi, 18, endpoint=False)
    along = np.outer(x, np.cos(angles)) + np.outer(y, np.sin(angles))
    return float(np.ptp(along, axis=0).max() + 1) if len(y) else 0.0


def cutout(name: str, pixels: NDArray[np.float32], ra: float, dec: float, extent_px: float, unit: str) -> Cutout:
    """A field with its source's extent."""
    extra = {"extent_px": max(extent_px, SMALLEST)}
    return Cutout(name, pixels, name, ra, dec, 0.0, 0.0, SCALE, unit, extra=extra)


def sources(tiles: CutoutStore, kept: NDArray[np.bool_]) -> Iterator[Cutout]:
    """The catalogue's sources, in the centres of their tiles."""
    extents = tiles.column("las_arcsec").astype(float) / SCALE
    for row, name, ra, dec in rows(tiles):
        if kept[row]:
            yield cutout(name, field(tiles.pixels(row), 150, 150), ra, dec, extents[row], "Jy/beam")


def islands(tiles: CutoutStore, keep: pd.DataFrame) -> Iterator[Cutout]:
    """Islands above 4 sigma beside the catalogue's source: 20 pixels, a peak above 10 sigma, 9 pixels across."""
    extents = tiles.column("las_arcsec").astype(float) / SCALE
    background, rms = (tiles.column(name).astype(float) for name in ("background", "rms"))
    for row, name, ra, dec in rows(tiles):
        pixels = np.array(tiles.pixels(row))
        signal = np.nan_to_num((pixels - background[row]) / rms[row])
        labels, _ = ndimage.label(ndimage.binary_dilation(signal > 4, iterations=2))
        for number, place in enumerate(ndimage.find_objects(labels), 1):
            mask = (signal[place] > 4) & (labels[place] == number)
            if mask.sum() < 20 or signal[place][mask].max() < 10 or extent(mask) < 9:
                continue
            y, x = (float(axis.mean()) + part.start for axis, part in zip(np.nonzero(mask), place, strict=True))
            near = np.hypot(x - 150, y - 150) < max(20, 0.7 * extents[row])
            if near or not (min(x, y) >= 12 and max(x, y) <= 287):
                continue
            position = ra - (x - 150) * SCALE / 3600 / np.cos(np.radians(dec)), dec + (y - 150) * SCALE / 3600
            if not len(match_sky(*position, keep["ra_deg"], keep["dec_deg"], RADIUS_ARCSEC)):
                yield cutout(f"{name}-{number}", field(pixels, x, y), *position, extent(mask), "Jy/beam")


def published(images: CutoutStore, taken: pd.DataFrame) -> Iterator[Cutout]:
    """Images of RadioGalaxyDataset's split train, one a source, none within 60" of what is taken."""
    ra, dec = images.column("ra_deg").astype(float), images.column("dec_deg").astype(float)
    groups = groups_by_position(ra, dec, 30.0)
    done = set(groups[match_sky(ra, dec, taken["ra_deg"], taken["dec_deg"], RADIUS_ARCSEC).a])
    for row, name, ra_deg, dec_deg in rows(images):
        pixels = np.array(images.pixels(row))
        signal = pixels - np.median(pixels)
        bright = signal > max(8.0, 0.04 * signal.max())  # the noise was clipped away
        labels, _ = ndimage.label(ndimage.binary_dilation(bright, iterations=3))
        y, x = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
        central = set(labels[bright & (np.hypot(y - 150, x - 150) <= 12)]) - {0}
        if groups[row] not in done and central:
            done.add(groups[row])
            size = extent(bright & np.isin(labels, list(central)))
            yield cutout(name, field(pixels, 150, 150), ra_deg, dec_deg, size, "8-bit")


def rows(store: CutoutStore) -> Iterator[tuple[int, str, float, float]]:
    """Row number, id and position of every cutout."""
    columns = (store.column(name).tolist() for name in ("cutout_id", "ra_deg", "dec_deg"))
    yield from zip(range(len(store)), *columns, strict=True)


def write(out: Path, cutouts: Iterator[Cutout]) -> None:
    """Write a store of one shard."""
    store = write_store(out, [out.name], partial(_batches, cutouts), SCHEMA, {"command": Path(__file__).name})
    print(f"{out}: {len(store)} cutouts")


def _batches(cutouts: Iterator[Cutout], _: str) -> Iterator[pa.RecordBatch]:
    return cutout_batches(cutouts, SCHEMA)


def main() -> None:
    """Make the stores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("stores", type=Path)
    parser.add_argument("--keep", type=Path, help="CSV with ra_deg and dec_deg of sources not to train on")
    options = parser.parse_args()
    data, stores = options.data, options.stores
    keep = pd.read_csv(options.keep) if options.keep else pd.DataFrame({"ra_deg": [], "dec_deg": []})
    (stores / "parts").mkdir(parents=True, exist_ok=True)
    cut_sources([data / "first/tiles"], data / "first/catalogue.csv", stores / "parts/tiles", size=300)
    import_set("radiogalaxydataset", data / "radiogalaxydataset/galaxy_data.h5", stores / "parts/images")
    tiles, images = open_store(stores / "parts/tiles"), open_store(stores / "parts/images")
    kept = np.ones(len(tiles), dtype=bool)
    kept[match_sky(*positions(tiles).to_numpy().T, keep["ra_deg"], keep["dec_deg"], RADIUS_ARCSEC).a] = False
    write(stores / "first", sources(tiles, kept))
    write(stores / "first_islands", islands(tiles, keep))
    valid = positions(images)[images.column("split") != "train"]
    write(stores / "radiogalaxydataset", published(images, pd.concat([positions(tiles), valid, keep])))


def positions(store: CutoutStore) -> pd.DataFrame:
    """Positions of all cutouts."""
    return pd.DataFrame({name: store.column(name).astype(float) for name in ("ra_deg", "dec_deg")})


if __name__ == "__main__":
    main()
