"""Cutouts of surveys, from a server on this machine that answers as hips2fits, SIA (1 and 2), Datalink and SODA do."""

import io
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from radiossl import RadiosslError, fetch_cutouts, open_store
from radiossl.cli.main import main
from radiossl.datasets.survey_images import SURVEYS

SIA1 = """<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">
<INFO name="QUERY_STATUS" value="OK"/><TABLE>
<FIELD name="Title" ucd="VOX:Image_Title" datatype="char" arraysize="*"/>
<FIELD name="RA" ucd="POS_EQ_RA_MAIN" datatype="double"/><FIELD name="DEC" ucd="POS_EQ_DEC_MAIN" datatype="double"/>
<FIELD name="Format" ucd="VOX:Image_Format" datatype="char" arraysize="*"/>
<FIELD name="URL" ucd="VOX:Image_AccessReference" datatype="char" arraysize="*"/>
<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""
SIA2 = """<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">
<INFO name="QUERY_STATUS" value="OK"/><TABLE>
<FIELD name="obs_publisher_did" utype="obscore:Curation.PublisherDID" datatype="char" arraysize="*"/>
<FIELD name="access_url" utype="obscore:Access.Reference" datatype="char" arraysize="*"/>
<FIELD name="access_format"
utype="obscore:Access.Format" ucd="meta.code.mime" datatype="char" arraysize="*"/>
<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""
DATALINK = """<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/><TABLE>
<FIELD name="ID" ID="primaryID" datatype="char" arraysize="*"/><FIELD name="access_url" datatype="char" arraysize="*"/>
<FIELD name="service_def" datatype="char" arraysize="*"/><FIELD name="semantics" datatype="char" arraysize="*"/>
<DATA><TABLEDATA><TR><TD>tile</TD><TD/><TD>soda</TD><TD>#cutout</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE>
<RESOURCE type="meta" utype="adhoc:service" ID="soda">
<PARAM name="standardID" datatype="char" arraysize="*" value="ivo://ivoa.net/std/SODA#sync-1.0"/>
<PARAM name="accessURL" datatype="char" arraysize="*" value="{url}/soda"/>
<GROUP name="inputParams"><PARAM name="ID" datatype="char" arraysize="*" value="tile"/>
<PARAM name="CIRCLE" datatype="double" arraysize="3" xtype="circle" unit="deg" value=""/></GROUP>
</RESOURCE></VOTABLE>"""


def image(ra, dec, side, scale_deg, beam=None):
    """A FITS image as services make it, around a position, its brightness telling which."""
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec})
    header.update({"CRPIX1": (side + 1) / 2, "CRPIX2": (side + 1) / 2, "CDELT1": -scale_deg, "CDELT2": scale_deg})
    if beam:
        header.update({"BMAJ": beam / 3600, "BMIN": beam / 3600, "BPA": 0.0, "BUNIT": "mJy/beam"})
    pixels = np.random.default_rng(int(ra)).normal(ra, 1, (side, side)).astype("f4")
    stream = io.BytesIO()
    fits.PrimaryHDU(pixels, header).writeto(stream)
    return stream.getvalue()


@pytest.fixture
def server():
    """Serves the northern sky; `down` requests more are answered with 503. Yields itself, with what was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            asked = {name.upper(): values[0] for name, values in parse_qs(url.query).items()}
            here.asked.append((url.path, asked))
            if here.down:
                here.down -= 1
                return self.answer(503, b"busy", {"Retry-After": "0"})
            if url.path == "/hips2fits":
                ra, dec, side = float(asked["RA"]), float(asked["DEC"]), int(asked["WIDTH"])
                return (
                    self.answer(200, image(ra, dec, side, float(asked["FOV"]) / side))
                    if dec > -40
                    else self.answer(404)
                )
            if url.path == "/image":
                return self.answer(200, image(float(asked["RA"]), 10.0, 20, 5e-4))
            if url.path == "/evil":
                row = "<TR><TD>t</TD><TD>10</TD><TD>10</TD><TD>image/fits</TD><TD>file:///etc/passwd</TD></TR>"
                return self.answer(200, SIA1.format(rows=row).encode())
            if url.path == "/sia":
                ra = asked["POS"].split(",")[0]
                row = f"<TR><TD>t</TD><TD>{ra}</TD><TD>10</TD><TD>image/fits</TD><TD>{here.url}/image?ra={ra}</TD></TR>"
                return self.answer(200, SIA1.format(rows=row).encode())
            if url.path == "/sia2":
                row = f"<TR><TD>tile</TD><TD>{here.url}/links?ID=tile</TD>"
                row += "<TD>application/x-votable+xml;content=datalink</TD></TR>"
                return self.answer(200, SIA2.format(rows=row if asked["COLLECTION"] == "VLASS" else "").encode())
            if url.path == "/links":
                return self.answer(200, DATALINK.format(url=here.url).encode())
            ra, dec, radius = map(float, asked["CIRCLE"].split())
            side = round(2 * radius * 3600)
            return self.answer(200, image(ra, dec, side, 1 / 3600, beam=2.9))

        def answer(self, status, content=b"", headers=None):
            self.send_response(status)
            xml = content.startswith(b"<")
            sent = {"Content-Type": "application/x-votable+xml" if xml else "application/fits", **(headers or {})}
            for name, value in {**sent, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    here = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.asked, here.down, here.url = [], 0, f"http://127.0.0.1:{here.server_port}"
    Thread(target=here.serve_forever, daemon=True).start()
    yield here
    here.shutdown()


@pytest.fixture
def catalogue(tmp_path):
    frame = pd.DataFrame({"name": ["a", "007", "south"], "ra": [11.0, 12.0, 13.0], "dec": [10.0, 10.5, -80.0]})
    frame.assign(kind=["FRI", "FRII", ""]).to_csv(tmp_path / "c.csv", index=False)
    return tmp_path / "c.csv"


def fetch(catalogue, survey, tmp_path, server, path, **options):
    return fetch_cutouts(
        catalogue, survey, tmp_path / "store", service=server.url + path, cache=tmp_path / "cache", wait_s=0, **options
    )


def test_hips2fits(catalogue, server, tmp_path):
    store = fetch(catalogue, "nvss", tmp_path, server, "/hips2fits", size=30)
    assert store.column("cutout_id").tolist() == ["a", "007"]
    assert store.column("kind").tolist() == ["FRI", "FRII"]
    assert store.shapes.tolist() == [[30, 30]] * 2
    np.testing.assert_allclose(store.column("ra_deg"), [11, 12])
    np.testing.assert_allclose(store.column("pixel_scale_arcsec"), 15, rtol=1e-6)
    assert store.column("beam_major_arcsec").tolist() == [45, 45]
    assert set(store.column("unit")) == {"Jy/beam"}
    np.testing.assert_allclose([store.pixels(row).mean() for row in range(2)], [11, 12], atol=0.2)
    assert (tmp_path / "store" / "not_fetched.csv").read_text().splitlines()[1] == "south,13.0,-80.0,no image"
    asked = server.asked[0][1]
    assert {name: asked[name] for name in ("HIPS", "FOV", "PROJECTION", "FORMAT")} == {
        "HIPS": "CDS/P/NVSS", "FOV": "0.125", "PROJECTION": "TAN", "FORMAT": "fits"
    }  # fmt: skip


def test_nothing_is_asked_twice_and_passing_trouble_is_waited_for(catalogue, server, tmp_path):
    server.down = 2
    first = fetch(catalogue, "hips:X/P/any", tmp_path, server, "/hips2fits", size=16)
    count = len(server.asked)
    assert count == 3 + 2
    again = fetch(catalogue, "hips:X/P/any", tmp_path, server, "/hips2fits", size=16)
    assert len(server.asked) == count
    assert again.table.equals(first.table)
    assert np.isnan(first.column("beam_major_arcsec")).all()
    [nothing] = (tmp_path / "cache").rglob("*.none")  # surveys grow: that a place had no image counts for a week
    os.utime(nothing, (nothing.stat().st_mtime - 8 * 86400,) * 2)
    fetch(catalogue, "hips:X/P/any", tmp_path, server, "/hips2fits", size=16)
    assert len(server.asked) == count + 1


def test_a_catalogue_that_was_changed_is_not_answered_with_the_store_of_before(catalogue, server, tmp_path):
    fetch(catalogue, "nvss", tmp_path, server, "/hips2fits", size=16)
    catalogue.write_text(catalogue.read_text().replace("FRII", "bent"))
    with pytest.raises(RadiosslError, match="store: holds a finished store already; choose another --out"):
        fetch(catalogue, "nvss", tmp_path, server, "/hips2fits", size=16)


def test_a_run_that_broke_off_goes_on(catalogue, server, tmp_path, monkeypatch):
    import radiossl.datasets.survey_images as module

    calls, real = [], module._image
    monkeypatch.setattr(
        module, "_image", lambda *asked: calls.append(asked) or (real(*asked) if len(calls) < 2 else 1 / 0)
    )
    with pytest.raises(ZeroDivisionError):
        fetch(catalogue, "lotss", tmp_path, server, "/hips2fits", size=16)
    monkeypatch.undo()
    assert len(fetch(catalogue, "lotss", tmp_path, server, "/hips2fits", size=16)) == 2
    assert [asked["RA"] for _, asked in server.asked] == ["11.0", "12.0", "13.0"]


def test_sia_version_1(catalogue, server, tmp_path):
    pytest.importorskip("pyvo")
    store = fetch(catalogue, "first", tmp_path, server, "/sia?survey=first&")
    assert len(store) == 3
    assert store.column("beam_major_arcsec").tolist() == [5.4] * 3
    assert [path for path, _ in server.asked[:2]] == ["/sia", "/image"]
    np.testing.assert_allclose(float(server.asked[0][1]["SIZE"]), 150 * 1.8 / 3600)


def test_a_server_s_answer_reads_no_file_of_this_machine(catalogue, server, tmp_path):
    with pytest.raises(RadiosslError, match="file:///etc/passwd: the survey's server names an address that is not"):
        fetch(catalogue, "first", tmp_path, server, "/evil?")


def test_sia_version_2_with_soda(catalogue, server, tmp_path):
    pytest.importorskip("pyvo")
    store = fetch(catalogue, "vlass", tmp_path, server, "/sia2", size=40)
    assert store.shapes.tolist() == [[40, 40]] * 3
    np.testing.assert_allclose(store.column("dec_deg"), [10, 10.5, -80])
    np.testing.assert_allclose(store.column("beam_major_arcsec"), 2.9, rtol=1e-6)  # the header knows better
    assert set(store.column("unit")) == {"mJy/beam"}
    assert [path for path, _ in server.asked[:3]] == ["/sia2", "/links", "/soda"]
    with pytest.raises(RadiosslError, match=r"emu has no image of any of its 3 sources"):
        fetch_cutouts(catalogue, "emu", tmp_path / "x", service=server.url + "/sia2", cache=tmp_path / "e", wait_s=0)


def test_the_command_and_what_goes_wrong(catalogue, server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RADIOSSL_CACHE", str(tmp_path / "cache"))
    command = ["cutouts", "fetch", str(catalogue), "--survey", "racs", "--size", "16", "--out", str(tmp_path / "store")]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--service", server.url + "/hips2fits"])
    assert ended.value.code == 0
    assert "2 cutouts of racs; others are listed in" in capsys.readouterr().out
    assert len(open_store(tmp_path / "store")) == 2
    with pytest.raises(RadiosslError, match="--survey sdss: expected one of first, nvss"):
        fetch_cutouts(catalogue, "sdss", tmp_path / "x")
    monkeypatch.setattr("radiossl.datasets.survey_images._TRIES", 2)
    with pytest.raises(RadiosslError, match=r"cannot be reached .*run the same command again"):
        fetch_cutouts(catalogue, "nvss", tmp_path / "x", service="http://127.0.0.1:9/", cache=tmp_path / "n", wait_s=0)
    assert set(SURVEYS) == {"first", "nvss", "vlass", "racs", "lotss", "emu"}
