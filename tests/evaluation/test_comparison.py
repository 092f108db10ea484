"""Methods and evaluations compared on the same objects and seeds."""

import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from radiossl import RadiosslError
from radiossl.evaluation.comparison import compare_evaluations, compare_methods
from radiossl.evaluation.intervals import holm, paired_bootstrap
from radiossl.evaluation.report import write_evaluation
from tests.evaluation.test_report import evaluation


def literal_sign_flips(gains):
    """Every assignment of signs, one by one."""
    sums = [abs(np.dot(signs, gains)) for signs in itertools.product([-1, 1], repeat=len(gains))]
    return np.mean([total >= abs(sum(gains)) for total in sums])


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_p_value_is_that_of_all_sign_flips(seeds):
    rng = np.random.default_rng(seeds)
    a, b = rng.random((20, seeds)) > 0.5, rng.random((20, seeds)) > 0.3
    groups = np.arange(20) // 2
    gains = [(b.astype(int) - a)[groups == group].sum() for group in range(10)]
    assert paired_bootstrap(a, b, draws=10, groups=groups).p_value == pytest.approx(literal_sign_flips(gains))
    assert paired_bootstrap(a, a, draws=10).p_value == pytest.approx(1)


def test_an_object_counts_by_the_fraction_of_seeds():
    a, b = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    b[0], b[1, :2] = True, True
    result = paired_bootstrap(a, b, draws=2000)
    assert result.difference == pytest.approx((1 + 0.4) / 4)
    rng = np.random.default_rng(0)
    literal = [np.mean(np.array([1, 0.4, 0, 0])[rng.integers(0, 4, 4)]) for _ in range(4000)]
    assert (result.low, result.high) == pytest.approx(np.quantile(literal, [0.15865, 0.84135]), abs=0.06)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert holm([]).tolist() == []


def test_methods_are_compared_with_a_correction():
    rng = np.random.default_rng(0)
    right = {name: rng.random((200, 2)) < rate for name, rate in (("a", 0.6), ("b", 0.75), ("c", 0.61), ("d", 0.6))}
    table = compare_methods(right, "a").set_index("name")
    assert pd.isna(table.loc["a", "difference"])
    np.testing.assert_allclose(table["difference"].iloc[1:], table["accuracy"].iloc[1:] - table.loc["a", "accuracy"])
    np.testing.assert_allclose(table["p_holm"].iloc[1:], holm(table["p_value"].iloc[1:]))
    assert table.loc["b", "p_holm"] < 0.01 < table.loc["c", "p_holm"]


class Fickle:
    """Is right about the first half of the objects with even seeds, and about all with odd ones."""

    def __init__(self, truth):
        self.truth = truth

    def __call__(self, train, test, seed):
        wrong = (test >= 12) & (seed % 2 == 0)
        return np.eye(2)[np.where(wrong, 1 - self.truth[test], self.truth[test])]


def test_the_difference_is_that_of_the_accuracies_shown(small_store, tmp_path):
    """Over all seeds, though predictions.csv has the probabilities of the first."""
    first = evaluation(small_store, range(6))
    second = evaluation(small_store, [], estimator=Fickle)
    for name, one in (("first", first), ("second", second)):
        write_evaluation(one, tmp_path / name, name)
    compare_evaluations([(name, tmp_path / name) for name in ("first", "second")], tmp_path / "all")
    table = pd.read_csv(tmp_path / "all" / "comparison.csv").set_index("name")
    assert table.loc["first", "accuracy"] == pytest.approx(18 / 24)
    assert table.loc["second", "accuracy"] == pytest.approx(18 / 24)  # 12 of 24, and 24 of 24
    assert table.loc["second", "difference"] == pytest.approx(0)
    metrics = json.loads((tmp_path / "second" / "metrics.json").read_text())
    assert metrics["backbone_accuracy"] == pytest.approx(18 / 24)


def test_baselines_are_compared_with_the_backbone(small_store, tmp_path):
    write_evaluation(evaluation(small_store, [3]), tmp_path / "out", "Title")
    table = pd.read_csv(tmp_path / "out" / "comparison.csv").set_index("name")
    assert table.loc["random weights", "difference"] == pytest.approx(-11 / 24)
    assert table.loc["random weights", "p_holm"] < 0.05


def rewritten(folder, change):
    file = folder / "predictions.csv"
    frame = pd.read_csv(file, dtype=str, keep_default_na=False)
    change(frame)
    frame.to_csv(file, index=False)


@pytest.fixture(scope="module")
def written(small_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for name in ("a", "b"):
        write_evaluation(evaluation(small_store, [1]), folder / name, name)
    return folder


@pytest.fixture
def two(written, tmp_path):
    """Two evaluations that a test may change."""
    for name in ("a", "b"):
        shutil.copytree(written / name, tmp_path / name)
    return [(name, tmp_path / name) for name in ("a", "b")], tmp_path


def test_ids_are_text(two):
    """As numbers 7, 07 and 007 would be one object; an object may be called NA."""
    folders, out = two
    ids = ["7", "07", "007", "NA", *(f"{row}" for row in range(100, 120))]
    for _, folder in folders:
        rewritten(folder, lambda frame: frame.__setitem__("cutout_id", ids))
    compare_evaluations(folders, out / "all")
    assert (pd.read_csv(out / "all" / "comparison.csv")["shared_objects"] == 24).all()


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("dec_deg", ["50.0"] * 24, "tested on different objects"),
        ("label", ["single"] * 24, "is double in a and single in b"),
        ("cutout_id", ["c00"] * 24, None),
        ("correct[1]", None, None),
    ],
)
def test_what_is_not_the_same_is_not_compared(two, column, values, said):
    folders, out = two
    if values is None:  # version 0.1 wrote the first seed alone
        rewritten(folders[1][1], lambda frame: frame.drop(columns=["correct[0]", "correct[1]"], inplace=True))
        rewritten(folders[0][1], lambda frame: frame.drop(columns=["correct[0]", "correct[1]"], inplace=True))
    else:
        rewritten(folders[1][1], lambda frame: frame.__setitem__(column, values))
    if said is None:
        compare_evaluations(folders, out / "all")
        shared = pd.read_csv(out / "all" / "comparison.csv")["shared_objects"]
        assert (shared == (1 if column == "cutout_id" else 24)).all()
    else:
        with pytest.raises(RadiosslError, match=said):
            compare_evaluations(folders, out / "all")


def test_other_classes_are_not_compared(two):
    folders, out = two
    rewritten(folders[1][1], lambda frame: frame.insert(0, "probability[ring]", "0.0"))
    with pytest.raises(RadiosslError, match="a and b have other classes"):
        compare_evaluations(folders, out / "all")


def test_names_that_are_the_same_are_refused(two):
    folders, out = two
    with pytest.raises(RadiosslError, match="two folders have one name"):
        compare_evaluations([("a", folders[0][1]), ("a", folders[1][1])], out / "all")
