"""A feature table made in parts is the one made in memory, whoever makes it and however often."""

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table

import radiossl.features.parts as parts_module
from radiossl import RadiosslError
from radiossl.features.embedding import embed
from radiossl.features.feature_file import FeatureFile
from radiossl.features.neighbours import nearest_neighbours
from radiossl.features.parts import _write_part, write_features
from radiossl.features.table import FeatureTable
from radiossl.io.parquet import write_parquet
from radiossl.io.tables import read_table
from radiossl.store.store import open_store
from radiossl.survey.sources import cut_sources
from radiossl.weights.backbone import load_backbone, save_backbone


@pytest.fixture
def backbone(tiny_backbone, tmp_path):
    save_backbone(tmp_path / "weights", tiny_backbone.network, tiny_backbone.config)
    return load_backbone(tmp_path / "weights")


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of five cutouts: 24 are five parts, the last one smaller."""
    monkeypatch.setattr(parts_module, "_PARTS", 5)
    monkeypatch.setattr(parts_module, "_LEAST_ROWS", 1)


def same_table(found, expected):
    """`found` has identity besides, and features to the rounding of other batches."""
    assert found.columns.equals(expected.columns)
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-4, atol=1e-5)
    assert {name: value for name, value in found.metadata.items() if name != "identity"} == expected.metadata


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("partitioned", [False, True])
def test_the_table_is_that_of_memory(small_store, backbone, tmp_path, small_parts, partitioned):
    done = write_features(backbone, small_store, tmp_path / "f", batch_size=3, partitioned=partitioned)
    assert (len(done.table), done.table.dimension, done.parts, done.made) == (24, 512, 5, 5)
    same_table(FeatureTable.read(tmp_path / "f"), embed(backbone, small_store))
    assert names(tmp_path) == ["f", "weights"]
    if partitioned:
        assert names(tmp_path / "f") == [f"part-{number:05d}-of-00005.parquet" for number in range(5)]


def test_a_name_of_another_format_is_refused_with_the_way_to_it(small_store, backbone, tmp_path):
    with pytest.raises(RadiosslError, match=r"f\.npy: features are written as Parquet, such as f\.parquet"):
        write_features(backbone, small_store, tmp_path / "f.npy")
    assert names(tmp_path) == ["weights"]


@pytest.mark.parametrize("ending", ["fits", "vot", "csv"])
def test_a_table_for_other_programs_stands_beside_that_for_us(small_store, backbone, tmp_path, ending):
    out = tmp_path / f"f.{ending}"
    done = write_features(backbone, small_store, out)
    assert (done.table.path, names(tmp_path)) == (tmp_path / "f.parquet", sorted([out.name, "f.parquet", "weights"]))
    found, expected = read_table(out), FeatureTable.read(tmp_path / "f.parquet").columns
    assert found.column("cutout_id").to_pylist() == expected.column("cutout_id").to_pylist()
    np.testing.assert_allclose(found.column("ra_deg"), expected.column("ra_deg"), rtol=1e-15)
    assert write_features(backbone, small_store, out).made == 0  # in its own place
    out.unlink()
    assert (write_features(backbone, small_store, out).made, out.exists()) == (0, True)


def test_what_is_beside_a_table_for_other_programs_is_kept(small_store, backbone, tmp_path):
    write_parquet(pa.table({"flux": [1.0]}), tmp_path / "f.parquet")
    with pytest.raises(RadiosslError, match=r"f\.parquet: "):
        write_features(backbone, small_store, tmp_path / "f.fits")
    assert read_table(tmp_path / "f.parquet").column_names == ["flux"]
    (tmp_path / "g.fits").mkdir()
    with pytest.raises(RadiosslError, match=r"g\.fits: is a folder"):
        write_features(backbone, small_store, tmp_path / "g.fits")
    assert names(tmp_path) == ["f.parquet", "g.fits", "weights"]


@pytest.mark.parametrize("ending", ["fits", "vot", "csv"])
def test_no_table_takes_the_place_of_an_image_or_a_catalogue(small_store, backbone, tmp_path, ending):
    out = tmp_path / f"mine.{ending}"
    if ending == "fits":
        fits.writeto(out, np.ones((20, 20), np.float32))
    else:
        form = {"csv": "ascii.csv", "vot": "votable"}[ending]
        Table({"name": ["features"], "ra": [1.0]}).write(out, format=form)
    before = out.read_bytes()
    with pytest.raises(RadiosslError, match="exists already and is no table of features"):
        write_features(backbone, out if ending == "fits" else small_store, out)
    assert (out.read_bytes(), names(tmp_path)) == (before, sorted([out.name, "weights"]))


def test_other_readers_take_the_folder(small_store, backbone, tmp_path, small_parts):
    write_features(backbone, small_store, tmp_path / "f", partitioned=True)
    frame = pd.read_parquet(tmp_path / "f")
    table = FeatureTable.read(tmp_path / "f")
    assert frame["cutout_id"].tolist() == table.column("cutout_id").tolist()
    np.testing.assert_array_equal(np.stack(frame["features"]), table.features)


@pytest.mark.parametrize("partitioned", [False, True])
def test_the_same_call_again_does_nothing(small_store, backbone, tmp_path, small_parts, partitioned, monkeypatch):
    write_features(backbone, small_store, tmp_path / "f", partitioned=partitioned)
    before = (tmp_path / "f").stat().st_mtime_ns
    monkeypatch.setattr(parts_module, "write_parts", pytest.fail)
    done = write_features(backbone, small_store, tmp_path / "f", partitioned=partitioned)
    assert (len(done.table), done.made) == (24, 0)
    assert (tmp_path / "f").stat().st_mtime_ns == before


def interrupted(number, file, rows, work, identity):
    if rows[0] == number:
        raise KeyboardInterrupt
    _write_part(file, rows, work, identity)


@pytest.mark.parametrize("partitioned", [False, True])
def test_an_interrupted_run_goes_on_where_it_was(
    small_store, backbone, tmp_path, small_parts, monkeypatch, partitioned
):
    with monkeypatch.context() as patch:
        patch.setattr(parts_module, "_write_part", partial(interrupted, 15))
        with pytest.raises(KeyboardInterrupt):
            write_features(backbone, small_store, tmp_path / "f", partitioned=partitioned)
    assert not (tmp_path / "f").exists()
    done = write_features(backbone, small_store, tmp_path / "f", partitioned=partitioned)
    assert (done.parts, done.made) == (5, 2)
    same_table(FeatureTable.read(tmp_path / "f"), embed(backbone, small_store))
    assert names(tmp_path) == ["f", "weights"]


def test_parts_of_other_weights_are_not_used(small_store, backbone, tmp_path, small_parts, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(parts_module, "_write_part", partial(interrupted, 15))
        with pytest.raises(KeyboardInterrupt):
            write_features(backbone, small_store, tmp_path / "f")
    other = backbone.adapted(views=8)
    assert write_features(other, small_store, tmp_path / "f").made == 5
    same_table(FeatureTable.read(tmp_path / "f"), embed(other, small_store))


def test_another_table_is_replaced_in_a_file_and_kept_in_a_folder(small_store, backbone, tmp_path):
    other = backbone.adapted(views=8)
    for name, partitioned in [("file", False), ("folder", True)]:
        write_features(backbone, small_store, tmp_path / name, partitioned=partitioned)
    write_features(other, small_store, tmp_path / "file")
    same_table(FeatureTable.read(tmp_path / "file"), embed(other, small_store))
    with pytest.raises(RadiosslError, match="folder: exists and is not the table of these weights"):
        write_features(other, small_store, tmp_path / "folder", partitioned=True)
    with pytest.raises(RadiosslError, match="folder: is a folder, a Parquet file"):
        write_features(backbone, small_store, tmp_path / "folder")
    same_table(FeatureTable.read(tmp_path / "folder"), embed(backbone, small_store))


def test_image_files(small_store, backbone, tmp_path, small_parts):
    paths = [tmp_path / f"{row}.npy" for row in range(7)]
    for row, path in enumerate(paths):
        np.save(path, small_store.pixels(row))
    assert write_features(backbone, paths, tmp_path / "f").parts == 4
    same_table(FeatureTable.read(tmp_path / "f"), embed(backbone, paths))
    assert write_features(backbone, paths, tmp_path / "f").made == 0
    np.save(paths[3], small_store.pixels(9))
    assert write_features(backbone, paths, tmp_path / "f").made == 4  # a file has changed


def test_what_other_processes_cannot_read_is_refused(small_store, backbone, tiny_backbone, tmp_path):
    with pytest.raises(RadiosslError, match="never saved"):
        write_features(tiny_backbone, small_store, tmp_path / "f")
    with pytest.raises(RadiosslError, match="store filter"):
        write_features(backbone, small_store.select([1, 2]), tmp_path / "f")
    with pytest.raises(RadiosslError, match="no image"):
        write_features(backbone, [], tmp_path / "f")


def test_a_worker_that_finds_other_weights_says_so(small_store, backbone, tmp_path, monkeypatch):
    def elsewhere(file, rows, work, identity):
        _write_part(file, rows, work, "of what another process has found")

    monkeypatch.setattr(parts_module, "_write_part", elsewhere)
    with pytest.raises(RadiosslError, match="a worker finds others there"):
        write_features(backbone, small_store, tmp_path / "f")


# Folders as input -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(small_store, backbone, tmp_path, small_parts):
    write_features(backbone, small_store, tmp_path / "f", partitioned=True)
    return tmp_path / "f"


def test_a_folder_is_read_in_batches_as_a_file_is(folder, tmp_path, monkeypatch):
    import radiossl.features.feature_file as feature_file

    table = FeatureTable.read(folder)
    table.write(tmp_path / "one.parquet")
    monkeypatch.setattr(feature_file, "BATCH_ROWS", 7)
    one, many = FeatureFile(tmp_path / "one.parquet"), FeatureFile(folder)
    assert (len(many), many.dimension, many.batch_count, many.metadata) == (24, 512, 4, table.metadata)
    assert many.columns().equals(table.columns)
    assert [len(batch) for batch in many.batches()] == [7, 7, 7, 3] == [len(batch) for batch in one.batches()]
    np.testing.assert_array_equal(np.concatenate(list(many.batches())), table.features)
    for (columns, vectors), (others, expected) in zip(
        many.batches_with_columns(), one.batches_with_columns(), strict=True
    ):
        assert columns.equals(others)
        np.testing.assert_array_equal(vectors, expected)


def test_a_folder_is_read_by_the_random_forest_from_any_row(folder):
    from radiossl.tables.columns import TableFile

    ids = FeatureTable.read(folder).column("cutout_id").tolist()
    file = TableFile(folder)
    assert (file.rows, file.kind, file.feature_dimension()) == (24, "parquet", 512)
    for start in (0, 4, 5, 12, 23):
        pieces = list(file.pieces(["cutout_id"], 6, start))
        assert pa.concat_tables(pieces).column("cutout_id").to_pylist() == ids[start:]
        assert all(len(piece) == 6 for piece in pieces[:-1])


def test_incomplete_and_mixed_folders_are_refused(folder, tmp_path):
    (folder / "part-00000-of-00007.parquet").write_bytes((folder / "part-00000-of-00005.parquet").read_bytes())
    with pytest.raises(RadiosslError, match=r"f: has parts of more than one table \(of 00005 and of 00007 parts\)"):
        FeatureTable.read(folder)
    (folder / "part-00000-of-00007.parquet").unlink()
    (folder / "part-00004-of-00005.parquet").unlink()
    with pytest.raises(RadiosslError, match=r"f: part-00004-of-00005\.parquet is missing"):
        FeatureFile(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RadiosslError, match="empty: not a feature table"):
        FeatureFile(tmp_path / "empty")


# Many processes -------------------------------------------------------------------------------------------------------


def killed_once(mark, file, rows, work, identity):
    """As `_write_part`; the process that comes to the third part first is killed."""
    if rows[0] == 10 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    _write_part(file, rows, work, identity)


@pytest.mark.slow
def test_a_killed_worker_leaves_the_table_complete_and_without_doubles(
    small_store, backbone, tmp_path, small_parts, monkeypatch
):
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0", silence_logs=50
    ) as cluster:
        with monkeypatch.context() as patch:
            patch.setattr(parts_module, "_write_part", partial(killed_once, tmp_path / "mark"))
            done = write_features(
                backbone, small_store, tmp_path / "f", partitioned=True, scheduler=cluster.scheduler_address
            )
        assert (tmp_path / "mark").exists()
        assert done.made == 5
        again = write_features(
            backbone, small_store, tmp_path / "f", partitioned=True, scheduler=cluster.scheduler_address
        )
    assert again.made == 0
    same_table(FeatureTable.read(tmp_path / "f"), embed(backbone, small_store))
    assert names(tmp_path / "f") == [f"part-{number:05d}-of-00005.parquet" for number in range(5)]


@pytest.mark.slow
def test_bfloat16_is_said_and_leaves_the_neighbours_as_they_are(real_data, tmp_path):
    """kNN decisions of released weights on real images, in both precisions."""
    released = load_backbone(Path(__file__).parents[2] / "checkpoints" / "simclr-first-zoom")
    tiles = sorted((real_data / "first" / "tiles").glob("*.fits*"))[:300]
    cut_sources(tiles, real_data / "first" / "catalogue.csv", tmp_path / "store")
    store = open_store(tmp_path / "store")
    tables = {}
    for bfloat16 in (False, True):
        done = write_features(released, store, tmp_path / f"{bfloat16}.parquet", bfloat16=bfloat16)
        assert done.table.metadata.get("precision") == ("bfloat16" if bfloat16 else None)
        tables[bfloat16] = FeatureTable.read(tmp_path / f"{bfloat16}.parquet").features
    assert not np.array_equal(tables[True], tables[False])
    classes = np.where(store.column("las_arcsec") > np.median(store.column("las_arcsec")), "large", "small")
    halves = ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2)))
    decisions = [
        np.concatenate(
            [nearest_neighbours(features[known], classes[known]).predict(features[asked]) for known, asked in halves]
        )
        for features in tables.values()
    ]
    assert len(set(decisions[0])) == 2
    assert np.mean(decisions[0] == decisions[1]) >= 0.99
