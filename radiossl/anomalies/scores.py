"""Anomalies: how unlike all others each object is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from radiossl.features.neighbours import Scatter, unit
from radiossl.io.errors import RadiosslError, check_choice, check_number, check_seed
from radiossl.io.progress import track

Method = Literal["forest", "neighbours", "density"]
METHODS: tuple[Method, ...] = get_args(Method)

#: The neighbours of an object are looked for among at most this many others, drawn at random.
REFERENCE_OBJECTS = 20_000
#: Principal components of ``density``.
WHITENED = 16
#: Trees are grown from at most this many objects, drawn at random.
FOREST_OBJECTS = 200_000
#: Objects that are scored at a time, and how many such chunks take no longer than a progress bar is worth.
_CHUNK = 8192
_QUIET_CHUNKS = 3


@dataclass(frozen=True)
class AnomalySettings:
    """How objects are scored.

    ``forest``: Isolation Forest (Liu et al. 2008; Riggi et al. 2024, section 5.2). ``neighbours``: mean distance to the
    nearest neighbours. ``density``: the same in whitened principal components.
    """

    method: Method = "forest"
    trees: int = 200  # of the forest (200 in Riggi et al. 2024)
    max_samples: float | Literal["auto"] = "auto"  # objects from which each tree is grown: a fraction of all, or 256
    neighbours: int = 20
    seed: int = 0  # of every random draw

    def __post_init__(self) -> None:
        check_choice("--method", self.method, METHODS)
        check_number("--trees", self.trees, 1, whole=True)
        check_number("--neighbours", self.neighbours, 1, whole=True)
        check_seed(self.seed)
        if self.max_samples != "auto":
            check_number("--max-samples", self.max_samples, 0, 1, above=True)


def anomaly_scores(
    features: NDArray[np.floating], settings: AnomalySettings | None = None, columns: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """Score objects by how unlike the others they are, without any label: shape (n,), the highest the most anomalous.

    All features of an object, shape (n, d), are divided by their length first: a backbone learns by the angles between
    them (the contrastive loss is one of cosines), and lengths follow brightness. docs/anomalies.md says what that is
    worth. `columns` are the numbers of the features to look at, such as the best of `rank_features`; None for all. They
    are worked through in chunks, so that beside them little but the scores is held. Scores lie in [0, 1].

    ``forest``: s = 2 ** (-E[h] / c), where E[h] is the mean depth at which the trees isolate the object and c the mean
    depth expected for as many objects as each tree was grown from (Liu et al. 2008, equation 2); it is the negative of
    scikit-learn's ``score_samples``. About 0.5 is ordinary, towards 1 anomalous.

    ``neighbours``: s = d / (d + m), where d is the object's mean distance to its nearest neighbours among at most
    `REFERENCE_OBJECTS` others, and m the median of d. 0.5 is ordinary, 0.75 three times as far from everything as an
    ordinary object.

    ``density``: the same among the first `WHITENED` principal components, each divided by its standard deviation, so
    that no direction counts more because the features vary more along it.
    """
    settings = settings or AnomalySettings()
    if features.ndim != 2 or len(features) < 3:
        raise RadiosslError(f"anomalies among features of shape {features.shape}: three objects at least are needed")
    chosen: _Columns = slice(None) if columns is None else np.asarray(columns)
    first, same = unit(features[:1])[:, chosen], True
    for start in range(0, len(features), _CHUNK):
        chunk = features[start : start + _CHUNK]
        if not np.isfinite(chunk).all():
            raise RadiosslError("anomalies: features that are not finite; embed the cutouts again")
        same = same and np.allclose(unit(chunk)[:, chosen], first, rtol=0, atol=1e-6)
    if same:
        raise RadiosslError("anomalies: the features of all objects are the same")
    if settings.method == "forest":
        return _forest_scores(features, chosen, settings)
    if settings.method == "density":
        whitened = _whitened(features, chosen)
        return _neighbour_scores(lambda rows: whitened[rows], len(features), settings)
    return _neighbour_scores(lambda rows: unit(features[rows])[:, chosen], len(features), settings)


_Columns = NDArray[np.int64] | slice


def _forest_scores(features: NDArray[np.floating], columns: _Columns, settings: AnomalySettings) -> NDArray[np.float64]:
    from sklearn.ensemble import IsolationForest

    rows = _drawn(len(features), FOREST_OBJECTS, settings.seed)
    samples = settings.max_samples
    if samples != "auto":
        samples = max(2, int(samples * len(rows)))  # a tree of one object isolates nothing
    forest = IsolationForest(n_estimators=settings.trees, max_samples=samples, random_state=settings.seed)
    forest.fit(unit(features[rows])[:, columns])
    chunks = _chunks(len(features))
    return np.concatenate([-forest.score_samples(unit(features[chunk])[:, columns]) for chunk in chunks])


def _whitened(features: NDArray[np.floating], columns: _Columns) -> NDArray[np.float32]:
    """Unit features in whitened principal components, shape (n, at most `WHITENED`)."""
    scatter = Scatter(unit(features[:1])[:, columns].shape[1])
    for chunk in _chunks(len(features)):
        scatter.add(unit(features[chunk])[:, columns])
    mean, axes, variances = scatter.principal_axes()
    kept = variances[:WHITENED] > 1e-9 * max(float(variances[0]), 1e-12)
    axes = axes[:WHITENED][kept].T / np.sqrt(variances[:WHITENED][kept])
    parts = [(unit(features[chunk])[:, columns] - mean) @ axes for chunk in _chunks(len(features))]
    return np.concatenate(parts).astype(np.float32)


def _neighbour_scores(
    take: Callable[[NDArray[np.int64] | slice], NDArray[np.float32]], count: int, settings: AnomalySettings
) -> NDArray[np.float64]:
    """Scores by the distance to neighbours among the vectors that `take` returns."""
    import faiss

    rows = _drawn(count, REFERENCE_OBJECTS, settings.seed)
    reference = take(rows)
    index = faiss.IndexFlatL2(reference.shape[1])
    index.add(reference)
    wanted = min(settings.neighbours, len(rows) - 1)
    distances = np.empty(count)
    for chunk in _chunks(count):
        squared, found = index.search(take(chunk), wanted + 1)
        own = rows[found] == np.arange(chunk.start, chunk.stop)[:, None]
        own[~own.any(axis=1), -1] = True  # not in the reference, or behind copies of itself: the farthest is too many
        squared = np.maximum(squared[~own].reshape(len(found), wanted), 0.0)  # rounding makes copies negative
        distances[chunk] = np.sqrt(squared).mean(axis=1)
    middle = max(float(np.median(distances)), float(np.finfo(np.float32).eps))
    return distances / (distances + middle)


def _drawn(length: int, most: int, seed: int) -> NDArray[np.int64]:
    """Rows of at most this many objects, in order."""
    if length <= most:
        return np.arange(length)
    return np.sort(np.random.default_rng(seed).choice(length, most, replace=False))


def _chunks(length: int) -> Iterator[slice]:
    starts: Iterable[int] = range(0, length, _CHUNK)
    if length > _QUIET_CHUNKS * _CHUNK:
        starts = track(starts, "scoring")
    return (slice(start, min(start + _CHUNK, length)) for start in starts)


def rank_fractions(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the place of each object in the ranking of all, from 0 (lowest) to 1 (highest); ties share theirs."""
    from scipy.stats import rankdata

    return (rankdata(scores) - 0.5) / len(scores)
