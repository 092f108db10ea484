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

from radiossl.datasets.batches import FIRST_ARCSEC
from radiossl.datasets.mirabest import parse_name
from radiossl.datasets.published import Options, Reader, part_ranges, part_slice
from radiossl.datasets.rgz import degrees_of
from radiossl.io.errors import RadiosslError
from radiossl.io.extras import require
from radiossl.io.files import existing_file
from radiossl.store.cutout import Cutout
from radiossl.survey.image_file import check_sides

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
_PER_PART = 200
#: RA and DEC are rounded to 0.001 degrees; a finer position farther away than that belongs to something else.
_ROUNDING_DEG = 0.00051

_GROUP = re.compile(r"data_(\d+)")
# The catalogues come from different journals: some write a real minus sign, some a blank after the sign.
_SEXAGESIMAL = re.compile(r"(\d+) (\d+) (\d+(?:\.\d*)?) ([+\-−]) ?(\d+) (\d+) (\d+(?:\.\d*)?)")


class RadioGalaxyOptions(Options):
    """Options of the Radio Galaxy Dataset."""

    #: Which labelling makes the columns ``label`` and ``split``: that of the literature, in four classes, or the
    #: authors' own, in five.
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
    return sorted((name for name in file if _GROUP.fullmatch(name)), key=lambda name: int(name[5:]))


def _parts(source: Path, _: RadioGalaxyOptions) -> list[str]:
    with _opened(source) as file:
        count = len(_groups(file))
    if count == 0:
        raise RadiosslError(f"{source}: no group data_1, data_2, ... in there; expected galaxy_data_h5.h5")
    return part_ranges(count, _PER_PART)


def _read(source: Path, part: str, options: RadioGalaxyOptions) -> Iterator[Cutout]:
    with _opened(source) as file:
        for name in _groups(file)[part_slice(part)]:
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
    check_sides(group["Img"].shape, "Img")  # a small file can claim any size
    pixels = np.asarray(group["Img"][()], dtype=np.float32)
    ra_deg, dec_deg = best_position(written, ra, dec)
    redshift, las_arcsec = (facts.redshift, facts.las_arcsec) if facts else (None, None)
    extra = {"parent": parent, "number": number, "redshift": redshift, "las_arcsec": las_arcsec}
    known = {"ra_deg": ra_deg, "dec_deg": dec_deg, "pixel_scale_arcsec": FIRST_ARCSEC, "unit": "8-bit"}
    file = str(attributes["Filepath_literature"]).rsplit("/", 1)[-1]
    cutout_id = f"{ra:07.3f}{dec:+08.3f}_{number:04d}"
    return Cutout.whole_image(cutout_id, pixels, file, extra=_labels(group, options) | extra, **known)


def best_position(written: str, ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Return a position such as ``14 09 56.27 −02 46 05.10`` where it agrees with the rounded one, else the latter."""
    match = _SEXAGESIMAL.fullmatch(written.strip())
    if match is None:
        return ra_deg, dec_deg
    fine_ra, fine_dec = degrees_of(*match.groups())
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


READER = Reader(_parts, _read, RadioGalaxyOptions, remarks=_remarks)
