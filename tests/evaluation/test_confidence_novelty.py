"""The out-of-distribution score against Mahalanobis distances written out."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from radiossl.evaluation.confidence import fit_novelty


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6)) * np.array([1, 1, 10, 1, 0.1, 100])
    return rng.normal(size=(800, 6)) @ mixing


def test_scores_are_mahalanobis_distances(rows):
    novelty = fit_novelty(rows)
    middle, spread = np.median(rows, axis=0), (rows - np.median(rows, axis=0)).std(axis=0)
    standard = (rows - middle) / spread
    precision = np.linalg.inv(ledoit_wolf(standard, assume_centered=True)[0])
    literal = np.sqrt(np.einsum("ij,jk,ik->i", standard, precision, standard))
    found = novelty.scores(rows)
    np.testing.assert_allclose(found * novelty.unit, literal, rtol=1e-3)
    assert (found > 1).mean() == pytest.approx(0.01, abs=0.006)


def test_what_is_correlated_otherwise_is_found(rows):
    """Each column by itself looks usual."""
    rng = np.random.default_rng(1)
    shuffled = np.stack([rng.permutation(column) for column in rows[:400].T], axis=1)
    novelty = fit_novelty(rows[:400])
    both, kind = np.concatenate([rows[400:], shuffled]), np.repeat([0, 1], 400)
    assert roc_auc_score(kind, novelty.scores(both)) > 0.8
    single = np.abs((both - np.median(rows, axis=0)) / rows.std(axis=0)).max(axis=1)
    assert roc_auc_score(kind, single) < 0.6


def test_one_in_a_hundred_is_unusual_however_many_columns_there_are():
    """Rows that a covariance was estimated from lie nearer than others: the unit is measured on held-out folds."""
    rng = np.random.default_rng(0)
    novelty = fit_novelty(rng.normal(size=(300, 120)))
    assert (novelty.scores(rng.normal(size=(4000, 120))) > 1).mean() < 0.03


def test_no_more_than_one_in_a_hundred_is_unusual_to_those_who_saw_a_hundred_and_ten():
    """A quantile between the two largest of so few distances is exceeded twice as often as promised."""
    rng = np.random.default_rng(0)
    shares = [(fit_novelty(rng.normal(size=(110, 5))).scores(rng.normal(size=(2000, 5))) > 1).mean() for _ in range(40)]
    assert np.mean(shares) < 0.01


def test_missing_values_are_usual_and_rows_of_nothing_have_no_score(rows):
    gaps = rows.copy()
    gaps[::3, 2] = np.nan
    gaps[5] = np.nan
    novelty = fit_novelty(gaps)
    scores = novelty.scores(gaps)
    assert np.flatnonzero(np.isnan(scores)).tolist() == [5]
    assert np.nanmedian(scores[::3]) < 1
    constant = np.zeros((10, 2))
    assert np.isfinite(fit_novelty(constant).scores(constant)).all()
