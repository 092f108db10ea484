"""The result folder of an evaluation, and several side by side."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from radiossl import RadiosslError
from radiossl.evaluation.comparison import compare_evaluations
from radiossl.evaluation.labels import Labels, read_labels
from radiossl.evaluation.protocols import Evaluation
from radiossl.evaluation.report import _verdict, summary_lines, write_evaluation
from radiossl.evaluation.results import Method, evaluate_method
from radiossl.evaluation.trials import labelled_set


class Guess:
    """Is right about all objects but those of some rows, and as sure as it is told."""

    def __init__(self, truth, wrong=(), sure=0.8):
        self.truth, self.wrong, self.sure = truth, set(wrong), sure

    def __call__(self, train, test, seed):
        said = np.array([1 - self.truth[row] if row in self.wrong else self.truth[row] for row in test])
        return np.where(np.eye(2)[said] == 1, self.sure, 1 - self.sure)


def evaluation(store, wrong, name="backbone", fractions=(1.0,), estimator=None):
    labels = read_labels(store.column("kind"), "kind")
    labelled = labelled_set(store, labels, folds=4, seeds=2, fractions=fractions)
    methods = [
        Method("random weights", Guess(labelled.truth, range(12)), "seeds"),
        Method(name, Guess(labelled.truth, wrong) if estimator is None else estimator(labelled.truth), "weights"),
    ]
    retrieval = {name: {"precision_at_10": 0.5}}
    return Evaluation(
        "knn", labelled, [evaluate_method(one, labelled) for one in methods], {name: "weights"}, retrieval
    )


def test_numbers_tables_and_pictures_are_written(small_store, tmp_path):
    result = evaluation(small_store, [3, 4])
    result = replace(result, labelled=replace(result.labelled, notes=("A note.",)))
    report = write_evaluation(result, tmp_path / "out", "Title", ["flux"])
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["backbone_accuracy"] == pytest.approx(22 / 24)
    assert metrics["random_weights_accuracy"] == pytest.approx(0.5)
    assert metrics["backbone_precision_at_10"] == 0.5
    assert metrics["backbone_accuracy_std"] == pytest.approx(result.results[1].accuracies().std(ddof=1))
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert predictions["cutout_id"].tolist() == small_store.column("cutout_id").tolist()
    assert predictions.index[~predictions["correct"]].tolist() == [3, 4]
    assert predictions["probability[single]"].round(6).isin([0.8, 0.2]).all()
    assert predictions["ra_deg"].tolist() == small_store.column("ra_deg").tolist()
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert len(scores) == 2 * 2 * 4
    page = report.read_text()
    assert "A note." in page
    assert page.count("<figure class=") == 8
    assert summary_lines(result)[1].startswith("backbone")


def test_label_fractions_get_a_curve_and_rows_of_their_own(small_store, tmp_path):
    result = evaluation(small_store, [3], fractions=(1.0, 0.5))
    write_evaluation(result, tmp_path / "out", "Title")
    assert (tmp_path / "out" / "fractions.png").is_file()
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert scores.groupby("fraction")["labels"].mean().to_dict() == pytest.approx({0.5: 8, 1.0: 18})
    assert len(summary_lines(result)) == 4


def test_a_test_set_of_one_class_is_evaluated_without_roc_curves(small_store, tmp_path):
    labels = read_labels(small_store.column("kind"), "kind")
    alone = labels.classes[0]
    tested = small_store.select(labels.rows[labels.names == alone])
    labelled = labelled_set(
        small_store, labels, test=(tested, Labels(np.arange(12), np.full(12, alone))), seeds=1, keep_shared=True
    )
    guess = evaluate_method(Method("backbone", Guess(labelled.truth, [24]), "weights"), labelled)
    report = write_evaluation(Evaluation("finetune", labelled, [guess], {}), tmp_path / "out", "Title")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["backbone_accuracy"] == pytest.approx(11 / 12)
    assert not (tmp_path / "out" / "roc.png").exists()
    assert "Precision (reliability) of each class" in report.read_text()


def test_no_mistake_is_no_problem(small_store, tmp_path):
    page = write_evaluation(evaluation(small_store, []), tmp_path / "out", "Title").read_text()
    assert "There is no mistake." in page


def test_comparison_says_which_is_better_and_how_surely(small_store, tmp_path):
    for name, wrong in (("worse", range(8)), ("better", [3]), ("same", range(8))):
        write_evaluation(evaluation(small_store, wrong), tmp_path / name, name)
    folders = [(name, tmp_path / name) for name in ("worse", "better", "same")]
    report = compare_evaluations(folders, tmp_path / "all")
    table = pd.read_csv(tmp_path / "all" / "comparison.csv").set_index("name")
    assert table.loc["better", "difference"] == pytest.approx(7 / 24)
    assert table.loc["better", "probability_better"] > 0.99
    assert table.loc["same", "difference"] == 0
    assert table.loc["same", "probability_better"] == 0.5
    assert pd.isna(table.loc["worse", "difference"])
    assert (table["shared_objects"] == 24).all()
    page = report.read_text()
    assert "data:image/svg+xml" in page
    assert "better is the best of 3, with an accuracy of 0.958 on 24 objects." in page


def test_what_cannot_be_compared_is_named(small_store, tmp_path):
    write_evaluation(evaluation(small_store, [1]), tmp_path / "a", "a")
    other = small_store.select(np.arange(12, 24)), small_store.select(np.arange(12))
    write_evaluation(evaluation(other[0], [1]), tmp_path / "b", "b")
    write_evaluation(evaluation(other[1], [1]), tmp_path / "c", "c")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    for folders, said in [
        ([("a", tmp_path / "a")], "two evaluations"),
        ([("a", tmp_path / "a"), ("e", tmp_path / "empty")], "metrics.json: no such file"),
        ([("b", tmp_path / "b"), ("c", tmp_path / "c")], "different objects"),
    ]:
        with pytest.raises(RadiosslError, match=said):
            compare_evaluations(folders, out)
        assert not out.exists()


def test_no_probability_is_said_to_be_zero():
    against = pd.DataFrame({"name": ["moments"], "p_holm": [0.0]})
    said = _verdict([("moments", 0.5, 0.01), ("backbone", 0.9, 0.01)], against, 10)
    assert said.endswith("0.400 more than moments, the best of the others (p < 0.001).")
