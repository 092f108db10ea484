"""Work in parts: whoever does it, every part is there once, and never made twice."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import radiossl.io.parts as parts_module
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file
from radiossl.io.parts import write_parts


def write(file, job):
    if job == "bad":
        raise RadiosslError("bad.fits: not a FITS file")
    with atomic_file(file) as temporary:
        temporary.write_text(str(job))


def write_after_a_kill(file, job, killed):
    """The first process that comes to part 3 is killed with half of it written."""
    if job == 3 and not killed.exists():
        killed.touch()
        (file.parent / f".tmp-half-{file.name}").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    write(file, job)


def write_elsewhere(file, job):
    """As a worker that does not share the file system."""


def parts_in(folder, count=6):
    return [(folder / f"{number}.txt", number) for number in range(count)]


def content(folder):
    return {file.name: file.read_text() for file in folder.glob("[0-9]*")}


EXPECTED = {f"{number}.txt": str(number) for number in range(6)}


@pytest.fixture(scope="module")
def cluster():
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0", silence_logs=50
    ) as made:
        yield made


def test_parts_that_are_there_are_not_made_again(tmp_path):
    (tmp_path / "2.txt").write_text("as it was")
    write_parts(parts_in(tmp_path), write, "writing")
    assert content(tmp_path) == EXPECTED | {"2.txt": "as it was"}
    write_parts(parts_in(tmp_path), pytest.fail, "writing")  # nothing is left to write


@pytest.mark.slow
def test_a_killed_worker_leaves_the_result_complete(cluster, tmp_path):
    before = {worker.pid for worker in cluster.workers.values()}
    killed = tmp_path / "killed"
    write_parts(
        parts_in(tmp_path), partial(write_after_a_kill, killed=killed), "writing", scheduler=cluster.scheduler_address
    )
    assert killed.exists()
    assert {worker.pid for worker in cluster.workers.values()} != before
    assert content(tmp_path) == EXPECTED


def test_the_message_of_a_worker_arrives(cluster, tmp_path):
    parts = [*parts_in(tmp_path, 2), (tmp_path / "x.txt", "bad")]
    with pytest.raises(RadiosslError, match=r"^bad\.fits: not a FITS file$"):
        write_parts(parts, write, "writing", scheduler=cluster.scheduler_address)


def test_workers_without_the_file_system_are_noticed(cluster, tmp_path):
    with pytest.raises(RadiosslError, match=r"0\.txt: .* must share this folder's file system"):
        write_parts(parts_in(tmp_path), write_elsewhere, "writing", scheduler=cluster.scheduler_address)


def test_processes_of_this_machine(tmp_path):
    write_parts(parts_in(tmp_path), write, "writing", workers=2)
    assert content(tmp_path) == EXPECTED


def test_a_scheduler_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "_CONNECT_SECONDS", 1)
    with pytest.raises(RadiosslError, match=r"--scheduler tcp://127\.0\.0\.1:9: no Dask scheduler answers there"):
        write_parts(parts_in(tmp_path), write, "writing", scheduler="tcp://127.0.0.1:9")


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(RadiosslError, match="--workers 0: expected a whole number of at least 1"):
        write_parts(parts_in(tmp_path), write, "writing", workers=0)


def test_dask_is_imported_only_when_it_is_needed():
    code = "import sys, radiossl.io.parts; sys.exit('dask' in sys.modules or 'distributed' in sys.modules)"
    folder = Path(parts_module.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode == 0
