"""How many threads compute."""

import os
import subprocess
import sys

import pytest

from radiossl.io.cores import cores, threads


@pytest.mark.parametrize(("asked", "expected"), [("3", 3), ("5,2", 5), (" 1 ", 1)])
def test_omp_num_threads_is_followed(monkeypatch, asked, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads() == expected


@pytest.mark.parametrize("asked", [None, "", "0", "-1", "many"])
def test_otherwise_there_is_one_thread_for_each_core(monkeypatch, asked):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads() == cores() >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no limits on the cores of a process here")
def test_cores_are_those_that_the_process_may_use():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); from radiossl.io.cores import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
