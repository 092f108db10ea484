"""Boxes around sources: the column that their extents come from, and its unit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from radiossl.io.errors import RadiosslError
from radiossl.pretraining.data import box_sides, extent_column
from radiossl.pretraining.recipe import read_recipe
from radiossl.pretraining.run import pretrain
from radiossl.pretraining.trainer import Trainer
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.store import open_store
from radiossl.store.writing import write_store

PIXEL_ARCSEC = 1.8


def store_with(folder, **columns):
    """A store of cutouts with extra columns, and its folder."""
    kinds = {name: pa.string() if isinstance(values[0], str) else pa.float64() for name, values in columns.items()}
    schema = store_schema(pa.schema(kinds.items()))
    rng = np.random.default_rng(0)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)] or [{}] * 4
    cutouts = [
        Cutout(f"c{i}", rng.normal(0, 1, (40, 40)).astype(np.float32), "m", 1.0, 2.0, 3.0, 4.0, PIXEL_ARCSEC, extra=row)
        for i, row in enumerate(rows)
    ]
    write_store(folder, [0], lambda _: cutout_batches(cutouts, schema), schema, {"command": "test"})
    return open_store(folder)


def test_boxes_are_one_and_a_half_extents_in_pixels(tmp_path):
    store = store_with(tmp_path / "s", las_arcsec=[36.0, 3.6, None, -1.0], size_px=[20.0, 2.0, 8.0, 10.0])
    np.testing.assert_allclose(box_sides(store, "las_arcsec"), [30.0, 9.0, np.nan, np.nan])  # at least nine pixels
    np.testing.assert_allclose(box_sides(store, "size_px"), [30.0, 9.0, 12.0, 15.0])


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        (["las_arcsec"], "las_arcsec"),
        (["extent_px", "las_arcsec"], "las_arcsec"),
        (["las_arcsec", "measured_extent_arcsec"], "measured_extent_arcsec"),
        (["size"], None),
    ],
)
def test_the_column_of_a_usual_name_is_taken_and_said(tmp_path, columns, chosen, capsys):
    store = store_with(tmp_path / "s", **{name: [18.0 + i] * 4 for i, name in enumerate(columns)})
    assert extent_column(store, None) == chosen
    np.testing.assert_array_equal(box_sides(store, None), box_sides(store, chosen))
    recipe = read_recipe("radiossl", ["backbone.name=test_resnet", "batch_size=2"])[0]
    Trainer(recipe, [tmp_path / "s"], tmp_path / "run")
    told = capsys.readouterr().err
    assert (f"1.5 x {chosen}" if chosen else "zooms of whole cutouts") in told


@pytest.mark.parametrize(
    ("extent", "message"),
    [("las_arcsec", "no column 'las_arcsec'"), ("size", "_px or _arcsec"), ("name_px", "a column of numbers")],
)
def test_what_is_no_extent_is_refused(tmp_path, extent, message):
    store = store_with(tmp_path / "s", size=[1.0, 2.0], name_px=["big", "small"])
    with pytest.raises(RadiosslError, match=message):
        box_sides(store, extent)
    with pytest.raises(RadiosslError, match=message):
        pretrain(read_recipe("radiossl", [f"extent={extent}", "batch_size=2"]), tmp_path / "s", tmp_path / "run")
    assert not list(tmp_path.glob("run/*"))  # before anything is written
