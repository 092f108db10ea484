"""RadioGalaxyNET: radio galaxies of the EMU pilot survey with boxes, outlines and infrared hosts (Gupta et al. 2024).

Read from the published folder of PNG images (``train``, ``val``, ``test``) with COCO annotations. The three channels of
a picture are not colours: green and blue are the lower and the upper byte of one 16-bit radio image.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from radiossl.datasets.published import Options, Reader, part_ranges, part_slice
from radiossl.io.errors import RadiosslError
from radiossl.io.files import existing_file, read_json
from radiossl.store.cutout import Cutout
from radiossl.store.statistics import Noise
from radiossl.survey.fits_image import Box
from radiossl.survey.image_file import opened_picture

#: Folders of the set and what their splits are called in the store.
_SPLITS = {"train": "train", "val": "valid", "test": "test"}
#: Measured: 571 pairs of overlapping images are shifted by one row for every 2.00 arcsec (quartiles 1.96 and 2.03)
#: between the declinations in their names.
_ARCSEC = 2.0
_PER_PART = 100
_BOX_FACTOR, _LEAST_BOX = 1.5, 32
#: Declination of the centre in degrees, minutes and seconds, all south, and the image's number.
_NAME = re.compile(r"(\d\d)([0-5]\d)([0-5]\d)_\d+\.png")

SEVERAL = "several"

Channel = Literal["radio", "blue", "red"]


class RadioGalaxyNetOptions(Options):
    """Options of RadioGalaxyNET."""

    #: ``radio`` joins green and blue to the 16-bit radio image, 0 to 65535; ``blue`` is its upper byte alone, as
    #: pictures show it; ``red`` is the infrared image.
    channel: Channel = "radio"
    #: ``images`` as they are, or one of each of their ``objects``: a square around its box, `_BOX_FACTOR` times as
    #: large, at least `_LEAST_BOX` pixels and blank beyond the image.
    cutouts: Literal["images", "objects"] = "images"


class _Annotated(NamedTuple):
    image_id: int
    file_name: str
    shape: tuple[int, int]
    instances: tuple[dict[str, Any], ...]


def _annotations(source: Path, folder: str) -> list[_Annotated]:
    path = source / "annotations" / f"{folder}.json"
    return _parsed(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=len(_SPLITS))
def _parsed(path: Path, _: int) -> list[_Annotated]:
    content = read_json(path)
    try:
        classes = {entry["id"]: entry["name"] for entry in content["categories"]}
        instances: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for entry in content["annotations"]:
            kept = {name: entry[name] for name in ("bbox", "area", "segmentation", "keypoints")}
            instances[entry["image_id"]].append({"category": classes[entry["category_id"]], **kept})
        images = [
            _Annotated(i["id"], i["file_name"], (i["height"], i["width"]), tuple(instances.pop(i["id"], ())))
            for i in content["images"]
        ]
    except (KeyError, TypeError) as error:
        what = f"not the COCO annotations of RadioGalaxyNET (no {error}); fetch it again"
        raise RadiosslError(f"{path}: {what}") from None
    if instances:
        raise RadiosslError(f"{path}: objects of image {next(iter(instances))}, which is not listed; fetch it again")
    return images


def _folders(source: Path) -> list[str]:
    return [folder for folder in _SPLITS if (source / "annotations" / f"{folder}.json").is_file()]


def _parts(source: Path, _: RadioGalaxyNetOptions) -> list[str]:
    folders = _folders(source)
    if not folders:
        raise RadiosslError(f"{source}: no annotations/train.json in there; expected the folder of RadioGalaxyNET")
    counts = {folder: len(_annotations(source, folder)) for folder in folders}
    return [f"{folder}:{part}" for folder, count in counts.items() for part in part_ranges(count, _PER_PART)]


def _read(source: Path, part: str, options: RadioGalaxyNetOptions) -> Iterator[Cutout]:
    folder, _, images = part.partition(":")
    for image in _annotations(source, folder)[part_slice(images)]:
        path = source / folder / image.file_name
        classes = {instance["category"] for instance in image.instances}
        pixels = read_channel(path, options.channel)
        if pixels.shape != image.shape:
            raise RadiosslError(f"{path}: {pixels.shape} pixels, its annotation says {image.shape}; fetch it again")
        extra = {
            "label": SEVERAL if len(classes) > 1 else next(iter(classes), None),
            **{"split": _SPLITS[folder], "file_name": image.file_name, "image_id": image.image_id},
            "centre_dec_deg": declination_of_name(image.file_name),
            **{"n_instances": len(image.instances), "instances": json.dumps(image.instances)},
        }
        known = {"pixel_scale_arcsec": _ARCSEC, "unit": "16-bit" if options.channel == "radio" else "8-bit"}
        cutout_id = f"{_SPLITS[folder]}_{Path(image.file_name).stem}"
        whole = Cutout.whole_image(cutout_id, pixels, image.file_name, extra=extra, **known)
        if options.cutouts == "images":
            yield whole
        else:
            yield from (_object(whole, number, instance) for number, instance in enumerate(image.instances))


def _object(whole: Cutout, number: int, instance: dict[str, Any]) -> Cutout:
    left, bottom, width, height = instance["bbox"]
    x, y = left + (width - 1) / 2, bottom + (height - 1) / 2
    side = max(math.ceil(_BOX_FACTOR * max(width, height)), _LEAST_BOX)
    box = Box(math.floor(x - (side - 1) / 2), math.floor(y - (side - 1) / 2), side, side)
    alone = {"label": instance["category"], "n_instances": 1, "instances": json.dumps([instance])}
    new: dict[str, Any] = {"cutout_id": f"{whole.cutout_id}_{number}", "pixels": box.cut_out(whole.pixels, np.nan)}
    new |= Noise.of(whole.pixels)._asdict()
    new |= {"x": box.x0 + (side - 1) / 2, "y": box.y0 + (side - 1) / 2, "extra": {**whole.extra, **alone}}
    return dataclasses.replace(whole, **new)


def declination_of_name(name: str) -> float | None:
    """Return the declination in a file name such as ``533454_1.png`` (-53:34:54) in degrees; None if there is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    degrees, minutes, seconds = map(int, match.groups())
    return -(degrees + minutes / 60 + seconds / 3600)


def read_channel(path: Path, channel: Channel) -> NDArray[np.float32]:
    """Read a channel of a picture of the set, shape (height, width); see `RadioGalaxyNetOptions`.

    The rows stay as they are, the first is the lowest in declination: in all 508 overlapping pairs whose shift fits the
    declinations in their names, a source has the higher row in the image centred farther south.
    """
    with opened_picture(existing_file(path), ("PNG",), "; fetch it again") as picture:
        if picture.mode not in ("RGB", "RGBA"):
            expected = "expected the three channels of RadioGalaxyNET"
            raise RadiosslError(f"{path}: a picture of mode {picture.mode}, {expected}")
        array = np.asarray(picture)
    red, green, blue = (array[..., index].astype(np.float32) for index in range(3))
    # Along smooth sources 256 blue + green has sixty times less structure below the beam than blue alone; green alone
    # is noise.
    return {"radio": 256 * blue + green, "blue": blue, "red": red}[channel]


def _remarks(source: Path, _: RadioGalaxyNetOptions) -> list[str]:
    missing = [folder for folder in _SPLITS if folder not in _folders(source)]
    return [f"the split {folder} is not in this folder" for folder in missing]


READER = Reader(_parts, _read, RadioGalaxyNetOptions, remarks=_remarks)
