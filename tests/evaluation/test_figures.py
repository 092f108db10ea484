"""The figures of scores: what is drawn is what was measured."""

import numpy as np
import pytest
from PIL import Image

from radiossl import RadiosslError
from radiossl.evaluation.calibration import Predictions, reliability
from radiossl.evaluation.figures import (
    BandedCurve,
    banded_curves,
    label_fraction_curves,
    metric_against_column,
    precision_recall_curves,
    reliability_diagram,
    roc_curves,
)
from radiossl.evaluation.metric_by_column import metric_by_column
from radiossl.evaluation.metrics import precision_recall_points, roc_points
from radiossl.report import figures


@pytest.fixture
def drawn(monkeypatch):
    """Figures in the moment of being saved."""
    kept = []
    save = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, out: (kept.append(figure), save(figure, out)))
    return kept


@pytest.fixture(scope="module")
def predictions():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 80)
    confidence = np.clip(0.3 + 0.4 * truth + 0.2 * rng.normal(size=80), 0.01, 0.99)
    return Predictions(["FRI", "FR$II$"][::-1], truth, np.stack([1 - confidence, confidence], axis=1), np.arange(80))


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_roc_curves(tmp_path, drawn, predictions):
    curves = roc_points(predictions)
    roc_curves(curves, out=tmp_path / "a.png")
    axes = drawn[0].axes[0]
    area = curves["FRI"].area
    assert legend(axes) == [f"FR$II$ ({area:.3f})", f"FRI ({area:.3f})"]
    np.testing.assert_array_equal(axes.lines[2].get_xdata(), curves["FRI"].false_positive_rate)
    np.testing.assert_array_equal(axes.lines[2].get_ydata(), curves["FRI"].true_positive_rate)
    assert Image.open(tmp_path / "a.png").format == "PNG"


def test_precision_recall_curves(tmp_path, drawn, predictions):
    curves = precision_recall_points(predictions)
    precision_recall_curves(curves, out=tmp_path / "a.png")
    axes = drawn[0].axes[0]
    assert legend(axes)[1] == f"FRI ({curves['FRI'].average_precision:.3f})"
    prevalence, curve = axes.lines[2], axes.lines[3]
    assert set(prevalence.get_ydata()) == {curves["FRI"].prevalence}
    assert prevalence.get_color() == curve.get_color()
    np.testing.assert_array_equal(curve.get_ydata(), curves["FRI"].precision)
    # The area under the steps as they are drawn is the average precision.
    x, y = curve.get_xdata(), curve.get_ydata()
    assert curve.get_drawstyle() == "steps-post"
    assert -(np.diff(x) * y[:-1]).sum() == pytest.approx(curves["FRI"].average_precision)


def test_reliability_diagram(tmp_path, drawn, predictions):
    result = reliability(predictions, bins=5)
    reliability_diagram(result, out=tmp_path / "a.png")
    upper, lower = drawn[0].axes
    known = result.counts > 0
    points = next(line for line in upper.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(points.get_xydata(), np.stack([result.confidence, result.accuracy], axis=1)[known])
    segments = np.array(upper.collections[0].get_segments())
    np.testing.assert_allclose(segments[:, :, 1], np.stack([result.low, result.high], axis=1)[known])
    assert [bar.get_height() for bar in lower.patches] == result.counts.tolist()
    assert f"{result.error:.3f}" in upper.texts[0].get_text()


def test_metric_against_a_column(tmp_path, drawn, predictions):
    snr = np.geomspace(1, 100, 80)
    snr[:3] = np.nan
    result = metric_by_column(predictions, snr, edges=[1, 5, 6, 6.01, 20, 50])  # nothing from 6 to 6.01
    metric_against_column(result, out=tmp_path / "a.png", xlabel="signal-to-noise ratio", logarithmic=True)
    upper, lower = drawn[0].axes
    assert legend(upper) == predictions.classes
    np.testing.assert_array_equal(upper.lines[1].get_ydata(), result.scores[1])  # NaN and all: a gap
    assert np.isnan(upper.lines[1].get_ydata()).sum() == 1
    assert [bar.get_height() for bar in lower.patches] == result.counts.tolist()
    assert lower.get_xscale() == "log"
    outside = int((snr > 50).sum())
    assert lower.get_xlabel() == f"signal-to-noise ratio   (left out: 3 unknown, {outside} outside)"
    assert upper.get_ylim()[0] <= np.nanmin(result.low)


def test_accuracy_needs_no_legend(tmp_path, drawn, predictions):
    result = metric_by_column(predictions, np.arange(80), metric="accuracy")
    metric_against_column(result, out=tmp_path / "a.png", xlabel="size (arcsec)")
    assert drawn[0].axes[0].get_legend() is None
    assert drawn[0].axes[1].get_xlabel() == "size (arcsec)"
    with pytest.raises(RadiosslError, match="bins from 0 cannot have a logarithmic axis"):
        metric_against_column(result, out=tmp_path / "a.png", xlabel="size", logarithmic=True)


def curve(fractions, scores):
    scores = np.array(scores)
    return BandedCurve(np.array(fractions), scores, scores - 0.1, scores + 0.1)


def test_label_fraction_curves(tmp_path, drawn):
    curves = {"linear probe": curve([1.0, 0.01, 0.1], [0.9, 0.6, 0.8]), "from scratch": curve([0.1, 1.0], [0.3, 0.7])}
    label_fraction_curves(curves, out=tmp_path / "a.png", ylabel="accuracy")
    axes = drawn[0].axes[0]
    assert legend(axes) == list(curves)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0.01, 0.6], [0.1, 0.8], [1, 0.9]])
    band = axes.collections[0].get_paths()[0].vertices
    assert {(0.01, 0.5), (0.01, 0.7), (1.0, 0.8), (1.0, 1.0)} <= {tuple(v) for v in band.round(6).tolist()}
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1%", "10%", "100%"]


def test_the_legend_of_many_curves_hides_none(tmp_path, drawn):
    label_fraction_curves({"a": curve([0.1, 1], [0, 1])}, out=tmp_path / "a.png", ylabel="accuracy")
    axes = drawn[0].axes[0]
    assert axes.get_legend().get_window_extent().x0 > axes.get_window_extent().x1


def test_many_fractions_have_few_ticks(tmp_path, drawn):
    curves = {"a": curve(np.geomspace(0.01, 1, 200), np.linspace(0, 1, 200))}
    label_fraction_curves(curves, out=tmp_path / "a.png", ylabel="accuracy")
    assert len(drawn[0].axes[0].get_xticks()) <= 10


def test_more_curves_than_colours_differ_in_stroke(tmp_path, drawn):
    curves = {f"class {i}": curve([0.1, 1], [0, i / 10]) for i in range(8)}
    label_fraction_curves(curves, out=tmp_path / "a.png", ylabel="accuracy")
    lines = drawn[0].axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 8


@pytest.mark.parametrize("draw", [roc_curves, precision_recall_curves])
def test_no_curves_are_refused(tmp_path, draw):
    with pytest.raises(RadiosslError, match="no curve to draw"):
        draw({}, out=tmp_path / "a.png")


def test_a_curve_over_another_quantity_has_a_linear_axis(tmp_path, drawn):
    banded_curves({"kNN": curve([0, 20], [0.6, 0.8])}, out=tmp_path / "a.png", xlabel="cut (arcsec)", ylabel="accuracy")
    axes = drawn[0].axes[0]
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_legend()) == ("linear", "cut (arcsec)", None)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[0, 0.6], [20, 0.8]])


def test_curves_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(RadiosslError, match="equally many"):
        BandedCurve(np.ones(2), np.ones(3), np.ones(3), np.ones(3))
    with pytest.raises(RadiosslError, match="above 0"):
        label_fraction_curves({"a": curve([0.0, 1.0], [0, 1])}, out=tmp_path / "a.png", ylabel="accuracy")
