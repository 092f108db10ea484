"""A random forest on columns of a catalogue (Clarke et al. 2020): plain arrays, compiled for speed, and calibrated."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from radiossl.evaluation.calibration import apply_temperature, fit_temperature, log_probabilities
from radiossl.evaluation.confidence import Novelty, fit_thresholds, held_out_sets
from radiossl.io.compiling import exact_kernel
from radiossl.io.cores import threads
from radiossl.io.errors import RadiosslError
from radiossl.io.files import PathLike, atomic_file, existing_file
from radiossl.tables.columns import TableColumns

_PARTS = ("thresholds", "novelty_middle", "novelty_spread", "novelty_whitening")


@dataclass(frozen=True)
class ForestCalibration:
    """Learnt on held-out folds, applied to a forest of all rows."""

    temperature: float  # of the probabilities (Guo et al. 2017)
    learnt: int  # rows that a forest of the folds learnt from; see `log_probabilities`
    coverage: float  # of the prediction sets
    thresholds: NDArray[np.float64]  # of the prediction sets; see `fit_thresholds`
    novelty: Novelty  # the out-of-distribution score

    def probabilities(self, raw: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return calibrated probabilities of a forest's raw ones, shape (n, classes)."""
        return apply_temperature(log_probabilities(raw, self.learnt), self.temperature)

    def to_file(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and numbers that `from_file` makes the same of."""
        arrays = (self.thresholds, self.novelty.middle, self.novelty.spread, self.novelty.whitening)
        about = {"temperature": self.temperature, "learnt": self.learnt, "coverage": self.coverage}
        return dict(zip(_PARTS, arrays, strict=True)), {**about, "novelty_unit": self.novelty.unit}

    @classmethod
    def from_file(cls, arrays: dict[str, NDArray[Any]], about: dict[str, Any]) -> ForestCalibration:
        """Restore from what was read of a file; raise `KeyError`, `TypeError` or `ValueError` if it is damaged."""
        thresholds, middle, spread, whitening = (arrays[name] for name in _PARTS)
        temperature, unit = float(about["temperature"]), float(about["novelty_unit"])
        if not (temperature > 0 and unit > 0 and thresholds.ndim == 1):
            raise ValueError("its calibration does not fit")
        if not (whitening.shape[:1] == middle.shape == spread.shape and (spread > 0).all()):
            raise ValueError("its out-of-distribution score does not fit")
        middle, spread, whitening = (part.astype(np.float32) for part in (middle, spread, whitening))
        novelty = Novelty(middle, spread, whitening, unit)
        return cls(temperature, int(about["learnt"]), float(about["coverage"]), thresholds.astype(float), novelty)


def calibrate(
    raw: NDArray[np.float64], truth: NDArray[np.int64], fold: NDArray[np.int64], coverage: float, novelty: Novelty
) -> tuple[ForestCalibration, NDArray[np.float64], NDArray[np.bool_]]:
    """Fit a calibration on probabilities (n, classes) by forests that did not see the rows; `fold` is that of each row.

    Returns the calibration, fitted on all rows, and what scores may be made of: the probabilities and sets of each row
    by a calibration fitted on the other folds, both of shape (n, classes).
    """
    learnt = len(truth) - int(np.bincount(fold).max())
    logarithms = log_probabilities(raw, learnt)
    probabilities = np.empty_like(raw)
    for number in np.unique(fold):
        tested = fold == number
        temperature = fit_temperature(logarithms[~tested], truth[~tested])
        probabilities[tested] = apply_temperature(logarithms[tested], temperature)
    sets = held_out_sets(probabilities, truth, fold, coverage)
    temperature = fit_temperature(logarithms, truth)
    thresholds = fit_thresholds(apply_temperature(logarithms, temperature), truth, coverage)
    return ForestCalibration(temperature, learnt, coverage, thresholds, novelty), probabilities, sets


#: Trees of the published program of Clarke et al. 2020.
TREES = 200

_BLOCK = 2_048  # rows that go through one tree after the other while their numbers stay in the cache of their core
_PIECE = 262_144  # rows that a core takes at a time: the more, the more alike are those of a block
_SORTING = 2  # trees whose leaves say which rows are alike
_INDEX = np.uint64  # unsigned indices need no test of their sign
_HIGHEST, _LOWEST = np.int32(2**31 - 1), np.int32(-(2**31))
_ARRAYS: dict[str, Any] = {
    **{"feature": np.int32, "threshold": np.float32, "left": np.int32, "right": np.int32, "missing_left": np.uint8},
    **{"roots": np.int32, "leaves": np.float32},
}


@dataclass(frozen=True)
class Forest:
    """A trained forest; refused if its arrays do not fit each other, or following them would not end at a leaf.

    A child that is 0 or above is the number of a node, one below 0 is leaf -1 - child.
    """

    feature: NDArray[np.int32]  # column that each node looks at, shape (nodes,)
    threshold: NDArray[np.float32]  # value up to which a row goes left, shape (nodes,)
    left: NDArray[np.int32]  # child, shape (nodes,)
    right: NDArray[np.int32]  # child, shape (nodes,)
    missing_left: NDArray[np.uint8]  # whether a row goes left where the value is missing, shape (nodes,)
    roots: NDArray[np.int32]  # where each tree begins, a child like the others, shape (trees,)
    leaves: NDArray[np.float32]  # class probabilities, shape (leaves, classes)
    columns: TableColumns
    classes: list[str]  # sorted
    about: dict[str, Any] = field(default_factory=dict)  # how it was trained
    calibration: ForestCalibration | None = None  # None for a forest of version 0.1

    def __post_init__(self) -> None:
        # The kernel follows the arrays without looking where it steps: what comes from a file is looked at here.
        nodes, width = len(self.feature), len(self.columns.names)
        alike = (self.threshold, self.left, self.right, self.missing_left)
        children = np.stack([self.left, self.right]) if nodes else np.empty((2, 0), np.int32)
        forward = (children > np.arange(nodes)) | (children < 0)  # a path that only leads on comes to an end
        everything = np.concatenate([children.ravel(), self.roots])
        sound = (
            all(part.shape == (nodes,) for part in (self.feature, *alike))
            and len(self.roots) > 0
            and self.leaves.ndim == 2
            and self.leaves.shape[1] == len(self.classes)
            and (nodes == 0 or (self.feature.min() >= 0 and self.feature.max() < width))
            and forward.all()
            and everything.max() < nodes
            and everything.min() >= -len(self.leaves)
            and np.isfinite(self.threshold).all()
            and (self.calibration is None or self.calibration.novelty.middle.shape == (width,))
            and (self.calibration is None or self.calibration.thresholds.shape == (len(self.classes),))
        )
        if not sound:
            raise RadiosslError("the arrays of the forest do not fit each other; train it again")

    def predict(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return class probabilities, shape (n, classes), calibrated if the forest has a calibration."""
        raw = self.probabilities(values)
        return raw if self.calibration is None else self.calibration.probabilities(raw)

    def probabilities(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the mean of the class probabilities of the trees, as scikit-learn has it, shape (n, classes).

        `values`, shape (n, columns), are as `TableColumns.matrix` returns them; NaN where missing.
        """
        from radiossl.images.parallel import map_on_cores

        values = np.asarray(values, np.float32)
        if values.ndim != 2 or values.shape[1] != len(self.columns.names):
            raise RadiosslError(f"values of shape {values.shape} for a forest of {len(self.columns.names)} columns")
        total = np.zeros((len(values), len(self.classes)))
        rounds = -(-len(values) // (_PIECE * threads()))
        size = max(1024, -(-len(values) // max(1, rounds * threads())))  # as much for each thread

        def work(start: int) -> None:
            rows = slice(start, start + size)
            absent = np.isnan(values[rows])
            keys = _keys(values[rows])
            if absent.any():
                # Two copies: in one a missing value is above every threshold, in the other below.
                keys = np.hstack([np.where(absent, _HIGHEST, keys), np.where(absent, _LOWEST, keys)])
            _walk(self._nodes[int(absent.any())], self.roots, self._shares, keys, total[rows])

        map_on_cores(work, range(0, len(values), size))
        return total / len(self.roots)

    def save(self, path: PathLike) -> None:
        """Write the forest as safetensors, which hold numbers and text and nothing that could be run; atomically."""
        about = {"columns": asdict(self.columns), "classes": self.classes, "about": self.about}
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        if self.calibration is not None:
            further, about["calibration"] = self.calibration.to_file()
            arrays |= {name: np.ascontiguousarray(array) for name, array in further.items()}
        with atomic_file(path) as temporary:
            save_file(arrays, temporary, {"radiossl_forest": json.dumps(about)})

    @classmethod
    def load(cls, path: PathLike) -> Forest:
        """Read a forest; raise `RadiosslError` if the file is missing, damaged or something else."""
        path = existing_file(path)
        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads(file.metadata()["radiossl_forest"])
                arrays = {name: file.get_tensor(name).astype(kind) for name, kind in _ARRAYS.items()}
                further = {name: file.get_tensor(name) for name in set(file.keys()) - set(_ARRAYS)}
            columns = TypeAdapter(TableColumns).validate_python(about["columns"])
            classes = [str(name) for name in about["classes"]]
            known = about.get("calibration")
            calibration = None if known is None else ForestCalibration.from_file(further, known)
            return cls(**arrays, columns=columns, classes=classes, about=dict(about["about"]), calibration=calibration)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise RadiosslError(f"{path}: not a forest of radiossl table train ({error})") from None

    @cached_property
    def _shares(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self.leaves.T, np.float32)

    @cached_property
    def _nodes(self) -> list[NDArray[np.int32]]:
        """All that a step needs side by side, which costs one access to memory; then for rows with missing values."""
        second = self.feature + len(self.columns.names) * (self.missing_left > 0).astype(np.int32)
        features = (self.feature, second.astype(np.int32))
        return [np.stack([_keys(self.threshold), one, self.left, self.right], axis=1).ravel() for one in features]


def fit_forest(
    values: NDArray[np.float32],
    truth: NDArray[np.integer],
    columns: TableColumns,
    classes: list[str],
    *,
    trees: int = TREES,
    min_leaf: int = 1,
    balanced: bool = True,
    seed: int = 0,
) -> tuple[Forest, NDArray[np.float64]]:
    """Train a random forest with the parameters of Clarke et al. 2020; return it with the importance of the columns.

    That is the mean decrease of the Gini impurity by each column, shape (d,), summing to 1. Values are of shape (n, d),
    NaN where missing; every class occurs among the class numbers `truth`, shape (n,). The published program
    (SDSS_ML.py) has 200 trees, leaves of at least 1 row, and classes that count the same however many rows they have
    (`balanced`).
    """
    import sklearn
    from sklearn.ensemble import RandomForestClassifier

    weight = "balanced" if balanced else None
    model = RandomForestClassifier(
        trees, min_samples_leaf=min_leaf, class_weight=weight, random_state=seed, n_jobs=threads()
    )
    model.fit(values, truth)
    about = {"trees": trees, "min_leaf": min_leaf, "balanced": balanced, "seed": seed, "training_rows": len(values)}
    about["scikit_learn"] = sklearn.__version__
    return from_scikit_learn(model, columns, classes, about), model.feature_importances_


def from_scikit_learn(model: Any, columns: TableColumns, classes: list[str], about: dict[str, Any]) -> Forest:
    """Turn a fitted `RandomForestClassifier` of scikit-learn into arrays."""
    parts: list[tuple[Any, ...]] = []
    roots, leaves, node_count, leaf_count = [], [], 0, 0
    for estimator in model.estimators_:
        tree = estimator.tree_
        is_leaf = tree.children_left < 0
        inner = ~is_leaf
        # Nodes are numbered on from those of the trees before; leaves count down from -1.
        code = np.where(is_leaf, -leaf_count - np.cumsum(is_leaf), node_count + np.cumsum(inner) - 1).astype(np.int32)
        children = (code[tree.children_left[inner]], code[tree.children_right[inner]])
        thresholds = _rounded_down(tree.threshold[inner])
        parts.append((tree.feature[inner], thresholds, *children, tree.missing_go_to_left[inner]))
        roots.append(code[0])
        shares = tree.value[is_leaf, 0, :]
        leaves.append(shares / shares.sum(axis=1, keepdims=True))
        node_count, leaf_count = node_count + int(inner.sum()), leaf_count + int(is_leaf.sum())
    arrays = [*map(np.concatenate, zip(*parts, strict=True)), np.array(roots), np.concatenate(leaves)]
    named: dict[str, Any] = {
        name: array.astype(kind) for (name, kind), array in zip(_ARRAYS.items(), arrays, strict=True)
    }
    return Forest(**named, columns=columns, classes=classes, about=about)


def _rounded_down(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 not above each: scikit-learn compares float32 with float64, which comes to the same."""
    limit = np.finfo(np.float32).max
    narrow = np.clip(thresholds, -limit, limit).astype(np.float32)  # infinite: all that is measured goes left
    return np.where(narrow > thresholds, np.nextafter(narrow, np.float32(-np.inf)), narrow)


def _keys(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Whole numbers in the same order as the float32 values, with room for missing values at both ends."""
    bits = (np.ascontiguousarray(values) + np.float32(0)).view(np.int32)  # -0 becomes 0
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)


@exact_kernel
def _walk(
    nodes: NDArray[np.int32],
    roots: NDArray[np.int32],
    leaves: NDArray[np.float32],
    keys: NDArray[np.int32],
    total: NDArray[np.float64],
) -> None:
    """Add the probabilities of all trees to `total`, shape (n, classes).

    The leaves of the first trees say which rows are alike. Blocks of like rows pass many nodes on the same side, all of
    them, and part late elsewhere, so that a node is visited once for many.
    """
    columns = np.ascontiguousarray(keys.T)
    width, count = columns.shape
    order, far = np.arange(count).astype(np.uint32), np.empty(count, np.uint32)
    leaf = np.empty(count, np.int32)
    waiting = np.empty((count, 3), np.int64)
    lowest, highest = _extremes(columns)
    for tree in range(min(_SORTING, len(roots)) - 1, -1, -1):  # parting keeps the order of before: the last counts most
        _leaves(nodes, roots[tree], columns, lowest, highest, order, far, waiting, leaf)
    rows, aside = np.empty(_BLOCK, np.uint16), np.empty(_BLOCK, np.uint16)
    for first in range(0, count, _BLOCK):
        size = min(_BLOCK, count - first)
        block, sums = np.empty((width, size), np.int32), np.zeros((len(leaves), size))
        for column in range(width):
            for row in range(size):
                block[column, row] = columns[column, order[first + row]]
        lowest, highest = _extremes(block)
        for tree in range(len(roots)):
            for row in range(size):
                rows[row] = row
            _leaves(nodes, roots[tree], block, lowest, highest, rows, aside, waiting, leaf)
            for label in range(len(leaves)):
                share, into = leaves[label], sums[label]
                for row in range(size):
                    into[row] += share[_INDEX(-1 - leaf[row])]
        for row in range(size):
            for label in range(len(leaves)):
                total[order[first + row], label] = sums[label, row]


@exact_kernel
def _extremes(columns: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    lowest, highest = np.empty(len(columns), np.int32), np.empty(len(columns), np.int32)
    for column in range(len(columns)):
        lowest[column], highest[column] = columns[column].min(), columns[column].max()
    return lowest, highest


@exact_kernel
def _leaves(
    nodes: NDArray[np.int32],
    root: int,
    columns: NDArray[np.int32],
    lowest: NDArray[np.int32],
    highest: NDArray[np.int32],
    rows: NDArray[np.unsignedinteger],
    aside: NDArray[np.unsignedinteger],
    waiting: NDArray[np.int64],
    leaf: NDArray[np.int32],
) -> None:
    """Write the leaf of one tree at which each row ends to `leaf`, by parting all rows at one node after the other.

    `rows` are the numbers of all rows, and come back in the order of their leaves. `lowest` and `highest` of each
    column show the nodes at which there is nothing to part. `aside` and `waiting` are room to work in. No branch of
    the processor depends on a row, and what a node says is read once for all that come by.
    """
    size, one = _INDEX(columns.shape[1]), _INDEX(1)
    top = 0
    waiting[0, 0], waiting[0, 1], waiting[0, 2] = root, 0, size
    while top >= 0:  # each one that waits holds a row at least: there is room for all
        node, begin, end = waiting[top, 0], _INDEX(waiting[top, 1]), _INDEX(waiting[top, 2])
        top -= 1
        while node >= 0:
            at = _INDEX(node) * _INDEX(4)
            threshold, which = nodes[at], _INDEX(nodes[at + one])
            left, right = nodes[at + _INDEX(2)], nodes[at + _INDEX(3)]
            if highest[which] <= threshold:
                node = left
                continue
            if lowest[which] > threshold:
                node = right
                continue
            column = columns[which]
            middle, above = begin, _INDEX(0)
            for place in range(begin, end):
                row = rows[place]
                higher = _INDEX(column[row] > threshold)
                rows[middle] = aside[above] = row
                above += higher
                middle += one - higher
            for place in range(above):
                rows[middle + place] = aside[place]
            if middle == end:
                node = left
            elif middle == begin:
                node = right
            else:
                top += 1
                waiting[top, 0], waiting[top, 1], waiting[top, 2] = right, middle, end
                node, end = left, middle
        for place in range(begin, end):
            leaf[rows[place]] = node
