"""Classifiers of features that are evaluated beside each other.

Each takes the rows to learn from and the rows to predict, and returns class probabilities. What can be computed once
for all splits, such as features, is computed before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from radiossl.evaluation.calibration import apply_temperature, fit_temperature, log_probabilities
from radiossl.evaluation.folds import Split, draw_folds, most_folds
from radiossl.features.neighbours import nearest_neighbours
from radiossl.io.cores import threads

Rows = NDArray[np.int64]
Probabilities = NDArray[np.float64]
#: Takes rows to learn from, rows to predict and a seed; returns class probabilities, shape (rows to predict, classes).
Estimator = Callable[[Rows, Rows, int], Probabilities]

#: Numbers of neighbours and strengths of regularisation that are tried on inner folds.
K_GRID = (1, 3, 5, 10, 20, 30, 50)
C_GRID = (0.001, 0.01, 0.1, 1.0)
_INNER_FOLDS = 5


@dataclass(frozen=True)
class Majority:
    """The class frequencies of the training rows, for every image alike."""

    truth: NDArray[np.int64]
    classes: int

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        counts = np.bincount(self.truth[train], minlength=self.classes)
        return np.tile(counts / counts.sum(), (len(test), 1))


@dataclass(frozen=True)
class NearestNeighbours:
    """Votes of the k neighbours with the highest cosine similarity, each weighted by it.

    Principal components are those of all rows but the tested ones and need no labels; without them a few directions of
    large variance outvote all others.
    """

    features: NDArray[np.floating]  # of all rows, shape (n, d)
    truth: NDArray[np.int64]  # class number of each row, shape (n,)
    classes: int  # how many there are
    k: int | None = 20  # 20 in Slijepcevic et al. 2022, section 3; None: chosen from K_GRID on inner folds
    components: int | None = None  # compare this many whitened principal components
    groups: NDArray[np.int64] | None = None  # rows of one source stay together in the inner folds

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        seen = self if self.components is None else self._whitened(test)
        k = self.k or _best(K_GRID, seen._votes, self.truth, train, self.groups, seed)
        return seen._votes(train, test, k)

    def _votes(self, train: Rows, test: Rows, k: float) -> Probabilities:
        neighbours = nearest_neighbours(self.features[train], self.truth[train], int(k))
        return _all_classes(neighbours, self.features[test], self.classes)

    def _whitened(self, test: Rows) -> NearestNeighbours:
        from sklearn.decomposition import PCA

        others = np.delete(self.features, test, axis=0)
        components = min(self.components or 1, *others.shape)
        whitening = PCA(components, whiten=True, svd_solver="full").fit(others)
        return NearestNeighbours(whitening.transform(self.features), self.truth, self.classes, self.k)


@dataclass(frozen=True)
class LogisticRegression:
    """Multinomial logistic regression on standardised features; other attributes as for `NearestNeighbours`."""

    features: NDArray[np.floating]
    truth: NDArray[np.int64]
    classes: int
    strength: float | None = 0.1  # inverse of the regularisation; None: chosen from C_GRID on inner folds
    groups: NDArray[np.int64] | None = None
    beside: int = 0  # last columns that are no features; each counts as much as all features together

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        strength = self.strength or _best(C_GRID, self._fitted, self.truth, train, self.groups, seed)
        return self._fitted(train, test, strength)

    def _fitted(self, train: Rows, test: Rows, strength: float) -> Probabilities:
        import sklearn.linear_model
        from sklearn.preprocessing import StandardScaler

        if len(set(self.truth[train].tolist())) == 1:
            return Majority(self.truth, self.classes)(train, test, 0)
        scaler = StandardScaler().fit(self.features[train])
        weight = column_weights(self.features.shape[1], self.beside)
        model = sklearn.linear_model.LogisticRegression(C=strength, max_iter=500)
        model.fit(scaler.transform(self.features[train]) * weight, self.truth[train])
        return _all_classes(model, scaler.transform(self.features[test]) * weight, self.classes)


def column_weights(width: int, beside: int) -> NDArray[np.float32]:
    """Return factors of standardised columns: the last ones count as much as all features together, shape (width,)."""
    weights = np.ones(width, dtype=np.float32)
    weights[width - beside :] = np.sqrt(max(1, width - beside))
    return weights


def inner_folds(truth: NDArray[np.int64], rows: Rows, groups: NDArray[np.int64] | None, seed: int) -> list[Split]:
    """Split the training rows again into five stratified folds, or as many as the smallest class allows.

    Rows of one group stay together, as in the outer folds. The list is empty if not even two folds can be made.
    """
    names, inner = truth[rows], None if groups is None else groups[rows]
    folds = min(_INNER_FOLDS, most_folds(names, inner))
    if folds < 2:
        return []
    return [Split(rows[split.train], rows[split.test]) for split in draw_folds(names, folds, 1, seed, inner)]


def _best(
    grid: Sequence[float],
    fitted: Callable[[Rows, Rows, float], Probabilities],
    truth: NDArray[np.int64],
    rows: Rows,
    groups: NDArray[np.int64] | None,
    seed: int,
) -> float:
    """The value of the grid with the highest accuracy on inner folds; the first where there are none."""
    splits = inner_folds(truth, rows, groups, seed)
    if not splits:
        return grid[0]

    def accuracy(value: float, split: Split) -> float:
        return float((fitted(split.train, split.test, value).argmax(axis=1) == truth[split.test]).mean())

    return max(grid, key=lambda value: np.mean([accuracy(value, split) for split in splits]))


def _all_classes(model: Any, features: NDArray[np.floating], classes: int) -> Probabilities:
    """Probabilities of a fitted model, with zeros for classes that it has not seen."""
    probabilities = np.zeros((len(features), classes))
    probabilities[:, model.classes_] = model.predict_proba(features)
    return probabilities


@dataclass(frozen=True)
class RandomForest:
    """A random forest on any columns, such as image moments."""

    features: NDArray[np.floating]
    truth: NDArray[np.int64]
    classes: int
    trees: int = 200

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(self.trees, random_state=seed, n_jobs=threads())
        forest.fit(self.features[train], self.truth[train])
        return _all_classes(forest, self.features[test], self.classes)


@dataclass(frozen=True)
class LinearLayer:
    """A single layer trained on a frozen backbone, the images rotated and flipped (Riggi et al. 2024, section 3.2).

    The backbone is frozen, so the features of the eight right-angle rotations and mirror images of every image are made
    once, and each epoch takes one of the eight at random. It is trained by Adam.
    """

    views: NDArray[np.float32]  # of all rows, shape (8, n, d); see `SharedFeatures.views_of`
    truth: NDArray[np.int64]
    classes: int
    averaged: bool  # average the probabilities of a tested image over its eight views
    epochs: int = 30
    lr: float = 1e-3
    batch_size: int = 32
    beside: int = 0  # as for `LogisticRegression`

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        scale = self.views[:, train].reshape(-1, self.views.shape[2])
        mean, std = scale.mean(axis=0), scale.std(axis=0) + 1e-6
        std /= column_weights(len(std), self.beside)
        features = torch.from_numpy((self.views[:, train] - mean) / std)
        targets = torch.from_numpy(self.truth[train])
        generator = torch.Generator().manual_seed(seed)
        weight = torch.zeros(self.classes, features.shape[2], requires_grad=True)
        bias = torch.zeros(self.classes, requires_grad=True)
        optimizer = torch.optim.Adam([weight, bias], lr=self.lr)
        for _ in range(self.epochs):
            order = torch.randperm(len(train), generator=generator)
            view = torch.randint(8, (len(train),), generator=generator)
            for rows in order.split(self.batch_size):
                loss = F.cross_entropy(F.linear(features[view[rows], rows], weight, bias), targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        tested = torch.from_numpy((self.views[: 8 if self.averaged else 1, test] - mean) / std)
        with torch.inference_mode():
            return F.linear(tested, weight, bias).double().softmax(dim=2).mean(dim=0).numpy()


@dataclass(frozen=True)
class Calibrated:
    """An estimator whose probabilities are sharpened or softened by a temperature (Guo et al. 2017).

    It learns from four fifths of the rows that it is given, stratified and with the rows of one source on one side; the
    temperature is fitted on the rest. Where a class has fewer than five sources, it learns from all rows and the
    probabilities stay as they are.
    """

    estimator: Estimator
    truth: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        splits = inner_folds(self.truth, train, self.groups, seed)
        if len(splits) < _INNER_FOLDS:
            return self.estimator(train, test, seed)
        learnt, held = splits[0].train, splits[0].test
        probabilities = self.estimator(learnt, np.concatenate([held, test]), seed)
        logarithms = log_probabilities(probabilities, len(learnt))
        temperature = fit_temperature(logarithms[: len(held)], self.truth[held])
        return apply_temperature(logarithms[len(held) :], temperature)
