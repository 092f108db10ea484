"""Signals of people and batch systems: Ctrl-C, SIGTERM, SIGUSR1 and SIGHUP end a command in order.

They raise in the main thread where it is, so that what is being written is withdrawn, locks are given back and what is
finished stays; `main` then prints one line and ends with status 128 + the signal's number.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Those that ask a command to stop, beside Ctrl-C; not all systems have all of them.
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """A signal, known by its number, has asked for a stop."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = int(number)


def stop_number(error: BaseException) -> int:
    """Return the number of the signal behind a `KeyboardInterrupt`."""
    return error.number if isinstance(error, Stopped) else int(signal.SIGINT)


@contextmanager
def raising_on_signals() -> Iterator[None]:
    """Raise `Stopped` where a stop signal comes, as Python does for Ctrl-C; a signal that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers nowhere else
        yield
        return
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a forked worker, which its parent ends
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        raise Stopped(number)

    before = {
        number: signal.signal(number, stop) for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def on_stop(note: str) -> Iterator[None]:
    """Add a note to the line that a stopped command prints, such as how to continue."""
    try:
        yield
    except KeyboardInterrupt as error:
        if note not in getattr(error, "__notes__", []):
            error.add_note(note)
        raise
