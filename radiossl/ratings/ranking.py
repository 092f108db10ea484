"""A list ordered by ratings: table, galleries, and how far it can be trusted, by ratings that it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.anomalies.quality import ranking_quality
from radiossl.datasets.image_sources import Images
from radiossl.features.confounders import rank_correlation
from radiossl.features.feature_file import feature_cutouts
from radiossl.features.table import FeatureTable
from radiossl.io.csv_cells import write_table
from radiossl.io.errors import RadiosslError, check_number, check_seed
from radiossl.io.files import PathLike, path_list
from radiossl.io.results import check_result_folder, writes_result_folder
from radiossl.ratings.active_learning import Prediction, Rated, learn, rated_objects, rating_space
from radiossl.ratings.records import HIGHEST, LOWEST, last_ratings, read_ratings, read_scores
from radiossl.ratings.rounds import learnt_columns, named, rating_pictures
from radiossl.report.figures import BLUE, FONT, GREY, drawn_axes
from radiossl.report.html import Report
from radiossl.store.store import CutoutStore

_GALLERY = 30
_IN_REPORT = 100
_CAPTION = "#{rank}: {expected_rating:.2f} ± {spread:.2f}\n{cutout_id}\nwas {starting_rank}"


@dataclass(frozen=True)
class RankedList:
    """What `rank` made."""

    report: Path
    table: pd.DataFrame  # see `ranked_table`
    rated: int  # objects that were learnt from
    columns: tuple[str, ...]  # learnt from beside the features
    quality: dict[str, float]  # see `crossvalidated_quality`; empty with fewer than two ratings a fold


def rank(
    features: PathLike,
    scores: PathLike,
    ratings: Sequence[PathLike],
    out: PathLike,
    *,
    method: str = "linear",
    columns: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    store: Images | None = None,
) -> RankedList:
    """Rank a list by what ratings of some of its objects teach; write a table, galleries and a report.

    Parameters
    ----------
    features : path-like
        Feature table.
    scores : path-like
        CSV with ``cutout_id`` and ``score``, such as anomalies.csv; higher is more anomalous.
    ratings : sequence of path-like
        Ratings files; of an object rated several times the last one counts.
    out : path-like
        Result folder to write.
    method : {'linear', 'gp', 'blend'}
        See `radiossl.ratings.active_learning.learn`.
    columns : sequence of str, optional
        Columns to learn from beside the features; by default the size, if the table has a column for it.
    folds : int
        Folds of the rated objects for testing the method.
    seed : int
        Random seed.
    store : images, optional
        The pixels, for the galleries; by default those that the features were made of, if they are still there.

    Raises
    ------
    RadiosslError
        If a file is missing or damaged or belongs to other objects, or nothing is rated.

    See Also
    --------
    radiossl.ratings.rounds.propose : choose what to rate.
    """
    check_result_folder(out, __name__)
    check_number("--folds", folds, 2, whole=True)
    check_seed(seed)
    table = FeatureTable.read(features)
    cutouts = feature_cutouts(table.metadata, table.columns, store)
    starting = read_scores(scores, table.column("cutout_id"))
    rated = rated_objects(table, last_ratings(read_ratings(*path_list(ratings))), starting)
    columns = learnt_columns(table, columns)
    space = rating_space(table, columns)
    prediction = learn(space, rated, method=method, seed=seed)
    quality: dict[str, float] = {}
    by = " and ".join(["features", *columns])
    notes = [f"{len(table):,} objects, {len(rated)} of them rated; method {method} on {by}, seed {seed}."]
    if len(rated) >= 2 * folds:
        quality = crossvalidated_quality(space, rated, method=method, folds=folds, seed=seed)
        notes.append(
            f"In {folds} folds of the rated objects, the expected rating puts an object rated 4 or more above one rated"
            f" less with probability {quality['auc']:.2f}; the starting score does so with probability"
            f" {quality['starting_auc']:.2f}. Rated objects are no fair sample of the list unless drawn at random."
        )
    metrics: dict[str, Any] = {"objects": len(table), "rated": len(rated)}
    metrics |= {f"rated[{rating}]": int((rated.ratings == rating).sum()) for rating in range(LOWEST, HIGHEST + 1)}
    metrics |= {"method": method, "columns": list(columns), "seed": seed, "folds": folds}
    metrics |= {f"crossvalidated_{name}": value for name, value in quality.items()}
    ranked = ranked_table(table, prediction, rated)
    report = write_ranking(out, ranked, metrics, notes, cutouts, table.metadata)
    return RankedList(report, ranked, len(rated), columns, quality)


def ranked_table(table: FeatureTable, prediction: Prediction, rated: Rated) -> pd.DataFrame:
    """Return the list ordered by the ratings.

    Columns ``rank`` (from 1), ``cutout_id``, ``ra_deg`` and ``dec_deg`` if known, ``score`` (what the order follows; of
    equal ones the starting score), ``expected_rating`` and its ``spread``, ``starting_score``, ``starting_rank``, and
    ``rating`` where there is one.
    """
    frame = named(table)
    frame["score"] = prediction.score
    frame["expected_rating"], frame["spread"] = prediction.rating, prediction.spread
    frame["starting_score"] = rated.starting
    frame["starting_rank"] = pd.Series(-rated.starting).rank(method="first").astype(np.int64)
    frame["rating"] = pd.Series(rated.ratings, index=rated.rows).reindex(range(len(table))).astype("Int64")
    frame = frame.sort_values(["score", "starting_score"], ascending=False, kind="stable").reset_index(drop=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame


@writes_result_folder
def write_ranking(
    out: PathLike,
    ranked: pd.DataFrame,
    metrics: dict[str, Any],
    notes: Sequence[str],
    store: CutoutStore | None,
    metadata: dict[str, Any],
) -> Path:
    """Write ranked.csv, metrics.json, galleries, a figure and report.html; return the report's path.

    The last of the notes is the verdict. Without a store there are no galleries; `metadata` is that of the features.
    """
    out = Path(out)
    write_table(ranked, out / "ranked.csv")
    report = Report("The list, re-ranked by ratings").verdict(notes[-1])
    if store is not None:
        unrated = ranked[ranked["rating"].isna()]
        first = unrated[unrated["rank"] <= max(_GALLERY, len(ranked) // 20)]
        gain = first["starting_rank"] - first["rank"]
        risen = first.loc[gain[gain > 0].nlargest(_GALLERY // 2).index]
        galleries = {
            "gallery.png": (unrated.head(_GALLERY), "The highest of the unrated objects, with their expected rating."),
            "risen.png": (risen, "What the ratings brought into the first 5 % from farthest down."),
        }
        for name, (shown, what) in galleries.items():
            if len(shown):
                captions = [_CAPTION.format_map(row) for row in shown.to_dict("records")]
                pictures = rating_pictures(store, metadata, shown["cutout_id"], captions)
                report.gallery(pictures, what, sheet=out / name)
    draw_expected_against_rated(ranked, out / "ratings.png")
    text = "Expected rating of the rated objects, which were learnt from, and of all others."
    report.section("Ratings").figure(out / "ratings.png", text)
    report.text(*notes[:-1])
    report.section(f"The first {min(_IN_REPORT, len(ranked))}").table(ranked.head(_IN_REPORT))
    return report.finish(out, metrics, ["ranked.csv"])


def draw_expected_against_rated(ranked: pd.DataFrame, out: Path) -> None:
    """Draw the distribution of the expected ratings, of all objects and of those of each rating, as PNG."""
    values = ranked["expected_rating"].to_numpy(dtype=float)
    ratings = ranked["rating"].fillna(0).to_numpy(dtype=int)
    names = {0: "not rated", **{rating: f"rated {rating}" for rating in range(LOWEST, HIGHEST + 1)}}
    groups = [(name, values[ratings == rating]) for rating, name in names.items()]
    with drawn_axes(out, 5.6, 3.2, xlabel="expected rating: median, and range of the middle 80 %") as axes:
        for place, (_, group) in enumerate(groups):
            if len(group):
                colour = BLUE if place else GREY
                low, middle, high = np.percentile(group, [10, 50, 90])
                axes.plot([low, high], [place, place], color=colour, linewidth=5, alpha=0.4, solid_capstyle="butt")
                axes.plot(middle, place, "o", color=colour, markersize=6)
        axes.set_yticks(range(len(groups)), [f"{name} ({len(group)})" for name, group in groups], fontsize=FONT)
        axes.set_xlim(min(LOWEST, values.min()) - 0.1, max(HIGHEST, values.max()) + 0.1)
        axes.set_ylim(-0.6, len(groups) - 0.4)


#: A rating of this much or more counts as interesting, as in figure 10 of Lochner & Rudnick (2025).
INTERESTING = 4


def crossvalidated_quality(
    space: NDArray[np.float32], rated: Rated, method: str = "linear", folds: int = 5, seed: int = 0
) -> dict[str, float]:
    """Estimate how well the ratings at hand predict others, by folds of the rated objects.

    Returns ``auc`` and ``spearman`` of the expected rating of held-out objects, and of the starting scores on the same
    objects as ``starting_auc`` and ``starting_spearman``: means over the folds, NaN where not defined. Proposed objects
    are no fair sample, so neither is the list's own.
    """
    if len(rated) < folds:
        raise RadiosslError(f"{len(rated)} rated objects: too few for {folds} folds")
    fold = np.random.default_rng(seed).permutation(np.arange(len(rated)) % folds)
    score, starting = np.empty(len(rated)), rated.starting[rated.rows]
    for part in range(folds):
        train, test = fold != part, fold == part
        # Only rated objects are ranked here, and the distances of `blend` need the whole list: the rating is tested.
        both = np.concatenate([np.flatnonzero(train), np.flatnonzero(test)])
        learnt = Rated(np.arange(train.sum()), rated.ratings[train], starting[both])
        prediction = learn(space[rated.rows[both]], learnt, method=method, seed=seed)
        score[test] = prediction.rating[len(learnt) :]
    measured: dict[str, float] = {}
    for name, values in (("", score), ("starting_", starting)):
        each = [rating_agreement(values[fold == part], rated.ratings[fold == part]) for part in range(folds)]
        measured |= pd.DataFrame(each).mean().add_prefix(name).to_dict()
    return measured


def rating_agreement(score: NDArray[np.float64], ratings: NDArray[np.float64]) -> dict[str, float]:
    """Return how far scores of objects, shape (n,), order them as their ratings do; NaN where not defined.

    ``auc``: probability that one rated `INTERESTING` or more is ranked above one rated less; ``spearman``: rank
    correlation.
    """
    good = ratings >= INTERESTING
    area = ranking_quality(score, good)["auc"] if good.any() and not good.all() else float("nan")
    return {"auc": area, "spearman": rank_correlation(score, ratings)}


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
