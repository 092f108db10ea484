"""Several programs that rate at the same time: how many of the ratings that they saved are in the file afterwards.

    python benchmarks/rating_writers.py [--seconds 200] [--explorers 1] [--adders 1] [--kill] [--json FILE]

An explorer saves one rating after the other; an adder calls `radiossl rate add`'s function with tables of five. Each
notes what was saved once the call has returned. With --kill, one of them at a time is killed and started again.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import print_facts
from radiossl.ratings.records import read_ratings

_EXPLORER = """
import sys
from radiossl.ratings.journal import RatingsFile
path, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
import time
until, number = time.monotonic() + seconds, 0
kept, said = RatingsFile(path, name), open(path + "." + name, "a")
while time.monotonic() < until:
    number += 1
    kept.add(f"{name}-{number}", 1 + number % 5)
    print(f"{name}-{number}", file=said, flush=True)
"""
_ADDER = """
import sys, time
from radiossl.ratings.journal import add_ratings
path, name, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
until, number, filled = time.monotonic() + seconds, 0, path + "." + name + ".csv"
said = open(path + "." + name, "a")
while time.monotonic() < until:
    ids = [f"{name}-{number + step}" for step in range(5)]
    number += 5
    open(filled, "w").write("cutout_id,rating\\n" + "".join(f"{one},3\\n" for one in ids))
    assert add_ratings(path, filled, who=name) == 5
    print("\\n".join(ids), file=said, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=200)
    parser.add_argument("--explorers", type=int, default=1)
    parser.add_argument("--adders", type=int, default=1)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.csv"
        until, kills, started = time.monotonic() + given.seconds, 0, 0

        def start(code: str) -> subprocess.Popen[bytes]:
            nonlocal started
            started += 1
            left = str(max(0.0, until - time.monotonic()))
            return subprocess.Popen([sys.executable, "-c", code, str(path), f"writer{started}", left])

        codes = [_EXPLORER] * given.explorers + [_ADDER] * given.adders
        running = [start(code) for code in codes]
        while time.monotonic() < until:
            time.sleep(min(2.0, max(0.0, until - time.monotonic())))
            if given.kill and time.monotonic() < until - 3:
                one = random.randrange(len(running))
                running[one].kill()
                running[one].wait()
                running[one] = start(codes[one])
                kills += 1
        failed = sum(process.wait() != 0 for process in running)
        saved = [line for file in path.parent.glob("*.writer*") if file.suffix != ".csv" for line in file.open()]
        kept = set(read_ratings(path)["cutout_id"])
        lost = [name.strip() for name in saved if name.strip() not in kept]
        half = sum(line.count(",") != 4 for line in path.read_text().splitlines())
    facts = {"seconds": given.seconds, "writers": len(codes), "kills": kills, "failed": failed, "saved": len(saved)}
    print_facts(facts | {"lost": len(lost), "half_rows": half}, given.json)
    sys.exit(bool(lost or half or failed))


if __name__ == "__main__":
    main()
