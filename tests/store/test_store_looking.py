"""A store in Python and in notebooks: rows, ids, slices, iteration, data frames and pictures."""

import numpy as np
import pyarrow as pa
import pytest

from radiossl.io.errors import RadiosslError
from radiossl.store.cutout import Beam, Cutout
from radiossl.store.derive import concat_stores
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.store import CutoutStore, open_store
from radiossl.store.writing import write_store

EXTRA = pa.schema([("flux", pa.float64()), ("label", pa.string())])


def cutout(number, shape=(6, 8), **changes):
    pixels = np.random.default_rng(number).normal(size=shape).astype(np.float32)
    pixels[0, 0] = np.nan
    beam = Beam(5.0, 4.0, 10.0) if number % 2 else None
    extra = {"flux": number / 2, "label": "FRI"} | changes
    return Cutout(f"c{number}", pixels, "m.fits", 10.0 + number, -20.0, 3.0, 4.0, 1.5, "Jy/beam", beam, extra)


@pytest.fixture
def store():
    return CutoutStore.from_cutouts([cutout(number) for number in range(5)], EXTRA)


def same(one, other):
    np.testing.assert_array_equal(one.pixels, other.pixels)
    for name in ("cutout_id", "mosaic", "ra_deg", "dec_deg", "x", "y", "pixel_scale_arcsec", "unit", "beam", "extra"):
        assert getattr(one, name) == getattr(other, name), name
    return True


def test_a_row_is_the_cutout_that_was_written(store):
    assert same(store[3], cutout(3))
    assert same(store[-1], cutout(4))
    assert same(store[np.int64(2)], cutout(2))
    assert same(store["c1"], cutout(1))
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"no row {index}"):
            store[index]
    with pytest.raises(RadiosslError, match="no cutout with id 'x'"):
        store["x"]


def test_parts_are_stores(store):
    assert store[1:4].column("cutout_id").tolist() == ["c1", "c2", "c3"]
    assert store[[4, 0]].column("cutout_id").tolist() == ["c4", "c0"]
    assert store[store.column("flux") > 1].column("cutout_id").tolist() == ["c3", "c4"]
    assert len(store[5:]) == 0


def test_a_store_can_be_gone_through(store):
    cutouts = list(store)
    assert len(cutouts) == 5
    assert all(same(one, cutout(number)) for number, one in enumerate(cutouts))


def test_a_data_frame_has_all_columns_but_the_pixels(store):
    frame = store.to_pandas()
    assert frame["flux"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert list(frame.columns) == store.columns
    assert "pixels" not in frame


def test_pictures(store):
    sheet = store.show(4, side=20)
    assert sheet.size == (80, 20)
    assert np.asarray(sheet).std() > 0
    assert store.show(100, side=20).size == (100, 20)
    star = np.zeros((9, 9), np.float32)
    star[1, 4] = 1.0  # low in declination
    one = CutoutStore.from_cutouts([Cutout("s", star, "m", 0.0, 0.0, 0.0, 0.0, 1.0)])
    assert np.unravel_index(np.asarray(one.show(1, side=9)).argmax(), (9, 9)) == (7, 4)


@pytest.mark.parametrize("pixels", [np.full((4, 5), np.nan), np.zeros((4, 5)), np.full((1, 1), 3.0), np.eye(4) * 1e30])
def test_any_cutout_has_a_picture(pixels):
    one = CutoutStore.from_cutouts([Cutout("s", pixels.astype(np.float32), "m", 0.0, 0.0, 0.0, 0.0, 1.0)])
    assert one.show(1, side=16).size == (16, 16)


def test_notebooks_show_pictures_and_no_markup_of_others():
    text = CutoutStore.from_cutouts([cutout(1, label="<script>")], EXTRA)._repr_html_()
    assert "data:image/png;base64," in text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def written(folder, name, kind, values):
    schema = store_schema(pa.schema([("z", kind)]))
    cutouts = [
        Cutout(f"{name}{number}", np.ones((2, 2), np.float32), "m", 0.0, 0.0, 0.0, 0.0, 1.0, extra={"z": value})
        for number, value in enumerate(values)
    ]
    write_store(folder / name, [0], lambda job: cutout_batches(cutouts, schema), schema, {})
    return folder / name


@pytest.mark.parametrize(
    ("kind", "empty"),
    [(pa.string(), [None, None]), (pa.string(), ["", None]), (pa.null(), [None, None]), (pa.bool_(), [None, None])],
)
@pytest.mark.parametrize("first", [True, False])
def test_an_empty_column_takes_the_type_of_the_other_store(tmp_path, kind, empty, first):
    folders = [written(tmp_path, "a", kind, empty), written(tmp_path, "b", pa.float64(), [0.5, 1.5])]
    joined = concat_stores(folders if first else folders[::-1], tmp_path / "out")
    expected = [None, None, 0.5, 1.5] if first else [0.5, 1.5, None, None]
    assert joined.table.column("z").to_pylist() == expected
    assert joined.table.schema.field("z").type == pa.float64()


def test_columns_that_disagree_are_still_refused(tmp_path):
    folders = [written(tmp_path, "a", pa.string(), ["x", None]), written(tmp_path, "b", pa.float64(), [0.5, 1.5])]
    with pytest.raises(RadiosslError, match="columns of different types"):
        open_store(*folders)


def test_a_column_called_features_is_refused_at_once():
    with pytest.raises(RadiosslError, match="'features'"):
        store_schema(pa.schema([("features", pa.float64())]))
