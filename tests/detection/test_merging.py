"""One source is one object, whatever tiles and boxes it was seen in."""

import numpy as np

from radiossl.detection.merging import islands, merge
from radiossl.survey.mosaic import Box

from .test_objects import thing


def ellipse(height, width):
    y, x = np.indices((height, width)) + 0.5
    return (2 * y / height - 1) ** 2 + (2 * x / width - 1) ** 2 <= 1


def test_the_same_source_of_two_tiles_is_one():
    [kept] = merge([thing(50, 50, ellipse(20, 30), score=0.7), thing(51, 50, ellipse(20, 30), score=0.9)])
    assert (kept.score, kept.x0, kept.merged) == (0.9, 51, False)


def test_neighbours_stay_apart():
    assert len(merge([thing(50, 50, np.ones((10, 10))), thing(59, 50, np.ones((10, 10)))])) == 2


def test_a_piece_gives_way_to_the_whole_even_if_it_scores_better():
    whole = thing(50, 50, ellipse(20, 60), score=0.6)
    piece = thing(50, 50, whole.mask[:, :25], score=0.95, cut=True)
    [kept] = merge([piece, whole])
    assert kept is whole


def test_pieces_cut_by_tiles_are_put_together():
    """A source longer than a tile, cut by four overlapping tiles, comes out as it is."""
    whole = thing(40, 70, ellipse(31, 300))
    pieces = []
    for left in range(0, 400, 70):
        tile = Box(left, 0, 100, 200)
        seen = whole.within(tile)
        if seen.any():
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            mask = seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            piece = thing(left + int(columns[0]), int(rows[0]), mask, score=0.5 + left / 1000, cut=True)
            pieces.append(piece)
    assert len(pieces) >= 4
    for order in (pieces, pieces[::-1], [pieces[i] for i in (2, 0, 3, 1, *range(4, len(pieces)))]):
        [kept] = merge(order)
        assert kept.merged
        np.testing.assert_array_equal(kept.within(Box(0, 0, 400, 200)), whole.within(Box(0, 0, 400, 200)))


def test_the_whole_beats_its_brighter_lobe_but_not_a_sure_source_in_a_doubtful_box():
    lobes = np.concatenate([ellipse(20, 20), np.zeros((20, 20), bool), ellipse(20, 20)], axis=1)
    lobe = thing(50, 50, ellipse(20, 20), score=0.9)
    [kept] = merge([lobe, thing(50, 50, lobes, score=0.6)])
    assert (kept.area, kept.merged) == (lobes.sum(), True)
    [kept] = merge([lobe, thing(50, 50, lobes, score=0.4)])
    assert kept is lobe


def test_a_core_between_two_lobes_is_an_island_of_their_source():
    lobes = np.concatenate([ellipse(20, 20), np.zeros((20, 30), bool), ellipse(20, 20)], axis=1)
    core, outside = thing(82, 58, np.ones((5, 5)), score=0.9), thing(82, 40, np.ones((5, 5)), score=0.8)
    kept = merge([thing(50, 50, lobes, score=0.6), core, outside])
    assert sorted(islands(item.mask) for item in kept) == [1, 3]
    assert len(merge([thing(50, 50, np.ones((20, 70)), score=0.6), outside])) == 2


def test_no_two_objects_share_half_of_their_pixels():
    rng = np.random.default_rng(0)
    found = [
        thing(int(x), int(y), ellipse(int(h), int(w)), score=float(s), cut=bool(c))
        for x, y, h, w, s, c in zip(
            *rng.integers(0, 300, (2, 150)),
            *rng.integers(5, 60, (2, 150)),
            rng.uniform(0.1, 1, 150),
            rng.random(150) < 0.2,
            strict=True,
        )
    ]
    kept = merge(found)
    assert 10 < len(kept) < 150
    whole = [item for item in kept if not item.merged]
    assert all(a.shared(b) < 0.5 * min(a.area, b.area) for i, a in enumerate(whole) for b in whole[:i])
    assert [item.source_score for item in kept] == sorted((item.source_score for item in kept), reverse=True)
