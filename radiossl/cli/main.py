"""The `radiossl` command: one app, one way to fail."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer import Option
from typer.core import TyperGroup

import radiossl
from radiossl.cli import cutouts, datasets, detect, evaluate, rate, store, table, weights
from radiossl.cli.anomalies import anomalies
from radiossl.cli.duplicates import duplicates
from radiossl.cli.embed import embed, export, send
from radiossl.cli.evaluate import benchmark
from radiossl.cli.explore import explore
from radiossl.cli.map import feature_map
from radiossl.cli.pretrain import pretrain, recipes, views
from radiossl.cli.report import report, verify
from radiossl.cli.run import run, simulate
from radiossl.cli.search import index, search
from radiossl.io.errors import RadiosslError
from radiossl.io.extras import missing_extra
from radiossl.io.progress import set_verbosity
from radiossl.io.signals import raising_on_signals, stop_number


class _Interrupted(Exception):
    """A command was stopped by a signal; no `KeyboardInterrupt`, which Typer would take for itself."""

    def __init__(self, reason: KeyboardInterrupt) -> None:
        super().__init__()
        self.reason = reason


class _Commands(TyperGroup):
    def make_context(self, *arguments: Any, **options: Any) -> Any:
        return self._own_interrupts(super().make_context, *arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        return self._own_interrupts(super().invoke, ctx)

    @staticmethod
    def _own_interrupts(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, **options)
        except KeyboardInterrupt as error:
            raise _Interrupted(error) from error


app = typer.Typer(
    cls=_Commands,
    name="radiossl",
    help="Self-supervised learning for radio images: survey mosaics -> cutouts -> backbone -> features -> discoveries.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_COMMANDS: tuple[Callable[..., None], ...] = (
    *(run, simulate, recipes, views, pretrain, embed, export, send, index, search, duplicates, anomalies),
    *(explore, benchmark, report, verify),
)
for command in _COMMANDS:
    app.command()(command)
app.command("map")(feature_map)
for group in (cutouts, datasets, store, evaluate, rate, detect, table, weights):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])

#: Characters of an error, which may quote from a damaged file.
_LONGEST_LINE = 1500


def _version(show: bool) -> None:
    if show:
        typer.echo(f"radiossl {radiossl.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, Option("--debug", help="Show the traceback of an error.")] = False,
    verbose: Annotated[bool, Option("--verbose", help="Print each step.")] = False,
    quiet: Annotated[bool, Option("--quiet", help="No progress bars and no warnings.")] = False,
    version: Annotated[
        bool, Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if verbose and quiet:
        raise RadiosslError("--verbose and --quiet: give one of them")
    set_verbosity("verbose" if verbose else "quiet" if quiet else "normal")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a mistake of the user's ends in one line on standard error and exit status 1.

    So does a refusal of the system's, such as that of a file which may not be read. Ctrl-C, SIGTERM, SIGUSR1 and
    SIGHUP end with one line too, and status 128 + the signal's number.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with raising_on_signals():
            app([_expanded(argument) for argument in arguments], prog_name="radiossl")
    except (RadiosslError, OSError, ModuleNotFoundError, UnicodeEncodeError, _Interrupted) as error:
        if "--debug" in arguments:
            raise
        if isinstance(error, _Interrupted):
            number = stop_number(error.reason)
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            text, status = f"stopped by {name}", 128 + number
            notes = getattr(error.reason, "__notes__", [])
        else:
            text, status, notes = f"error: {_one_line(error)}", 1, getattr(error, "__notes__", [])
        typer.echo(f"radiossl: {'; '.join([text, *notes])}", err=True)
        sys.exit(status)


def _expanded(argument: str) -> str:
    """Return an argument with ``~`` as the home folder, which no shell does in ``--out=~/x``.

    Raises `RadiosslError` if it is empty, or not UTF-8, as names of files from old systems.
    """
    name, value = re.fullmatch(r"(--[\w-]+=)?(.*)", argument, re.DOTALL).groups("")  # type: ignore[union-attr]
    if not value:
        where = name.rstrip("=") or "an argument"
        raise RadiosslError(f"{where}: is empty; is it a variable of the shell that is not set?")
    if not value.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise RadiosslError(f"{ascii(os.fsencode(value))[2:-1]}: has letters that are not UTF-8; rename the file")
    if re.match(r"~(/|$)", value):
        value = os.path.expanduser(value)  # noqa: PTH111 (pathlib's raises where there is no home)
    return name + value


def _one_line(error: RadiosslError | OSError | ModuleNotFoundError | UnicodeEncodeError) -> str:
    if isinstance(error, UnicodeEncodeError):  # Arrow takes no other names, and a terminal may not print them
        return f"{ascii(error.object)[1:-1][:200]}: cannot be written as {error.encoding}; rename the file"
    if isinstance(error, ModuleNotFoundError):
        error = missing_extra(error.name or "")
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    return text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}…"


if __name__ == "__main__":
    main()
