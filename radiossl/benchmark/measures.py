"""What is measured of features: classes from few and many labels, originals found, ratings learnt; and by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from radiossl.evaluation.classifiers import Estimator, LogisticRegression, NearestNeighbours
from radiossl.evaluation.folds import Split
from radiossl.evaluation.intervals import holm
from radiossl.features.neighbours import unit
from radiossl.features.table import FeatureTable

K = 20
COMPONENTS = 64
RETRIEVED = 10

Features = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """One measure of one method, object by object."""

    measure: str
    #: Of every object that was asked, in [0, 1], averaged over folds and draws, shape (n,); their mean is the score.
    values: NDArray[np.float64]
    #: Objects with the same number show the same source or its neighbour, shape (n,).
    groups: NDArray[np.int64]


def classification(features: Features, truth: Rows, groups: Rows, splits: Sequence[Split], seed: int) -> list[Score]:
    """Accuracies of 20 neighbours, of 20 whitened neighbours, and of logistic regression.

    Of all objects, features are (n, d), class numbers (`truth`) and position groups (n,).
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

    Every method gets the same draws, of each class in proportion.
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
    """Tell which changed images find their original, shape (m,), 0 or 1.

    Features are (n, d) and (m, d), `rows` those of the originals of the changed images. The original must be among the
    `first` nearest ones; others as similar as itself count half. If `centred`, the means of both are subtracted first.
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
    from radiossl.ratings.active_learning import Rated, learn, rating_space

    space = rating_space(FeatureTable(columns, features), extra)
    total, drawn = np.zeros(len(ratings)), np.zeros(len(ratings))
    for number in range(draws):
        order = np.random.default_rng([seed, number]).permutation(len(ratings))
        rated, rest = order[:count], order[count:]
        rank = learn(space, Rated(rated, ratings[rated], np.zeros(len(ratings)))).rating
        good, dull = rest[interesting[rest]], rest[~interesting[rest]]
        difference = rank[good][:, None] - rank[dull]
        total[good] += ((difference > 0) + 0.5 * (difference == 0)).mean(axis=1)
        drawn[good] += 1
    tested = interesting & (drawn > 0)
    return total[tested] / drawn[tested]


def standard_error(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Standard error of a mean over objects of which those of one group are not independent."""
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))


def paired_probability(difference: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Probability of a mean difference as large as this one by chance: paired t-test over groups, two-sided."""
    from scipy.stats import ttest_1samp

    sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=difference)
    if len(sums) < 2 or not sums.any():
        return 1.0
    return float(ttest_1samp(sums, 0.0).pvalue) if np.ptp(sums) > 0 else 0.0


def summarise(scores: dict[tuple[str, str], dict[str, list[Score]]], reference: str) -> pd.DataFrame:
    """One row for each task, measure and method.

    `scores` holds, by task and measure, then by method, one `Score` for each initialisation, of the same objects in the
    same order. Columns are ``task``, ``measure``, ``method``, ``objects``, ``score``, its ``standard_error``,
    ``lowest`` and ``highest`` of the initialisations, ``difference`` from the reference and its ``probability`` by
    chance, corrected for all measures of that method.
    """
    rows = []
    for (task, measure), methods in scores.items():
        means = {name: np.mean([score.values for score in each], axis=0) for name, each in methods.items()}
        for name, each in methods.items():
            values, groups, single = means[name], each[0].groups, [float(score.values.mean()) for score in each]
            compared = reference in means and name != reference
            difference = values - means[reference] if compared else np.array([np.nan])
            rows.append(
                {
                    "task": task,
                    "measure": measure,
                    "method": name,
                    "objects": len(values),
                    "score": float(values.mean()),
                    "standard_error": standard_error(values, groups),
                    "lowest": min(single),
                    "highest": max(single),
                    "difference": float(difference.mean()),
                    "probability": paired_probability(difference, groups) if compared else np.nan,
                }
            )
    frame = pd.DataFrame(rows)
    for name in frame["method"].unique():
        chosen = (frame["method"] == name) & frame["probability"].notna()
        if chosen.any():
            frame.loc[chosen, "probability"] = holm(frame.loc[chosen, "probability"])
    return frame
