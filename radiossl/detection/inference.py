"""What a detector finds in images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from radiossl.detection.examples import Source
from radiossl.detection.images import Frame
from radiossl.detection.network import Detector
from radiossl.detection.objects import Detection, drawn
from radiossl.images.parallel import map_on_cores

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
    results = detector(images.contiguous(memory_format=torch.channels_last))
    found = []
    for result, shape in zip(results, shapes, strict=True):
        boxes = Frame(shape, config.preprocessing.preprocessing.size).to_image(result["boxes"].cpu().numpy())
        heats, scores = result["masks"][:, 0].cpu().numpy(), result["scores"].tolist()
        names = [config.classes[number - 1] for number in result["labels"].tolist()]
        objects = [
            drawn(name, score, tuple(box.tolist()), heat, shape)
            for name, score, box, heat in zip(names, scores, boxes, heats, strict=True)
        ]
        found.append([item for item in objects if item is not None])
    return found


def detect_source(detector: Detector, source: Source) -> Iterator[list[Detection]]:
    """Yield the objects found in each image of a set, in its order; the detector must be in evaluation mode.

    Raises
    ------
    RadiosslError
        If an image is missing, damaged or not as annotated.
    """
    images, preprocessing = source.annotations.images, detector.config.preprocessing
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        prepared = map_on_cores(
            lambda image: preprocessing.prepare(source.planes(image, preprocessing.infrared)), batch
        )
        yield from detect_prepared(detector, torch.stack(prepared), [image.shape for image in batch])
