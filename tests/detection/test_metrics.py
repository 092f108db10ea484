"""Matches and scores, beside slow ones and numbers known in advance."""

import dataclasses

import numpy as np
import pytest

from radiossl.detection.annotations import AnnotatedImage, Annotations, TrueObject
from radiossl.detection.metrics import SOURCE, average_precision, binned_table, class_table, match_objects, scores
from radiossl.detection.objects import run_lengths
from radiossl.survey.mosaic import Box

from .test_objects import thing

SHAPE = (60, 60)


def rectangle(x, y, width, height):
    mask = np.zeros(SHAPE, bool)
    mask[y : y + height, x : x + width] = True
    return run_lengths(mask)


def truth(*images, classes=("R", "FR-II", "spurious")):
    built = [
        AnnotatedImage(n, f"{n}.png", SHAPE, tuple(TrueObject(name, rectangle(*box)) for name, box in objects))
        for n, objects in enumerate(images)
    ]
    return Annotations("a.json", classes, tuple(built))


def seen(x, y, width, height, label="R", score=0.9, **more):
    return thing(x, y, np.ones((height, width)), label, score, **more)


def test_matching_is_that_of_a_slow_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        boxes = [("R", (*rng.integers(0, 30, 2), *rng.integers(8, 20, 2))) for _ in range(4)]
        known = truth(boxes)
        said = [
            seen(*(int(v + d) for v, d in zip(box, rng.integers(-2, 3, 4), strict=True)), score=rng.uniform(0.4, 1))
            if min(box) > 2
            else seen(3, 3, 5, 5)
            for _, box in boxes
        ]
        result = match_objects(known, [said], ["R"])
        left = {row: known.images[0].objects[row].mask for row in range(4)}
        hits = {}
        order = sorted((n for n in range(4) if said[n].score >= 0.5), key=lambda n: -said[n].score)
        for number in order:
            mine = said[number].within(Box(0, 0, *SHAPE))
            overlaps = {row: (mine & mask).sum() / (mine | mask).sum() for row, mask in left.items()}
            best = max(overlaps, key=overlaps.get, default=None)
            hits[number] = best is not None and overlaps[best] >= 0.6
            if hits[number]:
                left.pop(best)
        assert dict(zip(result.detected["row"], result.detected["real"], strict=True)) == hits
        assert set(result.true["row"][~result.true["found"]]) == set(left)


def test_a_wrong_class_still_counts_as_a_source_but_an_artefact_does_not():
    known = truth([("R", (5, 5, 10, 10)), ("spurious", (40, 40, 10, 10))])
    table = class_table(known, [[seen(5, 5, 10, 10, "FR-II"), seen(40, 40, 10, 10, "R")]]).set_index("class")
    assert (table.loc["R", "matched"], table.loc["FR-II", "detected"], table.loc["FR-II", "matched"]) == (0, 1, 0)
    assert table.loc[SOURCE, ["true", "detected", "matched"]].tolist() == [1, 2, 1]


def test_a_source_is_rated_by_the_sum_of_its_classes_and_a_class_by_its_own():
    known = truth([("R", (5, 5, 10, 10))])
    table = class_table(known, [[seen(5, 5, 10, 10, "R", 0.41, source_score=0.8)]]).set_index("class")
    assert (table.loc["R", "completeness"], table.loc[SOURCE, "completeness"]) == (0, 1)


def test_a_class_that_is_called_as_the_group_of_all_keeps_its_row():
    known = truth([("SOURCE", (5, 5, 10, 10)), ("R", (40, 40, 10, 10))], classes=("R", "SOURCE"))
    table = class_table(known, [[seen(5, 5, 10, 10, "SOURCE")]])
    assert table["class"].tolist() == ["R", "SOURCE", "any SOURCE"]
    assert table["completeness"].tolist() == [0, 1, 0.5]
    assert class_table(truth([("SOURCE", (5, 5, 10, 10))], classes=("SOURCE",)), [[]])["class"].tolist() == ["SOURCE"]


def test_scores_are_those_of_the_counts():
    known = truth([("R", (5, 5, 10, 10)), ("R", (40, 40, 10, 10)), ("R", (5, 40, 10, 10))])
    row = scores(
        match_objects(known, [[seen(5, 5, 10, 10), seen(40, 40, 10, 10), seen(25, 25, 9, 9), seen(40, 5, 9, 9)]], ["R"])
    )
    assert (row["true"], row["detected"], row["matched"]) == (3, 4, 2)
    assert row["completeness"] == pytest.approx(2 / 3)
    assert row["reliability"] == pytest.approx(1 / 2)
    assert row["f1"] == pytest.approx(2 * 2 / (3 + 4))
    assert row["f1_low"] < row["f1"] < row["f1_high"]


def test_nothing_known_and_nothing_found():
    empty = scores(match_objects(truth([]), [[]], ["R"]))
    assert np.isnan(empty["completeness"])
    assert np.isnan(empty["f1"])
    missed = scores(match_objects(truth([("R", (5, 5, 10, 10))]), [[]], ["R"]))
    assert (missed["completeness"], missed["f1"]) == (0, 0)


def test_crowds_count_neither_for_nor_against():
    image = AnnotatedImage(0, "a", SHAPE, (TrueObject("R", rectangle(0, 0, 40, 40), crowd=True),))
    result = match_objects(Annotations("a", ("R",), (image,)), [[seen(5, 5, 9, 9), seen(45, 45, 9, 9)]], ["R"])
    assert len(result.true) == 0
    assert result.detected["row"].tolist() == [1]


def test_bins_hold_every_object_once():
    known = truth([("R", (0, 0, 10, 10)), ("R", (30, 30, 20, 20))])
    result = match_objects(known, [[seen(0, 0, 10, 10)]], ["R"])
    table = binned_table(result, np.array([10.0, 20.0]), np.array([10.0]), [-np.inf, 15, np.inf])
    assert table["true"].tolist() == [1, 1]
    assert table["completeness"].tolist() == [1, 0]
    assert table["reliability"].tolist()[0] == 1
    assert np.isnan(table["reliability"].tolist()[1])


def test_average_precision_of_perfect_and_half_found_objects():
    known = truth([("R", (5, 5, 10, 10)), ("FR-II", (40, 40, 10, 10))], [("R", (20, 20, 15, 15))])
    perfect = [[seen(5, 5, 10, 10), seen(40, 40, 10, 10, "FR-II")], [seen(20, 20, 15, 15)]]
    result = average_precision(known, perfect)
    assert (result.ap, result.ap50, result.by_class["R"]) == pytest.approx((1, 1, 1))
    assert np.isnan(result.by_class["spurious"])
    half = average_precision(known, [[seen(5, 5, 10, 10)], []])
    assert half.by_class["R"] == pytest.approx(51 / 101)  # recalls 0, 0.01, ... 0.5 of 101
    assert half.by_class["FR-II"] == 0
    assert average_precision(known, [[], []]).ap50 == 0


def test_an_object_is_listed_under_all_its_classes_but_once_as_a_source():
    known = truth([("R", (5, 5, 10, 10))])
    item = dataclasses.replace(seen(5, 5, 10, 10), probabilities={"FR-II": 0.5, "R": 0.4})
    assert average_precision(known, [[item]]).by_class["R"] == pytest.approx(1)
    assert average_precision(known, [[item]], one_class=True).ap50 == pytest.approx(1)
    assert average_precision(known, [[item]], one_class=True, boxes=True).ap50 == pytest.approx(1)
    unlikely = dataclasses.replace(item, probabilities={"FR-II": 0.5, "R": 0.01})
    assert average_precision(known, [[unlikely]]).by_class["R"] == 0
