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

import numpy as np
import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def empty(*shape: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return a new float32 tensor, not filled.

    On a CPU its memory is numpy's, which asks Linux for pages of 2 MB where they help. torch does not, and the first
    touch of each of its pages of 4 kB, a microsecond or two, costs more than some kernels.
    """
    if torch.device(device).type != "cpu":
        return torch.empty(shape, device=device)
    return torch.from_numpy(np.empty(shape, np.float32))


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
