"""What a detector finds in images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from radiossl.detection.annotations import AnnotatedImage
from radiossl.detection.examples import Source
from radiossl.detection.images import Frame
from radiossl.detection.network import Detector
from radiossl.detection.objects import Detection, as_plain, drawn, from_plain
from radiossl.images.parallel import map_on_cores
from radiossl.io.files import read_json, write_json
from radiossl.io.parts import write_parts

#: Images in a forward pass.
BATCH = 8


@torch.inference_mode()
def detect_prepared(detector: Detector, prepared: Tensor, shapes: Sequence[tuple[int, int]]) -> list[list[Detection]]:
    """Find the objects in images.

    Parameters
    ----------
    detector
        In evaluation mode.
    prepared
        Results of `FieldPreprocessing.prepare`, shape (n, k, size, size).
    shapes
        (height, width) of each image.

    Returns
    -------
    list
        The objects of each image in its own pixels, best first, down to a score of 0.05.
    """
    config = detector.config
    images = config.preprocessing.finish(prepared.float()).to(detector.device)
    results = detector.find(images.contiguous(memory_format=torch.channels_last))
    found = []
    for result, shape in zip(results, shapes, strict=True):
        boxes = Frame(shape, config.preprocessing.preprocessing.size).to_image(result["boxes"].cpu().numpy())
        heats, rows = result["masks"].cpu().numpy(), result["probabilities"].tolist()
        objects = [
            drawn(dict(zip(config.classes, row, strict=True)), tuple(box.tolist()), heat, shape)
            for row, box, heat in zip(rows, boxes, heats, strict=True)
        ]
        found.append([item for item in objects if item is not None])
    return found


def detect_source(detector: Detector, source: Source, kept: Path) -> list[list[Detection]]:
    """Find the objects in each image of a set.

    Parameters
    ----------
    detector
        In evaluation mode.
    source
        The images.
    kept
        Folder for what is found in finished parts of the set, known by the weights and the images: the same call goes
        on where it was interrupted.

    Returns
    -------
    list
        The objects of each image in its order, down to a score of 0.05.

    Raises
    ------
    RadiosslError
        If an image is missing, damaged or not as annotated.
    """
    images, preprocessing = source.annotations.images, detector.config.preprocessing
    listed = [(image.file_name, image.shape) for image in images]
    key = hashlib.sha256(
        f"{detector.sha256}\0{source.folder.resolve()}\0{source.reader}\0{listed}".encode()
    ).hexdigest()
    parts = [
        (kept / f"{key[:24]}-{start:06d}.json", images[start : start + BATCH]) for start in range(0, len(images), BATCH)
    ]

    def write(file: Path, batch: Sequence[AnnotatedImage]) -> None:
        planes = map_on_cores(lambda image: source.planes(image, preprocessing.infrared), batch)
        prepared = torch.stack(map_on_cores(preprocessing.prepare, planes))
        found = detect_prepared(detector, prepared, [image.shape for image in batch])
        write_json(file, [[as_plain(item) for item in objects] for objects in found])

    write_parts(parts, write, f"finding sources with {detector.name}")
    return [[from_plain(entry) for entry in objects] for file, _ in parts for objects in read_json(file)]
