"""Progress bars on standard error, for anything that can take more than two seconds, and the log beside them."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

Item = TypeVar("Item")
Verbosity = Literal["quiet", "normal", "verbose"]

#: What `--verbose` shows; programs that use the package can listen too.
logger = logging.getLogger("radiossl")
_quiet = False


def set_verbosity(verbosity: Verbosity) -> None:
    """Say more (steps and files, as log messages on standard error) or less (no bars, no warnings)."""
    global _quiet
    _quiet = verbosity == "quiet"
    warnings.formatwarning = _one_line
    if _quiet:
        warnings.simplefilter("ignore")
    elif verbosity == "verbose":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """How a warning looks on the command line: without the place in the code that it comes from."""
    return f"radiossl: warning: {' '.join(str(message).split())}\n"


def hides_bars(console: Console) -> bool:
    """Return whether progress bars are not shown: not on a terminal, or `--quiet`."""
    return _quiet or not console.is_terminal


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield `items` behind a progress bar; `total` says how many there are, if they have no length."""
    from rich.progress import MofNCompleteColumn, TimeElapsedColumn

    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress_bar(MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        begin = time.monotonic()
        logger.info("%s%s", description, "" if total is None else f": {total}")
        yield from progress.track(items, total=total, description=description)
        logger.info("%s: done after %.1f s", description, time.monotonic() - begin)


@contextmanager
def track_bytes(description: str, total: int | None = None, start: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a progress bar in bytes, `start` of them there before; yield the function that moves it on by so many."""
    from rich.progress import DownloadColumn, TransferSpeedColumn

    with progress_bar(DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task(description, total=total, completed=start)
        yield lambda count: progress.advance(task, count)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Return a progress bar: description, bar, these columns, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console, text = Console(stderr=True), TextColumn("{task.description}", markup=False)
    return Progress(text, BarColumn(), *columns, TimeRemainingColumn(), console=console, disable=hides_bars(console))
