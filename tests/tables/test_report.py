"""Scores of classes by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from radiossl.evaluation.calibration import Predictions
from radiossl.evaluation.intervals import wilson_interval
from radiossl.evaluation.metric_by_column import metric_by_column
from radiossl.report import figures
from radiossl.tables.report import _binned_mean, class_scores, draw_against


def test_class_scores_by_hand():
    truth, said = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 1, 0])
    scores = class_scores(Predictions(["QSO", "STAR"], truth, np.eye(2)[said], np.arange(7)))
    qso = scores.iloc[0]
    assert (qso["rows"], qso["completeness"], qso["reliability"]) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    np.testing.assert_allclose(scores["f1"], f1_score(truth, said, average=None))
    low, high = wilson_interval(2, 4)  # TP = 2, TP + FP + FN = 4
    assert (qso["f1_low"], qso["f1_high"]) == (pytest.approx(2 * low / (1 + low)), pytest.approx(2 * high / (1 + high)))
    assert qso["f1_low"] < qso["f1"] < qso["f1_high"]


def test_means_in_bins():
    mean, spread = _binned_mean(
        np.array([0.0, 0.5, 1.0, 2.0, 5.0]), np.array([1.0, 3.0, 7.0, 9.0, 100.0]), np.arange(3.0)
    )
    np.testing.assert_allclose(mean, [2, 8])
    np.testing.assert_allclose(spread, [np.sqrt(2), np.sqrt(2)])


@pytest.mark.parametrize(("low", "high", "scale"), [(14.0, 22.0, "linear"), (1e-4, 1.0, "log"), (-1.0, 1.0, "linear")])
def test_fluxes_have_a_logarithmic_axis_and_magnitudes_have_not(tmp_path, monkeypatch, low, high, scale):
    kept = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, out: kept.append(figure))
    names = [f"class{number}" for number in range(7)]
    truth = np.arange(70) % 7
    predictions = Predictions(names, truth, np.eye(7)[truth], np.arange(70))
    values = np.linspace(low, high, 70)
    draw_against(predictions, values, metric_by_column(predictions, values), "x", tmp_path / "a.png")
    upper, lower = kept[0].axes
    assert (upper.get_xscale(), lower.get_xscale()) == (scale, scale)
    drawn = {line.get_color() for line in upper.lines if line.get_label() in names}
    assert len(drawn) == 7  # no two classes look alike
