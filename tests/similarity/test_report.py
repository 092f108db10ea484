"""The result folder of a search: what is in its tables, regions, gallery and page."""

import json
import re
from html import unescape

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from regions import Regions

import radiossl
from radiossl import RadiosslError
from radiossl.cli.main import main
from radiossl.report.sky_links import sky_links
from radiossl.similarity.queries import query_of
from radiossl.similarity.report import Found, neighbour_table, search_pictures, write_search_results
from radiossl.similarity.search import SimilarityIndex
from radiossl.weights.backbone import save_backbone


@pytest.fixture(scope="module")
def weights(tmp_path_factory, tiny_backbone):
    folder = tmp_path_factory.mktemp("weights") / "b"
    save_backbone(folder, tiny_backbone.network, tiny_backbone.config)
    return folder


@pytest.fixture(scope="module")
def features(tmp_path_factory, small_store, weights):
    path = tmp_path_factory.mktemp("features") / "f.parquet"
    radiossl.embed(weights, small_store).write(path)
    return path


@pytest.fixture(scope="module")
def index(features):
    from radiossl.features.table import FeatureTable

    return SimilarityIndex(FeatureTable.read(features))


@pytest.fixture(scope="module")
def searches(index):
    queries = [index.query_by_id("c03"), query_of([index.query_by_id("c01"), index.query_by_id("c02")])]
    return [Found(*pair) for pair in zip(queries, index.search_many(queries, 4), strict=True)]


def run(*arguments, status=0):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    assert caught.value.code == status


def failed(capsys, *arguments):
    run(*arguments, status=1)
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("table_format", "name"), [("csv", None), ("fits", "neighbours.fits"), ("votable", "neighbours.vot")]
)
def test_everything_is_written(searches, small_store, tmp_path, table_format, name):
    report = write_search_results(searches, small_store, tmp_path, "kind", table_format)
    found = pd.read_csv(tmp_path / "neighbours.csv")
    expected = neighbour_table(searches)
    assert found["cutout_id"].tolist() == expected["cutout_id"].tolist()
    assert found["query"].tolist() == ["c03"] * 4 + ["mean of c01, c02"] * 4
    assert found["separation_arcsec"].notna().tolist() == [True] * 4 + [False] * 4
    names = {file.name for file in tmp_path.iterdir()}
    plain = {".checksums.json", "neighbours.csv", "neighbours.reg", "metrics.json", "gallery.png", "report.html"}
    assert names == plain | ({name} if name else set())
    if name:
        table = Table.read(tmp_path / name)
        assert list(table.colnames) == list(expected.columns)
        assert [str(value) for value in table["cutout_id"]] == expected["cutout_id"].tolist()
        np.testing.assert_allclose(np.asarray(table["similarity"], float), expected["similarity"])
    regions = Regions.read(tmp_path / "neighbours.reg", format="ds9")
    assert len(regions) == 8
    first = expected.iloc[0]
    assert regions[0].meta["text"] == f"1 {first.cutout_id} {first.kind}"
    assert regions[0].center.ra.deg == pytest.approx(first.ra_deg, abs=1e-6)
    assert regions[0].radius.to_value("arcsec") == pytest.approx(max(first.height, first.width) * 1.8 / 2, abs=0.01)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["queries"] == ["c03", "mean of c01, c02"]
    assert metrics["best_similarity"] == pytest.approx(expected["similarity"].max())
    page = report.read_text()
    shown = re.findall('<td class="links">(.*?)</td>', page)
    sides = np.maximum(expected["height"], expected["width"]) * expected["pixel_scale_arcsec"]
    for cell, ra, dec, side in zip(shown, expected["ra_deg"], expected["dec_deg"], sides, strict=True):
        assert [unescape(at) for at in re.findall('href="([^"]+)"', cell)] == list(sky_links(ra, dec, side).values())
    assert 'href="neighbours.reg"' in page


def test_without_positions_there_are_no_regions_and_no_links(searches, tmp_path):
    bare = [Found(found.query, found.neighbours.drop(columns=["ra_deg", "dec_deg"])) for found in searches]
    page = write_search_results(bare, None, tmp_path).read_text()
    assert not (tmp_path / "neighbours.reg").exists()
    assert "simbad" not in page


def test_the_note_of_a_query_is_told(searches, tmp_path):
    from dataclasses import replace

    noted = [Found(replace(searches[0].query, note="resampled from 1 to 2"), searches[0].neighbours)]
    assert "The image was resampled from 1 to 2." in write_search_results(noted, None, tmp_path).read_text()


def test_a_store_without_the_cutouts_is_refused(searches, store_of, sky, tmp_path):
    with pytest.raises(RadiosslError, match="has no cutout 'c0"):
        write_search_results(searches, store_of([sky(0)]), tmp_path / "out")


def test_pictures_are_the_query_or_all_its_examples_in_frames_then_the_neighbours_by_rank(searches, small_store):
    single, mean = search_pictures(searches, small_store, None, "kind")
    assert [picture.framed for picture in single] == [True, *[False] * 4]
    assert [picture.framed for picture in mean] == [True, True, *[False] * 4]
    assert [picture.caption for picture in mean[:2]] == ["c01", "c02"]
    row = searches[0].neighbours.iloc[0]
    lines = single[1].caption.splitlines()
    assert lines == [f"#1: {row.similarity:.3f}", row.kind, f"{row.ra_deg:.4f} {row.dec_deg:+.4f}"]
    ids = small_store.column("cutout_id").tolist()
    np.testing.assert_array_equal(single[1].image, small_store.pixels(ids.index(row.cutout_id)))
    similarities = [float(picture.caption.splitlines()[0].partition(": ")[2]) for picture in single[1:]]
    assert similarities == sorted(similarities, reverse=True)


# The command ----------------------------------------------------------------------------------------------------------


def test_search_of_an_index_is_search_of_its_table(features, small_store, tmp_path, capsys):
    run("index", features, "--out", tmp_path / "index")
    assert "24 cutouts added; 24 in an index of kind flat" in capsys.readouterr().out
    run("index", features, "--out", tmp_path / "index")
    assert "0 cutouts added, 24 skipped that it has already" in capsys.readouterr().out
    tables = []
    for place in (features, tmp_path / "index"):
        out = tmp_path / f"{place.stem}-found"
        run("search", place, "--query", "c03", "--query", "10.7 -5.0", "-k", 5, "--out", out)
        tables.append(pd.read_csv(out / "neighbours.csv"))
    assert tables[0].drop(columns="similarity").equals(tables[1].drop(columns="similarity"))
    assert set(tables[0]["query"]) == {"c03", "c07"}


def test_filters_examples_and_dislikes_on_the_command_line(features, index, tmp_path):
    arguments = ["search", features, "--query", "c02", "--query", "c04", "--mean", "--unlike", "c09", "-k", 3]
    arguments += ["--where", "kind == 'single'", "--near", "10.6 -5 0.65deg", "--format", "fits", "--out", tmp_path]
    run(*arguments)
    found = Table.read(tmp_path / "neighbours.fits")
    query = query_of([index.query_by_id("c02"), index.query_by_id("c04")], [index.query_by_id("c09")])
    expected = index.search(query, 3, index.where("kind == 'single'") & index.near(10.6, -5.0, 0.65 * 3600))
    assert [str(one) for one in found["cutout_id"]] == expected["cutout_id"].tolist()
    assert set(found["query"]) == {"mean of c02, c04, unlike c09"}
    assert set(expected["cutout_id"]) <= {"c00", "c06", "c08", "c10", "c12"}


def test_mistakes_are_told_in_one_line(features, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RADIOSSL_OFFLINE", "1")
    base = ["search", features, "--query", "c02", "--out", tmp_path / "out"]
    assert '--near 10 20: expected "RA DEC RADIUS"' in failed(capsys, *base, "--near", "10 20")
    assert "--near 7parsec: expected an angle" in failed(capsys, *base, "--near", "10 20 7parsec")
    assert "--near 10 80 1deg: no cutout of the features is left" in failed(capsys, *base, "--near", "10 80 1deg")
    assert "--where flux > 99: no cutout of the features is left" in failed(capsys, *base, "--where", "flux > 99")
    assert "--where 'size > 1'" in failed(capsys, *base, "--where", "size > 1")
    assert "--format hdf: expected one of csv, fits, votable" in failed(capsys, *base, "--format", "hdf")
    assert "--query nobody: no such file, cutout id or position" in failed(capsys, *base, "--unlike", "nobody")
    assert "no column 'nix'" in failed(capsys, *base, "--caption", "nix")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["fits", "votable"])
def test_neighbours_of_odd_columns_are_written_whole(form, tmp_path):
    from astropy.table import Table

    from radiossl.similarity.report import write_astropy_table

    frame = pd.DataFrame(
        {
            "name": ["Mädler", None],
            "µJy": [1.0, np.nan],
            "keep": [True, False],
            "seen": [True, None],
            "mixed": [1, "a"],
            "n": pd.array([63, None], dtype="UInt8"),
        }
    )
    write_astropy_table(frame, tmp_path / "t", form)
    read = Table.read(tmp_path / "t", format=form)
    assert read["keep"].tolist() == [True, False]
    assert read["n"].tolist() == [63, None]
    assert read["mixed"].tolist() == ["1", "a"]
    assert read["name"][0] == ("M\\xe4dler" if form == "fits" else "Mädler")
    assert [bool(read["seen"][0]), read["seen"].mask.tolist()] == [True, [False, True]]
