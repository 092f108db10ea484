"""The explorer as people start it: a process of its own."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import radiossl


@contextmanager
def running(arguments, folder, port=None):
    """`radiossl explore` with these arguments, in a folder; yields (address, process), and ends it as Ctrl-C does."""
    port = str(port or free_port())
    command = [sys.executable, "-m", "radiossl.cli.main", "explore", *arguments, "--no-browser", "--port", port]
    home = str(Path(radiossl.__file__).parents[1])
    environment = os.environ | {"XDG_STATE_HOME": str(Path(folder) / "state"), "PYTHONPATH": home}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    told = []
    try:
        for line in process.stdout:
            told.append(line)
            if line.startswith("http://"):
                break
        else:
            raise AssertionError(f"explore ended with {process.wait()}: {''.join(told)}")
        yield line.strip(), process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def free_port():
    """A port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
