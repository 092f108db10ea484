"""Protocols on features: columns beside them, prediction sets, out-of-distribution scores."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from radiossl import RadiosslError, load_backbone
from radiossl.evaluation.confidence import fit_novelty, fit_thresholds
from radiossl.evaluation.labels import Labels
from radiossl.evaluation.protocols import ProtocolSettings, evaluate
from radiossl.evaluation.report import write_evaluation
from radiossl.evaluation.trials import labelled_set
from tests.evaluation.stores import with_column

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


@pytest.fixture(scope="module")
def sized(small_store):
    """Cutouts of which a column tells the class, over three decades."""
    rng = np.random.default_rng(0)
    large = small_store.column("kind") == "double"
    return with_column(small_store, "size", 10 ** (rng.uniform(0, 1, 24) + 2 * large))


@pytest.mark.parametrize("protocol", ["knn", "linear", "layer"])
def test_columns_are_learnt_from_beside_the_features(sized, tiny_backbone, protocol):
    trials = labelled_set(sized, "kind", folds=4, seeds=1)
    settings = ProtocolSettings(k=3, columns=("size",), epochs=60)
    plain = evaluate(tiny_backbone, trials, protocol, ProtocolSettings(k=3, baselines=False, epochs=60))
    helped = evaluate(tiny_backbone, trials, protocol, settings)
    by_name = {result.name: result.accuracies().mean() for result in helped.results}
    assert by_name["columns alone"] == 1
    assert by_name["backbone"] > max(0.85, plain.results[-1].accuracies().mean())
    assert by_name["random weights"] > 0.8
    assert by_name["raw pixels"] > 0.7
    assert " with size " in helped.settings["backbone"]
    assert " with size " not in plain.settings["backbone"]


def test_networks_that_see_images_alone_take_no_columns(sized, tiny_backbone):
    trials = labelled_set(sized, "kind", folds=2, seeds=1)
    with pytest.raises(RadiosslError, match="columns size: finetune learns from images alone"):
        evaluate(tiny_backbone, trials, "finetune", ProtocolSettings(columns=("size",)))
    with pytest.raises(RadiosslError, match="no column 'colour'"):
        evaluate(tiny_backbone, trials, "knn", ProtocolSettings(columns=("colour",)))


def test_sets_of_a_fold_come_from_the_others(small_store, tiny_backbone, tmp_path):
    trials = labelled_set(small_store, "kind", folds=2, seeds=2)
    evaluation = evaluate(tiny_backbone, trials, "linear", ProtocolSettings(baselines=False))
    result = evaluation.results[-1]
    first, second = trials.trials[:2]
    thresholds = fit_thresholds(result.probabilities[1], trials.truth[second.split.test], 0.6)
    expected = 1 - result.probabilities[0] <= thresholds
    np.testing.assert_array_equal(result.sets(0.6)[first.split.test], expected)
    write_evaluation(evaluation, tmp_path / "out", "Title")
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert set(predictions["prediction_set"]) <= {"double", "single", "double|single", "none"}
    np.testing.assert_allclose(predictions["outlier_score"], evaluation.novelty)
    held = [
        label in sets.split("|")
        for label, sets in zip(predictions["label"], predictions["prediction_set"], strict=True)
    ]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["backbone_set_coverage[all]"] == pytest.approx(np.mean(held))
    assert (tmp_path / "out" / "unusual.png").is_file()


def test_for_a_test_set_they_come_from_inner_folds_of_what_is_learnt_from(small_store, tiny_backbone):
    halves = small_store.select(np.arange(16)), small_store.select(np.arange(16, 24))
    trials = labelled_set(halves[0], "kind", test=halves[1], seeds=1)
    evaluation = evaluate(tiny_backbone, trials, "linear", ProtocolSettings(baselines=False))
    result = evaluation.results[-1]
    truth, probabilities = result.held_out[0]
    assert sorted(truth) == sorted(trials.truth[:16])
    expected = 1 - result.probabilities[0] <= fit_thresholds(probabilities, truth, 0.7)
    np.testing.assert_array_equal(result.sets(0.7), expected)
    assert evaluation.novelty.shape == (8,)


def test_images_of_another_kind_are_unusual(store_of, sky, tiny_backbone):
    """Stripes, as sidelobes make them, among images of sources."""
    stripes = np.sin(np.arange(40) / 1.5 + np.zeros((40, 1)))
    usual = [sky(seed, (40, 40), sources=1) for seed in range(160)]
    strange = [(sky(seed, (40, 40)) + 0.01 * stripes).astype(np.float32) for seed in range(200, 220)]
    names = np.array(["a", "b"] * 90)
    store = store_of([*usual, *strange])
    learnt, tested = store.select(np.arange(120)), store.select(np.arange(120, 180))
    trials = labelled_set(
        learnt, Labels(np.arange(120), names[:120]), test=(tested, Labels(np.arange(60), names[120:])), seeds=1
    )
    scores = evaluate(tiny_backbone, trials, "knn", ProtocolSettings(k=3, baselines=False)).novelty
    assert roc_auc_score(np.repeat([0, 1], [40, 20]), scores) > 0.95
    assert (scores[:40] > 1).mean() < 0.1


@pytest.mark.slow
def test_another_survey_is_flagged_and_more_of_the_same_is_not(real_data):
    """MeerKAT sources beside VLA FIRST, and other FIRST sources, by the released backbone."""
    backbone = load_backbone(CHECKPOINTS / "simclr-first").adapted(field_px=64, views=1)

    def features(pattern, number):
        files = sorted(real_data.glob(pattern))
        return np.concatenate([backbone.features(file).numpy() for file in files[:: len(files) // number][:number]])

    first, other = features("first/tiles/*", 150), features("first/extra/*", 40)
    novelty = fit_novelty(first[:110])
    usual = novelty.scores(first[110:])
    for scores, flagged in ((novelty.scores(features("mgcls/images/*.png", 40)), True), (novelty.scores(other), False)):
        area = roc_auc_score(np.repeat([0, 1], [len(usual), len(scores)]), np.concatenate([usual, scores]))
        assert area > 0.95 if flagged else area < 0.75
