"""Feature tables as others write them, and rows that are no features: in memory and piece by piece alike."""

import itertools
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import radiossl
from radiossl import RadiosslError
from radiossl.duplicates.search import find_duplicates
from radiossl.features import feature_file
from radiossl.features.exporting import export_table
from radiossl.features.feature_file import FeatureFile
from radiossl.features.index_building import build_index
from radiossl.features.table import FeatureTable
from radiossl.similarity.search import SimilarityIndex

COUNT, DIMENSION = 40, 6


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(COUNT, DIMENSION)).astype(np.float32)


def both(path):
    """The table read at once and piece by piece."""
    table, file = FeatureTable.read(path), FeatureFile(path)
    pieces = np.concatenate(list(file.batches()))
    assert (len(table), file.columns().num_rows, len(pieces)) == (len(file),) * 3
    np.testing.assert_array_equal(pieces, table.features)
    assert file.columns().equals(table.columns)
    assert file.schema.equals(table.columns.schema.remove_metadata())
    for columns, vectors in file.batches_with_columns():
        assert len(vectors) == columns.num_rows
    return table


def plain_lists(features):
    return pa.array(features.tolist(), pa.list_(pa.float64()))


WAYS = {
    "pandas": lambda f, p: pd.DataFrame({"cutout_id": range(COUNT), "features": list(f)}).to_parquet(p),
    "lists": lambda f, p: pq.write_table(pa.table({"cutout_id": range(COUNT), "features": plain_lists(f)}), p),
    "large lists": lambda f, p: pq.write_table(
        pa.table({"cutout_id": range(COUNT), "features": pa.array(f.tolist(), pa.large_list(pa.float32()))}), p
    ),
    "fixed float64": lambda f, p: pq.write_table(
        pa.table({"cutout_id": range(COUNT), "features": pa.array(f.tolist(), pa.list_(pa.float64(), DIMENSION))}), p
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_tables_of_other_programs(way, features, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_file, "BATCH_ROWS", 7)
    WAYS[way](features, tmp_path / "f.parquet")
    table = both(tmp_path / "f.parquet")
    np.testing.assert_array_equal(table.features, features)
    assert table.column("cutout_id").tolist() == [str(row) for row in range(COUNT)]
    index = SimilarityIndex(table)
    assert index.search(index.query_by_id("7"), 3)["cutout_id"].map(type).unique().tolist() == [str]
    assert build_index([tmp_path / "f.parquet"], tmp_path / "index").total == COUNT


def test_decimals_and_categories_are_values(features, tmp_path):
    columns = {
        "cutout_id": [f"s{row}" for row in range(COUNT)],
        "flux": pa.array([Decimal("1.50")] * COUNT, pa.decimal128(8, 2)),
        "kind": pa.array(["FRI", "FRII"] * (COUNT // 2)).dictionary_encode(),
        "features": pa.array([[Decimal("0.5"), Decimal("-2")]] * COUNT, pa.list_(pa.decimal128(4, 1))),
    }
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    table = both(tmp_path / "f.parquet")
    assert table.column("flux").tolist() == [1.5] * COUNT
    assert table.columns.schema.field("kind").type == pa.string()
    assert table.features[3].tolist() == [0.5, -2]


def test_ids_that_are_no_names_are_refused(features, tmp_path):
    pq.write_table(pa.table({"cutout_id": [0.5] * COUNT, "features": plain_lists(features)}), tmp_path / "f.parquet")
    for read in (FeatureTable.read, FeatureFile):
        with pytest.raises(RadiosslError, match=r"f\.parquet: cutout_id is of type double; write it as text"):
            read(tmp_path / "f.parquet")


def test_vectors_of_several_lengths_are_refused(features, tmp_path):
    lists = features.tolist()
    lists[11] = lists[11][:-1]
    pq.write_table(pa.table({"cutout_id": range(COUNT), "features": lists}), tmp_path / "f.parquet")
    for read in (FeatureTable.read, lambda path: list(FeatureFile(path).batches())):
        with pytest.raises(RadiosslError, match="row 11 has 5 features, the first row has 6"):
            read(tmp_path / "f.parquet")


@pytest.fixture
def gaps(features, tmp_path):
    """Rows 3 (missing), 5 (NaN), 6 (infinite), 8 (zeros) have no features."""
    features[5, 2], features[6, 0], features[8] = np.nan, np.inf, 0
    lists = features.tolist()
    lists[3] = None
    ids = [f"s{row}" for row in range(COUNT)]
    vectors = pa.array(lists, pa.list_(pa.float32(), DIMENSION))
    try:
        pq.write_table(pa.table({"cutout_id": ids, "features": vectors}), tmp_path / "gaps.parquet")
    except pa.ArrowNotImplementedError:
        pytest.skip("pyarrow before version 23 writes no missing lists of a fixed length")
    return tmp_path / "gaps.parquet"


LEFT_OUT = r"gaps\.parquet: 4 of 40 rows left out, they have no features \(.*\); first row 3"


def test_rows_without_features_are_left_out_with_a_line(gaps, features, monkeypatch):
    monkeypatch.setattr(feature_file, "BATCH_ROWS", 7)
    with pytest.warns(UserWarning, match=LEFT_OUT) as told:
        table = both(gaps)
    assert len(told) == 2  # once at once, once piece by piece, whatever is asked for then
    kept = [row for row in range(COUNT) if row not in (3, 5, 6, 8)]
    assert table.column("cutout_id").tolist() == [f"s{row}" for row in kept]
    np.testing.assert_array_equal(table.features, features[kept])


@pytest.mark.filterwarnings("ignore:.*rows left out")
@pytest.mark.parametrize("group", [3, 9, 100])
def test_rows_that_are_left_out_later_are_nowhere(gaps, tmp_path, monkeypatch, group):
    pq.write_table(pq.read_table(gaps), tmp_path / "groups.parquet", row_group_size=group)
    monkeypatch.setattr(feature_file, "BATCH_ROWS", 5)
    whole, file = FeatureTable.read(gaps), FeatureFile(tmp_path / "groups.parquet")
    kept = np.arange(36) % 7 > 4
    kept[9:20] = False  # of whole groups
    file.leave_out(~kept)
    assert len(file) == kept.sum()
    assert file.columns().column("cutout_id").to_pylist() == whole.column("cutout_id")[kept].tolist()
    np.testing.assert_array_equal(np.concatenate(list(file.batches())), whole.features[kept])
    file.leave_out(np.arange(kept.sum()) > 0)
    np.testing.assert_array_equal(np.concatenate(list(file.batches())), whole.features[kept][:1])


@pytest.mark.filterwarnings("ignore:.*rows left out")
def test_commands_go_on_with_the_other_rows(gaps, tmp_path):
    table = FeatureTable.read(gaps)
    found = SimilarityIndex(table).search(table.features[0], 100)
    assert len(found) == 36
    assert np.isfinite(found["similarity"]).all()
    assert len(find_duplicates(table).pairs) >= 0
    assert build_index([gaps], tmp_path / "index").total == 36
    table.write(tmp_path / "clean.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(both(tmp_path / "clean.parquet")) == 36


def test_a_table_without_any_features_is_refused(features, tmp_path):
    FeatureTable(pa.table({"cutout_id": ["a", "b"]}), np.zeros((2, 4), np.float32)).write(tmp_path / "f.parquet")
    for read in (FeatureTable.read, lambda path: len(FeatureFile(path))):
        with pytest.raises(RadiosslError, match="all 2 rows have no features"):
            read(tmp_path / "f.parquet")


def test_a_table_without_rows_says_so(tmp_path):
    columns = {"cutout_id": pa.array([], pa.string()), "features": pa.array([], pa.list_(pa.float32()))}
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    FeatureTable(pa.table({"cutout_id": pa.array([], pa.string())}), np.zeros((0, 4))).write(tmp_path / "g.parquet")
    for read, name in itertools.product((FeatureTable.read, FeatureFile), "fg"):
        with pytest.raises(RadiosslError, match=rf"{name}\.parquet: the feature table has no rows"):
            read(tmp_path / f"{name}.parquet")
    with pytest.raises(RadiosslError, match=r"g\.parquet: the feature table has no rows"):
        export_table(tmp_path / "g.parquet", tmp_path / "g.csv", "csv")
    with pytest.raises(RadiosslError, match=r"g\.parquet: the feature table has no rows"):
        radiossl.search(tmp_path / "g.parquet", "a")
    assert not (tmp_path / "g.csv").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("preprocessing", 5), ("preprocessing", None), ("embedding", [1]), ("weights", 5), ("stores", "x")],
)
def test_metadata_of_another_kind_are_refused(tmp_path, name, value):
    table = FeatureTable(pa.table({"cutout_id": ["a"]}), np.ones((1, 2), np.float32), {name: value})
    table.write(tmp_path / "f.parquet")
    with pytest.raises(RadiosslError, match=rf"f\.parquet: damaged metadata, embed the images again: {name}: "):
        FeatureFile(tmp_path / "f.parquet")
