"""The feature table: Parquet that everyone reads."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radiossl import RadiosslError
from radiossl.features import table as table_module
from radiossl.features.table import FeatureTable


@pytest.fixture
def table():
    columns = pa.table(
        {
            "cutout_id": ["a", "b", "c"],
            "ra_deg": [1.0, 2.0, 3.0],
            "kind": ["FRI", None, "FRII"],
            "island": pa.array([1, None, 3], pa.int64()),
        }
    )
    features = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    return FeatureTable(columns, features, {"weights": "w", "preprocessing": {"size": 32}})


def test_round_trip(table, tmp_path):
    table.write(tmp_path / "f.parquet")
    read = FeatureTable.read(str(tmp_path / "f.parquet"))
    np.testing.assert_array_equal(read.features, table.features)
    assert read.features.dtype == np.float32
    assert read.columns.equals(table.columns)
    assert read.metadata == table.metadata
    assert len(read) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["f.parquet"]


@pytest.mark.parametrize("name", ["f.csv", "f.fits", "f.VOT"])
def test_a_name_of_another_format_is_refused(table, tmp_path, name):
    with pytest.raises(RadiosslError, match=r"features are written as Parquet, such as f\.parquet; radiossl export"):
        table.write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_pandas_reads_it(table, tmp_path):
    table.write(tmp_path / "f.parquet")
    frame = pd.read_parquet(tmp_path / "f.parquet")
    assert frame.columns.tolist() == ["cutout_id", "ra_deg", "kind", "island", "features"]
    np.testing.assert_array_equal(np.stack(frame["features"]), table.features)
    assert frame["cutout_id"].tolist() == ["a", "b", "c"]


def test_features_are_a_fixed_size_list_of_float32(table, tmp_path):
    table.write(tmp_path / "f.parquet")
    assert pq.read_schema(tmp_path / "f.parquet").field("features").type == pa.list_(pa.float32(), 5)


@pytest.mark.parametrize("layout", ["float64", "fortran", "strided"])
def test_features_in_any_memory_layout(table, tmp_path, layout):
    features = {
        "float64": table.features.astype(np.float64),
        "fortran": np.asfortranarray(table.features),
        "strided": np.repeat(table.features, 2, axis=1)[:, ::2],
    }[layout]
    FeatureTable(table.columns, features).write(tmp_path / "f.parquet")
    np.testing.assert_array_equal(FeatureTable.read(tmp_path / "f.parquet").features, table.features)


def test_many_row_groups(table, tmp_path):
    table.write(tmp_path / "f.parquet")
    pq.write_table(pq.read_table(tmp_path / "f.parquet"), tmp_path / "groups.parquet", row_group_size=1)
    np.testing.assert_array_equal(FeatureTable.read(tmp_path / "groups.parquet").features, table.features)


def test_columns(table):
    assert table.column("ra_deg").tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(table.column("island"), [1.0, np.nan, 3.0])
    with pytest.raises(RadiosslError, match="no column 'label' in the features; there are cutout_id, ra_deg"):
        table.column("label")


@pytest.mark.parametrize("rows", [np.array([2, 0]), [2, 0], np.array([True, False, True])])
def test_select(table, rows):
    part = table.select(rows)
    order = [0, 2] if np.asarray(rows).dtype == bool else [2, 0]
    assert part.column("cutout_id").tolist() == ["abc"[i] for i in order]
    np.testing.assert_array_equal(part.features, table.features[order])
    assert part.metadata == table.metadata


@pytest.mark.parametrize("features", [np.zeros((2, 5)), np.zeros(3), np.zeros((3, 2, 2))])
def test_features_that_do_not_fit_the_columns_are_refused(table, features):
    with pytest.raises(RadiosslError, match="must match"):
        FeatureTable(table.columns, features)


def test_columns_that_the_table_needs_for_itself(table):
    with pytest.raises(RadiosslError, match="needs a column cutout_id"):
        FeatureTable(table.columns.drop_columns(["cutout_id"]), table.features)
    with pytest.raises(RadiosslError, match="is called 'features'"):
        FeatureTable(table.columns.append_column("features", pa.array([1, 2, 3])), table.features)


def test_what_is_no_feature_table_is_refused(table, tmp_path):
    path = tmp_path / "x.parquet"

    def refused(*words):
        with pytest.raises(RadiosslError) as caught:
            FeatureTable.read(path)
        assert "\n" not in str(caught.value)
        for word in (str(path), *words):
            assert word in str(caught.value)

    refused("no such file")
    pq.write_table(table.columns, path)
    refused("not a feature table")
    pq.write_table(table.columns.append_column("features", pa.array([1.0, 2.0, 3.0])), path)
    refused("not a feature table")
    path.write_text("cutout_id,features\n")
    refused("not a readable Parquet file")
    table.write(path)
    path.write_bytes(path.read_bytes()[:-200])
    refused("not a readable Parquet file")


def test_an_interrupted_write_leaves_the_old_table(table, tmp_path, monkeypatch):
    table.write(tmp_path / "f.parquet")

    def interrupted(data, where):
        where.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(table_module, "write_parquet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        table.select([0]).write(tmp_path / "f.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["f.parquet"]
    assert len(FeatureTable.read(tmp_path / "f.parquet")) == 3
