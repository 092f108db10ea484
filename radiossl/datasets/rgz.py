"""Radio Galaxy Zoo: the 108,000 unlabelled FIRST images of RGZ108k, and the labelled catalogue of RGZ DR1.

The images are read from pickled batches (Slijepcevic et al. 2024). The catalogue names six morphological classes by
their numbers of components and peaks; its images are cut from FIRST (Riggi et al. 2024, section 3.1).
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from radiossl.datasets.mirabest import batch_files, missing_batches
from radiossl.datasets.pickles import batch_columns, batch_image, read_batch
from radiossl.datasets.published import Options, PublishedSet
from radiossl.io.csv_cells import guarded_table
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file, existing_file
from radiossl.io.tables import read_table
from radiossl.store.cutout import Cutout

# RGZ108k --------------------------------------------------------------------------------------------------------------

SIDE = 150
_ARCSEC = 1.8
_J_NAME = re.compile(r"J(\d\d)(\d\d)(\d\d(?:\.\d+)?)([+-])(\d\d)(\d\d)(\d\d(?:\.\d+)?)")

COLUMNS = pa.schema(
    [
        ("source_id", pa.string()),
        ("file_name", pa.string()),
        ("las_arcsec", pa.float64()),
        ("mirabest_overlap", pa.bool_()),
        ("batch", pa.string()),
        ("split", pa.string()),
    ]
)

#: MD5 of data_batch_1 to data_batch_53 as the authors' own reader wants them.
_TRAINING_MD5 = (
    *("3f0c0eefdfafc0c5b373ad82c6cf9e38", "c39657f335fa8957e9e7cfe35b3503fe", "711cb401d9a039ad90ee61f652361a7e"),
    *("2d46b5031e9b8220886124876cb8b426", "8cb6644a59368abddc91af006fd67160", "b523102c655c44e575eb1ccae8af3a56"),
    *("58da5e781a566c331e105799d35b801c", "cdab6dd1245f9e91c2e5efb00212cd04", "20ef83c0c07c033c2a1b6b0e028a342d"),
    *("dd4e59f515b1309bbf80488f7352c2a6", "23d4e845d685c8183b4283277cc5ed72", "7905d89ba2ef1bc722e4d45357cc5562"),
    *("753ce85f565a72fa0c2aaa458a6ea5e0", "4145e21c48163d593eac403fdc259c5d", "713b1f15328e58c210a815affc6d4104"),
    *("bd45f4895bed648f20b2b2fa5d483281", "e8fe6c5f408280bd122b64eb1bbc9ad0", "1b35a3c4da301c7899356f890f8c08af"),
    *("357af43d0c18b448d38f37d1390d194e", "c908a88e9f62975fabf9e2241fe0a02b", "231b1413a2f0c8fda02c496c0b0d9ffb"),
    *("8f1b27f220f5253d18da1a4d7c46cc91", "6008ce450b4a4de0f81407da811e6fbf", "180c351fd32c3b204cac17e2fac7b98d"),
    *("51be04715b303da51cbe3640a164662b", "9cb972ae3069541dc4fa096ea95149eb", "065d888e4b131485f0a54089245849df"),
    *("d0430812428aefaabcec8c4cd8f0a838", "221bdd97fa36d0697deb13e4f708b74f", "81eaec70f17f7ff5f0c7f3fbc9d4060c"),
    *("f6ccddbf6122c0bac8befb7e7d5d386e", "e7cdf96948440478929bc0565d572610", "940d07f47d5d98f4a034d2dbc7937f59"),
    *("a5c97a274671c0536751e1041a05c0a9", "d4dbb71e9e92b61bfde9a2d31dfb6ec8", "208ef8426ce9079d65a215a9b89941bc"),
    *("60d0ca138812e1a8e2d439f5621fa7f6", "b17ff76a0457dc47e331668c34c0e7e6", "28712e629d7a7ceba527ba77184ee9c5"),
    *("a9b575bb7f108e63e4392f5dd1672d31", "3390460da44022c13d24f883556a18eb", "7297ca4b77c6059150f471969ca3827a"),
    *("0d0e610231994ff3663c662f4b960340", "386a2d3472fbd97330bb7b8bb7e0ff2f", "1124b3bbbe0c7f9c14f964c4533bd565"),
    *("18a53af11a51c44632f4ce3c0b012e5c", "05e6a4d27381dcd505e9bea7286929a6", "2c666e471cbd0b547d72bfe0aba04988"),
    *("1fde041df048985818326d4f587126c9", "8f2f127fab28d83b8b9182119db16732", "30b39c698faca92bc1a7c2a68efad3e8"),
    *("e9866820972ed2b23a46bea4cea1afd8", "379b92e4ad1c6128ec09703120a5e77f"),
)
_MD5 = {f"data_batch_{number}": md5 for number, md5 in enumerate(_TRAINING_MD5, start=1)} | {
    "test_batch": "6c42ba92dc3239fd6ab5597b120741a0"
}


def position_of_name(name: str) -> tuple[float, float]:
    """Return right ascension and declination in degrees of a name such as ``FIRSTJ000242.3-001320``; else NaN, NaN."""
    match = _J_NAME.search(name)
    if match is None:
        return math.nan, math.nan
    hours, minutes, seconds, sign, degrees, arcminutes, arcseconds = match.groups()
    ra = 15 * (int(hours) + int(minutes) / 60 + float(seconds) / 3600)
    dec = int(degrees) + int(arcminutes) / 60 + float(arcseconds) / 3600
    return (ra, -dec if sign == "-" else dec) if ra < 360 and dec <= 90 else (math.nan, math.nan)


def _read_part(source: Path, part: str, _: Options) -> Iterator[Cutout]:
    path = source / part
    batch = read_batch(path)
    single = ("filenames", "src_ids", "mb_flag", "LAS")
    # Each is one value per image, written as a column or a row.
    batch |= {name: np.ravel(batch[name]).tolist() for name in single if name in batch}
    rows = zip(*batch_columns(path, batch, "data", *single), strict=True)
    for number, (image, name, source_id, overlap, las) in enumerate(rows):
        ra, dec = position_of_name(str(name))
        yield Cutout(
            cutout_id=f"{part}_{number:04d}",
            pixels=batch_image(path, image, SIDE, number),
            mosaic=str(name).rsplit("/", 1)[-1],
            ra_deg=ra,
            dec_deg=dec,
            x=(SIDE - 1) / 2,
            y=(SIDE - 1) / 2,
            pixel_scale_arcsec=_ARCSEC,
            unit="8-bit",
            extra={
                "source_id": str(source_id),
                "file_name": str(name),
                "las_arcsec": _number(path, number, "LAS", las),
                "mirabest_overlap": _number(path, number, "mb_flag", overlap) != 0,
                "batch": part,
                "split": "test" if part == "test_batch" else "train",
            },
        )


def _number(path: Path, number: int, column: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RadiosslError(f"{path}: {column} of object {number} is {value!r}, expected a number") from None


def _remarks(source: Path, options: Options) -> list[str]:
    files = batch_files(source, options)
    changed = [name for name in files if _md5(source / name) != _MD5.get(name)]
    remarks = missing_batches(source, options)
    if lacking := [name for name in _MD5 if name not in (*files, "test_batch")]:
        remarks.append(f"{len(lacking)} of {len(_TRAINING_MD5)} training batches are not in this folder")
    if changed:
        remarks.append(f"{len(changed)} batches are not the published ones by their MD5: {', '.join(changed[:5])}")
    return remarks


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


RGZ108K = PublishedSet(
    name="rgz108k",
    title="RGZ108k: 108,000 unlabelled FIRST images of Radio Galaxy Zoo for pre-training",
    reference="Slijepcevic et al. 2024, RASTI, arXiv:2305.16127; sources of Wong et al. 2025, MNRAS, arXiv:2412.14502",
    terms="FIRST images for scholarly, educational and private non-commercial use",
    source="the folder of its batches (rgz108k-batches-py)",
    columns=COLUMNS,
    parts=batch_files,
    read=_read_part,
    selections={
        "without-mirabest": "mirabest_overlap == False",
        "byol": "las_arcsec > 20 and mirabest_overlap == False",
    },
    notes=(
        "sources that MiraBest has too are flagged in mirabest_overlap: leave them out (selection without-mirabest) "
        "before pre-training a backbone that MiraBest is to test",
        "the published batches hold some images twice",
        "positions are read from the file names where these have one (FIRSTJhhmmss.s+ddmmss), and are NaN otherwise",
        "the order of the rows is not documented and is left as it is",
        "there is no public address; ask the authors for rgz108k-batches-python.tar.gz "
        "(MD5 3fef587aa2aa3ece3b01b125977ae19d)",
    ),
    remarks=_remarks,
)


# The catalogue of DR1 -------------------------------------------------------------------------------------------------

#: Numbers of components and peaks of the classes of Riggi et al. 2024, section 3.1.
CLASSES = {"1C-1P": (1, 1), "1C-2P": (1, 2), "1C-3P": (1, 3), "2C-2P": (2, 2), "2C-3P": (2, 3), "3C-3P": (3, 3)}
_NEEDED = ("catalog_id", "first_id", "num_cpnts", "num_peaks", "cpnts_ras", "cpnts_decs", "ang_extent", "cl")


class RgzOptions(Options):
    """Options of the catalogue of RGZ DR1; see `read_rgz_dr1`.

    Attributes
    ----------
    min_consensus, draw, seed
        As there.
    train, test
        Sources of every class in a draw.
    """

    min_consensus: float = Field(default=0.6, ge=0, le=1)
    draw: int | None = Field(default=None, ge=0)
    train: int = Field(default=1000, ge=0)
    test: int = Field(default=600, ge=0)
    seed: int = Field(default=0, ge=0)


def write_rgz_catalogue(
    path: str | os.PathLike[str], out: str | os.PathLike[str], options: RgzOptions | None = None
) -> pa.Table:
    """Write `read_rgz_dr1` as a CSV that ``radiossl cutouts sources`` takes; return the table."""
    from pyarrow import csv

    chosen = options or RgzOptions()
    table = read_rgz_dr1(path, chosen.min_consensus, chosen.draw, (chosen.train, chosen.test), chosen.seed)
    with atomic_file(out) as temporary:
        csv.write_csv(guarded_table(table), temporary)
    return table


def read_rgz_dr1(
    path: str | os.PathLike[str],
    min_consensus: float = 0.6,
    draw: int | None = None,
    per_class: tuple[int, int] = (1000, 600),
    seed: int = 0,
) -> pa.Table:
    """Read the catalogue of RGZ DR1 as sources to be cut from FIRST, with their classes.

    Riggi et al. 2024 (section 3.1) use a consensus of at least 0.6, six classes, and five random draws of 1,000 sources
    of every class to train on and 600 others to test on: ``draw=0`` to ``draw=4``. Written with
    `pyarrow.csv.write_csv`, the table is a catalogue for ``radiossl cutouts sources``.

    Parameters
    ----------
    path
        The table of components as in Wu et al. 2019, one row per source; positions of the components are separated by
        semicolons.
    min_consensus
        Least weighted fraction of the volunteers that agree, 0 to 1.
    draw
        Which balanced draw to make; None returns all sources. Draws of one seed are independent of each other: a source
        may be in the training set of one and the test set of another.
    per_class
        How many sources of every class a draw takes for training and for testing.
    seed
        Of the random draws.

    Returns
    -------
    pyarrow.Table
        In the order of the file: catalog_id, first_id, ra_deg, dec_deg (mean of the components), las_arcsec, label,
        n_components, n_peaks, consensus; and split (train, test) if there is a draw.

    Raises
    ------
    RadiosslError
        If the file is not that catalogue, or a class has too few sources for a draw.

    Notes
    -----
    Several sources may lie in one image of the project and share its first_id; draws do not keep them together.
    """
    path = existing_file(path)
    table = read_table(path)
    missing = [name for name in _NEEDED if name not in table.column_names]
    if missing:
        raise RadiosslError(f"{path}: no column {missing[0]!r}; there are {', '.join(table.column_names)}")
    components = _integers(path, table, "num_cpnts")
    peaks = _integers(path, table, "num_peaks")
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
        "ra_deg": positions[:, 0],
        "dec_deg": positions[:, 1],
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
    """Return the split of every row that is drawn."""
    if draw < 0 or min(per_class) < 0 or sum(per_class) == 0:
        raise RadiosslError(f"draw {draw} of {per_class} sources per class: expected numbers from 0 on, not both 0")
    generator = np.random.default_rng([seed, draw])
    training, testing = per_class
    splits: dict[int, str] = {}
    for label in CLASSES:
        rows = [row for row, other in labels.items() if other == label]
        if len(rows) < training + testing:
            raise RadiosslError(
                f"{path}: {len(rows)} sources of class {label}, a draw of {training} + {testing} needs "
                f"{training + testing}; lower train, test or min_consensus"
            )
        chosen = generator.permutation(rows)[: training + testing].tolist()
        splits |= dict.fromkeys(chosen[:training], "train") | dict.fromkeys(chosen[training:], "test")
    return splits


def _mean_position(path: Path, row: int, ras: str, decs: str, count: int) -> tuple[float, float]:
    """Mean of the components' directions, in degrees."""
    try:
        ra, dec = (np.array(text.split(";"), dtype=float) for text in (ras, decs))
        good = len(ra) == len(dec) == count and bool(np.all((np.abs(dec) <= 90) & (ra >= 0) & (ra <= 360)))
    except ValueError:
        good = False
    if not good:
        raise RadiosslError(
            f"{path}, row {row + 1}: expected positions of {count} components in degrees, separated by semicolons"
        )
    return mean_direction(ra, dec)


def mean_direction(
    ra_deg: Sequence[float] | NDArray[Any], dec_deg: Sequence[float] | NDArray[Any]
) -> tuple[float, float]:
    """Return the mean of directions on the sky in degrees, right also across 0 h and near the poles."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    x, y, z = np.cos(dec) @ np.cos(ra), np.cos(dec) @ np.sin(ra), np.sin(dec).sum()
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
