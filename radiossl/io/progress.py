"""Progress bars, for anything that can take more than two seconds, and the log beside them.

They are shown on standard error if it is a terminal, and below the cell of a notebook.
"""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID

Item = TypeVar("Item")
Verbosity = Literal["quiet", "normal", "verbose"]

#: What `--verbose` shows; programs that use the package can listen too.
logger = logging.getLogger("radiossl")
_quiet = False
#: Seconds between the states of a bar in a notebook.
_EVERY_S = 0.25


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


def announce(line: str) -> None:
    """Say on standard error what a command will do, before it loads what takes seconds; nothing with `--quiet`."""
    if not _quiet:
        print(f"radiossl: {line}", file=sys.stderr, flush=True)


def _one_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """How a warning looks on the command line: without the place in the code that it comes from."""
    return f"radiossl: warning: {' '.join(str(message).split())}\n"


def in_notebook() -> bool:
    """Return whether this is a kernel of Jupyter or its kin."""
    from rich.console import Console

    return Console().is_jupyter


def hides_bars(console: Console) -> bool:
    """Return whether progress bars are not shown: neither on a terminal nor in a notebook, or `--quiet`."""
    return _quiet or not (console.is_terminal or console.is_jupyter)


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
    """Show a progress bar in bytes that begins at `start`; yield the function that advances it."""
    from rich.progress import DownloadColumn, TransferSpeedColumn

    with progress_bar(DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task(description, total=total, completed=start)
        yield lambda count: progress.advance(task, count)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Return a progress bar: description, bar, these columns, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    class NotebookProgress(Progress):
        """A bar that is one output of a cell, replaced as it moves; rich's own needs widgets, which stay behind."""

        output: Any = None

        def start(self) -> None:
            self.shown = time.monotonic()

        def update(self, *arguments: Any, **options: Any) -> None:
            from IPython.display import display

            super().update(*arguments, **options)
            if self.disable or time.monotonic() - self.shown < _EVERY_S:
                return
            if self.output is None:  # what is quick needs no bar
                self.output = display(self, display_id=True)
            self.stop()

        def advance(self, task_id: TaskID, advance: float = 1) -> None:
            self.update(task_id, advance=advance)

        def stop(self) -> None:
            if self.output is not None:
                self.output.update(self)
                self.shown = time.monotonic()

    console, text = Console(stderr=True), TextColumn("{task.description}", markup=False)
    kind = NotebookProgress if console.is_jupyter else Progress
    shown = text, BarColumn(), *columns, TimeRemainingColumn()
    return kind(*shown, console=console, disable=hides_bars(console), auto_refresh=not console.is_jupyter)
