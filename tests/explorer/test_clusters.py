"""Clusters of sources that look alike."""

from __future__ import annotations

import numpy as np
import pytest

from radiossl.explorer.clusters import find_clusters
from radiossl.features.neighbours import unit


def blobs(number, per, spread=0.05, dimension=24):
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(number, dimension))
    truth = np.repeat(np.arange(number), per)
    return unit(centres[truth] + spread * rng.normal(size=(len(truth), dimension))), truth


@pytest.mark.parametrize("kind", [np.float32, np.float16])
@pytest.mark.parametrize("number", [2, 4, 8])
def test_separate_groups_are_found_and_their_number_too(number, kind):
    vectors, truth = blobs(number, 30)
    found = find_clusters(vectors.astype(kind))
    assert len(found.typical) == number
    for group in range(number):
        assert len(np.unique(found.codes[truth == group])) == 1
    assert (found.codes == find_clusters(vectors.astype(kind)).codes).all()


def test_the_largest_cluster_is_the_first_and_typical_members_are_at_its_centre():
    vectors, truth = blobs(3, 40)
    kept = np.concatenate(
        [np.flatnonzero(truth == 0)[:10], np.flatnonzero(truth == 1), np.flatnonzero(truth == 2)[:20]]
    )
    found = find_clusters(vectors[kept])
    assert np.bincount(found.codes).tolist() == [40, 20, 10]
    assert set(found.names) == {"1", "2", "3"}
    for code, rows in enumerate(found.typical):
        members = vectors[kept][found.codes == code]
        far = np.linalg.norm(members - members.mean(axis=0), axis=1)
        typical = np.linalg.norm(vectors[kept][rows] - members.mean(axis=0), axis=1)
        np.testing.assert_allclose(typical, np.sort(far)[:6], atol=1e-5)


def test_what_is_all_alike_or_too_few_has_no_clusters():
    assert find_clusters(np.ones((50, 8), np.float32) / np.sqrt(8)) is None
    assert find_clusters(unit(np.random.default_rng(0).normal(size=(7, 4)))) is None
