"""Evaluating detectors on annotated images: what they find, how much of it is real, and how well it is outlined."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.detection.examples import AnnotatedSet, open_annotated
from radiossl.detection.images import Reader
from radiossl.detection.merging import merge
from radiossl.detection.metrics import (
    DetectionMatches,
    average_precision,
    binned_table,
    class_table,
    match_objects,
    source_classes,
)
from radiossl.detection.network import DetectorConfig, detector_name, load_detector
from radiossl.detection.objects import Detection
from radiossl.detection.prediction import detect_set
from radiossl.evaluation.metric_by_column import quantile_edges
from radiossl.io.errors import RadiosslError, check_number, counted
from radiossl.io.extras import require
from radiossl.io.files import PathLike, path_list
from radiossl.io.locks import only_writer
from radiossl.io.progress import track
from radiossl.io.results import check_result_folder
from radiossl.store.statistics import PixelStatistics
from radiossl.survey.islands import longest_extent

#: Bins of size and brightness, with about as many true objects each.
BINS = 5


def evaluate_detectors(
    detectors: PathLike | Sequence[PathLike],
    annotations: AnnotatedSet | PathLike,
    out: PathLike,
    *,
    images: PathLike | None = None,
    reader: Reader = "plain",
    score: float = 0.5,
    iou: float = 0.6,
    device: str = "auto",
) -> pd.DataFrame:
    """Evaluate detectors on annotated images and write a result folder; the same call resumes if interrupted.

    Parameters
    ----------
    detectors
        Folders of detectors or of their runs.
    annotations
        COCO file of the images.
    out
        Folder for tables, figures and report.html.
    images, reader
        See `radiossl.detection.examples.open_annotated`.
    score, iou
        Minimum score of a detection, and minimum intersection over union of masks that match.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Returns
    -------
    DataFrame
        One row for each detector: see `DetectorEvaluation.summary`.

    Raises
    ------
    RadiosslError
        If a detector or image cannot be read, a detector has other classes than the annotations, no object is
        annotated, or an option is out of range.

    Examples
    --------
    >>> table = radiossl.evaluate_detectors(["finetune", "scratch"], "val.json", "out")  # doctest: +SKIP
    >>> table[["detector", "ap50", "completeness", "reliability", "f1"]]  # doctest: +SKIP
    """
    require("pycocotools")
    from radiossl.detection.evaluation_report import write_evaluation

    check_number("--score", score, 0, 1, above=True, below=True)
    check_number("--iou", iou, 0, 1, above=True)
    check_result_folder(out, __name__)
    paths = [Path(one) for one in path_list(detectors)]
    names = [detector_name(path.resolve()) for path in paths]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise RadiosslError(f"two detectors are called {min(twice)}; rename the folder of one")
    source = open_annotated(annotations, images, reader)
    if not any(source.annotations.counts().values()):
        raise RadiosslError(f"{source.annotations.path}: annotates no object; there is nothing to find")
    models = [load_detector(path, device) for path in paths]
    with only_writer(out):
        evaluations = [
            DetectorEvaluation(name, model.config, source, detect_set(model, source, Path(out) / ".parts"), score, iou)
            for name, model in zip(names, models, strict=True)
        ]
        table = pd.DataFrame([one.summary for one in evaluations])
        write_evaluation(evaluations, table, out)
    for row in table[table["images_trained_on"] > 0].itertuples():
        trained = f"{row.images_trained_on} of these {counted(len(source.annotations.images), 'image')}"
        warnings.warn(f"{row.detector}: was trained on {trained}; its scores are optimistic", stacklevel=2)
    return table


@dataclass(frozen=True)
class DetectorEvaluation:
    """The objects that a detector found in annotated images, and its scores."""

    name: str
    config: DetectorConfig
    source: AnnotatedSet
    found: Sequence[Sequence[Detection]]  # objects in each image, down to a low score
    score: float = 0.5  # see `match_objects`, also for iou
    iou: float = 0.6

    def __post_init__(self) -> None:
        if set(self.source.annotations.classes) != set(self.config.classes):
            raise RadiosslError(
                f"{self.name}: was trained on the classes {', '.join(self.config.classes)}, which must be those of"
                f" {self.source.annotations.path}, {', '.join(self.source.annotations.classes)}"
            )

    @cached_property
    def objects(self) -> list[list[Detection]]:
        """The objects of each image as in a catalogue: above the score, each of them once."""
        return [merge(item for item in objects if item.source_score >= self.score) for objects in self.found]

    @cached_property
    def classes(self) -> pd.DataFrame:
        """Completeness, reliability and F1 of every class and of SOURCE; see `class_table`."""
        return class_table(self.source.annotations, self.objects, score=self.score, iou=self.iou)

    @cached_property
    def matches(self) -> DetectionMatches:
        """The matches of all real sources."""
        annotations = self.source.annotations
        group = source_classes(annotations.classes)
        return match_objects(annotations, self.objects, group, score=self.score, iou=self.iou)

    def mask(self, image: int, row: int) -> NDArray[np.bool_]:
        """Return the pixels (height, width) of one of the `objects` of an image."""
        return self.objects[image][row].whole(self.source.annotations.images[image].shape)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """One row of a table of detectors: how it was trained, average precision, and the scores of SOURCE.

        ``images_trained_on`` counts images whose very pixels it was trained on (none known for detectors of 0.1).
        """
        annotations, training = self.source.annotations, self.config.training
        classes = average_precision(annotations, self.found)
        known = set(training.get("pixels", ()))
        return {
            **{"detector": self.name, "mode": self.config.mode},
            **{name: training["settings"][name] for name in ("fraction", "seed")},
            "images": training["images"],
            "images_trained_on": sum(one in known for one in self.source.hashes) if known else 0,
            **{"ap": classes.ap, "ap50": classes.ap50, "ap75": classes.ap75},
            "ap50_one_class": average_precision(annotations, self.found, one_class=True).ap50,
            "ap50_boxes": average_precision(annotations, self.found, boxes=True).ap50,
            **{f"ap50[{name}]": value for name, value in classes.by_class.items()},
            **self.classes.iloc[-1].drop("class").to_dict(),
        }


def measure_properties(
    source: AnnotatedSet, matched: pd.DataFrame, mask_of: Callable[[int, int], NDArray[np.bool_]]
) -> pd.DataFrame:
    """Measure objects of a set, a row for each of those in the columns ``image`` and ``row`` of `DetectionMatches`.

    `mask_of` returns the pixels (height, width) of an object by these numbers.
    ``extent_px``: largest extent in any direction; ``snr``: brightest pixel above the background in units of the
    image's noise, NaN where it has none; ``brightness``: mean above the background as a fraction of the image's range,
    for images whose noise was cut away.
    """
    rows = []
    for number, mine in track(matched.groupby("image")["row"], "measuring objects"):
        pixels = source.planes(source.annotations.images[number])[0]
        noise = PixelStatistics.of(pixels)
        span = noise.maximum - noise.background
        for mask in (mask_of(number, row) for row in mine):
            values = pixels[mask & np.isfinite(pixels)] - noise.background
            known = values.size > 0
            snr = float(values.max()) / noise.rms if known and noise.rms > 0 else np.nan
            brightness = float(values.mean()) / span if known and span > 0 else np.nan
            rows.append((longest_extent(np.nonzero(mask)[0], np.nonzero(mask)[1]), snr, brightness))
    return pd.DataFrame(rows, columns=["extent_px", "snr", "brightness"], dtype=float)


def binned_scores(evaluations: Sequence[DetectorEvaluation]) -> dict[str, pd.DataFrame]:
    """Return completeness and reliability of SOURCE by size, and by signal-to-noise ratio or else brightness.

    By the name of the property, a table as of `binned_table` with a column ``detector``; all are of the same images.
    """
    source = evaluations[0].source
    images = source.annotations.images
    true = measure_properties(source, evaluations[0].matches.true, lambda number, row: images[number].objects[row].mask)
    detected = [measure_properties(source, one.matches.detected, one.mask) for one in evaluations]
    noisy = np.isfinite(true["snr"]).mean() > 0.5
    tables = {}
    for name in ("extent_px", "snr" if noisy else "brightness"):
        edges = quantile_edges(true[name].to_numpy(), BINS).tolist()
        if len(edges) < 2:
            continue
        # The outermost bins take what is detected beyond the true objects too.
        edges = [-np.inf, *edges[1:-1], np.inf]
        rows = [
            binned_table(one.matches, true[name], said[name], edges).assign(detector=one.name)
            for one, said in zip(evaluations, detected, strict=True)
        ]
        tables[name] = pd.concat(rows, ignore_index=True)
    return tables
