"""A small labelled store for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.writing import write_store


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory) -> Path:
    """24 cutouts of 40 x 40 pixels, each of a single or a double source, in noise."""
    folder = tmp_path_factory.mktemp("data") / "store"
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40]

    def cutout(index: int) -> Cutout:
        pixels = rng.normal(0, 1e-4, (40, 40))
        for offset in [-5, 5] if index % 2 else [0]:
            pixels += 3e-3 * np.exp(-((x - 20 - offset) ** 2 + (y - 20) ** 2) / 8)
        kind = "double" if index % 2 else "single"
        return Cutout(f"c{index}", pixels.astype(np.float32), "m", 1.0, 2.0, 3.0, 4.0, 1.8, extra={"kind": kind})

    schema = store_schema(pa.schema([("kind", pa.string())]))
    cutouts = [cutout(index) for index in range(24)]
    write_store(folder, [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": "test"})
    return folder
