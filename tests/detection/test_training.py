"""A detector learns, and a killed training comes to the same weights."""

import inspect
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.io import fits

from radiossl.cli.detect import train as command
from radiossl.detection import training
from radiossl.detection.examples import AnnotatedSet, load_examples, open_annotated, training_batch
from radiossl.detection.images import FieldPreprocessing
from radiossl.detection.network import DetectionTraining, Detector, DetectorConfig, DetectorDesign, load_detector
from radiossl.detection.training import COLUMNS, train_detector
from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError
from radiossl.io.settings import apply_settings
from radiossl.weights.architecture import Architecture

from .conftest import blobs, write_set

QUICK = DetectionTraining(
    image_size=64, epochs=2, batch_size=4, design=DetectorDesign(rois=16, pyramid=32, box_units=32)
)


def train(source, backbone, out, **options):
    """`train_detector`, quickly."""
    return train_detector(source, backbone, out, **{"settings": QUICK, "device": "cpu"} | options)


@pytest.fixture(scope="module")
def whole(blob_source, tiny_backbone, tmp_path_factory):
    """A run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(blob_source, tiny_backbone, out, valid=blob_source)
    return out


def test_at_the_end_all_validation_images_are_looked_at(blob_source, detector):
    config = detector.config.model_copy(update={"classes": tuple(blob_source.annotations.classes)})
    everything = training._Monitor(blob_source, config, range(10**6))
    first = training._Monitor(blob_source, config, range(3))
    assert 3 == len(first.annotations.images) < len(everything.annotations.images)
    found, expected = first.find_all(detector), everything.find(detector)
    assert [[item.box for item in one] for one in found] == [[item.box for item in one] for one in expected]
    assert any(found[3:])


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(blob_source, tiny_backbone, whole, tmp_path, monkeypatch):
    settings = QUICK.model_copy(update={"checkpoint_minutes": 1e-9})  # after every step
    step = training._Trainer._train_step

    def killed_in_the_third(self, rows):
        if self.step == 2:
            raise MemoryError("killed")
        return step(self, rows)

    monkeypatch.setattr(training._Trainer, "_train_step", killed_in_the_third)
    out = tmp_path / "run"
    with pytest.raises(MemoryError):
        train(blob_source, tiny_backbone, out, settings=settings, valid=blob_source)
    assert not (out / "detector").exists()
    monkeypatch.undo()
    with pytest.raises(RadiosslError, match="--resume"):
        train(blob_source, tiny_backbone, out, settings=settings)
    train(blob_source, tiny_backbone, out, mode="finetune", settings=settings, valid=blob_source, resume=True)
    resumed, straight = load_detector(out).state_dict(), load_detector(whole).state_dict()
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)
    rows = [pd.read_csv(run / "metrics.csv").drop(columns="images_per_s") for run in (out, whole)]
    pd.testing.assert_frame_equal(rows[0][rows[0]["step"].isin(rows[1]["step"])].reset_index(drop=True), rows[1])


def test_another_setting_does_not_resume(blob_source, tiny_backbone, whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    other = QUICK.model_copy(update={"lr": 0.5})
    with pytest.raises(RadiosslError, match=r"another settings.lr \(0.0007, now 0.5\)"):
        train(blob_source, tiny_backbone, run, settings=other, resume=True)
    with pytest.raises(RadiosslError, match="another mode"):
        train(blob_source, tiny_backbone, run, mode="frozen", resume=True)
    with pytest.raises(RadiosslError, match="no run to resume"):
        train(blob_source, tiny_backbone, tmp_path / "new", mode="frozen", resume=True)


def test_other_images_or_another_network_do_not_resume(blob_set, blob_source, tiny_backbone, whole, tmp_path):
    """A run is all that its result depends on: pixels under the same names, and what scratch takes from a backbone."""
    run = shutil.copytree(whole, tmp_path / "run")
    folder = shutil.copytree(blob_set.parent, tmp_path / "images")
    with fits.open(folder / "i2.fits", mode="update") as image:
        image[0].data[0, 0] += 1e-5
    with pytest.raises(RadiosslError, match="was started with another pixels"):
        train(folder / blob_set.name, tiny_backbone, run, resume=True)
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(settings | {"mode": "scratch", "weights_sha256": ""}))
    other = tiny_backbone.adapted(mode="min-max")
    with pytest.raises(RadiosslError, match=r"was started with another preprocessing.mode"):
        train(blob_source, other, run, mode="scratch", resume=True)


def test_what_is_too_small_to_learn_from_is_said(tiny_backbone, tmp_path):
    image, masks, classes = blobs(0, objects=1)
    point = np.zeros_like(masks)
    point[0, 20, 20] = True
    path = write_set(tmp_path / "points", [(image, point, classes)])
    with pytest.raises(RadiosslError, match="1 of 1 objects are smaller than 2 pixels at --image-size 64, too small"):
        train(path, tiny_backbone, tmp_path / "run")
    path = write_set(tmp_path / "both", [(image, np.concatenate([point, masks]), classes * 2)])
    once = QUICK.model_copy(update={"epochs": 1})
    with pytest.warns(UserWarning, match="1 of 2 objects are smaller than 2 pixels"):
        train(path, tiny_backbone, tmp_path / "two", mode="frozen", settings=once)


def test_a_training_that_diverged_gives_no_detector(blob_source, tiny_backbone, tmp_path):
    wild = QUICK.model_copy(update={"lr": 1e6, "warmup": 0.0, "clip_norm": 1e9})
    with pytest.raises(RadiosslError, match=r"the loss is|the training diverged"):
        train(blob_source, tiny_backbone, tmp_path / "run", mode="frozen", settings=wild)
    assert not (tmp_path / "run" / "detector").exists()


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224"])
def test_a_network_without_the_stages_of_a_pyramid_is_refused(name):
    config = DetectorConfig(
        backbone=Architecture(name=name),
        preprocessing=Preprocessing(size=224),
        classes=("a",),
        mode="scratch",
        field_px=64,
    )
    with pytest.raises(RadiosslError, match="cannot carry a detector; expected 4, 8, 16 and 32"):
        Detector(config)


def test_a_network_for_images_of_one_size_says_so():
    seen = Preprocessing(size=64)
    network = Architecture(name="swin_tiny_patch4_window7_224").build(seen.channels, 224)
    config = DetectorConfig(
        backbone=Architecture(name="swin_tiny_patch4_window7_224"), preprocessing=seen, classes=("a",), mode="finetune",
        field_px=64,
    )  # fmt: skip
    with pytest.raises(RadiosslError, match="--image-size 64: the backbone cannot take such images"):
        Detector(config, network)


def test_options_of_the_command_have_the_defaults_of_the_settings():
    defaults = {name: option.default for name, option in inspect.signature(command).parameters.items()}
    shared = defaults.keys() & DetectionTraining.model_fields.keys()
    assert shared == {"epochs", "batch_size", "image_size", "fraction", "balanced", "seed"}
    assert all(defaults[name] == DetectionTraining.model_fields[name].default for name in shared)


def test_each_mode_moves_what_it_may(blob_source, tiny_backbone, whole, tmp_path):
    before = tiny_backbone.network.state_dict()
    once = QUICK.model_copy(update={"epochs": 1})
    frozen = train(blob_source, tiny_backbone, tmp_path / "frozen", mode="frozen", settings=once)
    assert all(torch.equal(before[name], tensor) for name, tensor in frozen.backbone.state_dict().items())
    tuned = load_detector(whole).backbone.state_dict()
    moved = {name for name in before if not torch.equal(before[name], tuned[name])}
    assert {name.split(".")[0] for name in moved} == {name.split(".")[0] for name in before}
    assert any("running" in name for name in moved)
    settings = once.model_copy(update={"seed": 5})  # other random weights than the fixture's
    scratch = train(blob_source, tiny_backbone, tmp_path / "scratch", mode="scratch", settings=settings)
    other = scratch.backbone.state_dict()
    start = before["conv1.weight"]
    assert (tuned["conv1.weight"] - start).norm() < 0.5 * (other["conv1.weight"] - start).norm()
    assert not torch.equal(other["bn1.running_mean"], torch.zeros(64))


def test_metrics_and_the_saved_detector(blob_source, whole):
    metrics = pd.read_csv(whole / "metrics.csv")
    assert tuple(metrics.columns) == COLUMNS
    assert metrics["step"].tolist() == [2, 4]
    assert metrics["ap50"].notna().tolist() == [False, True]
    detector = load_detector(whole)
    assert detector.config.classes == ("single", "double")
    assert detector.config.field_px == 64
    assert detector.config.training["objects"] == blob_source.annotations.counts()
    again = load_detector(whole / "detector")
    assert again.config == detector.config


@pytest.mark.parametrize("damage", ["missing", "cut", "other", "config"])
def test_a_damaged_detector_is_refused(whole, tmp_path, damage):
    folder = shutil.copytree(whole / "detector", tmp_path / "detector")
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "missing":
        config.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif damage == "other":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(bytes(data))
    else:
        config.write_text(config.read_text().replace('"classes"', '"sorts"'))
    with pytest.raises(RadiosslError, match=r"no such detector|damaged|not the weights"):
        load_detector(folder)


@pytest.mark.slow
def test_a_detector_learns_to_find_blobs(tiny_backbone, tmp_path):
    source, test = (
        open_annotated(write_set(tmp_path / name, [blobs(seed) for seed in seeds]))
        for name, seeds in (("train", range(24)), ("test", range(100, 108)))
    )
    settings = QUICK.model_copy(update={"epochs": 14, "lr": 2e-3, "monitor_epochs": 14})
    train(source, tiny_backbone, tmp_path / "run", mode="scratch", settings=settings, valid=test)
    last = pd.read_csv(tmp_path / "run" / "metrics.csv").iloc[-1]
    assert last["ap50_one_class"] > 0.5


@pytest.mark.parametrize("rotate", [False, True])
def test_outlines_turn_with_the_pixels(blob_source, rotate):
    field = FieldPreprocessing(Preprocessing(mode="floor-stretch", size=64))
    examples = load_examples(blob_source, field, ("single", "double"))
    original = [int(examples.target(row)[1].sum()) for row in range(8)]
    seen = set()
    for seed in range(5):
        images, targets = training_batch(examples, list(range(8)), field, rotate, torch.Generator().manual_seed(seed))
        assert images.shape == (8, 3, 64, 64)
        for row, target in enumerate(targets):
            inside = target["masks"].any(dim=0)
            if len(target["masks"]) == 2:
                bright = images[row, 0] > 0.3
                assert (bright & inside).sum() > 0.9 * bright.sum()  # nothing else is bright
                assert abs(int(target["masks"].sum()) - original[row]) < 0.15 * original[row]
            for mask, (x0, y0, x1, y1) in zip(target["masks"], target["boxes"].int().tolist(), strict=True):
                assert mask.sum() == mask[y0:y1, x0:x1].sum()
                assert mask[y0].any()
                assert mask[:, x1 - 1].any()
            seen.add(tuple(target["boxes"].flatten().tolist()))
    assert len(seen) > 20
    again, _ = training_batch(examples, list(range(8)), field, rotate, torch.Generator().manual_seed(4))
    assert torch.equal(again, images)


def test_settings_name_the_bad_key():
    with pytest.raises(RadiosslError, match=r"unknown key 'design.roi'; did you mean 'design.rois'"):
        apply_settings(DetectionTraining, changes=["design.roi=3"])
    with pytest.raises(RadiosslError, match="--set image_size=100: image_size: should be a multiple of 32"):
        apply_settings(DetectionTraining, changes=["image_size=100"])


def test_images_that_are_not_the_annotated_ones_are_named(blob_source, tmp_path):
    other = write_set(tmp_path, [blobs(seed, side=48) for seed in range(8)]).parent
    field = FieldPreprocessing(Preprocessing(mode="floor-stretch", size=64))
    with pytest.raises(RadiosslError, match=r"i0.fits: 48 x 48 pixels, but 64 x 64 in"):
        load_examples(AnnotatedSet(blob_source.annotations, other), field, ("single",))
    with pytest.raises(RadiosslError, match="no such file"):
        load_examples(AnnotatedSet(blob_source.annotations, tmp_path / "nowhere"), field, ("single",))
