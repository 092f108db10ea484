"""How well nearest neighbours in feature space tell classes apart, beside the baselines that any backbone must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray

from radiossl.embeddings.embed import embed_store, preprocessed_batches
from radiossl.embeddings.neighbours import knn_predict
from radiossl.errors import RadiosslError
from radiossl.images.preprocess import Preprocessing
from radiossl.survey.store import CutoutStore
from radiossl.tasks.labels import Labels
from radiossl.weights.released import Backbone

#: Raw pixels are compared at no more than this many pixels a side.
_RAW_SIZE = 64


@dataclass(frozen=True)
class KnnScore:
    """Accuracy of a kNN classifier.

    Attributes
    ----------
    name
        What was judged.
    accuracies
        One for each fold and seed, or a single one for a test set.
    predictions
        Predicted class of every object that was tested, over the folds of the first seed.
    """

    name: str
    accuracies: NDArray[np.float64]
    predictions: NDArray[np.str_]

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(self.accuracies.mean())

    @property
    def spread(self) -> float:
        """Standard deviation of the accuracies; NaN for a single one."""
        return float(self.accuracies.std(ddof=1)) if len(self.accuracies) > 1 else float("nan")


@dataclass(frozen=True)
class KnnResult:
    """The judged backbone and its baselines on one labelled set.

    Attributes
    ----------
    store
        The tested cutouts.
    truth
        Their classes.
    score
        The backbone's.
    baselines
        Majority class, raw pixels and random weights, all with the backbone's preprocessing and averaging.
    k, folds, seeds
        Neighbours, folds (0 for a separate test set) and seeds.
    interval
        Wilson interval (68.3 %) of the accuracy on a separate test set.
    """

    store: CutoutStore
    truth: NDArray[np.str_]
    score: KnnScore
    baselines: list[KnnScore] = field(default_factory=list)
    k: int = 20
    folds: int = 5
    seeds: int = 5
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Split:
    """Rows to learn from and rows to test on."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


def evaluate_knn(
    backbone: Backbone,
    store: CutoutStore,
    labels: Labels,
    *,
    test: tuple[CutoutStore, Labels] | None = None,
    k: int = 20,
    folds: int = 5,
    seeds: int = 5,
    seed: int = 0,
    baselines: bool = True,
    batch_size: int = 128,
) -> KnnResult:
    """Judge a backbone by kNN.

    Parameters
    ----------
    backbone
        What is judged.
    store, labels
        The labelled cutouts.
    test
        A separate test set; without it, stratified folds are drawn from `store`.
    k
        Neighbours (20 in Slijepcevic et al. 2022, section 3).
    folds, seeds, seed
        The folds are drawn `seeds` times, from seeds `seed`, `seed` + 1, ...; as many random initialisations are tried.
    baselines
        Whether to measure the baselines too.
    batch_size
        Images at a time.

    Raises
    ------
    RadiosslError
        If a class has fewer objects than there are folds.
    """
    train_store = store.select(labels.rows)
    if test is None:
        tested, truth, splits = train_store, labels.names, _folds(labels.names, folds, seeds, seed)
        both, names = train_store, labels.names
    else:
        tested, truth = test[0].select(test[1].rows), test[1].names
        both = CutoutStore.joined(train_store, tested)
        names = np.concatenate([labels.names, truth])
        boundary = len(train_store)
        splits = [_Split(np.arange(boundary), np.arange(boundary, len(both)))]

    def judge(name: str, features: NDArray[np.floating]) -> KnnScore:
        return _score(name, features, names, splits, k, first=folds if test is None else 1)

    score = judge("backbone", embed_store(backbone, both, batch_size))
    others = []
    if baselines:
        others.append(_majority(names, splits, first=folds if test is None else 1))
        others.append(judge("raw pixels", _raw_pixels(backbone.config.preprocessing, both, batch_size)))
        random = [
            Backbone.random(backbone.config.architecture, backbone.config.preprocessing, seed + i).to(backbone.device)
            for i in range(seeds)
        ]
        scores = [judge("random weights", embed_store(network, both, batch_size)) for network in random]
        accuracies = np.concatenate([s.accuracies for s in scores])
        others.append(KnnScore("random weights", accuracies, scores[0].predictions))
    interval = None if test is None else _wilson(int((score.predictions == truth).sum()), len(truth))
    return KnnResult(tested, truth, score, others, k, folds if test is None else 0, seeds, interval)


def _folds(names: NDArray[np.str_], folds: int, seeds: int, seed: int) -> list[_Split]:
    from sklearn.model_selection import StratifiedKFold

    classes, counts = np.unique(names, return_counts=True)
    if counts.min() < folds:
        raise RadiosslError(
            f"class {str(classes[counts.argmin()])!r} has {counts.min()} objects: too few for {folds} folds (--folds)"
        )
    splits = []
    for number in range(seeds):
        folder = StratifiedKFold(folds, shuffle=True, random_state=seed + number)
        splits += [_Split(train, held_out) for train, held_out in folder.split(names, names)]
    return splits


def _score(
    name: str,
    features: NDArray[np.floating],
    names: NDArray[np.str_],
    splits: Sequence[_Split],
    k: int,
    first: int,
) -> KnnScore:
    predicted = [knn_predict(features[s.train], names[s.train], features[s.test], k) for s in splits]
    return _collect(name, predicted, names, splits, first)


def _majority(names: NDArray[np.str_], splits: Sequence[_Split], first: int) -> KnnScore:
    predicted = []
    for split in splits:
        classes, counts = np.unique(names[split.train], return_counts=True)
        predicted.append(np.full(len(split.test), classes[counts.argmax()]))
    return _collect("majority class", predicted, names, splits, first)


def _collect(
    name: str,
    predicted: Sequence[NDArray[np.str_]],
    names: NDArray[np.str_],
    splits: Sequence[_Split],
    first: int,
) -> KnnScore:
    """Accuracy of every split, and the predictions of the first `first` splits put in the order of the objects."""
    accuracies = np.array([(p == names[s.test]).mean() for p, s in zip(predicted, splits, strict=True)])
    rows = np.concatenate([split.test for split in splits[:first]])
    values = np.concatenate(list(predicted[:first]))
    return KnnScore(name, accuracies, values[np.argsort(rows)])


def _raw_pixels(preprocessing: Preprocessing, store: CutoutStore, batch_size: int) -> NDArray[np.float32]:
    size = min(preprocessing.size, _RAW_SIZE)
    flat = np.empty((len(store), preprocessing.channels * size**2), dtype=np.float32)
    for rows, images in preprocessed_batches(preprocessing, store, batch_size, description="raw pixels"):
        flat[rows] = F.interpolate(images, size=(size, size), mode="area").flatten(1).numpy()
    return flat


def _wilson(successes: int, trials: int) -> tuple[float, float]:
    from astropy.stats import binom_conf_interval

    low, high = binom_conf_interval(successes, trials, confidence_level=0.6827, interval="wilson")
    return float(low), float(high)
