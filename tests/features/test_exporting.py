"""Feature tables in other formats, read back by the programs that they are for."""

import csv
import io
import shutil
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import radiossl.features.hats as hats_module
from radiossl import RadiosslError
from radiossl.features.embedding import embed
from radiossl.features.exporting import export_table
from radiossl.features.hats import _pixels
from radiossl.features.table import FeatureTable
from radiossl.io import extras
from radiossl.store.pictures import thumbnail

COUNT = 300


def table_of(ra, dec, path):
    rng = np.random.default_rng(1)
    columns = {
        "cutout_id": [f"c{row:03d}" for row in range(len(ra))],
        "ra_deg": pa.array(ra, pa.float64()),
        "dec_deg": pa.array(dec, pa.float64()),
        "kind": [None if row % 7 == 0 else "FRI" for row in range(len(ra))],
        "island": pa.array([None if row == 3 else row for row in range(len(ra))], pa.int64()),
    }
    table = FeatureTable(pa.table(columns), rng.normal(size=(len(ra), 6)).astype(np.float32), {"weights": "w"})
    table.write(path)
    return table


@pytest.fixture
def table(tmp_path):
    """Sources all over the sky, both poles and the origin of right ascension among them, and a dense field."""
    rng = np.random.default_rng(0)
    ra = np.concatenate([[0.0, 359.9999999, 10.0, 10.0], rng.uniform(0, 360, 96), rng.uniform(180, 181, 200)])
    dec = np.concatenate(
        [[0.0, 0.0, 90.0, -90.0], np.degrees(np.arcsin(rng.uniform(-1, 1, 96))), rng.uniform(5, 6, 200)]
    )
    return table_of(ra, dec, tmp_path / "f.parquet")


@pytest.mark.parametrize("form", ["fits", "votable"])
def test_astropy_reads_what_topcat_reads(table, tmp_path, form):
    from astropy.table import Table

    assert export_table(tmp_path / "f.parquet", tmp_path / "out", form) == 0
    read = Table.read(tmp_path / "out", format=form)
    assert len(read) == COUNT
    np.testing.assert_array_equal(np.asarray(read["features"], np.float32), table.features)
    np.testing.assert_array_equal(read["ra_deg"], table.column("ra_deg"))
    assert [str(value) for value in read["cutout_id"]] == table.column("cutout_id").tolist()
    assert np.flatnonzero(np.ma.getmaskarray(read["island"])).tolist() == [3]


@pytest.mark.parametrize(("form", "ending"), [("fits", "fits"), ("votable", "vot")])
@pytest.mark.skipif(shutil.which("stilts") is None, reason="stilts, which reads tables as TOPCAT does, is missing")
def test_topcat_reads_every_value(table, tmp_path, form, ending):
    out = tmp_path / f"out.{ending}"
    export_table(tmp_path / "f.parquet", out, form)
    asked = 'addcol last features[5]; keepcols "cutout_id ra_deg dec_deg island last"'
    command = ["stilts", "tpipe", f"in={out}", f"cmd={asked}", "ofmt=csv"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["cutout_id"] for row in rows] == table.column("cutout_id").tolist()
    assert [float(row["ra_deg"]) for row in rows] == table.column("ra_deg").tolist()
    assert [float(row["dec_deg"]) for row in rows] == table.column("dec_deg").tolist()
    assert [row["island"] for row in rows] == ["" if row == 3 else str(row) for row in range(COUNT)]
    np.testing.assert_array_equal(np.array([row["last"] for row in rows], np.float32), table.features[:, 5])


def test_pixels_hold_every_source_once_and_few_enough():
    index = np.sort(np.random.default_rng(0).integers(0, 12 << 58, 500) >> np.random.default_rng(1).integers(0, 9, 500))
    pixels = [pixel for top in range(12) for pixel in _pixels(index, 0, top, 20)]
    rows = np.concatenate([part for _, _, part in pixels])
    np.testing.assert_array_equal(rows, np.arange(500))
    for order, pixel, part in pixels:
        inside = index[part]
        assert 0 < len(inside) <= 20
        assert (inside >> (2 * (29 - order)) == pixel).all()
        parent = np.count_nonzero(index >> (2 * (30 - order)) == pixel >> 2) if order else 21
        assert parent > 20  # no pixel is smaller than it needs to be


@pytest.mark.slow
def test_lsdb_opens_and_crossmatches_the_catalogue(table, tmp_path, monkeypatch):
    lsdb = pytest.importorskip("lsdb")
    monkeypatch.setattr(hats_module, "_PARTITION_BYTES", 50 * 4 * 6)  # 50 sources
    assert export_table(tmp_path / "f.parquet", tmp_path / "cat", "hats") == 0
    assert not list(tmp_path.glob("cat/*.npy"))
    catalogue = lsdb.open_catalog(tmp_path / "cat")
    assert len(catalogue.get_healpix_pixels()) > 12
    frame = catalogue.compute().reset_index().sort_values("cutout_id")
    assert frame["cutout_id"].tolist() == table.column("cutout_id").tolist()
    np.testing.assert_array_equal(frame["ra_deg"], table.column("ra_deg"))
    np.testing.assert_array_equal(frame["dec_deg"], table.column("dec_deg"))
    np.testing.assert_array_equal(np.stack(list(frame["features"])), table.features)

    # The same sources 0.4 arcsec further north, as another survey would have them.
    dec = np.clip(table.column("dec_deg") + 0.4 / 3600, -90, 90)
    table_of(table.column("ra_deg"), dec, tmp_path / "g.parquet")
    export_table(tmp_path / "g.parquet", tmp_path / "other", "hats")
    other = lsdb.open_catalog(tmp_path / "other")
    for right, distance in ((catalogue, 0.0), (other, 0.4)):
        found = catalogue.crossmatch(right, radius_arcsec=1, suffixes=("_a", "_b"), require_right_margin=False)
        found = found.compute()
        same = found["cutout_id_a"] == found["cutout_id_b"]
        away = np.abs(found["dec_deg_a"]) < 89.99
        assert same.all()
        assert len(found) >= COUNT - 3  # without margins a source beside a pixel's edge may miss its other half
        np.testing.assert_allclose(found["_dist_arcsec"][away], distance, atol=1e-3)


@pytest.mark.slow
def test_a_margin_lets_lsdb_find_every_neighbour(table, tmp_path, monkeypatch):
    lsdb = pytest.importorskip("lsdb")
    monkeypatch.setattr(hats_module, "_PARTITION_BYTES", 50 * 4 * 6)
    dec = np.clip(table.column("dec_deg") + 0.4 / 3600, -90, 90)
    table_of(table.column("ra_deg"), dec, tmp_path / "g.parquet")
    export_table(tmp_path / "f.parquet", tmp_path / "cat", "hats")
    for _ in range(2):  # an older collection is replaced
        export_table(tmp_path / "g.parquet", tmp_path / "other", "hats", margin_arcsec=10)
    other = lsdb.open_catalog(tmp_path / "other")
    assert other.margin is not None
    found = lsdb.open_catalog(tmp_path / "cat").crossmatch(other, radius_arcsec=1, suffixes=("_a", "_b")).compute()
    assert (found["cutout_id_a"] == found["cutout_id_b"]).all()
    assert len(found) == COUNT
    np.testing.assert_array_equal(np.sort(other.compute()["cutout_id"]), np.sort(table.column("cutout_id")))
    with pytest.raises(RadiosslError, match=r"--margin 40000arcsec: is wider than the smallest pixel"):
        export_table(tmp_path / "f.parquet", tmp_path / "wide", "hats", margin_arcsec=40000)
    with pytest.raises(RadiosslError, match="--margin and --images are for HATS catalogues, not for csv"):
        export_table(tmp_path / "f.parquet", tmp_path / "f.csv", "csv", margin_arcsec=10)


@pytest.mark.slow
def test_a_catalogue_with_nothing_near_an_edge_has_no_margin(tmp_path):
    lsdb = pytest.importorskip("lsdb")
    table_of([10.0, 10.001], [20.0, 20.001], tmp_path / "f.parquet")
    export_table(tmp_path / "f.parquet", tmp_path / "cat", "hats", margin_arcsec=10)
    catalogue = lsdb.open_catalog(tmp_path / "cat")
    assert catalogue.margin is None
    assert len(catalogue.compute()) == 2


@pytest.mark.slow
def test_images_are_those_of_the_multimodal_universe(small_store, tmp_path):
    lsdb = pytest.importorskip("lsdb")
    features = np.arange(48, dtype=np.float32).reshape(24, 2) + 1
    FeatureTable(small_store.table, features, {"stores": [str(small_store.paths[0])]}).write(tmp_path / "f.parquet")
    export_table(tmp_path / "f.parquet", tmp_path / "cat", "hats", with_images=True)
    (file,) = (tmp_path / "cat" / "dataset").rglob("Npix=*.parquet")
    row = pq.read_table(file).to_pylist()[3]
    number = small_store.column("cutout_id").tolist().index(row["cutout_id"])
    pixels, image = small_store.pixels(number), row["image"]
    assert set(image) == {"band", "flux", "ivar", "mask", "psf_fwhm", "scale"}
    np.testing.assert_array_equal(np.array(image["flux"][0], np.float32), pixels)
    np.testing.assert_array_equal(np.array(image["mask"][0]), ~np.isfinite(pixels))
    rms = small_store.column("rms")[number]
    expected = np.where(np.isfinite(pixels), 1 / rms**2, 0)
    np.testing.assert_allclose(np.array(image["ivar"][0]), expected, rtol=1e-6)
    assert image["scale"] == [pytest.approx(1.8)]
    assert len(lsdb.open_catalog(tmp_path / "cat").compute()) == 24


def test_sources_without_a_position_are_left_out_and_counted(tmp_path):
    pytest.importorskip("hats")
    import pyarrow.dataset as dataset

    table_of([10.0, None, np.nan, 40.0], [1.0, 2.0, 3.0, None], tmp_path / "f.parquet")
    assert export_table(tmp_path / "f.parquet", tmp_path / "cat", "hats") == 3
    read = dataset.dataset(tmp_path / "cat" / "dataset", exclude_invalid_files=True).to_table()
    assert read.column("cutout_id").to_pylist() == ["c000"]
    properties = (tmp_path / "cat" / "hats.properties").read_text()
    assert "hats_nrows=1" in properties.replace(" ", "")


def test_what_cannot_be_exported_is_refused(table, tmp_path):
    with pytest.raises(RadiosslError, match="--format xlsx: expected one of fits, votable, csv, hats"):
        export_table(tmp_path / "f.parquet", tmp_path / "x", "xlsx")
    (tmp_path / "thesis").mkdir()
    with pytest.raises(RadiosslError, match="thesis: is a folder"):
        export_table(tmp_path / "f.parquet", tmp_path / "thesis", "fits")
    pytest.importorskip("hats")
    with pytest.raises(RadiosslError, match="thesis: exists and is not a HATS catalogue"):
        export_table(tmp_path / "f.parquet", tmp_path / "thesis", "hats")
    table_of([None, None], [None, None], tmp_path / "none.parquet")
    with pytest.raises(RadiosslError, match=r"none\.parquet: no row has a position"):
        export_table(tmp_path / "none.parquet", tmp_path / "x", "hats")
    FeatureTable(table.columns.drop_columns(["ra_deg"]), table.features).write(tmp_path / "files.parquet")
    with pytest.raises(RadiosslError, match=r"files\.parquet: no column ra_deg"):
        export_table(tmp_path / "files.parquet", tmp_path / "x", "hats")
    assert not (tmp_path / "x").exists()


def test_without_hats_the_extra_is_named(table, tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(RadiosslError, match=r'pip install "radiossl\[formats\]"'):
        export_table(tmp_path / "f.parquet", tmp_path / "x", "hats")


# Values that FITS does not have --------------------------------------------------------------------------------------

LONG = "integrated_flux_density_of_the_brightest_component_within_the_largest_angular_size_mJy"
ROWS = 9
COLUMNS = {
    "quality": pa.array([None, *range(61, 69)], pa.uint8()),
    "full_byte": pa.array([None, 0, 255, 63, 1, 2, 3, 4, 128], pa.uint8()),
    "bytes": pa.array(range(ROWS), pa.uint8()),
    "short": pa.array([None, -32768, -32767, 32767, 0, 1, 2, 3, 4], pa.int16()),
    "tiny": pa.array([None, *range(-4, 4)], pa.int8()),
    "unsigned": pa.array([None, 2**32 - 1, *range(7)], pa.uint32()),
    "long": pa.array([None, -(2**63), 2**63 - 1, 999999, *range(5)], pa.int64()),
    "huge": pa.array([None, 2**63 - 1, *range(7)], pa.uint64()),
    "keep": pa.array([True, False] * 4 + [True], pa.bool_()),
    "seen": pa.array([None, True, False] * 3, pa.bool_()),
    "flux": pa.array([None, 1.5, float("inf"), *[0.25] * 6], pa.float64()),
    "name": pa.array(["Mädler", None, "Łódź 太", "b", "", "x" * 90, "N/A", "1E0657", "007"]),
    "µJy": pa.array([float(row) for row in range(ROWS)]),
    "Name": pa.array(["other"] * ROWS),
    LONG: pa.array(range(ROWS), pa.int32()),
    LONG[:-1] + "2": pa.array(range(ROWS), pa.int32()),
    "when": pa.array([None, *[1_700_000_000_000] * 8], pa.timestamp("ms")),
}
FITS_NAMES = {"µJy": "uJy", "Name": "Name_2", LONG: LONG[:68], LONG[:-1] + "2": LONG[:66] + "_2"}


@pytest.fixture
def odd(tmp_path):
    columns = pa.table({"cutout_id": [f"c{row}" for row in range(ROWS)], **COLUMNS})
    FeatureTable(columns, np.ones((ROWS, 3), np.float32), {"weights": "é"}).write(tmp_path / "odd.parquet")
    return tmp_path / "odd.parquet"


def plain(value):
    """What is read back, as Python holds it."""
    if value is np.ma.masked:
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and np.isnan(value) else value


@pytest.mark.parametrize("form", ["fits", "votable"])
def test_every_value_is_read_back(odd, tmp_path, form):
    from astropy.table import Table

    export_table(odd, tmp_path / "out", form)
    options = {"use_names_over_ids": True} if form == "votable" else {}
    read = Table.read(tmp_path / "out", format=form, **options)
    names = ["cutout_id", *(FITS_NAMES.get(name, name) if form == "fits" else name for name in COLUMNS), "features"]
    assert read.colnames == names
    for name, column in COLUMNS.items():
        found = [plain(value) for value in read[FITS_NAMES.get(name, name) if form == "fits" else name]]
        expected = column.cast(pa.string()).to_pylist() if name == "when" else column.to_pylist()
        if pa.types.is_string(column.type) or name == "when":
            found, expected = ([text or "" for text in texts] for texts in (found, expected))
            if form == "fits":
                found = [text.encode().decode("unicode_escape") for text in found]
        assert found == expected, name
    if form == "fits":
        assert any("column uJy is called \\xb5Jy" in str(line) for line in read.meta["comments"])


def test_csv_holds_all_columns_and_features(odd, tmp_path):
    import pandas as pd

    export_table(odd, tmp_path / "out.csv", "csv")
    read = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False)
    assert read["quality"].tolist() == ["", *map(str, range(61, 69))]
    assert read["long"][1] == str(-(2**63))
    assert read["name"][0] == "Mädler"
    assert read.columns[-3:].tolist() == ["feature_0", "feature_1", "feature_2"]
    assert set(read["feature_1"]) == {"1.0"}


def test_a_value_for_missing_numbers_is_one_that_is_not_there():
    from radiossl.features.exporting import unused_value

    values = np.arange(-128, 127, dtype=np.int8)
    assert unused_value(values, np.zeros(255, bool)) == 127
    assert unused_value(values[3:], np.zeros(252, bool)) == -128


@pytest.mark.parametrize("form", ["embedding-atlas", "spotlight"])
def test_pictures_stand_beside_the_features(small_store, tiny_backbone, tmp_path, form):
    import io

    from PIL import Image

    table = embed(tiny_backbone, small_store)
    table.write(tmp_path / "f.parquet")
    export_table(tmp_path / "f.parquet", tmp_path / "out.parquet", form)
    read = pq.read_table(tmp_path / "out.parquet")
    assert read.column("cutout_id").to_pylist() == table.column("cutout_id").tolist()
    np.testing.assert_array_equal(np.stack(read.column("features").to_pylist()), table.features)
    for row in (0, 7):
        shown = read.column("image")[row].as_py()
        picture = Image.open(io.BytesIO(shown if form == "spotlight" else shown["bytes"]))
        expected = thumbnail(small_store.pixels(row), 128)
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


def test_pictures_need_the_images(table, tmp_path):
    with pytest.raises(RadiosslError, match="the images that it was made of are gone; give them with --store"):
        export_table(tmp_path / "f.parquet", tmp_path / "out.parquet", "spotlight")


@pytest.mark.parametrize("form", ["csv", "fits", "hats"])
def test_a_table_does_not_replace_the_one_it_is_made_of(tmp_path, form):
    table = tmp_path / "t.parquet"
    table_of([1.0], [2.0], table)
    before = table.read_bytes()
    with pytest.raises(RadiosslError, match="is the table that is read; choose another --out"):
        export_table(table, table, form)
    assert table.read_bytes() == before
