"""What the folder of a backbone says of it, without the seconds that torch takes to load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, read_json

CONFIG_FILE = "config.json"


def backbone_name(path: PathLike) -> str:
    """Return what a backbone is called: by its folder, or by the run that this is in.

    >>> backbone_name("checkpoints/simclr-first-zoom"), backbone_name("mine/run3/backbone")
    ('simclr-first-zoom', 'run3')
    """
    path = Path(path)
    return path.absolute().parent.name if path.name == "backbone" else path.name


def described(folder: Path) -> dict[str, Any]:
    """Return the section ``radiossl`` of a backbone's `config.json`; raise `RadiosslError` if it has none."""
    raw = read_json(folder / CONFIG_FILE)
    ours = raw.get("radiossl") if isinstance(raw, dict) else None
    if not isinstance(ours, dict):
        raise RadiosslError(f"{folder / CONFIG_FILE}: has no 'radiossl' section; not a backbone written by radiossl")
    return ours
