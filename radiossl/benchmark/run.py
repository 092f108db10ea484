"""A benchmark from its task file to its result folder; what was computed before is not computed again."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radiossl.benchmark import measures
from radiossl.benchmark.changes import changed_store, fitting_sources
from radiossl.benchmark.measures import Score, summarise
from radiossl.benchmark.methods import (
    RANDOM,
    FeatureMethod,
    SameReadout,
    backbone_method,
    baselines,
    digest,
    kept_features,
)
from radiossl.benchmark.tasks import Change, ClassifyTask, FindTask, RateTask, Task, read_tasks
from radiossl.evaluation.folds import Split, draw_folds, source_groups
from radiossl.evaluation.labels import store_labels
from radiossl.evaluation.trials import shared_with_pretraining
from radiossl.io.errors import RadiosslError, check_columns, check_number, check_seed
from radiossl.io.files import PathLike, atomic_file
from radiossl.io.progress import track
from radiossl.store.store import CutoutStore, open_store
from radiossl.weights.backbone import Backbone, load_backbone
from radiossl.weights.folder import backbone_name

#: Changes whenever a measure is computed in another way, so that older scores are not used again.
_VERSION = 2
_FOLDS = 5
_RATING_DRAWS = 20


@dataclasses.dataclass(frozen=True)
class BenchmarkResult:
    """The result of a benchmark."""

    title: str
    #: See `radiossl.benchmark.measures.summarise`.
    scores: pd.DataFrame
    #: Names of the backbones, in the order given.
    backbones: list[str]
    #: The method that all others are compared with.
    reference: str
    #: By task and backbone: which share of its objects was in the backbone's pretraining images; NaN where unknown.
    shared: pd.DataFrame
    #: Tasks that were left out since a store is not there, with the store.
    missing: dict[str, str]


def run_benchmark(
    weights: Sequence[Backbone | PathLike],
    tasks: PathLike,
    cache: PathLike,
    *,
    quick: bool = False,
    seeds: int = 3,
    initialisations: int = 5,
    seed: int = 0,
    readout: str | None = None,
    whiten: int | None = None,
    unlabelled: Sequence[PathLike] = (),
    device: str = "auto",
) -> BenchmarkResult:
    """Measure backbones on hard tasks, against random weights and everything else that needs no training.

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
    check_number("--seeds", seeds, 1, whole=True)
    check_number("--initialisations", initialisations, 0, whole=True)
    check_seed(seed)
    file, folder = read_tasks(tasks), Path(tasks).parent
    backbones = [given if isinstance(given, Backbone) else load_backbone(given, device) for given in weights]
    if not backbones:
        raise RadiosslError("no weights to measure were given")
    names = _names(backbones)
    backbones = [one.with_readout(readout, whiten) for one in backbones]
    absent = {
        name: [folder / store for store in task.stores if not (folder / store).is_dir()]
        for name, task in file.tasks.items()
    }
    missing = {name: str(stores[0]) for name, stores in absent.items() if stores}
    if len(missing) == len(file.tasks):
        raise RadiosslError(f"{tasks}: none of its stores is there, such as {next(iter(missing.values()))}")
    for task in (task for name, task in file.tasks.items() if name not in missing):
        for store in task.stores:
            check_columns(task.needed, open_store(folder / store).table.column_names, str(folder / store))
    methods = [backbone_method(name, one) for name, one in zip(names, backbones, strict=True)]
    if not quick:
        if not unlabelled and any(one.config.embedding.whiten is not None for one in backbones):
            warnings.warn(
                "baselines are read out like the backbone but not whitened: give its training images (--unlabelled)",
                stacklevel=2,
            )
        same_readout = SameReadout([open_store(path) for path in unlabelled], Path(cache) / "whitenings")
        methods += baselines(dict(zip(names, backbones, strict=True)), same_readout, initialisations, seed)
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
    """Names of backbones, as short as tells them apart."""
    names = [backbone_name(one.name) for one in backbones]
    if len(set(names)) < len(names):
        names = [one.name for one in backbones]
    if len(set(names)) < len(names):
        raise RadiosslError(f"weights {names[0]}: given twice")
    return names


@dataclasses.dataclass
class _Bench:
    folder: Path
    cache: Path
    seeds: int
    seed: int
    quick: bool

    def scores(self, method: FeatureMethod, task: Task) -> list[Score]:
        """All measures of a method on a task, from the cache if they were computed before."""
        if isinstance(task, FindTask) and self.quick:
            task = task.model_copy(update={"sources": task.sources // 2})
        stores = [self._open(name).pixel_key() for name in task.stores]
        key = digest(_VERSION, method.identity, task.model_dump_json(), self.seeds, self.seed, *stores)
        file = self.cache / "scores" / f"{key}.npz"
        if not file.is_file():
            measure: Any = {"classify": self._classify, "find": self._find, "rate": self._rate}[task.kind]
            scores = measure(method, task)
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
        tested = self._open(task.stores[-1])
        known = shared_with_pretraining(backbone, tested)
        return float("nan") if known is None else float(known.mean())

    def _open(self, name: str) -> CutoutStore:
        return open_store(self.folder / name)

    def _classify(self, method: FeatureMethod, task: ClassifyTask) -> list[Score]:
        opened = [self._open(name) for name in task.stores]
        labels = [store_labels(store, task.label, grouping=task.grouping) for store in opened]
        parts = [store.select(one.rows) for store, one in zip(opened, labels, strict=True)]
        features = np.concatenate([kept_features(method, store, task.field_px, self.cache) for store in parts])
        names = np.concatenate([one.names for one in labels])
        classes, truth = np.unique(names, return_inverse=True)
        truth, groups = truth.astype(np.int64), source_groups(CutoutStore.joined(*parts))
        if task.test is None:
            splits = draw_folds(names, _FOLDS, self.seeds, self.seed, groups)
        else:
            learnt = np.arange(len(parts[0]))
            splits = [Split(learnt, np.arange(len(learnt), len(names)))]
        scores = measures.classification(features, truth, groups, splits, self.seed)
        if task.few:
            draws = splits if task.test is None else splits * (_FOLDS * self.seeds)
            scores = measures.few_labels(features, truth, groups, draws, task.few, self.seed) + scores
        if task.retrieval:
            tested = np.unique(np.concatenate([split.test for split in splits]))
            scores += measures.retrieval(features[tested], truth[tested], classes.tolist(), groups[tested])
        return scores

    def _find(self, method: FeatureMethod, task: FindTask) -> list[Score]:
        store = fitting_sources(self._open(task.store), task)
        asked = np.sort(np.random.default_rng(self.seed).permutation(len(store))[: task.sources])
        originals = self._changed(method, store, task, Change())
        scores = []
        for name, change in task.changes.items():
            changed = self._changed(method, store.select(asked), task, change)
            found = measures.found_first(originals, changed, asked, change.first, change.centred)
            scores.append(Score(name, found, asked))
        return scores

    def _changed(
        self, method: FeatureMethod, store: CutoutStore, task: FindTask, change: Change
    ) -> NDArray[np.float32]:
        how = change.model_dump(exclude={"first", "centred"})
        key = digest(_VERSION, store.pixel_key(), task.model_dump_json(exclude={"changes", "sources"}), how, self.seed)
        folder = self.cache / "stores"
        folder.mkdir(parents=True, exist_ok=True)
        return kept_features(method, changed_store(store, task, change, folder / key, self.seed), None, self.cache)

    def _rate(self, method: FeatureMethod, task: RateTask) -> list[Score]:
        store = self._open(task.store)
        ratings = store.column(task.label).astype(float)
        store, ratings = store.select(np.isfinite(ratings)), ratings[np.isfinite(ratings)]
        features, good = kept_features(method, store, task.field_px, self.cache), ratings >= task.interesting
        draws = max(1, _RATING_DRAWS * self.seeds // 3)
        scores = []
        for count in task.few:
            for extra in ((), task.columns) if task.columns else ((),):
                auc = measures.rating_ranks(features, store.table, extra, ratings, good, count, draws, self.seed)
                beside = "".join(f" and {name}" for name in extra)
                scores.append(Score(f"{count} ratings{beside}, AUC", auc, np.arange(len(auc))))
        return scores
