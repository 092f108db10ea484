"""The objects that a detector finds in images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from radiossl.detection.annotations import AnnotatedImage
from radiossl.detection.examples import AnnotatedSet
from radiossl.detection.images import Frame
from radiossl.detection.network import Detector
from radiossl.detection.objects import Detection, as_plain, draw_object, from_plain
from radiossl.images.parallel import map_on_cores
from radiossl.io.files import existing_file, read_json, write_json
from radiossl.io.parts import write_parts

Job = TypeVar("Job")

#: Images in a forward pass.
BATCH = 8


@torch.inference_mode()
def detect_prepared(detector: Detector, prepared: Tensor, shapes: Sequence[tuple[int, int]]) -> list[list[Detection]]:
    """Find the objects in images, each in its own pixels, best first, down to a score of 0.05.

    The detector is in evaluation mode; `prepared` are results of `FieldPreprocessing.prepare`, shape (n, k, size,
    size), and `shapes` the (height, width) of each image.
    """
    config = detector.config
    images = config.field.finish(prepared.float()).to(detector.device)
    results = detector.find(images.contiguous(memory_format=torch.channels_last))
    found = []
    for result, shape in zip(results, shapes, strict=True):
        boxes = Frame(shape, config.preprocessing.size).to_image(result["boxes"].cpu().numpy())
        heats, features, rows = result["masks"].cpu().numpy(), result["features"].cpu().numpy(), result["probabilities"]
        scores = np.full(len(boxes), np.nan)
        if detector.confidence is not None and len(boxes):
            scores = detector.confidence.novelty.scores(features)
        each = zip(rows.tolist(), boxes.tolist(), heats, features, scores.tolist(), strict=True)
        objects = [
            draw_object(dict(zip(config.classes, row, strict=True)), tuple(box), heat, shape, vector, score)
            for row, box, heat, vector, score in each
        ]
        found.append([item for item in objects if item is not None])
    return found


def detect_set(detector: Detector, source: AnnotatedSet, kept: Path) -> list[list[Detection]]:
    """Find the objects in each image of a set, down to a score of 0.05.

    The folder `kept` holds the objects of finished batches; see `find_in_parts`.
    """
    images, field = source.annotations.images, detector.config.field
    listed = [(image.shape, file_stamp(source.folder / image.file_name)) for image in images]

    def find(batch: Sequence[AnnotatedImage]) -> list[list[Detection]]:
        planes = map_on_cores(lambda image: source.planes(image, field.infrared), batch)
        prepared = torch.stack(map_on_cores(field.prepare, planes))
        return detect_prepared(detector, prepared, [image.shape for image in batch])

    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    key = f"{detector.sha256}\0{source.reader}\0{listed}"
    return find_in_parts(batches, find, kept, key, f"finding sources with {detector.name}")


def file_stamp(path: Path) -> tuple[str, int, int]:
    """Return the path, size and time of change of a file, which together stand for its content."""
    known = existing_file(path).stat()
    return str(path.resolve()), known.st_size, known.st_mtime_ns


def find_in_parts(
    jobs: Sequence[Job], find: Callable[[Job], list[list[Detection]]], kept: Path, key: str, description: str
) -> list[list[Detection]]:
    """Find the objects of several jobs, such as batches of images, so that an interrupted call can go on.

    `find` returns any number of lists of objects for a job; those of all jobs are returned one after another. `kept` is
    the folder for finished jobs; only what was kept under the same key, on which the result depends, is used.
    """
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    parts = [(kept / f"{name}-{number:06d}.json", job) for number, job in enumerate(jobs)]

    def write(file: Path, job: Job) -> None:
        write_json(file, [[as_plain(item) for item in objects] for objects in find(job)])

    write_parts(parts, write, description)
    return [[from_plain(entry) for entry in objects] for file, _ in parts for objects in read_json(file)]
