"""Finding sources: the objects that a detector finds in images, and in mosaics tile by tile, merged into one list."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from radiossl.detection.annotations import AnnotatedImage
from radiossl.detection.examples import AnnotatedSet
from radiossl.detection.images import Frame
from radiossl.detection.merging import merge
from radiossl.detection.network import Detector, load_detector
from radiossl.detection.objects import Detection, as_plain, draw_object, from_plain
from radiossl.detection.report import SearchedMosaic, make_catalogue, write_detections
from radiossl.images.parallel import map_on_cores
from radiossl.io.errors import RadiosslError, check_number
from radiossl.io.extras import require
from radiossl.io.files import PathLike, file_stamp, read_json, write_json
from radiossl.io.locks import only_writer
from radiossl.io.parts import write_parts
from radiossl.io.results import check_result_folder
from radiossl.survey.blind import window_boxes
from radiossl.survey.finding import find_mosaics, mosaic_labels
from radiossl.survey.mosaic import Box, Mosaic

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


def find_in_parts(
    jobs: Sequence[Job], find: Callable[[Job], list[list[Detection]]], kept: Path, key: str, description: str
) -> list[list[Detection]]:
    """Find the objects of several jobs, such as batches of images; the same call resumes an interrupted one.

    `find` returns any number of lists of objects for a job; those of all jobs are returned one after another. `kept` is
    the folder for finished jobs; only what was kept under the same key, on which the result depends, is used.
    """
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    parts = [(kept / f"{name}-{number:06d}.json", job) for number, job in enumerate(jobs)]

    def write(file: Path, job: Job) -> None:
        write_json(file, [[as_plain(item) for item in objects] for objects in find(job)])

    write_parts(parts, write, description)
    return [[from_plain(entry) for entry in objects] for file, _ in parts for objects in read_json(file)]


#: Tiles with more than this fraction of their pixels blank are skipped.
_MOST_BLANK = 0.99
#: An object this close to an inner edge of its tile, as a fraction of the tile's side, is cut.
_EDGE_PART = 0.01


def predict_sources(
    mosaics: PathLike | Sequence[PathLike],
    detector: Detector | PathLike,
    out: PathLike,
    *,
    score: float = 0.5,
    window: int | None = None,
    overlap: float = 0.3,
    device: str = "auto",
) -> pd.DataFrame:
    """Find the sources of mosaics and write a result folder; the same call resumes an interrupted search.

    Parameters
    ----------
    mosaics
        FITS files, folders of them, or glob patterns.
    detector
        Detector, or the folder of one or of its run.
    out
        Folder for the catalogue, DS9 regions, label images, pictures and report.html; see
        `radiossl.detection.report.write_detections`.
    score, window, overlap
        See `detect_mosaic`.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    DataFrame
        The catalogue; see `radiossl.detection.report.make_catalogue` for its columns.

    Raises
    ------
    RadiosslError
        If a mosaic or the detector cannot be read, an option is out of range, or another process writes to `out`.

    See Also
    --------
    radiossl.detection.training.train_detector : Trains a detector.

    Examples
    --------
    >>> catalogue = radiossl.predict_sources("mosaics/*.fits", "run", "found", window=150)  # doctest: +SKIP
    >>> catalogue[["ra_deg", "dec_deg", "class", "source_score", "flux_jy"]]  # doctest: +SKIP
    """
    require("pycocotools")
    check_result_folder(out, __name__)
    paths = find_mosaics(mosaics)
    model = detector if isinstance(detector, Detector) else load_detector(detector, device)
    kept = Path(out) / ".parts"
    with only_writer(out):
        searched = []
        for path, label in zip(paths, mosaic_labels(paths), strict=True):
            with Mosaic.open(path) as mosaic:
                found = detect_mosaic(model, mosaic, window=window, overlap=overlap, score=score, kept=kept)
            searched.append(SearchedMosaic(mosaic, label, found))
        catalogue = make_catalogue(searched, model)
        write_detections(searched, catalogue, model, out)
        shutil.rmtree(kept, ignore_errors=True)
    return catalogue


def detect_mosaic(
    detector: Detector,
    mosaic: Mosaic,
    *,
    kept: Path,
    window: int | None = None,
    overlap: float = 0.3,
    score: float = 0.5,
) -> list[Detection]:
    """Find the sources of an open mosaic, in its pixels, the best first.

    The folder `kept` holds the objects of finished rows of tiles, from which a search is resumed. `window` is the side
    of a tile in pixels, by default the detector's `field_px`: the beam should cover as many pixels of the network's
    input as in the training images, so give a smaller window for a smaller beam. `overlap` is the fraction of a tile's
    side shared with the next one; larger sources are seen in pieces and merged.
    """
    side = detector.config.field_px if window is None else window
    if detector.config.infrared:
        raise RadiosslError(
            f"{detector.name}: needs infrared images beside the radio ones, which a mosaic does not have"
        )
    check_number("--window", side, 16, whole=True)
    check_number("--overlap", overlap, 0, 0.9)
    check_number("--score", score, 0, 1, above=True, below=True)
    rows = [list(row) for _, row in groupby(window_boxes(mosaic.shape, side, overlap), key=lambda box: box.y0)]
    key = f"{detector.sha256}\0{file_stamp(mosaic.path)}\0{side}\0{overlap}\0{score}"
    what = f"finding sources in {mosaic.path.name}"
    found = find_in_parts(rows, lambda row: [_in_tiles(detector, mosaic, row, score)], kept, key, what)
    return merge(item for objects in found for item in objects)


def _in_tiles(detector: Detector, mosaic: Mosaic, boxes: Sequence[Box], score: float) -> list[Detection]:
    """Objects in a row of tiles, in pixels of the mosaic, not yet merged."""
    found, field = [], detector.config.field
    for start in range(0, len(boxes), BATCH):
        batch = boxes[start : start + BATCH]
        read = zip(batch, mosaic.read_boxes(batch), strict=True)
        chosen = [(box, tile) for box, tile in read if np.isnan(tile).mean() <= _MOST_BLANK]
        if not chosen:
            continue
        tiles = [tile for _, tile in chosen]
        prepared = torch.stack(map_on_cores(lambda tile: field.prepare(tile[None]), tiles))
        results = detect_prepared(detector, prepared, [tile.shape for tile in tiles])
        for (box, _), objects in zip(chosen, results, strict=True):
            for item in objects:
                # A tile larger than the mosaic reaches beyond it.
                placed = item.shifted(box.x0, box.y0).cropped(mosaic.shape)
                if placed is not None and placed.source_score >= score:
                    found.append(replace(placed, cut=_touches_edge(placed.extent, box, mosaic.shape)))
    return found


def _touches_edge(extent: Box, tile: Box, shape: tuple[int, int]) -> bool:
    """Whether an object touches an edge of its tile that is not the mosaic's."""
    margin = max(1, round(_EDGE_PART * tile.width))
    sides = zip(extent[:2], extent[2:], tile[:2], tile[2:], shape[::-1], strict=True)
    return any(
        (low > 0 and at < low + margin) or (low + length < whole and at + size > low + length - margin)
        for at, size, low, length, whole in sides
    )
