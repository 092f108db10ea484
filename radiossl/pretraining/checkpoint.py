"""Stopping a training so that it can be resumed: its checkpoint, and Ctrl-C and SIGTERM between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from radiossl.io.errors import RadiosslError, reason_of
from radiossl.io.signals import STOP_SIGNALS, Stopped
from radiossl.pretraining.distributed import ProcessGroup

#: Where a run folder has it.
CHECKPOINT = Path("checkpoints") / "last.ckpt"


@contextmanager
def open_checkpoint(file: Path, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield what a checkpoint holds; raise `RadiosslError` if it is damaged, or not what the body takes from it."""
    try:
        yield torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        problem = f"{type(error).__name__}: {reason_of(error)[:200]}"
        raise RadiosslError(f"{file}: damaged checkpoint ({problem}); start the run again") from None


class StopRequest:
    """While entered, Ctrl-C and SIGTERM only ask for a stop, so that no step is left half done; a second insists.

    Not so where several processes train: SLURM tells them and torchrun, which passes it on to them again.
    """

    def __init__(self, processes: ProcessGroup) -> None:
        self.requested, self.alone = False, processes.size == 1
        self.number: int = signal.SIGINT
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, *STOP_SIGNALS)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        if self.requested and self.alone:
            raise self.error()
        self.requested = True

    def error(self) -> Stopped:
        """Return what is to be raised once all is saved."""
        return Stopped(self.number)
