"""`radiossl store ...` from the outside."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import Table
from PIL import Image
from pyarrow import parquet

from radiossl import open_store
from radiossl.store.cutout import Cutout
from radiossl.store.packing import cutout_batches
from radiossl.store.schema import store_schema
from radiossl.store.store import store_manifest
from radiossl.store.writing import write_store
from tests.command import run

SCHEMA = store_schema(
    pa.schema([("label", pa.string()), ("score", pa.float64()), ("flux", pa.float64()), ("good", pa.bool_())])
)


def make_cutout(index):
    pixels = np.random.default_rng(index).normal(0, 1e-4, (20 + index, 30)).astype(np.float32)
    pixels[:2] = np.nan
    extra = {
        "label": ["FRI", "FRII", None][index % 3],
        "score": float(index % 2),
        "flux": 0.1 * (index % 3),  # few values, but fractional: no label
        "good": index < 2,
    }
    return Cutout(f"c{index}", pixels, f"m{index % 2}.fits", 10.0 + index, 5.0, 0.0, 0.0, 1.8, "Jy/beam", None, extra)


def make_store(path, indices=range(6)):
    jobs = [tuple(indices)]
    return write_store(
        path, jobs, lambda job: cutout_batches(map(make_cutout, job), SCHEMA), SCHEMA, {"command": "test"}
    )


@pytest.fixture
def store(tmp_path):
    make_store(tmp_path / "s")
    return tmp_path / "s"


def test_info_writes_the_sky_that_stores_cover(capsys, store, tmp_path):
    from astropy.coordinates import SkyCoord
    from mocpy import MOC

    status, out, _ = run(capsys, "store", "info", store, "--moc", tmp_path / "sky.moc.fits")
    assert status == 0
    assert "6 cutouts" in out
    # c3 is 30 pixels of 1.8 arcsec wide and 23 high.
    offsets = np.array([(0, 0), (25, 0), (0, 19), (34, 0), (0, 28), (3600 * 0.5, 0)]) / 3600
    places = SkyCoord(13 + offsets[:, 0] / np.cos(np.radians(5)), 5 + offsets[:, 1], unit="deg")
    covered = MOC.from_fits(tmp_path / "sky.moc.fits").contains_skycoords(places)
    assert covered.tolist() == [True, True, True, False, False, False]


def test_info_as_json(capsys, store):
    status, out, _ = run(capsys, "store", "info", store, "--json")
    assert status == 0
    (summary,) = json.loads(out)
    assert summary["count"] == 6
    assert (summary["height_px"], summary["width_px"]) == ([20, 25], [30, 30])
    assert summary["units"] == {"Jy/beam": 6}
    assert summary["mosaics"] == 2
    assert summary["pixel_scale_arcsec"] == [1.8, 1.8]
    assert summary["ra_deg"] == [10.0, 15.0]
    fractions = [2 / (20 + index) for index in range(6)]
    assert summary["blank_fraction_mean"] == pytest.approx(np.mean(fractions))
    assert summary["blank_fraction_max"] == pytest.approx(0.1)
    assert summary["rms_median"] == pytest.approx(1e-4, rel=0.1)
    assert summary["command"] == "test"
    assert summary["columns"]["label"] == "string"
    assert summary["columns"]["ra_deg"] == "double"
    assert summary["labels"] == {
        "label": {"(none)": 2, "FRI": 2, "FRII": 2},
        "score": {"0": 3, "1": 3},
        "good": {"no": 4, "yes": 2},
    }


def test_info_as_text_of_several_stores(capsys, store, tmp_path):
    run(capsys, "store", "filter", store, "--where", "score > 0", "--out", tmp_path / "f")
    status, out, _ = run(capsys, "store", "info", store, tmp_path / "f")
    assert status == 0
    first, second = out.split("\n\n")
    assert first.startswith(f"{store}: 6 cutouts\n")
    assert "30 x 20 to 25 px" in first
    assert "label label  (none): 2, FRI: 2, FRII: 2" in first
    assert second.startswith(f"{tmp_path / 'f'}: 3 cutouts\n")
    assert "store filter (test)" in second


def test_info_of_a_store_that_knows_little(capsys, tmp_path):
    cutout = Cutout("c", np.full((3, 3), np.nan, np.float32), "m", np.nan, np.nan, 0.0, 0.0, np.nan)
    write_store(tmp_path / "s", [0], lambda job: cutout_batches([cutout], store_schema()), store_schema(), {})
    status, out, _ = run(capsys, "store", "info", tmp_path / "s")
    assert status == 0
    assert "1 cutout entirely" in out
    assert out.count("unknown") == 6  # unit, scale, RA, Dec, rms, command
    status, out, _ = run(capsys, "store", "info", tmp_path / "s", "--json")
    assert json.loads(out)[0]["rms_median"] is None


def test_errors_are_one_line_and_status_one(capsys, tmp_path):
    status, out, err = run(capsys, "store", "info", tmp_path / "nowhere")
    assert (status, out) == (1, "")
    assert err == f"radiossl: error: {tmp_path / 'nowhere'}: no such cutout store\n"


def test_show_is_reproducible_and_seeded(capsys, store, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        status, out, _ = run(
            capsys, "store", "show", store, "--out", tmp_path / f"{name}.png", "--rows", 3, "--seed", seed
        )
        assert status == 0
        assert "3 of 6 cutouts" in out
    first, same, other = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == same
    assert first != other


def test_show_with_every_option(capsys, store, tmp_path):
    arguments = ["--where", "label == 'FRI'", "--stretch", "asinh", "--caption", "cutout_id", "--caption", "ra_deg"]
    status, out, _ = run(capsys, "store", "show", store, "--out", tmp_path / "a.png", *arguments)
    assert status == 0
    assert "2 of 2 cutouts" in out
    assert Image.open(tmp_path / "a.png").format == "PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stretch", "sqrt"], "--stretch sqrt: expected one of zscale, asinh, log, minmax"),
        (["--where", "flux > 99"], "no cutout meets 'flux > 99'"),
        (["--where", "flux >"], "--where 'flux >'"),
        (["--caption", "colour"], "no column 'colour'"),
    ],
)
def test_show_refusals(capsys, store, tmp_path, arguments, message):
    status, _, err = run(capsys, "store", "show", store, "--out", tmp_path / "a.png", *arguments)
    assert status == 1
    assert message in err
    assert not (tmp_path / "a.png").exists()


def test_filter(capsys, store, tmp_path):
    status, out, _ = run(capsys, "store", "filter", store, "--where", "label == 'FRII'", "--out", tmp_path / "f")
    assert (status, out) == (0, f"{tmp_path / 'f'}: 2 of 6 cutouts\n")
    assert open_store(tmp_path / "f").column("cutout_id").tolist() == ["c1", "c4"]


def test_concat(capsys, store, tmp_path):
    make_store(tmp_path / "t", [7, 8])
    status, out, _ = run(capsys, "store", "concat", store, tmp_path / "t", "--out", tmp_path / "c")
    assert (status, out) == (0, f"{tmp_path / 'c'}: 8 cutouts\n")
    status, _, err = run(capsys, "store", "concat", store, tmp_path / "c", "--out", tmp_path / "d")
    assert status == 1
    assert "cutout id 'c0' occurs more than once" in err


TABLE = {"name": ["c5", "c0", "other"], "z": [0.5, 0.25, 9.0], "ra_deg": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize("suffix", ["csv", "fits", "ecsv", "vot", "parquet"])
def test_join_of_every_format(capsys, store, tmp_path, suffix):
    path = tmp_path / f"table.{suffix}"
    if suffix == "parquet":
        parquet.write_table(pa.table(TABLE), path)
    else:
        formats = {"csv": "ascii.csv", "fits": "fits", "ecsv": "ascii.ecsv", "vot": "votable"}
        Table(TABLE).write(path, format=formats[suffix])
    status, out, _ = run(capsys, "store", "join", store, path, "--on", "cutout_id=name", "--out", tmp_path / "j")
    assert (status, out) == (0, f"{tmp_path / 'j'}: 6 cutouts, 2 of them with a row in table.{suffix}\n")
    joined = open_store(tmp_path / "j")
    np.testing.assert_array_equal(joined.column("z"), [0.25, np.nan, np.nan, np.nan, np.nan, 0.5])
    np.testing.assert_array_equal(joined.column("cat_ra_deg")[[0, 5]], [2.0, 1.0])
    assert joined.column("ra_deg")[0] == 10.0


def test_join_takes_the_columns_asked_for(capsys, store, tmp_path):
    (tmp_path / "t.csv").write_text("cutout_id,label,z\nc1,clash,0.5\n")
    status, _, err = run(
        capsys, "store", "join", store, tmp_path / "t.csv", "--on", "cutout_id", "--out", tmp_path / "j"
    )
    assert status == 1
    assert "column 'label' is in the store already" in err
    arguments = ["--on", "cutout_id", "--column", "z", "--out", tmp_path / "j"]
    assert run(capsys, "store", "join", store, tmp_path / "t.csv", *arguments)[0] == 0
    assert open_store(tmp_path / "j").columns[-2:] == ["good", "z"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on", "id"], "no column 'id'; there are cutout_id, z"),
        (["--on", "cutout_id", "--column", "w"], "no column 'w'; there are cutout_id, z"),
        (["--on", "nothing=cutout_id"], "no column 'nothing'"),
    ],
)
def test_join_refusals(capsys, store, tmp_path, arguments, message):
    (tmp_path / "t.csv").write_text("cutout_id,z\nc1,0.5\n")
    status, _, err = run(capsys, "store", "join", store, tmp_path / "t.csv", *arguments, "--out", tmp_path / "j")
    assert status == 1
    assert message in err
    assert not (tmp_path / "j").exists()


def test_join_of_a_missing_table(capsys, store, tmp_path):
    status, _, err = run(capsys, "store", "join", store, tmp_path / "t.csv", "--on", "z", "--out", tmp_path / "j")
    assert status == 1
    assert "t.csv: no such file" in err


def test_crossmatch_by_position_and_pixels(capsys, store, tmp_path):
    make_store(tmp_path / "t", [4, 5, 6, 7])
    table = tmp_path / "pairs.csv"
    status, out, _ = run(capsys, "store", "crossmatch", store, tmp_path / "t", "--out", table)
    assert status == 0
    assert out.splitlines() == [
        f"{store}: 2 of 6 cutouts match one of {tmp_path / 't'}",
        f"{tmp_path / 't'}: 2 of 4 cutouts match one of {store}",
        f"{table}: 2 pairs",
    ]
    pairs = pd.read_csv(table)
    assert pairs["cutout_id_a"].tolist() == pairs["cutout_id_b"].tolist() == ["c4", "c5"]
    assert pairs["ra_deg_b"].tolist() == [14.0, 15.0]
    assert pairs["separation_arcsec"].tolist() == [0, 0]
    assert set(pairs["matched_by"]) == {"position"}
    run(capsys, "store", "crossmatch", store, tmp_path / "t", "--pixels", "exact", "--out", table)
    assert set(pd.read_csv(table)["matched_by"]) == {"position+exact"}


def test_crossmatch_takes_the_radius_in_every_unit(capsys, store):
    # Sources are a degree of right ascension apart at declination 5: 0.9962 degrees.
    for radius, found in (("0.99deg", 0), ("59.7arcmin", 0), ("0.997deg", 6), ("3590", 6)):
        status, out, _ = run(capsys, "store", "crossmatch", store, store, "--radius", radius)
        assert status == 0
        assert out.startswith(f"{store}: {found} of 6 cutouts match"), radius


def test_crossmatch_removes_the_matches(capsys, store, tmp_path):
    make_store(tmp_path / "t", [4, 5, 6, 7])
    arguments = ["store", "crossmatch", store, tmp_path / "t", "--radius", "1arcmin", "--remove-to", tmp_path / "r"]
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert out.endswith(f"{tmp_path / 'r'}: 4 of 6 cutouts\n")
    left = open_store(tmp_path / "r")
    assert left.column("cutout_id").tolist() == ["c0", "c1", "c2", "c3"]
    np.testing.assert_array_equal(left.pixels(3), open_store(store).pixels(3))
    provenance = store_manifest(tmp_path / "r")["provenance"]
    assert provenance["removed"] == {
        "store": "t",
        "identity": store_manifest(tmp_path / "t")["identity"],
        "radius_arcsec": 60.0,
        "pixels": None,
        "turned": False,
        "count": 2,
    }
    assert provenance["parents"][0]["command"] == "test"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--radius", "5parsec"], "--radius 5parsec: expected an angle such as 60arcsec"),
        (["--radius", "200deg"], "expected an angle from 0 to 180 degrees"),
        (["--pixels", "alike"], "--pixels alike: expected one of exact, near"),
        (["--turned"], "--turned: only goes with --pixels near"),
        (["--out", "pairs.fits"], "--out pairs.fits: the pairs are written as CSV"),
        (["--remove-to", "r"], "are the same store, so nothing would be left"),
    ],
)
def test_crossmatch_refusals(capsys, store, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, "store", "crossmatch", store, store, *arguments)
    assert status == 1
    assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]
