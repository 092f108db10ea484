"""How well ratings have taught a ranking, judged by ratings that it has not seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.anomalies import quality as anomaly_judging
from radiossl.features.confounders import rank_correlation
from radiossl.io.errors import RadiosslError
from radiossl.ratings.active_learning import learn

#: A rating of this much or more counts as interesting, as in figure 10 of Lochner & Rudnick (2025).
INTERESTING = 4


def ranking_quality(
    score: NDArray[np.float64], held_out: NDArray[np.int64], ratings: NDArray[np.float64], listed: NDArray[np.int64]
) -> dict[str, float]:
    """Judge a ranking by ratings that it has not seen.

    `score` is of all objects, highest first, shape (n,); `held_out` are the rows whose ratings were kept back, and
    `listed` those of the list in which they are looked for, themselves among them: usually all that nobody was asked
    about.

    Returns ``auc``: probability that a held-out object rated `INTERESTING` or more is ranked above one rated less;
    ``spearman``: rank correlation of score and rating; ``recall@5%`` and ``recall@10%``: share of the held-out
    interesting objects in that part of the list. NaN where not defined.
    """
    good = ratings >= INTERESTING
    measured = {"auc": _auc(score[held_out], good)}
    measured["spearman"] = rank_correlation(score[held_out], ratings)
    order = np.sort(score[listed])
    # Rank from 0 of each interesting object in the list; of equal scores the mean.
    own = score[held_out[good]]
    rank = len(order) - (np.searchsorted(order, own, "left") + np.searchsorted(order, own, "right")) / 2
    for percent in (5, 10):
        inside = rank <= percent / 100 * len(order)
        measured[f"recall@{percent}%"] = float(inside.mean()) if good.any() else float("nan")
    return measured


def crossvalidated_quality(
    space: NDArray[np.float32],
    rows: NDArray[np.int64],
    ratings: NDArray[np.float64],
    starting: NDArray[np.float64],
    method: str = "linear",
    folds: int = 5,
    seed: int = 0,
) -> dict[str, float]:
    """Estimate how well the ratings at hand predict others, by folds of the rated objects.

    Returns ``auc`` and ``spearman`` of the expected rating of held-out objects, and of the starting scores on the same
    objects as ``starting_auc`` and ``starting_spearman``: means over the folds, NaN where not defined. Proposed objects
    are no fair sample, so neither is the list's own.
    """
    if len(rows) < folds:
        raise RadiosslError(f"{len(rows)} rated objects: too few for {folds} folds")
    fold = np.random.default_rng(seed).permutation(np.arange(len(rows)) % folds)
    score = np.empty(len(rows))
    for part in range(folds):
        train, test = fold != part, fold == part
        # Only rated objects are ranked here, and the distances of `blend` need the whole list: the rating is judged.
        both = np.concatenate([rows[train], rows[test]])
        learnt = np.arange(train.sum())
        prediction = learn(space[both], learnt, ratings[train], starting[both], method=method, seed=seed)
        score[test] = prediction.rating[len(learnt) :]
    good, measured, parts = ratings >= INTERESTING, {}, [fold == part for part in range(folds)]
    for name, values in (("", score), ("starting_", starting[rows])):
        measured[f"{name}auc"] = pd.Series([_auc(values[part], good[part]) for part in parts]).mean()
        measured[f"{name}spearman"] = pd.Series(
            [rank_correlation(values[part], ratings[part]) for part in parts]
        ).mean()
    return measured


def agreement(ratings: pd.DataFrame) -> dict[str, float]:
    """Measure how far people agree on the objects that several have rated; of each person the last rating counts.

    Returns ``people``: how many have rated; ``pairs``: two people's ratings of one object; ``within_one``: fraction of
    the pairs that differ by at most 1; ``kappa``: Cohen's kappa with quadratic weights (Cohen 1968), 1 for full
    agreement, 0 for that of chance; NaN where not defined.
    """
    own = ratings.drop_duplicates(["cutout_id", "who"], keep="last")
    both = own.merge(own, on="cutout_id")
    first = both[both["who_x"] < both["who_y"]]
    apart = (first["rating_x"] - first["rating_y"]).to_numpy(dtype=float)
    # Each pair in both orders: neither person is the reference.
    one = np.concatenate([first["rating_x"], first["rating_y"]]).astype(float)
    chance = ((one[:, None] - one[None, :]) ** 2).mean() if len(one) else 0.0
    return {
        "people": int(own["who"].nunique()),
        "pairs": len(first),
        "within_one": float((np.abs(apart) <= 1).mean()) if len(apart) else float("nan"),
        "kappa": float(1 - (apart**2).mean() / chance) if chance > 0 else float("nan"),
    }


def _auc(score: NDArray[np.float64], good: NDArray[np.bool_]) -> float:
    """Area under the ROC curve; NaN if all are alike."""
    return anomaly_judging.ranking_quality(score, good)["auc"] if good.any() and not good.all() else float("nan")
