"""Prediction sets hold the class as often as they claim, and what is unlike the validation images is flagged."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from radiossl.detection.confidence import CONFIDENCE_FILE, DetectorConfidence, fit_confidence
from radiossl.detection.prediction import detect_prepared, find_in_parts
from radiossl.detection.report import SearchedMosaic, make_catalogue
from radiossl.evaluation.confidence import fit_novelty, prediction_sets
from radiossl.io.errors import RadiosslError

from .conftest import blobs
from .test_metrics import seen, truth
from .test_report_measuring import disc, mosaic_of, point_sources

CLASSES = ("FR-II", "R")


def validation(images, seed=0, shift=0.0):
    """One object in each image, found with a probability that is right more often than not, and with features."""
    rng = np.random.default_rng(seed)
    names = [CLASSES[n % 2] for n in range(images)]
    found = []
    for name in names:
        right = float(np.clip(rng.normal(0.7, 0.2), 0.02, 0.98))
        chances = {name: right, CLASSES[1 - CLASSES.index(name)]: 1 - right}
        item = dataclasses.replace(seen(5, 5, 10, 10), probabilities=chances, features=rng.normal(shift, 1, 6))
        found.append([item, seen(30, 30, 5, 5)])  # a second one, which is annotated nowhere
    return truth(*([(name, (5, 5, 10, 10))] for name in names), classes=CLASSES), found


def rows(found):
    return np.array([objects[0].features for objects in found])


def test_sets_hold_the_class_as_often_as_asked_and_strange_objects_are_flagged():
    confidence, coverage = fit_confidence(*validation(600), CLASSES)
    annotations, found = validation(600, seed=1)
    chances = np.array([[objects[0].probabilities[name] for name in CLASSES] for objects in found])
    labels = np.array([CLASSES.index(image.objects[0].category) for image in annotations.images])
    sets = prediction_sets(chances, confidence.thresholds)
    assert sets[np.arange(600), labels].mean() == pytest.approx(0.9, abs=0.04)
    assert 0.02 < (~sets.all(axis=1)).mean() < 1
    assert coverage.set_index("class").loc["all", "coverage"] == pytest.approx(0.9, abs=0.03)
    assert (confidence.novelty.scores(rows(found)) > 1).mean() < 0.04
    assert (confidence.novelty.scores(rows(validation(100, shift=4.0)[1])) > 1).mean() > 0.95


def test_what_is_found_but_not_annotated_is_no_outlier():
    annotations, found = validation(300)
    others = [objects[0].features for objects in validation(300, seed=2, shift=4.0)[1]]
    both = [[a, dataclasses.replace(b, features=own)] for (a, b), own in zip(found, others, strict=True)]
    strange = rows(validation(300, seed=3, shift=4.0)[1])
    alone, together = (fit_confidence(annotations, each, CLASSES)[0] for each in (found, both))
    assert (alone.novelty.scores(strange) > 1).mean() > 0.95
    assert (together.novelty.scores(strange) > 1).mean() < 0.05
    np.testing.assert_array_equal(together.thresholds, alone.thresholds)  # sets are learnt from annotated objects


def test_a_few_objects_teach_nothing():
    assert fit_confidence(*validation(29), CLASSES) is None
    annotations, found = validation(60)
    assert fit_confidence(annotations, [objects[1:] for objects in found], CLASSES) is None


def test_it_is_kept_with_the_detector_and_damage_is_noticed(tmp_path):
    confidence, _ = fit_confidence(*validation(60), CLASSES)
    assert DetectorConfidence.load(tmp_path, 2) is None
    confidence.save(tmp_path)
    again, features = DetectorConfidence.load(tmp_path, 2), np.random.default_rng(5).normal(size=(4, 6))
    np.testing.assert_array_equal(again.novelty.scores(features), confidence.novelty.scores(features))
    np.testing.assert_array_equal(again.thresholds, confidence.thresholds)
    with pytest.raises(RadiosslError, match="of another detector"):
        DetectorConfidence.load(tmp_path, 3)
    (tmp_path / CONFIDENCE_FILE).write_bytes(b"no safetensors at all")
    with pytest.raises(RadiosslError, match="damaged"):
        DetectorConfidence.load(tmp_path, 2)


def test_a_catalogue_tells_what_cannot_be_excluded_and_what_is_strange(detector, tmp_path):
    field = detector.config.field
    images = [blobs(seed)[0] for seed in range(8)]
    objects = detect_prepared(detector, torch.stack([field.prepare(image[None]) for image in images]), [(64, 64)] * 8)
    features = np.array([item.features for found in objects for item in found])
    sure = copy.copy(detector)
    sure.confidence = DetectorConfidence(np.array([0.7, np.inf]), fit_novelty(features))
    [found] = find_in_parts(
        [images[0]],
        lambda image: detect_prepared(sure, field.prepare(image[None])[None], [image.shape]),
        tmp_path,
        "k",
        "",
    )
    assert len(found) > 0
    assert all(0 < item.outlier_score < 3 for item in found)
    mosaic = mosaic_of(tmp_path, point_sources([(30, 40)], [0.05]))
    probabilities = ({"a": 0.35, "b": 0.5}, {"a": 0.1, "b": 0.8})
    found = [dataclasses.replace(disc(30, 40 + 9 * n), probabilities=p) for n, p in enumerate(probabilities)]
    catalogue = make_catalogue([SearchedMosaic(mosaic, "m", found)], sure)
    assert catalogue["prediction_set"].tolist() == ["a|b", "b"]
    assert catalogue["outlier_score"].isna().all()
    assert len(make_catalogue([SearchedMosaic(mosaic, "m", [])], sure)) == 0
    assert "prediction_set" not in make_catalogue([SearchedMosaic(mosaic, "m", found)], detector)
