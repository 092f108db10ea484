"""Annotated images as a detector is trained on them: preprocessed once, kept small in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radiossl.detection.annotations import AnnotatedImage, Annotations
from radiossl.detection.images import FieldPreprocessing, Frame, Reader, read_planes
from radiossl.detection.objects import run_lengths
from radiossl.images.parallel import map_on_cores
from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track

#: Largest signal that half precision holds, with room for interpolation.
_HALF_MAX = 6e4
#: Images prepared at a time, between two steps of the progress bar.
_CHUNK = 8


@dataclass(frozen=True)
class Source:
    """A set of annotated images.

    Attributes
    ----------
    annotations
        Which images, and what is in them.
    folder
        Where the images are.
    reader
        How their pixels are meant.
    """

    annotations: Annotations
    folder: Path
    reader: Reader = "plain"

    def planes(self, image: AnnotatedImage, infrared: bool = False) -> NDArray[np.float32]:
        """Read an image, shape (planes, height, width); raise `RadiosslError` if it is not as annotated."""
        path = self.folder / image.file_name
        planes = read_planes(path, self.reader, infrared)
        if planes.shape[1:] != image.shape:
            raise RadiosslError(
                f"{path}: {planes.shape[2]} x {planes.shape[1]} pixels, but {image.shape[1]} x {image.shape[0]} in"
                f" {self.annotations.path}; these are not the annotated images"
            )
        return planes


@dataclass(frozen=True, eq=False)
class Examples:
    """Preprocessed images with their objects in the network's pixels.

    Attributes
    ----------
    prepared
        Results of `FieldPreprocessing.prepare`, float16, shape (n, k, size, size).
    contrasts
        Results of `FieldPreprocessing.contrast_limits`, shape (n, 16, 2), for networks that see zscale; else empty.
    labels
        For each image the numbers of its objects' classes, from 1 on, shape (m,).
    masks
        For each image the compressed run-length encodings of its objects.
    """

    prepared: Tensor
    contrasts: Tensor
    labels: list[Tensor]
    masks: list[list[dict[str, Any]]]

    def __len__(self) -> int:
        return len(self.prepared)

    def target(self, row: int) -> tuple[Tensor, Tensor]:
        """Return the labels (m,) and masks (m, size, size), uint8, of an image."""
        from pycocotools import mask as coco

        size = self.prepared.shape[-1]
        if not self.masks[row]:
            return self.labels[row], torch.zeros(0, size, size, dtype=torch.uint8)
        decoded = np.ascontiguousarray(np.moveaxis(coco.decode(self.masks[row]), -1, 0))
        return self.labels[row], torch.from_numpy(decoded)


def load_examples(source: Source, preprocessing: FieldPreprocessing, classes: tuple[str, ...]) -> Examples:
    """Read and preprocess all images of a set.

    Parameters
    ----------
    source
        The images.
    preprocessing
        What the network sees.
    classes
        Names of the detector's classes, number 1 first; objects of others are no objects.

    Raises
    ------
    RadiosslError
        If an image is missing, damaged or not as annotated.
    """
    images = source.annotations.images
    chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
    zscale = preprocessing.preprocessing.mode == "sigma-zscale"
    numbers = {name: number for number, name in enumerate(classes, start=1)}

    def one(image: AnnotatedImage) -> tuple[Tensor, Tensor, Tensor, list[dict[str, Any]]]:
        planes = source.planes(image, preprocessing.infrared)
        prepared = preprocessing.prepare(planes).clamp_(-_HALF_MAX, _HALF_MAX).half()
        frame = Frame(image.shape, preprocessing.preprocessing.size)
        known = [row for row, item in enumerate(image.objects) if item.category in numbers and not item.crowd]
        masks = [run_lengths(frame.mask_to_network(image.objects[row].mask)) for row in known]
        labels = torch.tensor([numbers[image.objects[row].category] for row in known], dtype=torch.int64)
        return prepared, preprocessing.contrast_limits(planes) if zscale else torch.empty(0), labels, masks

    done = [item for chunk in track(chunks, "preparing images") for item in map_on_cores(one, chunk)]
    prepared, contrasts, labels, masks = zip(*done, strict=True)
    return Examples(torch.stack(prepared), torch.stack(contrasts), list(labels), list(masks))
