"""How many processor cores to work on."""

from __future__ import annotations

import os


def cores() -> int:
    """Return how many cores this process may use, which a cluster or `taskset` may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return how many threads to compute on: `OMP_NUM_THREADS`, as torch does, or else one for each of the `cores`."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # for nested parts there are several
    return int(asked) if asked.isdecimal() and int(asked) > 0 else cores()
