"""Training classifiers: what is frozen stays, what is trained learns, the same seed gives the same."""

import numpy as np
import pytest
import torch

from radiossl import RadiosslError
from radiossl.evaluation.training import (
    FINE_TUNING,
    Classifier,
    SmallCnn,
    Trained,
    TrainingSettings,
    _batches,
    parameter_groups,
    predict_probabilities,
    train_classifier,
)
from radiossl.images.preprocess import Preprocessing
from radiossl.pretraining.optimizers import warmup_cosine
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone


@pytest.fixture(scope="module")
def backbone():
    return Backbone.random(Architecture(name="test_resnet"), Preprocessing(size=32), seed=0)


@pytest.fixture(scope="module")
def truth(small_store):
    return (small_store.column("kind") == "single").astype(np.int64)


def trained(backbone, store, truth, seed=0, **settings):
    model = Classifier.on(backbone, 2)
    losses = list(train_classifier(model, store, truth, TrainingSettings(epochs=3, batch_size=8, **settings), seed))
    return model, losses


def test_the_backbone_that_is_started_from_is_not_changed(backbone, small_store, truth):
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}
    model, losses = trained(backbone, small_store, truth)
    assert len(losses) == 3
    for name, tensor in backbone.network.state_dict().items():
        assert torch.equal(tensor, before[name])
    changed = [not torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items()]
    assert all(changed)  # stem included, batch statistics too


@pytest.mark.parametrize("stages", [0, 1, 2])
def test_frozen_stages_keep_weights_and_batch_statistics(backbone, small_store, truth, stages):
    model, _ = trained(backbone, small_store, truth, stages=stages)
    moved = set()
    for name, tensor in model.network.state_dict().items():
        if not torch.equal(tensor, backbone.network.state_dict()[name]):
            moved.add(name.split(".")[0])
    assert moved == {0: set(), 1: {"layer4"}, 2: {"layer3", "layer4"}}[stages]
    assert not torch.equal(model.head.weight, Classifier.on(backbone, 2).head.weight)


def test_learning_rates_fall_from_the_head_to_the_stem(backbone):
    groups = parameter_groups(Classifier.on(backbone, 2), TrainingSettings(backbone_lr=0.5, layer_decay=0.1))
    scales = list(dict.fromkeys(group["scale"] for group in groups))
    assert scales == pytest.approx([1.0, 5e-5, 5e-4, 5e-3, 5e-2, 5e-1])
    with pytest.raises(RadiosslError, match="stages=9: the backbone has 5 stages"):
        parameter_groups(Classifier.on(backbone, 2), TrainingSettings(stages=9))


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_biases_and_normalisations_are_spared_from_decay(backbone, decay):
    model = Classifier.on(backbone, 2)
    decay_of = {}
    for group in parameter_groups(model, TrainingSettings(weight_decay=decay)):
        decay_of |= {id(tensor): group["weight_decay"] for tensor in group["params"]}
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    assert set(names) == set(decay_of), "every tensor is trained"
    for key, name in names.items():
        owner = model.get_submodule(name.rpartition(".")[0])
        spared = name.endswith("bias") or isinstance(owner, torch.nn.BatchNorm2d)
        assert decay_of[key] == (0.0 if spared else decay), name


def test_the_same_seed_trains_the_same_network_and_another_does_not(backbone, small_store, truth):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    methods = [Trained(small_store, truth, 2, backbone, backbone, TrainingSettings(epochs=2)) for _ in range(2)]
    rows = np.arange(16), np.arange(16, 24)
    first, again, other = methods[0](*rows, 3), methods[1](*rows, 3), methods[0](*rows, 4)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6
    np.testing.assert_allclose(first.sum(axis=1), 1)
    assert torch.equal(torch.get_rng_state(), state), "the caller's randomness is its own"


def test_it_learns_to_tell_one_source_from_two(backbone, store_of):
    y, x = np.indices((32, 32)) - 15.5
    double = np.exp(-((np.abs(x) - 8) ** 2 + y**2) / 8)
    single = np.exp(-(x**2 + y**2) / 8)
    noise = np.random.default_rng(0).normal(0, 0.02, (32, 32, 32))
    images = [
        (image + double if number % 2 else image + single).astype(np.float32) for number, image in enumerate(noise)
    ]
    truth = np.arange(32) % 2
    store = store_of(images)
    model = Classifier.on(backbone, 2)
    settings = TrainingSettings(epochs=15, batch_size=8)
    losses = list(train_classifier(model, store, truth, settings))
    assert losses[-1] < 0.5 * losses[0]
    assert (predict_probabilities(model, store).argmax(axis=1) == truth).mean() > 0.9


def test_probabilities_are_averaged_over_views_where_the_preprocessing_says_so(backbone, small_store):
    model = Classifier.on(backbone, 2).eval()
    once = predict_probabilities(model, small_store)
    model.preprocessing = model.preprocessing.model_copy(update={"views": 8})
    averaged = predict_probabilities(model, small_store)
    assert np.abs(once - averaged).max() > 1e-6
    np.testing.assert_allclose(averaged.sum(axis=1), 1)


def test_an_infinite_loss_is_an_error_with_advice(backbone, small_store, truth):
    with pytest.raises(RadiosslError, match="lower the learning rate"):
        trained(backbone, small_store, truth, lr=1e30)


def test_no_batch_has_a_single_image():
    for cutouts in range(2, 40):
        batches = _batches(cutouts, min(8, cutouts), 0, 0)
        assert sorted(np.concatenate(batches)) == list(range(cutouts))
        assert min(map(len, batches)) > 1


def test_the_schedule_rises_and_falls_to_zero():
    values = [warmup_cosine(step, 100, 10) for step in range(100)]
    assert values[0] == pytest.approx(0.1)
    assert max(values) == values[9] == values[10] == 1.0
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[-1] < 0.01


def test_the_small_network_has_the_filters_of_the_paper(backbone):
    network = SmallCnn(3, 32)
    assert [layer.out_channels for layer in network.layers if isinstance(layer, torch.nn.Conv2d)] == [32, 64, 128]
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, SmallCnn.feature_dim)
    assert sum(isinstance(layer, torch.nn.MaxPool2d) for layer in network.layers) == 3
    assert FINE_TUNING.epochs == 150
