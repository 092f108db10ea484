"""How far the objects of a detector can be trusted: prediction sets and an out-of-distribution score.

Both are learnt on validation images, which the network was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pycocotools import mask as coco
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from radiossl.detection.annotations import Annotations
from radiossl.detection.objects import Detection
from radiossl.evaluation.confidence import Novelty, coverage_table, fit_novelty, fit_thresholds, held_out_sets
from radiossl.io.errors import RadiosslError

CONFIDENCE_FILE = "confidence.safetensors"
#: Fraction of the objects of each class whose prediction set should contain their class.
COVERAGE = 0.9
#: With fewer true objects found in the validation images there is nothing to learn from.
LEAST_OBJECTS = 30
#: A detection shows an annotated object if their masks overlap by this intersection over union.
_LEAST_IOU = 0.5
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class DetectorConfidence:
    """Learnt from what the detector found in validation images.

    The outlier score is that of the means of the network's pyramid around an object. The features behind the next two
    layers, from which the class is predicted, tell surveys apart less well.
    """

    thresholds: NDArray[np.float64]  # of the prediction sets, shape (classes,); see `fit_thresholds`
    novelty: Novelty

    def save(self, folder: Path) -> None:
        """Write it into a detector's folder."""
        about = {"thresholds": self.thresholds, "unit": np.asarray(self.novelty.unit)}
        save_file(about | self.novelty.arrays, folder / CONFIDENCE_FILE)

    @classmethod
    def load(cls, folder: Path, classes: int) -> DetectorConfidence | None:
        """Read it from a detector's folder; None if there is none. Raise `RadiosslError` if it is damaged."""
        file = folder / CONFIDENCE_FILE
        if not file.is_file():
            return None
        try:
            arrays = load_file(file)
            thresholds, unit = arrays.pop("thresholds"), float(arrays.pop("unit"))
            novelty = Novelty(**arrays, unit=unit)
            fits = thresholds.shape == (classes,) and novelty.whitening.shape[:1] == novelty.middle.shape
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise RadiosslError(f"{file}: damaged ({' '.join(str(error).split())})") from None
        if not fits:
            raise RadiosslError(f"{file}: damaged, or of another detector")
        return cls(thresholds, novelty)


def fit_confidence(
    annotations: Annotations, found: Sequence[Sequence[Detection]], classes: Sequence[str]
) -> tuple[DetectorConfidence, pd.DataFrame] | None:
    """Learn from what was found in validation images; None if there are too few true objects among it.

    Sets are learnt from the true objects, outlier scores from all that were found: where not every source is annotated
    the others are no outliers. Returns the `DetectorConfidence`, and a `coverage_table` of sets whose thresholds come
    from other images.
    """
    features, shown, probabilities, truth, images = [], [], [], [], []
    for number, (image, objects) in enumerate(zip(annotations.images, found, strict=True)):
        objects = [item for item in objects if item.features is not None]
        features += [item.features for item in objects]
        shown += [number] * len(objects)
        known = [item for item in image.objects if not item.crowd]
        if not known or not objects:
            continue
        masks = [item.encoded(image.shape) for item in objects]
        overlaps = np.asarray(coco.iou(masks, [item.pixels for item in known], [0] * len(known)))
        for item, shared in zip(objects, overlaps, strict=True):
            if shared.max() >= _LEAST_IOU:
                probabilities.append([item.probabilities[name] for name in classes])
                truth.append(classes.index(known[int(shared.argmax())].category))
                images.append(number)
    if len(truth) < LEAST_OBJECTS:
        return None
    chances, labels, image_of = np.array(probabilities), np.array(truth), np.array(images)
    novelty = fit_novelty(np.array(features), np.array(shown))
    confidence = DetectorConfidence(fit_thresholds(chances, labels, COVERAGE), novelty)
    sets = held_out_sets(chances, labels, image_of % _FOLDS, COVERAGE)
    return confidence, coverage_table(sets, labels, classes)
