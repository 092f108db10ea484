"""Writing side by side: one process at a time, and no lock outlives its holder."""

import os
import signal
import subprocess
import sys

import pytest

from radiossl.errors import RadiosslError
from radiossl.files import only_writer

HOLD = """
import sys, time
from radiossl.files import only_writer
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
