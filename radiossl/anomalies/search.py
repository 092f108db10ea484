"""An anomaly search: scores of all objects and, where labels tell, how good they are beside their baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.anomalies.complexity import compressed_sizes
from radiossl.anomalies.feature_ranking import TOP_FEATURES, CrossFit, FeatureRanking, Scan, rank_features, scan_forest
from radiossl.anomalies.quality import AnomalyLabels, compare_scores, threshold_curves
from radiossl.anomalies.scores import AnomalySettings, Method, anomaly_scores
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.sky.positions import RADIUS_ARCSEC, groups_by_position
from radiossl.store.store import CutoutStore

#: Objects without a label beside which the labelled ones are judged: a random part of larger tables.
_JUDGED_OBJECTS = 20_000
_RANDOM_SEEDS = 100
#: How the scores are called.
SCORE_TITLES: dict[Method, str] = {"forest": "Isolation Forest", "neighbours": "neighbour distance"}

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class AnomalyOptions:
    """What is done besides scoring.

    Attributes
    ----------
    top
        Score on so many best features, ranked with the labels; None for all.
    rank
        Whether all numbers of best features of the paper are compared.
    scan
        Whether the parameters of the forest are scanned.
    baselines
        Columns to judge as if they were scores, such as the size.
    seeds
        How many forests, with seeds one after the other, are judged.
    folds
        Of the rankings.
    """

    top: int | None = None
    rank: bool = False
    scan: bool = False
    baselines: Sequence[str] = ()
    seeds: int = 5
    folds: int = 5


@dataclass(frozen=True)
class AnomalyQuality:
    """How well scores agree with labels.

    Attributes
    ----------
    comparison
        What `compare_scores` gives for the score and all it stands beside.
    main
        Name of the score among these.
    crossings
        Recall, precision and contamination where recall and precision are equal: table 4 of Riggi et al. (2024).
    scores
        Of the judged objects by the main score, with their labels.
    scan
        If one was made.
    """

    comparison: pd.DataFrame
    main: str
    crossings: pd.DataFrame
    scores: tuple[Scores, AnomalyLabels]
    scan: Scan | None = None


@dataclass(frozen=True)
class AnomalySearch:
    """Scores of all objects, and their quality where labels tell.

    Attributes
    ----------
    scores
        Of every row of the table, shape (n,).
    settings
        How they were made.
    labels
        If there are any.
    ranking
        Of the features by all labels, if one was asked for.
    quality
        If there are labels.
    options
        As given.
    """

    scores: Scores
    settings: AnomalySettings
    labels: AnomalyLabels | None = None
    ranking: FeatureRanking | None = None
    quality: AnomalyQuality | None = None
    options: AnomalyOptions = field(default_factory=AnomalyOptions)


def find_anomalies(
    table: FeatureTable,
    settings: AnomalySettings,
    labels: AnomalyLabels | None = None,
    options: AnomalyOptions | None = None,
    store: CutoutStore | None = None,
) -> AnomalySearch:
    """Score all objects of a table; with labels, judge the score beside its baselines.

    Parameters
    ----------
    table
        The features.
    settings
        Of the score.
    labels
        Of some objects. They change the scores only where features are ranked.
    options
        See `AnomalyOptions`.
    store
        With the pixels, for the complexity of the images as a baseline.

    Raises
    ------
    RadiosslError
        If features are to be ranked, or scores judged, without labels.
    """
    options = options or AnomalyOptions()
    if labels is None and (options.top or options.rank or options.scan):
        raise RadiosslError("--top-features, --rank-features and --scan need labels: give --labels and --anomalous")
    if options.top is not None and not 1 <= options.top <= table.features.shape[1]:
        raise RadiosslError(f"--top-features {options.top}: the table has {table.features.shape[1]} features")
    ranking = None
    if labels is not None and (options.top or options.rank):
        ranking = rank_features(table.features[labels.rows], labels.anomalous, settings.seed)
    columns = ranking.order[: options.top] if ranking is not None and options.top else None
    scores = anomaly_scores(table.features, settings, columns)
    quality = _judge(table, settings, labels, options, store) if labels is not None else None
    return AnomalySearch(scores, settings, labels, ranking, quality, options)


def _judge(
    table: FeatureTable,
    settings: AnomalySettings,
    labels: AnomalyLabels,
    options: AnomalyOptions,
    store: CutoutStore | None,
) -> AnomalyQuality:
    rows = _judged_rows(labels.rows, len(table), settings.seed)
    judged, labels = table.select(rows), replace(labels, rows=np.searchsorted(rows, labels.rows))
    groups = _groups(judged.select(labels.rows))
    every = [replace(settings, seed=settings.seed + number) for number in range(options.seeds)]
    contenders: dict[str, list[Scores]] = {
        f"{title}, all features": [anomaly_scores(judged.features, replace(each, method=method)) for each in every]
        for method, title in SCORE_TITLES.items()
    }
    tops = sorted({*(TOP_FEATURES if options.rank else ()), *([options.top] if options.top else [])})
    tops = [top for top in tops if top <= table.features.shape[1]]
    fits = [CrossFit(judged.features, labels, options.folds, groups, each.seed) for each in every]
    name = SCORE_TITLES[settings.method]
    for top in tops:
        contenders[best_name(name, top)] = [fit.scores(top, each) for fit, each in zip(fits, every, strict=True)]
    main = best_name(name, options.top)
    for column in options.baselines:
        contenders[column] = [_numbers(judged, column)]
    if store is not None:
        contenders["compressed size"] = [compressed_sizes(store.select_ids(judged.column("cutout_id")))]
    generator = np.random.default_rng(settings.seed)
    contenders["random"] = [generator.random(len(judged)) for _ in range(_RANDOM_SEEDS)]
    crossings = []
    for one, seeds in contenders.items():
        finite = np.where(np.isfinite(seeds[0]), seeds[0], np.nanmin(seeds[0][np.isfinite(seeds[0])], initial=0.0))
        crossings.append({"name": one, **threshold_curves(finite, labels).at_crossing()})
    scan = scan_forest(fits[0], [*tops, None], settings) if options.scan else None
    comparison = compare_scores(contenders, labels, groups)
    return AnomalyQuality(comparison, main, pd.DataFrame(crossings), (contenders[main][0], labels), scan)


def best_name(name: str, top: int | None) -> str:
    """Return the name of a score on the `top` best features."""
    return f"{name}, all features" if top is None else f"{name}, best {top}"


def _judged_rows(labelled: Rows, total: int, seed: int) -> Rows:
    others = np.setdiff1d(np.arange(total), labelled, assume_unique=True)
    if len(others) > _JUDGED_OBJECTS:
        others = np.random.default_rng(seed).choice(others, _JUDGED_OBJECTS, replace=False)
    return np.sort(np.concatenate([labelled, others]))


def _groups(table: FeatureTable) -> Rows | None:
    if not {"ra_deg", "dec_deg"} <= set(table.columns.column_names):
        return None
    return groups_by_position(
        table.column("ra_deg").astype(float), table.column("dec_deg").astype(float), RADIUS_ARCSEC
    )


def _numbers(table: FeatureTable, column: str) -> Scores:
    """A column as a score; what is unknown comes last."""
    values = pd.to_numeric(pd.Series(table.column(column)), errors="coerce").to_numpy(dtype=float)
    if not np.isfinite(values).any():
        raise RadiosslError(f"--baseline {column}: numbers were expected, the column has none")
    return np.where(np.isfinite(values), values, np.nanmin(values[np.isfinite(values)]) - 1.0)
