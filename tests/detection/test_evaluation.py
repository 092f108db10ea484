"""Detectors are evaluated on images that they were not trained on, or it is said."""

import dataclasses

import pytest

from radiossl.detection.evaluation import DetectorEvaluation, evaluate_detectors
from radiossl.detection.network import DetectorConfig
from radiossl.io.errors import RadiosslError

from .conftest import coco_content
from .test_annotations import written


@pytest.fixture
def config(tiny_backbone):
    return DetectorConfig(
        backbone=tiny_backbone.config.architecture,
        preprocessing=tiny_backbone.config.preprocessing,
        classes=("single", "double"),
        mode="frozen",
        field_px=64,
        training={"settings": {"fraction": 1.0, "seed": 0}, "images": 8},
    )


def test_images_that_were_trained_on_are_counted(config, blob_source):
    found = [[] for _ in blob_source.annotations.images]
    for known, count in ((blob_source.hashes[:3], 3), ([], 0)):
        training = config.training | ({"pixels": known} if known else {})
        one = DetectorEvaluation("d", config.model_copy(update={"training": training}), blob_source, found)
        assert one.summary["images_trained_on"] == count


def test_an_image_is_known_by_its_pixels_and_not_by_its_name(blob_source, tmp_path):
    folder = blob_source.folder
    (tmp_path / "renamed.fits").write_bytes((folder / "i3.fits").read_bytes())
    image = dataclasses.replace(blob_source.annotations.images[3], file_name="renamed.fits")
    known = dataclasses.replace(blob_source.annotations, images=(image,))
    assert dataclasses.replace(blob_source, annotations=known, folder=tmp_path).hashes == [blob_source.hashes[3]]
    assert len(set(blob_source.hashes)) == 8


def test_a_set_without_objects_is_refused(tmp_path):
    path = written(tmp_path, coco_content([]) | {"images": [{"id": 1, "file_name": "a", "height": 8, "width": 8}]})
    with pytest.raises(RadiosslError, match="annotates no object; there is nothing to find"):
        evaluate_detectors(tmp_path, path, tmp_path / "out")


def test_other_classes_are_refused(config, blob_source):
    other = config.model_copy(update={"classes": ("single", "triple")})
    with pytest.raises(RadiosslError, match="was trained on the classes single, triple, which must be those of"):
        DetectorEvaluation("d", other, blob_source, [])
