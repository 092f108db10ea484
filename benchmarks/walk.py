"""How far a reader has to walk through the package to follow one command.

    python benchmarks/walk.py anomalies FEATURES.parquet --out DIR
    python benchmarks/walk.py search FEATURES.parquet --query s001 --out DIR

The command runs once under `sys.setprofile`. Every pair of a calling and a called function of the package counts once,
at its first call: a file is entered when a function of another file is called. ``files``: different files entered.
``jumps``: calls into another file. ``returns``: those into a file that was entered before. ``climbs``: those into a
room that comes later in the house than the caller's. The files are printed in the order of their first visit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import radiossl
from radiossl.cli.main import main

ROOMS = [
    *("io", "sky", "store", "survey", "datasets", "images", "weights", "features", "pretraining", "report"),
    *("evaluation", "similarity", "duplicates", "maps", "anomalies", "ratings", "detection", "tables"),
    *("explorer", "cli"),
]
PACKAGE = str(Path(radiossl.__file__).parent) + "/"


def walk(arguments: list[str]) -> tuple[dict[str, int], list[str]]:
    """Run a command; return the counts, and the files in the order of their first visit."""
    seen: set[tuple[str, str, str, str]] = set()
    visited: list[str] = []
    counts = dict.fromkeys(("files", "jumps", "returns", "climbs"), 0)

    def place(frame: FrameType | None) -> tuple[str, str] | None:
        """Where a call comes from, past callbacks through other packages; None while a module is imported."""
        found = None
        while frame is not None:
            name = frame.f_code.co_filename
            if name.startswith(PACKAGE):
                if frame.f_code.co_name == "<module>":
                    return None
                found = found or (name.removeprefix(PACKAGE), frame.f_code.co_name)
            frame = frame.f_back
        return found

    def profile(frame: FrameType, event: str, _: Any) -> None:
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(PACKAGE) or frame.f_code.co_name == "<module>":
            return
        to, origin = (name.removeprefix(PACKAGE), frame.f_code.co_name), place(frame.f_back)
        if origin is None or origin[0] == to[0] or (*origin, *to) in seen:
            return
        seen.add((*origin, *to))
        counts["jumps"] += 1
        counts["returns"] += to[0] in visited
        counts["climbs"] += _storey(to[0]) > _storey(origin[0])
        if to[0] not in visited:
            visited.append(to[0])

    sys.setprofile(profile)
    try:
        main(arguments)
    except SystemExit as stop:
        if stop.code:
            raise
    finally:
        sys.setprofile(None)
    return counts | {"files": len(visited)}, visited


def _storey(file: str) -> int:
    room = file.partition("/")[0]
    return ROOMS.index(room) if room in ROOMS else -1


if __name__ == "__main__":
    found, files = walk(sys.argv[1:])
    print("  ".join(f"{name} {count}" for name, count in found.items()))
    print("\n".join(files))
