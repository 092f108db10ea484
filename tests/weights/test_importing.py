"""Checkpoints of other codes: their features are ours, every tensor is accounted for, and nothing in them is run."""

import gzip
import json
import pickle
import shutil
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path, PosixPath

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18, resnet50

from radiossl import RadiosslError, load_backbone
from radiossl.images.preprocess import Preprocessing
from radiossl.weights.backbone import save_backbone
from radiossl.weights.formats.layouts import LAYOUTS
from radiossl.weights.formats.presets import PRESETS
from radiossl.weights.importing import import_backbone

SIDE = 64


@pytest.fixture(scope="module")
def reference():
    """A ResNet18 whose batch normalisations are not those of random weights."""
    torch.manual_seed(0)
    network = resnet18(num_classes=10)
    network.train()(torch.rand(8, 3, SIDE, SIDE))
    return network.eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def expected(reference, images):
    with torch.inference_mode():
        return nn.Sequential(*list(reference.children())[:-1])(images).flatten(1)


# How each code would save the reference -------------------------------------------------------------------------------


def torchvision(network):
    return dict(network.state_dict())


def prefixed(network, prefix):
    return {f"{prefix}{name}": t for name, t in network.state_dict().items() if not name.startswith("fc.")}


def twin(network, prefix):
    return {name: torch.full_like(tensor, 7) for name, tensor in prefixed(network, prefix).items()}


def children(network, prefix=""):
    return {f"{prefix}{name}": t for name, t in nn.Sequential(*list(network.children())[:-1]).state_dict().items()}


def flat(network, prefix):
    blocks = [block for stage in (network.layer1, network.layer2, network.layer3, network.layer4) for block in stage]
    layers = nn.ModuleList([nn.Sequential(network.conv1, network.bn1), *blocks])
    state = layers.state_dict()
    return {f"{prefix}{start}.{n}": t for start in ("layers", "finetuning_layers") for n, t in state.items()}


def lightly(network):
    return {
        **children(network, "backbone."),
        **twin(network, "backbone_momentum."),
        "projection_head.layers.0.weight": torch.ones(4, 512),
    }


def solo(network):
    return {
        **prefixed(network, "backbone."),
        **twin(network, "momentum_backbone."),
        "projector.0.weight": torch.ones(4, 512),
        "predictor.0.weight": torch.ones(4, 4),
        "classifier.weight": torch.ones(2, 512),
        "queue": torch.ones(8, 4),
    }


def moco(network):
    return {
        **prefixed(network, "module.encoder_q."),
        **twin(network, "module.encoder_k."),
        "module.encoder_q.fc.0.weight": torch.ones(4, 512),
        "module.queue": torch.ones(4, 8),
        "module.queue_ptr": torch.zeros(1),
    }


def swav(network):
    return {
        **prefixed(network, "module."),
        "module.projection_head.0.weight": torch.ones(4, 512),
        "module.prototypes.weight": torch.ones(9, 4),
    }


WAYS = {
    "torchvision": torchvision,
    "torchvision without counters": lambda n: {k: t for k, t in torchvision(n).items() if "num_batches" not in k},
    "lightly": lightly,
    "lightly tutorial": lambda n: {"resnet18_parameters": children(n)},
    "lightly benchmark": lambda n: {
        "state_dict": {**prefixed(n, "backbone."), "online_classifier.linear.weight": torch.ones(2, 512)},
        "epoch": 3,
    },
    "solo-learn": lambda n: {"state_dict": solo(n), "optimizer_states": [{"state": {0: torch.ones(3)}}], "epoch": 9},
    "torch-hub": lambda n: {"state_dict": moco(n), "arch": "resnet18"},
    "torch-hub swav": swav,
    "torchvision compiled": lambda n: prefixed(n, "_orig_mod."),
    "torch-hub compiled in parallel": lambda n: prefixed(n, "module._orig_mod."),
    "torchvision net": lambda n: prefixed(n, "net."),
    "torch-hub net beside others": lambda n: {**prefixed(n, "net."), "head.weight": torch.ones(2, 512)},
    "lightly in a model": lambda n: {
        **prefixed(n, "model.backbone."),
        "model.projection_head.layers.0.weight": torch.ones(4, 512),
    },
    "torch-hub model beside others": lambda n: {**prefixed(n, "model.backbone."), "queue": torch.ones(4, 8)},
    "torch-hub moco v3": lambda n: {
        **prefixed(n, "module.base_encoder."),
        **twin(n, "module.momentum_encoder."),
        "module.base_encoder.fc.0.weight": torch.ones(4, 512),
        "module.predictor.0.weight": torch.ones(4, 4),
    },
    "torch-hub byol": lambda n: {
        **{f"net.{name}": tensor for name, tensor in n.state_dict().items()},
        **{f"online_encoder.net.{name}": tensor for name, tensor in n.state_dict().items()},
        **twin(n, "target_encoder.net."),
        "online_encoder.projector.0.weight": torch.ones(4, 512),
        "online_predictor.0.weight": torch.ones(4, 4),
    },
    "torch-hub online": lambda n: {**prefixed(n, "online_encoder."), **twin(n, "target_encoder.")},
    "torch-hub under any name": lambda n: {**prefixed(n, "learner.trunk."), "learner.trunk.fc.bias": torch.ones(2)},
    "torch-hub options": lambda n: {"model": prefixed(n, "encoder."), "args": Namespace(lr=0.1, arch="resnet18")},
    "torch-hub encoder": lambda n: {"model": prefixed(n, "encoder.")},
}


@pytest.mark.parametrize("way", WAYS)
def test_features_are_those_of_the_network_that_was_saved(tmp_path, reference, images, expected, way):
    torch.save(WAYS[way](reference), tmp_path / "w.pth")
    imported = import_backbone(tmp_path / "w.pth")
    assert imported.format == way.split()[0]
    assert imported.used == (100 if "without" in way else 120)
    save_backbone(tmp_path / "b", imported.backbone.network, imported.backbone.config)
    backbone = load_backbone(tmp_path / "b")
    for name in ("architecture", "preprocessing", "imported"):
        assert getattr(backbone.config, name) == getattr(imported.backbone.config, name)
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), expected, rtol=0, atol=1e-4)
        torch.testing.assert_close(imported.backbone(images), expected, rtol=0, atol=1e-4)


def test_a_network_of_three_convolutions_is_told_from_one_of_two(tmp_path, images):
    network = resnet50(num_classes=3).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    backbone = import_backbone(tmp_path / "w.safetensors").backbone
    network.fc = nn.Identity()
    assert backbone.config.architecture.name == "resnet50"
    with torch.inference_mode():
        torch.testing.assert_close(backbone(images), network(images), rtol=0, atol=1e-4)


def test_a_folder_of_timm_says_which_network_it_is(tmp_path, images):
    import timm

    torch.manual_seed(0)
    network = timm.create_model("convnext_atto", num_classes=5).eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    config = {
        "architecture": "convnext_atto",
        "pretrained_cfg": {
            "classifier": "head.fc",
            "input_size": [3, SIDE, SIDE],
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2] * 3,
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        imported = import_backbone(path)
        assert (imported.format, imported.left_out) == ("timm", {"head.fc.*": "2 tensors, classifier"})
        with torch.inference_mode():
            theirs = network.forward_head(network.forward_features(images), pre_logits=True)
            torch.testing.assert_close(imported.backbone(images), theirs, rtol=0, atol=1e-4)
        seen = imported.backbone.config.preprocessing
        assert (seen.size, seen.mean, seen.std) == (SIDE, pytest.approx(0.4), pytest.approx(0.2))


def test_a_second_copy_that_differs_is_no_copy(tmp_path, reference):
    state = WAYS["torch-hub byol"](reference)
    state["net.layer1.0.conv1.weight"] = torch.ones(64, 64, 3, 3)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(RadiosslError, match=r"net.layer1.0.conv1.weight is no part of the format torch-hub"):
        import_backbone(tmp_path / "w.pth")


def test_of_two_networks_one_is_to_be_left_out(tmp_path, reference, images, expected):
    heads = {f"{who}.head.weight": torch.ones(2, 512) for who in ("student", "teacher")}
    state = {**prefixed(reference, "teacher.backbone."), **twin(reference, "student.backbone."), **heads}
    torch.save({"model": state}, tmp_path / "w.pth")
    with pytest.raises(RadiosslError, match=r"teacher.backbone.conv1.weight .* --ignore teacher$"):
        import_backbone(tmp_path / "w.pth")
    with pytest.raises(RadiosslError, match=r"teacher.head.weight .* --ignore teacher.head$"):
        import_backbone(tmp_path / "w.pth", ignore=["student."])
    imported = import_backbone(tmp_path / "w.pth", ignore=["student.", "teacher.head."])
    with torch.inference_mode():
        torch.testing.assert_close(imported.backbone(images), expected, rtol=0, atol=1e-4)


def test_networks_with_the_same_tensors_are_told_apart_by_what_the_file_says(tmp_path, images):
    import timm

    network = timm.create_model("resnetblur18", num_classes=0).eval()
    with torch.inference_mode():
        expected = network(images)
    files = {
        "said.pth": {"state_dict": network.state_dict(), "arch": "resnetblur18"},
        "options.pth": {"state_dict": network.state_dict(), "args": Namespace(model="resnetblur18")},
        "resnetblur18-84f4748f.pth": network.state_dict(),
        "given.pth": network.state_dict(),
    }
    for name, content in files.items():
        torch.save(content, tmp_path / name)
        given = "resnetblur18" if name == "given.pth" else None
        imported = import_backbone(tmp_path / name, architecture=given)
        assert imported.backbone.config.architecture.name == "resnetblur18"
        assert bool(imported.guess) == name.startswith("resnetblur18")
        with torch.inference_mode():
            torch.testing.assert_close(imported.backbone(images), expected, rtol=0, atol=1e-4)
    imported = import_backbone(tmp_path / "given.pth")
    assert imported.backbone.config.architecture.name == "resnet18"
    assert imported.guess == "resnet18; resnetblur18 has the same tensors (--architecture)"


def small(seed=0):
    torch.manual_seed(seed)
    network = resnet18()
    network.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
    network.train()(torch.rand(4, 1, 32, 32))
    return network.eval()


def byol(network, **data):
    state = {**flat(network, "encoder."), **flat(small(5), "encoder_momentum."), "dummy_param": torch.empty(0)}
    config = {"data": {"mu": (0.01,), "sig": (0.06,), **data}, "augmentations": {"center_crop_size": 48}}
    return {"state_dict": state, "hyper_parameters": {"config": config | {"files": PosixPath("x/y")}}}


def test_the_byol_of_rgz_brings_its_stem_and_its_preprocessing(tmp_path):
    network = small()
    torch.save(byol(network), tmp_path / "byol.ckpt")
    imported = import_backbone(tmp_path / "byol.ckpt")
    config = imported.backbone.config
    assert (imported.format, config.architecture.stem) == ("byol-rgz", "small")
    assert config.preprocessing == Preprocessing(mode="min-max", size=48, field_px=48, mean=0.01, std=0.06)
    assert imported.left_out["encoder.finetuning_layers.*"] == "120 tensors, second copy of encoder.layers.*"
    assert imported.left_out["encoder_momentum.*"] == "240 tensors, momentum twin"
    network.fc = nn.Identity()
    grey = torch.rand(2, 1, 48, 48)
    with torch.inference_mode():
        torch.testing.assert_close(imported.backbone(grey), network(grey), rtol=0, atol=1e-4)


def test_copies_that_differ_are_refused(tmp_path):
    state = byol(small())
    state["state_dict"]["encoder.finetuning_layers.3.conv1.weight"] = torch.zeros(128, 64, 3, 3)
    torch.save(state, tmp_path / "byol.ckpt")
    with pytest.raises(RadiosslError, match=r"byol.ckpt: encoder.finetuning_layers.3.conv1.weight is not the copy"):
        import_backbone(tmp_path / "byol.ckpt")


# Keras ----------------------------------------------------------------------------------------------------------------

KERAS = {
    "weight": "gamma:0",
    "bias": "beta:0",
    "running_mean": "moving_mean:0",
    "running_var": "moving_variance:0",
}


def write_keras(path, network, epsilon=None, nested="", change=lambda root: None):
    with h5py.File(path, "w") as file:
        root = file if epsilon is None else file.create_group("model_weights")
        root.attrs["layer_names"] = ["conv1"]
        for name, tensor in network.state_dict().items():
            layer, _, leaf = name.rpartition(".")
            if layer == "fc" or leaf == "num_batches_tracked":
                continue
            kernel = tensor.ndim == 4
            values = tensor.numpy().transpose(2, 3, 1, 0) if kernel else tensor.numpy()
            root[f"{nested}{layer}/{layer}/{'kernel:0' if kernel else KERAS[leaf]}"] = values
        if epsilon is not None:
            layers = [
                {"class_name": "InputLayer", "config": {"batch_input_shape": [None, SIDE, SIDE, 3]}},
                {"class_name": "BatchNormalization", "config": {"name": "bn1", "epsilon": epsilon}},
            ]
            file.attrs["model_config"] = json.dumps({"config": {"layers": layers}})
            file["optimizer_weights/x"] = np.ones(3)
        change(root)
    return path


@pytest.mark.parametrize(("epsilon", "nested"), [(None, ""), (1e-5, ""), (None, "base_model/")])
def test_keras_features_are_those_of_the_network(tmp_path, reference, images, expected, epsilon, nested):
    imported = import_backbone(write_keras(tmp_path / "w.h5", reference, epsilon, nested))
    assert (imported.format, imported.used) == ("sclassifier", 100)
    complete = epsilon is not None
    assert set(imported.left_out) == ({"model_config", "optimizer_weights"} if complete else set())
    assert imported.backbone.config.preprocessing.size == (SIDE if complete else 224)
    with torch.inference_mode():
        torch.testing.assert_close(imported.backbone(images), expected, rtol=0, atol=1e-4)


def replaced(name, value):
    def change(root):
        if name in root:
            del root[name]
        if value is not None:
            root[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced("bn1/bn1/beta:0", None), "bn1.bias is missing"),
        (replaced("bn1/bn1/beta:0", np.ones(3)), r"bn1.bias has shape \(3,\)"),
        (replaced("conv1/conv1/bias:0", np.ones(64)), "conv1.bias is not part of it"),
        (replaced("dense/dense/kernel:0", np.ones((512, 8))), "dense/dense/kernel:0 has 2 axes"),
        (replaced("conv1/conv1/other:0", np.ones(2)), "other:0 is not a weight"),
        (replaced("bn1/bn1/beta:0", np.array([b"text"])), "not a plain array of numbers"),
        (replaced("bn1/bn1/beta:0", h5py.ExternalLink("other.h5", "/x")), "bn1.bias is missing"),
    ],
)
def test_other_keras_networks_are_refused(tmp_path, reference, change, said):
    path = write_keras(tmp_path / "w.h5", reference, change=change)
    with pytest.raises(RadiosslError, match=said):
        import_backbone(path)


def test_another_epsilon_is_refused(tmp_path, reference):
    path = write_keras(tmp_path / "w.h5", reference, epsilon=1e-3)
    with pytest.raises(RadiosslError, match=r"bn1 has epsilon 0.001, the ResNets here have 1e-05"):
        import_backbone(path)


def test_hdf5_that_reaches_out_of_itself_or_lies_is_refused(tmp_path, reference):
    (tmp_path / "secret").write_bytes(bytes(256))

    def external(root):
        del root["bn1/bn1/beta:0"]
        root["bn1/bn1"].create_dataset("beta:0", (64,), "f4", external=[(str(tmp_path / "secret"), 0, 256)])

    def huge(root):
        del root["bn1/bn1/beta:0"]
        root["bn1/bn1"].create_dataset("beta:0", (2**30,), "f4", chunks=(1024,), compression="gzip")

    for change, said in ((external, "not a plain array"), (huge, "claims more than")):
        with pytest.raises(RadiosslError, match=said):
            import_backbone(write_keras(tmp_path / "w.h5", reference, change=change))
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["model_weights"] = h5py.ExternalLink(str(tmp_path / "w.h5"), "/")
    with pytest.raises(RadiosslError, match="points elsewhere"):
        import_backbone(tmp_path / "linked.h5")


def test_damaged_hdf5_is_refused(tmp_path, reference):
    path = write_keras(tmp_path / "w.h5", reference)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RadiosslError, match=r"w.h5: damaged HDF5"):
        import_backbone(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones(3)
    with pytest.raises(RadiosslError, match="not a weights file of Keras 2"):
        import_backbone(tmp_path / "other.h5")


# What is refused ------------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return (exec, ("open('pwned', 'w')",))


def test_hostile_pickles_are_refused(tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": torchvision(reference), "hyper_parameters": Evil()}, "modern.ckpt")
    torch.save({"conv1.weight": Evil()}, "old.pth", _use_new_zipfile_serialization=False)
    Path("plain.pth").write_bytes(pickle.dumps(Evil()))
    torch.save(reference, "module.pth")
    Path("noise.pth").write_bytes(b"\x80\x02garbage")
    Path("empty.pth").write_bytes(b"")
    for name in ("modern.ckpt", "old.pth", "plain.pth", "module.pth", "noise.pth", "empty.pth"):
        with pytest.raises(RadiosslError, match=f"{name}: not a plain file of weights") as caught:
            import_backbone(name)
        assert "\n" not in str(caught.value)
    assert not Path("pwned").exists()
    with pytest.raises(RadiosslError, match=r"it asks for .*exec\)"):
        import_backbone("modern.ckpt")


def test_a_path_in_a_checkpoint_is_no_reason_to_trust_others(tmp_path, reference):
    file = tmp_path / "w.ckpt"
    torch.save({"state_dict": torchvision(reference), "files": PosixPath("/etc")}, file)
    assert import_backbone(file).left_out["files"] == "beside the weights"
    # The list of what may be built is as it was.
    assert PosixPath not in torch.serialization.get_safe_globals()


def without(state, *names):
    return {name: tensor for name, tensor in state.items() if name not in names}


def itself():
    """A dictionary that holds itself, as a damaged or malicious file can."""
    content = {"epoch": 3}
    content["model"] = content
    return content


CASES = {
    "missing": (lambda n: without(torchvision(n), "layer3.0.bn2.weight"), "layer3.0.bn2.weight is missing"),
    "further": (lambda n: torchvision(n) | {"layer3.0.se.weight": torch.ones(2)}, "layer3.0.se.weight is not part"),
    "shape": (lambda n: torchvision(n) | {"bn1.bias": torch.ones(3)}, r"bn1.bias has shape \(3,\), expected \(64,\)"),
    "unknown part": (lambda n: solo(n) | {"mlp.0.weight": torch.ones(2)}, r"mlp.0.weight is no part.*--ignore mlp"),
    "inner": (lambda n: solo(n) | {"backbone.extra.weight": torch.ones(2)}, "extra.weight is not part of it"),
    "stem": (lambda n: solo(n) | {"backbone.conv1.weight": torch.ones(64, 3, 3, 3)}, "3x3, expected 7x7; what solo-"),
    "blocks": (lambda n: {k: t for k, t in torchvision(n).items() if "layer4.1" not in k}, r"\(2, 2, 2, 1\) blocks"),
    "no network": (lambda n: {"a.weight": torch.ones(2), "b": torch.ones(1)}, "no known encoder in it.*a.weight"),
    "no tensors": (lambda n: {"epoch": 3}, "not a dictionary of tensors"),
    "a list": (lambda n: [1, 2], "not a dictionary of tensors"),
    "several": (lambda n: {"student": solo(n), "teacher": solo(n)}, r"\(student, teacher\); choose one with --entry"),
    "average": (
        lambda n: {"state_dict": solo(n), "state_dict_ema": solo(n), "epoch": 3},
        r"several sets of weights \(state_dict, state_dict_ema\); choose one with --entry",
    ),
    "inner average": (
        lambda n: {"model_state_dict": solo(n), "ema": {"decay": 0.99, "module": solo(n)}},
        r"\(model_state_dict, ema\.module\); choose one with --entry",
    ),
    "itself": (lambda n: itself(), "too deeply nested"),
    "layout": (lambda n: {"state_dict": children(n, "trunk.")}, "no known encoder"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_tensor_must_be_accounted_for(tmp_path, reference, case):
    make, said = CASES[case]
    torch.save(make(reference), tmp_path / "w.pth")
    with pytest.raises(RadiosslError, match=said) as caught:
        import_backbone(tmp_path / "w.pth")
    assert str(caught.value).startswith(f"{tmp_path / 'w.pth'}: ")
    assert "\n" not in str(caught.value)


def test_the_user_can_leave_out_and_choose(tmp_path, reference, images, expected):
    other = {name: torch.zeros_like(tensor) for name, tensor in solo(reference).items()}
    state = solo(reference) | {"mlp.0.weight": torch.ones(2)}
    torch.save({"student": other, "teacher": state}, tmp_path / "w.pth")
    imported = import_backbone(tmp_path / "w.pth", entry="teacher", ignore="mlp")
    assert imported.left_out["mlp*"] == "1 tensors, left out by --ignore"
    assert imported.left_out["student"] == "beside the weights"
    with torch.inference_mode():
        torch.testing.assert_close(imported.backbone(images), expected, rtol=0, atol=1e-4)
    momenta = {"state": {0: {"exp_avg": torch.ones(64, 3, 7, 7), "exp_avg_sq": torch.ones(64, 3, 7, 7)}}}
    one = {"state_dict": solo(reference), "optimizer": momenta, "loss": {"w": torch.ones(2)}}
    torch.save(one, tmp_path / "one.pth")
    assert set(import_backbone(tmp_path / "one.pth").left_out) >= {"optimizer", "loss"}  # one network: no question
    torch.save({"state_dict": other, "ema": {"module": solo(reference)}}, tmp_path / "ema.pth")
    average = import_backbone(tmp_path / "ema.pth", entry="ema.module").backbone
    with torch.inference_mode():
        torch.testing.assert_close(average(images), expected, rtol=0, atol=1e-4)
    with pytest.raises(RadiosslError, match="no weights 'ema' in it; there are student, teacher"):
        import_backbone(tmp_path / "w.pth", entry="ema")


def test_a_wrong_format_is_refused(tmp_path, reference):
    torch.save(torchvision(reference), tmp_path / "w.pth")
    keras = write_keras(tmp_path / "w.h5", reference)
    for path, format, said in [
        (tmp_path / "w.pth", "solo-learn", "no encoder of the format solo-learn"),
        (tmp_path / "w.pth", "sclassifier", "not HDF5"),
        (keras, "torchvision", "a Keras HDF5 file"),
        (keras, "tensorflow", f"expected auto, {', '.join(LAYOUTS)}"),
        (tmp_path / "none.pth", "auto", "no such file"),
    ]:
        with pytest.raises(RadiosslError, match=said):
            import_backbone(path, format)


def test_an_own_backbone_needs_no_import(tmp_path, tiny_backbone):
    save_backbone(tmp_path / "b", tiny_backbone.network, tiny_backbone.config)
    with pytest.raises(RadiosslError, match="is already a backbone of radiossl"):
        import_backbone(tmp_path / "b")


# Preprocessing --------------------------------------------------------------------------------------------------------


def args_json(**view):
    return {"augmentations": [{"crop_size": 96, **view}]}


@pytest.mark.parametrize(
    ("view", "mean", "std"),
    [
        ({"meanstd": {"enabled": False}}, 0.0, 1.0),
        ({"meanstd": {"enabled": True, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.5]}}, 0.2, 0.5),
        ({}, 0.449, 0.226),
    ],
)
def test_solo_learn_takes_its_normalisation_from_args_json(tmp_path, reference, view, mean, std):
    torch.save({"state_dict": solo(reference)}, tmp_path / "w.ckpt")
    assert import_backbone(tmp_path / "w.ckpt").backbone.config.preprocessing == PRESETS["solo-learn"]
    (tmp_path / "args.json").write_text(json.dumps(args_json(**view)))
    seen = import_backbone(tmp_path / "w.ckpt").backbone.config.preprocessing
    assert (seen.size, seen.mean, seen.std) == (96, pytest.approx(mean), pytest.approx(std))
    # What the user says counts more than what the file says.
    chosen = import_backbone(tmp_path / "w.ckpt", preprocessing="riggi2024", changes={"size": 128, "views": 8})
    assert chosen.backbone.config.preprocessing == Preprocessing(size=128, views=8)
    (tmp_path / "args.json").write_text("{}")
    with pytest.raises(RadiosslError, match=r"not in the form of solo-learn .*give --preprocessing"):
        import_backbone(tmp_path / "w.ckpt")


def test_channels_of_weights_and_preprocessing_must_agree(tmp_path, reference, images):
    colour, grey = tmp_path / "colour.pth", tmp_path / "grey.ckpt"
    torch.save(torchvision(reference), colour)
    torch.save(byol(small()), grey)
    summed = import_backbone(colour, preprocessing="imagenet-grey").backbone
    with torch.inference_mode():
        one = images[:, :1]
        three = import_backbone(colour).backbone(one.expand(-1, 3, -1, -1))
        torch.testing.assert_close(summed(one), three, rtol=1e-4, atol=1e-4)
    with pytest.raises(RadiosslError, match=r"sees one channel.*sigma-zscale makes 3; --set mode=min-max"):
        import_backbone(grey, preprocessing="riggi2024")
    assert import_backbone(grey, preprocessing="riggi2024", changes={"mode": "min-max"}).backbone.feature_dim == 512
    single = {
        name: t.sum(1, keepdim=True) if name == "conv1.weight" else t for name, t in torchvision(reference).items()
    }
    torch.save(single, colour)
    assert import_backbone(colour).backbone.config.preprocessing == PRESETS["imagenet-grey"]


def test_wrong_preprocessing_is_refused(tmp_path, reference):
    torch.save(torchvision(reference), tmp_path / "w.pth")
    with pytest.raises(RadiosslError, match="--preprocessing vlass: no such preset; there are imagenet, "):
        import_backbone(tmp_path / "w.pth", preprocessing="vlass")
    with pytest.raises(RadiosslError, match="preprocessing sise: "):
        import_backbone(tmp_path / "w.pth", changes={"sise": 64})


def test_the_folder_says_where_the_weights_come_from(tmp_path, reference):
    import hashlib

    torch.save(OrderedDict(torchvision(reference)), tmp_path / "w.pth")
    imported = import_backbone(tmp_path / "w.pth")
    save_backbone(tmp_path / "b", imported.backbone.network, imported.backbone.config)
    assert load_backbone(tmp_path / "b").config.imported == {
        "file": "w.pth",
        "format": "torchvision",
        "sha256": hashlib.sha256((tmp_path / "w.pth").read_bytes()).hexdigest(),
        "left_out": {"fc.*": "2 tensors, classifier"},
    }
    card = (tmp_path / "b" / "README.md").read_text()
    assert "out of `w.pth` (format torchvision)." in card
    assert "the weights are random" not in card


# Command line ---------------------------------------------------------------------------------------------------------


def test_the_command_lists_what_it_did(tmp_path, reference):
    from typer.testing import CliRunner

    from radiossl.cli.weights import app

    torch.save({"state_dict": solo(reference), "epoch": 3}, tmp_path / "w.ckpt")
    arguments = ["import", str(tmp_path / "w.ckpt"), "--out", str(tmp_path / "b"), "--set", "size=96"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    for line in ("format         solo-learn", "used           120 tensors", "momentum_*: 120 tensors, momentum twin",
                 "left out       epoch: beside the weights", "size 96", "512 features"):  # fmt: skip
        assert line in done.output
    assert load_backbone(tmp_path / "b").config.preprocessing.size == 96
    assert "imported" in CliRunner().invoke(app, ["info", str(tmp_path / "b")]).output
    for wrong in ("size", "size=[1"):
        failed = CliRunner().invoke(app, [*arguments[:-1], wrong])
        assert isinstance(failed.exception, RadiosslError)
        assert str(failed.exception).startswith(f"--set {wrong}: ")


# Checkpoints that the other codes wrote themselves --------------------------------------------------------------------


@pytest.fixture(scope="module")
def peer(real_data, tmp_path_factory):
    """`peer(folder, name)` unpacks a checkpoint with what lies beside it; returns its path, the input, the features."""
    root = real_data / "peer_checkpoints"
    if not root.is_dir():
        pytest.skip(f"{root}: no checkpoints of other codes")

    def unpack(folder, name):
        target = tmp_path_factory.mktemp(folder) / name
        with gzip.open(root / folder / f"{name}.gz") as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file)
        if (root / folder / "args.json").is_file():
            shutil.copy(root / folder / "args.json", target.parent)
        return target, np.load(root / folder / "input.npy"), torch.from_numpy(np.load(root / folder / "features.npy"))

    return unpack


PEERS = [
    ("byol-rgz", "checkpoint.ckpt", "byol-rgz", PRESETS["slijepcevic2024"]),
    ("solo-learn-byol", "checkpoint.ckpt", "solo-learn", PRESETS["solo-learn"]),
    ("sclassifier-simclr", "encoder.h5", "sclassifier", Preprocessing(size=64)),
    ("sclassifier-simclr", "encoder_weights.h5", "sclassifier", PRESETS["riggi2024"]),
    ("lightly-simclr", "checkpoint.pth", "lightly", PRESETS["imagenet"]),
    ("lightly-simclr-tutorial", "checkpoint.pth", "lightly", PRESETS["imagenet"]),
    ("torchvision-resnet18", "checkpoint.pth", "torchvision", PRESETS["imagenet"]),
]


@pytest.mark.parametrize(("folder", "name", "format", "preprocessing"), PEERS)
def test_features_of_the_other_codes_own_checkpoints(tmp_path, peer, folder, name, format, preprocessing):
    path, images, features = peer(folder, name)
    imported = import_backbone(path)
    assert (imported.format, imported.backbone.config.preprocessing) == (format, preprocessing)
    save_backbone(tmp_path / "b", imported.backbone.network, imported.backbone.config)
    images = images.transpose(0, 3, 1, 2) if format == "sclassifier" else images  # Keras has the channels last
    with torch.inference_mode():
        ours = load_backbone(tmp_path / "b")(torch.from_numpy(np.ascontiguousarray(images)))
    torch.testing.assert_close(ours, features, rtol=0, atol=1e-4)


def test_raw_images_of_the_byol_through_the_whole_preprocessing(peer):
    path, images, features = peer("byol-rgz", "checkpoint.ckpt")
    backbone = import_backbone(path).backbone
    seen = backbone.config.preprocessing
    raw = np.rint((images[:, 0] * seen.std + seen.mean) * 255)  # the 8-bit images that their transform was given
    full = (raw.min(axis=(1, 2)) == 0) & (raw.max(axis=(1, 2)) == 255)
    assert full.any()  # where an image does not span all 8 bits, its own minimum and maximum differ from theirs
    torch.testing.assert_close(backbone.features(raw[full]), features[full], rtol=0, atol=1e-4)
