"""Feature tables in other formats, read back by the programs that they are for."""

import numpy as np
import pyarrow as pa
import pytest

import radiossl.features.hats as hats_module
from radiossl import RadiosslError
from radiossl.features.exporting import export_features
from radiossl.features.hats import _pixels
from radiossl.features.table import FeatureTable

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

    assert export_features(tmp_path / "f.parquet", tmp_path / "out", form) == 0
    read = Table.read(tmp_path / "out", format=form)
    assert len(read) == COUNT
    np.testing.assert_array_equal(np.asarray(read["features"], np.float32), table.features)
    np.testing.assert_array_equal(read["ra_deg"], table.column("ra_deg"))
    assert [str(value) for value in read["cutout_id"]] == table.column("cutout_id").tolist()
    assert np.flatnonzero(np.ma.getmaskarray(read["island"])).tolist() == [3]


def test_pixels_hold_every_source_once_and_few_enough():
    index = np.sort(np.random.default_rng(0).integers(0, 12 << 58, 500) >> np.random.default_rng(1).integers(0, 9, 500))
    pixels = [pixel for top in range(12) for pixel in _pixels(index, 0, top, 20)]
    rows = np.concatenate([np.arange(part.start, part.stop) for _, _, part in pixels])
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
    assert export_features(tmp_path / "f.parquet", tmp_path / "cat", "hats") == 0
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
    export_features(tmp_path / "g.parquet", tmp_path / "other", "hats")
    other = lsdb.open_catalog(tmp_path / "other")
    for right, distance in ((catalogue, 0.0), (other, 0.4)):
        found = catalogue.crossmatch(right, radius_arcsec=1, suffixes=("_a", "_b"), require_right_margin=False)
        found = found.compute()
        same = found["cutout_id_a"] == found["cutout_id_b"]
        away = np.abs(found["dec_deg_a"]) < 89.99
        assert same.all()
        assert len(found) >= COUNT - 3  # without margins a source beside a pixel's edge may miss its other half
        np.testing.assert_allclose(found["_dist_arcsec"][away], distance, atol=1e-3)


def test_sources_without_a_position_are_left_out_and_counted(tmp_path):
    pytest.importorskip("hats")
    import pyarrow.dataset as dataset

    table_of([10.0, None, np.nan, 40.0], [1.0, 2.0, 3.0, None], tmp_path / "f.parquet")
    assert export_features(tmp_path / "f.parquet", tmp_path / "cat", "hats") == 3
    read = dataset.dataset(tmp_path / "cat" / "dataset", exclude_invalid_files=True).to_table()
    assert read.column("cutout_id").to_pylist() == ["c000"]
    properties = (tmp_path / "cat" / "hats.properties").read_text()
    assert "hats_nrows=1" in properties.replace(" ", "")


def test_what_cannot_be_exported_is_refused(table, tmp_path):
    with pytest.raises(RadiosslError, match="--format csv: expected one of fits, votable, hats"):
        export_features(tmp_path / "f.parquet", tmp_path / "x", "csv")
    (tmp_path / "thesis").mkdir()
    with pytest.raises(RadiosslError, match="thesis: is a folder"):
        export_features(tmp_path / "f.parquet", tmp_path / "thesis", "fits")
    pytest.importorskip("hats")
    with pytest.raises(RadiosslError, match="thesis: is there already and is no HATS catalogue"):
        export_features(tmp_path / "f.parquet", tmp_path / "thesis", "hats")
    table_of([None, None], [None, None], tmp_path / "none.parquet")
    with pytest.raises(RadiosslError, match=r"none\.parquet: no row has a position"):
        export_features(tmp_path / "none.parquet", tmp_path / "x", "hats")
    FeatureTable(table.columns.drop_columns(["ra_deg"]), table.features).write(tmp_path / "files.parquet")
    with pytest.raises(RadiosslError, match=r"files\.parquet: no column ra_deg"):
        export_features(tmp_path / "files.parquet", tmp_path / "x", "hats")
    assert not (tmp_path / "x").exists()


def test_without_hats_the_extra_is_named(table, tmp_path, monkeypatch):
    monkeypatch.setattr(hats_module, "find_spec", lambda name: None)
    with pytest.raises(RadiosslError, match=r"pip install 'radiossl\[hats\]'"):
        export_features(tmp_path / "f.parquet", tmp_path / "x", "hats")
