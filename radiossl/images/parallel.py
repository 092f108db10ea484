"""Working on several images side by side on a CPU.

Element-wise steps on single images are too short to be worth sharing among threads. Whole images are not: each thread
takes its own and computes on one core.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Barrier
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_cores(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the results of `function` for all items, computed on as many cores as torch has threads."""
    threads = torch.get_num_threads()
    if threads == 1 or len(items) < 2:
        return [function(item) for item in items]
    return list(_pool(threads).map(function, items))


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Make the worker threads, each of which computes on one core."""
    pool, ready = ThreadPoolExecutor(threads), Barrier(threads)

    def begin(_: int) -> None:
        torch.set_num_threads(1)
        ready.wait()

    list(pool.map(begin, range(threads)))
    # The number is a thread's own where it counts, but is also kept for the whole process; that one is put back.
    torch.set_num_threads(threads)
    return pool
