"""Folds: those of scikit-learn where every object is alone, and whole groups where it is not."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from radiossl import RadiosslError
from radiossl.evaluation.folds import draw_folds, most_folds, source_groups
from tests.evaluation.stores import unplaced

NAMES = np.array(["a"] * 60 + ["b"] * 30)


def grouped(seed=0, names=NAMES, size=3):
    """Groups of up to `size` members at random."""
    return np.random.default_rng(seed).permutation(np.arange(len(names)) // size) * 7


@pytest.mark.parametrize("groups", [None, np.arange(90)[::-1] * 3])
def test_objects_on_their_own_get_the_folds_of_scikit_learn(groups):
    splits = draw_folds(NAMES, 5, 2, 4, groups)
    expected = [
        split for seed in (4, 5) for split in StratifiedKFold(5, shuffle=True, random_state=seed).split(NAMES, NAMES)
    ]
    assert len(splits) == len(expected) == 10
    for split, (train, test) in zip(splits, expected, strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


def test_groups_stay_together_and_every_object_is_tested_once_a_seed():
    groups = grouped()
    splits = draw_folds(NAMES, 5, 3, 0, groups)
    for split in splits:
        assert not set(groups[split.train]) & set(groups[split.test])
        assert sorted([*split.train, *split.test]) == list(range(90))
    for start in (0, 5, 10):
        assert sorted(np.concatenate([split.test for split in splits[start : start + 5]])) == list(range(90))


@pytest.mark.parametrize("seed", range(5))
def test_grouped_folds_are_stratified(seed):
    for split in draw_folds(NAMES, 5, 1, seed, grouped(seed)):
        assert abs((NAMES[split.test] == "a").sum() - 12) <= 2
        assert abs((NAMES[split.test] == "b").sum() - 6) <= 2


def test_one_large_group_fills_a_fold_and_the_rest_is_shared():
    groups = np.arange(90)
    groups[:14], groups[60:66] = 1000, 1000
    sizes = sorted(len(split.test) for split in draw_folds(NAMES, 5, 1, 0, groups))
    assert sizes[-1] <= 21
    assert sizes[0] >= 16


def test_the_seed_alone_decides():
    groups = grouped()
    first, again, other = (draw_folds(NAMES, 5, 1, seed, groups) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.test, two.test)
    assert any(not np.array_equal(one.test, two.test) for one, two in zip(first, other, strict=True))
    later = draw_folds(NAMES, 5, 2, 0, groups)[5:]
    assert all(np.array_equal(one.test, two.test) for one, two in zip(first, later, strict=True))


def test_the_names_of_groups_do_not_matter():
    groups = grouped()
    for one, two in zip(draw_folds(NAMES, 5, 1, 0, groups), draw_folds(NAMES, 5, 1, 0, groups + 5), strict=True):
        np.testing.assert_array_equal(one.test, two.test)


def test_refusals():
    with pytest.raises(RadiosslError, match="--folds 1: expected a whole number of at least 2"):
        draw_folds(NAMES, 1)
    with pytest.raises(RadiosslError, match="class 'b' has 30 objects: too few for 31 folds"):
        draw_folds(NAMES, 31)
    groups = np.arange(90)
    groups[60:] = 60 + np.arange(30) % 3
    with pytest.raises(RadiosslError, match="class 'b' is in only 3 groups of positions: too few for 4 folds"):
        draw_folds(NAMES, 4, groups=groups)
    assert len(draw_folds(NAMES, 3, groups=groups)) == 3


def test_position_groups_of_a_store(small_store):
    # A tenth of a degree of right ascension at declination -5 is 358.6 arcsec.
    assert len(set(source_groups(small_store))) == 24
    assert len(set(source_groups(small_store, 358.0))) == 24
    assert len(set(source_groups(small_store, 359.0))) == 1


def test_the_smallest_class_says_how_many_folds_there_can_be():
    assert most_folds(NAMES) == 30
    groups = np.arange(90)
    groups[60:] = 60 + np.arange(30) % 3
    assert most_folds(NAMES, groups) == 3
    assert len(draw_folds(NAMES, most_folds(NAMES, groups), groups=groups)) == 3


def test_pictures_without_a_position_are_grouped_by_what_they_show(store_of, sky):
    """Copies are found though they are turned, in other units or 8 bits; different fields stay apart."""
    fields = [sky(seed, (64, 64), sources=3) for seed in range(6)]
    small = [np.random.default_rng(seed).normal(size=(12, 12)).astype(np.float32) for seed in range(2)]
    copies = [fields[0].copy(), 1000 * fields[1], fields[2][::-1].copy(), np.rot90(fields[3]).copy(), small[0].copy()]
    store = unplaced(store_of([*fields, *small, *copies]))
    groups = source_groups(store)
    assert groups[:8].tolist() == list(range(8))
    assert groups[8:].tolist() == [0, 1, 2, 3, 6]


def test_a_picture_without_a_position_is_found_among_those_with_one(store_of, sky):
    field = sky(3, (64, 64), sources=3)
    store = store_of([field, sky(4, (64, 64), sources=3), field])
    assert source_groups(store).tolist() == [0, 1, 2], "a degree apart: two sources, whatever they look like"
    assert source_groups(unplaced(store, [2])).tolist() == [0, 1, 0]
