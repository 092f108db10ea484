"""What finds the sources that a person calls interesting, beside their size: without ratings, and with 25, 50 and 100.

    python benchmarks/discovery_mgcls.py FEATURES.parquet [FEATURES.parquet ...] --ratings-column interest_score
        [--size size_pixels] [--seeds 4] [--json FILE]

Nested cross-validation over the rated objects: five folds, repeated with other random seeds. Whatever is chosen (the
score, whether the size is put in, the method that learns) is chosen on four folds and measured on the fifth. AUC with
its standard deviation over the seeds, and the 68 % interval over objects drawn again (`bootstrap_auc`), for the
difference to size alone, too. Of several tables, of the same objects in the same order, the mean of the places counts.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import BayesianRidge, LogisticRegression
from sklearn.model_selection import StratifiedKFold

from measuring import print_facts
from radiossl.anomalies.quality import ranking_quality
from radiossl.anomalies.scores import METHODS, WHITENED, AnomalySettings, anomaly_scores, rank_fractions
from radiossl.evaluation.intervals import ONE_SIGMA
from radiossl.features.table import FeatureTable
from radiossl.io.progress import track
from radiossl.ratings.active_learning import rating_space
from radiossl.ratings.ranking import INTERESTING

Array = NDArray[np.float64]
_FOLDS, _DRAWS = 5, 1000
_NEAR_IN_SIZE = 301


def auc(score: Array, good: NDArray[np.bool_]) -> float:
    return ranking_quality(score, good)["auc"]


def without_size(place: Array, size: Array) -> Array:
    """The place less the mean place of the objects that are nearest in size."""
    order = np.argsort(size, kind="stable")
    padded = np.pad(place[order], _NEAR_IN_SIZE // 2, mode="reflect")
    means = np.convolve(padded, np.ones(_NEAR_IN_SIZE) / _NEAR_IN_SIZE, "valid")
    result = np.empty_like(place)
    result[order] = place[order] - means
    return result


def scores_without_ratings(tables: list[FeatureTable], size: Array) -> dict[str, Array]:
    """Scores of all objects by name: each method alone, with the size put in, and with it taken out."""
    found = {}
    big = rank_fractions(size)
    for method in METHODS:
        settings = AnomalySettings(method)
        place = np.mean([rank_fractions(anomaly_scores(table.features, settings)) for table in tables], axis=0)
        found |= {method: place, f"{method}, size in": place + big, f"{method}, size out": without_size(place, size)}
    return found


def spaces_with_ratings(tables: list[FeatureTable], size: Array) -> dict[str, Array]:
    column = ((size - size.mean()) / size.std())[:, None]
    features = np.column_stack([rating_space(table) for table in tables]) / np.sqrt(len(tables))
    white = np.column_stack([rating_space(table)[:, :WHITENED] for table in tables])
    white = white / white.std(axis=0) / np.sqrt(white.shape[1])
    return {
        "features": features,
        "features and size": np.column_stack([features, column]),
        "whitened and size": np.column_stack([white, column]),
    }


def _linear(train: Array, ratings: Array, test: Array) -> Array:
    return BayesianRidge().fit(train, ratings).predict(test)


def _logistic(train: Array, ratings: Array, test: Array) -> Array:
    return LogisticRegression(C=0.1, max_iter=2000).fit(train, ratings >= INTERESTING).decision_function(test)


def _trees(train: Array, ratings: Array, test: Array) -> Array:
    return ExtraTreesRegressor(100, min_samples_leaf=3, random_state=0).fit(train, ratings).predict(test)


LEARNERS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "linear": _linear,
    "logistic": _logistic,
    "trees": _trees,
}


def learnt(
    spaces: dict[str, Array], ratings: Array, train: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[str, Array]:
    """Predict with the learner and space that are best by folds of the training objects; return its name, too."""
    good = ratings >= INTERESTING
    best, name = -1.0, ("linear", "features")
    for space, places in spaces.items():
        for learner, learn in LEARNERS.items():
            held = np.full(len(train), np.nan)
            for inner, out in StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(train, good[train]):
                held[out] = learn(places[train[inner]], ratings[train[inner]], places[train[out]])
            if (found := auc(held, good[train])) > best:
                best, name = found, (learner, space)
    places = spaces[name[1]]
    return " on ".join(name), LEARNERS[name[0]](places[train], ratings[train], places[test])


def intervals(scores: list[Array], size: Array, good: NDArray[np.bool_]) -> dict[str, float]:
    """68 % intervals of the mean AUC, and of its difference to that of the size, over objects drawn again."""
    rng, areas, gains = np.random.default_rng(0), [], []
    for _ in range(_DRAWS):
        rows = rng.integers(0, len(good), len(good))
        areas.append(float(np.mean([auc(score[rows], good[rows]) for score in scores])))
        gains.append(areas[-1] - auc(size[rows], good[rows]))
    ends = [(1 - ONE_SIGMA) / 2, (1 + ONE_SIGMA) / 2]
    low, high = np.quantile(areas, ends)
    below, above = np.quantile(gains, ends)
    return {"low": low, "high": high, "gain_low": below, "gain_high": above}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--ratings-column", default="interest_score")
    parser.add_argument("--size", default="size_pixels")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    tables = [FeatureTable.read(path) for path in given.features]
    values = tables[0].column(given.ratings_column).astype(float)
    rows = np.flatnonzero(~np.isnan(values))
    sizes = tables[0].column(given.size).astype(float)
    ratings, every_size = values[rows], np.log10(np.where(sizes > 0, sizes, np.median(sizes[sizes > 0])))
    good, size = ratings >= INTERESTING, every_size[rows]
    facts: dict[str, Any] = {"objects": len(values), "rated": len(rows), "interesting": int(good.sum())}
    facts["size alone"] = auc(size, good)
    candidates = {name: score[rows] for name, score in scores_without_ratings(tables, every_size).items()}
    facts |= {f"AUC of {name}": auc(score, good) for name, score in candidates.items()}
    spaces = {name: space[rows] for name, space in spaces_with_ratings(tables, every_size).items()}
    held: dict[str, list[Array]] = {}
    picked: dict[str, list[str]] = {}
    for seed in track(range(given.seeds), "seeds"):
        out = {name: np.empty(len(rows)) for name in ("no ratings", "25", "50", "100", "all of four folds")}
        for train, test in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(rows, good):
            best = max(candidates, key=lambda name: auc(candidates[name][train], good[train]))
            out["no ratings"][test] = rank_fractions(candidates[best])[test]
            picked.setdefault("no ratings", []).append(best)
            drawn = np.random.default_rng(seed).permutation(train)
            for name, count in (("25", 25), ("50", 50), ("100", 100), ("all of four folds", len(train))):
                chosen, predicted = learnt(spaces, ratings, drawn[:count], test)
                out[name][test] = rank_fractions(predicted)
                picked.setdefault(name, []).append(chosen)
        for name, score in out.items():
            held.setdefault(name, []).append(score)
    for name, seeds in held.items():
        areas = [auc(score, good) for score in seeds]
        found = intervals(seeds, size, good)
        facts[f"nested, {name}"] = (
            f"{np.mean(areas):.3f} ± {np.std(areas, ddof=1):.3f}, {found['low']:.3f} to {found['high']:.3f};"
            f" less size alone {found['gain_low']:+.3f} to {found['gain_high']:+.3f}; chosen most often:"
            f" {max(set(picked[name]), key=picked[name].count)}"
        )
    print_facts(facts, given.json)


if __name__ == "__main__":
    main()
