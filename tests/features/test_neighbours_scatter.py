"""Principal axes of batches against those of all rows at once."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from radiossl.features.neighbours import Scatter


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("batch", [1, 7, 200])
def test_batches_give_the_principal_components_of_all_rows(batch, offset):
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(200, 5)) * [5, 4, 3, 2, 1]) @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + offset
    scatter = Scatter(5)
    for start in range(0, len(rows), batch):
        scatter.add(rows[start : start + batch])
    mean, axes, variances = scatter.principal_axes()

    expected = PCA(5, svd_solver="full").fit(rows)
    assert scatter.count == 200
    np.testing.assert_allclose(mean, expected.mean_)
    np.testing.assert_allclose(variances * 200 / 199, expected.explained_variance_, rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(axes * expected.components_, axis=1)), 1, rtol=1e-9)
    assert (axes[np.arange(5), np.abs(axes).argmax(axis=1)] > 0).all()


def test_single_precision_rows_are_summed_in_double_precision():
    rows = np.random.default_rng(1).normal(1.0, 1e-3, (50_000, 3)).astype(np.float32)
    scatter = Scatter(3)
    scatter.add(rows)
    np.testing.assert_allclose(
        scatter.principal_axes()[2], PCA(3).fit(rows.astype(float)).explained_variance_, rtol=1e-4
    )
