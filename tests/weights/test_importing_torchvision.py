"""Weights in torchvision's layout."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet18

from radiossl import RadiosslError
from radiossl.images.preprocess import Preprocessing
from radiossl.weights.architecture import Architecture
from radiossl.weights.config import BackboneConfig
from radiossl.weights.importing import load_torchvision


@pytest.fixture(scope="module")
def reference():
    torch.manual_seed(0)
    return resnet18(num_classes=10).eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_features_are_those_of_torchvision(tmp_path, reference, suffix):
    path = tmp_path / f"w{suffix}"
    state = reference.state_dict()
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    backbone = load_torchvision(path, BackboneConfig(Architecture(stem="small"), Preprocessing(size=64)))
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        modules = list(reference.children())[:-1]
        expected = torch.nn.Sequential(*modules)(images).flatten(1)
        torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-5)


def test_a_single_channel_sees_the_sum_of_the_three(tmp_path, reference):
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    grey = load_torchvision(tmp_path / "w.pth", BackboneConfig(Architecture(), Preprocessing(size=64, mode="min-max")))
    colour = load_torchvision(tmp_path / "w.pth", BackboneConfig(Architecture(), Preprocessing(size=64)))
    images = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(grey(images), colour(images.expand(2, 3, 64, 64)), rtol=1e-4, atol=1e-5)


class Evil:
    def __reduce__(self):
        return (exec, ("open('pwned', 'w')",))


def test_other_files_are_refused(tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    config = BackboneConfig(Architecture(), Preprocessing(size=64))
    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps(Evil()))
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    torch.save({k: v for k, v in reference.state_dict().items() if k != "bn1.weight"}, tmp_path / "part.pth")
    for name, said in [
        ("evil.pth", "not a plain file of weights"),
        ("pickle.pth", "not a plain file of weights"),
        ("list.pth", "not a dictionary of tensors"),
        ("other.pth", "not a dictionary of tensors"),
        ("part.pth", "bn1.weight is missing"),
        ("none.pth", "no such file"),
    ]:
        with pytest.raises(RadiosslError, match=said):
            load_torchvision(tmp_path / name, config)
    assert not (tmp_path / "pwned").exists()
