"""What the benchmarks share: timing in turns with a baseline, a process of its own for memory, tables and JSON."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """One line of the table: seconds per image of ours and of the baseline, and how many times faster ours is."""

    name: str
    goal: float | None
    baseline_s: float
    ours_s: float
    ratio: float
    ratios: list[float]


def measure(
    name: str,
    baseline: Callable[[], object],
    ours: Callable[[], object],
    images: int,
    repeats: int,
    goal: float | None = None,
    baseline_images: int | None = None,
) -> Ratio:
    """Time both in turns; the ratio is the median over the turns, since a busy machine slows both alike."""
    baseline(), ours()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        baseline()
        middle = time.perf_counter()
        ours()
        end = time.perf_counter()
        times.append(((middle - start) / (baseline_images or images), (end - middle) / images))
    ratios = [theirs / own for theirs, own in times]
    theirs, own = (statistics.median(column) for column in zip(*times, strict=True))
    row = Ratio(name, goal, theirs, own, statistics.median(ratios), ratios)
    print(f"{name}: {row.ratio:.2f}", file=sys.stderr, flush=True)
    return row


@dataclass(frozen=True)
class Run:
    """What one call in a process of its own took."""

    seconds: float
    peak_gb: float


def in_child(function: Callable[..., object], *arguments: Any) -> Run:
    """Call a function of a module in a fresh process: its seconds and the peak memory of that process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_run, function, arguments).result()


def _run(function: Callable[..., object], arguments: tuple[Any, ...]) -> Run:
    start = time.perf_counter()
    function(*arguments)
    return Run(time.perf_counter() - start, peak_gb())


def peak_gb() -> float:
    """Largest memory of this process so far."""
    # On Linux, getrusage also counts what the parent had before this process began.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def print_facts(found: dict[str, Any], json_file: Path | None) -> None:
    """Print numbers by name, and write them as JSON if asked to."""
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:{width}s} {value:.4g}" if isinstance(value, float) else f"{name:{width}s} {value}")
    if json_file:
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def print_ratios(rows: Sequence[Ratio], before: Path | None = None) -> None:
    """Print a table; with the JSON of another checkout, its ratios beside these."""
    known = [] if before is None else json.loads(before.read_text())["rows"]
    earlier = {row["name"]: row["ratio"] for row in known if "ratio" in row}  # the others say what memory was taken
    width = max(len(row.name) for row in rows)
    print(f"{'':{width}s} {'baseline':>10s} {'radiossl':>10s} {'ratio':>7s} {'goal':>5s}" + "  before" * bool(earlier))
    for row in rows:
        goal = "" if row.goal is None else f"{row.goal:g}"
        line = (
            f"{row.name:{width}s} {1e3 * row.baseline_s:7.2f} ms {1e3 * row.ours_s:7.2f} ms {row.ratio:7.2f} {goal:>5s}"
        )
        print(line + (f" {earlier[row.name]:7.2f}" if row.name in earlier else ""))


def write_rows(path: Path, rows: Sequence[Any]) -> None:
    """Write rows, dataclasses, with the facts of the machine."""
    import torch  # not where a process measures its memory

    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    path.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
