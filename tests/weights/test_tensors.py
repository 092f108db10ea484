"""What diverged is not a backbone: it is noticed wherever weights or features pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone
from radiossl.weights.importing import import_backbone
from radiossl.weights.tensors import check_features, check_network, check_weights


@pytest.fixture
def backbone():
    return Backbone.random(Architecture(name="test_resnet"), Preprocessing(size=32), seed=0)


def first(backbone):
    return next(backbone.network.parameters())


@pytest.mark.parametrize(
    ("value", "said"),
    [(float("nan"), "is not finite (1 of"), (float("inf"), "is not finite (1 of"), (-6e28, "reaches 6.0e+28")],
)
def test_such_weights_are_not_saved(backbone, tmp_path, value, said):
    with torch.no_grad():
        first(backbone).view(-1)[3] = value
    with pytest.raises(RadiosslError) as caught:
        save_backbone(tmp_path / "b", backbone.network, backbone.config)
    assert said in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_such_weights_are_not_loaded(backbone, tmp_path):
    save_backbone(tmp_path / "b", backbone.network, backbone.config)
    file = tmp_path / "b" / "model.safetensors"
    tensors = load_file(file)
    tensors["conv1.0.weight"].view(-1)[0] = float("nan")
    save_file(tensors, file)
    with pytest.raises(RadiosslError, match=r"model.safetensors: .* is not finite \(1 of"):
        load_backbone(tmp_path / "b")


def test_such_weights_are_not_imported(tmp_path):
    from torchvision.models import resnet18

    state = resnet18().state_dict()
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(RadiosslError, match=r"w.pth: layer2.0.conv1.weight is not finite"):
        import_backbone(tmp_path / "w.pth")


def test_features_of_weights_that_look_well_are_tried(backbone):
    statistics = dict(backbone.network.named_buffers())
    name = next(name for name in statistics if name.endswith("running_var"))
    statistics[name].fill_(-1.0)
    with pytest.raises(RadiosslError, match="running_var is negative"):
        check_network(backbone.network, 3, 32, "b")
    statistics[name].fill_(1e11)
    with pytest.raises(RadiosslError, match=r"running_var reaches 1.0e\+11"):
        check_weights(backbone.network.state_dict(), "b")


def test_features_that_are_not_finite_are_named(backbone, sky):
    with pytest.raises(RadiosslError, match="b: the features of c1 are not finite"):
        check_features(np.array([[1.0, 2.0], [np.nan, 0.0]]), "b", ["c0", "c1"])
    check_features(np.ones((2, 3)), "b")
    with torch.no_grad():
        first(backbone).fill_(float("nan"))
    with pytest.raises(RadiosslError, match="random-init-0: the features of 0 are not finite"):
        backbone.features(sky(0))


def test_what_is_well_is_left_as_it_is(backbone):
    before = {name: tensor.clone() for name, tensor in backbone.network.state_dict().items()}
    backbone.network.train()
    check_network(backbone.network, 3, 32, "b")
    assert backbone.network.training
    for name, tensor in backbone.network.state_dict().items():
        assert torch.equal(tensor, before[name])
