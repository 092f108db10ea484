"""The protocols of `radiossl evaluate`: which methods are evaluated in each, and beside which baselines."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.classifiers import (
    Calibrated,
    Estimator,
    LinearLayer,
    LogisticRegression,
    Majority,
    NearestNeighbours,
    Probabilities,
    RandomForest,
    Rows,
)
from radiossl.evaluation.confidence import fit_novelty, held_out_scores
from radiossl.evaluation.results import EvaluationResult, Method, evaluate_method
from radiossl.evaluation.retrieval import mean_average_precision, precision_at_k
from radiossl.evaluation.shared_features import SharedFeatures, image_moments, raw_pixels
from radiossl.evaluation.training import FINE_TUNING, FROM_SCRATCH, Trained, TrainingSettings
from radiossl.evaluation.trials import LabelledSet, shared_with_pretraining
from radiossl.features.table import standard_column, with_columns
from radiossl.io.errors import RadiosslError, check_choice, check_number
from radiossl.io.files import PathLike
from radiossl.weights.backbone import Backbone, load_backbone

Protocol = Literal["knn", "linear", "layer", "finetune", "supervised"]
BACKBONE = "backbone"
#: Networks with random weights evaluated beside a backbone; each takes as much time as the backbone itself.
RANDOM_INITIALISATIONS = 3
_RETRIEVED = 10


@dataclass(frozen=True)
class ProtocolSettings:
    """Settings of a protocol."""

    k: int | None = 20  # neighbours of ``knn``; None chooses them by inner folds of the training rows
    components: int | None = None  # whitened principal components that ``knn`` compares; None: the features
    strength: float | None = 0.1  # inverse regularisation of ``linear``; None chooses it by inner folds
    epochs: int = 30  # of the single layer (Riggi et al. 2024, section 3.2)
    training: TrainingSettings | None = None  # of networks; None: `FINE_TUNING` and `FROM_SCRATCH`
    calibrate: bool = False  # fit a temperature to the probabilities of every method; see `Calibrated`
    baselines: bool = True  # evaluate the baselines, too
    small_cnn: bool = False  # train the network of Negm 2021 beside the others, where networks are trained
    #: Columns of the store beside the features, scaled by `radiossl.features.table.standard_column`, for the protocols
    #: on features. Every method gets them, and they are evaluated alone, too.
    columns: tuple[str, ...] = ()
    #: Further backbones by name, such as one with ImageNet weights, evaluated as the backbone is.
    others: dict[str, Backbone] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("components", 1), ("epochs", 1)):
            if (value := getattr(self, name)) is not None:
                check_number(f"--{name}", value, least, whole=True)
        if self.strength is not None:
            check_number("--strength", self.strength, 0, above=True)


@dataclass(frozen=True)
class Evaluation:
    """An evaluated backbone, or architecture, beside its baselines."""

    protocol: Protocol
    labelled: LabelledSet  # the set and its trials
    results: list[EvaluationResult]  # baselines first
    settings: dict[str, str]  # as text, for the record
    #: precision among the 10 nearest, of all and by class, and mean average precision of the features of each method
    #: that has some, over all tested objects, each searched for among the others
    retrieval: dict[str, dict[str, float]] = field(default_factory=dict)
    #: out-of-distribution score of each tested object by the backbone's features, with the first seed, shape
    #: (tested,); None for networks trained on images (`radiossl.evaluation.confidence`)
    novelty: NDArray[np.float64] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what was left out."""
        return self.labelled.notes


def evaluate(
    backbone: Backbone | PathLike,
    labelled: LabelledSet,
    protocol: Protocol = "knn",
    settings: ProtocolSettings | None = None,
    kept: Path | None = None,
    features: SharedFeatures | None = None,
    *,
    keep_shared: bool = False,
) -> Evaluation:
    """Evaluate a backbone on labelled cutouts, without the sources that it was trained on.

    Parameters
    ----------
    backbone
        What is evaluated, or its folder; ``supervised`` takes its architecture and preprocessing alone.
    labelled
        The cutouts and trials; see `radiossl.labelled_set`.
    protocol
        ``knn``; ``linear``, a logistic regression; ``layer``, a single layer trained with rotations and flips;
        ``finetune``, the whole network trained on; ``supervised``, the same network from random weights.
    settings
        Settings of the protocol.
    kept
        Folder of finished trials; see `evaluate_method`.
    features
        Given to several protocols in turn, so that features are made once.
    keep_shared
        Whether to test on the sources that were in the pretraining set, too. Without it they are left out of the folds,
        or of the test set, and `Evaluation.notes` says how many.

    Raises
    ------
    RadiosslError
        If there is no such protocol, every tested source was in the pretraining set, or the training fails.

    See Also
    --------
    radiossl.evaluation.report.write_evaluation : Write the result as a folder.

    Examples
    --------
    >>> trials = radiossl.labelled_set("labelled", "fr_class")  # doctest: +SKIP
    >>> result = radiossl.evaluate("checkpoints/simclr-first", trials, "linear").results[-1]  # doctest: +SKIP
    >>> result.accuracies().mean()  # doctest: +SKIP
    """
    settings = settings or ProtocolSettings()
    check_choice("protocol", protocol, Protocol)
    if not isinstance(backbone, Backbone):
        backbone = load_backbone(backbone)
    labelled = without_pretraining(labelled, backbone, keep_shared)
    truth, classes = labelled.truth, len(labelled.classes)
    methods = [Method("majority class", Majority(truth, classes), "")] if settings.baselines else []
    retrieval: dict[str, dict[str, float]] = {}
    on_features = protocol in ("knn", "linear", "layer")
    shared = features or SharedFeatures()
    if on_features:
        methods += _on_features(backbone, labelled, protocol, settings, shared, retrieval)
    else:
        if settings.columns:
            raise RadiosslError(f"columns {', '.join(settings.columns)}: {protocol} learns from images alone")
        methods += _on_images(backbone, labelled, protocol, settings)
    if settings.calibrate:
        methods = [
            Method(one.name, Calibrated(one.estimator, truth, labelled.groups), f"{one.identity} with temperature")
            for one in methods
        ]
    results = [evaluate_method(method, labelled, kept, on_features) for method in methods]
    record = {method.name: method.identity for method in methods}
    novelty = _outlier_scores(shared.of(backbone, labelled.store), labelled) if on_features else None
    return Evaluation(protocol, labelled, results, record, retrieval, novelty)


def _outlier_scores(features: NDArray[np.float32], labelled: LabelledSet) -> NDArray[np.float64]:
    first = [t for t in labelled.trials if t.seed == labelled.seeds[0] and t.fraction == labelled.fractions[0]]
    if labelled.folds:
        return held_out_scores(features, [trial.split for trial in first])
    train, test = first[0].split.train, first[0].split.test
    groups = None if labelled.groups is None else labelled.groups[train]
    return fit_novelty(features[train], groups).scores(features[test])


def without_pretraining(labelled: LabelledSet, backbone: Backbone, keep_shared: bool = False) -> LabelledSet:
    """Leave out the tested cutouts that show a source of the pretraining set, or say that they are kept.

    With folds every cutout is tested. A set that was treated before comes back as it is.
    """
    shared = shared_with_pretraining(backbone, labelled.store)
    if shared is None:
        return _noted(labelled, "the backbone does not say where its training images were: leaks cannot be found")
    rows = labelled.tested[shared[labelled.tested]]
    number = len(labelled.tested)
    lost = int((~np.isfinite(labelled.store.column("ra_deg")[labelled.tested].astype(float))).sum())
    if lost:
        labelled = _noted(labelled, f"{lost} of {number} tested cutouts have no position: leaks cannot be found there")
    if not len(rows):
        return labelled
    if keep_shared:
        return _noted(labelled, f"{len(rows)} of {number} tested sources were in the pretraining set (without labels)")
    if len(rows) == number:
        raise RadiosslError(
            "every tested source was in the pretraining set; test on others, or keep them with --keep-shared"
        )
    return labelled.without(rows, f"{len(rows)} of {number} sources were in the pretraining set and are left out")


def _noted(labelled: LabelledSet, note: str) -> LabelledSet:
    return labelled if note in labelled.notes else dataclasses.replace(labelled, notes=(*labelled.notes, note))


def _on_features(
    backbone: Backbone,
    labelled: LabelledSet,
    protocol: Protocol,
    settings: ProtocolSettings,
    shared: SharedFeatures,
    retrieval: dict[str, dict[str, float]],
) -> list[Method]:
    store, truth, classes, groups = labelled.store, labelled.truth, len(labelled.classes), labelled.groups
    preprocessing = backbone.config.preprocessing
    scaled = [standard_column(store.column(name), name) for name in settings.columns]
    beside = np.stack(scaled, axis=1).astype(np.float32) if scaled else np.empty((len(store), 0), np.float32)

    def of_features(features: NDArray[np.floating], name: str) -> Estimator:
        features = with_columns(features, beside)
        retrieval[name] = _retrieved(features, labelled)
        if protocol == "knn":
            return NearestNeighbours(features, truth, classes, settings.k, settings.components, groups)
        return LogisticRegression(features, truth, classes, settings.strength, groups, beside.shape[1])

    def of_network(network: Backbone, name: str) -> Estimator:
        if protocol != "layer":
            return of_features(shared.of(network, store), name)
        views = with_columns(shared.views_of(network, store), beside)
        averaged = preprocessing.views == 8
        return LinearLayer(views, truth, classes, averaged, settings.epochs, beside=beside.shape[1])

    with_what = f" with {', '.join(settings.columns)}" if scaled else ""
    seen = f"{with_what} {hashlib.sha256(beside.tobytes()).hexdigest()[:16]}" if scaled else ""
    how = f"{protocol} {_how(protocol, settings)}{seen}"
    methods = []
    if settings.baselines:
        about = f"{preprocessing}{seen}"
        pixels = shared.made(f"raw pixels {preprocessing}", store, lambda: raw_pixels(preprocessing, store))
        pixels = with_columns(pixels, beside)
        components = settings.components if protocol == "knn" else None
        neighbours = NearestNeighbours(pixels, truth, classes, settings.k or 20, components, groups)
        retrieval["raw pixels"] = _retrieved(pixels, labelled)
        methods.append(Method("raw pixels", neighbours, f"kNN {neighbours.k}{_of(components)} {about}"))
        if protocol != "knn":
            moments = shared.made(f"moments {preprocessing}", store, lambda: image_moments(preprocessing, store))
            forest = RandomForest(np.hstack([moments, beside]), truth, classes)
            methods.append(Method("random forest on moments", forest, f"{forest.trees} trees {about}"))
        if scaled:
            alone = LogisticRegression(beside, truth, classes, settings.strength, groups)
            methods.append(Method("columns alone", alone, f"logistic regression {settings.strength}{seen}"))
        seeds = labelled.seeds
        network, readout = (backbone.config.architecture, preprocessing), backbone.config.embedding.readout or "last"
        random = (Backbone.random(*network, seed).to(backbone.device) for seed in seeds[:RANDOM_INITIALISATIONS])
        drawn = [of_network(one.with_readout(readout), "random weights") for one in random]

        def in_turn(train: Rows, test: Rows, seed: int) -> Probabilities:
            return drawn[seeds.index(seed) % len(drawn)](train, test, seed)

        identity = f"{how} {backbone.config.architecture} {preprocessing} {len(drawn)} initialisations"
        methods.append(Method("random weights", in_turn, identity))
    for name, other in settings.others.items():
        methods.append(Method(name, of_network(other, name), f"{how} {other.identity}"))
    methods.append(Method(BACKBONE, of_network(backbone, BACKBONE), f"{how} {backbone.identity}"))
    return methods


def _how(protocol: Protocol, settings: ProtocolSettings) -> str:
    choice = {"knn": settings.k, "linear": settings.strength, "layer": settings.epochs}[protocol]
    return f"{choice or 'by inner folds'}{_of(settings.components) if protocol == 'knn' else ''}"


def _of(components: int | None) -> str:
    return f" of {components} whitened components" if components else ""


def _retrieved(features: NDArray[np.floating], labelled: LabelledSet) -> dict[str, float]:
    rows = labelled.tested
    if len(rows) < 2:
        return {}
    names = np.array(labelled.classes)[labelled.truth[rows]]
    k = min(_RETRIEVED, len(rows) - 1)
    precision = precision_at_k(features[rows], names, k)
    return {
        f"precision_at_{k}": precision.mean,
        **{f"precision_at_{k}[{name}]": value for name, value in precision.per_class.items()},
        "mean_average_precision": mean_average_precision(features[rows], names).mean,
    }


def _on_images(
    backbone: Backbone, labelled: LabelledSet, protocol: Protocol, settings: ProtocolSettings
) -> list[Method]:
    store, truth, classes = labelled.store, labelled.truth, len(labelled.classes)
    preprocessing = backbone.config.preprocessing
    tuning, scratch = settings.training or FINE_TUNING, settings.training or FROM_SCRATCH
    # What is random cannot be kept as it is, nor have stages that move slower.
    scratch = scratch.model_copy(update={"stages": None, "backbone_lr": 1.0, "layer_decay": 1.0})
    trained = partial(Trained, store, truth, classes, backbone)
    methods = []
    if settings.baselines:
        forest = RandomForest(image_moments(preprocessing, store), truth, classes)
        methods.append(Method("random forest on moments", forest, f"{forest.trees} trees {preprocessing}"))
    if settings.small_cnn:
        identity = f"Negm 2021 {_text(scratch)} {preprocessing}"
        methods.append(Method("three convolutions", trained(None, scratch, small=True), identity))
    if protocol == "supervised" or settings.baselines:
        identity = f"{_text(scratch)} {backbone.config.architecture} {preprocessing}"
        methods.append(Method("from scratch", trained(None, scratch), identity))
    if protocol == "finetune":
        for name, other in settings.others.items():
            methods.append(Method(name, trained(other, tuning), f"{_text(tuning)} {other.identity}"))
        methods.append(Method(BACKBONE, trained(backbone, tuning), f"{_text(tuning)} {backbone.identity}"))
    return methods


def _text(settings: TrainingSettings) -> str:
    return json.dumps(settings.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
