"""COCO files are read as they are meant, and what is wrong with one is said in a line."""

import json

import numpy as np
import pytest

from radiossl.detection.annotations import draw_images, read_annotations
from radiossl.io.errors import RadiosslError

from .conftest import blobs, coco_content


def written(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    return path


def square(**changes):
    polygon = [2, 3, 6, 3, 6, 8, 2, 8]
    item = {"id": 7, "image_id": 1, "category_id": 4, "segmentation": [polygon], "iscrowd": 0} | changes
    image = {"id": 1, "file_name": "a.png", "height": 10, "width": 12}
    return {"images": [image], "categories": [{"id": 4, "name": "R"}, {"id": 2, "name": "FR-I"}], "annotations": [item]}


def test_polygons_cover_their_pixels(tmp_path):
    known = read_annotations(written(tmp_path, square()))
    assert known.classes == ("FR-I", "R")  # by number, whatever the order in the file
    expected = np.zeros((10, 12), bool)
    expected[3:8, 2:6] = True
    np.testing.assert_array_equal(known.images[0].mask(0), expected)
    assert known.counts() == {"FR-I": 0, "R": 1}


def test_run_lengths_are_read_compressed_and_plain(tmp_path):
    image, masks, classes = blobs(3)
    known = read_annotations(written(tmp_path, coco_content([(image, masks, classes)])))
    for row, mask in enumerate(masks):
        np.testing.assert_array_equal(known.images[0].mask(row), mask)
    column_wise = masks[0].T.ravel()
    edges = np.flatnonzero(np.diff(column_wise.astype(int))) + 1
    counts = np.diff([0, *edges, column_wise.size]).tolist()
    plain = coco_content([(image, masks[:1], classes[:1])])
    plain["annotations"][0]["segmentation"] = {"size": list(image.shape), "counts": counts}
    np.testing.assert_array_equal(read_annotations(written(tmp_path, plain)).images[0].mask(0), masks[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": []}, "expected images, annotations and categories"),
        (square(image_id=9), "object 7: is of image 9, which is not listed"),
        (square(category_id=9), "object 7: is of class 9, which is not listed"),
        (square(segmentation=[[1, 2, 3, 4]]), "object 7: has no outline"),
        (square(segmentation=None), "object 7: has no outline"),
        (square(segmentation={"size": [3, 3], "counts": "0"}), r"object 7: a mask of \[3, 3\] pixels in an image"),
        (square() | {"images": [{"id": 1}]}, "not the COCO format"),
        (square() | {"images": square()["images"] * 2}, "two images have one id"),
        (square() | {"images": [], "annotations": []}, "lists no image"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, content, message):
    with pytest.raises(RadiosslError, match=message) as error:
        read_annotations(written(tmp_path, content))
    assert "\n" not in str(error.value)
    assert "a.json" in str(error.value)


def many(tmp_path):
    """100 images: 10 with a double, 90 with a single."""
    image, masks, _ = blobs(0, objects=1)
    return read_annotations(
        written(tmp_path, coco_content([(image, masks, ["double" if n % 10 == 0 else "single"]) for n in range(100)]))
    )


def test_a_smaller_part_is_contained_in_a_larger_one(tmp_path):
    known = many(tmp_path)
    for balanced in (False, True):
        parts = [{i.image_id for i in draw_images(known, f, balanced, 3).images} for f in (0.05, 0.3, 1.0)]
        assert [len(part) for part in parts] == [5, 30, 100]
        assert parts[0] < parts[1] < parts[2]
    other = {i.image_id for i in draw_images(known, 0.3, False, 4).images}
    assert other != {i.image_id for i in draw_images(known, 0.3, False, 3).images}


def test_balanced_draws_have_the_classes_in_equal_numbers(tmp_path):
    known = many(tmp_path)
    drawn = [draw_images(known, 0.1, True, seed).counts()["double"] for seed in range(40)]
    plain = [draw_images(known, 0.1, False, seed).counts()["double"] for seed in range(40)]
    assert 3.2 < np.mean(drawn) < 5.5  # half of ten, less as the doubles run out
    assert 0.5 < np.mean(plain) < 1.6


@pytest.mark.parametrize("fraction", [0, 1.5, float("nan")])
def test_a_fraction_out_of_range_is_refused(tmp_path, fraction):
    with pytest.raises(RadiosslError, match="--fraction"):
        draw_images(many(tmp_path), fraction, False, 0)


def test_radiogalaxynet_is_read_as_it_is(real_data):
    known = read_annotations(real_data / "radiogalaxynet" / "annotations" / "val.json")
    assert len(known.images) == 420
    assert known.counts() == {"FR-II": 278, "FR-I": 87, "FR-X": 86, "R": 180}
