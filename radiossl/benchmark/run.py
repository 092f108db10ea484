"""A benchmark from its task file to its result folder; what was computed before is not computed again."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.benchmark import measures
from radiossl.benchmark.changes import changed_store, fitting_sources
from radiossl.benchmark.measures import Score
from radiossl.benchmark.methods import (
    RANDOM,
    FeatureCache,
    Method,
    SameReadout,
    backbone_method,
    baselines,
    digest,
    random_weights,
)
from radiossl.benchmark.statistics import summarise
from radiossl.benchmark.tasks import Change, ClassifyTask, FindTask, RateTask, Task, read_tasks
from radiossl.evaluation.folds import Split, draw_folds, source_groups
from radiossl.evaluation.labels import Labels, store_labels
from radiossl.evaluation.trials import shared_with_pretraining
from radiossl.io.errors import RadiosslError
from radiossl.io.files import atomic_file
from radiossl.io.progress import track
from radiossl.store.store import CutoutStore, open_store
from radiossl.weights.backbone import Backbone, load_backbone

#: Changes whenever a measure is computed in another way, so that older scores are not used again.
_VERSION = 1
_FOLDS = 5
_RATING_DRAWS = 20


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """What came of a benchmark.

    Attributes
    ----------
    title
        Of the task file.
    scores
        See `radiossl.benchmark.statistics.summarise`.
    backbones
        Names of the backbones, in the order given.
    reference
        The method that all others are compared with.
    shared
        By task and backbone: which share of its objects was in the backbone's pretraining images; NaN where unknown.
    missing
        Tasks that were left out since a store is not there, with the store.
    """

    title: str
    scores: pd.DataFrame
    backbones: list[str]
    reference: str
    shared: pd.DataFrame
    missing: dict[str, str]


def run_benchmark(
    weights: Sequence[Backbone | str | os.PathLike[str]],
    tasks: str | os.PathLike[str],
    cache: str | os.PathLike[str],
    *,
    quick: bool = False,
    seeds: int = 3,
    initialisations: int = 5,
    seed: int = 0,
    readout: str | None = None,
    whiten: int | None = None,
    unlabelled: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
) -> BenchmarkResult:
    """Measure backbones by hard tasks, beside random weights and everything else that costs no training.

    Parameters
    ----------
    weights
        Backbones or their folders.
    tasks
        Task file (see `radiossl.benchmark.tasks.TaskFile`), beside the stores that it names.
    cache
        Folder where features and scores are kept, by content: several benchmarks may share it.
    quick
        Folds drawn once, half of the sources for finding, and no baselines.
    seeds
        How often folds are drawn.
    initialisations
        Of the random weights.
    seed
        The first random seed.
    readout, whiten
        For all networks, see `Backbone.with_readout`; None for each backbone's own.
    unlabelled
        Stores of the training images, on which networks that are baselines get a whitening where the backbone has one.
    device
        Where backbones given as folders compute.

    Raises
    ------
    RadiosslError
        If weights or the task file cannot be read, two backbones have one name, or the stores of all tasks are missing.

    Examples
    --------
    >>> result = radiossl.run_benchmark(["checkpoints/simclr-first"], "stores/tasks.yaml", "cache")  # doctest: +SKIP
    >>> result.scores.pivot(index=["task", "measure"], columns="method", values="score")  # doctest: +SKIP
    """
    file, folder = read_tasks(tasks), Path(tasks).parent
    backbones = [given if isinstance(given, Backbone) else load_backbone(given, device) for given in weights]
    if not backbones:
        raise RadiosslError("no weights to measure were given")
    names = _names(backbones)
    backbones = [one.with_readout(readout, whiten) for one in backbones]
    missing = {name: lacking for name, task in file.tasks.items() if (lacking := _missing_store(task, folder))}
    if len(missing) == len(file.tasks):
        raise RadiosslError(f"{tasks}: none of its stores is there, such as {next(iter(missing.values()))}")
    methods = [backbone_method(name, one, True) for name, one in zip(names, backbones, strict=True)]
    if not quick:
        if not unlabelled and any(one.config.embedding.whiten is not None for one in backbones):
            warnings.warn(
                "baselines are read out like the backbone but not whitened: give its training images (--unlabelled)",
                stacklevel=2,
            )
        same_readout = SameReadout([open_store(path) for path in unlabelled], Path(cache) / "whitenings")
        methods += _baselines(backbones, names, same_readout, initialisations, seed)
    bench = _Bench(folder, Path(cache), 1 if quick else seeds, seed, quick)
    found: dict[tuple[str, str], dict[str, list[Score]]] = {}
    jobs = [(name, method) for name in file.tasks if name not in missing for method in methods]
    for name, method in track(jobs, "benchmark"):
        for score in bench.scores(method, file.tasks[name]):
            found.setdefault((name, score.measure), {}).setdefault(method.name, []).append(score)
    reference = names[0] if quick else RANDOM
    shared = pd.DataFrame(
        [
            {"task": task, "method": name, "shared": bench.shared(file.tasks[task], one)}
            for task in file.tasks
            if task not in missing
            for name, one in zip(names, backbones, strict=True)
        ]
    )
    return BenchmarkResult(file.title, summarise(found, reference), names, reference, shared, missing)


def _names(backbones: Sequence[Backbone]) -> list[str]:
    """Names of backbones: of their folders, or of the runs that these are in."""
    names = []
    for one in backbones:
        path = Path(one.name)
        names.append(path.resolve().parent.name if path.name == "backbone" else path.name)
    if len(set(names)) < len(names):
        names = [one.name for one in backbones]
    if len(set(names)) < len(names):
        raise RadiosslError(f"weights {names[0]}: given twice")
    return names


def _missing_store(task: Task, folder: Path) -> str:
    stores = [task.train, task.test] if isinstance(task, ClassifyTask) else [task.store]
    return next((str(folder / name) for name in stores if name and not (folder / name).is_dir()), "")


def _baselines(
    backbones: Sequence[Backbone], names: Sequence[str], same_readout: SameReadout, initialisations: int, seed: int
) -> list[Method]:
    """All baselines under the first backbone's preprocessing, and random weights under every other one's too."""
    methods = baselines(backbones[0], same_readout, initialisations, seed)
    seen = {method.identity for method in methods}
    for name, other in zip(names[1:], backbones[1:], strict=True):
        drawn = random_weights(other, same_readout, initialisations, seed, f"{RANDOM} as {name}")
        methods += [method for method in drawn if method.identity not in seen]
        seen |= {method.identity for method in drawn}
    return methods


@dataclasses.dataclass
class _Bench:
    """Where the stores are, where results are kept, and how much is drawn."""

    folder: Path
    cache: Path
    seeds: int
    seed: int
    quick: bool

    def __post_init__(self) -> None:
        self.features = FeatureCache(self.cache / "features")

    def scores(self, method: Method, task: Task) -> list[Score]:
        """All measures of a method on a task, from the cache if they were computed before."""
        if isinstance(task, FindTask) and self.quick:
            task = task.model_copy(update={"sources": task.sources // 2})
        stores = [self._open(name).pixel_key() for name in _stores(task)]
        key = digest(_VERSION, method.identity, task.model_dump_json(), self.seeds, self.seed, *stores)
        file = self.cache / "scores" / f"{key}.npz"
        if not file.is_file():
            if isinstance(task, ClassifyTask):
                scores = self._classify(method, task)
            elif isinstance(task, FindTask):
                scores = self._find(method, task)
            else:
                scores = self._rate(method, task)
            arrays: dict[str, Any] = {"names": np.array([score.measure for score in scores])}
            for number, score in enumerate(scores):
                arrays |= {f"values_{number}": score.values, f"groups_{number}": score.groups}
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(file) as temporary:
                np.savez(temporary, **arrays)
        with np.load(file, allow_pickle=False) as kept:
            return [
                Score(str(name), kept[f"values_{number}"], kept[f"groups_{number}"])
                for number, name in enumerate(kept["names"])
            ]

    def shared(self, task: Task, backbone: Backbone) -> float:
        """Share of the tested objects that were in the pretraining images; NaN if that is not known."""
        tested = self._open(_stores(task)[-1])
        known = shared_with_pretraining(backbone, tested)
        return float("nan") if known is None else float(known.mean())

    def _open(self, name: str) -> CutoutStore:
        return open_store(self.folder / name)

    def _labelled(self, name: str, task: ClassifyTask) -> tuple[CutoutStore, Labels]:
        store = self._open(name)
        labels = store_labels(store, task.label, grouping=task.grouping)
        return store.select(labels.rows), labels

    def _classify(self, method: Method, task: ClassifyTask) -> list[Score]:
        parts = [self._labelled(name, task) for name in _stores(task)]
        features = np.concatenate([self.features.features(method, store, task.field_px) for store, _ in parts])
        names = np.concatenate([labels.names for _, labels in parts])
        classes, truth = np.unique(names, return_inverse=True)
        truth = truth.astype(np.int64)
        groups = source_groups(CutoutStore.joined(*[store for store, _ in parts]))
        if task.test is None:
            splits = draw_folds(names, _FOLDS, self.seeds, self.seed, groups)
        else:
            learnt = np.arange(len(parts[0][0]))
            splits = [Split(learnt, np.arange(len(learnt), len(names)))]
        scores = measures.classification(features, truth, groups, splits, self.seed)
        if task.few:
            draws = splits if task.test is None else splits * (_FOLDS * self.seeds)
            scores = measures.few_labels(features, truth, groups, draws, task.few, self.seed) + scores
        if task.retrieval:
            tested = np.unique(np.concatenate([split.test for split in splits]))
            scores += measures.retrieval(features[tested], truth[tested], classes.tolist(), groups[tested])
        return scores

    def _find(self, method: Method, task: FindTask) -> list[Score]:
        store = fitting_sources(self._open(task.store), task)
        asked = np.sort(np.random.default_rng(self.seed).permutation(len(store))[: task.sources])
        originals = self._changed(method, store, task, Change())
        scores = []
        for name, change in task.changes.items():
            changed = self._changed(method, store.select(asked), task, change)
            found = measures.found_first(originals, changed, asked, change.first, change.centred)
            scores.append(Score(name, found, asked))
        return scores

    def _changed(self, method: Method, store: CutoutStore, task: FindTask, change: Change) -> NDArray[np.float32]:
        how = change.model_dump(exclude={"first", "centred"})
        key = digest(store.pixel_key(), task.model_dump_json(exclude={"changes", "sources"}), how, self.seed)
        folder = self.cache / "stores"
        folder.mkdir(parents=True, exist_ok=True)
        return self.features.features(method, changed_store(store, task, change, folder / key, self.seed), None)

    def _rate(self, method: Method, task: RateTask) -> list[Score]:
        store = self._open(task.store)
        ratings = store.column(task.label).astype(float)
        store, ratings = store.select(np.isfinite(ratings)), ratings[np.isfinite(ratings)]
        features, good = self.features.features(method, store, task.field_px), ratings >= task.interesting
        draws = max(1, _RATING_DRAWS * self.seeds // 3)
        scores = []
        for count in task.few:
            for extra in ((), task.columns) if task.columns else ((),):
                auc = measures.rating_ranks(features, store.table, extra, ratings, good, count, draws, self.seed)
                beside = "".join(f" and {name}" for name in extra)
                scores.append(Score(f"{count} ratings{beside}, AUC", auc, np.arange(len(auc))))
        return scores


def _stores(task: Task) -> list[str]:
    if isinstance(task, ClassifyTask):
        return [task.train] if task.test is None else [task.train, task.test]
    return [task.store]
