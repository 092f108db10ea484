"""Average precision as in COCO, computed by its reference code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radiossl.detection.annotations import Annotations
from radiossl.detection.network import LEAST_SCORE
from radiossl.detection.objects import Detection


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision, averaged over the classes that occur; NaN if none does. .ap50 at an overlap of 0.5"""

    ap: float  # mean over overlaps of 0.5, 0.55, ... 0.95
    ap50: float
    ap75: float
    by_class: dict[str, float]  # `ap50` of each class


def average_precision(
    annotations: Annotations, found: Sequence[Sequence[Detection]], *, boxes: bool = False, one_class: bool = False
) -> AveragePrecision:
    """Compute COCO's average precision with pycocotools, from the detections in each image down to a low score.

    The overlap is that of masks, or with `boxes` of boxes. An object is listed under every class with its probability;
    with `one_class` classes are ignored, and objects are ranked by their source score.
    """
    from pycocotools import mask as coco
    from pycocotools.cocoeval import COCOeval

    numbers = {name: number for number, name in enumerate(annotations.classes, start=1)}
    truth: list[dict[str, Any]] = []
    detected: list[dict[str, Any]] = []
    for place, (image, objects) in enumerate(zip(annotations.images, found, strict=True)):
        for known in image.objects:
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": place,
                    "category_id": numbers[known.category],
                    "segmentation": known.pixels,
                    "bbox": coco.toBbox(known.pixels).tolist(),
                    "area": float(coco.area(known.pixels)),
                    "iscrowd": int(known.crowd),
                }
            )
        for item in objects:
            where = {
                "image_id": place,
                "segmentation": item.encoded(image.shape),
                "bbox": [item.x0, item.y0, item.mask.shape[1], item.mask.shape[0]],
            }
            scores = {item.label: item.source_score} if one_class else item.probabilities
            detected += [
                where | {"category_id": numbers[name], "score": value}
                for name, value in scores.items()
                if name in numbers and value >= LEAST_SCORE
            ]
    if not detected or not truth:
        nothing = 0.0 if truth else float("nan")
        return AveragePrecision(nothing, nothing, nothing, dict.fromkeys(annotations.classes, nothing))
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        known_objects = _index(annotations, truth)
        evaluation = COCOeval(known_objects, known_objects.loadRes(detected), "bbox" if boxes else "segm")
        evaluation.params.useCats = not one_class
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (overlaps, recalls, classes), -1 where there is no truth
    precision = np.where(precision < 0, np.nan, precision)
    overlaps = evaluation.params.iouThrs
    names = ("all",) if one_class else annotations.classes
    at50 = [_mean(precision[np.isclose(overlaps, 0.5), :, number]) for number in range(len(names))]
    return AveragePrecision(
        _mean(precision),
        _mean(precision[np.isclose(overlaps, 0.5)]),
        _mean(precision[np.isclose(overlaps, 0.75)]),
        dict(zip(names, at50, strict=True)),
    )


def _index(annotations: Annotations, truth: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    indexed = COCO()
    indexed.dataset = {
        "info": {},
        "images": [{"id": n, "height": i.shape[0], "width": i.shape[1]} for n, i in enumerate(annotations.images)],
        "annotations": truth,
        "categories": [{"id": n, "name": name} for n, name in enumerate(annotations.classes, start=1)],
    }
    indexed.createIndex()
    return indexed


def _mean(precision: np.ndarray) -> float:
    known = precision[~np.isnan(precision)]
    return float(known.mean()) if known.size else float("nan")
