"""Options that several commands share, each with one spelling, one meaning and one default.

The default is given with the command: ``seed: Seed = 0``, ``device: Device = "auto"``, ``neighbours: Neighbours = 10``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from radiossl.io.errors import check_choice

if TYPE_CHECKING:
    from radiossl.weights.backbone import Backbone


def set_option(example: str) -> Any:
    """Return the option `--set` of a command whose settings have a schema; see `radiossl.io.settings.apply_settings`.

    Used as ``changes: Annotated[list[str] | None, set_option("optimizer.lr=0.1")] = None``.
    """
    return Option("--set", metavar="KEY=VALUE", help=f"Change a setting, such as {example}; repeatable.")


Seed = Annotated[int, Option("--seed", min=0, max=2**32 - 1, help="Random seed.")]
Device = Annotated[str, Option("--device", help="Where to compute: auto (a GPU if there is one), cpu or cuda.")]
Neighbours = Annotated[int, Option("--neighbours", "-k", min=1, help="Number of nearest neighbours.")]
Workers = Annotated[int, Option("--workers", min=1, help="Number of processes on this machine.")]
Label = Annotated[str | None, Option("--label", metavar="COLUMN", help="Column with the classes.")]
Where = Annotated[str | None, Option(metavar="EXPRESSION", help="Only rows that meet this, such as 'las_arcsec > 20'.")]
Group = Annotated[list[str] | None, Option(help="Join label values as one: NAME=VALUE,VALUE...; repeatable.")]
GroupingName = Annotated[str | None, Option(help="Join label values by a built-in grouping or YAML file.")]
Delimiter = Annotated[str | None, Option("--delimiter", help="Column separator: a character, tab or space.")]
Encoding = Annotated[str | None, Option("--encoding", help="Encoding of a text file, such as latin-1.")]
TableOption = Annotated[str | None, Option("--table", help="Table to read, of several in a file: name or number.")]
Mosaics = Annotated[list[Path] | None, Option("--mosaics", help="FITS mosaics to cut a catalogue's sources from.")]
Store = Annotated[list[Path] | None, Option(help="Where the images are now, if they have moved: store or folder.")]
Scheduler = Annotated[str | None, Option(metavar="ADDRESS", help="Dask scheduler, such as tcp://node1:8786.")]
BoxSize = Annotated[int | None, Option("--size", min=1, help="Side of a box in pixels (default: 1.5 x the extent).")]
Tta = Annotated[str | None, Option(help="d4: average over 8 rotations and flips; or none (default: the backbone's).")]
Field = Annotated[int | None, Option(min=8, help="Use only the central N x N pixels (default: the backbone's).")]
Readout = Annotated[
    str | None, Option(help="last: output of the last stage; wide: of all; joined: both (default: the backbone's).")
]
Whiten = Annotated[int | None, Option(min=0, help="Whiten to this many components; 0: none (default: the backbone's).")]


def adapt(
    backbone: Backbone, tta: str | None, field: int | None, readout: str | None = None, whiten: int | None = None
) -> Backbone:
    """Return the backbone as `--tta`, `--field`, `--readout` and `--whiten` want it."""
    changes: dict[str, Any] = {}
    if tta is not None:
        check_choice("--tta", tta, ("d4", "none"))
        changes["views"] = 8 if tta == "d4" else 1
    if field is not None:
        changes["field_px"] = field
    backbone = backbone.adapted(**changes) if changes else backbone
    return backbone if readout is None and whiten is None else backbone.with_readout(readout, whiten)
