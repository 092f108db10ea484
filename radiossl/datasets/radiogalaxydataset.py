"""Radio Galaxy Dataset: FIRST images of sources from six catalogues, labelled FRI, FRII, compact or bent.

Griese et al. 2023. Read from the published HDF5 file, one group for each source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from radiossl.datasets.download import Download
from radiossl.datasets.mirabest import parse_name
from radiossl.datasets.published import Options, PublishedSet
from radiossl.io.errors import RadiosslError
from radiossl.io.extras import require
from radiossl.io.files import existing_file
from radiossl.store.cutout import Cutout

if TYPE_CHECKING:
    import h5py

#: Classes of the two labellings, in the order of their numbers.
LABELS = {
    "literature": ("FRI", "FRII", "Compact", "Bent"),
    "cdl1": ("FRI-Sta", "FRII", "Compact", "FRI-WAT", "FRI-NAT"),
}
_IN_FILE = {"literature": "literature", "cdl1": "CDL1"}

#: Sources of the whole set; the test split was published later than the others.
_ALL = 2158
_ARCSEC = 1.8
_PER_PART = 200
#: RA and DEC are rounded to 0.001 degrees; a finer position farther away than that belongs to something else.
_ROUNDING_DEG = 0.00051

_GROUP = re.compile(r"data_(\d+)")
# The catalogues come from different journals: some write a real minus sign, some a blank after the sign.
_SEXAGESIMAL = re.compile(r"(\d+) (\d+) (\d+(?:\.\d*)?) ([+\-−]) ?(\d+) (\d+) (\d+(?:\.\d*)?)")

COLUMNS = pa.schema(
    [
        ("label", pa.string()),
        ("split", pa.string()),
        ("label_literature", pa.string()),
        ("label_literature_code", pa.int64()),
        ("split_literature", pa.string()),
        ("label_cdl1", pa.string()),
        ("label_cdl1_code", pa.int64()),
        ("split_cdl1", pa.string()),
        ("parent", pa.string()),
        ("number", pa.int64()),
        ("redshift", pa.float64()),
        ("las_arcsec", pa.float64()),
    ]
)


class RadioGalaxyOptions(Options):
    """Options of the Radio Galaxy Dataset.

    Attributes
    ----------
    labels
        Which labelling makes the columns ``label`` and ``split``: that of the literature, in four classes, or the
        authors' own, in five.
    """

    labels: Literal["literature", "cdl1"] = "literature"


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    require("h5py")
    import h5py

    path = existing_file(path)
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise RadiosslError(f"{path}: not a readable HDF5 file ({error}); fetch galaxy_data_h5.h5 again") from None
    with file:
        yield file


def _groups(file: h5py.File) -> list[str]:
    """Names of the sources' groups by their numbers."""
    return sorted((name for name in file if _GROUP.fullmatch(name)), key=lambda name: int(name[5:]))


def _parts(source: Path, _: RadioGalaxyOptions) -> list[str]:
    with _opened(source) as file:
        count = len(_groups(file))
    if count == 0:
        raise RadiosslError(f"{source}: no group data_1, data_2, ... in there; expected galaxy_data_h5.h5")
    return [f"{start}:{min(start + _PER_PART, count)}" for start in range(0, count, _PER_PART)]


def _read(source: Path, part: str, options: RadioGalaxyOptions) -> Iterator[Cutout]:
    start, stop = map(int, part.split(":"))
    with _opened(source) as file:
        for name in _groups(file)[start:stop]:
            try:
                yield _cutout(name, file[name], options)
            except RadiosslError as error:
                raise RadiosslError(f"{source}, group {name}: {error}") from None
            except (KeyError, TypeError, ValueError) as error:
                reason = str(error).strip("'\"")
                raise RadiosslError(f"{source}, group {name}: not as published ({reason}); fetch it again") from None


def _cutout(name: str, group: h5py.Group, options: RadioGalaxyOptions) -> Cutout:
    attributes = group["Img"].attrs
    ra, dec = float(attributes["RA"]), float(attributes["DEC"])
    written, parent = str(attributes["coord_str"]), str(attributes["Source"])
    number = int(name[5:])
    facts = parse_name(written) if parent == "MiraBest" else None
    # The first row is the lowest in declination already: of 100 sources that are MiraBest's, 93 agree best with their
    # FIRST image as they are (median correlation 0.97) and 7 nearly symmetric ones equally well when turned.
    pixels = np.asarray(group["Img"][()], dtype=np.float32)
    centre = [(side - 1) / 2 for side in pixels.shape]
    ra_deg, dec_deg = best_position(written, ra, dec)
    return Cutout(
        cutout_id=f"{ra:07.3f}{dec:+08.3f}_{number:04d}",
        pixels=pixels,
        mosaic=str(attributes["Filepath_literature"]).rsplit("/", 1)[-1],
        ra_deg=ra_deg,
        dec_deg=dec_deg,
        x=centre[1],
        y=centre[0],
        pixel_scale_arcsec=_ARCSEC,
        unit="8-bit",
        extra={
            **_labels(group, options),
            "parent": parent,
            "number": number,
            "redshift": facts.redshift if facts else None,
            "las_arcsec": facts.las_arcsec if facts else None,
        },
    )


def best_position(written: str, ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Return the position of the parent catalogue where it agrees with the rounded one, else the rounded one.

    Parameters
    ----------
    written
        As the parent catalogue has it, such as ``14 09 56.27 −02 46 05.10``.
    ra_deg, dec_deg
        Rounded to 0.001 degrees.
    """
    match = _SEXAGESIMAL.fullmatch(written.strip())
    if match is None:
        return ra_deg, dec_deg
    hours, minutes, seconds, sign, degrees, arcminutes, arcseconds = match.groups()
    fine_ra = 15 * (int(hours) + int(minutes) / 60 + float(seconds) / 3600)
    fine_dec = int(degrees) + int(arcminutes) / 60 + float(arcseconds) / 3600
    fine_dec = fine_dec if sign == "+" else -fine_dec
    off = max(abs((fine_ra - ra_deg + 180) % 360 - 180), abs(fine_dec - dec_deg))
    return (fine_ra, fine_dec) if off <= _ROUNDING_DEG else (ra_deg, dec_deg)


def _labels(group: h5py.Group, options: RadioGalaxyOptions) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, classes in LABELS.items():
        key = _IN_FILE[name]
        if f"Label_{key}" not in group:
            if name == options.labels:
                raise RadiosslError(f"there is no Label_{key}; this release has other labels, choose them with labels=")
            continue
        code = float(group[f"Label_{key}"][()])
        if code not in range(len(classes)):
            raise RadiosslError(f"Label_{key} is {code:g}, expected 0 to {len(classes) - 1}")
        columns[f"label_{name}"], columns[f"label_{name}_code"] = classes[int(code)], int(code)
        columns[f"split_{name}"] = group[f"Split_{key}"].asstr()[()]
    return columns | {"label": columns[f"label_{options.labels}"], "split": columns[f"split_{options.labels}"]}


def _remarks(source: Path, _: RadioGalaxyOptions) -> list[str]:
    with _opened(source) as file:
        count = len(_groups(file))
    return [f"this file has {count} of the {_ALL} sources that are described in the paper"] if count != _ALL else []


RADIO_GALAXY_DATASET = PublishedSet(
    name="radiogalaxydataset",
    title="Radio Galaxy Dataset: FIRST images labelled FRI, FRII, compact or bent",
    reference="Griese et al. 2023, Data in Brief 47, 108974; doi:10.1016/j.dib.2023.108974",
    terms="FIRST images for scholarly, educational and private non-commercial use",
    source="the file galaxy_data_h5.h5",
    columns=COLUMNS,
    parts=_parts,
    read=_read,
    options=RadioGalaxyOptions,
    selections={
        "two-class": "label_literature in ('FRI', 'FRII')",
        "without-mirabest": "parent != 'MiraBest'",
    },
    notes=(
        "pixels below three times the noise were set to that value before the images were scaled to 8 bits each, so "
        "that fluxes and the noise are lost",
        "a third of the sources are MiraBest's and more stand in it under another parent: compare sky positions before "
        "training on one and testing on the other",
        "the labels of the literature (Label_literature) and the authors' own (Label_CDL1) come with splits of their "
        "own; a source that one trains on may be tested on by the other",
        "redshift and las_arcsec are known for the sources from MiraBest only",
    ),
    remarks=_remarks,
    # No checksum: the authors publish none beside this address.
    downloads=(Download(url="https://zenodo.org/record/7689127/files/galaxy_data_h5.zip?download=1"),),
)
