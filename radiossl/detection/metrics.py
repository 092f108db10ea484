"""Completeness and reliability of detections, as in Riggi et al. 2024, section 4.3."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.detection.annotations import Annotations
from radiossl.detection.objects import Detection, is_source
from radiossl.evaluation.intervals import wilson_interval

#: Name of the group of all classes that are real sources.
SOURCE = "SOURCE"


@dataclass(frozen=True, eq=False)
class Matches:
    """True objects and detections of all images, matched within a group of classes.

    Attributes
    ----------
    true_image, true_row
        Image and place in it of each true object of the group, shape (n,).
    found
        Which of them were found, shape (n,).
    said_image, said_row
        Image and place of each detection of the group, shape (m,).
    real
        Which of them match a true object, shape (m,).
    """

    true_image: NDArray[np.int64]
    true_row: NDArray[np.int64]
    found: NDArray[np.bool_]
    said_image: NDArray[np.int64]
    said_row: NDArray[np.int64]
    real: NDArray[np.bool_]


def source_classes(classes: Sequence[str]) -> list[str]:
    """Return the classes that are real sources: all but artefacts and flagged objects."""
    return [name for name in classes if is_source(name)]


def match(
    annotations: Annotations,
    found: Sequence[Sequence[Detection]],
    group: Collection[str],
    *,
    score: float = 0.5,
    overlap: float = 0.6,
) -> Matches:
    """Match detections with true objects of the same group of classes.

    A detection is rated by the probability of its class if the group has no other, else by its source score. In every
    image the detections of the group choose in the order of their ratings, each the object of largest overlap among
    those of the group that are left, if that is large enough. Crowds count neither for nor against.

    Parameters
    ----------
    annotations
        The truth.
    found
        Detections in each of its images.
    group
        Names of classes.
    score, overlap
        Least score of a detection, and least intersection over union of the masks (0.5 and 0.6 in Riggi et al. 2024).
    """
    from pycocotools import mask as coco

    rating = attrgetter("score" if len(group) == 1 else "source_score")
    truth: list[tuple[int, int, bool]] = []
    said: list[tuple[int, int, bool]] = []
    for number, (image, objects) in enumerate(zip(annotations.images, found, strict=True)):
        true = [row for row, item in enumerate(image.objects) if item.category in group and not item.crowd]
        crowds = [row for row, item in enumerate(image.objects) if item.category in group and item.crowd]
        mine = [row for row, item in enumerate(objects) if item.label in group and rating(item) >= score]
        mine.sort(key=lambda row: -rating(objects[row]))
        masks = [objects[row].encoded(image.shape) for row in mine]
        known = true + crowds
        shared = np.zeros((len(mine), len(known)))
        if mine and known:
            flags = [int(image.objects[row].crowd) for row in known]
            shared = np.asarray(coco.iou(masks, [image.objects[row].pixels for row in known], flags))
        left = np.ones(len(true), dtype=bool)
        for place, row in enumerate(mine):
            open_overlaps = np.where(left, shared[place, : len(true)], -1.0)
            best = int(open_overlaps.argmax()) if left.any() else -1
            real = best >= 0 and open_overlaps[best] >= overlap
            if real:
                left[best] = False
            elif (shared[place, len(true) :] >= overlap).any():
                continue
            said.append((number, row, bool(real)))
        truth += [(number, row, not bool(open_)) for row, open_ in zip(true, left, strict=True)]
    columns = [np.array(column) for rows in (truth, said) for column in _columns(rows)]
    true_image, true_row, hit, said_image, said_row, real_ones = columns
    return Matches(
        true_image.astype(np.int64),
        true_row.astype(np.int64),
        hit.astype(bool),
        said_image.astype(np.int64),
        said_row.astype(np.int64),
        real_ones.astype(bool),
    )


def _columns(rows: list[tuple[int, int, bool]]) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(3)]


def scores(matches: Matches) -> dict[str, Any]:
    """Return completeness, reliability and F1 with the numbers and Wilson's intervals of one standard deviation.

    F1 = 2 J / (1 + J) with J = TP / (TP + FP + FN), a proportion, from whose interval that of F1 follows.
    """
    true, found = len(matches.found), int(matches.found.sum())
    said, real = len(matches.real), int(matches.real.sum())
    row: dict[str, Any] = {"true": true, "detected": said, "matched": found}
    for name, hits, of in (("completeness", found, true), ("reliability", real, said)):
        low, high = wilson_interval(hits, of)
        row |= {name: hits / of if of else np.nan, f"{name}_low": float(low), f"{name}_high": float(high)}
    jaccard = np.array([found / max(true + said - found, 1), *wilson_interval(found, true + said - found)], dtype=float)
    f1 = 2 * jaccard / (1 + jaccard) if true + said else np.full(3, np.nan)
    return row | dict(zip(("f1", "f1_low", "f1_high"), f1.tolist(), strict=True))


def class_table(
    annotations: Annotations, found: Sequence[Sequence[Detection]], *, score: float = 0.5, overlap: float = 0.6
) -> pd.DataFrame:
    """Return the `scores` of every class and of the group SOURCE, column ``class``, the group last."""
    groups = {name: [name] for name in annotations.classes} | {SOURCE: source_classes(annotations.classes)}
    return pd.DataFrame(
        [
            {"class": name} | scores(match(annotations, found, group, score=score, overlap=overlap))
            for name, group in groups.items()
        ]
    )


def binned_table(
    matches: Matches, of_true: NDArray[np.floating], of_said: NDArray[np.floating], edges: Sequence[float]
) -> pd.DataFrame:
    """Return completeness and reliability in bins of a property, such as size.

    Parameters
    ----------
    matches
        Of the group.
    of_true, of_said
        The property of each true object, shape (n,), and of each detection, shape (m,); NaN is in no bin.
    edges
        Of the bins, rising; the upper one belongs to the next bin, but for the last.
    """
    rows = []
    for number, (low, high) in enumerate(pairwise(edges)):
        last = number == len(edges) - 2
        true, said = ((v >= low) & ((v <= high) if last else (v < high)) for v in (of_true, of_said))
        row: dict[str, Any] = {"low": low, "high": high, "true": int(true.sum()), "detected": int(said.sum())}
        for name, hits, within in (("completeness", matches.found, true), ("reliability", matches.real, said)):
            count, of = int(hits[within].sum()), int(within.sum())
            below, above = wilson_interval(count, of)
            row |= {name: count / of if of else np.nan, f"{name}_low": float(below), f"{name}_high": float(above)}
        rows.append(row)
    return pd.DataFrame(rows)
