"""The session: sources found, neighbours as the search gives them, rankings as `radiossl rate` makes them, maps."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from radiossl.anomalies.scores import AnomalySettings, anomaly_scores
from radiossl.explorer.maps import SKY
from radiossl.explorer.pictures import picture_png
from radiossl.explorer.ranking import EXPECTED, SCORE, Ranking
from radiossl.explorer.session import Files, Session, read_vectors
from radiossl.features.feature_file import FeatureFile
from radiossl.features.table import FeatureTable
from radiossl.io.errors import RadiosslError
from radiossl.ratings.active_learning import learn, rated_objects, rating_space
from radiossl.ratings.ranking import ranked_table
from radiossl.ratings.records import last_ratings, read_ratings
from radiossl.similarity.queries import CropBox
from radiossl.similarity.search import SimilarityIndex

from .conftest import COUNT, HOSTILE_ID


@pytest.fixture
def files(survey, tmp_path):
    ours = {"ratings": tmp_path / "ratings.csv", "labels": tmp_path / "labels.csv", "map_folder": tmp_path / "umap"}
    return Files(survey.features, survey.weights, **ours)


@pytest.fixture
def session(survey, files):
    made = Session(files, survey.store)
    made.load()
    assert made.trouble == ""
    yield made
    made.maps.close()


def test_neighbours_are_those_of_the_similarity_search(session, survey):
    index = SimilarityIndex(FeatureTable.read(survey.features))
    for row in (0, 7, COUNT - 1):
        expected = index.search(index.query_by_id(session.cutout_id(row)), 24)
        found = session.neighbours(row)
        assert found["row"].tolist() == expected["row"].tolist()
        np.testing.assert_allclose(found["similarity"], expected["similarity"], atol=1e-6)


def test_vectors_in_half_precision_find_the_same(survey):
    file = FeatureFile(survey.features)
    told = []
    exact, half = read_vectors(file, told.append), read_vectors(file, told.append, exact_rows=10)
    vectors, halves = exact.array, half.array
    assert halves.dtype == np.float16
    assert told[-1] == 1.0
    np.testing.assert_allclose(halves, vectors, atol=1e-3)
    one, rows = exact.search(vectors[:5], 4)
    other, _ = half.search(vectors[:5], 4)
    np.testing.assert_allclose(one, other, atol=1e-3)
    np.testing.assert_allclose(half.vectors([3, 1]), vectors[[3, 1]], atol=1e-3)
    assert rows[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_neighbours_wait_for_the_features(survey, files):
    session = Session(files, survey.store)
    with pytest.raises(RadiosslError, match="being read"):
        session.neighbours(0)


def test_sources_are_found_by_id_and_by_position(session):
    assert session.find(" s07 ") == 7
    assert session.find("10.7 -5.0") == 7
    assert session.find("00:42:48 -05:00:00") == 7
    assert session.find(HOSTILE_ID) == COUNT - 1
    with pytest.raises(RadiosslError, match="arcsec away, more than 60"):
        session.find("100.0 40.0")
    with pytest.raises(RadiosslError, match="neither an id of a source"):
        session.find("../../etc/passwd")


def test_the_store_may_hold_more_and_in_another_order(survey, files, session):
    shuffled = survey.store.select(np.arange(COUNT)[::-1])
    other = Session(files, shuffled)
    for row in (0, 31):
        np.testing.assert_array_equal(other.pixels(row), session.pixels(row))
    with pytest.raises(RadiosslError, match="has none of the sources"):
        Session(files, survey.store.select(np.zeros(0, np.int64)))


def test_a_source_that_the_store_lacks_has_no_picture(survey, files):
    session = Session(files, survey.store.select(np.arange(10)))
    assert session.pixels(11) is None
    assert session.picture(11, "asinh", "inferno", 64) is None


def test_an_id_that_stands_twice_is_refused(survey, files, tmp_path):
    table = FeatureTable.read(survey.features)
    table.select(np.array([0, 1, 1])).write(tmp_path / "twice.parquet")
    with pytest.raises(RadiosslError, match="two sources have the same cutout_id"):
        Session(replace(files, features=tmp_path / "twice.parquet"), None)


def test_a_map_of_other_sources_is_refused(survey, files, tmp_path):
    from radiossl.maps.layout import make_map, map_columns
    from radiossl.maps.report import write_map

    table = FeatureTable.read(survey.features).select(np.arange(COUNT)[::-1])
    table.write(tmp_path / "other.parquet")
    file = FeatureFile(tmp_path / "other.parquet")
    write_map(make_map(file, "pca"), map_columns(file), tmp_path / "map")
    with pytest.raises(RadiosslError, match="map of other sources"):
        Session(replace(files, map_folder=tmp_path / "map"), None)
    own = Session(replace(files, features=tmp_path / "other.parquet", map_folder=tmp_path / "map"), None)
    assert list(own.maps.coordinates) == ["map", "sky"]
    assert not own.maps.can_make_umap


@pytest.mark.slow
def test_a_umap_is_made_beside_the_session(session):
    first = session.maps.coordinates["principal components"]
    assert first.shape == (COUNT, 2)
    session.maps.start_umap()
    assert not session.maps.can_make_umap
    session.maps._process.wait(timeout=200)
    assert session.maps.poll() == ""
    assert list(session.maps.coordinates) == ["principal components", "sky", "UMAP"]
    assert np.isfinite(session.maps.coordinates["UMAP"]).all()


def test_a_umap_that_is_not_finished_ends_with_the_session(survey, files):
    session = Session(files, survey.store)
    session.maps.start_umap()
    process = session.maps._process
    assert "being made" in session.maps.poll()
    session.maps.close()
    assert process.poll() is not None


def test_modules_in_the_folder_that_one_explores_from_are_not_run(session, tmp_path, monkeypatch):
    (tmp_path / "radiossl").mkdir()
    (tmp_path / "radiossl" / "__init__.py").write_text("raise SystemExit('run')")
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    session.maps.start_umap()
    python = started[0][: started[0].index("-m")]
    monkeypatch.undo()
    assert subprocess.run([*python, "-m", "radiossl.cli.main", "--version"], cwd=tmp_path).returncode == 0


def test_the_ranking_is_that_of_radiossl_rate(session, survey):
    ranking = Ranking(session)
    with pytest.raises(RadiosslError, match="still being made"):
        ranking.table()
    ranking.prepare()
    table = FeatureTable.read(survey.features)
    starting = anomaly_scores(table.features, AnomalySettings())
    np.testing.assert_allclose(session.shown.later[SCORE], starting, atol=1e-6)
    assert ranking.table()["cutout_id"].iloc[0] == session.cutout_id(int(np.argmax(starting)))
    with pytest.raises(RadiosslError, match="no object is rated"):
        ranking.learn("linear")
    for row in range(12):
        session.ratings.add(session.cutout_id(row), 1 + row % 5)
    ranking.learn("linear")
    rated = rated_objects(table, last_ratings(read_ratings(session.files.ratings)), starting)
    prediction = learn(rating_space(table), rated)
    expected = ranked_table(table, prediction, rated)
    assert ranking.table()["cutout_id"].tolist() == expected["cutout_id"].tolist()
    assert [session.cutout_id(row) for row in ranking.now.rows] == expected["cutout_id"].tolist()
    np.testing.assert_allclose(session.shown.later[EXPECTED], prediction.rating, atol=1e-3)
    assert not set(ranking.proposal().tolist()) & set(range(12))


def test_given_scores_order_the_list(survey, files, tmp_path):
    ids = [str(name) for name in survey.store.column("cutout_id")]
    pd.DataFrame({"cutout_id": ids, "score": np.arange(COUNT)}).to_csv(tmp_path / "scores.csv", index=False)
    session = Session(replace(files, scores=tmp_path / "scores.csv"), survey.store)
    assert Ranking(session).now.rows.tolist() == list(range(COUNT))[::-1]


def test_columns_that_tell_sources_apart_colour_the_map(session):
    names = session.shown.names()
    assert {"kind", "flux", "rms"} <= set(names)
    assert not {"beam_major_arcsec"} & set(names)
    session.shown.later["later"] = np.arange(COUNT, dtype=float)
    assert session.shown.names()[0] == "later"
    np.testing.assert_array_equal(session.shown.colours("later").values, np.arange(COUNT))
    frame = session.rows_frame(np.array([4, 2]))
    assert frame["cutout_id"].tolist() == ["s04", "s02"]
    assert frame["later"].tolist() == [4.0, 2.0]


def test_an_upload_of_a_cutout_finds_it(session, survey):
    stream = io.BytesIO()
    np.save(stream, survey.store.pixels(9))
    query, found = session.search_upload(stream.getvalue(), "../../x<b>.npy")
    assert query.name == "x<b>.npy"
    assert found["row"].iloc[0] == 9
    assert found["similarity"].iloc[0] == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(RadiosslError, match="not an image"):
        session.search_upload(b"rubbish", "x.fits")


def test_an_upload_is_searched_with_the_weights_that_the_table_names_or_needs_others(survey, files, tmp_path):
    session = Session(replace(files, weights=None), survey.store)
    session.load()
    stream = io.BytesIO()
    np.save(stream, survey.store.pixels(9))
    assert session.search_upload(stream.getvalue(), "x.npy")[1]["row"].iloc[0] == 9
    table = FeatureTable.read(survey.features)
    FeatureTable(table.columns, table.features).write(tmp_path / "nameless.parquet")
    session = Session(replace(files, weights=None, features=tmp_path / "nameless.parquet"), survey.store)
    session.load()
    with pytest.raises(RadiosslError, match="start with --weights"):
        session.search_upload(stream.getvalue(), "x.npy")


def test_pictures_stand_north_up():
    from PIL import Image

    pixels = np.zeros((4, 6), np.float32)
    pixels[3, 5] = 1.0  # the last row of FITS is the upper one of a picture
    shown = np.asarray(Image.open(io.BytesIO(picture_png(pixels, "minmax", "gray", 512))))
    assert shown.shape == (4, 6, 3)
    assert shown[0, 5, 0] == 255
    assert shown.sum() == 3 * 255
    large = picture_png(np.zeros((300, 150), np.float32), "asinh", "inferno", 100)
    assert Image.open(io.BytesIO(large)).size == (50, 100)


def test_columns_are_grouped_and_have_their_units(session):
    session.shown.later["score"] = np.arange(COUNT, dtype=float)
    groups = session.shown.groups()
    assert list(groups) == ["computed here", "catalogue", "cutout"]
    assert groups["computed here"] == ["score"]
    assert groups["catalogue"] == ["kind", "flux", "note"]
    assert "ra_deg" in groups["cutout"]
    assert session.shown.label("ra_deg") == "ra_deg [deg]"
    assert session.shown.label("pixel_scale_arcsec") == "pixel_scale_arcsec [arcsec]"
    assert session.shown.label("rms") == "rms [Jy/beam]"
    assert session.shown.label("flux") == "flux"
    assert session.shown.colours("flux") is session.shown.colours("flux")
    before = session.shown.colours("score")
    session.shown.later["score"] = -session.shown.later["score"]
    assert session.shown.colours("score") is not before


def test_clusters_are_a_column_of_their_own(session):
    session.find_clusters()
    frame = session.rows_frame(np.arange(COUNT))
    assert frame["cluster"].tolist() == session.clusters.names.tolist()
    assert session.details(3)["cluster"] == session.clusters.names[3]


def test_a_second_backbone_is_a_second_map_of_the_same_sources(survey, files, tmp_path):
    order = np.random.default_rng(0).permutation(COUNT)
    table = FeatureTable.read(survey.features)
    other = FeatureTable(table.columns, table.features[:, ::-1] ** 3, {"weights": "another"})
    other.select(order).write(tmp_path / "other.parquet")
    session = Session(replace(files, second=tmp_path / "other.parquet"), survey.store)
    assert session.maps.second == "other (second)"
    from radiossl.maps.layout import make_map

    expected = make_map(other, "pca").coordinates
    np.testing.assert_allclose(session.maps.coordinates["other (second)"], expected, atol=1e-4)
    table.select(np.arange(COUNT - 3)).write(tmp_path / "fewer.parquet")
    with pytest.raises(RadiosslError, match="lacks 3 of the sources"):
        Session(replace(files, second=tmp_path / "fewer.parquet"), survey.store)


def test_a_catalogue_of_positions_chooses_the_sources_that_are_there(session):
    ra = 10.0 + 0.1 * np.array([3, 7, 7])
    data = pd.DataFrame({"ra": ra + np.array([0, 0, 0.0001]), "dec": -5.0005}).to_csv(index=False).encode()
    assert session.match_upload(data, 10.0).tolist() == [3, 7]
    with pytest.raises(RadiosslError, match="no source within 1 arcsec of the 3 positions"):
        session.match_upload(data, 1.0)
    with pytest.raises(RadiosslError, match="catalogue"):
        session.match_upload(b"a,b\n1,2\n", 1.0)


def test_sources_without_a_position_are_not_in_the_way_of_the_others(survey, files, tmp_path, caplog):
    table = FeatureTable.read(survey.features)
    ra = table.columns.column("ra_deg").to_numpy().astype(float)
    place = table.columns.schema.get_field_index("ra_deg")
    ra[0] = np.nan
    columns = table.columns.set_column(place, "ra_deg", pa.array(ra))
    FeatureTable(columns, table.features, table.metadata).write(tmp_path / "some.parquet")
    some = Session(replace(files, features=tmp_path / "some.parquet"), survey.store)
    assert SKY not in some.maps.coordinates
    assert caplog.messages == [f"1 of {COUNT} sources have no position, so there is no map of the sky"]
    data = pd.DataFrame({"ra": 10.0 + 0.1 * np.array([0, 3]), "dec": -5.0}).to_csv(index=False).encode()
    assert some.match_upload(data, 10.0).tolist() == [3]
    some.maps.close()


def test_an_upload_is_cropped_to_its_source_and_the_crop_can_be_moved(session, survey):
    large = np.random.default_rng(5).normal(0, 1e-4, (200, 240)).astype(np.float32)
    cutout = survey.store.pixels(4)
    large[90:130, 60:100] += cutout
    stream = io.BytesIO()
    np.save(stream, large)
    query, _ = session.search_upload(stream.getvalue(), "large.npy")
    assert query.image.shape == cutout.shape
    assert query.whole.shape == large.shape
    moved = CropBox(79.5, 109.5, 40)
    query, found = session.search_upload(stream.getvalue(), "large.npy", moved)
    assert query.box == moved
    np.testing.assert_array_equal(query.image, large[90:130, 60:100])
    assert found["row"].iloc[0] == 4
    query, _ = session.search_upload(stream.getvalue(), "large.npy", CropBox(-50.0, 500.0, 40))
    assert query.box == CropBox(19.5, 179.5, 40)
    whole, _ = session.search_upload(stream.getvalue(), "large.npy", "none")
    assert whole.whole is None
    assert whole.image.shape == large.shape
