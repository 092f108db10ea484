import json

import pytest
import torch

from radiossl.cli.main import main
from radiossl.io.errors import RadiosslError
from radiossl.weights.backbone import load_backbone, save_backbone
from radiossl.weights.release import evaluation_scores, release, run_compute


@pytest.fixture
def run(tmp_path, tiny_backbone):
    folder = tmp_path / "run"
    save_backbone(folder / "backbone", tiny_backbone.network, tiny_backbone.config)
    (folder / "metrics.csv").write_text("step,epoch,images_per_s\n10,1,50\n30,2,100\n")
    return folder


@pytest.fixture
def evaluation(tmp_path):
    metrics = {
        "protocol": "knn", "objects": 729, "classes": 2, "folds": 5, "seeds": 5, "label_fractions": [1.0, 0.1],
        "majority_class_settings": "", "majority_class_accuracy": 0.523, "majority_class_accuracy_std": 0.003,
        "majority_class_accuracy@0.1": 0.52, "backbone_settings": "knn 20", "backbone_accuracy": 0.92,
        "backbone_accuracy_std": 0.022, "backbone_accuracy@0.1": 0.85, "backbone_accuracy_std@0.1": None,
    }  # fmt: skip
    (tmp_path / "ev").mkdir()
    (tmp_path / "ev" / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path / "ev"


def test_half_the_size_and_nearly_the_same_features(tmp_path, run, tiny_backbone, sky):
    images = [sky(seed, (40, 40)) for seed in range(4)]
    written = release(run / "backbone", tmp_path / "half", half=True)
    expected, found = tiny_backbone.features(images), written.features(images)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "half", run / "backbone")]
    assert sizes[0] < 0.55 * sizes[1]


def test_the_card_has_scores_beside_their_baselines(tmp_path, run, evaluation):
    release(
        run / "backbone", tmp_path / "out", evaluations={"FRI against FRII": evaluation}, limits="Noise.",
        terms="Private use.", citation="Us et al.", compute={"steps": 30, "hours": 1.5},
    )  # fmt: skip
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| | 100 % of the labels | 10 % of the labels |" in card
    assert "| backbone | 0.920 ± 0.022 | 0.850 |" in card
    assert "| majority class | 0.523 ± 0.003 | 0.520 |" in card
    for words in ("729 objects in 2 classes, 5 folds, 5 seeds", "30 steps", "1.5 hours", "Noise.", "Private use."):
        assert words in card
    again = release(tmp_path / "out", tmp_path / "again")  # nothing is lost on the way
    assert (tmp_path / "again" / "README.md").read_text() == card.replace("# out", "# again").replace(
        'load_backbone("out")', 'load_backbone("again")'
    )
    assert again.config.scores == load_backbone(tmp_path / "out").config.scores


def test_the_cost_of_a_run(run, tmp_path):
    compute = run_compute(run / "backbone")
    batch = load_backbone(run / "backbone").config.recipe.get("batch_size")
    assert compute["steps"] == 30
    if batch:
        assert compute["hours"] == round((10 * batch / 50 + 20 * batch / 100) / 3600, 2)
    else:
        assert "hours" not in compute
    assert run_compute(tmp_path / "elsewhere") == {}


def test_the_command(tmp_path, run, evaluation, capsys):
    limits = tmp_path / "limits.md"
    limits.write_text("It follows the box.")
    arguments = ["weights", "release", str(run / "backbone"), "--out", str(tmp_path / "r"), "--half"]
    main_status = _status([*arguments, "--evaluation", f"MiraBest={evaluation}", "--limits", str(limits)])
    assert main_status == 0
    assert "1 score on its card" in capsys.readouterr().out
    assert "It follows the box." in (tmp_path / "r" / "README.md").read_text()
    assert _status([*arguments, "--evaluation", "no equals sign"]) == 1
    assert "expected TITLE=FOLDER" in capsys.readouterr().err


def test_what_is_no_evaluation_is_refused(tmp_path):
    (tmp_path / "metrics.json").write_text('{"queries": []}')
    with pytest.raises(RadiosslError, match="protocol"):
        evaluation_scores(tmp_path)


def _status(arguments):
    try:
        main(arguments)
    except SystemExit as stop:
        return stop.code or 0
    return 0
