"""Completeness and reliability of detections (Riggi et al. 2024, section 4.3), and average precision as in COCO."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pycocotools import mask as coco

from radiossl.detection.annotations import Annotations
from radiossl.detection.network import LEAST_SCORE
from radiossl.detection.objects import Detection, is_source
from radiossl.evaluation.intervals import f1_scores, proportion_scores

#: Name of the group of all classes that are real sources.
SOURCE = "SOURCE"


@dataclass(frozen=True, eq=False)
class DetectionMatches:
    """True objects and detections of all images, matched within a group of classes."""

    true: pd.DataFrame  # ``image``, ``row`` (its place in the image), ``found``
    detected: pd.DataFrame  # ``image``, ``row``, ``real`` (it matches a true object)


def source_classes(classes: Sequence[str]) -> list[str]:
    """Return the classes that are real sources: all but artefacts and flagged objects."""
    return [name for name in classes if is_source(name)]


def match_objects(
    annotations: Annotations,
    found: Sequence[Sequence[Detection]],
    group: Collection[str],
    *,
    score: float = 0.5,
    iou: float = 0.6,
) -> DetectionMatches:
    """Match detections with true objects of the same group of classes.

    The score of a detection is the probability of its class if the group has no other, else its source score. In every
    image the detections of the group choose in the order of their scores, each the object with the largest intersection
    over union of masks among those of the group that are left, if it is large enough. Crowds count neither for nor
    against. Riggi et al. 2024 have a score of 0.5 and 0.6 of overlap.
    """
    rate = attrgetter("score" if len(group) == 1 else "source_score")
    true_rows: list[tuple[int, int, bool]] = []
    detected_rows: list[tuple[int, int, bool]] = []
    for number, (image, objects) in enumerate(zip(annotations.images, found, strict=True)):
        mine = [row for row, item in enumerate(objects) if item.label in group and rate(item) >= score]
        mine.sort(key=lambda row: -rate(objects[row]))
        known = [row for row, item in enumerate(image.objects) if item.category in group]
        known.sort(key=lambda row: image.objects[row].crowd)  # crowds come last
        crowds = np.array([image.objects[row].crowd for row in known], dtype=bool)
        overlaps = np.zeros((len(mine), len(known)))
        if mine and known:
            masks = [objects[row].encoded(image.shape) for row in mine]
            overlaps[:] = coco.iou(masks, [image.objects[row].pixels for row in known], crowds.tolist())
        free = ~crowds
        for row, shared in zip(mine, overlaps, strict=True):
            best = int(np.where(free, shared, -1.0).argmax()) if free.any() else -1
            real = best >= 0 and bool(shared[best] >= iou)
            if real:
                free[best] = False
            if real or not (shared[crowds] >= iou).any():
                detected_rows.append((number, row, real))
        true_rows += [(number, row, not left) for row, left in zip(known, free[~crowds].tolist(), strict=False)]
    return DetectionMatches(_frame(true_rows, "found"), _frame(detected_rows, "real"))


def _frame(rows: list[tuple[int, int, bool]], matched: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image", "row", matched]).astype({"image": int, "row": int, matched: bool})


def scores(matches: DetectionMatches) -> dict[str, Any]:
    """Return completeness, reliability and F1 with the numbers and Wilson's intervals of one standard deviation."""
    found, real = matches.true["found"], matches.detected["real"]
    hits = int(found.sum())
    counts = {"true": len(found), "detected": len(real), "matched": hits}
    return counts | _rates(found, real) | f1_scores(hits, len(found) + len(real) - hits)


def _rates(found: pd.Series, real: pd.Series) -> dict[str, float]:
    completeness = proportion_scores("completeness", int(found.sum()), len(found))
    return completeness | proportion_scores("reliability", int(real.sum()), len(real))


def class_table(
    annotations: Annotations, found: Sequence[Sequence[Detection]], *, score: float = 0.5, iou: float = 0.6
) -> pd.DataFrame:
    """Return the `scores` of every class and of the group SOURCE, column ``class``, the group last.

    Where one of several classes is called SOURCE itself, the group is called "any SOURCE".
    """
    classes = annotations.classes
    groups = [(name, [name]) for name in classes if classes != (SOURCE,)]
    groups.append((f"any {SOURCE}" if SOURCE in classes[:-1] + classes[1:] else SOURCE, source_classes(classes)))
    matched = [(name, match_objects(annotations, found, group, score=score, iou=iou)) for name, group in groups]
    return pd.DataFrame([{"class": name} | scores(matches) for name, matches in matched])


def binned_table(
    matches: DetectionMatches, true_values: ArrayLike, detected_values: ArrayLike, edges: Sequence[float]
) -> pd.DataFrame:
    """Return completeness and reliability in bins of a property, such as size; NaN is in no bin.

    The property is that of each true object, shape (n,), and of each detection, shape (m,). Edges rise; the upper one
    of a bin belongs to the next bin, except for the last.
    """
    places = [np.asarray(values, dtype=float) for values in (true_values, detected_values)]
    rows = []
    for low, high in pairwise(edges):
        inside = [(x >= low) & ((x <= high) if high == edges[-1] else (x < high)) for x in places]
        true, detected = matches.true["found"][inside[0]], matches.detected["real"][inside[1]]
        row = {"low": low, "high": high, "true": len(true), "detected": len(detected)}
        rows.append(row | _rates(true, detected))
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class AveragePrecision:
    """Average precision, averaged over the classes that occur; NaN if none does."""

    ap: float  # mean over overlaps of 0.5, 0.55, ... 0.95
    ap50: float  # at an overlap of 0.5
    ap75: float
    by_class: dict[str, float]  # `ap50` of each class


def average_precision(
    annotations: Annotations, found: Sequence[Sequence[Detection]], *, boxes: bool = False, one_class: bool = False
) -> AveragePrecision:
    """Compute COCO's average precision with pycocotools, from the detections in each image down to a low score.

    The overlap is that of masks, or with `boxes` of boxes. An object is listed under every class with its probability;
    with `one_class` classes are ignored, and objects are ranked by their source score.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    numbers = {name: number for number, name in enumerate(annotations.classes, start=1)}
    truth: list[dict[str, Any]] = []
    detected: list[dict[str, Any]] = []
    for place, (image, objects) in enumerate(zip(annotations.images, found, strict=True)):
        for known in image.objects:
            entry: dict[str, Any] = {"id": len(truth) + 1, "image_id": place, "category_id": numbers[known.category]}
            entry |= {"segmentation": known.pixels, "bbox": coco.toBbox(known.pixels).tolist()}
            truth.append(entry | {"area": float(coco.area(known.pixels)), "iscrowd": int(known.crowd)})
        for item in objects:
            where = {"image_id": place, "segmentation": item.encoded(image.shape), "bbox": list(item.extent)}
            scores = {item.label: item.source_score} if one_class else item.probabilities
            detected += [
                where | {"category_id": numbers[name], "score": value}
                for name, value in scores.items()
                if name in numbers and value >= LEAST_SCORE
            ]
    if not detected or not truth:
        nothing = 0.0 if truth else float("nan")
        return AveragePrecision(nothing, nothing, nothing, dict.fromkeys(annotations.classes, nothing))
    known_objects = COCO()
    known_objects.dataset = {
        "info": {},
        "images": [{"id": n, "height": i.shape[0], "width": i.shape[1]} for n, i in enumerate(annotations.images)],
        "annotations": truth,
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        known_objects.createIndex()
        evaluation = COCOeval(known_objects, known_objects.loadRes(detected), "bbox" if boxes else "segm")
        evaluation.params.useCats = not one_class
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # (overlaps, recalls, classes), -1 where there is no truth
    precision = np.where(precision < 0, np.nan, precision)
    overlaps = evaluation.params.iouThrs
    names = ("all",) if one_class else annotations.classes
    at50, at75 = (precision[np.isclose(overlaps, overlap)] for overlap in (0.5, 0.75))
    by_class = {name: _mean(at50[:, :, number]) for number, name in enumerate(names)}
    return AveragePrecision(_mean(precision), _mean(at50), _mean(at75), by_class)


def _mean(precision: np.ndarray) -> float:
    known = precision[~np.isnan(precision)]
    return float(known.mean()) if known.size else float("nan")
