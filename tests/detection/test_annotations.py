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
    np.testing.assert_array_equal(known.images[0].objects[0].mask, expected)
    assert known.counts() == {"FR-I": 0, "R": 1}


def test_run_lengths_are_read_compressed_and_plain(tmp_path):
    image, masks, classes = blobs(3)
    known = read_annotations(written(tmp_path, coco_content([(image, masks, classes)])))
    for row, mask in enumerate(masks):
        np.testing.assert_array_equal(known.images[0].objects[row].mask, mask)
    column_wise = masks[0].T.ravel()
    edges = np.flatnonzero(np.diff(column_wise.astype(int))) + 1
    counts = np.diff([0, *edges, column_wise.size]).tolist()
    plain = coco_content([(image, masks[:1], classes[:1])])
    plain["annotations"][0]["segmentation"] = {"size": list(image.shape), "counts": counts}
    np.testing.assert_array_equal(read_annotations(written(tmp_path, plain)).images[0].objects[0].mask, masks[0])


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
        (square() | {"images": [{"id": 1, "file_name": "a.png", "height": 10**30, "width": 9}]}, "images.0.height"),
        (square() | {"images": square()["images"] * 2}, "two images have one id"),
        (square() | {"images": [], "annotations": []}, "lists no image"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, content, message):
    with pytest.raises(RadiosslError, match=message) as error:
        read_annotations(written(tmp_path, content))
    assert "\n" not in str(error.value)
    assert "a.json" in str(error.value)


def several(*objects):
    """One image with these objects, each of them `square` with changes."""
    return square() | {"annotations": [square(id=7 + n, **one)["annotations"][0] for n, one in enumerate(objects)]}


OUTSIDE, POINT = [[20, 2, 30, 2, 30, 9]], [[2, 2, 2, 2, 2, 2]]


def test_objects_without_a_pixel_are_left_out(tmp_path):
    """A polygon without area and one outside of the image are no objects, which would count as not found."""
    content = several(
        {}, {"segmentation": POINT}, {"segmentation": OUTSIDE}, {"bbox": [3, 3, 0, 2], "segmentation": []}
    )
    with pytest.warns(UserWarning, match="3 of 4 objects left out, without a pixel in their image; the first is 8"):
        known = read_annotations(written(tmp_path, content))
    assert known.counts() == {"FR-I": 0, "R": 1}
    with pytest.raises(RadiosslError, match="none of its 2 objects has a pixel in its image"):
        read_annotations(written(tmp_path, several({"segmentation": POINT}, {"segmentation": OUTSIDE})))


def test_an_object_that_is_listed_twice_is_one(tmp_path):
    with pytest.warns(UserWarning, match="1 of 3 objects left out, the same as others; the first is 8"):
        known = read_annotations(written(tmp_path, several({}, {}, {"category_id": 2})))
    assert known.counts() == {"FR-I": 1, "R": 1}


def test_a_polygon_beyond_the_edge_ends_there(tmp_path):
    known = read_annotations(written(tmp_path, square(segmentation=[[-5, 3, 3, 3, 3, 6, -5, 6]])))
    assert (known.images[0].objects[0].mask.sum(), known.images[0].objects[0].mask[3:6, :3].all()) == (9, True)


def test_boxes_without_polygons_and_ids_are_coco(tmp_path):
    content = square(segmentation=[], bbox=[2.0, 3, 4, 5])
    content["annotations"][0] |= {"iscrowd": None, "image_id": "1"}
    del content["annotations"][0]["id"]
    with pytest.warns(UserWarning, match="1 of 1 objects without an outline, their boxes are taken for it"):
        known = read_annotations(written(tmp_path, content)).images[0].objects[0]
    np.testing.assert_array_equal(known.mask, read_annotations(written(tmp_path, square())).images[0].objects[0].mask)
    assert not known.crowd


@pytest.mark.parametrize(
    "outline",
    [[2, 3, 6, 3, 6, 8, 2, 8], [[[2, 3], [6, 3], [6, 8], [2, 8]]], [[2, 3, 6, 3, 6, 8, 2, 8], [1, 1, 2, 2]]],
)
def test_a_polygon_is_read_however_its_corners_are_nested(tmp_path, outline):
    known = read_annotations(written(tmp_path, square(segmentation=outline)))
    assert known.images[0].objects[0].mask.sum() == 20


@pytest.mark.parametrize("crowd", [0, 1, "0", "1", False, True, None])
def test_crowds_are_told_by_numbers_and_words(tmp_path, crowd):
    known = read_annotations(written(tmp_path, square(iscrowd=crowd)))
    assert known.images[0].objects[0].crowd == (str(crowd) in {"1", "True"})


def test_classes_are_in_the_order_of_their_numbers_and_named_as_labels_are(tmp_path):
    content = square() | {"categories": [{"id": i, "name": f" {n}"} for i, n in ((10, "J"), (9, "I"), ("4", "D"))]}
    assert read_annotations(written(tmp_path, content)).classes == ("D", "I", "J")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segmentation": {"size": [10, 12], "counts": [23, 5]}}, "run lengths of 28 pixels in an image of 120"),
        ({"segmentation": {"size": [10, 12], "counts": [23, 5, 500]}}, "run lengths of 528 pixels"),
        ({"segmentation": {"size": [10, 12], "counts": "g05"}}, "run lengths of 28 pixels"),
        ({"segmentation": {"size": [10, 12], "counts": []}}, "run lengths of 0 pixels"),
        ({"segmentation": {"size": [10, 12], "counts": [-3, 5, 118]}}, "a damaged run-length encoding"),
        ({"segmentation": {"size": [10, 12], "counts": [23.5, 5, 91.5]}}, "a damaged run-length encoding"),
        ({"segmentation": {"size": [10, 12], "counts": "zzz"}}, "a damaged run-length encoding"),
        ({"segmentation": {"size": [10, 12], "counts": "ü"}}, "a damaged run-length encoding"),
        ({"segmentation": {"counts": [120]}}, "expected 'size' and 'counts'"),
        ({"segmentation": [[2, 3, 6, 3, 6, 8, 2]]}, "a polygon of 7 numbers; expected pairs"),
        ({"segmentation": [[2, 3, 6, float("nan"), 6, 8]]}, "a corner at no pixel"),
        ({"segmentation": [[2, 3, 6, 1e12, 6, 8]]}, "a corner at no pixel or 1,000,000 pixels away"),
        ({"segmentation": [["a", 3, 6, 3, 6, 8]]}, "an outline that is not of numbers"),
        ({"segmentation": [[10**400, 3, 6, 3, 6, 8]]}, "an outline that is not of numbers"),
        ({"segmentation": [], "bbox": [5, 5, -2, 3]}, "a box of -2 x 3 pixels; expected x, y, width and height"),
        ({"segmentation": [], "bbox": [5, 5, float("inf"), 3]}, "bbox.2: Input should be a finite number"),
        ({"segmentation": [], "bbox": [5, 5, 3]}, "not the COCO format"),
        ({"category_id": None}, "annotations.0.category_id"),
    ],
)
def test_an_impossible_outline_is_refused(tmp_path, changes, message):
    with pytest.raises(RadiosslError, match=message) as error:
        read_annotations(written(tmp_path, square(**changes)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("counts", [[23, 5, 92], [23.0, 5.0, 92.0], "g05l2"])
def test_run_lengths_of_whole_numbers_are_read(tmp_path, counts):
    known = read_annotations(written(tmp_path, square(segmentation={"size": [10, 12], "counts": counts})))
    assert known.images[0].objects[0].mask.sum() == 5


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([{"id": 1, "file_name": "../a.png", "height": 10, "width": 12}], "expected a path inside the folder"),
        ([{"id": 1, "file_name": "/a.png", "height": 10, "width": 12}], "expected a path inside the folder"),
        ([{"id": i, "file_name": "a.png", "height": 10, "width": 12} for i in (1, 2)], "two images have one id or one"),
        ([{"id": 1, "file_name": "a.png", "height": 0, "width": 12}], "images.0.height"),
        ([{"id": [1], "file_name": "a.png", "height": 10, "width": 12}], "images.0.id"),
    ],
)
def test_impossible_images_are_refused(tmp_path, images, message):
    with pytest.raises(RadiosslError, match=message):
        read_annotations(written(tmp_path, square() | {"images": images}))


def test_nothing_to_learn_from_is_said(tmp_path):
    with pytest.raises(RadiosslError, match=r"a.json: annotates no object; there is nothing to learn from"):
        draw_images(read_annotations(written(tmp_path, square() | {"annotations": []})), 1, True, 0)
    with pytest.raises(RadiosslError, match="annotates no object"):
        draw_images(read_annotations(written(tmp_path, square(iscrowd=1))), 0.5, True, 0)
    content = square()
    content["images"] += [content["images"][0] | {"id": n, "file_name": f"{n}.png"} for n in range(2, 100)]
    with pytest.raises(RadiosslError, match=r"--fraction 0\.01: no object in the 1 images drawn"):
        draw_images(read_annotations(written(tmp_path, content)), 0.01, False, 0)


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
