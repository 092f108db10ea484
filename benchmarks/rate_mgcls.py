"""How much a person's ratings help to find what is interesting: rounds of 25 ratings, simulated from known ones.

    python benchmarks/rate_mgcls.py FEATURES.parquet --ratings-column interest_score [--json FILE] [--trials CSV]

The rated objects are split into folds. The ratings of all folds but one may be asked for, in rounds; quality is
measured on the fold that is left, so that no object is ever scored on a rating that was learnt. ``auc`` is within that
fold; ``recall@5%`` and ``recall@10%`` are the share of its interesting objects (rated 4 or more) in the first 5 and
10 % of a list of this fold and all objects that nobody has rated. ``found`` is the share of interesting objects among
those asked.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.evaluation.folds import draw_folds
from radiossl.features.table import FeatureTable
from radiossl.io.files import write_json
from radiossl.io.progress import track
from radiossl.ratings.active_learning import METHODS, Prediction, Rated, choose, learn, rating_space
from radiossl.ratings.ranking import INTERESTING, rating_agreement

MEASURES = ["auc", "recall@5%", "recall@10%", "found"]


@dataclass(frozen=True)
class Method:
    """A method, a rule for what to ask, the share asked at random, and the columns beside the features."""

    method: str
    rule: str
    explore: float = 0.5
    columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        asked = self.rule if self.rule == "random" else f"{self.rule}, {self.explore:.0%} random"
        return f"{' + '.join([self.method, *self.columns])} | {asked}"


def methods(columns: tuple[str, ...]) -> list[Method]:
    plain = [
        Method("blend", "top", 0.2),
        Method("blend", "ucb"),
        Method("blend", "random"),
        Method("gp", "ucb", 0.2),
        Method("gp", "ucb"),
        Method("gp", "ei"),
        Method("gp", "uncertain"),
        Method("gp", "random"),
        Method("linear", "ucb", 0.2),
        Method("linear", "ucb"),
        Method("linear", "uncertain"),
        Method("linear", "random"),
    ]
    return plain + [Method(m, r, columns=columns) for m in METHODS for r in ("ucb", "random") if columns]


def simulate(
    method: Method,
    space: NDArray[np.float32],
    starting: NDArray[np.float64],
    rows: NDArray[np.int64],
    ratings: NDArray[np.float64],
    held_out: NDArray[np.int64],
    rounds: list[int],
    number: int,
    seed: int,
) -> list[dict[str, float]]:
    """Ask for ratings in rounds; return the quality on the held-out rated objects after each of `rounds`."""
    asked = np.empty(0, dtype=np.int64)  # positions in rows
    askable = np.setdiff1d(np.arange(len(rows)), held_out)
    listed = np.concatenate([rows[held_out], np.setdiff1d(np.arange(len(space)), rows)])
    prediction, measured = None, []
    for done in range(1, max(rounds) + 1):
        proposal = choose(
            prediction,
            Rated(np.searchsorted(askable, asked), ratings[asked], starting[rows[askable]]),
            number,
            rule=method.rule,
            explore=method.explore,
            seed=1000 * seed + done,
        )
        asked = np.concatenate([asked, askable[proposal.rows]])
        assert not set(asked) & set(held_out)
        learnt = learn(space, Rated(rows[asked], ratings[asked], starting), method=method.method, seed=seed)
        prediction = Prediction(*(part[rows[askable]] for part in (learnt.rating, learnt.spread, learnt.score)))
        if done in rounds:
            quality = ranking_quality(learnt.score, rows[held_out], ratings[held_out], listed)
            measured.append({"rounds": done, **quality, "found": float((ratings[asked] >= INTERESTING).mean())})
    return measured


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
    measured = rating_agreement(score[held_out], ratings)
    order = np.sort(score[listed])
    # Rank from 0 of each interesting object in the list; of equal scores the mean.
    own = score[held_out[good]]
    rank = len(order) - (np.searchsorted(order, own, "left") + np.searchsorted(order, own, "right")) / 2
    for percent in (5, 10):
        inside = rank <= percent / 100 * len(order)
        measured[f"recall@{percent}%"] = float(inside.mean()) if good.any() else float("nan")
    return measured


def isolation_forest(features: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """Starting scores: an Isolation Forest of 200 trees on unit features."""
    from sklearn.ensemble import IsolationForest

    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    return -IsolationForest(n_estimators=200, random_state=seed).fit(unit).score_samples(unit)


def measure(
    table: FeatureTable,
    ratings_column: str,
    columns: tuple[str, ...],
    rounds: list[int],
    number: int,
    args: argparse.Namespace,
) -> pd.DataFrame:
    values = table.column(ratings_column).astype(float)
    rows = np.flatnonzero(~np.isnan(values))
    ratings = values[rows]
    spaces = {chosen: rating_space(table, chosen) for chosen in {(), columns}}
    trials = []
    for seed in track(range(args.seeds), "seeds"):
        starting = isolation_forest(table.features, seed)
        baselines = {"Isolation Forest": starting, "random": np.random.default_rng(seed).random(len(table))}
        baselines |= {f"{name} alone": table.column(name).astype(float) for name in columns}
        folds = draw_folds(ratings.astype(int).astype(str), args.folds, seed=seed)
        for number_of_fold, fold in enumerate(folds):
            where = {"seed": seed, "fold": number_of_fold}
            listed = np.concatenate([rows[fold.test], np.setdiff1d(np.arange(len(table)), rows)])
            for name, score in baselines.items():
                quality = ranking_quality(score, rows[fold.test], ratings[fold.test], listed)
                trials.append({"name": name, "rounds": 0, **where, **quality})
            for method in methods(columns):
                space = spaces[method.columns]
                found = simulate(method, space, starting, rows, ratings, fold.test, rounds, number, seed)
                trials += [{"name": method.name, **where, **one} for one in found]
    return pd.DataFrame(trials)


def summary(trials: pd.DataFrame) -> pd.DataFrame:
    """Mean over folds and seeds, and the standard deviation over the seeds of the mean over the folds."""
    by_seed = trials.groupby(["name", "rounds", "seed"], sort=False)[MEASURES].mean()
    groups = by_seed.groupby(["name", "rounds"], sort=False)
    return groups.mean().join(groups.std().add_suffix(" sd")).reset_index()


def chosen_on_other_folds(trials: pd.DataFrame, rounds: int) -> dict[str, object]:
    """Choose the method with the best mean AUC on the other folds, and judge it on this one, fold by fold.

    The models of the other folds have learnt ratings of this fold, so this is nearly, not strictly, nested.
    """
    last = trials[trials["rounds"] == rounds].pivot_table(index=["seed", "fold"], columns="name", values="auc")
    names, scores = [], []
    for seed, fold in last.index:
        others = last.loc[(last.index.get_level_values(0) == seed) & (last.index.get_level_values(1) != fold)]
        names.append(others.mean().idxmax())
        scores.append(float(last.loc[(seed, fold), names[-1]]))
    times = pd.Series(names).value_counts()
    return {"rounds": rounds, "auc": float(np.mean(scores)), "chosen": {name: int(n) for name, n in times.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path)
    parser.add_argument("--ratings-column", default="interest_score")
    parser.add_argument("--columns", nargs="*", default=["size_pixels"], help="learnt from besides the features")
    parser.add_argument("--rounds", nargs="+", type=int, default=[1, 2, 4], help="after which quality is measured")
    parser.add_argument("--number", type=int, default=25, help="ratings in a round")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--trials", type=Path, help="CSV file for every fold and seed")
    args = parser.parse_args()
    table = FeatureTable.read(args.features)
    trials = measure(table, args.ratings_column, tuple(args.columns), args.rounds, args.number, args)
    frame = summary(trials)
    shown = pd.DataFrame({"name": frame["name"], "rounds": frame["rounds"]})
    for name in MEASURES:
        shown[name] = [
            f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(frame[name], frame[f"{name} sd"], strict=True)
        ]
    print(shown.to_string(index=False))
    chosen = [chosen_on_other_folds(trials, done) for done in args.rounds]
    print(json.dumps(chosen, indent=2))
    if args.json:
        write_json(args.json, {"features": table.metadata, "summary": frame.to_dict("records"), "chosen": chosen})
    if args.trials:
        trials.to_csv(args.trials, index=False)


if __name__ == "__main__":
    main()
