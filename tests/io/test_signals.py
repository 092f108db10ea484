"""Signals end a command with one line, a fitting status and nothing half-written."""

import os
import signal
import subprocess
import sys
import time

import pytest

from radiossl.io.signals import Stopped, raising_on_signals

#: Long enough that the signal comes in the middle.
SLOW = """
import sys, time
import radiossl.survey.simulation as simulation
from radiossl.io.files import atomic_folder
from radiossl.io.locks import only_writer

def slow(*arguments, **options):
    with only_writer({out!r}), atomic_folder({out!r}) as folder:
        (folder / "half").touch()
        print("started", flush=True)
        time.sleep(60)

simulation.simulate_survey = slow
from radiossl.cli.main import main
main(["simulate", {out!r}])
"""


def heard():
    """Hear the signals that whoever started the tests may have had ignored, as nohup does."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_ends_a_command_in_order(tmp_path, number):
    out = str(tmp_path / "out")
    command = [sys.executable, "-c", SLOW.format(out=out)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    assert started.stdout.readline() == "started\n"
    started.send_signal(number)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 128 + number
    assert said == f"radiossl: stopped by {'Ctrl-C' if number == signal.SIGINT else number.name}\n"
    assert list(tmp_path.iterdir()) == []


def test_cutting_says_how_to_continue(tmp_path):
    survey, store = tmp_path / "sky", tmp_path / "store"
    command = [sys.executable, "-m", "radiossl"]
    simulate = ["simulate", survey, "--tiles", "2", "--size", "512", "--sources", "30"]
    subprocess.run([*command, *map(str, simulate)], check=True, capture_output=True)
    cut = [*command, "cutouts", "blind", survey, "--out", store, "--size", "32", "--overlap", "0.9"]
    started = subprocess.Popen(list(map(str, cut)), stderr=subprocess.PIPE, text=True)
    while not (store / "store.partial.json").exists():
        assert started.poll() is None
        time.sleep(0.01)
    started.terminate()
    _, said = started.communicate(timeout=60)
    assert said == "radiossl: stopped by SIGTERM; run the same command again to continue\n"
    assert started.returncode == 143
    assert not list(tmp_path.glob(".*"))


def test_handlers_are_given_back_and_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raising_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)  # as under nohup
            with pytest.raises(Stopped) as stopped:
                os.kill(os.getpid(), signal.SIGUSR1)
        assert stopped.value.number == signal.SIGUSR1
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_forked_worker_ends_quietly_by_the_signal():
    with raising_on_signals():
        ready, tell = os.pipe()
        child = os.fork()
        if not child:
            os.write(tell, b"!")  # Python forgets signals that come while it forks
            time.sleep(60)
            os._exit(0)
        assert os.read(ready, 1) == b"!"
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
