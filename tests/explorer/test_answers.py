"""What the page asks for: lists, columns, choices and files, and what a damaged question gets."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from radiossl.explorer.answers import CLEAN, PROPOSED, RANKED, UNRATED, Answers
from radiossl.explorer.ranking import Ranking
from radiossl.explorer.session import Files, Session
from radiossl.io.errors import RadiosslError

from .conftest import COUNT


@pytest.fixture
def answers(survey, tmp_path):
    files = Files(survey.features, survey.weights, ratings=tmp_path / "ratings.csv", labels=tmp_path / "labels.csv")
    session = Session(files, survey.store)
    yield Answers(session, Ranking(session))
    session.maps.close()


@pytest.fixture
def loaded(answers):
    answers._session.load()
    answers._ranking.prepare()
    answers._session.find_clusters()
    return answers


def unpacked(file, kind):
    """What `packed` put together: its head, and the array."""
    length = int.from_bytes(file.content[:4], "little")
    assert (4 + length) % 8 == 0
    return json.loads(file.content[4 : 4 + length]), np.frombuffer(file.content[4 + length :], kind)


def lasso(name, x, y):
    return {"lasso": name, "corners": " ".join(str(number) for pair in zip(x, y, strict=True) for number in pair)}


def chosen(answers, chosen_by):
    """Rows of the sources chosen; None if it is no choice."""
    head, bits = unpacked(answers.chosen(chosen_by), np.uint8)
    rows = np.flatnonzero(np.unpackbits(bits, count=COUNT, bitorder="little"))
    assert head["count"] == len(rows)
    return rows.tolist() if head["known"] else None


def test_everything_that_the_page_starts_with_is_json(answers):
    start = json.loads(json.dumps(answers.start()))
    assert start["count"] == COUNT
    assert list(start["maps"]) == ["principal components", "sky"]
    assert start["class_column"] == "kind"
    assert start["columns"]["cutout"]["ra_deg"] == "ra_deg [deg]"
    for theme in start["themes"].values():
        assert len(theme["shades"]) == 256


def test_a_map_and_its_colours_are_those_of_the_session(answers):
    _, places = unpacked(answers.map("sky"), "<f4")
    np.testing.assert_array_equal(places.reshape(-1, 2), answers._session.maps.coordinates["sky"])
    head, codes = unpacked(answers.column("kind"), "<i2")
    assert [head["classes"][code] for code in codes[:4]] == ["single", "double", "triple", "single"]
    head, values = unpacked(answers.column("flux"), "<f4")
    np.testing.assert_array_equal(values, 0.5 * np.arange(COUNT, dtype=np.float32))
    assert not head["logarithmic"]
    with pytest.raises(RadiosslError, match="no column"):
        answers.column("no such column")
    with pytest.raises(RadiosslError, match="no map"):
        answers.map("no such map")


def test_a_lasso_and_filters_choose(answers):
    left, right, bottom, top = answers.start()["maps"]["sky"]
    everything = lasso("sky", [left, right, right, left], [bottom, bottom, top, top])
    assert chosen(answers, everything) == list(range(COUNT))
    assert chosen(answers, lasso("sky", [left] * 3, [bottom] * 3)) == []
    half = chosen(answers, lasso("sky", [left, (left + right) / 2, left], [bottom, bottom, top]))
    assert 0 < len(half) < COUNT
    assert chosen(answers, {"filters": {"flux": ["", "1"]}}) == [0, 1, 2]
    both = chosen(answers, {"filters": {"kind": ["single", "triple"], "flux": ["3", ""]}})
    assert both == [row for row in range(6, COUNT) if row % 3 != 1]
    assert chosen(answers, {"ids": ["s07", "none", "s03"]}) == [3, 7]
    assert chosen(answers, {}) is None


def test_a_choice_may_speak_of_columns_that_are_still_being_computed(answers):
    with pytest.raises(RadiosslError, match="no column"):
        answers.chosen({"filters": {"cluster": ["2"]}})
    answers._session.shown.later["cluster"] = np.array(["1", "2"] * (COUNT // 2))
    assert chosen(answers, {"filters": {"cluster": ["2"]}}) == list(range(1, COUNT, 2))


@pytest.mark.parametrize(
    "damaged",
    [
        "x",
        [1],
        {"a": 1},
        {"filters": 3},
        {"filters": {"flux": [1]}},
        {"filters": {"kind": ["no such"]}},
        {"lasso": "sky"},
        {"lasso": "sky", "corners": "1 2 x"},
        {"lasso": "none", "corners": "1 2 3 4 5 6"},
    ],
)
def test_a_damaged_choice_chooses_nothing(answers, damaged):
    assert chosen(answers, damaged) is None


@pytest.mark.parametrize("rows", ["-1", "60", "1,x", "9" * 400, "1;2"])
def test_rows_that_are_none_are_refused(answers, rows):
    with pytest.raises(RadiosslError, match="sources"):
        answers.items(rows)


def test_pictures_are_png_of_known_sizes_alone(answers):
    found = answers.picture("3", "asinh", "inferno", "thumb", key="x")
    assert found.content.startswith(b"\x89PNG")
    assert found.kept
    for wrong in (("3", "asinh", "inferno", "4096"), ("3", "asinh", "../x", "thumb"), ("3", "none", "gray", "thumb")):
        with pytest.raises(RadiosslError, match="no such stretch"):
            answers.picture(*wrong)
    without = Answers(Session(answers._session.files, None), answers._ranking)
    with pytest.raises(FileNotFoundError):
        without.picture("3", "asinh", "inferno", "thumb")


def test_lists_to_rate_leave_out_what_they_say(loaded):
    def rows(which):
        return unpacked(loaded.order(which), "<i4")[1].tolist()

    ranked = rows(RANKED)
    assert sorted(ranked) == list(range(COUNT))
    first = loaded._session.cutout_id(ranked[0])
    loaded.rate(first, 4, " ada\n")
    assert rows(UNRATED) == ranked[1:]
    assert set(rows(CLEAN)) == {row for row in ranked if not loaded._ranking.marks[row]}
    assert ranked[0] not in rows(PROPOSED)
    assert loaded.ratings()["rows"] == [(ranked[0], 4)]
    assert loaded.source(str(ranked[0]))["rated"].startswith("ada 4 (")
    assert loaded.undo("bob") == {"name": None, "row": None}
    assert loaded.undo("ada") == {"name": first, "row": ranked[0]}
    assert loaded.ratings()["count"] == 0
    with pytest.raises(RadiosslError, match="no source has the id"):
        loaded.rate("no such source", 3, "")
    with pytest.raises(RadiosslError, match="1 to 5"):
        loaded.rate(first, 6, "")


def test_what_others_change_is_told(loaded):
    before = loaded.now()
    assert loaded.now() == before
    loaded.rate("s03", 5, "ada")
    assert loaded.now()["ratings"] != before["ratings"]
    loaded.learn("linear")
    now = loaded.now()
    assert now["order"] != before["order"]
    assert now["start"] != before["start"]  # the expected rating is a column


def test_clusters_name_their_members_and_classes(loaded):
    clusters = loaded.clusters()
    assert sum(one["count"] for one in clusters) == COUNT
    for one in clusters:
        members = chosen(loaded, {"filters": {"cluster": [one["name"]]}})
        assert len(members) == one["count"]
        assert set(one["rows"]) <= set(members)
        assert one["most"].split("% ")[1] in {"single", "double", "triple"}


def test_an_upload_is_an_image_or_a_catalogue(loaded, survey, tmp_path):
    np.save(tmp_path / "x.npy", survey.store.pixels(9))
    data = (tmp_path / "x.npy").read_bytes()
    found = loaded.upload(data, "x.npy", "none", "10arcsec")
    assert found["rows"][0] == 9
    assert base64.b64decode(found["picture"].partition(",")[2]).startswith(b"\x89PNG")
    json.dumps(found)
    assert loaded.upload(b"name,ra,dec\na,10.3,-5.0\n", "x.csv", "auto", "10arcsec") == {"ids": ["s03"]}
    for crop in ("1,2", "x,y,z", "inf,nan,inf"):
        with pytest.raises(RadiosslError, match="a crop was expected"):
            loaded.upload(data, "x.npy", crop, "10arcsec")


def test_a_label_needs_a_choice(answers):
    with pytest.raises(RadiosslError, match="no sources are chosen"):
        answers.label({}, "FRII")
    assert "2 sources labelled 'FRII'" in answers.label({"ids": ["s01", "s02"]}, "FRII")["message"]
    assert answers.labels()["counts"] == {"FRII": 2}


def test_chosen_sources_are_sent_to_a_program_that_is_open(answers, topcat):
    chosen_by = {"filters": {"kind": ["double"]}}
    assert answers.send(chosen_by, "topcat") == {"message": f"{COUNT // 3} sources are in TOPCAT"}
    name, table = topcat[0]
    assert (name, len(table), set(table["kind"])) == ("features.parquet", COUNT // 3, {"double"})
    assert {"ra_deg", "flux", "rating"} <= set(table.colnames)
    with pytest.raises(RadiosslError, match=r"^ds9: is not open"):
        answers.send(chosen_by, "ds9")
    with pytest.raises(RadiosslError, match="no sources are chosen"):
        answers.send({}, "topcat")
