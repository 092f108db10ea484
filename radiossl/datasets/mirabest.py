"""MiraBest: 1,256 radio galaxies of FIRST or NVSS in ten classes (Porter & Scaife 2023).

Read from the official pickled batches, or from a folder of the original FITS images. A class code has three digits:
1 FRI, 2 FRII, 3 hybrid; 0 confident, 1 uncertain; 0 standard, 1 double-double, 2 wide-angle tail, 4 head-tail.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from radiossl.datasets.download import Download
from radiossl.datasets.pickles import batch_columns, batch_image, read_batch
from radiossl.datasets.published import Options, PublishedSet
from radiossl.io.errors import RadiosslError
from radiossl.store.cutout import Cutout

#: The ten classes, in the order of the batches' label numbers.
CODES = (100, 102, 104, 110, 112, 200, 201, 210, 300, 310)
_FAMILIES = {1: "FRI", 2: "FRII", 3: "hybrid"}
_CONFIDENCE = {0: "confident", 1: "uncertain"}
_MORPHOLOGIES = {0: "standard", 1: "double-double", 2: "wide-angle tail", 4: "head-tail"}

SIDE = 150
#: Pixels of the FIRST images; those of the NVSS images are not published.
_FIRST_ARCSEC, _NVSS_ARCSEC = 1.8, math.nan

# code_RA+Dec_redshift_size; the size is written with one to four digits before its point.
_NAME = re.compile(
    r"(?P<code>[123][01][0124])_(?P<ra>\d{1,3}\.\d+)(?P<dec>[+-]\d{1,3}\.\d+)_(?P<z>\d+\.\d+)_(?P<las>\d+\.\d+)"
    r"\.(?:png|fits|fits\.gz|fits\.fz)"
)

COLUMNS = pa.schema(
    [
        ("class_code", pa.int64()),
        ("fr_class", pa.string()),
        ("confidence", pa.string()),
        ("morphology", pa.string()),
        ("redshift", pa.float64()),
        ("las_arcsec", pa.float64()),
        ("batch", pa.string()),
        ("split", pa.string()),
    ]
)

SELECTIONS = {
    "confident": "confidence == 'confident' and fr_class != 'hybrid'",
    "uncertain": "confidence == 'uncertain' and fr_class != 'hybrid'",
    "hybrid": "fr_class == 'hybrid'",
    "two-class": "fr_class != 'hybrid'",
    "standard": "morphology == 'standard' and confidence == 'confident'",
}


@dataclass(frozen=True)
class NameFacts:
    """What the name of a MiraBest file says of its source.

    Attributes
    ----------
    code
        Class, one of `CODES`.
    ra_deg, dec_deg
        ICRS position, rounded to 0.001 degrees in the name.
    redshift
        As in the parent catalogue.
    las_arcsec
        Largest angular size.
    """

    code: int
    ra_deg: float
    dec_deg: float
    redshift: float
    las_arcsec: float

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

    Raises
    ------
    RadiosslError
        If it is not of this form, or its class or position is none.
    """
    match = _NAME.fullmatch(str(name).replace("\\", "/").rsplit("/", 1)[-1])
    if match is None:
        raise RadiosslError(f"{name}: expected a name such as 100_010.451-009.284_0.0529_0080.60.png")
    numbers = [float(match[group]) for group in ("ra", "dec", "z", "las")]
    facts = NameFacts(int(match["code"]), *numbers)
    if facts.code not in CODES or facts.ra_deg >= 360 or abs(facts.dec_deg) > 90:
        raise RadiosslError(f"{name}: class {facts.code} at {facts.ra_deg} {facts.dec_deg} is not of MiraBest")
    return facts


def _cutout(name: str, pixels: Any, scale: float, unit: str, batch: str, split: str) -> Cutout:
    facts = parse_name(name)
    centre = [(side - 1) / 2 for side in pixels.shape]
    return Cutout(
        cutout_id=f"{facts.ra_deg:07.3f}{facts.dec_deg:+08.3f}_{facts.code}",
        pixels=pixels,
        mosaic=str(name).rsplit("/", 1)[-1],
        ra_deg=facts.ra_deg,
        dec_deg=facts.dec_deg,
        x=centre[1],
        y=centre[0],
        pixel_scale_arcsec=scale,
        unit=unit,
        extra={**facts.columns, "batch": batch, "split": split},
    )


# Batches --------------------------------------------------------------------------------------------------------------


def batch_files(source: Path, _: Options) -> list[str]:
    """Names of the batches in a folder, training batches by number and the test batch last."""
    if not source.is_dir():
        raise RadiosslError(f"{source}: is a file, expected the folder of the batches (data_batch_1, ..., test_batch)")
    numbered = {int(f.name[11:]): f.name for f in source.glob("data_batch_*") if f.name[11:].isdigit()}
    names = [numbered[number] for number in sorted(numbered)]
    names += ["test_batch"] if (source / "test_batch").is_file() else []
    if not names:
        raise RadiosslError(f"{source}: no data_batch_1 in there; expected the folder of the batches")
    return names


def missing_batches(source: Path, options: Options) -> list[str]:
    """Say whether the test batch is missing from a folder."""
    return [] if "test_batch" in batch_files(source, options) else ["the test batch is not in this folder"]


def _read_part(source: Path, part: str, _: Options, *, scale: float) -> Iterator[Cutout]:
    path = source / part
    labels, images, names = batch_columns(path, read_batch(path), "labels", "data", "filenames")
    split = "test" if part == "test_batch" else "train"
    for number, (label, image, name) in enumerate(zip(labels, images, names, strict=True)):
        # The images were written from FITS arrays row by row: their first row is the lowest in declination.
        cutout = _cutout(str(name), batch_image(path, image, SIDE, number), scale, "8-bit", part, split)
        _check_label(path, number, int(label), cutout.extra["class_code"])
        yield cutout


def _check_label(path: Path, number: int, label: int, code: int) -> None:
    """Compare the number in the batch with the class in the name; basic batches know but FRI (0) and FRII (1)."""
    family = code // 100 - 1
    if not (0 <= label < len(CODES) and CODES[label] == code) and label != family:
        raise RadiosslError(f"{path}: object {number} has label {label}, but its name says class {code}")


# The original FITS ----------------------------------------------------------------------------------------------------

_FITS_NAMES = (".fits", ".fits.gz", ".fits.fz")
_FILES_PER_PART = 200


class FitsOptions(Options):
    """Options of the folder of original images.

    Attributes
    ----------
    pixel_scale_arcsec
        Of images whose header has none.
    """

    pixel_scale_arcsec: float = _FIRST_ARCSEC


def _fits_parts(source: Path, _: FitsOptions) -> Sequence[str]:
    if not source.is_dir():
        raise RadiosslError(f"{source}: is a file, expected the folder of the original FITS images")
    count = len(_fits_files(source))
    if count == 0:
        raise RadiosslError(f"{source}: no FITS file with a name such as 100_010.451-009.284_0.0529_0080.60.fits")
    return [f"{start}:{min(start + _FILES_PER_PART, count)}" for start in range(0, count, _FILES_PER_PART)]


def _fits_files(source: Path) -> list[Path]:
    return sorted(f for f in source.iterdir() if f.name.lower().endswith(_FITS_NAMES) and _NAME.fullmatch(f.name))


def _read_fits(source: Path, part: str, options: FitsOptions) -> Iterator[Cutout]:
    from radiossl.survey.mosaic import Mosaic

    start, stop = map(int, part.split(":"))
    for file in _fits_files(source)[start:stop]:
        with Mosaic.open(file) as mosaic:
            height, width = mosaic.shape
            pixels = mosaic.read(0, 0, width, height)
            yield _cutout(file.name, pixels, mosaic.pixel_scale_arcsec, mosaic.unit, "", "")


# Descriptions ---------------------------------------------------------------------------------------------------------

_REFERENCE = "Porter & Scaife 2023, RASTI 2, 293; doi:10.5281/zenodo.4288837"
_TERMS = "CC BY 4.0 (labels); FIRST and NVSS images for scholarly, educational and private non-commercial use"
_SERVER = "http://www.jb.man.ac.uk/research/MiraBest"
_FULL_LABELS = "e1b5450577209e583bc43fbf8e851965"


def _batched(name: str, title: str, scale: float, download: Download) -> PublishedSet:
    return PublishedSet(
        name=name,
        title=title,
        reference=_REFERENCE,
        terms=_TERMS,
        source="the folder of its batches",
        columns=COLUMNS,
        parts=batch_files,
        read=partial(_read_part, scale=scale),
        selections=SELECTIONS,
        remarks=missing_batches,
        downloads=(download,),
    )


_F_MD5 = (
    "f7a470b7367e8e0d0c5093d2cf266d54",
    "bb65ecd7e748e9fb789419b1efbf1bab",
    "32de1078e7cd47f5338c666a1b563ede",
    "a1209aceedd8806c88eab27ce45ee2c4",
    "1619cd7c54f5d71fcf4cfefea829728e",
    "636c2b84649286e19bcb0684fc9fbb01",
    "bc67bc37080dc4df880ffe9720d680a8",
)
_N_MD5 = (
    "f6c591d62e166523403cd7cbdeb2b076",
    "35e3302aa61a8dbbf20db3ad06e21b17",
    "00d4725a4ba0f1cd6a298f9030673d3f",
    "29f9d1784521012d7c3893daebd84bca",
    "cdfaafc3e6581f727f8fd13decc9b874",
    "a50f185ef0fbc8d3bfa2f7f4004e78ca",
    "6d267af85775cc3f9d336dc11ecf6d7b",
)


def batch_checksums(folder: str, training: Sequence[str], test: str, meta: str | None = None) -> dict[str, str]:
    """Name the files of a set of batches with their MD5."""
    named = {f"{folder}/data_batch_{number}": md5 for number, md5 in enumerate(training, start=1)}
    named[f"{folder}/test_batch"] = test
    return named | ({f"{folder}/batches.meta": meta} if meta else {})


MIRABEST_F = _batched(
    "mirabest-f",
    "MiraBest-F: FIRST images, 8 batches of 157 in ten classes",
    _FIRST_ARCSEC,
    Download(
        url=f"{_SERVER}/MiraBest_F/MiraBest_F_batches.tar.gz",
        md5="7d4e3a623d29db7204bce81676ee8ce2",
        contents=batch_checksums("F_batches", _F_MD5, "ac7ea0d5ee8c7ab49f257c9964796953", _FULL_LABELS),
    ),
)
MIRABEST_N = _batched(
    "mirabest-n",
    "MiraBest-N: NVSS images of the same sources",
    _NVSS_ARCSEC,
    Download(
        url=f"{_SERVER}/MiraBest_N/MiraBest_N_batches.tar.gz",
        md5="198337a1eb655a1f8642c590979d0e71",
        contents=batch_checksums("batches", _N_MD5, "b3ff79c3b6c2acf9a0865f8b3d71a35d"),
    ),
)
MIRABEST_FULL = _batched(
    "mirabest-full",
    "MiraBest, the first release: ten classes",
    _FIRST_ARCSEC,
    Download(url=f"{_SERVER}/full_dataset/MiraBest_full_batches.tar.gz", md5="965b5daa83b9d8622bb407d718eecb51"),
)
MIRABEST_BASIC = _batched(
    "mirabest-basic",
    "MiraBest, the first release: FRI and FRII",
    _FIRST_ARCSEC,
    Download(url=f"{_SERVER}/basic/MiraBest_basic_batches.tar.gz", md5="6c9a3e6ca3c0f3d27f9f6dca1b9730e1"),
)
MIRABEST_FITS = PublishedSet(
    name="mirabest-fits",
    title="MiraBest's original FITS images, with noise and surroundings",
    reference=_REFERENCE,
    terms=_TERMS,
    source="the folder of the FITS images",
    columns=COLUMNS,
    parts=_fits_parts,
    read=_read_fits,
    options=FitsOptions,
    selections=SELECTIONS,
)
