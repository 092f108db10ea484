"""Searching in one call: every way to ask, names that are looked up, and what the folder shows."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.coordinates.name_resolve import sesame_url
from astropy.io import fits
from PIL import Image

import radiossl
from radiossl import RadiosslError, search
from radiossl.cli.main import main
from radiossl.features.table import FeatureTable
from radiossl.sky.names import resolve_name

#: What Sesame answers in plain text, shortened; the positions are those of SIMBAD.
M87 = """# M87\t#Q22523669
#=S=Simbad (via url):    1
%@ 3098887
%C.0 AGN
%J 187.70593076 +12.39112329 = 12:30:49.42 +12:23:28.0
%J.E [0.0320 0.0250 90] A 2020A&A...644A.159C
%I.0 M  87
#====Done (2026-Jan-01,00:00:00z)====
"""
UNKNOWN = "# nonsense\t#Q22523670\n#!SN *** Nothing found ***\n#====Done (2026-Jan-01,00:00:00z)====\n"


@pytest.fixture
def sesame():
    """A name resolver on this machine that knows M87 only; yields what it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            answer = (M87 if self.path.endswith("?M87") else UNKNOWN).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with sesame_url.set([f"http://127.0.0.1:{server.server_port}/Sesame/"]):
        yield asked
    server.shutdown()


@pytest.fixture(scope="module")
def survey(tmp_path_factory, sky):
    """A mosaic of two sources, M87 among them, and the catalogue of the other."""
    folder = tmp_path_factory.mktemp("survey")
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 187.7, "CRVAL2": 12.4})
    header.update({"CRPIX1": 100.5, "CRPIX2": 100.5, "CDELT1": -5e-4, "CDELT2": 5e-4, "BUNIT": "Jy/beam"})
    fits.writeto(folder / "m.fits", sky(1, (200, 200), sources=3), header)
    names = {"name": ["M 87 core", "b"], "ra": [187.7059, 187.68], "dec": [12.3911, 12.42]}
    pd.DataFrame(names).to_csv(folder / "c.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def table(survey, weights):
    return radiossl.embed(weights, survey / "c.csv", mosaics=survey, size=40)


def test_names_are_looked_up(sesame, monkeypatch):
    assert resolve_name("M87") == pytest.approx((187.70593076, 12.39112329))
    assert sesame == ["/Sesame/SNV?M87"]
    with pytest.raises(RadiosslError, match="Sesame knows no object of that name"):
        resolve_name("nonsense")
    monkeypatch.setenv("RADIOSSL_OFFLINE", "1")
    with pytest.raises(RadiosslError, match="RADIOSSL_OFFLINE forbids"):
        resolve_name("M87")
    assert len(sesame) == 2


def test_without_a_network_it_is_one_line(table):
    with (
        sesame_url.set(["http://127.0.0.1:9/"]),
        pytest.raises(RadiosslError, match="--query M87: no such file, cutout id or position, and its name cannot be"),
    ):
        search(table, "M87")


def test_a_name_finds_the_cutout_at_its_place(sesame, table):
    found = search(table, "M87")
    assert found.searches[0].query.name == "M 87 core"
    assert found.neighbours["cutout_id"].tolist() == ["b"]
    assert found.report is None


def test_a_name_is_cut_from_mosaics(sesame, table, weights, survey):
    found = search(table, ["M87", "12:30:43.2 +12:25:12"], mosaics=survey, weights=weights, crop="none")
    first, second = (one.query for one in found.searches)
    assert (first.name, first.ra_deg) == ("M87", pytest.approx(187.70593))
    assert first.image.shape == second.image.shape == (40, 40)
    assert found.searches[0].neighbours["cutout_id"][0] == "M 87 core"
    assert found.searches[1].neighbours["cutout_id"][0] == "b"
    both = search(table, survey / "c.csv", mosaics=survey, weights=weights, crop="none")
    np.testing.assert_allclose(both.neighbours["similarity"][[0, 2]], 1.0, atol=1e-5)


def test_every_kind_of_query(table, weights, survey, tmp_path):
    store = radiossl.open_images(survey / "c.csv", survey, size=40, out=tmp_path / "store")
    expected = table.features[0]
    np.save(tmp_path / "a.npy", store.pixels(0))
    for query in (store, tmp_path / "store", store.pixels(0), tmp_path / "a.npy", str(tmp_path / "*.npy")):
        found = search(table, query, weights=weights)
        np.testing.assert_allclose(found.searches[0].query.vector, expected, rtol=1e-3, atol=1e-4)
    assert len(search(table, str(tmp_path / "store"), weights=weights).searches) == 2
    assert search(table, expected).neighbours["cutout_id"][0] == "M 87 core"
    assert search(table, search(table, "b").searches[0].query).neighbours["query"].tolist() == ["b"]
    mixed = search(table, [expected, table.features[1]], mean=True, unlike=table.features[1])
    assert mixed.neighbours["cutout_id"].tolist() == ["M 87 core", "b"]


def test_images_need_a_backbone(table, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((9, 9)))
    bare = FeatureTable(table.columns, table.features, {"weights": "elsewhere"})
    with pytest.raises(RadiosslError, match="give --weights, the backbone of the features"):
        search(bare, tmp_path / "a.npy")


def test_the_folder_shows_the_crop(table, weights, survey, tmp_path, capsys):
    table.write(tmp_path / "f.parquet")
    arguments = [tmp_path / "f.parquet", "--query", survey / "m.fits", "--crop", 64, "--out", tmp_path / "found"]
    with pytest.raises(SystemExit) as ended:
        main(["search", *map(str, arguments)])
    assert ended.value.code == 0
    assert "m.fits: cropped to 64 x 64 of 200 x 200 pixels around its source" in capsys.readouterr().out
    assert "cropped to 64 x 64 of 200 x 200" in (tmp_path / "found" / "report.html").read_text()
    with pytest.raises(SystemExit):
        main(["search", *map(str, arguments[:3]), "--crop", "wide", "--out", str(tmp_path / "x")])
    assert "--crop wide: expected auto, none or a number" in capsys.readouterr().err


def test_columns_alone_are_searched():
    table = FeatureTable(pa.table({"cutout_id": ["a", "b"]}), np.eye(2, dtype=np.float32))
    assert search(table, "a", neighbours=5).neighbours["cutout_id"].tolist() == ["b"]


@pytest.mark.parametrize("ending", ["fits", "npy", "png"])
def test_an_image_of_a_folder_that_was_embedded_finds_itself(weights, sky, tmp_path, ending):
    (tmp_path / "images").mkdir()
    for seed in range(3):
        pixels = sky(seed, (150, 150))
        path = tmp_path / "images" / f"{seed}.{ending}"
        if ending == "fits":
            fits.writeto(path, pixels)
        elif ending == "npy":
            np.save(path, pixels)
        else:
            Image.fromarray(np.uint8(255 * (pixels - pixels.min()) / np.ptp(pixels))).save(path)
    table = radiossl.embed(weights, tmp_path / "images")
    assert set(table.column("height")) == set(table.column("width")) == {150}
    found = search(table, tmp_path / "images" / f"1.{ending}", weights=weights)
    assert found.neighbours["cutout_id"].iloc[0].startswith("1")
    assert found.neighbours["similarity"].iloc[0] == pytest.approx(1)
    assert found.searches[0].query.note == ""


def test_coordinates_of_astropy_are_positions(table, survey, weights):
    both = SkyCoord([187.7059, 187.68], [12.3911, 12.42], unit="deg")
    found = search(table, both[1], neighbours=1).searches
    assert [one.query.name for one in found] == ["b"]
    asked = [one.query.name for one in search(table, both.galactic, neighbours=1).searches]
    assert asked == ["M 87 core", "b"]
    (cut,) = search(table, both[0], mosaics=survey, weights=weights, neighbours=1).searches
    assert cut.query.image is not None
    assert cut.query.name == "12h30m49.416s +12d23m27.96s"
    with pytest.raises(RadiosslError, match=r"--query 0\.00000 0\.00000: "):
        search(table, SkyCoord(0, 0, unit="deg"))


@pytest.mark.parametrize("query", ["", " ", ["M 87 core", ""]])
def test_an_empty_query_is_not_the_current_folder(table, query, monkeypatch, survey):
    monkeypatch.chdir(survey)
    with pytest.raises(RadiosslError, match="--query: is empty"):
        search(table, query)
    with pytest.raises(RadiosslError, match="an empty path"):
        radiossl.open_images("")
