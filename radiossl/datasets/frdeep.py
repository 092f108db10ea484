"""FR-DEEP: 600 FRI and FRII radio galaxies of FRICAT and CoNFIG in FIRST or NVSS images (Tang et al. 2019).

Read from the official pickled batches. They give an image, a class and at most a file name; no positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from radiossl.datasets.download import Download
from radiossl.datasets.mirabest import batch_checksums, batch_files, missing_batches
from radiossl.datasets.pickles import batch_columns, batch_image, read_batch
from radiossl.datasets.published import Options, PublishedSet
from radiossl.datasets.rgz import position_of_name
from radiossl.io.errors import RadiosslError
from radiossl.store.cutout import Cutout

#: Classes in the order of the batches' label numbers.
LABELS = ("FRI", "FRII")
SIDE = 150
_FIRST_ARCSEC, _NVSS_ARCSEC = 1.8, 15.0

COLUMNS = pa.schema(
    [
        ("label", pa.string()),
        ("label_code", pa.int64()),
        ("file_name", pa.string()),
        ("batch", pa.string()),
        ("split", pa.string()),
    ]
)


def _read_part(source: Path, part: str, _: Options, *, scale: float) -> Iterator[Cutout]:
    path = source / part
    batch = read_batch(path)
    codes, images = batch_columns(path, batch, "labels", "data")
    # The authors' own reader does without the names, so a batch may lack them.
    names = batch_columns(path, batch, "labels", "filenames")[1] if "filenames" in batch else [None] * len(codes)
    for number, (code, image, name) in enumerate(zip(codes, images, names, strict=True)):
        if code not in range(len(LABELS)):
            raise RadiosslError(f"{path}: object {number} has label {code}, expected 0 (FRI) or 1 (FRII)")
        ra, dec = position_of_name(str(name))
        yield Cutout(
            cutout_id=f"{part}_{number:02d}",
            pixels=batch_image(path, image, SIDE, number),
            mosaic=part if name is None else str(name).rsplit("/", 1)[-1],
            ra_deg=ra,
            dec_deg=dec,
            x=(SIDE - 1) / 2,
            y=(SIDE - 1) / 2,
            pixel_scale_arcsec=scale,
            unit="8-bit",
            extra={
                "label": LABELS[int(code)],
                "label_code": int(code),
                "file_name": None if name is None else str(name),
                "batch": part,
                "split": "test" if part == "test_batch" else "train",
            },
        )


# In the authors' repository, under the address at which files themselves are served: that of their reader is a page.
_FILES = "https://github.com/HongmingTang060313/FR-DEEP/raw/master"
_LABEL_NAMES = "655493bdee948954f3939727b3f9e735"


def _batched(name: str, survey: str, scale: float, download: Download) -> PublishedSet:
    return PublishedSet(
        name=name,
        title=f"FR-DEEP: {survey} images of 600 FRI and FRII radio galaxies, 12 batches of 50",
        reference="Tang, Scaife & Leahy 2019, MNRAS, arXiv:1903.11921",
        terms=f"{survey} images for scholarly, educational and private non-commercial use",
        source="the folder of its batches",
        columns=COLUMNS,
        parts=batch_files,
        read=partial(_read_part, scale=scale),
        notes=(
            "positions are not published in the batches, so that overlaps with MiraBest or CRUMB, which share sources "
            "with it, cannot be found by position",
            "the order of the rows is not documented and is left as it is",
            "classes are FRI 264 and FRII 336, as the authors count them",
        ),
        remarks=missing_batches,
        downloads=(download,),
    )


_F_MD5 = (
    "f34da44757c7fa3f6e6cd3d0839a4634",
    "f56cda0d9a99305fee2bad7de0560f95",
    "93265dd849331af4e1b092f74b06450b",
    "0de8f4c18b775251f4e553e2990cd446",
    "c6aa87400a1be6007da7cfcefd2c3e5c",
    "cebd3fdea93abbc048a3a4d5e58528e0",
    "49497445e9380f157e78cf8d74fca1eb",
    "88e298eed2d87bbdddad83fef1482723",
    "8c40117dbf4d456e63a8a665b245aa63",
    "f24d110cc5811ba4651630b9ee9b2989",
    "b843dc3b7f48606235029f135d41c85e",
)
_N_MD5 = (
    "3a2a15d88756ba61c796378fc8574540",
    "6a04e3985397e1f67f0ad42153dca64e",
    "d852c8200f3bbb63beacf31f3e954f9a",
    "a5739996ca44a1a1841f2d0e6b844dd6",
    "8e2fdb3f60bf7541ca135fc8e2407f7a",
    "9e5a82500bd9742f8fefe412ada95336",
    "f66af7795265fbe24376f669200412c4",
    "75982afc09bf480ecc521acdb39cbe46",
    "72aee306fef9acee21a0e5537bb681e4",
    "7a039ce8062a533b23b401a612c5f9b7",
    "c0013314098c96ca4c7c20c0f17abcd3",
)

FRDEEP_F = _batched(
    "frdeep-f",
    "FIRST",
    _FIRST_ARCSEC,
    Download(
        url=f"{_FILES}/FIRST_data/FIRST_PNG_dataset.tar.gz",
        md5="2f39461e6c62fb45289559915106013a",
        contents=batch_checksums("FIRST_PNG_dataset", _F_MD5, "4e06889b1e7713deb46e62887eb37727", _LABEL_NAMES),
    ),
)
FRDEEP_N = _batched(
    "frdeep-n",
    "NVSS",
    _NVSS_ARCSEC,
    Download(
        url=f"{_FILES}/NVSS_data/NVSS_PNG_dataset.tar.gz",
        md5="2584ed1e174ea71f581d0e0d6f32ef38",
        contents=batch_checksums("NVSS_PNG_dataset", _N_MD5, "39fd167b9a7df12cee1ef9a804f9fa86", _LABEL_NAMES),
    ),
)
