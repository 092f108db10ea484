"""What is measured of features: classes from few and many labels, originals found, ratings learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.evaluation.classifiers import Estimator, LogisticRegression, NearestNeighbours
from radiossl.evaluation.folds import Split
from radiossl.features.neighbours import unit
from radiossl.features.table import FeatureTable

K = 20
COMPONENTS = 64
RETRIEVED = 10

Features = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """One measure of one method, object by object.

    Attributes
    ----------
    measure
        Its name.
    values
        Of every object that was asked, in [0, 1], averaged over folds and draws, shape (n,); their mean is the score.
    groups
        Objects with the same number show the same source or its neighbour, shape (n,).
    """

    measure: str
    values: NDArray[np.float64]
    groups: NDArray[np.int64]


def classification(features: Features, truth: Rows, groups: Rows, splits: Sequence[Split], seed: int) -> list[Score]:
    """Accuracies of 20 neighbours, of 20 whitened neighbours, and of logistic regression.

    Parameters
    ----------
    features
        Of all objects, shape (n, d).
    truth, groups
        Their class numbers and position groups, shape (n,).
    splits
        Rows to learn from and to test on.
    seed
        Random seed.
    """
    classes = int(truth.max()) + 1
    learners: dict[str, Estimator] = {
        f"{K} neighbours": NearestNeighbours(features, truth, classes, K),
        f"{K} neighbours, whitened": NearestNeighbours(features, truth, classes, K, COMPONENTS),
        "regression": LogisticRegression(features, truth, classes),
    }
    return [_accuracy(name, learner, truth, groups, splits, seed) for name, learner in learners.items()]


def few_labels(
    features: Features, truth: Rows, groups: Rows, splits: Sequence[Split], few: Sequence[int], seed: int
) -> list[Score]:
    """Accuracies of logistic regression from few labels, drawn anew from the rows to learn from of each split.

    Parameters
    ----------
    features, truth, groups, splits, seed
        As for `classification`; every method gets the same draws.
    few
        Numbers of labels, of each class in proportion.
    """
    learner = LogisticRegression(features, truth, int(truth.max()) + 1)
    scores = []
    for count in few:
        drawn = [Split(_draw(s.train, truth, count, [seed, number]), s.test) for number, s in enumerate(splits)]
        scores.append(_accuracy(f"regression, {count} labels", learner, truth, groups, drawn, seed))
    return scores


def _accuracy(name: str, learner: Estimator, truth: Rows, groups: Rows, splits: Sequence[Split], seed: int) -> Score:
    right, asked = np.zeros(len(truth)), np.zeros(len(truth))
    for split in splits:
        right[split.test] += learner(split.train, split.test, seed).argmax(axis=1) == truth[split.test]
        asked[split.test] += 1
    tested = asked > 0
    return Score(name, right[tested] / asked[tested], groups[tested])


def _draw(train: Rows, truth: Rows, count: int, seed: Sequence[int]) -> Rows:
    """Rows to learn from, at least one of each class."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(train)
    count = min(count, len(train))
    names, totals = np.unique(truth[train], return_counts=True)
    shares = np.maximum(np.round(count * totals / len(train)), 1).astype(int)
    shares[totals.argmax()] += count - shares.sum()
    return np.concatenate(
        [shuffled[truth[shuffled] == name][:share] for name, share in zip(names, shares, strict=True)]
    )


def retrieval(features: Features, truth: Rows, names: Sequence[str], groups: Rows) -> list[Score]:
    """Share of the ten most similar objects that are of the object's class, class by class."""
    vectors = unit(features)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argpartition(-similarity, RETRIEVED - 1, axis=1)[:, :RETRIEVED]
    precision = (truth[nearest] == truth[:, None]).mean(axis=1)
    return [
        Score(f"{name} among the {RETRIEVED} nearest", precision[truth == number], groups[truth == number])
        for number, name in enumerate(names)
    ]


def found_first(originals: Features, changed: Features, rows: Rows, first: int, centred: bool) -> NDArray[np.float64]:
    """Tell which changed images find their original.

    Parameters
    ----------
    originals, changed
        Features, shapes (n, d) and (m, d).
    rows
        Row of the original of each changed image, shape (m,).
    first
        The original must be among this many nearest ones; others as similar as itself count half.
    centred
        Whether to subtract the means of both sets first.

    Returns
    -------
    ndarray
        Shape (m,), 0 or 1.
    """
    if centred:
        originals, changed = originals - originals.mean(axis=0), changed - changed.mean(axis=0)
    similarity = unit(changed) @ unit(originals).T
    own = similarity[np.arange(len(rows)), rows][:, None]
    before = (similarity > own).sum(axis=1) + 0.5 * ((similarity == own).sum(axis=1) - 1)
    return (before < first).astype(np.float64)


def rating_ranks(
    features: Features,
    columns: pa.Table,
    extra: Sequence[str],
    ratings: NDArray[np.float64],
    interesting: NDArray[np.bool_],
    count: int,
    draws: int,
    seed: int,
) -> NDArray[np.float64]:
    """Area under the ROC curve of a ranking learnt from ratings, for each interesting object, shape (interesting,).

    The share of dull objects that an interesting one is ranked before, averaged over draws in which neither was rated;
    the mean is the area under the curve. Learnt as `radiossl rate` learns by default.
    """
    from radiossl.ratings.active_learning import learn, rating_space

    space = rating_space(FeatureTable(columns, features), extra)
    total, drawn = np.zeros(len(ratings)), np.zeros(len(ratings))
    for number in range(draws):
        order = np.random.default_rng([seed, number]).permutation(len(ratings))
        rated, rest = order[:count], order[count:]
        rank = learn(space, rated, ratings[rated], np.zeros(len(ratings))).rating
        good, dull = rest[interesting[rest]], rest[~interesting[rest]]
        difference = rank[good][:, None] - rank[dull]
        total[good] += ((difference > 0) + 0.5 * (difference == 0)).mean(axis=1)
        drawn[good] += 1
    tested = interesting & (drawn > 0)
    return total[tested] / drawn[tested]
