"""Which features tell remarkable objects from ordinary ones, and what an anomaly score gains from only those.

Features also respond to what is of no interest, such as noise or borders. Riggi et al. (2024, section 5.2) rank them by
a gradient-boosted classifier of labelled objects and search for anomalies on the best few. A ranking that has seen the
label of an object must not be tested on that object: `CrossFit` ranks by folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.anomalies.quality import AnomalyLabels, ranking_quality
from radiossl.anomalies.scores import AnomalySettings, anomaly_scores, rank_fractions
from radiossl.evaluation.folds import Split, draw_folds
from radiossl.features.neighbours import unit
from radiossl.io.errors import RadiosslError
from radiossl.io.extras import require
from radiossl.io.progress import track

#: Numbers of best features that Riggi et al. (2024) compare.
TOP_FEATURES = (2, 5, 10, 15)
#: Values of both parameters that they scanned (section 5.2).
CONTAMINATIONS: tuple[float | Literal["auto"], ...] = ("auto", 0.001, 0.01, 0.1)
MAX_SAMPLES: tuple[float | Literal["auto"], ...] = ("auto", 0.001, 0.01, 0.02, 0.05, *(n / 10 for n in range(1, 11)))

#: What scikit-learn takes for the threshold where contamination is "auto" (Liu et al. 2008).
_AUTO_THRESHOLD = 0.5
#: Part of the labelled objects that decides when to stop boosting.
_STOPPING_PART = 0.2
_PATIENCE = 10


@dataclass(frozen=True)
class FeatureRanking:
    """Features in the order of their importance."""

    order: NDArray[np.int64]  # numbers of all features, the most important first, shape (d,)
    importance: NDArray[np.int64]  # how often the trees split at each, in the order of the table, shape (d,)
    accuracy: float  # balanced accuracy on the part of the objects that decided when to stop


def rank_features(features: NDArray[np.floating], anomalous: NDArray[np.bool_], seed: int = 0) -> FeatureRanking:
    """Rank features, shape (n, d), by a classifier of labelled objects, at least ten of either kind.

    LightGBM with shallow trees (``max_depth`` 2, ``num_leaves`` 32, ``min_data_in_leaf`` 20, else its defaults),
    stopped early by a part of the objects (Riggi et al. 2024, section 5.2; the size of that part, a fifth, and the 10
    rounds it waits are not in the paper). Features with as many splits, most of them with none, are ranked by how well
    they separate the objects alone. Features are divided by their length as in `anomaly_scores`.
    """
    require("lightgbm")
    import lightgbm
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import train_test_split

    fewest = int(min(anomalous.sum(), (~anomalous).sum()))
    if fewest < _FEWEST:
        raise RadiosslError(
            f"ranking features: {fewest} labelled objects of one kind, at least {_FEWEST} are needed; label more, or"
            " use --top-features all"
        )
    features = unit(features).astype(np.float64)
    rows = np.arange(len(features))
    learn, stop = train_test_split(rows, test_size=_STOPPING_PART, stratify=anomalous, random_state=seed)
    parameters = {
        **{"objective": "binary", "max_depth": 2, "num_leaves": 32, "min_data_in_leaf": 20},
        **{"seed": seed, "deterministic": True, "force_row_wise": True, "verbose": -1},
    }
    booster = lightgbm.train(
        parameters,
        lightgbm.Dataset(features[learn], anomalous[learn]),
        valid_sets=[lightgbm.Dataset(features[stop], anomalous[stop])],
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    importance = np.asarray(booster.feature_importance("split", booster.best_iteration), dtype=np.int64)
    order = np.lexsort((-_alone(features, anomalous), -importance))
    accuracy = balanced_accuracy_score(anomalous[stop], np.asarray(booster.predict(features[stop])) > 0.5)
    return FeatureRanking(order, importance, float(accuracy))


#: Fewer objects of a kind cannot be divided among folds and the part for early stopping.
_FEWEST = 10


def _alone(features: NDArray[np.floating], anomalous: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far the AUC of every feature alone is from 0.5, shape (d,)."""
    from scipy.stats import rankdata

    sought, others = int(anomalous.sum()), int((~anomalous).sum())
    sums = rankdata(features, axis=0)[anomalous].sum(axis=0)
    return np.abs((sums - sought * (sought + 1) / 2) / (sought * others) - 0.5)


@dataclass(frozen=True)
class CrossFit:
    """Anomaly scores of labelled objects on the best features, ranked without these objects.

    The ranking for the objects of each fold is made from those of all others.
    """

    features: NDArray[np.floating]  # of all objects, shape (n, d)
    labels: AnomalyLabels
    folds: int = 5
    groups: NDArray[np.int64] | None = None  # labelled objects of one group are on the same side, shape (labelled,)
    seed: int = 0

    @cached_property
    def splits(self) -> list[Split]:
        """The folds; rows are those of the labelled objects."""
        kinds = np.where(self.labels.anomalous, "anomalous", "ordinary")
        return draw_folds(kinds, self.folds, seed=self.seed, groups=self.groups)

    @cached_property
    def rankings(self) -> list[FeatureRanking]:
        """One for each fold."""
        rows, anomalous = self.labels.rows, self.labels.anomalous
        return [
            rank_features(self.features[rows[split.train]], anomalous[split.train], self.seed)
            for split in track(self.splits, "ranking features")
        ]

    def scores(self, top: int | None, settings: AnomalySettings) -> NDArray[np.float64]:
        """Score all objects on the `top` features, or on all if None, shape (n,).

        A labelled object's score is its place (`rank_fractions`) in the ranking of all objects by the features that
        were chosen without its fold, since scores on different features cannot be compared; that of an object without a
        label is the mean of its places.
        """
        return self.combined([rank_fractions(scores) for scores in self.fold_scores(top, settings)])

    def fold_scores(self, top: int | None, settings: AnomalySettings) -> list[NDArray[np.float64]]:
        """Scores of all objects on the features chosen for each fold, one array for each; only one for all features."""
        if top is None:
            return [anomaly_scores(self.features, settings)]
        return [anomaly_scores(self.features, settings, ranking.order[:top]) for ranking in self.rankings]

    def combined(self, of_folds: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Put values of all objects by each fold's features together: the labelled ones from their own fold."""
        result = np.mean(of_folds, axis=0)
        if len(of_folds) > 1:
            for split, values in zip(self.splits, of_folds, strict=True):
                held_out = self.labels.rows[split.test]
                result[held_out] = values[held_out]
        return result


@dataclass(frozen=True)
class Scan:
    """What each setting of the Isolation Forest finds.

    The table has a row for each number of features, ``max_samples`` and ``contamination``: ``auc``,
    ``average_precision``, ``recall@5%``, ``recall@10%`` and ``crossing`` of the ranking (`ranking_quality`), which
    contamination cannot change; and ``recall`` and ``precision`` of what contamination flags, with ``flagged``, its
    fraction of all. `chosen` is the `ranking_quality` of labelled objects each ranked by the setting with the highest
    AUC on the objects of the other folds: what the best of the table would have found among objects that did not help
    to choose it.
    """

    table: pd.DataFrame
    chosen: dict[str, float]


def scan_forest(
    crossfit: CrossFit,
    tops: Sequence[int | None],
    settings: AnomalySettings,
    max_samples: Sequence[float | Literal["auto"]] = MAX_SAMPLES,
    contaminations: Sequence[float | Literal["auto"]] = CONTAMINATIONS,
) -> Scan:
    """Scan the parameters of the Isolation Forest (Riggi et al. 2024, section 5.2).

    Contamination is the fraction of all objects that the forest flags: it moves the threshold (with ``auto`` a score of
    0.5) and nothing else, so that one forest serves all its values. `tops` are numbers of best features, None for all;
    `settings` has all that is not scanned.
    """
    labels, rows, places = crossfit.labels, [], []
    for top, samples in track([(top, samples) for top in tops for samples in max_samples], "scanning"):
        of_folds = crossfit.fold_scores(top, replace(settings, method="forest", max_samples=samples))
        place = crossfit.combined([rank_fractions(scores) for scores in of_folds])[labels.rows]
        places.append(place)
        setting = {"features": "all" if top is None else top, "max_samples": samples}
        quality = ranking_quality(place, labels.anomalous)
        for contamination in contaminations:
            # What a flagged object's score is above, as scikit-learn has it.
            percentile = None if contamination == "auto" else 100 * (1 - contamination)
            limits = [_AUTO_THRESHOLD if percentile is None else np.percentile(one, percentile) for one in of_folds]
            flags = [scores > limit for scores, limit in zip(of_folds, limits, strict=True)]
            flagged = crossfit.combined([flag.astype(float) for flag in flags])[labels.rows] > 0
            hits = int((flagged & labels.anomalous).sum())
            found = {
                "recall": hits / labels.anomalous.sum(),
                "precision": hits / flagged.sum() if flagged.any() else float("nan"),
                "flagged": float(np.mean(flags)),
            }
            rows.append({**setting, "contamination": contamination, **quality, **found})
    return Scan(pd.DataFrame(rows), _chosen(np.array(places), crossfit))


def _chosen(places: NDArray[np.float64], crossfit: CrossFit) -> dict[str, float]:
    """Quality of the setting that is best on the other folds; `places` has shape (settings, labelled objects)."""
    anomalous = crossfit.labels.anomalous
    result = np.empty(len(anomalous))
    for split in crossfit.splits:
        areas = [ranking_quality(place[split.train], anomalous[split.train])["auc"] for place in places]
        result[split.test] = places[int(np.argmax(areas))][split.test]
    return ranking_quality(result, anomalous)
