"""Locks: only one that is held means held; waiting for one; file systems without any."""

import errno
import fcntl
import os
import subprocess
import sys
import time

import pytest

from radiossl.io import locks
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file, atomic_folder, remove_strays
from radiossl.io.locks import only_writer

HOLD = """
import sys, time
from radiossl.io.locks import only_writer
with only_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""
WRITE = """
import sys, time
from radiossl.io.files import atomic_file, atomic_folder
with {what}(sys.argv[1]) as temporary:
    print("writing", flush=True)
    time.sleep(60)
"""


def process(code, *arguments):
    started = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert started.stdout.readline()
    return started


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF])
def test_without_locks_work_goes_on_with_a_warning(tmp_path, monkeypatch, number):
    def refuse(handle, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="out: this file system has no locks"), only_writer(tmp_path / "out"):
        (tmp_path / "out").write_text("done")
    with atomic_file(tmp_path / "out") as temporary:
        temporary.write_text("again")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out", "again")]


def test_a_lock_can_be_waited_for(tmp_path):
    holder = process(HOLD, tmp_path / "out", 1.0)
    with pytest.raises(RadiosslError, match="another radiossl process"), only_writer(tmp_path / "out"):
        pass
    with only_writer(tmp_path / "out", wait_s=30):
        assert holder.wait() == 0
    holder = process(HOLD, tmp_path / "out", 60)
    begin = time.monotonic()
    with (
        pytest.raises(RadiosslError, match=f"process {holder.pid} on"),
        only_writer(tmp_path / "out", wait_s=0.3),
    ):
        pass
    assert 0.3 <= time.monotonic() - begin < 20
    holder.kill()
    holder.wait()


@pytest.mark.parametrize("what", ["atomic_file", "atomic_folder"])
def test_what_a_living_process_writes_stays_and_what_a_killed_one_wrote_goes(tmp_path, what):
    writer = process(WRITE.format(what=what), tmp_path / "out")
    remove_strays(tmp_path)
    assert len(list(tmp_path.glob(".tmp-*"))) == 1
    writer.kill()
    writer.wait()
    remove_strays(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_first_file_written_into_a_folder_removes_strays_of_any_name_and_age(tmp_path):
    writer = process(WRITE.format(what="atomic_file"), tmp_path / "other")
    for name in ("a", "b"):
        stray = tmp_path / f".tmp-12345678-{name}"
        stray.mkdir() if name == "a" else stray.touch()
    with atomic_folder(tmp_path / "out", checksums=False):
        pass
    kept = {file.name for file in tmp_path.iterdir()} - {"out"}
    assert len(kept) == 1
    assert kept.pop().endswith("-other")  # whose process lives
    writer.kill()
    writer.wait()


def test_a_file_taken_for_a_stray_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    lock = locks.try_lock
    monkeypatch.setattr(
        locks, "try_lock", lambda handle: [monkeypatch.undo(), remove_strays(tmp_path)] and lock(handle)
    )
    with atomic_file(tmp_path / "out") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "out").read_text() == "whole"
