"""Indexes of vectors against cosines written out: in memory, on disk, in blocks, filtered, added to, interrupted."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radiossl import RadiosslError
from radiossl.features import feature_file, index_building, vector_index
from radiossl.features.index_building import build_index
from radiossl.features.neighbours import unit
from radiossl.features.stored_index import ParquetColumns, open_index
from radiossl.features.table import CHECKED_KEY, METADATA_KEY, FeatureTable
from radiossl.features.vector_index import VectorIndex, clusters
from radiossl.io.checksums import sealed

DIMENSION = 16


def clustered(count, seed=0, groups=30):
    """Vectors in groups around one direction, of any length."""
    rng = np.random.default_rng(seed)
    centres = 2 + np.random.default_rng(99).normal(size=(groups, DIMENSION))
    vectors = centres[rng.integers(0, groups, count)] + 0.3 * rng.normal(size=(count, DIMENSION))
    return (vectors * rng.uniform(0.5, 2, (count, 1))).astype(np.float32)


def written(path, vectors, first=0, metadata=None, **columns):
    ids = [f"c{first + row}" for row in range(len(vectors))]
    table = pa.table({"cutout_id": ids, "number": np.arange(first, first + len(vectors)), **columns})
    FeatureTable(table, vectors, {"weights_sha256": "a", "stores": ["s"]} | (metadata or {})).write(path)
    return path


def brute_force(queries, vectors, k, allowed=None):
    cosines = unit(queries).astype(float) @ unit(vectors).astype(float).T
    if allowed is not None:
        cosines[:, ~allowed] = -np.inf
    order = np.argsort(-cosines, axis=1)[:, :k]
    return np.take_along_axis(cosines, order, axis=1), order


@pytest.fixture(scope="module")
def vectors():
    return clustered(3000)


@pytest.fixture(scope="module")
def ivf(tmp_path_factory, vectors):
    folder = tmp_path_factory.mktemp("ivf")
    build_index([written(folder / "f.parquet", vectors)], folder / "index", "ivf-sq8")
    return open_index(folder / "index")


@pytest.fixture(scope="module", params=["memory", "disk", "blocks"])
def exact(request, tmp_path_factory, vectors):
    if request.param == "memory":
        return VectorIndex.from_features(vectors)
    folder = tmp_path_factory.mktemp("flat")
    table = written(folder / "f.parquet", vectors)
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "blocks":
            patch.setattr(index_building, "BLOCK_BYTES", 700 * 4 * DIMENSION)
            patch.setattr(feature_file, "BATCH_ROWS", 300)
        build_index([table], folder / "index")
    assert len(list((folder / "index").glob("*.faiss"))) == (4 if request.param == "blocks" else 1)
    return open_index(folder / "index").vectors


# Search ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [None, 0.3, 0.002])
def test_flat_search_is_exact_with_and_without_a_filter(exact, vectors, share):
    queries = clustered(20, seed=1)
    allowed = None if share is None else np.random.default_rng(2).random(len(vectors)) < share
    k = 3 if share == 0.002 else 12
    expected, order = brute_force(queries, vectors, k, allowed)
    similarities, rows = exact.search(queries, k, allowed)
    np.testing.assert_array_equal(rows, order)
    np.testing.assert_allclose(similarities, expected, atol=1e-6)


def test_where_there_are_fewer_than_wanted_the_rest_is_marked(exact, vectors):
    allowed = np.zeros(len(vectors), bool)
    allowed[[5, 2999]] = True
    similarities, rows = exact.search(vectors[:1], 4, allowed)
    assert set(rows[0, :2]) == {5, 2999}
    assert rows[0, 2:].tolist() == [-1, -1]
    assert similarities[0, 2:].tolist() == [-np.inf, -np.inf]
    assert (exact.search(vectors[:1], 4, np.zeros(len(vectors), bool))[1] == -1).all()


def test_flat_vectors_come_back_as_they_were(exact, vectors):
    rows = [2999, 0, 1500, 0]
    np.testing.assert_allclose(exact.vectors(rows), unit(vectors)[rows], atol=1e-7)


@pytest.mark.parametrize("share", [None, 0.3, 0.01])
def test_the_inverted_file_finds_nearly_all_of_the_nearest(ivf, vectors, share):
    queries = clustered(100, seed=1)
    allowed = None if share is None else np.random.default_rng(2).random(len(vectors)) < share
    expected, order = brute_force(queries, vectors, 10, allowed)
    similarities, rows = ivf.vectors.search(queries, 10, allowed)
    found = np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(order, rows, strict=True)])
    assert found >= 0.97
    np.testing.assert_allclose(similarities[:, 0], expected[:, 0], atol=2e-3)
    if allowed is not None:
        assert allowed[rows].all()


def test_a_search_for_very_many_looks_into_more_clusters(ivf, vectors):
    rows = ivf.vectors.search(vectors[:2], 3000)[1]
    assert (np.sort(rows, axis=1) == np.arange(3000)).all()


def test_probing_every_cluster_leaves_only_the_rounding(ivf, vectors, monkeypatch):
    monkeypatch.setattr(vector_index, "PROBES", 10**6)
    queries = clustered(100, seed=3)
    expected, order = brute_force(queries, vectors, 10)
    similarities, rows = ivf.vectors.search(queries, 10)
    np.testing.assert_allclose(similarities, expected, atol=1e-3)
    assert np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(order, rows, strict=True)]) >= 0.98


def test_vectors_of_an_inverted_file_come_back_rounded(ivf, vectors):
    rows = [2999, 0, 1500]
    np.testing.assert_allclose(ivf.vectors.vectors(rows), unit(vectors)[rows], atol=5e-3)
    assert np.abs(ivf.vectors.vectors(rows) - unit(vectors)[rows]).max() > 0


def test_the_inverted_file_is_a_third_of_the_exact_one_at_most(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(4000, 256)).astype(np.float32)
    table = written(tmp_path / "f.parquet", vectors)
    build_index([table], tmp_path / "i", "ivf-sq8")
    size = sum(file.stat().st_size for file in (tmp_path / "i").glob("*.faiss"))
    assert size < vectors.nbytes / 3


# Building -------------------------------------------------------------------------------------------------------------


def test_adding_tables_gives_what_building_from_all_gives(tmp_path, vectors):
    first = written(tmp_path / "a.parquet", vectors[:1000])
    second = written(tmp_path / "b.parquet", vectors[1000:], 1000, {"stores": ["t"]}, extra=["x"] * 2000)
    assert build_index([first], tmp_path / "steps").total == 1000
    done = build_index([second], tmp_path / "steps")
    assert (done.kind, done.added, done.skipped, done.total) == ("flat", 2000, 0, 3000)
    build_index([first, second], tmp_path / "whole")
    steps, whole = open_index(tmp_path / "steps"), open_index(tmp_path / "whole")
    assert steps.metadata["stores"] == ["s", "t"]
    queries = clustered(5, seed=1)
    for ours, theirs in zip(steps.vectors.search(queries, 9), whole.vectors.search(queries, 9), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    rows = np.array([2999, 3, 1000, 999])
    assert steps.columns.take(rows).to_pylist() == whole.columns.take(rows).to_pylist()
    assert steps.columns.take(rows).column("extra").to_pylist() == ["x", None, "x", None]


def test_adding_to_an_inverted_file_finds_the_new_ones(tmp_path, vectors):
    build_index([written(tmp_path / "a.parquet", vectors[:2000])], tmp_path / "i", "ivf-sq8")
    build_index([written(tmp_path / "b.parquet", vectors[2000:], 2000)], tmp_path / "i")
    stored = open_index(tmp_path / "i")
    similarities, rows = stored.vectors.search(vectors[[100, 2500]], 1)
    assert rows[:, 0].tolist() == [100, 2500]
    np.testing.assert_allclose(similarities[:, 0], 1, atol=1e-3)
    assert stored.columns.take(rows[:, 0]).column("cutout_id").to_pylist() == ["c100", "c2500"]


def test_ids_that_are_there_are_skipped_and_counted(tmp_path, vectors):
    table = written(tmp_path / "a.parquet", vectors[:50])
    build_index([table], tmp_path / "i")
    assert build_index([table], tmp_path / "i").skipped == 50
    overlapping = written(tmp_path / "b.parquet", vectors[40:70], 40)
    done = build_index([overlapping, overlapping], tmp_path / "i")
    assert (done.added, done.skipped, done.total) == (20, 40, 70)
    stored = open_index(tmp_path / "i")
    assert stored.columns.column("cutout_id").to_pylist() == [f"c{row}" for row in range(70)]
    np.testing.assert_allclose(stored.vectors.vectors(range(70)), unit(vectors[:70]), atol=1e-7)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"weights_sha256": "b"}, "made with other weights"),
        ({"preprocessing": {"size": 9}}, "made with other preprocessing"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(tmp_path, vectors, other, message):
    first = written(tmp_path / "a.parquet", vectors[:50])
    second = written(tmp_path / "b.parquet", vectors[50:99], 50, other)
    with pytest.raises(RadiosslError, match=message):
        build_index([first, second], tmp_path / "i")
    build_index([first], tmp_path / "i")
    with pytest.raises(RadiosslError, match=message):
        build_index([second], tmp_path / "i")
    with pytest.raises(RadiosslError, match="features of 8 dimensions"):
        build_index([written(tmp_path / "c.parquet", vectors[:9, :8])], tmp_path / "i")
    assert len(open_index(tmp_path / "i").vectors) == 50


@pytest.mark.parametrize("what", ["new", "added to"])
def test_an_interrupted_build_leaves_nothing_behind(tmp_path, vectors, monkeypatch, what):
    good, bad = vectors[:500], vectors[500:1000].copy()
    bad[400] = np.nan
    if what == "added to":
        build_index([written(tmp_path / "a.parquet", good)], tmp_path / "i")
    before = {file.name: file.read_bytes() for file in (tmp_path / "i").glob("*")}
    monkeypatch.setattr(index_building, "BLOCK_BYTES", 100 * 4 * DIMENSION)
    monkeypatch.setattr(feature_file, "BATCH_ROWS", 100)
    damaged = pq.read_table(written(tmp_path / "b.parquet", bad, 500))
    about = {METADATA_KEY: damaged.schema.metadata[METADATA_KEY], CHECKED_KEY: b"1"}  # says that all is well
    pq.write_table(damaged.replace_schema_metadata(about), tmp_path / "b.parquet")
    with pytest.raises(RadiosslError, match="row 400 is not finite"):
        build_index([tmp_path / "b.parquet"], tmp_path / "i")
    assert {file.name: file.read_bytes() for file in (tmp_path / "i").glob("*")} == before
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".tmp")] == []
    assert (tmp_path / "i").exists() == (what == "added to")


def test_the_kind_follows_the_number_and_stays(tmp_path, vectors, monkeypatch):
    monkeypatch.setattr(index_building, "FLAT_UP_TO", 999)
    table = written(tmp_path / "a.parquet", vectors[:1000])
    assert build_index([table], tmp_path / "i").kind == "ivf-sq8"
    assert build_index([written(tmp_path / "b.parquet", vectors[:999])], tmp_path / "j").kind == "flat"
    with pytest.raises(RadiosslError, match="is an index of kind flat, not ivf-sq8"):
        build_index([table], tmp_path / "j", "ivf-sq8")
    with pytest.raises(RadiosslError, match="--kind pq: expected one of flat, ivf-sq8"):
        build_index([table], tmp_path / "k", "pq")


def test_the_same_seed_gives_the_same_index(tmp_path, vectors):
    table = written(tmp_path / "a.parquet", vectors)
    for name in "ab":
        build_index([table], tmp_path / name, "ivf-sq8", seed=3)
    build_index([table], tmp_path / "c", "ivf-sq8", seed=4)
    same, again, other = ((tmp_path / name / "trained.faiss").read_bytes() for name in "abc")
    assert same == again != other


@pytest.mark.parametrize(
    ("count", "expected"), [(10, 1), (1000, 25), (3000, 75), (10**6, 4096), (4 * 10**6, 8192), (5 * 10**7, 8192)]
)
def test_number_of_clusters(count, expected):
    assert clusters(count) == expected


# Bad folders ----------------------------------------------------------------------------------------------------------


def test_other_folders_and_files_are_refused(tmp_path, vectors):
    table = written(tmp_path / "a.parquet", vectors[:20])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(RadiosslError, match="is not a similarity index; give another folder"):
        build_index([table], tmp_path / "full")
    with pytest.raises(RadiosslError, match=r"not a similarity index \(it has no index.json\)"):
        open_index(tmp_path / "full")
    pq.write_table(pa.table({"cutout_id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(RadiosslError, match="not a feature table"):
        build_index([tmp_path / "other.parquet"], tmp_path / "i")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(RadiosslError, match="not a readable Parquet file"):
        build_index([tmp_path / "text.parquet"], tmp_path / "i")
    with pytest.raises(RadiosslError, match="no feature table was given"):
        build_index([], tmp_path / "i")
    with pytest.raises(RadiosslError, match=r"none.parquet: the feature table has no rows"):
        build_index([written(tmp_path / "none.parquet", vectors[:0])], tmp_path / "i")
    assert not (tmp_path / "i").exists()


def test_a_damaged_index_is_refused(tmp_path, vectors):
    build_index([written(tmp_path / "a.parquet", vectors[:20])], tmp_path / "i")
    file = tmp_path / "i" / "vectors-00000.faiss"
    content = file.read_bytes()
    file.write_bytes(content[:-5])
    with pytest.raises(RadiosslError, match=r"vectors-00000.faiss: \d+ bytes, expected \d+; make the index again"):
        open_index(tmp_path / "i")
    file.write_bytes(b"x" * len(content))
    with pytest.raises(RadiosslError, match=r"vectors-00000.faiss: damaged, make the index again"):
        open_index(tmp_path / "i")
    file.unlink()
    with pytest.raises(RadiosslError, match=r"vectors-00000.faiss: missing from the index"):
        open_index(tmp_path / "i")
    manifest = json.loads((tmp_path / "i" / "index.json").read_text())
    for blocks in ("x", ["x"], [{"vectors": "../x", "columns": "x", "bytes": 1}]):
        bare = {key: value for key, value in manifest.items() if not key.startswith("checksum")}
        (tmp_path / "i" / "index.json").write_text(json.dumps(bare | {"blocks": blocks}))
        with pytest.raises(RadiosslError, match=r"index\.json: damaged, make the index again: blocks"):
            open_index(tmp_path / "i")
    (tmp_path / "i" / "index.json").write_text(json.dumps(sealed(manifest | {"version": 99})))
    with pytest.raises(RadiosslError, match="written by a newer radiossl"):
        open_index(tmp_path / "i")


# Columns --------------------------------------------------------------------------------------------------------------


def test_columns_of_several_files_speak_like_one_table(tmp_path):
    first = pa.table({"cutout_id": [f"a{i}" for i in range(10)], "number": range(10)})
    second = pa.table({"cutout_id": [f"b{i}" for i in range(7)], "kind": ["x"] * 7})
    pq.write_table(first, tmp_path / "0.parquet", row_group_size=3)
    pq.write_table(second, tmp_path / "1.parquet", row_group_size=3)
    columns = ParquetColumns([tmp_path / "0.parquet", tmp_path / "1.parquet"])
    whole = pa.concat_tables([first, second], promote_options="permissive")
    assert (columns.num_rows, columns.column_names) == (17, whole.column_names)
    for name in whole.column_names:
        assert columns.column(name).to_pylist() == whole.column(name).to_pylist()
    for rows in ([16, 0, 9, 10, 3, 3], [4], []):
        assert (
            columns.take(pa.array(rows, pa.int64())).to_pylist() == whole.take(pa.array(rows, pa.int64())).to_pylist()
        )


def test_ids_of_other_fields_are_other_sources(tmp_path, vectors):
    numbers = {"ra_deg": np.full(30, 10.0), "dec_deg": np.arange(30) / 60}
    here = written(tmp_path / "a.parquet", vectors[:30], **numbers)
    there = written(tmp_path / "b.parquet", vectors[30:60], ra_deg=np.full(30, 80.0), dec_deg=numbers["dec_deg"])
    again = written(tmp_path / "c.parquet", vectors[:30], ra_deg=numbers["ra_deg"], dec_deg=numbers["dec_deg"] + 1e-4)
    assert build_index([here, there], tmp_path / "i").added == 60
    done = build_index([here, again, there], tmp_path / "i")  # 0.36 arcsec away is the same source
    assert (done.added, done.skipped, done.total) == (0, 90, 60)
    without = written(tmp_path / "d.parquet", vectors[:31])  # a position may be missing: then ids decide
    assert build_index([without], tmp_path / "i").added == 1


def test_only_what_may_hold_an_id_is_read_when_more_is_added(tmp_path, vectors, monkeypatch):
    monkeypatch.setattr(index_building, "_ROW_GROUP", 10)
    names = [f"c{row:05d}" for row in range(600)]
    build_index([written(tmp_path / "a.parquet", vectors[:200], cutout_id=names[:200])], tmp_path / "i")
    read = []
    opened = index_building.open_parquet

    def watched(path, **options):
        file = opened(path, **options)
        batches = file.iter_batches

        def iter_batches(*arguments, row_groups, **more):
            read.append(row_groups)
            return batches(*arguments, row_groups=row_groups, **more)

        file.iter_batches = iter_batches
        return file

    monkeypatch.setattr(index_building, "open_parquet", watched)
    for first, count, known in ((37, 2, 2), (195, 10, 5), (500, 3, 0), (0, 200, 200)):
        more = written(tmp_path / "b.parquet", vectors[:count], cutout_id=names[first : first + count])
        read.clear()
        assert build_index([more], tmp_path / "i").skipped == known
        assert len(read[0]) == -(-known // 10)


# In memory ------------------------------------------------------------------------------------------------------------


def test_many_vectors_in_memory_are_sorted_into_clusters(vectors):
    index = VectorIndex.from_features(vectors, exact_up_to=1000)
    assert (index.kind, len(index)) == ("ivf-flat", 3000)
    _, order = brute_force(vectors[:200], vectors, 10)
    similarities, rows = index.search(vectors[:200], 10)
    np.testing.assert_array_equal(rows[:, 0], order[:, 0])
    np.testing.assert_allclose(similarities[:, 0], 1, atol=1e-6)  # a copy of itself is told from the next
    assert np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(order, rows, strict=True)]) >= 0.97
    np.testing.assert_allclose(index.vectors([7, 2000]), unit(vectors)[[7, 2000]], atol=1e-7)


@pytest.mark.parametrize(("kind", "dtype"), [("flat", np.float32), ("flat-fp16", np.float16)])
def test_the_vectors_of_an_index_are_not_copied(vectors, kind, dtype):
    counts = []
    index = VectorIndex.from_batches([vectors[:1000], vectors[1000:]], DIMENSION, kind, counts.append)
    assert counts == [1000, 3000]
    assert index.array.dtype == dtype
    np.testing.assert_allclose(index.array, unit(vectors), atol=1e-3)
