"""Objects are drawn where the network says, and put together pixel by pixel."""

import numpy as np
import pytest
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from radiossl.detection.objects import Detection, as_plain, draw_object, from_plain, is_source
from radiossl.survey.mosaic import Box


def thing(x0, y0, mask, label="R", score=0.8, **more):
    mask = np.asarray(mask, bool)
    rest = more.pop("source_score", score) - score
    probabilities = {label: score} | ({"another": rest} if rest > 0 else {})
    return Detection(probabilities, (x0, y0, x0 + mask.shape[1], y0 + mask.shape[0]), x0, y0, mask, **more)


def full(item, shape=(40, 50)):
    return item.within(Box(0, 0, shape[1], shape[0]))


def test_masks_are_drawn_as_torchvision_pastes_them():
    rng = np.random.default_rng(0)
    y, x = np.indices((28, 28))
    for _ in range(20):
        cy, cx = rng.uniform(8, 20, 2)
        heat = 1 / (1 + np.exp(np.hypot(y - cy, x - cx) - rng.uniform(4, 8)))
        low = rng.uniform(0, 40, 2)
        box = np.concatenate([low, low + rng.uniform(25, 60, 2)])
        item = draw_object({"R": 0.5}, tuple(box), heat, (100, 100))
        pasted = paste_masks_in_image(
            torch.from_numpy(heat)[None, None].float(), torch.from_numpy(box)[None].float(), (100, 100)
        )[0, 0]
        ours, theirs = full(item, (100, 100)), pasted.numpy() >= 0.5
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.85  # they round boxes to whole pixels


def test_a_box_is_filled_to_its_edges():
    item = draw_object({"R": 0.5}, (3.0, 4.0, 9.0, 6.0), np.ones((28, 28)), (20, 20))
    assert item.extent == Box(3, 4, 6, 2)
    assert item.area == 12
    assert draw_object({"R": 0.5}, (-9.0, 0.0, -1.0, 5.0), np.ones((28, 28)), (20, 20)) is None
    assert draw_object({"R": 0.5}, (0.0, 0.0, 5.0, 5.0), np.zeros((28, 28)), (20, 20)) is None


def test_sharing_and_uniting_are_those_of_whole_images():
    rng = np.random.default_rng(1)
    for _ in range(30):
        (x0, y0), (x1, y1) = rng.integers(0, 20, (2, 2)).tolist()
        one, two = thing(x0, y0, rng.random((9, 14)) < 0.6), thing(x1, y1, rng.random((12, 7)) < 0.6)
        assert one.shared(two) == (full(one) & full(two)).sum()
        np.testing.assert_array_equal(full(one.united(two)), full(one) | full(two))
        np.testing.assert_array_equal(full(one.shifted(3, 5)), np.roll(full(one), (5, 3), (0, 1)))
        np.testing.assert_array_equal(full(from_plain(as_plain(one))), full(one))


def test_outlines_go_around_the_pixels():
    item = thing(5, 7, [[1, 1, 0, 1], [1, 1, 0, 0]])
    lines = item.outlines()
    assert len(lines) == 2  # an island each
    x, y = np.concatenate(lines).T
    assert (x.min(), x.max(), y.min(), y.max()) == (4.5, 8.5, 6.5, 8.5)


@pytest.mark.parametrize(
    ("label", "source"), [("Sidelobes", False), ("artifacts", False), ("spurious", False), ("R", True)]
)
def test_artefacts_are_no_sources_in_the_plural_either(label, source):
    assert is_source(label) == source


def test_a_source_is_as_sure_as_all_classes_of_its_kind():
    square = np.ones((4, 4), bool)
    item = Detection({"FR-I": 0.3, "FR-II": 0.4, "SPURIOUS": 0.2}, (0, 0, 4, 4), 0, 0, square)
    assert (item.label, item.score) == ("FR-II", 0.4)
    assert item.source_score == pytest.approx(0.7)
    artefact = Detection({"FR-I": 0.3, "FR-II": 0.1, "SPURIOUS": 0.35}, (0, 0, 4, 4), 0, 0, square)
    assert (artefact.label, artefact.source_score) == ("SPURIOUS", 0.35)
