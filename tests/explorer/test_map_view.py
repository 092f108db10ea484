"""The map with few sources and, drawn pixel by pixel, with many."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("panel", reason="the explorer needs pip install 'radiossl[explore]'")

from radiossl.explorer import map_view
from radiossl.explorer.drawing import DARK
from radiossl.explorer.page_state import PageState
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.session import Files, Session

from .conftest import COUNT


@pytest.fixture(params=["points", "raster"])
def view(request, survey, tmp_path, monkeypatch):
    if request.param == "raster":
        monkeypatch.setattr(map_view, "RASTER_ABOVE", 10)
    files = Files(survey.features, ratings=tmp_path / "ratings.csv", labels=tmp_path / "labels.csv")
    session = Session(files, survey.store)
    made = map_view.MapView(PageState(session, Ranking(session), DARK))
    assert made.dense == (request.param == "raster")
    return made


def opaque(view):
    """How many points or pixels are shown in full."""
    if view.dense:
        image = view._raster.data["image"][0]
        return int((image.view(np.uint8).reshape(*image.shape, 4)[..., 3] > 100).sum())
    return int((view._points.data["colour"] & 0xFF > 100).sum())


def test_a_choice_dims_the_others(view):
    before = opaque(view)
    view.state.selected = np.arange(3)
    assert 0 < opaque(view) < before / 5
    view.state.selected = None
    assert opaque(view) == before


def test_the_pointer_finds_the_nearest_source_within_its_reach(view):
    for row in (0, 20, COUNT - 1):
        x, y = view.coordinates[row]
        assert view._near(float(x), float(y)) == row
    left, _, bottom, _ = view._limits
    assert view._near(left, bottom) is None
    for nowhere in ((None, 0.0), (float("nan"), 0.0), (0.0, float("inf"))):
        assert view._near(*nowhere) is None


def test_a_lasso_chooses_and_an_empty_one_chooses_none(view):
    left, right, bottom, top = view._limits
    everything = {"type": "poly", "x": [left, right, right, left], "y": [bottom, bottom, top, top]}
    view._select(SimpleNamespace(final=False, geometry=everything))
    assert view.state.selected is None
    view._select(SimpleNamespace(final=True, geometry=everything))
    assert view.state.selected.tolist() == list(range(COUNT))
    view._select(SimpleNamespace(final=True, geometry={"type": "poly", "x": [left] * 3, "y": [bottom] * 3}))
    assert view.state.selected is None


def test_a_column_colours_the_map_and_a_bad_one_is_told(view):
    view.state.colour = "kind"
    assert "triple" in view.legend.object
    view.state.colour = "no such column"
    assert "no column" in view.state.message


def test_where_the_page_is_stands_out(view):
    view.state.row = 7
    assert view._marks.data["x"][0] == view.coordinates[7, 0]
