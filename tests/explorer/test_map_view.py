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
    view.state.chosen_by = {"filters": {"flux": ["", "1"]}}
    assert 0 < opaque(view) < before / 5
    view.state.chosen_by = {}
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
    assert view.state.chosen_by["lasso"] == "principal components"
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


def test_an_address_restores_all_that_a_page_shows(view, monkeypatch):
    state = view.state
    first = PageState(state.session, state.ranking, DARK)
    assert first.address() == ""
    left, right, bottom, top = view._limits
    half = {"type": "poly", "x": [left, (left + right) / 2, left], "y": [bottom, bottom, top]}
    view._select(SimpleNamespace(final=True, geometry=half))
    state.param.update(colour="flux", stretch="log", tab="Filter", limits=(0.0, 1.0, 0.0, 0.5))
    for chosen_by in (state.chosen_by, {"filters": {"kind": ["single", "triple"], "flux": ["3", ""]}}):
        state.chosen_by = chosen_by
        again = PageState(state.session, state.ranking, DARK)
        again.restore(state.address())
        assert again.selected.tolist() == state.selected.tolist()
        assert again.address() == state.address()
        assert 0 < len(again.selected) < COUNT
        assert (again.colour, again.stretch, again.tab, again.limits) == ("flux", "log", "Filter", (0.0, 1.0, 0.0, 0.5))


def test_an_address_may_speak_of_columns_that_are_still_being_computed(view):
    state = view.state
    state.restore("colour=cluster&chosen_by=" + '{"filters":{"cluster":["2"]}}')
    assert state.colour == "kind"
    assert state.selected is None
    state.session.shown.later["cluster"] = np.array(["1", "2"] * (COUNT // 2))
    state.use_later_columns()
    assert state.colour == "cluster"
    assert state.selected.tolist() == list(range(1, COUNT, 2))


@pytest.mark.parametrize(
    "damaged",
    [
        "x",
        "[1]",
        '{"a":1}',
        '{"filters":3}',
        '{"filters":{"flux":[1]}}',
        '{"filters":{"kind":["no such"]}}',
        "[" * 9999,
        '{"lasso":"sky"}',
        '{"lasso":"sky","corners":"1 2 x"}',
        '{"lasso":"none","corners":"1 2 3 4 5 6"}',
    ],
)
def test_a_damaged_address_chooses_nothing(view, damaged):
    view.state.restore("chosen_by=" + damaged)
    assert view.state.selected is None
    assert view.state.chosen_by == {}


def test_a_second_map_shows_the_same_sources_and_choice(view):
    state = view.state
    state.second = "sky"
    below = map_view.MapView(state, "second", "second_limits")
    np.testing.assert_array_equal(below.coordinates, state.session.maps.coordinates["sky"])
    before = opaque(below)
    state.row, state.chosen_by = 7, {"filters": {"flux": ["", "1"]}}
    assert below._marks.data["x"][0] == below.coordinates[7, 0]
    assert 0 < opaque(below) < before / 5
    below._ranges(SimpleNamespace(x0=0.0, x1=0.1, y0=0.0, y1=0.1))
    assert state.limits is None
    again = PageState(state.session, state.ranking, DARK)
    again.restore(state.address())
    assert (again.second, again.second_limits) == ("sky", (0.0, 0.1, 0.0, 0.1))
