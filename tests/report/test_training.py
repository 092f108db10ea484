"""The report of a training run and its curves."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radiossl import RadiosslError
from radiossl.pretraining.recipe import read_recipe
from radiossl.report import figures, training
from radiossl.report.training import training_curves, write_run_report
from radiossl.weights.backbone import save_backbone


@pytest.fixture
def drawn(monkeypatch):
    """Figures in the moment of being saved."""
    kept = []
    save = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, out: (kept.append(figure), save(figure, out)))
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


def test_feature_spread_is_drawn_from_collapsed_to_random(tmp_path, drawn):
    training_curves(metrics(feature_std=0.77), out=tmp_path / "a.png")
    low, high = drawn[0].axes[1].get_ylim()
    assert (low, 1.0 < high < 1.2) == (0, True)


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


def test_chance_is_a_line_and_the_warm_up_is_shaded(tmp_path, drawn):
    training_curves(metrics(lr=0.1), out=tmp_path / "a.png", chance=4.5, warmup=10.0)
    loss, rate = drawn[0].axes
    assert list(loss.lines[-1].get_ydata()) == [4.5, 4.5]
    assert "chance" in [text.get_text() for text in loss.texts]
    for axes in (loss, rate):
        (shaded,) = axes.patches
        assert (shaded.get_x(), shaded.get_width()) == (0, 10.0)


@pytest.fixture
def run(tmp_path, tiny_backbone):
    """What the report reads of a run folder."""
    (recipe,) = read_recipe("simclr-hulk", ["batch_size=8", "schedule.epochs=4", "schedule.warmup_epochs=1"])
    frame = metrics(20, lr=0.1, feature_std=0.8, images_per_s=9.0).assign(epoch=np.arange(20) / 5)
    (tmp_path / "run").mkdir()
    frame.to_csv(tmp_path / "run" / "metrics.csv", index=False)
    (tmp_path / "run" / "recipe.yaml").write_text(recipe.to_yaml())
    save_backbone(tmp_path / "run" / "backbone", tiny_backbone.network, tiny_backbone.config)
    return tmp_path / "run"


def test_the_report_opens_with_what_the_loss_did_beside_chance(run):
    page = write_run_report(run).read_text()
    assert f"where features without information have {np.log(2 * 8 - 1):.3g}" in page
    assert "the loss went from 5 to 1.95" in page
    assert "Neighbours before and after" not in page


def test_neighbours_are_shown_by_random_and_by_trained_weights(run, small_store):
    page = write_run_report(run, [small_store.paths[0]]).read_text()
    assert page.count('<li class="framed') == 6  # three queries, before and after
    assert page.count("<li ") == 6 * 6
    assert (run / "neighbours.png").is_file()


def test_the_nearest_neighbour_by_trained_weights_comes_first(tiny_backbone, small_store):
    found = training._neighbours(tiny_backbone, small_store, 0)
    vectors = tiny_backbone.features(small_store)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert [picture.caption for picture in found[::6]] == ["before training", "after training"] * 3
    after = found[6:12]
    row = next(
        row
        for row in range(len(small_store))
        if np.array_equal(small_store.pixels(row), after[0].image, equal_nan=True)
    )
    best = np.sort(np.delete(vectors @ vectors[row], row))[::-1][:5]
    assert [float(picture.caption.partition(": ")[2]) for picture in after[1:]] == [
        round(float(one), 3) for one in best
    ]


def test_the_learning_rate_is_drawn_as_it_was(tmp_path, drawn):
    rate = np.r_[np.linspace(0, 1, 50), np.linspace(1, 0, 50)]
    training_curves(metrics(100, lr=rate), out=tmp_path / "a.png")
    loss, shown = drawn[0].axes
    assert (len(loss.lines), len(shown.lines)) == (2, 1)
    np.testing.assert_array_equal(shown.lines[0].get_ydata(), rate)
