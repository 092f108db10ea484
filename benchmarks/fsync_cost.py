"""What waiting for the disk costs: the time of `fsync` as a share of commands on inputs of usual size.

    python benchmarks/fsync_cost.py [--tiles 2] [--json FILE]

Mosaics of 2,048 x 2,048 pixels are simulated, cut, embedded and searched for anomalies. The commands run in one
process, in which everything is imported already: with the imports the shares would be smaller.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from measuring import print_facts
from radiossl.cli.main import main as radiossl

_fsync = os.fsync
_waits: list[float] = []


def _timed(handle: int) -> None:
    begin = time.perf_counter()
    _fsync(handle)
    _waits.append(time.perf_counter() - begin)


def measured(*arguments: object) -> tuple[float, float, int]:
    """Run a command; return its seconds, those of them in `fsync`, and how often that was called."""
    _waits.clear()
    begin = time.perf_counter()
    with suppress(SystemExit):
        radiossl(list(map(str, arguments)))
    return time.perf_counter() - begin, sum(_waits), len(_waits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.fsync = _timed
    facts: dict[str, str] = {}
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
        for name, arguments in commands.items():
            seconds, waited, calls = measured(*arguments)
            facts[name] = f"{100 * waited / seconds:.2f} % of {seconds:.1f} s, {calls} calls"
    print_facts(facts, options.json)


if __name__ == "__main__":
    main()
