"""Writing side by side, one process at a time; full disks; and what is left of processes that were killed."""

import errno
import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from radiossl.io.errors import DiskFullError, RadiosslError
from radiossl.io.files import atomic_file, atomic_folder, existing_file, path_list, remove_strays
from radiossl.io.locks import only_writer

HOLD = """
import sys, time
from radiossl.io.locks import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "out"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_writer_is_refused_and_told_who_holds_it(tmp_path, holder):
    message = rf"out: another radiossl process is writing it \(process {holder.pid} on "
    with pytest.raises(RadiosslError, match=message), only_writer(tmp_path / "out"):
        pass
    with only_writer(tmp_path / "other"):
        pass


def test_a_killed_holder_frees_it(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with only_writer(tmp_path / "out"):
        assert (tmp_path / ".out.lock").exists()
    assert not (tmp_path / ".out.lock").exists()


def test_a_failure_frees_it(tmp_path):
    with pytest.raises(ValueError, match="inside"), only_writer(tmp_path / "out"):
        raise ValueError("inside")
    with only_writer(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_commands_that_write_are_refused(tmp_path, holder, small_store):
    from radiossl.cli.main import main

    for arguments in (
        ["simulate", tmp_path / "sky", "--tiles", "1", "--size", "128", "--sources", "3"],
        ["store", "filter", small_store.paths[0], "--where", "flux > 1", "--out", tmp_path / "out"],
        ["pretrain", "--recipe", "radiossl", "--data", small_store.paths[0], "--out", tmp_path / "out"],
    ):
        try:
            main([str(argument) for argument in arguments])
            status = 0
        except SystemExit as stop:
            status = stop.code
        assert bool(status) == (tmp_path / "out" in arguments)
    assert not (tmp_path / "out").exists()


# Full disks -----------------------------------------------------------------------------------------------------------

LARGE = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)


def _python(path):
    path.write_bytes(LARGE.tobytes())


def _torch(path):
    import torch

    torch.save({"weight": torch.from_numpy(LARGE)}, path)


def _safetensors(path):
    from safetensors.numpy import save_file

    save_file({"weight": LARGE}, path)


def _faiss(path):
    import faiss

    from radiossl.features.stored_index import write_faiss

    index = faiss.IndexFlatIP(30)
    index.add(LARGE[:300, :30])  # 36 kB: the last of it is written on closing
    write_faiss(index, path)


def _parquet(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": LARGE.ravel()}), path)


def _fits(path):
    from astropy.io import fits

    fits.PrimaryHDU(LARGE).writeto(path, overwrite=True)


def _picture(path):
    from PIL import Image

    Image.fromarray((LARGE * 50).astype(np.uint8)).save(path, format="png")


@pytest.fixture
def little_room():
    """No file can grow beyond 32 KiB, as on a full disk, while the test runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**15, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WRITERS = [_python, _torch, _safetensors, _faiss, _parquet, _fits, _picture]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_writer_s_way_of_saying_that_there_is_no_room_is_understood(tmp_path, write, little_room):
    (tmp_path / "out").write_text("as before")
    message = r"^.*/out: cannot be written, it is larger than the system allows"
    with pytest.raises(DiskFullError, match=message), atomic_file(tmp_path / "out") as temporary:
        write(temporary)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out", "as before")]


def test_a_folder_without_room_is_named_as_a_whole(tmp_path, little_room):
    message = r"^.*/out: cannot be written"
    with (
        pytest.raises(DiskFullError, match=message),
        atomic_folder(tmp_path / "out") as folder,
        atomic_file(folder / "large") as temporary,
    ):
        _python(temporary)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("code", "said"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota is used up")])
def test_what_is_missing_is_said(tmp_path, code, said):
    with pytest.raises(DiskFullError, match=said) as refusal, atomic_file(tmp_path / "out"):
        raise OSError(code, os.strerror(code))
    assert str(pickle.loads(pickle.dumps(refusal.value))) == str(refusal.value)


@pytest.mark.parametrize("error", [RuntimeError("other"), OSError(errno.EIO, "other"), RadiosslError("other")])
def test_other_errors_pass_as_they_are(tmp_path, error):
    with pytest.raises(type(error)) as found, atomic_file(tmp_path / "out"):
        raise error
    assert found.value is error
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RadiosslError, match=r"file/out: cannot be written, "), atomic_file(tmp_path / "file" / "out"):
        pass


# What is left ---------------------------------------------------------------------------------------------------------


def test_a_new_holder_removes_what_the_killed_one_left_of_this_name(tmp_path):
    (tmp_path / ".tmp-abcdefgh-out").mkdir()
    (tmp_path / ".tmp-abcdefgh-out" / "half").touch()
    (tmp_path / ".old-12345678-out").touch()
    others = {".tmp-abcdefgh-another-out", ".tmp-abcdefgh-out.csv", "out"}
    for name in others:
        (tmp_path / name).touch()
    with only_writer(tmp_path / "out"):
        assert {path.name for path in tmp_path.iterdir()} == others | {".out.lock"}
    remove_strays(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    remove_strays(tmp_path / "missing")


def test_one_path_needs_no_list():
    assert path_list("a") == ["a"]
    assert path_list(Path("a")) == [Path("a")]
    assert path_list(name for name in "ab") == ["a", "b"]


def test_pipes_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(RadiosslError, match=r"pipe\.csv: is no ordinary file"):
        existing_file(tmp_path / "pipe.csv")
