"""The cutout store: what is written is what is read, and nothing half-written is read as whole."""

import json
import math
import warnings

import numpy as np
import pyarrow as pa
import pytest

from radiossl import RadiosslError
from radiossl.io.checksums import sealed
from radiossl.store import packing
from radiossl.store import writing as store_module
from radiossl.store.cutout import Beam, Cutout
from radiossl.store.derive import concat_stores, copy_store, filter_store, join_table
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.statistics import STATISTICS, PixelStatistics
from radiossl.store.store import open_store, store_manifest
from radiossl.store.writing import FinishedStoreError, OtherStoreError, shard_jobs, write_store

EXTRA = pa.schema([("label", pa.string()), ("las_arcsec", pa.float64()), ("island", pa.int64())])
LABELS = ["FRI", "FRII", None]


def make_cutout(index, shape=(9, 7)):
    pixels = np.random.default_rng(index).normal(size=shape).astype(np.float32)
    pixels[0, : index % 3] = np.nan
    extra = {
        "label": LABELS[index % 3],
        "las_arcsec": float(10 * index),
        "island": None if index == 1 else index,
    }
    return Cutout(
        f"c{index}", pixels, "m.fits", 10.0 + index, -5.0, 20.5, 30.5, 1.8, "Jy/beam", Beam(6.0, 5.0, 30.0), extra
    )


def batches_of(job):
    """Cutouts with the numbers in `job`; a job is what one shard is made of."""
    return cutout_batches((make_cutout(index) for index in job), store_schema(EXTRA))


def make_store(path, jobs=((0, 1, 2), (3, 4)), batches=batches_of, **options):
    return write_store(path, list(jobs), batches, store_schema(EXTRA), {"command": "test"}, **options)


def interrupt(path, jobs=((0, 1, 2), (3, 4))):
    """Leave the store that a crash in the last shard leaves."""

    def failing(job):
        if job == jobs[-1]:
            raise KeyboardInterrupt
        return batches_of(job)

    with pytest.raises(KeyboardInterrupt):
        make_store(path, jobs, failing)


def bytes_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# Round trip -----------------------------------------------------------------------------------------------------------


def test_every_value_comes_back(tmp_path):
    make_store(tmp_path / "s")
    store = open_store(tmp_path / "s")
    assert len(store) == 5
    for index in range(5):
        cutout = make_cutout(index)
        row = store.table.slice(index, 1).to_pylist()[0]
        np.testing.assert_array_equal(store.pixels(index), cutout.pixels)
        for name in ("cutout_id", "mosaic", "ra_deg", "dec_deg", "x", "y", "pixel_scale_arcsec", "unit"):
            assert row[name] == getattr(cutout, name)
        assert (row["beam_major_arcsec"], row["beam_minor_arcsec"], row["beam_pa_deg"]) == (6.0, 5.0, 30.0)
        assert {name: row[name] for name in EXTRA.names} == dict(cutout.extra)
        assert row["blank_fraction"] == np.isnan(cutout.pixels).mean()
        np.testing.assert_array_equal(store.statistics[index], PixelStatistics.of(cutout.pixels).as_array())


def test_cutouts_of_differing_size(tmp_path):
    shapes = [(1, 1), (3, 8), (64, 2), (11, 11)]
    cutouts = [make_cutout(index, shape) for index, shape in enumerate(shapes)]
    store = write_store(
        tmp_path / "s", [0], lambda job: cutout_batches(cutouts, store_schema(EXTRA)), store_schema(EXTRA), {}
    )
    np.testing.assert_array_equal(store.shapes, shapes)
    for index, cutout in enumerate(cutouts):
        np.testing.assert_array_equal(store.pixels(index), cutout.pixels)


def test_more_cutouts_than_a_record_batch_holds(tmp_path):
    store = make_store(tmp_path / "s", [tuple(range(150))])
    assert len(store) == 150
    np.testing.assert_array_equal(store.pixels(149), make_cutout(149).pixels)


def test_infinite_pixels_become_blank_and_nan_stays(tmp_path):
    pixels = np.array([[np.inf, -np.inf], [np.nan, 1.0]], np.float32)
    cutout = Cutout("c", pixels, "m", 0.0, 0.0, 0.0, 0.0, math.nan)
    store = write_store(tmp_path / "s", [0], lambda job: cutout_batches([cutout], store_schema()), store_schema(), {})
    np.testing.assert_array_equal(store.pixels(0), [[np.nan, np.nan], [np.nan, 1.0]])
    assert store.column("blank_fraction")[0] == 0.75
    assert math.isnan(store.column("pixel_scale_arcsec")[0])
    assert store.table.column("beam_major_arcsec").null_count == 1


def test_all_blank_cutout_has_nan_statistics(tmp_path):
    cutout = Cutout("c", np.full((3, 3), np.nan, np.float32), "m", 0.0, 0.0, 0.0, 0.0, 1.0)
    store = write_store(tmp_path / "s", [0], lambda job: cutout_batches([cutout], store_schema()), store_schema(), {})
    assert np.isnan(store.statistics).all()


def test_reading_maps_the_file_and_copies_nothing(tmp_path):
    large = (256, 256)
    schema = store_schema(EXTRA)
    write_store(
        tmp_path / "s", [0], lambda job: cutout_batches((make_cutout(i, large) for i in range(8)), schema), schema, {}
    )
    before = pa.total_allocated_bytes()
    store = open_store(tmp_path / "s")
    views = [store.pixels(index) for index in range(8)]
    assert pa.total_allocated_bytes() - before < views[0].nbytes
    assert not any(view.flags.owndata or view.flags.writeable for view in views)
    first = views[0].__array_interface__["data"][0]
    assert store.select([0]).pixels(0).__array_interface__["data"][0] == first


@pytest.mark.slow
def test_writing_with_several_processes_gives_the_same_files(tmp_path):
    make_store(tmp_path / "one")
    make_store(tmp_path / "two", workers=2)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_huggingface_datasets_opens_the_folder(tmp_path):
    datasets = pytest.importorskip("datasets")
    store = make_store(tmp_path / "s", [(0, 1, 2), (), (3, 4)])
    dataset = datasets.load_from_disk(str(tmp_path / "s"))
    assert len(dataset) == 5
    for index, row in enumerate(dataset.with_format("numpy")):
        pixels = np.asarray(row["pixels"], np.float32).reshape(row["height"], row["width"])
        np.testing.assert_array_equal(pixels, store.pixels(index))
    assert dataset["cutout_id"][:] == [f"c{index}" for index in range(5)]


def test_no_temporary_file_is_left(tmp_path):
    make_store(tmp_path / "s")
    names = {file.name for file in (tmp_path / "s").iterdir()}
    shards = {"data-00000-of-00002.arrow", "data-00001-of-00002.arrow"}
    assert names == {"store.json", "state.json", "dataset_info.json"} | shards


# Refusals -------------------------------------------------------------------------------------------------------------


def test_shard_cut_short_is_refused(tmp_path):
    make_store(tmp_path / "s")
    shard = sorted((tmp_path / "s").glob("*.arrow"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(RadiosslError, match=r"data-00001-of-00002\.arrow: .*cut short"):
        open_store(tmp_path / "s")


def test_shard_of_garbage_is_refused(tmp_path):
    make_store(tmp_path / "s")
    shard = sorted((tmp_path / "s").glob("*.arrow"))[0]
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(RadiosslError, match=r"data-00000-of-00002\.arrow: damaged shard"):
        open_store(tmp_path / "s")


@pytest.mark.parametrize("text", [b"mosaic", b"m.fits"])
def test_a_shard_with_damaged_letters_is_refused(tmp_path, text):
    make_store(tmp_path / "s")
    shard = sorted((tmp_path / "s").glob("*.arrow"))[0]
    content = shard.read_bytes()
    assert text in content
    shard.write_bytes(content.replace(text, text[:2] + b"\xe5" + text[3:]))
    with pytest.raises(RadiosslError, match=r"data-00000-of-00002\.arrow: damaged shard"):
        open_store(tmp_path / "s")


def test_deleted_shard_is_refused(tmp_path):
    make_store(tmp_path / "s")
    next((tmp_path / "s").glob("*.arrow")).unlink()
    with pytest.raises(RadiosslError, match="missing from the store"):
        open_store(tmp_path / "s")


def test_interrupted_store_is_refused_with_what_to_do(tmp_path):
    interrupt(tmp_path / "s")
    with pytest.raises(RadiosslError, match=r"interrupted .* run the same command again"):
        open_store(tmp_path / "s")


def test_same_job_completes_an_interrupted_store_identically(tmp_path):
    interrupt(tmp_path / "s")
    first = tmp_path / "s" / "data-00000-of-00002.arrow"
    written = first.stat().st_mtime_ns
    make_store(tmp_path / "s")
    make_store(tmp_path / "whole")
    assert first.stat().st_mtime_ns == written
    assert bytes_of(tmp_path / "s") == bytes_of(tmp_path / "whole")


def test_completing_a_store_removes_what_a_killed_run_left(tmp_path):
    interrupt(tmp_path / "s")
    (tmp_path / "s" / ".tmp-abcdefgh-data-00001-of-00002.arrow").write_bytes(b"half")
    make_store(tmp_path / "s")
    make_store(tmp_path / "whole")
    assert bytes_of(tmp_path / "s") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("change", ["jobs", "provenance", "schema"])
def test_other_job_is_refused_on_an_interrupted_store(tmp_path, change):
    interrupt(tmp_path / "s")
    jobs = [(0, 1, 2), (3, 5 if change == "jobs" else 4)]
    provenance = {"command": "other" if change == "provenance" else "test"}
    schema = store_schema(None if change == "schema" else EXTRA)
    with pytest.raises(RadiosslError, match="unfinished store of another command"):
        write_store(tmp_path / "s", jobs, batches_of, schema, provenance)


def test_finished_store_is_not_overwritten(tmp_path):
    make_store(tmp_path / "s")
    before = bytes_of(tmp_path / "s")
    with pytest.raises(FinishedStoreError, match="finished store already"):
        make_store(tmp_path / "s")
    with pytest.raises(RadiosslError, match="finished store already") as caught:
        make_store(tmp_path / "s", [(0, 1)])
    assert caught.type is OtherStoreError
    assert bytes_of(tmp_path / "s") == before


@pytest.mark.parametrize("jobs", [[(0, 1, 2), (3, 1)], [(0, 0)]])
def test_two_cutouts_of_one_id_are_refused(tmp_path, jobs):
    with pytest.raises(RadiosslError, match=rf"s: cutout id 'c{jobs[-1][-1]}' occurs more than once"):
        make_store(tmp_path / "s", jobs)
    assert not (tmp_path / "s").exists()


def test_folder_of_other_things_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RadiosslError, match="not empty and not a cutout store"):
        make_store(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_file_in_the_place_of_the_store_is_refused(tmp_path):
    (tmp_path / "s").write_text("")
    with pytest.raises(RadiosslError, match="is a file"):
        make_store(tmp_path / "s")


def test_store_of_a_newer_version_is_refused(tmp_path):
    make_store(tmp_path / "s")
    manifest = json.loads((tmp_path / "s" / "store.json").read_text())
    manifest |= {"version": 99, "radiossl_version": "7.0"}
    (tmp_path / "s" / "store.json").write_text(json.dumps(sealed(manifest)))
    with pytest.raises(RadiosslError, match=r"newer radiossl \(7\.0\)"):
        open_store(tmp_path / "s")


@pytest.mark.parametrize(
    "shards", ["x", ["x"], [{"file": "../elsewhere", "rows": 1, "bytes": 1}], [{"file": "x"}], None]
)
def test_a_manifest_whose_content_is_none_is_refused(tmp_path, shards):
    make_store(tmp_path / "s")
    manifest = json.loads((tmp_path / "s" / "store.json").read_text())
    del manifest["checksum"], manifest["checksums"]
    (tmp_path / "s" / "store.json").write_text(json.dumps(manifest | {"shards": shards}))
    with pytest.raises(RadiosslError, match=r"store\.json: damaged, make the store again: shards"):
        open_store(tmp_path / "s")


def test_a_shard_with_two_columns_of_one_name_is_refused(tmp_path):
    make_store(tmp_path / "s")
    shard = sorted((tmp_path / "s").glob("*.arrow"))[0]
    content = shard.read_bytes()
    assert b"height" in content
    shard.write_bytes(content.replace(b"height", b"mosaic"))
    with pytest.raises(RadiosslError, match=r"data-00000-of-00002\.arrow: damaged shard"):
        open_store(tmp_path / "s")


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "other"}'])
def test_damaged_or_foreign_manifest_is_refused(tmp_path, content):
    make_store(tmp_path / "s")
    (tmp_path / "s" / "store.json").write_text(content)
    with pytest.raises(RadiosslError, match=r"store\.json: not "):
        open_store(tmp_path / "s")


def test_missing_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(RadiosslError, match="no such cutout store"):
        open_store(tmp_path / "nowhere")
    with pytest.raises(RadiosslError, match="not a cutout store"):
        open_store(tmp_path)
    with pytest.raises(RadiosslError, match="no cutout store was given"):
        open_store()


def test_empty_selection_leaves_no_store(tmp_path):
    with pytest.raises(RadiosslError, match="no cutout passed the selection"):
        make_store(tmp_path / "s", [(), ()])
    assert not (tmp_path / "s").exists()


def test_column_of_the_store_s_own_is_refused():
    with pytest.raises(RadiosslError, match="'rms' is one of the store's own"):
        store_schema(pa.schema([("rms", pa.float64())]))


# Access ---------------------------------------------------------------------------------------------------------------


def test_columns_have_nan_for_missing_numbers(tmp_path):
    store = make_store(tmp_path / "s")
    np.testing.assert_array_equal(store.column("island"), [0, np.nan, 2, 3, 4])
    with pytest.raises(RadiosslError, match="no column 'colour'; there are cutout_id, height"):
        store.column("colour")


def test_select_by_rows_and_by_mask(tmp_path):
    store = make_store(tmp_path / "s")
    chosen = store.select([4, 1])
    assert chosen.column("cutout_id").tolist() == ["c4", "c1"]
    np.testing.assert_array_equal(chosen.pixels(0), make_cutout(4).pixels)
    mask = store.column("las_arcsec") > 25
    assert store.select(mask).column("cutout_id").tolist() == ["c3", "c4"]
    assert len(store.select(np.zeros(5, bool))) == 0
    with pytest.raises(RadiosslError, match="mask of 2 entries for a store of 5"):
        store.select(np.array([True, False]))


def test_index_of(tmp_path):
    store = make_store(tmp_path / "s")
    assert store.index_of("c3") == 3
    with pytest.raises(RadiosslError, match="no cutout with id 'c9'"):
        store.index_of("c9")


def test_several_stores_open_as_one(tmp_path):
    make_store(tmp_path / "a", [(0, 1)])
    plain = Cutout("p", np.ones((2, 2), np.float32), "m", 0.0, 0.0, 0.0, 0.0, 1.0)
    write_store(tmp_path / "b", [0], lambda job: cutout_batches([plain], store_schema()), store_schema(), {})
    both = open_store(tmp_path / "a", tmp_path / "b")
    assert both.column("cutout_id").tolist() == ["c0", "c1", "p"]
    assert both.table.column("label").to_pylist() == ["FRI", "FRII", None]
    np.testing.assert_array_equal(both.pixels(2), plain.pixels)


def test_stores_with_columns_of_different_types_are_refused(tmp_path):
    make_store(tmp_path / "a", [(0, 1)])
    schema = store_schema(pa.schema([("las_arcsec", pa.string())]))
    cutout = Cutout("p", np.ones((2, 2), np.float32), "m", 0.0, 0.0, 0.0, 0.0, 1.0, extra={"las_arcsec": "big"})
    write_store(tmp_path / "b", [0], lambda job: cutout_batches([cutout], schema), schema, {})
    with pytest.raises(RadiosslError, match="columns of different types"):
        open_store(tmp_path / "a", tmp_path / "b")


def test_shard_jobs_group_by_size(monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_BYTES", 400)
    assert shard_jobs([("a", 60), ("b", 40), ("c", 1), ("d", 500), ("e", 1)]) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert shard_jobs([]) == []


# Stores from stores ---------------------------------------------------------------------------------------------------


def test_filter_keeps_pixels_statistics_and_provenance(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "BATCH_ROWS", 2)  # several batches and, with the next line, several shards
    monkeypatch.setattr(store_module, "SHARD_BYTES", 3 * 4 * 63)
    source = make_store(tmp_path / "s", [tuple(range(8)), (8, 9)])
    result = filter_store(tmp_path / "s", "las_arcsec > 15 and label != 'FRII'", tmp_path / "f")
    kept = [index for index in range(10) if index > 1 and index % 3 != 1]
    assert result.column("cutout_id").tolist() == [f"c{index}" for index in kept]
    assert len(list((tmp_path / "f").glob("*.arrow"))) == 2
    for row, index in enumerate(kept):
        np.testing.assert_array_equal(result.pixels(row), source.pixels(index))
    np.testing.assert_array_equal(result.statistics, source.statistics[kept])
    assert result.table.schema == source.table.schema
    provenance = store_manifest(tmp_path / "f")["provenance"]
    assert provenance["where"] == "las_arcsec > 15 and label != 'FRII'"
    assert provenance["parents"] == [{"command": "test"}]


def test_copy_of_cutouts_of_differing_size(tmp_path):
    cutouts = [make_cutout(index, (3 + index, 5)) for index in range(4)]
    schema = store_schema(EXTRA)
    source = write_store(tmp_path / "s", [0], lambda job: cutout_batches(cutouts, schema), schema, {})
    copy = copy_store(source.select([3, 0]), tmp_path / "c", {})
    np.testing.assert_array_equal(copy.pixels(0), cutouts[3].pixels)
    np.testing.assert_array_equal(copy.pixels(1), cutouts[0].pixels)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("las_arcsec >", "invalid syntax"),
        ("colour > 2", "'colour' is not defined; columns are cutout_id"),
        ("las_arcsec", "must be true or false for every cutout, got float64"),
        ("label", "must be true or false"),
        ("1 > 0", r"of shape \(\)"),
        ("@__import__('os')", "where"),
        ("label > 3", "where"),
    ],
)
def test_filter_with_a_bad_expression_is_refused(tmp_path, where, message):
    make_store(tmp_path / "s")
    with pytest.raises(RadiosslError, match=message):
        filter_store(tmp_path / "s", where, tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_filter_that_leaves_nothing_writes_nothing(tmp_path):
    make_store(tmp_path / "s")
    with pytest.raises(RadiosslError, match="no cutout is left"):
        filter_store(tmp_path / "s", "las_arcsec > 1e9", tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_missing_values_hold_in_no_expression(tmp_path):
    make_store(tmp_path / "s")
    flags = pa.table({"cutout_id": ["c0", "c1", "c2"], "good": [True, False, None]})
    store, _ = join_table(tmp_path / "s", flags, "cutout_id", tmp_path / "j")
    assert store.where("good").column("cutout_id").tolist() == ["c0"]
    assert store.where("island >= 0").column("cutout_id").tolist() == ["c0", "c2", "c3", "c4"]


def test_concat_keeps_everything_in_order(tmp_path):
    make_store(tmp_path / "a", [(0, 1)])
    make_store(tmp_path / "b", [(3, 2)])
    store = concat_stores([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert store.column("cutout_id").tolist() == ["c0", "c1", "c3", "c2"]
    np.testing.assert_array_equal(store.pixels(3), make_cutout(2).pixels)
    assert store_manifest(tmp_path / "c")["provenance"]["parents"] == [{"command": "test"}] * 2


def test_concat_with_clashing_ids_is_refused(tmp_path):
    make_store(tmp_path / "a", [(0, 1)])
    make_store(tmp_path / "b", [(1, 2)])
    with pytest.raises(RadiosslError, match="cutout id 'c1' occurs more than once"):
        concat_stores([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_join_adds_columns_and_nulls(tmp_path):
    make_store(tmp_path / "s")
    table = pa.table({"cutout_id": ["c4", "c0", "zz"], "z": [0.4, 0.1, 9.0], "kind": ["x", None, "y"]})
    store, matched = join_table(tmp_path / "s", table, "cutout_id", tmp_path / "j", table_name="t.csv")
    assert matched == 2
    np.testing.assert_array_equal(store.column("z"), [0.1, np.nan, np.nan, np.nan, 0.4])
    assert store.table.column("kind").to_pylist() == [None, None, None, None, "x"]
    np.testing.assert_array_equal(store.pixels(4), make_cutout(4).pixels)
    provenance = store_manifest(tmp_path / "j")["provenance"]
    assert (provenance["table"], provenance["columns"]) == ("t.csv", ["z", "kind"])


def test_join_on_whole_numbers_stored_as_floats_and_never_on_missing_ones(tmp_path):
    make_store(tmp_path / "s")  # island is 0, missing, 2, 3, 4
    table = pa.table({"island": [2.0, 4.0, None, None], "z": [0.2, 0.4, 7.0, 8.0]})
    store, matched = join_table(tmp_path / "s", table, "island", tmp_path / "j")
    assert matched == 2
    np.testing.assert_array_equal(store.column("z"), [np.nan, np.nan, 0.2, np.nan, 0.4])


@pytest.mark.parametrize(
    ("table", "on", "message"),
    [
        ({"cutout_id": ["c0"], "z": [1]}, "id", "the table: no column 'id'; there are cutout_id, z"),
        ({"id": ["c0"], "z": [1]}, "id", "no column 'id'; there are cutout_id, height"),
        ({"cutout_id": ["c0"], "label": ["a"]}, "cutout_id", "'label' is in the store already"),
        ({"cutout_id": ["c0"], "rms": [1.0]}, "cutout_id", "'rms' is one of the store's own"),
        ({"cutout_id": ["c0", "c0"], "z": [1, 2]}, "cutout_id", "has 'c0' more than once"),
        ({"cutout_id": ["C0"], "z": [1]}, "cutout_id", "no value of column 'cutout_id' occurs in"),
    ],
)
def test_join_refusals(tmp_path, table, on, message):
    make_store(tmp_path / "s")
    with pytest.raises(RadiosslError, match=message):
        join_table(tmp_path / "s", pa.table(table), on, tmp_path / "j")
    assert not (tmp_path / "j").exists()


def test_statistics_columns_are_in_order(tmp_path):
    store = make_store(tmp_path / "s")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for position, name in enumerate(STATISTICS):
            np.testing.assert_array_equal(store.statistics[:, position], store.column(name))


def test_cutouts_of_one_id_are_told_apart_by_their_positions(tmp_path, sky):
    schema = store_schema()
    cutouts = [Cutout(name, sky(row), "m", ra, 0.0, 0, 0, 1.8) for row, (name, ra) in enumerate(REPEATED)]
    for name, field in (("s", cutouts[:2]), ("t", cutouts[2:])):
        write_store(tmp_path / name, [field], lambda job: cutout_batches(job, schema), schema, {"command": "x"})
    store = open_store(tmp_path / "s", tmp_path / "t")
    chosen = store.select_ids(["0", "1", "0"], [80.0, 10.1, 10.0], [0.0, 0.0, 0.0])
    for row, expected in enumerate([2, 1, 0]):
        np.testing.assert_array_equal(chosen.pixels(row), cutouts[expected].pixels)
    in_order = store.select_ids(["0", "1", "0", "1"])
    np.testing.assert_array_equal(in_order.pixels(2), cutouts[2].pixels)
    with pytest.raises(RadiosslError, match="2 cutouts have the id '0', and it is not clear which"):
        store.select_ids(["0", "0", "0"])


REPEATED = [("0", 10.0), ("1", 10.1), ("0", 80.0), ("1", 80.1)]
