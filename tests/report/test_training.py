"""The report of a training run and its curves."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radiossl import RadiosslError
from radiossl.report import training
from radiossl.report.training import training_curves


@pytest.fixture
def drawn(monkeypatch):
    """Figures in the moment of being saved."""
    kept = []
    save = training.save_figure
    monkeypatch.setattr(training, "save_figure", lambda figure, out: (kept.append(figure), save(figure, out)))
    return kept


def metrics(rows=50, **columns):
    return pd.DataFrame({"step": range(rows), "epoch": 0, "loss": np.linspace(5, 1, rows), **columns})


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_training_curves_draws_the_columns_that_are_there(tmp_path, drawn):
    training_curves(metrics(lr=0.1, images_per_s=900.0, feature_std=0.04), out=tmp_path / "a.png")
    assert titles(drawn[0]) == ["loss", "learning rate", "feature spread (0 = collapsed)"]
    training_curves(metrics(lr=np.nan), out=tmp_path / "b.png")
    assert titles(drawn[1]) == ["loss"]
    assert Image.open(tmp_path / "a.png").format == "PNG"
    assert {file.name for file in tmp_path.iterdir()} == {
        f"{name}.{kind}" for name in "ab" for kind in ("png", "svg", "pdf")
    }


def test_sparse_accuracy_is_drawn_where_it_was_measured(tmp_path, drawn):
    accuracy = np.full(50, np.nan)
    accuracy[[10, 30]] = 0.6, 0.7
    training_curves(metrics(knn_accuracy=accuracy), out=tmp_path / "a.png")
    line = drawn[0].axes[1].lines[0]
    np.testing.assert_array_equal(line.get_xydata(), [[10, 0.6], [30, 0.7]])


def test_long_noisy_curve_has_a_running_median(tmp_path, drawn):
    loss = np.ones(1000)
    loss[500] = 1e6  # one outlier must not show in it
    training_curves(metrics(1000).assign(loss=loss), out=tmp_path / "a.png")
    pale, median = drawn[0].axes[0].lines
    assert pale.get_ydata().max() == 1e6
    assert median.get_ydata().max() == 1


def test_epochs_stand_in_for_steps(tmp_path, drawn):
    training_curves(pd.DataFrame({"epoch": [3, 4], "loss": [2.0, 1.0]}), out=tmp_path / "a.png")
    assert drawn[0].axes[0].get_xlabel() == "epoch"
    np.testing.assert_array_equal(drawn[0].axes[0].lines[0].get_xdata(), [3, 4])


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(RadiosslError, match="no training curve to draw; expected columns among loss, lr"):
        training_curves(pd.DataFrame({"step": [1], "loss": [np.nan]}), out=tmp_path / "a.png")
