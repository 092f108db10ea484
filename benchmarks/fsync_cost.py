"""What waiting for the disk costs: the time of `fsync` as a share of commands on inputs of usual size.

    python benchmarks/fsync_cost.py [--tiles 2] [--json FILE]

Mosaics of 2,048 x 2,048 pixels are simulated, cut, embedded and searched for anomalies, each by a command in a process
of its own, imports included. The share is that of processor time and waiting together, which does not become smaller
where other programs take the processors.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import print_facts

#: Runs a command, with a clock around `os.fsync`; its last line says how long each call of it was.
PROGRAM = """
import atexit, os, sys, time
waits, fsync = [], os.fsync
def timed(handle):
    begin = time.perf_counter()
    fsync(handle)
    waits.append(time.perf_counter() - begin)
os.fsync = timed
atexit.register(lambda: print(waits))
from radiossl.cli.main import main
main(sys.argv[1:])
"""


def measured(*arguments: object) -> str:
    """Run a command; return the share of its seconds in `fsync`, and how often that was called."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    waits = json.loads(output.splitlines()[-1])
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime + sum(waits)
    return f"{100 * sum(waits) / seconds:.2f} % of {seconds:.1f} s, {len(waits)} calls, {1000 * sum(waits):.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sky, store, table = root / "sky", root / "store", root / "features.parquet"
        commands = {
            "simulate": ["simulate", sky, "--tiles", options.tiles],
            "cutouts blind": ["cutouts", "blind", sky, "--workers", 1, "--out", root / "blind"],
            "cutouts sources": ["cutouts", "sources", sky, "--catalogue", sky / "truth.csv", "--out", store],
            "embed": ["embed", "simclr-first-zoom", store, "--device", "cpu", "--out", table],
            "anomalies": ["anomalies", table, "--out", root / "anomalies"],
        }
        print_facts({name: measured(*arguments) for name, arguments in commands.items()}, options.json)


if __name__ == "__main__":
    main()
