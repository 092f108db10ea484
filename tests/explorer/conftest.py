"""A small survey of the explorer's tests: simulated cutouts, their features, and the weights that made them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from radiossl.features.embedding import embed_images, table_metadata
from radiossl.features.table import FeatureTable
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.store import CutoutStore
from radiossl.store.writing import write_store
from radiossl.weights.backbone import load_backbone, save_backbone

#: What a catalogue may hold: a page that does not escape it runs it.
HOSTILE_ID = "<script>window.hacked=1</script>"
HOSTILE_NOTE = '"><img src=x onerror="window.hacked=1">'
COUNT = 60


@dataclass(frozen=True)
class Survey:
    """Where everything is."""

    folder: Path
    store: CutoutStore
    features: Path
    weights: Path


@pytest.fixture(scope="session")
def survey(tmp_path_factory, sky, tiny_backbone):
    """60 cutouts, s00 to s58 and a hostile one, with features of a random backbone."""
    folder = tmp_path_factory.mktemp("explorer")
    schema = store_schema(pa.schema([("kind", pa.string()), ("flux", pa.float64()), ("note", pa.string())]))

    def cutout(index):
        name = HOSTILE_ID if index == COUNT - 1 else f"s{index:02d}"
        pixels = sky(index, (40, 40), sources=1 + index % 3)
        extra = {"kind": ["single", "double", "triple"][index % 3], "flux": 0.5 * index, "note": HOSTILE_NOTE}
        return Cutout(name, pixels, "m.fits", 10.0 + 0.1 * index, -5.0, 20.0, 20.0, 1.8, "Jy/beam", None, extra)

    store = write_store(
        folder / "store", [0], lambda _: cutout_batches(map(cutout, range(COUNT)), schema), schema, {"command": "test"}
    )
    save_backbone(folder / "weights", tiny_backbone.network, tiny_backbone.config)
    backbone = load_backbone(folder / "weights")
    table = FeatureTable(store.table, embed_images(backbone, store), table_metadata(backbone, store))
    table.write(folder / "features.parquet")
    return Survey(folder, store, folder / "features.parquet", folder / "weights")


@pytest.fixture
def rng():
    return np.random.default_rng(0)
