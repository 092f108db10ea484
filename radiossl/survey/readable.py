"""Which mosaics of a survey can be read at all: one damaged file among a thousand must not stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track
from radiossl.survey.mosaic import Mosaic

OnError = Literal["stop", "skip"]


def readable_mosaics(paths: Sequence[Path], on_error: OnError) -> tuple[list[Path], dict[Path, str]]:
    """Tell readable mosaics from damaged ones.

    Parameters
    ----------
    paths
        FITS files.
    on_error
        ``stop`` takes all as readable: whoever reads them meets the damage. ``skip`` reads every pixel of every one
        first, so that what is planned afterwards can be carried out.

    Returns
    -------
    readable
        In the order given.
    damaged
        What is wrong with each of the others.

    Raises
    ------
    RadiosslError
        If `on_error` is neither, or none can be read.
    """
    if on_error not in get_args(OnError):
        raise RadiosslError(f"--on-error {on_error}: expected {' or '.join(get_args(OnError))}")
    if on_error == "stop":
        return list(paths), {}
    readable, damaged = [], {}
    for path in track(paths, "checking mosaics"):
        try:
            with Mosaic.open(path) as mosaic:
                for _ in mosaic.read_boxes(mosaic.bands()):
                    pass
            readable.append(path)
        except RadiosslError as error:
            damaged[path] = str(error)
    if not readable:
        raise RadiosslError(f"none of {len(paths)} mosaic(s) can be read; the first: {next(iter(damaged.values()))}")
    return readable, damaged
