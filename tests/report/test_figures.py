"""The shared figures: everything that is there is drawn, and nothing else."""

import re

import numpy as np
import pytest
from PIL import Image

from radiossl import RadiosslError
from radiossl.report import figures
from radiossl.report.figures import BLUE, GREY, ON_DARK, ON_PALE, confusion_matrix, score_bars, themed


@pytest.fixture
def drawn(monkeypatch):
    """Figures in the moment of being saved."""
    kept = []
    save = figures.save_figure
    monkeypatch.setattr(figures, "save_figure", lambda figure, out: (kept.append(figure), save(figure, out)))
    return kept


def test_confusion_matrix_shows_counts_and_row_fractions(tmp_path, drawn):
    confusion_matrix([[8, 2], [0, 0]], ["FRI", "FRII"], out=tmp_path / "a.png")
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["8\n80%", "2\n20%", "0", "0"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2], [0, 0]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["FRI (10)", "FRII (0)"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["FRI", "FRII"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class (number)")


def test_numbers_in_dark_cells_are_white(tmp_path, drawn):
    confusion_matrix([[9, 1], [1, 9]], ["a", "b"], out=tmp_path / "a.png")
    assert [text.get_color() for text in drawn[0].axes[0].texts] == [ON_DARK, ON_PALE, ON_PALE, ON_DARK]


def test_many_classes_have_a_colour_bar_instead_of_numbers(tmp_path, drawn):
    confusion_matrix(np.eye(20, dtype=int), [f"class {i}" for i in range(20)], out=tmp_path / "a.png")
    assert len(drawn[0].axes) == 2
    assert not drawn[0].axes[0].texts


def test_long_class_names_do_not_leave_the_picture(tmp_path):
    confusion_matrix(np.eye(3, dtype=int), ["$ very long name of a class $\\x", "b", "c"], out=tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    edges = np.concatenate([pixels[:4].ravel(), pixels[-4:].ravel(), pixels[:, :4].ravel(), pixels[:, -4:].ravel()])
    assert (edges == 255).all()


@pytest.mark.parametrize(("matrix", "names"), [([[1, 2]], ["a"]), ([[1]], ["a", "b"]), ([], [])])
def test_confusion_matrix_of_the_wrong_shape_is_refused(tmp_path, matrix, names):
    with pytest.raises(RadiosslError, match="confusion matrix of shape"):
        confusion_matrix(matrix, names, out=tmp_path / "a.png")


def test_score_bars(tmp_path, drawn):
    rows = [("majority", 0.52, None), ("random init", 0.7, 0.03), ("trained", 0.9, 0.01), ("failed", np.nan, np.nan)]
    score_bars(rows, out=tmp_path / "a.png", xlabel="accuracy", highlight=["trained"])
    axes = drawn[0].axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.52, 0.7, 0.9, 0]
    assert [text.get_text() for text in axes.texts] == ["0.520", "0.700 ± 0.030", "0.900 ± 0.010", "none"]
    assert axes.yaxis_inverted()  # the first row is on top
    assert [label.get_text() for label in axes.get_yticklabels()] == ["majority", "random init", "trained", "failed"]
    from matplotlib.colors import to_hex

    assert [to_hex(bar.get_facecolor()).upper() for bar in axes.patches] == [GREY, GREY, BLUE, GREY]
    segments = axes.collections[0].get_segments()
    np.testing.assert_allclose([segment[:, 0] for segment in segments], [[0.67, 0.73], [0.89, 0.91]])


def test_no_scores_are_refused(tmp_path):
    with pytest.raises(RadiosslError, match="no score to draw"):
        score_bars([], out=tmp_path / "a.png", xlabel="accuracy")


def test_failed_drawing_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_text("old")

    def broken(figure, path, **options):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    with pytest.raises(OSError, match="disk full"):
        score_bars([("a", 1.0, None)], out=tmp_path / "a.png", xlabel="x")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.png": "old"}


def test_greys_of_an_embedded_figure_follow_the_theme_and_colours_do_not(tmp_path):
    score_bars([("a", 1.0, 0.1), ("b", 0.5, 0.1)], out=tmp_path / "a.png", xlabel="accuracy", highlight=["a"])
    assert {file.name for file in tmp_path.iterdir()} == {"a.png", "a.svg", "a.pdf"}
    plain = (tmp_path / "a.svg").read_text()
    assert {"#000000", GREY.lower(), BLUE.lower()} <= set(re.findall(r"#[0-9a-f]{6}\b", plain))
    shown = themed(plain)
    style, _, drawing = shown.partition("</style>")
    assert "prefers-color-scheme:dark" in style
    assert "--g000000:#000000;" in style
    assert "--g000000:#e4e7ea;" in style
    assert "var(--g8c8c8c)" in drawing
    assert BLUE.lower() in drawing
    assert not re.search(r"#([0-9a-f]{2})\1\1\b", drawing)


def test_the_same_figure_gives_the_same_files(tmp_path):
    for name in ("a", "b"):
        score_bars([("a", 1.0, 0.1)], out=tmp_path / f"{name}.png", xlabel="accuracy")
    for kind in ("png", "svg", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
