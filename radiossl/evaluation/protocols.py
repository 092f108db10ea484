"""The protocols of `radiossl evaluate`: who is judged in each, and beside which baselines."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from radiossl.evaluation.classifiers import (
    Calibrated,
    ClassifierMethod,
    LinearLayer,
    LogisticRegression,
    Majority,
    NearestNeighbours,
    Probabilities,
    RandomForest,
    Rows,
    Trained,
    image_moments,
    raw_pixels,
)
from radiossl.evaluation.judging import Contender, Judgement, LabelledSet, judge
from radiossl.evaluation.retrieval import mean_average_precision, precision_at_k
from radiossl.evaluation.shared_features import SharedFeatures
from radiossl.evaluation.training import FINE_TUNING, FROM_SCRATCH, TrainingSettings
from radiossl.io.errors import RadiosslError
from radiossl.weights.backbone import Backbone

Protocol = Literal["knn", "linear", "layer", "finetune", "supervised"]
BACKBONE = "backbone"
#: Networks with random weights that stand beside a backbone; more cost as much time each as the backbone itself.
RANDOM_INITIALISATIONS = 3
_RETRIEVED = 10


@dataclass(frozen=True)
class ProtocolSettings:
    """What a protocol leaves open.

    Attributes
    ----------
    k
        Neighbours of ``knn``; None chooses them by inner folds of the training rows.
    components
        Whitened principal components that ``knn`` compares, for every contender; None compares the features.
    strength
        Inverse regularisation of ``linear``, on standardised features; None chooses it by inner folds.
    epochs
        Of the single layer (30 in Riggi et al. 2024, section 3.2).
    training
        How networks are fine-tuned, and how trained from scratch.
    calibrate
        Whether to fit a temperature to the probabilities of every contender; see `Calibrated`.
    baselines
        Whether to judge the baselines too.
    small_cnn
        Whether to train the network of Negm 2021 beside the others, where networks are trained.
    others
        Further backbones by name, such as one with ImageNet weights, judged as the backbone is.
    """

    k: int | None = 20
    components: int | None = None
    strength: float | None = 0.1
    epochs: int = 30
    training: TrainingSettings | None = None
    calibrate: bool = False
    baselines: bool = True
    small_cnn: bool = False
    others: dict[str, Backbone] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """A judged backbone, or architecture, beside its baselines.

    Attributes
    ----------
    protocol
        Which.
    labelled
        The set and its trials.
    judgements
        Baselines first.
    settings
        As text, for the record.
    retrieval
        Precision among the 10 nearest, of all and by class, and mean average precision of the features of each
        contender that has some, over all tested objects, each looked for among the others.
    """

    protocol: Protocol
    labelled: LabelledSet
    judgements: list[Judgement]
    settings: dict[str, str]
    retrieval: dict[str, dict[str, float]] = field(default_factory=dict)


def evaluate(
    backbone: Backbone,
    labelled: LabelledSet,
    protocol: Protocol = "knn",
    settings: ProtocolSettings | None = None,
    kept: Path | None = None,
    features: SharedFeatures | None = None,
) -> Evaluation:
    """Judge a backbone on labelled cutouts.

    Parameters
    ----------
    backbone
        What is judged; ``supervised`` takes its architecture and preprocessing alone.
    labelled
        See `radiossl.evaluation.judging.labelled_set`.
    protocol
        ``knn``; ``linear``, a logistic regression; ``layer``, a single layer trained with rotations and flips;
        ``finetune``, the whole network trained on; ``supervised``, the same network from random weights.
    settings
        What the protocol leaves open.
    kept
        Folder of finished trials; see `judge`.
    features
        Of `labelled.store`, given to several protocols in turn so that they are made once.

    Raises
    ------
    RadiosslError
        If there is no such protocol, or the training fails.
    """
    settings = settings or ProtocolSettings()
    if protocol not in get_args(Protocol):
        raise RadiosslError(f"no protocol {protocol!r}; there are {', '.join(get_args(Protocol))}")
    truth, classes = labelled.truth, len(labelled.classes)
    contenders = [Contender("majority class", Majority(truth, classes), "")] if settings.baselines else []
    retrieval: dict[str, dict[str, float]] = {}
    if protocol in ("knn", "linear", "layer"):
        shared = features or SharedFeatures(labelled.store)
        contenders += _on_features(backbone, labelled, protocol, settings, shared, retrieval)
    else:
        contenders += _on_images(backbone, labelled, protocol, settings)
    if settings.calibrate:
        contenders = [
            dataclasses.replace(one, method=Calibrated(one.method, truth), identity=f"{one.identity} with temperature")
            for one in contenders
        ]
    judgements = [judge(contender, labelled, kept) for contender in contenders]
    record = {contender.name: contender.identity for contender in contenders}
    return Evaluation(protocol, labelled, judgements, record, retrieval)


# Classifiers of features ----------------------------------------------------------------------------------------------


def _on_features(
    backbone: Backbone,
    labelled: LabelledSet,
    protocol: Protocol,
    settings: ProtocolSettings,
    shared: SharedFeatures,
    retrieval: dict[str, dict[str, float]],
) -> list[Contender]:
    """The backbone, random weights in its place, and what needs no network."""
    store, truth, classes = labelled.store, labelled.truth, len(labelled.classes)
    preprocessing = backbone.config.preprocessing

    def of_features(features: NDArray[np.floating], name: str) -> ClassifierMethod:
        retrieval[name] = _retrieved(features, labelled)
        if protocol == "knn":
            return NearestNeighbours(features, truth, classes, settings.k, settings.components)
        return LogisticRegression(features, truth, classes, settings.strength)

    def of_network(network: Backbone, name: str) -> ClassifierMethod:
        if protocol != "layer":
            return of_features(shared.of(network), name)
        return LinearLayer(shared.views_of(network), truth, classes, preprocessing.views == 8, settings.epochs)

    how = f"{protocol} {_how(protocol, settings)}"
    contenders = []
    if settings.baselines:
        pixels = raw_pixels(preprocessing, store)
        components = settings.components if protocol == "knn" else None
        neighbours = NearestNeighbours(pixels, truth, classes, settings.k or 20, components)
        retrieval["raw pixels"] = _retrieved(pixels, labelled)
        contenders.append(Contender("raw pixels", neighbours, f"kNN {neighbours.k}{_of(components)} {preprocessing}"))
        if protocol != "knn":
            forest = RandomForest(image_moments(preprocessing, store), truth, classes)
            contenders.append(Contender("random forest on moments", forest, f"{forest.trees} trees {preprocessing}"))
        methods = [
            of_network(_random(backbone, seed), "random weights") for seed in labelled.seeds[:RANDOM_INITIALISATIONS]
        ]
        identity = f"{how} {_architecture(backbone)} {len(methods)} initialisations"
        contenders.append(Contender("random weights", _BySeed(labelled.seeds, methods), identity))
    for name, other in settings.others.items():
        contenders.append(Contender(name, of_network(other, name), f"{how} {other.identity}"))
    contenders.append(Contender(BACKBONE, of_network(backbone, BACKBONE), f"{how} {backbone.identity}"))
    return contenders


def _how(protocol: Protocol, settings: ProtocolSettings) -> str:
    choice = {"knn": settings.k, "linear": settings.strength, "layer": settings.epochs}[protocol]
    how = "by inner folds" if choice is None else str(choice)
    return how + (_of(settings.components) if protocol == "knn" else "")


def _of(components: int | None) -> str:
    return f" of {components} whitened components" if components else ""


def _retrieved(features: NDArray[np.floating], labelled: LabelledSet) -> dict[str, float]:
    rows = labelled.tested
    names = np.array(labelled.classes)[labelled.truth[rows]]
    precision = precision_at_k(features[rows], names, _RETRIEVED)
    return {
        f"precision_at_{_RETRIEVED}": precision.mean,
        **{f"precision_at_{_RETRIEVED}[{name}]": value for name, value in precision.per_class.items()},
        "mean_average_precision": mean_average_precision(features[rows], names).mean,
    }


@dataclass(frozen=True)
class _BySeed:
    """Several methods that the seeds take in turn, for what is random itself."""

    seeds: list[int]
    methods: list[ClassifierMethod]

    def __call__(self, train: Rows, test: Rows, seed: int) -> Probabilities:
        return self.methods[self.seeds.index(seed) % len(self.methods)](train, test, seed)


def _random(backbone: Backbone, seed: int) -> Backbone:
    config = backbone.config
    return Backbone.random(config.architecture, config.preprocessing, seed).to(backbone.device)


# Networks trained on the images ---------------------------------------------------------------------------------------


def _on_images(
    backbone: Backbone, labelled: LabelledSet, protocol: Protocol, settings: ProtocolSettings
) -> list[Contender]:
    store, truth, classes = labelled.store, labelled.truth, len(labelled.classes)
    preprocessing = backbone.config.preprocessing
    tuning, scratch = settings.training or FINE_TUNING, settings.training or FROM_SCRATCH
    # What is random cannot be kept as it is, nor have stages that move slower.
    scratch = scratch.model_copy(update={"stages": None, "backbone_lr": 1.0, "layer_decay": 1.0})

    def trained(start: Backbone | None, how: TrainingSettings, small: bool = False) -> Trained:
        return Trained(store, truth, classes, backbone, start, how, small)

    contenders = []
    if settings.baselines:
        forest = RandomForest(image_moments(preprocessing, store), truth, classes)
        contenders.append(Contender("random forest on moments", forest, f"{forest.trees} trees {preprocessing}"))
    if settings.small_cnn:
        identity = f"Negm 2021 {_text(scratch)} {preprocessing}"
        contenders.append(Contender("three convolutions", trained(None, scratch, small=True), identity))
    if protocol == "supervised" or settings.baselines:
        identity = f"{_text(scratch)} {_architecture(backbone)}"
        contenders.append(Contender("from scratch", trained(None, scratch), identity))
    if protocol == "finetune":
        for name, other in settings.others.items():
            contenders.append(Contender(name, trained(other, tuning), f"{_text(tuning)} {other.identity}"))
        identity = f"{_text(tuning)} {backbone.identity}"
        contenders.append(Contender(BACKBONE, trained(backbone, tuning), identity))
    return contenders


def _text(settings: TrainingSettings) -> str:
    return json.dumps(settings.model_dump(mode="json", exclude_defaults=True), sort_keys=True)


def _architecture(backbone: Backbone) -> str:
    return f"{backbone.config.architecture} {backbone.config.preprocessing}"
