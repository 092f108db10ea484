"""Uncertainty of scores on a finite test set: intervals of proportions, and comparisons of classifiers."""

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

    Counts may be of any shapes that fit each other, and fractions, such as weights; no trial gives NaN. The interval
    holds the true proportion with probability `level`.
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
    # Rounding alone leaves 0..1, or does not reach its ends.
    low, high = np.where(proportion == 0, 0, centre - half), np.where(proportion == 1, 1, centre + half)
    return np.clip(low, 0, 1), np.clip(high, 0, 1)


def wilson_half_width(proportion: ArrayLike, trials: ArrayLike, z: float) -> NDArray[np.float64]:
    """Half the width of Wilson's interval that reaches to `z` standard deviations."""
    p, n = np.asarray(proportion, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    return z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))


def proportion_scores(name: str, hits: int, trials: int) -> dict[str, float]:
    """Return a proportion with its interval of one standard deviation: ``NAME``, ``NAME_low``, ``NAME_high``."""
    ends = wilson_interval(hits, trials)
    values = (hits / trials if trials else float("nan"), *map(float, ends))
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def f1_scores(hits: int, union: int) -> dict[str, float]:
    """Return the F1 score of TP hits among the union TP + FP + FN; see `proportion_scores`.

    F1 = 2J / (1 + J) rises with the proportion J = TP / (TP + FP + FN), so that the ends of its interval are those of
    the interval of J.
    """
    return {name: 2 * value / (1 + value) for name, value in proportion_scores("f1", hits, union).items()}


@dataclass(frozen=True)
class PairedComparison:
    """How much better classifier B is than A on the same objects."""

    difference: float  # accuracy of B minus accuracy of A
    low: float  # percentile interval of the difference
    high: float
    probability: float  # fraction of resampled test sets on which B is better; equal scores count half
    draws: int  # number of resampled test sets
    p_value: float  # of a difference at least as large, either way, were A and B interchangeable on every object


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

    Both are evaluated on the same draw, so that objects which are hard for either do not blur the comparison.
    `correct_a` and `correct_b` say whether each was right about each object, shape (n,), or with each of several paired
    seeds, shape (n, seeds): an object then counts by the fraction of the seeds. Objects with equal `groups`, shape
    (n,), are drawn together, which is needed where objects are not independent: several cutouts of one source, or
    components of one radio galaxy.
    """
    a, b = np.asarray(correct_a), np.asarray(correct_b)
    if a.ndim not in (1, 2) or a.shape != b.shape or not a.size:
        raise RadiosslError(f"paired bootstrap: both need one value for each object, not shapes {a.shape}, {b.shape}")
    if a.dtype != np.bool_ or b.dtype != np.bool_:
        raise RadiosslError(f"paired bootstrap: values must be True or False, not {a.dtype} and {b.dtype}")
    if groups is not None and np.shape(groups) != a.shape[:1]:
        raise RadiosslError(f"paired bootstrap: {len(a)} objects but groups of shape {np.shape(groups)}")
    if draws < 1:
        raise RadiosslError(f"paired bootstrap: draws must be at least 1, not {draws}")
    seeds = 1 if a.ndim == 1 else a.shape[1]
    gains = (b.astype(np.int64) - a).reshape(len(a), seeds).sum(axis=1)
    members = np.arange(len(a)) if groups is None else np.unique(groups, return_inverse=True)[1]
    # Groups of equal gain and size are interchangeable: how often each kind is drawn is all that matters.
    each = np.stack([np.bincount(members, weights=gains), np.bincount(members)], axis=1).astype(np.int64)
    kinds, counts = np.unique(each, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    differences = np.empty(draws)
    step = max(1, _ENTRIES // len(kinds))
    for start in range(0, draws, step):
        drawn = rng.multinomial(len(each), counts / len(each), size=min(step, draws - start))  # (step, kinds)
        gain, size = (drawn @ kinds).T
        differences[start : start + step] = gain / (size * seeds)
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    probability = (differences > 0).mean() + (differences == 0).mean() / 2
    difference = float(gains.mean()) / seeds
    return PairedComparison(difference, float(low), float(high), float(probability), draws, _sign_flips(each[:, 0]))


def _sign_flips(gains: NDArray[np.int64]) -> float:
    """Probability that the sum of whole numbers with random signs is at least as far from 0 as the sum itself.

    The distribution of the sum is exact: its Fourier transform is the product of the cosines of the single gains.
    """
    sizes, counts = np.unique(np.abs(gains[gains != 0]), return_counts=True)
    reach = int(sizes @ counts)
    angles = 2 * np.pi * np.arange(2 * reach + 1) / (2 * reach + 1)
    transform = np.ones(len(angles))
    for size, count in zip(sizes, counts, strict=True):
        transform *= np.cos(size * angles) ** count
    distribution = np.fft.fftshift(np.fft.ifft(transform).real)
    sums = np.arange(-reach, reach + 1)
    return float(np.clip(distribution[np.abs(sums) >= abs(gains.sum())].sum(), 0, 1))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values corrected for many comparisons (Holm 1979), in their order.

    The smallest of m is multiplied by m, the next by m - 1 and so on; none is below one that was smaller. Rejecting
    what is below a level rejects a true hypothesis anywhere no more often than the level says.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    factors = np.arange(len(values), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1)
    return corrected
