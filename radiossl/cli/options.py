"""Options that several commands share, each with one spelling, one meaning and one default.

The default stands with the command: ``seed: Seed = 0``, ``device: Device = "auto"``, ``neighbours: Neighbours = 10``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def set_option(example: str) -> Any:
    """Return the option `--set` of a command whose settings have a schema; see `radiossl.io.settings.apply_settings`.

    Used as ``changes: Annotated[list[str] | None, set_option("optimizer.lr=0.1")] = None``.
    """
    return typer.Option("--set", metavar="KEY=VALUE", help=f"Change a setting, such as {example}; repeatable.")


Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Random seed.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Neighbours = Annotated[int, typer.Option("--neighbours", "-k", min=1, help="How many neighbours.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Processes of this machine that share the work.")]
Label = Annotated[str | None, typer.Option("--label", metavar="COLUMN", help="Column with the classes.")]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="EXPRESSION", help="Only rows for which this holds, e.g. 'las_arcsec > 20'."),
]
Group = Annotated[
    list[str] | None, typer.Option("--group", help="NAME=VALUE,VALUE...: values that make up a class; repeatable.")
]
GroupingName = Annotated[
    str | None, typer.Option("--grouping", help="The same from a YAML file, or one of the package's groupings.")
]
Delimiter = Annotated[
    str | None,
    typer.Option("--delimiter", help="What separates the columns of a text file: one character, tab or space."),
]
Encoding = Annotated[str | None, typer.Option("--encoding", help="Encoding of a text file, such as latin-1.")]
TableOption = Annotated[
    str | None, typer.Option("--table", help="Which table of a FITS file or VOTable, by name or number.")
]
Mosaics = Annotated[
    list[Path] | None,
    typer.Option("--mosaics", help="FITS files, folders or patterns that show the sources of a catalogue; repeatable."),
]
Store = Annotated[
    list[Path] | None, typer.Option(help="Where the pixels are, if the store has moved; or the images' folder.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Running Dask scheduler whose workers do the work, such as tcp://node1:8786."),
]
BoxSize = Annotated[
    int | None,
    typer.Option("--size", min=1, help="With --mosaics: side of the boxes in pixels (default: 1.5 extents)."),
]
