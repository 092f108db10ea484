"""Training a classifier: a head on a backbone that is frozen, fine-tuned, or starts from nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from radiossl.evaluation.classifiers import Probabilities, Rows
from radiossl.features.embedding import preprocessed_batches
from radiossl.images.preprocess import Preprocessing, flips_and_rotations
from radiossl.images.views import Augmentation, ViewMaker
from radiossl.io.errors import RadiosslError
from radiossl.io.schema import Settings
from radiossl.pretraining.data import CutoutBatches, step_seed
from radiossl.pretraining.optimizers import decay_groups, warmup_cosine
from radiossl.store.store import CutoutStore
from radiossl.weights.architecture import stage_numbers
from radiossl.weights.backbone import Backbone

#: Rotations and flips alone (Riggi et al. 2024, section 3.2).
ROTATIONS_AND_FLIPS = Augmentation(flips=(0.5, 0.5), rotation="any")


class TrainingSettings(Settings):
    """How a classifier is trained.

    Stages that are not trained keep the statistics of their batch normalisation too. Weight decay spares biases and the
    weights of normalisations.
    """

    epochs: int = Field(default=150, ge=1)  # passes over the training images; 150 in Riggi et al. 2024, section 3.3
    batch_size: int = Field(default=32, ge=2)  # images in a step
    lr: float = Field(default=1e-3, gt=0)  # of AdamW after the warm-up, falling to zero with a cosine
    backbone_lr: float = Field(default=1.0, gt=0)  # the same for the last stage of the backbone, as a fraction of `lr`
    layer_decay: float = Field(default=1.0, gt=0, le=1)  # factor of `lr` from each stage to the one before it
    weight_decay: float = Field(default=0.05, ge=0)
    stages: int | None = Field(default=None, ge=0)  # last ones that are trained, the stem counting as one; null: all
    warmup: float = Field(default=0.05, ge=0, le=0.5)  # fraction of the steps over which `lr` rises
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    augmentation: Augmentation = ROTATIONS_AND_FLIPS  # of the training images


#: A pretrained backbone moves slower than its new head, and the slower the nearer to the pixels.
FINE_TUNING = TrainingSettings(backbone_lr=0.3, layer_decay=0.7)
#: Random weights move at full speed.
FROM_SCRATCH = TrainingSettings()


class Classifier(nn.Module):
    """A network with a linear head: preprocessed images (n, channels, size, size) to logits (n, classes)."""

    def __init__(self, network: nn.Module, feature_dim: int, classes: int, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing
        self.head = nn.Linear(feature_dim, classes)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def on(cls, backbone: Backbone, classes: int) -> Classifier:
        """Return a classifier that starts from a copy of a backbone."""
        network = copy.deepcopy(backbone.network)
        dimension = backbone.config.architecture.feature_dim(network)
        return cls(network, dimension, classes, backbone.config.preprocessing).to(backbone.device)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images."""
        return self.head(self.network(images))


def parameter_groups(model: Classifier, settings: TrainingSettings) -> list[dict[str, Any]]:
    """Sort the tensors into groups of one learning rate and weight decay each, and freeze those that are not trained.

    Weight decay is for the weights of layers: biases and normalisations (tensors of one dimension) are spared.
    """
    stage_of = stage_numbers(model.network)
    count = max(stage_of.values()) + 1
    trained = count if settings.stages is None else settings.stages
    if trained > count:
        raise RadiosslError(f"stages={trained}: the backbone has {count} stages, its stem included")
    by_scale = [(1.0, list(model.head.parameters()))]
    for stage in range(count):
        tensors = [tensor for name, tensor in model.network.named_parameters() if stage_of[name] == stage]
        for tensor in tensors:
            tensor.requires_grad_(stage >= count - trained)
        if stage >= count - trained:
            by_scale.append((settings.backbone_lr * settings.layer_decay ** (count - 1 - stage), tensors))
    return [group for scale, tensors in by_scale for group in decay_groups(tensors, settings.weight_decay, scale=scale)]


def _set_training(model: Classifier) -> None:
    """Put what is trained into training mode; a frozen stage keeps its dropout and batch statistics off."""
    model.train()
    for module in model.network.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(tensor.requires_grad for tensor in own):
            module.eval()
    if not any(tensor.requires_grad for tensor in model.network.parameters()):
        model.network.eval()


def train_classifier(
    model: Classifier, store: CutoutStore, targets: NDArray[np.int64], settings: TrainingSettings, seed: int = 0
) -> Iterator[float]:
    """Train a classifier in place, on its device; yields the mean loss after each epoch.

    `targets` are class numbers of the cutouts. The seed is that of the order of the images, their augmentation, and the
    network's own randomness.
    """
    device = model.head.weight.device
    groups = parameter_groups(model, settings)
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, fused=True)
    model.to(memory_format=torch.channels_last)
    views = ViewMaker(model.preprocessing.model_copy(update={"views": 1}), settings.augmentation)
    source = CutoutBatches(store, device, model.preprocessing.field_px)
    labels = torch.from_numpy(targets).to(device)
    size = min(settings.batch_size, len(store))
    steps = math.ceil(len(store) / size) * settings.epochs
    step = 0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for epoch in range(settings.epochs):
            batches = _batches(len(store), size, seed, epoch)
            total = 0.0
            _set_training(model)
            for rows, batch in zip(batches, source(batches), strict=True):
                generator = torch.Generator().manual_seed(step_seed(seed, step))
                [images] = views(batch.pixels, batch.statistics, generator, count=1)
                part = warmup_cosine(step, steps, round(settings.warmup * steps))
                for group in optimizer.param_groups:
                    group["lr"] = settings.lr * group["scale"] * part
                logits = model(images.contiguous(memory_format=torch.channels_last))
                chosen = labels[torch.from_numpy(rows).to(device)]
                loss = F.cross_entropy(logits, chosen, label_smoothing=settings.label_smoothing)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(rows)
                step += 1
            if not math.isfinite(total):
                raise RadiosslError(f"the loss is {total} in epoch {epoch + 1}; lower the learning rate (--set lr=...)")
            yield total / len(store)


def _batches(cutouts: int, size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """All rows in a random order; a rest of one is joined to the batch before it, as one image has no statistics."""
    order = np.random.default_rng([seed, epoch]).permutation(cutouts)
    edges = list(range(0, cutouts, size))
    if len(edges) > 1 and cutouts - edges[-1] == 1:
        edges.pop()
    return np.split(order, edges[1:])


@torch.inference_mode()
def predict_probabilities(model: Classifier, store: CutoutStore, batch_size: int = 128) -> NDArray[np.float64]:
    """Class probabilities of all cutouts of a store, shape (n, classes).

    Averaged over rotations and mirror images if the preprocessing has 8 views.
    """
    model.eval()
    probabilities = np.empty((len(store), model.head.out_features))
    device = model.head.weight.device
    for rows, images in preprocessed_batches(model.preprocessing, store, batch_size, device, description=""):
        turned = flips_and_rotations(images) if model.preprocessing.views == 8 else iter([images])
        parts = [model(view).double().softmax(dim=1) for view in turned]
        probabilities[rows] = torch.stack(parts).mean(dim=0).cpu().numpy()
    return probabilities


class SmallCnn(nn.Module):
    """The three-convolution network of Negm 2021 (section 3.2): 32, 64 and 128 filters of 3 x 3, with dropout.

    The sizes of its dense layer and the dropout rates are not printed there; 128 and 0.5 are ours.
    """

    feature_dim = 128

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((channels, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(128 * (size // 8) ** 2, self.feature_dim)]
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.Dropout(0.5))

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, 128) of images (n, channels, size, size)."""
        return self.layers(images)


@dataclass(frozen=True)
class Trained:
    """A network trained on the images themselves: fine-tuned, or from scratch."""

    store: CutoutStore  # all labelled cutouts
    truth: NDArray[np.int64]  # their class numbers
    classes: int
    like: Backbone  # whose architecture, preprocessing and device are used
    start: Backbone | None  # None for random weights, other ones for each seed
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    small: bool = False  # train the small network of Negm 2021 instead

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
