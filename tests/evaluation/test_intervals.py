"""Intervals and comparisons against formulas and draws written out."""

import numpy as np
import pytest
from astropy.stats import binom_conf_interval

from radiossl import RadiosslError
from radiossl.evaluation import intervals
from radiossl.evaluation.intervals import ONE_SIGMA, paired_bootstrap, wilson_interval

# Wilson ---------------------------------------------------------------------------------------------------------------


def test_one_of_four_by_hand():
    # z = 1: centre (1/4 + 1/8) / (5/4) = 0.3; half (4/5) sqrt(3/64 + 1/64) = 0.2
    low, high = wilson_interval(1, 4)
    assert (low, high) == (pytest.approx(0.1, abs=1e-4), pytest.approx(0.5, abs=1e-4))


@pytest.mark.parametrize("level", [ONE_SIGMA, 0.95])
def test_intervals_equal_astropys(level):
    successes, trials = np.array([[0, 1, 50], [7, 3, 999]]), np.array([[5, 1, 100], [7, 40, 1000]])
    expected = binom_conf_interval(successes, trials, confidence_level=level, interval="wilson")
    np.testing.assert_allclose(wilson_interval(successes, trials, level), expected, atol=1e-12)


def test_no_trials_have_no_interval():
    number = np.arange(1, 200)
    assert (wilson_interval(0, number)[0] == 0).all()  # exactly: no 3e-18
    assert (wilson_interval(number, number)[1] == 1).all()
    assert np.isnan(wilson_interval([0, 1], [0, 2])).tolist() == [[True, False], [True, False]]


def test_impossible_level_is_refused():
    with pytest.raises(RadiosslError, match="between 0 and 1, not 68"):
        wilson_interval(1, 2, 68)


# Bootstrap ------------------------------------------------------------------------------------------------------------


def literal_bootstrap(a, b, groups, draws, seed):
    """Differences of accuracies of test sets whose groups are drawn one by one."""
    rng = np.random.default_rng(seed)
    names = np.unique(groups)
    rows = {name: np.flatnonzero(groups == name) for name in names}
    differences = []
    for _ in range(draws):
        drawn = np.concatenate([rows[name] for name in rng.choice(names, len(names))])
        differences.append(b[drawn].mean() - a[drawn].mean())
    return np.array(differences)


@pytest.fixture(scope="module")
def outcomes():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 200)
    hard = rng.random(40)[groups]
    return rng.random(200) > hard, rng.random(200) > hard - 0.06, groups


@pytest.mark.parametrize("grouped", [False, True])
def test_bootstrap_equals_the_literal_one(outcomes, grouped, monkeypatch):
    monkeypatch.setattr(intervals, "_ENTRIES", 1000)  # several chunks
    a, b, groups = outcomes
    literal = literal_bootstrap(a, b, groups if grouped else np.arange(200), 4000, seed=1)
    result = paired_bootstrap(a, b, draws=20_000, seed=2, groups=groups if grouped else None)
    assert result.difference == pytest.approx(b.mean() - a.mean())
    assert (result.low, result.high) == pytest.approx(np.quantile(literal, [0.15865, 0.84135]), abs=0.006)
    assert result.probability == pytest.approx((literal > 0).mean() + (literal == 0).mean() / 2, abs=0.03)
    assert result.draws == 20_000


def test_dependent_objects_widen_the_interval():
    a, b = np.tile([True, False], 50), np.tile([False, True], 50)
    alone = paired_bootstrap(a, b, draws=2000)
    groups = np.tile([0, 1], 50)  # two sources, fifty cutouts each
    together = paired_bootstrap(a, b, draws=2000, groups=groups)
    assert together.high - together.low > 5 * (alone.high - alone.low)


def test_equal_classifiers_are_as_good_as_each_other(outcomes):
    result = paired_bootstrap(outcomes[0], outcomes[0], draws=100)
    assert (result.difference, result.low, result.high, result.probability) == (0, 0, 0, 0.5)


def test_always_better_is_certain_and_the_seed_decides(outcomes):
    a, b, _ = outcomes
    assert paired_bootstrap(np.zeros(9, bool), np.ones(9, bool), draws=50).probability == 1
    assert paired_bootstrap(a, b, draws=500, seed=3) == paired_bootstrap(a, b, draws=500, seed=3)
    assert paired_bootstrap(a, b, draws=500, seed=3) != paired_bootstrap(a, b, draws=500, seed=4)


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ([True], [True, False], {}, "one value for each object"),
        ([], [], {}, "one value for each object"),
        ([0.5], [1.0], {}, "True or False"),
        ([True], [True], {"groups": [1, 2]}, "1 objects but groups"),
        ([True], [True], {"draws": 0}, "draws must be at least 1"),
    ],
)
def test_comparisons_that_cannot_be_made_are_refused(a, b, options, message):
    with pytest.raises(RadiosslError, match=message):
        paired_bootstrap(np.array(a), np.array(b), **options)
