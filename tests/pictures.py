"""Stores of pictures, and fields that several parts know by their pixels."""

import numpy as np

from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store


def make_store(path, images, positions=None, scale=1.8):
    """A store of images, at positions (degrees) or nowhere."""
    positions = [(np.nan, np.nan)] * len(images) if positions is None else positions
    cutouts = [
        Cutout(f"c{i}", np.asarray(image, np.float32), "m", *map(float, position), 0.0, 0.0, scale)
        for i, (image, position) in enumerate(zip(images, positions, strict=True))
    ]
    schema = store_schema()
    return write_store(path, [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": str(path)})


def eight_bit(image):
    image = image - np.nanmin(image)
    return np.round(255 * image / np.nanmax(image))


def field(seed, side=140, sources=12):
    """Noise and compact sources all over the field, by whose places it can be known."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 1e-4, (side, side))
    y, x = np.indices(image.shape)
    for _ in range(sources):
        (y0, x0), width = rng.uniform(0, side, 2), rng.uniform(1, 3)
        image += rng.uniform(2e-3, 2e-2) * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * width**2))
    return image.astype(np.float32)
