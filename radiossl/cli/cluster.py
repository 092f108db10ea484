"""The option by which many machines share the work, as several commands take it."""

from __future__ import annotations

from typing import Annotated

import typer

Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Running Dask scheduler whose workers do the work, such as tcp://node1:8786.",
        show_default=False,
    ),
]
