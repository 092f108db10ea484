"""MiraBest: 1,256 radio galaxies of FIRST or NVSS in ten classes (Porter & Scaife 2023).

Read from the official pickled batches, or from a folder of the original FITS images. A class code has three digits:
1 FRI, 2 FRII, 3 hybrid; 0 confident, 1 uncertain; 0 standard, 1 double-double, 2 wide-angle tail, 4 head-tail.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from radiossl.datasets.batches import FIRST_ARCSEC, batch_columns, batched_reader
from radiossl.datasets.published import Options, Reader, part_ranges, part_slice
from radiossl.io.errors import RadiosslError
from radiossl.store.cutout import Cutout

#: The ten classes, in the order of the batches' label numbers.
CODES = (100, 102, 104, 110, 112, 200, 201, 210, 300, 310)
_FAMILIES = {1: "FRI", 2: "FRII", 3: "hybrid"}
_CONFIDENCE = {0: "confident", 1: "uncertain"}
_MORPHOLOGIES = {0: "standard", 1: "double-double", 2: "wide-angle tail", 4: "head-tail"}

# code_RA+Dec_redshift_size; the size is written with one to four digits before its point.
_NAME = re.compile(
    r"(?P<code>[123][01][0124])_(?P<ra>\d{1,3}\.\d+)(?P<dec>[+-]\d{1,3}\.\d+)_(?P<z>\d+\.\d+)_(?P<las>\d+\.\d+)"
    r"\.(?:png|fits|fits\.gz|fits\.fz)"
)


class NameFacts(NamedTuple):
    """What the name of a MiraBest file says of its source: class (one of `CODES`), position, redshift and size."""

    code: int
    ra_deg: float
    dec_deg: float
    redshift: float
    las_arcsec: float

    @property
    def cutout_id(self) -> str:
        """What its cutout is called."""
        return f"{self.ra_deg:07.3f}{self.dec_deg:+08.3f}_{self.code}"

    @property
    def columns(self) -> dict[str, Any]:
        """The facts as columns of a store."""
        family, confidence, morphology = (int(digit) for digit in str(self.code))
        return {
            "class_code": self.code,
            "fr_class": _FAMILIES[family],
            "confidence": _CONFIDENCE[confidence],
            "morphology": _MORPHOLOGIES[morphology],
            "redshift": self.redshift,
            "las_arcsec": self.las_arcsec,
        }


def parse_name(name: str) -> NameFacts:
    """Read a file name or path such as ``100_010.451-009.284_0.0529_0080.60.png``.

    Raises `RadiosslError` if it has another form, or an unknown class or impossible position.
    """
    match = _NAME.fullmatch(str(name).replace("\\", "/").rsplit("/", 1)[-1])
    if match is None:
        raise RadiosslError(f"{name}: expected a name such as 100_010.451-009.284_0.0529_0080.60.png")
    numbers = [float(match[group]) for group in ("ra", "dec", "z", "las")]
    facts = NameFacts(int(match["code"]), *numbers)
    if facts.code not in CODES or facts.ra_deg >= 360 or abs(facts.dec_deg) > 90:
        raise RadiosslError(f"{name}: class {facts.code} at {facts.ra_deg} {facts.dec_deg} is not of MiraBest")
    return facts


def _facts(path: Path, batch: dict[str, Any], _: Options) -> Iterator[dict[str, Any]]:
    columns = batch_columns(path, batch, "labels", "filenames", "data")
    for number, (label, name, _image) in enumerate(zip(*columns, strict=True)):
        facts = parse_name(name)
        # The number in the batch is that of the class in the name; basic batches have only FRI (0) and FRII (1).
        if not (0 <= label < len(CODES) and CODES[label] == facts.code) and label != facts.code // 100 - 1:
            raise RadiosslError(f"{path}: object {number} has label {label}, but its name says class {facts.code}")
        place = {"ra_deg": facts.ra_deg, "dec_deg": facts.dec_deg}
        yield {"cutout_id": facts.cutout_id, "file": str(name), "extra": facts.columns, **place}


# The original FITS ----------------------------------------------------------------------------------------------------

_FILES_PER_PART = 200


class FitsOptions(Options):
    """Options of the folder of original images: the pixels of those whose header has none."""

    pixel_scale_arcsec: float = FIRST_ARCSEC


def _fits_parts(source: Path, _: FitsOptions) -> Sequence[str]:
    if not source.is_dir():
        raise RadiosslError(f"{source}: is a file, expected the folder of the original FITS images")
    files = _fits_files(source)
    if not files:
        raise RadiosslError(f"{source}: no FITS file with a name such as 100_010.451-009.284_0.0529_0080.60.fits")
    return part_ranges(len(files), _FILES_PER_PART)


def _fits_files(source: Path) -> list[Path]:
    return sorted(file for file in source.iterdir() if _NAME.fullmatch(file.name) and file.suffix != ".png")


def _read_fits(source: Path, part: str, options: FitsOptions) -> Iterator[Cutout]:
    from radiossl.survey.mosaic import Mosaic

    for file in _fits_files(source)[part_slice(part)]:
        facts = parse_name(file.name)
        with Mosaic.open(file) as mosaic:
            pixels, extra = mosaic.read(0, 0, *mosaic.shape[::-1]), {**facts.columns, "batch": "", "split": ""}
            known = {"unit": mosaic.unit, "pixel_scale_arcsec": mosaic.pixel_scale_arcsec, "extra": extra}
            place = {"ra_deg": facts.ra_deg, "dec_deg": facts.dec_deg}
            yield Cutout.whole_image(facts.cutout_id, pixels, file.name, **known, **place)


FIRST, NVSS = batched_reader(_facts), batched_reader(_facts, math.nan)  # the pixels of NVSS' are not published
FITS = Reader(_fits_parts, _read_fits, FitsOptions)
