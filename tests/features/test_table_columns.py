"""Columns beside features, scaled by hand."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.features.table import standard_column, with_columns


def test_positive_columns_are_taken_by_their_logarithm():
    values = np.array([10.0, 1000.0, np.nan, 10.0, 1000.0])
    np.testing.assert_allclose(standard_column(values, "size"), [-1, 1, 0, -1, 1])
    with_zero = np.array([0.0, 10.0, 20.0])
    np.testing.assert_allclose(standard_column(with_zero, "flux"), (with_zero - 10) / with_zero.std())


@pytest.mark.parametrize("values", [["a", "b"], [1.0, 1.0], [np.nan, np.nan]])
def test_columns_that_tell_nothing_are_refused(values):
    with pytest.raises(RadiosslError, match="--columns size: a column with at least two different numbers"):
        standard_column(values, "size")


@pytest.mark.parametrize("shape", [(50, 7), (8, 50, 7)])
def test_a_column_counts_as_much_as_all_features_together(shape):
    rng = np.random.default_rng(0)
    features = 100 + 30 * rng.normal(size=shape)
    column = standard_column(rng.normal(size=50), "x")[:, None]
    both = with_columns(features, column)
    assert both.shape == (*shape[:-1], 8)
    assert both[..., :7].reshape(-1, 7).var(axis=0).sum() == pytest.approx(1, rel=1e-4)
    assert both[..., 7].var() == pytest.approx(1, rel=1e-4)
    np.testing.assert_array_equal(with_columns(features, np.empty((50, 0))), features.astype(np.float32))
    collapsed = with_columns(np.ones(shape), column)
    assert np.isfinite(collapsed).all()
