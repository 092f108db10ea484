"""Options that several commands share, each with one spelling, one meaning and one default.

The default stands with the command: ``seed: Seed = 0``, ``device: Device = "auto"``, ``neighbours: Neighbours = 10``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Option


def set_option(example: str) -> Any:
    """Return the option `--set` of a command whose settings have a schema; see `radiossl.io.settings.apply_settings`.

    Used as ``changes: Annotated[list[str] | None, set_option("optimizer.lr=0.1")] = None``.
    """
    return Option("--set", metavar="KEY=VALUE", help=f"Change a setting, such as {example}; repeatable.")


Seed = Annotated[int, Option("--seed", min=0, max=2**32 - 1, help="Random seed.")]
Device = Annotated[str, Option("--device", help="auto, cpu or cuda.")]
Neighbours = Annotated[int, Option("--neighbours", "-k", min=1, help="How many neighbours.")]
Workers = Annotated[int, Option("--workers", min=1, help="Processes of this machine that share the work.")]
Label = Annotated[str | None, Option("--label", metavar="COLUMN", help="Column with the classes.")]
Where = Annotated[
    str | None,
    Option("--where", metavar="EXPRESSION", help="Only rows for which this holds, e.g. 'las_arcsec > 20'."),
]
Group = Annotated[
    list[str] | None, Option("--group", help="NAME=VALUE,VALUE...: values that make up a class; repeatable.")
]
GroupingName = Annotated[
    str | None, Option("--grouping", help="The same from a YAML file, or a grouping of the package.")
]
Delimiter = Annotated[
    str | None,
    Option("--delimiter", help="What separates the columns of a text file: one character, tab or space."),
]
Encoding = Annotated[str | None, Option("--encoding", help="Encoding of a text file, such as latin-1.")]
TableOption = Annotated[str | None, Option("--table", help="Which table of a FITS file or VOTable, by name or number.")]
Mosaics = Annotated[
    list[Path] | None,
    Option("--mosaics", help="FITS files, folders or patterns that show the sources of a catalogue; repeatable."),
]
Store = Annotated[
    list[Path] | None, Option(help="Where the pixels are, if the store has moved; or the images' folder.")
]
Scheduler = Annotated[
    str | None,
    Option(metavar="ADDRESS", help="Running Dask scheduler whose workers do the work, such as tcp://node1:8786."),
]
BoxSize = Annotated[
    int | None,
    Option("--size", min=1, help="With --mosaics: side of the boxes in pixels (default: 1.5 extents)."),
]
