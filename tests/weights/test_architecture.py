"""Networks by name, and what is refused."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from radiossl import RadiosslError
from radiossl.images.preprocess import Preprocessing
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone, load_backbone, save_backbone


@pytest.mark.parametrize(("channels", "output_dim"), [(3, None), (1, None), (3, 100)])
def test_resnet18_makes_features(channels, output_dim):
    architecture = Architecture(output_dim=output_dim)
    network = architecture.build(channels).eval()
    features = network(torch.zeros(2, channels, 32, 32))
    assert features.shape == (2, output_dim or 512)
    assert architecture.feature_dim(network) == (output_dim or 512)
    assert isinstance(network.get_classifier(), nn.Identity if output_dim is None else nn.Linear)


def test_resnet18_is_torchvisions():
    """The same tensors with the same starting values of the batch norms, so that weights go both ways."""
    from torchvision.models import resnet18

    ours, theirs = Architecture(output_dim=1000).build(3).state_dict(), resnet18().state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}
    for name in theirs:
        if ".bn" in name or name.startswith("bn"):
            torch.testing.assert_close(ours[name], theirs[name])


def test_small_stem_keeps_the_resolution():
    network = Architecture(stem="small").build(1).eval()
    assert (network.conv1.kernel_size, network.conv1.stride, network.conv1.in_channels) == ((3, 3), (1, 1), 1)
    assert network.conv1(torch.zeros(1, 1, 70, 70)).shape[-2:] == (70, 70)
    # The sizes of the maps in the BYOL of Slijepcevic et al. 2024, whose stem keeps the pooling layer.
    maps = [(1, 70)]
    x = network.maxpool(network.act1(network.bn1(network.conv1(torch.zeros(1, 1, 70, 70)))))
    for layer in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = layer(x)
        maps.append((x.shape[1], x.shape[2]))
    assert maps == [(1, 70), (64, 35), (128, 18), (256, 9), (512, 5)]
    assert network(torch.zeros(1, 1, 70, 70)).shape == (1, 512)
    # "11 167 680 parameters", and not one more.
    assert sum(parameter.numel() for parameter in network.parameters()) == 11_167_680


def test_other_networks_of_timm():
    architecture = Architecture(name="convnext_atto")
    network = architecture.build(1).eval()
    assert network(torch.zeros(1, 1, 32, 32)).shape == (1, architecture.feature_dim(network))


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("vgg11", "swin_tiny_patch4_window7_224")]
QUICK = ["mobilenetv3_small_100", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "ghostnet_100", "crossvit_tiny_240"]


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_any_network_of_timm_makes_features_of_small_images_and_comes_back(name, tmp_path):
    import timm

    backbone = Backbone.random(Architecture(name=name), Preprocessing(size=32), seed=0)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        features = backbone(images)
    assert features.shape == (2, backbone.feature_dim)
    save_backbone(tmp_path / "b", backbone.network, backbone.config)
    with torch.inference_mode():
        rounding = 1e-5 if name == "crossvit_tiny_240" else 0  # PyTorch 2.10 rounds its features otherwise each time
        torch.testing.assert_close(load_backbone(tmp_path / "b")(images), features, rtol=0, atol=rounding)
    if name == "crossvit_tiny_240":  # timm builds it for another size than its folder says
        return
    theirs = timm.create_model(f"local-dir:{tmp_path / 'b'}", pretrained=True, num_classes=0).eval()
    with torch.inference_mode():
        torch.testing.assert_close(theirs(images), features, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["inception_v3", "inception_resnet_v2"])
def test_a_network_for_which_the_images_are_too_small_is_refused_in_one_line(name):
    with pytest.raises(RadiosslError, match=f"backbone.name {name}: cannot be used for images of 32 x 32") as caught:
        Architecture(name=name).build(3, 32)
    assert "\n" not in str(caught.value)
    assert Architecture(name="inception_v3").build(3, 96).feature_dim == 2048


@pytest.mark.parametrize("output_dim", [None, 100])
def test_timm_loads_a_small_stem(tmp_path, output_dim):
    import timm

    import radiossl.weights.timm_models  # noqa: F401

    architecture = Architecture(stem="small", output_dim=output_dim)
    backbone = Backbone.random(architecture, Preprocessing(mode="min-max", size=32), seed=3)
    save_backbone(tmp_path / "b", backbone.network, backbone.config)
    theirs = timm.create_model(f"local-dir:{tmp_path / 'b'}", pretrained=True).eval()
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(theirs(images), backbone(images), rtol=1e-5, atol=1e-6)


def test_unknown_network_is_refused_with_a_hint():
    with pytest.raises(RadiosslError, match=r"backbone.name 'resnet1': timm knows no such network; did you mean .*18"):
        Architecture(name="resnet1").build(3)
    with pytest.raises(RadiosslError, match=r"backbone.name 'nonsense'.*list_models"):
        Architecture(name="nonsense").build(3)


def test_small_stem_of_a_network_without_one_is_refused():
    with pytest.raises(RadiosslError, match=r"backbone\.stem 'small': convnext_atto"):
        Architecture(name="convnext_atto", stem="small").build(3)


@pytest.mark.parametrize("wrong", [{"stem": "tiny"}, {"output_dim": 0}, {"nme": "resnet18"}])
def test_wrong_values_are_refused(wrong):
    with pytest.raises(ValidationError):
        Architecture(**wrong)
