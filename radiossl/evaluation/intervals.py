"""How far a score on a finite test set can be trusted: intervals of proportions, and comparisons of two classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radiossl.io.errors import RadiosslError

#: Probability inside one standard deviation of a normal distribution, the level of every interval here.
ONE_SIGMA = 0.6827

#: Entries of the arrays that the bootstrap holds at a time.
_ENTRIES = 2**22


def wilson_interval(
    successes: ArrayLike, trials: ArrayLike, level: float = ONE_SIGMA
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval of a proportion (Wilson 1927), which stays within 0 and 1 and is never of zero width.

    Parameters
    ----------
    successes, trials
        Counts of any shapes that fit each other; counts may be fractions, such as weights. No trial gives NaN.
    level
        Probability that the interval holds the true proportion.

    Returns
    -------
    low, high
        Ends of the interval.
    """
    from scipy.special import ndtri

    if not 0 < level < 1:
        raise RadiosslError(f"the level of an interval must be between 0 and 1, not {level}")
    number = np.asarray(trials, dtype=np.float64)
    number = np.where(number > 0, number, np.nan)
    z = float(ndtri((1 + level) / 2))
    proportion = np.asarray(successes, dtype=np.float64) / number
    centre = (proportion + z**2 / (2 * number)) / (1 + z**2 / number)
    half = wilson_half_width(proportion, number, z)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)  # rounding alone leaves 0..1


def wilson_half_width(proportion: ArrayLike, trials: ArrayLike, z: float) -> NDArray[np.float64]:
    """Half the width of Wilson's interval that reaches to `z` standard deviations."""
    p, n = np.asarray(proportion, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    return z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))


@dataclass(frozen=True)
class PairedComparison:
    """How much better classifier B is than A on the same objects.

    Attributes
    ----------
    difference
        Accuracy of B minus accuracy of A.
    low, high
        Percentile interval of the difference.
    probability
        Fraction of the resampled test sets on which B is better; equal scores count half.
    draws
        Number of resampled test sets.
    """

    difference: float
    low: float
    high: float
    probability: float
    draws: int


def paired_bootstrap(
    correct_a: NDArray[np.bool_],
    correct_b: NDArray[np.bool_],
    *,
    draws: int = 10_000,
    seed: int = 0,
    groups: NDArray[Any] | None = None,
    level: float = ONE_SIGMA,
) -> PairedComparison:
    """Compare two classifiers on one test set, drawn again and again with replacement.

    Both are judged on the same draw, so that objects which are hard for either do not blur the comparison.

    Parameters
    ----------
    correct_a, correct_b
        Whether each classifier was right about each object, shape (n,).
    draws
        Number of resampled test sets.
    seed
        Seed of the draws.
    groups
        Objects with equal values, such as numbers of position groups, are drawn together, shape (n,). Needed where
        objects are not independent: several cutouts of one source, or components of one radio galaxy.
    level
        Probability inside the interval.

    Raises
    ------
    RadiosslError
        If the shapes differ, there is no object, or the values are not True and False.
    """
    a, b = np.asarray(correct_a), np.asarray(correct_b)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise RadiosslError(f"paired bootstrap: both need one value for each object, not shapes {a.shape}, {b.shape}")
    if a.dtype != np.bool_ or b.dtype != np.bool_:
        raise RadiosslError(f"paired bootstrap: values must be True or False, not {a.dtype} and {b.dtype}")
    if groups is not None and np.shape(groups) != a.shape:
        raise RadiosslError(f"paired bootstrap: {a.size} objects but groups of shape {np.shape(groups)}")
    if draws < 1:
        raise RadiosslError(f"paired bootstrap: draws must be at least 1, not {draws}")
    gains = b.astype(np.int64) - a
    members = np.arange(a.size) if groups is None else np.unique(groups, return_inverse=True)[1]
    # Groups of equal gain and size are interchangeable: how often each kind is drawn is all that matters.
    each = np.stack([np.bincount(members, weights=gains), np.bincount(members)], axis=1).astype(np.int64)
    kinds, counts = np.unique(each, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    differences = np.empty(draws)
    step = max(1, _ENTRIES // len(kinds))
    for start in range(0, draws, step):
        drawn = rng.multinomial(len(each), counts / len(each), size=min(step, draws - start))  # (step, kinds)
        gain, size = (drawn @ kinds).T
        differences[start : start + step] = gain / size
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    probability = (differences > 0).mean() + (differences == 0).mean() / 2
    return PairedComparison(float(gains.mean()), float(low), float(high), float(probability), draws)
