"""Judging detectors on annotated images: what they find, what of it is real, and how sharply it is outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.detection.average_precision import average_precision
from radiossl.detection.examples import Source
from radiossl.detection.merging import merge
from radiossl.detection.metrics import SOURCE, Matches, binned_table, class_table, match, source_classes
from radiossl.detection.network import DetectorConfig
from radiossl.detection.objects import Detection
from radiossl.io.errors import RadiosslError
from radiossl.io.progress import track
from radiossl.store.statistics import PixelStatistics
from radiossl.survey.islands import longest_extent

#: Bins of size and brightness, with about as many true objects each.
BINS = 5


@dataclass(frozen=True)
class Judgement:
    """What a detector found in annotated images, and its scores.

    Attributes
    ----------
    name
        Of the detector.
    config
        Of the detector.
    source
        The images.
    found
        Objects in each image, down to a low score.
    score, overlap
        See `radiossl.detection.metrics.match`.
    """

    name: str
    config: DetectorConfig
    source: Source
    found: Sequence[Sequence[Detection]]
    score: float = 0.5
    overlap: float = 0.6

    def __post_init__(self) -> None:
        unknown = sorted(set(self.source.annotations.classes) ^ set(self.config.classes))
        if unknown:
            raise RadiosslError(
                f"{self.name}: knows the classes {', '.join(self.config.classes)}, but {self.source.annotations.path}"
                f" has {', '.join(self.source.annotations.classes)}; they must be the same"
            )

    @cached_property
    def objects(self) -> list[list[Detection]]:
        """The objects of each image as a catalogue would have them: good enough, each of them once."""
        return [merge(item for item in objects if item.source_score >= self.score) for objects in self.found]

    @cached_property
    def classes(self) -> pd.DataFrame:
        """Completeness, reliability and F1 of every class and of SOURCE; see `class_table`."""
        return class_table(self.source.annotations, self.objects, score=self.score, overlap=self.overlap)

    @cached_property
    def matches(self) -> Matches:
        """The matches of all real sources."""
        annotations = self.source.annotations
        group = source_classes(annotations.classes)
        return match(annotations, self.objects, group, score=self.score, overlap=self.overlap)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """One row of a table of detectors: how it was trained, average precision, and the scores of SOURCE."""
        annotations = self.source.annotations
        classes = average_precision(annotations, self.found)
        alone = average_precision(annotations, self.found, one_class=True)
        training, settings = self.config.training, self.config.training["settings"]
        whole = self.classes[self.classes["class"] == SOURCE].iloc[0].drop("class")
        return {
            "detector": self.name,
            "mode": self.config.mode,
            "fraction": settings["fraction"],
            "seed": settings["seed"],
            "images": training["images"],
            "ap": classes.ap,
            "ap50": classes.ap50,
            "ap75": classes.ap75,
            "ap50_one_class": alone.ap50,
            "ap50_boxes": average_precision(annotations, self.found, boxes=True).ap50,
            **{f"ap50[{name}]": value for name, value in classes.by_class.items()},
            **whole.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class Properties:
    """Size and brightness of objects in images.

    Attributes
    ----------
    extent_px
        Largest extent in any direction, shape (n,).
    snr
        Brightest pixel above the background in units of the image's noise; NaN where it has none.
    brightness
        Mean above the background as a fraction of the image's range, for images whose noise was cut away.
    """

    extent_px: NDArray[np.float64]
    snr: NDArray[np.float64]
    brightness: NDArray[np.float64]


def properties(source: Source, masks: Sequence[Sequence[NDArray[np.bool_]]]) -> Properties:
    """Measure objects, given as masks (height, width) for each image of a set, in its order."""
    rows = []
    for image, inside in zip(track(source.annotations.images, "measuring objects"), masks, strict=True):
        if not inside:
            continue
        pixels = source.planes(image)[0]
        noise = PixelStatistics.of(pixels)
        span = noise.maximum - noise.background
        for mask in inside:
            values = pixels[mask & np.isfinite(pixels)] - noise.background
            known = values.size > 0
            snr = float(values.max()) / noise.rms if known and noise.rms > 0 else np.nan
            rows.append(
                (
                    longest_extent(np.nonzero(mask)[0], np.nonzero(mask)[1]),
                    snr,
                    float(values.mean()) / span if known and span > 0 else np.nan,
                )
            )
    return Properties(*np.array(rows, dtype=float).reshape(-1, 3).T)


def binned(judgements: Sequence[Judgement]) -> dict[str, pd.DataFrame]:
    """Return completeness and reliability of SOURCE by size, and by signal-to-noise ratio or else brightness.

    Parameters
    ----------
    judgements
        Of the same images.

    Returns
    -------
    dict
        By the name of the property a table as of `binned_table`, with a column ``detector``.
    """
    first = judgements[0]
    source, annotations = first.source, first.source.annotations
    true = [
        [image.objects[row].mask for row in first.matches.true_row[first.matches.true_image == number]]
        for number, image in enumerate(annotations.images)
    ]
    of_true = properties(source, true)
    of_said = []
    for one in judgements:
        masks: list[list[NDArray[np.bool_]]] = [[] for _ in annotations.images]
        for number, row in zip(one.matches.said_image, one.matches.said_row, strict=True):
            shape = annotations.images[number].shape
            masks[number].append(one.objects[number][row].whole(shape))
        of_said.append(properties(source, masks))
    noisy = np.isfinite(of_true.snr).mean() > 0.5
    tables = {}
    for name in ("extent_px", "snr" if noisy else "brightness"):
        values = getattr(of_true, name)
        known = values[np.isfinite(values)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1))).tolist() if known.size else []
        if len(edges) < 2:
            continue
        # The outermost bins take what is detected beyond the true objects too.
        edges = [-np.inf, *edges[1:-1], np.inf]
        tables[name] = pd.concat(
            [
                binned_table(one.matches, values, getattr(said, name), edges).assign(detector=one.name)
                for one, said in zip(judgements, of_said, strict=True)
            ],
            ignore_index=True,
        )
    return tables
