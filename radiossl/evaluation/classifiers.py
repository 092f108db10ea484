"""The ways of telling classes apart that are judged beside each other.

Each takes the rows to learn from and the rows to tell, and returns class probabilities. What can be computed once for
all splits, such as features, is computed before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from radiossl.evaluation.calibration import apply_temperature, fit_temperature
from radiossl.evaluation.training import (
    Classifier,
    SmallCnn,
    TrainingSettings,
    predict_probabilities,
    train_classifier,
)
from radiossl.features.embedding import preprocessed_batches
from radiossl.features.neighbours import nearest_neighbours
from radiossl.images.preprocess import Preprocessing
from radiossl.store.store import CutoutStore
from radiossl.weights.backbone import Backbone

Rows = NDArray[np.int64]
Probabilities = NDArray[np.float64]

#: Raw pixels are compared at no more than this many pixels a side.
RAW_SIZE = 64
#: Numbers of neighbours and strengths of regularisation that are tried on inner folds.
K_GRID = (1, 3, 5, 10, 20, 30, 50)
C_GRID = (0.001, 0.01, 0.1, 1.0)
_INNER_FOLDS = 5


class ClassifierMethod(Protocol):
    """Something that learns from some rows of a labelled set and gives class probabilities for others."""

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:
        """Return probabilities of shape (len(test), classes)."""
        ...


@dataclass(frozen=True)
class Majority:
    """The frequencies of the classes, whatever the image."""

    truth: NDArray[np.int64]
    classes: int

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        counts = np.bincount(self.truth[train], minlength=self.classes)
        return np.tile(counts / counts.sum(), (len(test), 1))


@dataclass(frozen=True)
class NearestNeighbours:
    """Votes of the k neighbours with the highest cosine similarity.

    Attributes
    ----------
    features
        Of all rows, shape (n, d).
    truth, classes
        Class number of each row, and how many there are.
    k
        Neighbours (20 in Slijepcevic et al. 2022, section 3); null to choose among `K_GRID` by folds of the training
        rows.
    components
        Compare so many principal components, each scaled to unit variance, instead of the features: else a few
        directions of large variance outvote all others. The components are those of all rows but the tested ones, and
        need no labels. Null for the features themselves.
    """

    features: NDArray[np.floating]
    truth: NDArray[np.int64]
    classes: int
    k: int | None = 20
    components: int | None = None

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        seen = self if self.components is None else self._whitened(test)
        k = self.k or _best(K_GRID, seen._accuracy, self.truth[train], train, seed)
        return seen._votes(train, test, k)

    def _votes(self, train: Rows, test: Rows, k: int) -> Probabilities:
        neighbours = nearest_neighbours(self.features[train], self.truth[train], k)
        return _all_classes(neighbours, self.features[test], self.classes)

    def _accuracy(self, k: float, train: Rows, test: Rows) -> float:
        return float((self._votes(train, test, int(k)).argmax(axis=1) == self.truth[test]).mean())

    def _whitened(self, test: Rows) -> NearestNeighbours:
        from sklearn.decomposition import PCA

        others = np.delete(self.features, test, axis=0)
        components = min(self.components or 1, *others.shape)
        whitening = PCA(components, whiten=True, svd_solver="full").fit(others)
        return NearestNeighbours(whitening.transform(self.features), self.truth, self.classes, self.k)


@dataclass(frozen=True)
class LogisticRegression:
    """Multinomial logistic regression on standardised features.

    Attributes
    ----------
    features, truth, classes
        As for `NearestNeighbours`.
    strength
        Inverse of the regularisation; null to choose among `C_GRID` by folds of the training rows.
    """

    features: NDArray[np.floating]
    truth: NDArray[np.int64]
    classes: int
    strength: float | None = 0.1

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        strength = self.strength or _best(C_GRID, self._accuracy, self.truth[train], train, seed)
        return self._fitted(train, test, strength)

    def _fitted(self, train: Rows, test: Rows, strength: float) -> Probabilities:
        import sklearn.linear_model
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if len(set(self.truth[train].tolist())) == 1:
            return Majority(self.truth, self.classes)(train, test, 0)
        model = make_pipeline(StandardScaler(), sklearn.linear_model.LogisticRegression(C=strength, max_iter=500))
        model.fit(self.features[train], self.truth[train])
        return _all_classes(model, self.features[test], self.classes)

    def _accuracy(self, strength: float, train: Rows, test: Rows) -> float:
        return float((self._fitted(train, test, strength).argmax(axis=1) == self.truth[test]).mean())


def _best(grid: Sequence[float], accuracy: Any, names: NDArray[np.int64], rows: Rows, seed: int) -> Any:
    """The value of the grid with the highest accuracy on folds of the training rows; the first where there are none."""
    from sklearn.model_selection import StratifiedKFold

    folds = min(_INNER_FOLDS, int(np.bincount(names)[np.unique(names)].min()))
    if folds < 2:
        return grid[0]
    splits = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, names))
    means = [np.mean([accuracy(value, rows[inner], rows[outer]) for inner, outer in splits]) for value in grid]
    return grid[int(np.argmax(means))]


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

        forest = RandomForestClassifier(self.trees, random_state=seed, n_jobs=-1)
        forest.fit(self.features[train], self.truth[train])
        return _all_classes(forest, self.features[test], self.classes)


@dataclass(frozen=True)
class LinearLayer:
    """A single layer trained on a frozen backbone, the images rotated and flipped (Riggi et al. 2024, section 3.2).

    The backbone is frozen, so the features of the eight right-angle rotations and mirror images of every image are made
    once, and each epoch takes one of the eight at random.

    Attributes
    ----------
    views
        Features of the eight views of all rows, shape (8, n, d); see `SharedFeatures.views_of`.
    truth, classes
        As for `NearestNeighbours`.
    averaged
        Whether to average the probabilities of a tested image over its eight views.
    epochs, lr, batch_size
        Of Adam.
    """

    views: NDArray[np.float32]
    truth: NDArray[np.int64]
    classes: int
    averaged: bool
    epochs: int = 30
    lr: float = 1e-3
    batch_size: int = 32

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        scale = self.views[:, train].reshape(-1, self.views.shape[2])
        mean, std = scale.mean(axis=0), scale.std(axis=0) + 1e-6
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
class Trained:
    """A network trained on the images themselves: fine-tuned, or from scratch.

    Attributes
    ----------
    store, truth, classes
        All labelled cutouts, their class numbers, and how many classes there are.
    start
        The backbone to start from; null for random weights, other ones for each seed.
    like
        The backbone whose architecture and preprocessing are used, and whose device.
    settings
        How it is trained.
    small
        Whether to train the small network of Negm 2021 instead.
    """

    store: CutoutStore
    truth: NDArray[np.int64]
    classes: int
    like: Backbone
    start: Backbone | None
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    small: bool = False

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        model = self._model(seed)
        for _ in train_classifier(model, self.store.select(train), self.truth[train], self.settings, seed):
            pass
        return predict_probabilities(model, self.store.select(test))

    def _model(self, seed: int) -> Classifier:
        preprocessing, device = self.like.config.preprocessing, self.like.device
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            if self.small:
                network = SmallCnn(preprocessing.channels, preprocessing.size)
                return Classifier(network, SmallCnn.feature_dim, self.classes, preprocessing).to(device)
            start = self.start or Backbone.random(self.like.config.architecture, preprocessing, seed).to(device)
            return Classifier.on(start, self.classes)


@dataclass(frozen=True)
class Calibrated:
    """A method whose probabilities are sharpened or softened by a temperature (Guo et al. 2017).

    It learns from four fifths of the rows that it is given, class by class; the temperature is fitted on the rest.
    Where a class is too small to be divided, it learns from all and the probabilities stay as they are.
    """

    method: ClassifierMethod
    truth: NDArray[np.int64]

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:  # noqa: D102
        from sklearn.model_selection import train_test_split

        names = self.truth[train]
        if np.bincount(names)[np.unique(names)].min() < 2 or len(train) < 5 * len(np.unique(names)):
            return self.method(train, test, seed)
        learnt, held = train_test_split(train, test_size=0.2, stratify=names, random_state=seed)
        probabilities = self.method(np.sort(learnt), np.concatenate([held, test]), seed)
        with np.errstate(divide="ignore"):  # a probability of 0 is a logarithm of minus infinity
            logarithms = np.log(probabilities)
        temperature = fit_temperature(logarithms[: len(held)], self.truth[held])
        return apply_temperature(logarithms[len(held) :], temperature)


# What is computed once ------------------------------------------------------------------------------------------------


def raw_pixels(preprocessing: Preprocessing, store: CutoutStore, batch_size: int = 128) -> NDArray[np.float32]:
    """The preprocessed pixels themselves, at `RAW_SIZE` pixels a side at most, shape (n, channels * side**2)."""
    size = min(preprocessing.size, RAW_SIZE)
    flat = np.empty((len(store), preprocessing.channels * size**2), dtype=np.float32)
    for rows, images in preprocessed_batches(preprocessing, store, batch_size, description="raw pixels"):
        flat[rows] = F.interpolate(images, size=(size, size), mode="area").flatten(1).numpy()
    return flat


def image_moments(preprocessing: Preprocessing, store: CutoutStore, batch_size: int = 128) -> NDArray[np.float64]:
    """Numbers that describe the shape of the source in each preprocessed image, shape (n, 17).

    Of the first channel: flux, area and number of peaks, extent and ellipticity from the second moments, concentration,
    asymmetry under half a turn, distance of the brightest pixel from the centroid, the seven invariants of Hu 1962
    (logarithms), kurtosis and skewness along the major axis.
    """
    rows_of = []
    for _, images in preprocessed_batches(preprocessing, store, batch_size, description="moments"):
        rows_of += [_moments(image) for image in images[:, 0].double().numpy()]
    return np.array(rows_of)


def _moments(image: NDArray[np.float64]) -> list[float]:
    from scipy import ndimage

    flux = image.sum()
    if not flux > 0:
        return [0.0] * 17
    y, x = np.indices(image.shape, dtype=float)
    cy, cx = (image * y).sum() / flux, (image * x).sum() / flux
    dy, dx = y - cy, x - cx

    def moment(p: int, q: int) -> float:
        return float((image * dx**p * dy**q).sum())

    xx, yy, xy = moment(2, 0) / flux, moment(0, 2) / flux, moment(1, 1) / flux
    spread, difference = xx + yy, np.hypot(xx - yy, 2 * xy)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    along = dx * np.cos(angle) + dy * np.sin(angle)
    width = np.sqrt(max((spread + difference) / 2, 1e-9))
    third, fourth = ((image * (along / width) ** power).sum() / flux for power in (3, 4))
    ordered = np.sort(image.ravel())[::-1].cumsum() / flux
    peaks = (image == ndimage.maximum_filter(image, 5)) & (image > 0.3 * image.max())
    brightest = np.unravel_index(image.argmax(), image.shape)
    return [
        np.log(flux),
        float((image > 0).mean()),
        float(ndimage.label(peaks)[1]),
        float(width),
        float(difference / max(spread, 1e-9)),
        float((ordered < 0.5).mean()),
        float(np.abs(image - image[::-1, ::-1]).sum() / (2 * flux)),
        float(np.hypot(brightest[0] - cy, brightest[1] - cx) / width),
        *_hu(moment, flux),
        float(fourth),
        float(abs(third)),
    ]


def _hu(moment: Any, flux: float) -> list[float]:
    """The seven invariants, as signed logarithms since they span many decades."""
    n = {(p, q): moment(p, q) / flux ** (1 + (p + q) / 2) for p in range(4) for q in range(4) if 2 <= p + q <= 3}
    a, b = n[3, 0] - 3 * n[1, 2], 3 * n[2, 1] - n[0, 3]
    c, d = n[3, 0] + n[1, 2], n[2, 1] + n[0, 3]
    e = n[2, 0] - n[0, 2]
    invariants = [
        n[2, 0] + n[0, 2],
        e**2 + 4 * n[1, 1] ** 2,
        a**2 + b**2,
        c**2 + d**2,
        a * c * (c**2 - 3 * d**2) + b * d * (3 * c**2 - d**2),
        e * (c**2 - d**2) + 4 * n[1, 1] * c * d,
        b * c * (c**2 - 3 * d**2) - a * d * (3 * c**2 - d**2),
    ]
    return [float(np.sign(value) * np.log10(1 + 1e6 * abs(value))) for value in invariants]
