"""How many copies of FIRST fields are known by their pixels.

    python benchmarks/same_source.py TILES --work DIR [--count 600]

Of every second field a copy is made: shifted by up to 2 pixels (`near`), by 1 to 30 (`offset`), in 8 bits and clipped
at 3 sigma to 8 bits (both shifted by up to 2 pixels), and clipped and shifted by 1 to 30. Printed are recall, wrong
pairs and processor time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radiossl.features.same_source import same_pictures
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.store import CutoutStore
from radiossl.store.writing import write_store
from radiossl.survey.mosaic import Mosaic

SIDE = 200


def eight_bits(image: NDArray[np.float32], clip: bool) -> NDArray[np.float32]:
    """The image from 0 to 255, cut off 3 sigma above the background first if asked for."""
    background = np.nanmedian(image)
    if clip:
        image = np.maximum(image, background + 3 * 1.4826 * np.nanmedian(np.abs(image - background)))
    image = image - np.nanmin(image)
    return np.round(255 * image / np.nanmax(image))


def made(path: Path, images: list[NDArray[np.float32]]) -> CutoutStore:
    """Write a store of images without positions."""
    cutouts = [
        Cutout(f"c{row}", np.ascontiguousarray(image, np.float32), "m", np.nan, np.nan, 0.0, 0.0, 1.8)
        for row, image in enumerate(images)
    ]
    schema = store_schema()
    return write_store(path, [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": "benchmark"})


def main() -> None:
    """Print a row for every kind of copy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tiles", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=600)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images: dict[str, list[NDArray[np.float32]]] = {}
    for number, tile in enumerate(sorted(options.tiles.glob("*.fits.fz"))[: options.count]):
        with Mosaic.open(tile) as mosaic:
            field = mosaic.read(0, 0, *mosaic.shape[::-1])
        corner = (field.shape[0] - SIDE) // 2
        angle, reach = rng.uniform(0, 2 * np.pi), rng.uniform(1, 30)
        far = np.round([reach * np.sin(angle), reach * np.cos(angle)]).astype(int)
        cut = {
            name: field[corner + dy : corner + dy + SIDE, corner + dx : corner + dx + SIDE]
            for name, (dy, dx) in {"fields": (0, 0), "near": rng.integers(-2, 3, 2), "offset": far}.items()
        }
        copies = cut | {
            "8 bit": eight_bits(cut["near"], clip=False),
            "clipped": eight_bits(cut["near"], clip=True),
            "clipped, offset": eight_bits(cut["offset"], clip=True),
        }
        for name, image in copies.items():
            if name == "fields" or number % 2 == 0:
                images.setdefault(name, []).append(image)
    stores = {name: made(options.work / name.replace(", ", "_"), kept) for name, kept in images.items()}
    for name, store in stores.items():
        if name == "fields":
            continue
        for turned in (False, True):
            begin = time.process_time()
            pairs = same_pictures(stores["fields"], store, turned)
            seconds = time.process_time() - begin
            right = pairs[:, 0] == 2 * pairs[:, 1]
            recall, wrong = len(np.unique(pairs[right, 1])) / len(store), int((~right).sum())
            how = "turned" if turned else "upright"
            print(f"{name:16s} {how:8s} recall {recall:.3f}  wrong pairs {wrong}  {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
