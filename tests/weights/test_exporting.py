"""Exported backbones: the same features without radiossl."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from radiossl import RadiosslError
from radiossl.images.preprocess import Preprocessing
from radiossl.io import extras
from radiossl.weights.architecture import Architecture
from radiossl.weights.backbone import Backbone, save_backbone
from radiossl.weights.exporting import METADATA, export_backbone
from tests.weights.test_raw_program import IMAGES

pytestmark = pytest.mark.slow

BACKBONES = {
    "three channels, eight views": (Architecture(name="test_resnet"), Preprocessing(size=32, views=8)),
    "one channel, small stem": (Architecture(stem="small"), Preprocessing(size=32, mode="min-max")),
    "output layer": (Architecture(name="test_resnet", output_dim=10), Preprocessing(size=32)),
}


def torchscript(path):
    extra = {METADATA: ""}
    return torch.jit.load(path, _extra_files=extra), extra[METADATA]


def program(path):
    extra = {METADATA: ""}
    return torch.export.load(path, extra_files=extra).module(), extra[METADATA]


def onnx(path):
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    metadata = session.get_modelmeta().custom_metadata_map[METADATA]
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), metadata


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize(
    ("format", "suffix", "load"),
    [("torchscript", ".ts", torchscript), ("export", ".pt2", program), ("onnx", ".onnx", onnx)],
)
def test_an_export_has_the_features_for_any_number_of_images(tmp_path, format, suffix, load, name):
    if format == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxscript")
    backbone = Backbone.random(*BACKBONES[name], seed=0)
    with torch.no_grad():
        backbone.train()(torch.rand(8, backbone.config.preprocessing.channels, 32, 32))
    backbone.eval()
    path = tmp_path / f"features{suffix}"
    export_backbone(backbone, format, path)
    run, metadata = load(str(path))
    for count in (1, 2, 5):
        images = torch.rand(count, backbone.config.preprocessing.channels, 32, 32)
        with torch.inference_mode():
            torch.testing.assert_close(run(images), backbone(images), rtol=0, atol=1e-4)
    known = json.loads(metadata)
    assert known["preprocessing"] == backbone.config.preprocessing.model_dump()
    assert known["feature_dim"] == backbone.feature_dim
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_torchscript_runs_without_radiossl(tmp_path, tiny_backbone):
    export_backbone(tiny_backbone, "torchscript", tmp_path / "b.ts")
    images = torch.rand(2, 3, 32, 32)
    torch.save(images, tmp_path / "images.pt")
    code = "import sys, torch; images = torch.load('images.pt'); torch.save(torch.jit.load('b.ts')(images), 'out.pt')\n"
    code += "sys.exit(any(name.split('.')[0] in ('radiossl', 'timm') for name in sys.modules))"
    subprocess.run([sys.executable, "-I", "-c", code], check=True, cwd=tmp_path)
    with torch.inference_mode():
        ours = tiny_backbone(images)
    torch.testing.assert_close(torch.load(tmp_path / "out.pt").detach(), ours, rtol=0, atol=1e-4)


RUN_ONNX = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession("b.onnx")
images = numpy.load("images.npz")
numpy.savez("out.npz", **{name: session.run(None, {"pixels": images[name]})[0] for name in images})
sys.exit(any(name.split(".")[0] in ("torch", "radiossl", "astropy") for name in sys.modules))
"""


@pytest.mark.parametrize("mode", ["floor-stretch", "sigma-zscale"])
def test_onnx_with_preprocessing_needs_nothing_else_for_raw_pixels(tmp_path, mode):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    views = 8 if mode == "floor-stretch" else 1
    backbone = Backbone.random(Architecture(name="test_resnet"), Preprocessing(mode=mode, size=32, views=views), seed=0)
    export_backbone(backbone, "onnx", tmp_path / "b.onnx", with_preprocessing=True)
    images = {name: image for name, image in IMAGES.items() if np.isfinite(image).any()}
    np.savez(tmp_path / "images.npz", **images)
    subprocess.run([sys.executable, "-I", "-c", RUN_ONNX], check=True, cwd=tmp_path)
    with np.load(tmp_path / "out.npz") as found:
        for name, image in images.items():
            np.testing.assert_allclose(found[name], backbone.features(image).numpy(), rtol=0, atol=1e-5, err_msg=name)


def test_the_backbone_stays_as_it_was(tmp_path, tiny_backbone):
    backbone = Backbone.random(Architecture(name="test_resnet"), Preprocessing(size=32), 0).train()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    export_backbone(backbone, "torchscript", tmp_path / "b.ts")
    assert backbone.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_what_cannot_be_written_is_refused(tmp_path, tiny_backbone):
    (tmp_path / "folder.ts").mkdir()
    for format, name, said in [
        ("tflite", "b.tflite", "--format tflite: expected one of torchscript, export, onnx"),
        ("export", "b.pth", r"b.pth: PyTorch reads exported programs from .pt2 files only"),
        ("torchscript", "folder.ts", "is a folder"),
    ]:
        with pytest.raises(RadiosslError, match=said):
            export_backbone(tiny_backbone, format, tmp_path / name)
    with pytest.raises(RadiosslError, match="--format torchscript: holds no preprocessing; use onnx or export"):
        export_backbone(tiny_backbone, "torchscript", tmp_path / "b.ts", with_preprocessing=True)
    assert [file.name for file in tmp_path.iterdir()] == ["folder.ts"]


def test_onnx_without_its_packages_says_what_to_install(tmp_path, monkeypatch, tiny_backbone):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(RadiosslError, match=r'onnx is not installed: pip install "radiossl\[formats\]"'):
        export_backbone(tiny_backbone, "onnx", tmp_path / "b.onnx")


def test_the_command_writes_the_file(tmp_path, tiny_backbone):
    from typer.testing import CliRunner

    from radiossl.cli.weights import app

    save_backbone(tmp_path / "b", tiny_backbone.network, tiny_backbone.config)
    arguments = ["export", str(tmp_path / "b"), "--format", "torchscript", "--out", str(tmp_path / "b.ts")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "(n, 3, 32, 32) to (n, 512)" in done.output
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(torch.jit.load(tmp_path / "b.ts")(images), tiny_backbone(images), rtol=0, atol=1e-4)
