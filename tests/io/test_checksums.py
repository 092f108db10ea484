"""Checksums: a flipped bit is noticed when a file is read, where that is cheap, and by `radiossl verify` anywhere."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest

from radiossl.cli.main import main
from radiossl.features.index_building import build_index
from radiossl.features.table import FeatureTable
from radiossl.io.checksums import ChecksumWriter, verify
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_folder, read_json, write_json
from radiossl.io.parquet import read_parquet, write_parquet
from radiossl.store.derive import filter_store


def flip(file, place=None):
    data = bytearray(file.read_bytes())
    place = random.Random(len(data)).randrange(len(data)) if place is None else place
    data[place] ^= 4
    file.write_bytes(data)


@pytest.fixture
def features(tmp_path):
    columns = pa.table({"cutout_id": [f"c{row}" for row in range(40)], "flux": np.arange(40.0)})
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    FeatureTable(columns, vectors, {"weights_sha256": "0"}).write(tmp_path / "features.parquet")
    return tmp_path / "features.parquet"


def test_sealed_json(tmp_path):
    value = {"size": 224, "names": ["a", "µ"], "nan": float("nan"), "number": 1.1e-30}
    write_json(tmp_path / "a.json", value, seal=True)
    assert read_json(tmp_path / "a.json") == value | {"nan": None}
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(json.dumps(json.loads(text)))  # another layout of the same content
    assert read_json(tmp_path / "a.json")["size"] == 224
    (tmp_path / "a.json").write_text(text.replace("224", "225"))
    with pytest.raises(RadiosslError, match=r"a\.json: is not as it was written"):
        read_json(tmp_path / "a.json")
    assert verify(tmp_path).damaged == {tmp_path / "a.json": "is not as it was written"}


def test_a_folder_called_like_a_json_file_is_named(tmp_path):
    (tmp_path / "config.json").mkdir()
    with pytest.raises(RadiosslError, match=r"config\.json: is a folder, a file was expected"):
        read_json(tmp_path / "config.json")


def test_json_of_a_folder_with_a_manifest_is_checked_when_it_is_read(tmp_path):
    with atomic_folder(tmp_path / "out") as folder:
        write_json(folder / "config.json", {"size": 224})
        (folder / "weights").write_text("1234")
    config = tmp_path / "out" / "config.json"
    assert read_json(config) == {"size": 224}
    config.write_text(config.read_text().replace("224", "192"))
    with pytest.raises(RadiosslError, match=r"config\.json: is not as it was written: .* delete"):
        read_json(config)
    (tmp_path / "out" / ".checksums.json").unlink()
    assert read_json(config) == {"size": 192}
    assert sorted(file.name for file in verify(tmp_path / "out").without) == ["config.json", "weights"]


def test_a_flipped_bit_anywhere_in_a_feature_table_is_noticed(features):
    whole = FeatureTable.read(features)
    original = features.read_bytes()
    for place in range(0, len(original), 23):
        flip(features, place)
        try:
            read = FeatureTable.read(features)
        except RadiosslError:
            assert verify(features).damaged
        else:  # bytes that say nothing, such as statistics and the name of the writer
            np.testing.assert_array_equal(read.features, whole.features)
            assert read.columns.equals(whole.columns)
            assert read.metadata == whole.metadata
            assert verify(features).damaged
        features.write_bytes(original)
    assert verify(features).whole == [features]


def test_a_table_of_version_0_1_is_read_and_said_to_have_no_checksums(tmp_path, capsys):
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "old.parquet")
    assert read_parquet(tmp_path / "old.parquet").column("a").to_pylist() == [1, 2]
    assert verify(tmp_path / "old.parquet").without == [tmp_path / "old.parquet"]
    main_status(["verify", tmp_path / "old.parquet"], 0)
    assert "has no checksums (written by radiossl 0.1" in capsys.readouterr().out


def main_status(arguments, expected):
    try:
        main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    assert status == expected


def test_verify_finds_flips_in_every_file_of_our_folders(tmp_path, features, small_store, capsys):
    filter_store(small_store.paths[0], "flux >= 0", tmp_path / "store")
    build_index([features], tmp_path / "index")
    with atomic_folder(tmp_path / "result") as folder:
        (folder / "figures").mkdir()
        (folder / "figures" / "a.png").write_bytes(b"picture")
        write_json(folder / "metrics.json", {"a": 1})
    main_status(["verify", *(tmp_path / name for name in ("store", "index", "result", "features.parquet"))], 0)
    out = capsys.readouterr().out
    assert out.count("unchanged since written") == 4
    assert "no checksum" not in out
    for name in ("store", "index", "result"):
        for file in sorted(file for file in (tmp_path / name).rglob("*") if file.is_file()):
            original = file.read_bytes()
            flip(file)
            assert file in verify(tmp_path / name).damaged, file
            main_status(["verify", tmp_path / name], 1)
            assert f"{file}: is not as it was written" in capsys.readouterr().err
            file.unlink()
            assert verify(tmp_path / name).whole != [] or file.suffix == ".json"
            file.write_bytes(original)
    (tmp_path / "store" / "data-00000-of-00001.arrow").unlink()
    assert "is missing" in verify(tmp_path / "store").damaged.values()


def test_a_manifest_that_names_files_elsewhere_is_no_way_out(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "out").mkdir()
    write_json(tmp_path / "out" / "m.json", {"checksums": {"../secret": "sha256:0"}}, seal=True)
    assert "outside of the folder" in str(verify(tmp_path / "out").damaged)


def test_nothing_to_verify_is_one_line(tmp_path, capsys):
    main_status(["verify", tmp_path / "nothing"], 1)
    assert "no such file or folder" in capsys.readouterr().err


def test_other_tables_have_checksums_too(tmp_path):
    write_parquet(pa.table({"a": [1.0, 2.0]}), tmp_path / "t.parquet")
    assert verify(tmp_path / "t.parquet").whole == [tmp_path / "t.parquet"]


def test_an_error_in_the_thread_of_a_checksum_ends_the_command(small_store, tmp_path, monkeypatch):
    """Not a store whose checksums are wrong, which only `radiossl verify` would notice."""

    def fail(writer, parts):
        raise MemoryError("no room to hash")

    monkeypatch.setattr(ChecksumWriter, "_update", fail)
    with pytest.raises(MemoryError, match="no room to hash"):
        filter_store(small_store.paths[0], "rms >= 0", tmp_path / "copy")
    assert not (tmp_path / "copy" / "store.json").exists()
