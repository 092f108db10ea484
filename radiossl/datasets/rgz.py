"""Radio Galaxy Zoo: the 108,000 unlabelled FIRST images of RGZ108k, and the labelled catalogue of RGZ DR1.

The images are read from pickled batches (Slijepcevic et al. 2024). The catalogue names six morphological classes by
their numbers of components and peaks; its images are cut from FIRST (Riggi et al. 2024, section 3.1).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from radiossl.datasets.batches import TEST, batch_columns, batch_files, batched_reader, missing_batches
from radiossl.datasets.download import checksums
from radiossl.datasets.published import Options, published_set
from radiossl.io.errors import RadiosslError, check_columns
from radiossl.io.files import existing_file
from radiossl.io.tables import read_table
from radiossl.sky.angles import unit_vectors

# RGZ108k --------------------------------------------------------------------------------------------------------------

_J_NAME = re.compile(r"J(\d\d)(\d\d)(\d\d(?:\.\d+)?)([+-])(\d\d)(\d\d)(\d\d(?:\.\d+)?)")


def position_of_name(name: str) -> tuple[float, float]:
    """Return right ascension and declination in degrees of a name such as ``FIRSTJ000242.3-001320``; else NaN, NaN."""
    match = _J_NAME.search(name)
    if match is None:
        return math.nan, math.nan
    ra, dec = degrees_of(*match.groups())
    return (ra, dec) if ra < 360 and abs(dec) <= 90 else (math.nan, math.nan)


def degrees_of(
    hours: str, minutes: str, seconds: str, sign: str, degrees: str, arcminutes: str, arcseconds: str
) -> tuple[float, float]:
    """Return a position in degrees; a minus sign may be any but ``+``."""
    dec = int(degrees) + int(arcminutes) / 60 + float(arcseconds) / 3600
    return 15 * (int(hours) + int(minutes) / 60 + float(seconds) / 3600), dec if sign == "+" else -dec


def _facts(path: Path, batch: dict[str, Any], _: Options) -> Iterator[dict[str, Any]]:
    single = ("filenames", "src_ids", "mb_flag", "LAS")
    # Each is one value per image, written as a column or a row.
    batch |= {name: np.ravel(batch[name]).tolist() for name in single if name in batch}
    rows = zip(*batch_columns(path, batch, *single, "data"), strict=True)
    for number, (name, source_id, overlap, las, _image) in enumerate(rows):
        ra, dec = position_of_name(str(name))
        extra = {
            "source_id": str(source_id),
            "file_name": str(name),
            "las_arcsec": _number(path, number, "LAS", las),
            "mirabest_overlap": _number(path, number, "mb_flag", overlap) != 0,
        }
        cutout_id = f"{path.name}_{number:04d}"
        yield {"cutout_id": cutout_id, "file": str(name), "ra_deg": ra, "dec_deg": dec, "extra": extra}


def _number(path: Path, number: int, column: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RadiosslError(f"{path}: {column} of object {number} is {value!r}, expected a number") from None


def _remarks(source: Path, options: Options) -> list[str]:
    known, present = published_set("rgz108k").checksums, batch_files(source, options)
    changed = [name for name in present if checksums(source / name, ["md5"])["md5"] != known.get(name)]
    remarks = missing_batches(source, options)
    if lacking := known.keys() - {*present, TEST}:
        remarks.append(f"{len(lacking)} of {len(known) - 1} training batches are not in this folder")
    if changed:
        remarks.append(f"{len(changed)} batches are not the published ones by their MD5: {', '.join(changed[:5])}")
    return remarks


READER = batched_reader(_facts, remarks=_remarks)


# The catalogue of DR1 -------------------------------------------------------------------------------------------------

#: Numbers of components and peaks of the classes of Riggi et al. 2024, section 3.1.
CLASSES = {"1C-1P": (1, 1), "1C-2P": (1, 2), "1C-3P": (1, 3), "2C-2P": (2, 2), "2C-3P": (2, 3), "3C-3P": (3, 3)}
_NEEDED = ("catalog_id", "first_id", "num_cpnts", "num_peaks", "cpnts_ras", "cpnts_decs", "ang_extent", "cl")


class RgzOptions(Options):
    """Options of the catalogue of RGZ DR1, see `read_rgz_dr1`; a draw has `train` + `test` sources of every class."""

    min_consensus: float = Field(default=0.6, ge=0, le=1)
    draw: int | None = Field(default=None, ge=0)
    train: int = Field(default=1000, ge=0)
    test: int = Field(default=600, ge=0)
    seed: int = Field(default=0, ge=0, lt=2**32)


def read_rgz_dr1(
    path: str | os.PathLike[str],
    min_consensus: float = 0.6,
    draw: int | None = None,
    per_class: tuple[int, int] = (1000, 600),
    seed: int = 0,
) -> pa.Table:
    """Read the catalogue of RGZ DR1 as sources to be cut from FIRST, with their classes, in the order of the file.

    The file is the table of components as in Wu et al. 2019, one row per source, with positions of the components
    separated by semicolons; the position of a source is their mean. `min_consensus` is the least weighted fraction of
    the volunteers that agree, 0 to 1.

    Riggi et al. 2024 (section 3.1) use a consensus of at least 0.6, six classes, and five random draws of 1,000 sources
    of every class to train on and 600 others to test on (`per_class`): ``draw=0`` to ``draw=4``, with a column
    ``split``; without a draw all sources are returned. Draws of one seed are independent of each other: a source may be
    in the training set of one and the test set of another. Several sources may lie in one image of the project and
    share its ``first_id``; draws do not keep them together.

    Raises `RadiosslError` if the file is not that catalogue, or a class has too few sources for a draw.
    """
    path = existing_file(path)
    table = read_table(path)
    check_columns(_NEEDED, table.column_names, path)
    components, peaks = (_integers(path, table, name) for name in ("num_cpnts", "num_peaks"))
    label_of = {numbers: label for label, numbers in CLASSES.items()}
    labels = [label_of.get(numbers) for numbers in zip(components, peaks, strict=True)]
    consensus = _floats(path, table, "cl")
    kept = [row for row, label in enumerate(labels) if label is not None and consensus[row] >= min_consensus]
    if not kept:
        raise RadiosslError(f"{path}: no source of the six classes has a consensus of {min_consensus}; lower it")
    splits: dict[int, str] = {}
    if draw is not None:
        splits = _balanced_draw(path, {row: str(labels[row]) for row in kept}, draw, per_class, seed)
        kept = sorted(splits)
    texts = [[str(value) for value in table[name].to_pylist()] for name in ("cpnts_ras", "cpnts_decs")]
    positions = np.array([_mean_position(path, row, texts[0][row], texts[1][row], components[row]) for row in kept])
    columns = {
        "catalog_id": table["catalog_id"].take(kept).cast(pa.string()),
        "first_id": table["first_id"].take(kept),
        **{"ra_deg": positions[:, 0], "dec_deg": positions[:, 1]},
        "las_arcsec": _floats(path, table, "ang_extent")[kept],
        "label": [labels[row] for row in kept],
        "n_components": [components[row] for row in kept],
        "n_peaks": [peaks[row] for row in kept],
        "consensus": consensus[kept],
    }
    return pa.table(columns | ({"split": [splits[row] for row in kept]} if splits else {}))


def _balanced_draw(
    path: Path, labels: dict[int, str], draw: int, per_class: tuple[int, int], seed: int
) -> dict[int, str]:
    if draw < 0 or min(per_class) < 0 or sum(per_class) == 0:
        raise RadiosslError(f"draw {draw} of {per_class} sources per class: expected numbers from 0 on, not both 0")
    generator = np.random.default_rng([seed, draw])
    training, testing = per_class
    splits: dict[int, str] = {}
    for label in CLASSES:
        rows = [row for row, other in labels.items() if other == label]
        if len(rows) < training + testing:
            needed = f"a draw of {training} + {testing} needs {training + testing}; lower train, test or min_consensus"
            raise RadiosslError(f"{path}: {len(rows)} sources of class {label}, {needed}")
        chosen = generator.permutation(rows)[: training + testing].tolist()
        splits |= dict.fromkeys(chosen[:training], "train") | dict.fromkeys(chosen[training:], "test")
    return splits


def _mean_position(path: Path, row: int, ras: str, decs: str, count: int) -> tuple[float, float]:
    with suppress(ValueError):
        ra, dec = (np.array(text.split(";"), dtype=float) for text in (ras, decs))
        if len(ra) == len(dec) == count and np.all((np.abs(dec) <= 90) & (ra >= 0) & (ra <= 360)):
            return mean_direction(ra, dec)
    expected = f"expected positions of {count} components in degrees, separated by semicolons"
    raise RadiosslError(f"{path}, row {row + 1}: {expected}")


def mean_direction(
    ra_deg: Sequence[float] | NDArray[Any], dec_deg: Sequence[float] | NDArray[Any]
) -> tuple[float, float]:
    """Return the mean of directions on the sky in degrees, right also across 0 h and near the poles."""
    x, y, z = unit_vectors(np.asarray(ra_deg), np.asarray(dec_deg)).sum(axis=0)
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def _integers(path: Path, table: pa.Table, name: str) -> list[int]:
    values = table[name].to_pylist()
    if not all(isinstance(value, int) for value in values):
        raise RadiosslError(f"{path}: column {name!r} is {table[name].type}, expected whole numbers")
    return values


def _floats(path: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    try:
        return table[name].cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        raise RadiosslError(f"{path}: column {name!r} is {table[name].type}, expected numbers") from None
