"""A person in the loop: a few ratings re-rank a long list, and say what to rate next.

Three methods. ``blend`` is that of Lochner & Bassett (2021, Astronomy and Computing 36, 100481, arXiv:2010.11202, the
section on active learning): the starting anomaly score, weighted by what a random forest makes of the ratings wherever
a rated object is near in feature space. ``gp`` is a Gaussian process with a Matérn kernel, as in Astronomaly: Protege
(Lochner & Rudnick 2025, AJ 169, arXiv:2411.04188, section 6). ``linear`` is Bayesian ridge regression (MacKay 1992): a
Gaussian process that can only say that interest rises in one direction. The last two need no starting score.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.features.neighbours import Scatter, unit
from radiossl.features.table import FeatureTable, standard_column
from radiossl.io.errors import RadiosslError, check_choice, check_number, check_seed
from radiossl.io.files import one_or_more
from radiossl.io.progress import track
from radiossl.ratings.records import HIGHEST, unit_range

METHODS = ("blend", "gp", "linear")
RULES = ("top", "ucb", "ei", "uncertain", "random")

#: Dimensions that the features are reduced to.
DIMENSIONS = 32
#: Strength of the distance in `blend`, and the offset and the slope of what the forest says: Astronomaly's values.
ALPHA, OFFSET, SLOPE = 1.0, 0.1, 0.85
#: Trees of the forest (Astronomaly's number).
TREES = 100
#: Standard deviations that ``ucb`` adds to the expected rating.
UCB_SPREADS = 1.0
#: How many points above the best rating ``ei`` hopes for (the default trade-off of Protege).
EI_TRADEOFF = 0.5
#: Ratings beyond which a Gaussian process takes minutes and gigabytes.
MOST_FOR_GP = 5000

_BATCH = 50_000


@dataclass(frozen=True)
class Rated:
    """What is known of a list of n objects before anything is learnt."""

    rows: NDArray[np.int64]  # of the objects that have a rating, shape (k,)
    ratings: NDArray[np.float64]  # theirs, from 1 to 5, shape (k,)
    starting: NDArray[np.float64]  # scores of all objects, higher for what is more anomalous, shape (n,)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Prediction:
    """What was learnt from the ratings, of every object, shape (n,)."""

    rating: NDArray[np.float64]  # expected rating, about 1 to 5
    spread: NDArray[np.float64]  # its standard deviation: how little is known, in points of rating
    score: NDArray[np.float64]  # what the list is ordered by, highest first


@dataclass(frozen=True)
class Proposal:
    """What to rate next."""

    rows: NDArray[np.int64]  # of the table, in the order in which they are to be looked at, shape (k,)
    why: NDArray[np.str_]  # the rule that chose each, shape (k,)


def rating_space(table: FeatureTable, columns: Sequence[str] = (), dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    """Return the coordinates in which ratings are learnt, shape (n, dimensions + columns).

    The features are brought to unit length and to their first principal components, scaled together so that the
    variances of the components sum to 1. Each further column, such as ``size_pixels`` where the cutouts are zoomed to
    their objects, is scaled to variance 1, and so counts as much as all features together; of a column without zero or
    negative values the logarithm is taken; an unknown value becomes the mean.
    """
    extra = [standard_column(table.column(name), name) for name in one_or_more(columns)]
    components = _principal_components(table.features, dimensions)
    return np.column_stack([components, *extra]).astype(np.float32, copy=False)


def rated_objects(table: FeatureTable, ratings: pd.Series, starting: NDArray[np.float64]) -> Rated:
    """Return which objects of the table have a rating, in ascending order, with the starting scores of all."""
    found = ratings.reindex(table.column("cutout_id").astype(str)).to_numpy(dtype=np.float64)
    rows = np.flatnonzero(~np.isnan(found))
    if len(ratings) and not len(rows):
        raise RadiosslError(
            f"none of the {len(ratings)} rated objects, such as {ratings.index[0]!r}, is in the features; their"
            f" cutout_id was expected, such as {str(table.column('cutout_id')[0])!r}"
        )
    return Rated(rows, found[rows], starting)


def learn(space: NDArray[np.float32], rated: Rated, method: str = "linear", seed: int = 0) -> Prediction:
    """Learn what is interesting from ratings of a few objects.

    `space`, from `rating_space`, is of all objects. Only ``blend`` uses the starting scores. The methods are explained
    at the head of this module; only the forest of ``blend`` draws anything at random.
    """
    check_choice("--method", method, METHODS)
    if not len(rated):
        raise RadiosslError("no object is rated: nothing can be learnt; rate what `radiossl rate propose` gives first")
    places = space[rated.rows]
    if method == "blend":
        rating, spread = _forest(space, places, rated.ratings, seed)
        score = blended_score(unit_range(rated.starting), rating, nearest_distance(space, places))
        return Prediction(rating, spread, score)
    fit = _bayesian_ridge if method == "linear" else _gaussian_process
    rating, spread = _predicted(*fit(places.astype(np.float64), rated.ratings), space)
    return Prediction(rating, spread, rating)


def blended_score(
    starting: NDArray[np.float64], rating: NDArray[np.float64], distance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weight a starting score by the expected rating, the more the nearer a rated object is (Lochner & Bassett 2021).

    ``S tanh(delta - 1 + arctanh(U))`` with ``delta = exp(alpha d / d0)`` and ``U = 0.1 + 0.85 u / 5``: far from all
    rated objects the starting score S, at least 0, stays; on top of one it is multiplied by U. Here u is the expected
    rating, d the distance to the nearest rated object in any unit, and d0 its mean, all of shape (n,). With alpha above
    1 less is believed of the ratings, below 1 more.
    """
    believed = OFFSET + SLOPE * np.clip(rating, 0, HIGHEST) / HIGHEST
    relative = distance / (distance.mean() or 1.0)  # all are 0 where everything is rated
    # Beyond 20 the hyperbolic tangent is 1; the exponential must not overflow.
    delta = np.exp(np.minimum(ALPHA * relative, 20.0))
    return starting * np.tanh(delta - 1 + np.arctanh(believed))


def nearest_distance(space: NDArray[np.float32], rated: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the Euclidean distance of every object to the nearest rated one, shape (n,)."""
    from sklearn.metrics import pairwise_distances_argmin_min

    batches = _tracked(_batches(len(space)), "distances")
    return np.concatenate([pairwise_distances_argmin_min(space[part], rated)[1] for part in batches]).astype(np.float64)


def acquisition(prediction: Prediction, rule: str, best: float) -> NDArray[np.float64]:
    """Return how much it would help to have each object rated, shape (n,); `best` is the highest rating so far.

    ``top``: the highest scores. ``ucb``: expected rating and its spread, the upper confidence bound. ``ei``: expected
    improvement on the best rating so far, as in Protege. ``uncertain``: the spread alone.
    """
    if rule == "top":
        return prediction.score
    if rule == "ucb":
        return prediction.rating + UCB_SPREADS * prediction.spread
    if rule == "uncertain":
        return prediction.spread
    from scipy.stats import norm

    gain = prediction.rating - best - EI_TRADEOFF
    spread = np.maximum(prediction.spread, 1e-12)
    return gain * norm.cdf(gain / spread) + spread * norm.pdf(gain / spread)


def choose(
    prediction: Prediction | None, rated: Rated, count: int, rule: str = "ucb", explore: float = 0.5, seed: int = 0
) -> Proposal:
    """Choose the objects to rate next, at most `count`, none of which is rated.

    They are the highest by the rule, see `acquisition`, or by the starting scores while there is no prediction. The
    share `explore` is drawn at random with any rule (``random`` draws all): nothing else finds objects in parts of
    the feature space without ratings, and only these are a fair sample of the list.
    """
    check_choice("--rule", rule, RULES)
    check_number("--number", count, 1, whole=True)
    check_number("--explore", explore, 0, 1)
    check_seed(seed)
    starting = rated.starting
    left = np.setdiff1d(np.arange(len(starting)), rated.rows)
    if not len(left):
        raise RadiosslError("every object is rated: there is nothing left to propose")
    count = min(count, len(left))
    by_rule = 0 if rule == "random" else count - round(explore * count)
    name = "start" if prediction is None else rule
    values = starting
    if prediction is not None and rule != "random":
        values = acquisition(prediction, rule, float(rated.ratings.max()))
    # Equal values, as of ratings that are all the same, leave the order of the starting scores.
    chosen = left[np.lexsort((-starting[left], -values[left]))[:by_rule]]
    others = np.setdiff1d(left, chosen, assume_unique=True)
    drawn = np.random.default_rng(seed).choice(others, count - by_rule, replace=False)
    why = np.array([name] * by_rule + ["random"] * len(drawn), dtype=str)
    return Proposal(np.concatenate([chosen, drawn]).astype(np.int64), why)


def _bayesian_ridge(places: NDArray[np.float64], ratings: NDArray[np.float64]) -> tuple[Any, float]:
    """The fitted model and the variance of its noise."""
    from sklearn.linear_model import BayesianRidge

    model = BayesianRidge().fit(places, ratings)
    return model, 1 / float(model.alpha_)


def _gaussian_process(places: NDArray[np.float64], ratings: NDArray[np.float64]) -> tuple[Any, float]:
    """The fitted model and the variance of its noise."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    if len(ratings) > MOST_FOR_GP:
        expected = f"at most {MOST_FOR_GP} were expected"
        raise RadiosslError(f"gp: {len(ratings)} ratings, {expected}; use --method linear or blend")
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(1.0, (0.1, 30.0), nu=1.5) + WhiteKernel(0.5, (1e-2, 1e1))
    model = GaussianProcessRegressor(kernel, normalize_y=True)
    with warnings.catch_warnings():
        # A parameter at its bound is what a handful of ratings gives; the bounds are there to keep it sensible.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(places, ratings)
    # The spread of the person's own ratings is no ignorance that a further rating could cure.
    return model, model.kernel_.k2.noise_level * (float(np.var(ratings)) or 1.0)


def _predicted(model: Any, noise: float, space: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation, without the variance of the noise, of what a model predicts."""
    mean, spread = np.empty(len(space)), np.empty(len(space))
    for part in _tracked(_batches(len(space), 10_000), "expected ratings"):
        mean[part], deviation = model.predict(space[part].astype(np.float64), return_std=True)
        spread[part] = np.sqrt(np.maximum(deviation**2 - noise, 0.0))
    return mean, spread


def _forest(
    space: NDArray[np.float32], places: NDArray[np.float32], ratings: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of the trees and their standard deviation."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(TREES, random_state=seed).fit(places, ratings)
    mean, spread = np.empty(len(space)), np.empty(len(space))
    for part in _tracked(_batches(len(space)), "expected ratings"):
        said = np.stack([tree.predict(space[part]) for tree in forest.estimators_])  # (trees, batch)
        mean[part], spread[part] = said.mean(axis=0), said.std(axis=0)
    return mean, spread


def _principal_components(features: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """Project unit features on their first principal components, batch by batch; total variance 1."""
    number, width = features.shape
    if not number:
        raise RadiosslError("the feature table is empty: there is nothing to rate")
    scatter = Scatter(width)
    for part in _tracked(_batches(number), "principal components"):
        scatter.add(unit(features[part]))
    mean, axes, variances = scatter.principal_axes()
    variance = float(variances[:dimensions].sum())
    if not variance > 1e-10:
        raise RadiosslError("the features of all objects are the same or not finite: nothing can be learnt from them")
    kept = axes[:dimensions].T / np.sqrt(variance)
    parts = [(unit(features[part]).astype(np.float64) - mean) @ kept for part in _batches(number)]
    return np.concatenate(parts, dtype=np.float32)


def _batches(number: int, size: int = _BATCH) -> list[slice]:
    return [slice(start, start + size) for start in range(0, number, size)]


def _tracked(batches: list[slice], what: str) -> Iterable[slice]:
    """Show a bar where there is more than one batch: a single one takes no two seconds."""
    return track(batches, what) if len(batches) > 1 else batches
