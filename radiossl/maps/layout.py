"""A map of features in two dimensions, by UMAP or PCA, on which later sources find their place."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radiossl.features.confounders import CONFOUNDERS
from radiossl.features.feature_file import BATCH_ROWS, FeatureFile
from radiossl.features.neighbours import Scatter, unit
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError, check_choice, check_columns, check_number, check_seed, counted
from radiossl.io.extras import require
from radiossl.io.files import one_or_more
from radiossl.io.progress import track
from radiossl.maps.reducers import PcaReducer, Reducer, UmapReducer

Method = Literal["umap", "pca"]
#: With more sources, UMAP is fitted to a random sample of this size, and the others are placed on it.
SAMPLE = 100_000
#: Principal components that are kept, whatever the method of the map.
COMPONENTS = 3

_FEWEST, _FEWEST_FOR_PCA = 10, 3
_CHECKED = 2000


class NothingToMapError(RadiosslError):
    """Sources are too few for a map, or all alike."""


@dataclass(frozen=True)
class FeatureMap:
    """Where sources lie on a map."""

    coordinates: NDArray[np.float32]  # shape (n, 2)
    #: coordinates along the first principal components of these features, shape (n, `COMPONENTS`)
    principal: NDArray[np.float32]
    explained: NDArray[np.float64]  # fraction of the variance along each of these
    fitted: NDArray[np.bool_]  # whether the map was made from this source, shape (n,); others were placed on it later
    reducer: Reducer  # places further sources
    #: ``trustworthiness`` of the map and ``trustworthiness_pca``, that of the first two principal components (Venna &
    #: Kaski 2001; 1 is best, 0.5 is chance), on ``checked`` sources with ``trustworthiness_neighbours``
    quality: dict[str, float]


def make_map(
    features: FeatureTable | FeatureFile,
    method: Method = "umap",
    neighbours: int = 15,
    min_dist: float = 0.1,
    seed: int = 0,
    sample: int = SAMPLE,
    onto: Reducer | None = None,
) -> FeatureMap:
    """Lay features out in two dimensions, by cosine distance.

    Parameters
    ----------
    features
        From memory, or read twice from disk.
    method
        ``umap``, or ``pca`` of the unit vectors (of all sources, exactly).
    neighbours, min_dist
        Of UMAP: how many neighbours shape the map (few: detail, many: the whole), and how close points may lie.
    seed
        Of UMAP and of every random choice. The same seed gives the same map.
    sample
        UMAP is fitted to at most this many sources, drawn at random.
    onto
        Reducer of an existing map (see `load_reducer`): all sources are placed on it and nothing is fitted.

    Raises
    ------
    RadiosslError
        If there are too few sources, features are not finite or all the same, or do not fit `onto`.
    """
    check_choice("--method", method, Method)
    check_number("--neighbours", neighbours, 2, whole=True)
    check_number("--min-dist", min_dist, 0, 1)
    check_number("--sample", sample, _FEWEST, whole=True)
    check_seed(seed)
    count = len(features)
    dimension = features.dimension if isinstance(features, FeatureFile) else features.features.shape[1]
    fewest = 1 if onto is not None else _FEWEST_FOR_PCA if method == "pca" else max(_FEWEST, neighbours + 1)
    if count < fewest:
        needed = f"a map by {method} with these options needs at least {fewest}"
        raise NothingToMapError(f"{counted(count, 'source')}: {needed}")
    if onto is not None and onto.dimension != dimension:
        raise RadiosslError(f"features of dimension {dimension} for a map of features of dimension {onto.dimension}")
    rng = np.random.default_rng(seed)
    fits_umap = onto is None and method == "umap"
    if fits_umap:
        require("umap", "datashader")
    sampled = np.sort(rng.choice(count, min(count, sample), replace=False)) if fits_umap else np.zeros(0, np.int64)
    checked = np.sort(rng.choice(count, min(count, _CHECKED), replace=False))

    pca, (training, to_check) = _first_pass(features, dimension, (sampled, checked))
    if not pca.explained.any() and onto is None:
        raise NothingToMapError("the features of all sources are the same: there is nothing to map")
    coordinates = np.empty((count, 2), np.float32)
    principal = np.empty((count, len(pca.components)), np.float32)
    placed = np.zeros(count, bool)
    reducer: Reducer = onto or pca.first(2)
    if fits_umap:
        reducer = _fit_umap(training, neighbours, min_dist, seed)
        coordinates[sampled], placed[sampled] = reducer.coordinates, True
    fitted = placed if fits_umap else np.full(count, onto is None)
    start = 0
    for batch in track(_batches(features), "placing", -(-count // BATCH_ROWS)):
        rows = slice(start, start + len(batch))
        principal[rows] = pca.transform(batch)
        if (left := ~placed[rows]).any():
            coordinates[rows][left] = reducer.transform(batch[left])
        start += len(batch)
    near = max(1, min(15, len(checked) // 2 - 1))
    quality = {
        "trustworthiness": _trust(to_check, coordinates[checked], near),
        "trustworthiness_pca": _trust(to_check, principal[checked, :2], near),
        "trustworthiness_neighbours": float(near),
        "checked": float(len(checked)),
    }
    return FeatureMap(coordinates, principal, pca.explained, fitted, reducer, quality)


def map_columns(features: FeatureFile, wanted: Sequence[str] = ()) -> FeatureTable:
    """Read of a feature file what the results of a map need: ids, positions, confounders and the `wanted` columns.

    The features of the returned table have dimension 0.
    """
    wanted = one_or_more(wanted)
    check_columns(wanted, features.schema.names, use=" in the features")
    also = ["cutout_id", "ra_deg", "dec_deg", "background", *CONFOUNDERS]
    columns = features.columns([*also, *wanted])
    return FeatureTable(columns, np.empty((columns.num_rows, 0), np.float32), features.metadata)


def _batches(features: FeatureTable | FeatureFile) -> Iterator[NDArray[np.float32]]:
    if isinstance(features, FeatureFile):
        return features.batches()
    starts = range(0, len(features), BATCH_ROWS)
    return (features.features[start : start + BATCH_ROWS] for start in starts)


def _first_pass(
    features: FeatureTable | FeatureFile, dimension: int, wanted: tuple[NDArray[np.int64], ...]
) -> tuple[PcaReducer, list[NDArray[np.float32]]]:
    """Return the principal components of all unit vectors, and the unit vectors of some sets of sorted rows."""
    scatter = Scatter(dimension)
    taken: list[list[NDArray[np.float32]]] = [[np.empty((0, dimension), np.float32)] for _ in wanted]
    start = 0
    for batch in track(_batches(features), "reading features", -(-len(features) // BATCH_ROWS)):
        bad = np.flatnonzero(~np.isfinite(batch).all(axis=1))
        if bad.size:
            raise RadiosslError(f"row {start + int(bad[0])} of the features is not finite; embed its cutout again")
        vectors = unit(batch)
        scatter.add(vectors)
        for rows, parts in zip(wanted, taken, strict=True):
            inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(batch))]
            parts.append(vectors[inside - start])
        start += len(batch)
    mean, axes, variances = scatter.principal_axes()
    total = float(variances.sum())
    # What is below float32's rounding of unit vectors is no variance.
    explained = np.maximum(variances, 0.0) / total if total > 1e-12 else np.zeros(dimension)
    pca = PcaReducer(mean, axes[:COMPONENTS], explained[:COMPONENTS])
    return pca, [np.concatenate(parts) for parts in taken]


def _fit_umap(training: NDArray[np.float32], neighbours: int, min_dist: float, seed: int) -> UmapReducer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tensorflow that is not there, and of groups without connection
        from umap import UMAP

        model = UMAP(n_neighbors=neighbours, min_dist=min_dist, metric="cosine", random_state=seed, n_jobs=1)
        for _ in track(range(1), f"UMAP of {counted(len(training), 'source')}"):
            coordinates = model.fit_transform(training)
    stored = training.astype(np.float16)
    return UmapReducer(stored, np.asarray(coordinates, np.float32), neighbours, min_dist, seed)


def _trust(vectors: NDArray[np.float32], coordinates: NDArray[np.float32], neighbours: int) -> float:
    from sklearn.manifold import trustworthiness

    if len(vectors) < 2 * neighbours + 1:
        return float("nan")
    return float(trustworthiness(vectors, coordinates, n_neighbors=neighbours, metric="cosine"))
