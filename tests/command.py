"""The command line in the tests' own process."""

from __future__ import annotations

from typing import Any

from radiossl.cli.main import main


def run(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    """Run a command; return its exit status, and what it printed on standard output and standard error."""
    status: Any = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        status = stop.code or 0
    printed = capsys.readouterr()
    return status, printed.out, printed.err
