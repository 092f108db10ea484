"""A detector learns, and a killed training comes to the same weights."""

import dataclasses
import shutil

import pandas as pd
import pytest
import torch

from radiossl.detection import training
from radiossl.detection.annotations import read_annotations
from radiossl.detection.augment import training_batch
from radiossl.detection.examples import Source, load_examples
from radiossl.detection.images import FieldPreprocessing
from radiossl.detection.network import load_detector
from radiossl.detection.settings import DetectionTraining
from radiossl.detection.training import COLUMNS, train_detector
from radiossl.images.preprocess import Preprocessing
from radiossl.io.errors import RadiosslError

from .conftest import blobs, write_set

QUICK = DetectionTraining.of(
    {"image_size": 64, "epochs": 2, "batch_size": 4, "design.rois": 16, "design.pyramid": 32, "design.box_units": 32}
)


@pytest.fixture(scope="module")
def whole(blob_source, tiny_backbone, tmp_path_factory):
    """A run that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    train_detector(blob_source, tiny_backbone, "finetune", out, QUICK, valid=blob_source, device="cpu")
    return out


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
        train_detector(blob_source, tiny_backbone, "finetune", out, settings, valid=blob_source, device="cpu")
    assert not (out / "detector").exists()
    monkeypatch.undo()
    with pytest.raises(RadiosslError, match="--resume"):
        train_detector(blob_source, tiny_backbone, "finetune", out, settings, device="cpu")
    train_detector(blob_source, tiny_backbone, "finetune", out, settings, valid=blob_source, resume=True, device="cpu")
    resumed, straight = load_detector(out).state_dict(), load_detector(whole).state_dict()
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)
    rows = [pd.read_csv(run / "metrics.csv").drop(columns="images_per_s") for run in (out, whole)]
    pd.testing.assert_frame_equal(rows[0][rows[0]["step"].isin(rows[1]["step"])].reset_index(drop=True), rows[1])


def test_another_setting_does_not_resume(blob_source, tiny_backbone, whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    other = QUICK.model_copy(update={"lr": 0.5})
    with pytest.raises(RadiosslError, match=r"another settings.lr \(0.0007, now 0.5\)"):
        train_detector(blob_source, tiny_backbone, "finetune", run, other, resume=True, device="cpu")
    with pytest.raises(RadiosslError, match="another mode"):
        train_detector(blob_source, tiny_backbone, "frozen", run, QUICK, resume=True, device="cpu")
    with pytest.raises(RadiosslError, match="no run to resume"):
        train_detector(blob_source, tiny_backbone, "frozen", tmp_path / "new", QUICK, resume=True, device="cpu")


def test_each_mode_moves_what_it_may(blob_source, tiny_backbone, whole, tmp_path):
    before = tiny_backbone.network.state_dict()
    once = QUICK.model_copy(update={"epochs": 1})
    frozen = train_detector(blob_source, tiny_backbone, "frozen", tmp_path / "frozen", once, device="cpu")
    assert all(torch.equal(before[name], tensor) for name, tensor in frozen.backbone.state_dict().items())
    tuned = load_detector(whole).backbone.state_dict()
    moved = {name for name in before if not torch.equal(before[name], tuned[name])}
    assert {name.split(".")[0] for name in moved} == {"layer2", "layer3", "layer4"}
    assert not any("running" in name for name in moved)
    scratch = train_detector(blob_source, tiny_backbone, "scratch", tmp_path / "scratch", once, device="cpu")
    other = scratch.backbone.state_dict()
    assert not torch.equal(before["conv1.weight"], other["conv1.weight"])
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
    assert dataclasses.asdict(again.config) == dataclasses.asdict(detector.config)


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
        Source(read_annotations(write_set(tmp_path / name, [blobs(seed) for seed in seeds])), tmp_path / name)
        for name, seeds in (("train", range(24)), ("test", range(100, 108)))
    )
    settings = QUICK.model_copy(update={"epochs": 10, "lr": 2e-3, "monitor_epochs": 10})
    train_detector(source, tiny_backbone, "scratch", tmp_path / "run", settings, valid=test, device="cpu")
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
    with pytest.raises(RadiosslError, match=r"setting design.roi"):
        DetectionTraining.of({"design.roi": 3})
    with pytest.raises(RadiosslError, match="setting image_size"):
        DetectionTraining.of({"image_size": 100})


def test_images_that_are_not_the_annotated_ones_are_named(blob_source, tmp_path):
    other = write_set(tmp_path, [blobs(seed, side=48) for seed in range(8)]).parent
    field = FieldPreprocessing(Preprocessing(mode="floor-stretch", size=64))
    with pytest.raises(RadiosslError, match=r"i0.fits: 48 x 48 pixels, but 64 x 64 in"):
        load_examples(Source(blob_source.annotations, other), field, ("single",))
    with pytest.raises(RadiosslError, match="no such file"):
        load_examples(Source(blob_source.annotations, tmp_path / "nowhere"), field, ("single",))
