"""Finding sources in a mosaic of any size: in overlapping tiles, and one list of objects in the end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from radiossl.detection.inference import BATCH, detect_prepared
from radiossl.detection.merging import merge
from radiossl.detection.network import Detector
from radiossl.detection.objects import Detection, as_plain, from_plain
from radiossl.images.parallel import map_on_cores
from radiossl.io.errors import RadiosslError
from radiossl.io.files import read_json, write_json
from radiossl.io.parts import write_parts
from radiossl.survey.blind import window_boxes
from radiossl.survey.mosaic import Box, Mosaic

#: Tiles with more than this part of their pixels blank are not looked at.
_MOST_BLANK = 0.99
#: An object whose pixels come this close to an inner edge of its tile, as a part of the tile's side, is cut.
_EDGE_PART = 0.01


def detect_mosaic(
    detector: Detector,
    mosaic: Mosaic,
    *,
    window: int | None = None,
    overlap: float = 0.3,
    score: float = 0.5,
    kept: Path | None = None,
) -> list[Detection]:
    """Find the sources of a mosaic.

    Parameters
    ----------
    detector
        In evaluation mode.
    mosaic
        An open mosaic.
    window
        Side of a tile in pixels; the detector's `field_px` if None. A beam should have as many pixels of the network
        as in the training images, so give a smaller window for a smaller beam.
    overlap
        Part of a tile's side that it shares with the next one; larger sources are seen in pieces and put together.
    score
        Least source score of an object.
    kept
        Folder in which the objects of finished rows of tiles are kept, so that an interrupted search goes on.

    Returns
    -------
    list
        Objects in pixels of the mosaic, the best first.

    Raises
    ------
    RadiosslError
        If an option is out of range, the mosaic is damaged, or the detector needs an infrared image.
    """
    side = detector.config.field_px if window is None else window
    if detector.config.preprocessing.infrared:
        raise RadiosslError(f"{detector.name}: needs infrared images beside the radio ones, which a mosaic has not")
    if side < 16 or not 0 <= overlap <= 0.9 or not 0 < score < 1:
        raise RadiosslError(
            f"--window {side}, --overlap {overlap:g}, --score {score:g}: expected at least 16 pixels, an overlap from 0"
            " to 0.9 and a score between 0 and 1"
        )
    boxes = window_boxes(mosaic.shape, side, overlap)
    rows = [list(row) for _, row in groupby(boxes, key=lambda box: box.y0)]
    name = f"finding sources in {mosaic.path.name}"
    if kept is None:
        return merge(item for row in rows for item in _in_tiles(detector, mosaic, row, score))
    key = _key(detector, mosaic, side, overlap, score)
    parts = [(kept / f"{key}-{number:05d}.json", row) for number, row in enumerate(rows)]

    def write(file: Path, row: list[Box]) -> None:
        write_json(file, [as_plain(item) for item in _in_tiles(detector, mosaic, row, score)])

    write_parts(parts, write, name)
    return merge(from_plain(entry) for file, _ in parts for entry in read_json(file))


def _in_tiles(detector: Detector, mosaic: Mosaic, boxes: Sequence[Box], score: float) -> list[Detection]:
    """Objects in a row of tiles, in pixels of the mosaic, not yet put together."""
    found = []
    config = detector.config
    for start in range(0, len(boxes), BATCH):
        chosen, tiles = [], []
        batch = boxes[start : start + BATCH]
        for box, tile in zip(batch, mosaic.read_boxes(batch), strict=True):
            if np.isnan(tile).mean() <= _MOST_BLANK:
                chosen.append(box)
                tiles.append(tile)
        if not tiles:
            continue
        prepared = torch.stack(map_on_cores(lambda tile: config.preprocessing.prepare(tile[None]), tiles))
        results = detect_prepared(detector, prepared, [tile.shape for tile in tiles])
        for box, objects in zip(chosen, results, strict=True):
            for item in objects:
                # A tile larger than the mosaic reaches beyond it.
                placed = item.shifted(box.x0, box.y0).cropped(mosaic.shape)
                if placed is not None and placed.source_score >= score:
                    found.append(_with_cut(placed, box, mosaic.shape))
    return found


def _with_cut(item: Detection, tile: Box, shape: tuple[int, int]) -> Detection:
    """Note whether an object touches an edge of its tile that is not the mosaic's."""
    margin = max(1, round(_EDGE_PART * tile.width))
    x0, y0, width, height = item.extent
    cut = (
        (tile.x0 > 0 and x0 < tile.x0 + margin)
        or (tile.y0 > 0 and y0 < tile.y0 + margin)
        or (tile.x0 + tile.width < shape[1] and x0 + width > tile.x0 + tile.width - margin)
        or (tile.y0 + tile.height < shape[0] and y0 + height > tile.y0 + tile.height - margin)
    )
    return replace(item, cut=cut)


def _key(detector: Detector, mosaic: Mosaic, side: int, overlap: float, score: float) -> str:
    """What the objects of a tile depend on, hashed."""
    known = mosaic.path.stat()
    text = (
        f"{detector.sha256}\0{mosaic.path.resolve()}\0{known.st_size}\0{known.st_mtime_ns}\0{side}\0{overlap}\0{score}"
    )
    return hashlib.sha256(text.encode()).hexdigest()[:24]
