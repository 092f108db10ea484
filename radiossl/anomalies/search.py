"""An anomaly search: scores of all objects and, with labels, how good they are beside baselines."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from radiossl.anomalies.feature_ranking import TOP_FEATURES, CrossFit, FeatureRanking, Scan, rank_features, scan_forest
from radiossl.anomalies.quality import AnomalyLabels, compare_scores, read_anomaly_labels, threshold_curves
from radiossl.anomalies.scores import AnomalySettings, Method, anomaly_scores
from radiossl.datasets.image_sources import Images
from radiossl.features.confounders import size_column
from radiossl.features.feature_file import feature_cutouts
from radiossl.features.table import FeatureTable
from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, one_or_more
from radiossl.io.progress import track
from radiossl.io.results import check_result_folder
from radiossl.sky.positions import RADIUS_ARCSEC, groups_by_position
from radiossl.store.store import CutoutStore

#: At most this many objects without a label, drawn at random, are ranked with the labelled ones for testing.
_EVALUATED_OBJECTS = 20_000
_RANDOM_SEEDS = 100
#: How the scores are called.
SCORE_TITLES: dict[Method, str] = {
    "forest": "Isolation Forest",
    "neighbours": "neighbour distance",
    "density": "whitened density",
}

#: The stores' unit of images whose pixels are grey levels.
EIGHT_BIT = "8-bit"
#: Noise does not compress: without a floor it, and not the sources, would decide the size of the file.
WITH_NOISE = Preprocessing(mode="floor-stretch", size=64)
#: Images in 8 bits were clipped and scaled for display by whoever made them: there is no noise left to measure.
WITHOUT_NOISE = Preprocessing(mode="min-max", size=64)

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class AnomalyOptions:
    """What is done besides scoring."""

    top: int | None = None  # score on this many best features, ranked with the labels; None for all
    rank: bool = False  # compare the numbers of best features of the paper
    scan: bool = False  # scan the parameters of the forest
    baselines: Sequence[str] = ()  # columns to test as if they were scores; the size is always among them
    seeds: int = 5  # how many forests, with consecutive seeds, are tested
    folds: int = 5  # of the labelled objects for ranking features


@dataclass(frozen=True)
class AnomalyQuality:
    """How well scores agree with labels."""

    comparison: pd.DataFrame  # `compare_scores` of the score and its baselines
    main: str  # name of the score among these
    crossings: pd.DataFrame  # recall, precision and contamination where recall and precision are equal
    scores: tuple[Scores, AnomalyLabels]  # of the tested objects by the main score, with their labels
    scan: Scan | None = None  # if one was made


@dataclass(frozen=True)
class AnomalySearch:
    """Scores of all objects, and how good they are where labels tell."""

    scores: Scores  # of every row of the table, shape (n,), the highest the most anomalous
    settings: AnomalySettings
    labels: AnomalyLabels | None = None
    ranking: FeatureRanking | None = None  # of the features by all labels, if one was asked for
    quality: AnomalyQuality | None = None  # if there are labels
    options: AnomalyOptions = field(default_factory=AnomalyOptions)  # what was done besides scoring
    size: str | None = None  # column with the size of the objects, if the table has one: the baseline of every score
    report: Path | None = None  # of the result folder, if one was written


def find_anomalies(
    features: FeatureTable | PathLike,
    out: PathLike | None = None,
    *,
    label: str | None = None,
    anomalous: Sequence[str] = (),
    settings: AnomalySettings | None = None,
    options: AnomalyOptions | None = None,
    store: Images | None = None,
) -> AnomalySearch:
    """Rank the objects of a table by how unlike the others they are; with labels, test the ranking beside baselines.

    Parameters
    ----------
    features : FeatureTable or path-like
        The features.
    out : path-like, optional
        Result folder to write: anomalies.csv, galleries, figures, report.html.
    label : str, optional
        Column of labels or ratings to test the ranking with; they change the scores only if features are ranked.
    anomalous : sequence of str
        The labels that count as anomalous, or one comparison such as ``">=4"``.
    settings : AnomalySettings, optional
        How objects are scored.
    options : AnomalyOptions, optional
        What is done besides scoring.
    store : images, optional
        The pixels, for galleries and for the complexity of the images as a baseline; by default those that the features
        were made of, if they are still there.

    Returns
    -------
    AnomalySearch

    Raises
    ------
    RadiosslError
        If labels are incomplete, features are to be ranked or scanned without labels, or a column does not exist.

    See Also
    --------
    radiossl.anomalies.scores.anomaly_scores : the scores alone.
    radiossl.ratings.rounds.propose : ask a person which of them are interesting.

    Examples
    --------
    >>> import numpy as np
    >>> import pyarrow as pa
    >>> from radiossl.features.table import FeatureTable
    >>> features = np.random.default_rng(0).normal([[1, 0, 0, 0]], 0.1, (200, 4)).astype(np.float32)
    >>> features[17] = [-1, 0, 0, 0]
    >>> names = pa.array([f"J{number:04d}" for number in range(200)])
    >>> int(find_anomalies(FeatureTable(pa.table({"cutout_id": names}), features)).scores.argmax())
    17
    """
    check_result_folder(out, __name__)
    table = features if isinstance(features, FeatureTable) else FeatureTable.read(features)
    settings, options = settings or AnomalySettings(), options or AnomalyOptions()
    options = replace(options, baselines=one_or_more(options.baselines))
    needed = out is not None or label is not None
    cutouts = feature_cutouts(table.metadata, table.columns, store) if needed else None
    size = size_column(table)
    for column in options.baselines:
        table.column(column)
    if label is None and anomalous:
        raise RadiosslError("--anomalous: give the column of the labels with --label")
    labels = None if label is None else read_anomaly_labels(table.column(label), label, anomalous)
    if labels is None and (options.top or options.rank or options.scan):
        raise RadiosslError("--top-features, --rank-features and --scan need labels: give --label and --anomalous")
    if options.top is not None and not 1 <= options.top <= table.features.shape[1]:
        raise RadiosslError(f"--top-features {options.top}: the table has {table.features.shape[1]} features")
    if size is not None and size not in options.baselines:
        options = replace(options, baselines=[*options.baselines, size])
    ranking = None
    if labels is not None and (options.top or options.rank):
        ranking = rank_features(table.features[labels.rows], labels.anomalous, settings.seed)
    columns = ranking.order[: options.top] if ranking is not None and options.top else None
    scores = anomaly_scores(table.features, settings, columns)
    quality = None if labels is None else _evaluate(table, settings, labels, options, cutouts)
    search = AnomalySearch(scores, settings, labels, ranking, quality, options, size)
    if out is None:
        return search
    from radiossl.anomalies.report import write_anomalies

    return replace(search, report=write_anomalies(search, table, out, cutouts, label))


def summary_lines(search: AnomalySearch) -> list[str]:
    """Return one line for each score that was compared, for the terminal; none without labels."""
    lines = []
    for row in [] if search.quality is None else search.quality.comparison.to_dict("records"):
        spread = f" ± {row['auc_std']:.3f}" if row["seeds"] > 1 else ""
        recalls = ", ".join(f"{row[f'recall@{part}']:.3f} in the first {part}" for part in ("5%", "10%"))
        lines.append(f"{row['name']:34s} AUC {row['auc']:.3f}{spread:8s}  recall {recalls}")
    return lines


def _evaluate(
    table: FeatureTable,
    settings: AnomalySettings,
    labels: AnomalyLabels,
    options: AnomalyOptions,
    store: CutoutStore | None,
) -> AnomalyQuality:
    others = np.setdiff1d(np.arange(len(table)), labels.rows, assume_unique=True)
    if len(others) > _EVALUATED_OBJECTS:
        others = np.random.default_rng(settings.seed).choice(others, _EVALUATED_OBJECTS, replace=False)
    rows = np.sort(np.concatenate([labels.rows, others]))
    table, labels = table.select(rows), replace(labels, rows=np.searchsorted(rows, labels.rows))
    sky = table.numbers("ra_deg")[labels.rows], table.numbers("dec_deg")[labels.rows]
    groups = groups_by_position(*sky, RADIUS_ARCSEC)
    every = [replace(settings, seed=settings.seed + number) for number in range(options.seeds)]
    scores: dict[str, list[Scores]] = {
        best_name(title, None): [anomaly_scores(table.features, replace(each, method=method)) for each in every]
        for method, title in SCORE_TITLES.items()
    }
    asked = {*(TOP_FEATURES if options.rank else ()), options.top or 0}
    tops = [top for top in sorted(asked) if 0 < top <= table.features.shape[1]]
    fits = [CrossFit(table.features, labels, options.folds, groups, each.seed) for each in every]
    name = SCORE_TITLES[settings.method]
    for top in tops:
        scores[best_name(name, top)] = [fit.scores(top, each) for fit, each in zip(fits, every, strict=True)]
    main = best_name(name, options.top)
    for column in options.baselines:
        scores[column] = [_numbers(table, column)]
    if store is not None:
        scores["compressed size"] = [compressed_sizes(store.select_ids(table.column("cutout_id")))]
    generator = np.random.default_rng(settings.seed)
    scores["random"] = [generator.random(len(table)) for _ in range(_RANDOM_SEEDS)]
    crossings = []
    for one, seeds in scores.items():
        finite = np.where(np.isfinite(seeds[0]), seeds[0], np.nanmin(seeds[0][np.isfinite(seeds[0])], initial=0.0))
        crossings.append({"name": one, **threshold_curves(finite, labels).at_crossing()})
    scan = scan_forest(fits[0], [*tops, None], settings) if options.scan else None
    comparison = compare_scores(scores, labels, groups)
    return AnomalyQuality(comparison, main, pd.DataFrame(crossings), (scores[main][0], labels), scan)


def best_name(name: str, top: int | None) -> str:
    """Return the name of a score on the `top` best features."""
    return f"{name}, all features" if top is None else f"{name}, best {top}"


def _numbers(table: FeatureTable, column: str) -> Scores:
    """A column as a score; what is unknown comes last."""
    values = table.numbers(column)
    if not np.isfinite(values).any():
        raise RadiosslError(f"--baseline {column}: numbers were expected, the column has none")
    return np.where(np.isfinite(values), values, np.nanmin(values[np.isfinite(values)]) - 1.0)


def compressed_sizes(store: CutoutStore, preprocessing: Preprocessing | None = None) -> NDArray[np.float64]:
    """Measure the complexity of cutouts, which may differ in size, by the bytes of the compressed image, shape (n,).

    As described in Riggi et al. (2024, section 5) of Segal et al. (2023): frames are smoothed, resized and compressed
    with gzip, and the size of the file approximates their Kolmogorov complexity. Here the resizing, which averages over
    what it leaves out, is the smoothing; the first channel of the preprocessed image is written with 8 bits, and
    compressed with DEFLATE at level 9, which is gzip less its header of constant length. By default, at 64 x 64 pixels,
    pixels below 3 rms are set to zero and the others scaled by the peak, or, if the images of the store have 8 bits
    already, all are scaled from minimum to maximum.
    """
    if preprocessing is None:
        preprocessing = WITHOUT_NOISE if set(store.column("unit")) == {EIGHT_BIT} else WITH_NOISE
    statistics = torch.from_numpy(store.statistics)
    sizes = np.empty(len(store))
    for row in track(range(len(store)), "compressing"):
        pixels = torch.from_numpy(np.array(store.pixels(row), dtype=np.float32))
        sizes[row] = compressed_size(preprocessing(pixels[None], statistics[row : row + 1])[0, 0].numpy())
    return sizes


def compressed_size(image: NDArray[np.floating]) -> int:
    """Return the bytes of an image with values in [0, 1], written with 8 bits and compressed."""
    return len(zlib.compress(np.rint(255 * np.clip(image, 0.0, 1.0)).astype(np.uint8).tobytes(), 9))
