"""RGZ108k's batches, and the catalogue of RGZ DR1 with its balanced draws."""

import pickle
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from radiossl import RadiosslError
from radiossl.datasets.published import import_set
from radiossl.datasets.rgz import CLASSES, mean_direction, position_of_name, read_rgz_dr1
from radiossl.survey.catalogue import read_catalogue
from radiossl.survey.sources import cut_sources

# Batches --------------------------------------------------------------------------------------------------------------

NAMES = ["png/FIRSTJ000242.3-001320.png", "RGZJ104500.12+453000_2.png", "image_7.png"]


def write_batch(path, shape=(-1, 1), **changes):
    rng = np.random.default_rng(0)
    content = {
        "batch_label": "training batch 1 of 53",
        "data": rng.integers(0, 256, (3, 22500)).astype(np.uint8),
        "filenames": np.array(NAMES).reshape(shape),
        "src_ids": np.array(["RGZ1", "RGZ2", "RGZ3"]).reshape(shape),
        "mb_flag": np.array([0, 1, 0]).reshape(shape),
        "LAS": np.array([15.0, 30.5, 42.0]).reshape(shape),
    } | changes
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=4))
    return content


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1), (-1,)])
def test_batches_become_a_store(tmp_path, shape):
    content = write_batch(tmp_path / "rgz" / "data_batch_2", shape)
    write_batch(tmp_path / "rgz" / "data_batch_10", shape)
    store = import_set("rgz108k", tmp_path / "rgz", tmp_path / "store").store
    assert store.column("cutout_id").tolist()[:4] == [
        *(f"data_batch_2_{i:04d}" for i in range(3)),
        "data_batch_10_0000",
    ]
    assert store.column("source_id").tolist()[:3] == ["RGZ1", "RGZ2", "RGZ3"]
    assert store.column("las_arcsec").tolist()[:3] == [15.0, 30.5, 42.0]
    assert store.column("mirabest_overlap").tolist()[:3] == [False, True, False]
    np.testing.assert_array_equal(store.pixels(1), content["data"][1].reshape(150, 150))
    assert store.column("ra_deg")[0] == pytest.approx(0.67625)
    assert np.isnan(store.column("dec_deg")[2])


def test_selections_leave_out_what_mirabest_has(tmp_path):
    write_batch(tmp_path / "rgz" / "data_batch_1")
    imported = import_set("rgz108k", tmp_path / "rgz", tmp_path / "a", select="without-mirabest")
    assert imported.store.column("source_id").tolist() == ["RGZ1", "RGZ3"]
    assert import_set("rgz108k", tmp_path / "rgz", tmp_path / "b", select="byol").store.column("source_id") == ["RGZ3"]
    assert imported.remarks[-3:] == (
        "the test batch is not in this folder",
        "52 of 53 training batches are not in this folder",
        "1 batches are not the published ones by their MD5: data_batch_1",
    )


def test_damaged_batches_are_named(tmp_path):
    write_batch(tmp_path / "rgz" / "data_batch_1", LAS=["big", "small", "none"])
    with pytest.raises(RadiosslError, match="data_batch_1: LAS of object 0 is 'big', expected a number"):
        import_set("rgz108k", tmp_path / "rgz", tmp_path / "a")
    write_batch(tmp_path / "rgz" / "data_batch_1", LAS=[1.0])
    with pytest.raises(RadiosslError, match="columns of different lengths"):
        import_set("rgz108k", tmp_path / "rgz", tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("FIRSTJ000242.3-001320", (0.67625, -0.222222)),
        ("a/RGZ J235959.9+895959.png", (359.999583, 89.999722)),
        ("J104500+453000.5", (161.25, 45.500139)),
        ("FIRSTJ250000.0+000000", (np.nan, np.nan)),
        ("image_7.png", (np.nan, np.nan)),
    ],
)
def test_positions_of_names(name, position):
    assert position_of_name(name) == pytest.approx(position, abs=1e-6, nan_ok=True)


# The catalogue --------------------------------------------------------------------------------------------------------

COLUMNS = "catalog_id,first_id,num_cpnts,num_peaks,cpnts_ras,cpnts_decs,ang_extent,cl,training"


def write_catalogue(path, rows):
    path.write_text("\n".join([COLUMNS, *rows]) + "\n")
    return path


@pytest.fixture
def catalogue(tmp_path):
    """Ten sources of every class, of consensus 0.50, 0.55, ... 0.95, one class after the other."""
    rows = []
    for index, (components, peaks) in enumerate(CLASSES.values()):
        for number in range(10):
            ras = ";".join(f"{10 + index + 0.01 * c:.2f}" for c in range(components))
            decs = ";".join(f"{number + 0.01 * c:.2f}" for c in range(components))
            consensus = 0.5 + 0.05 * number
            rows.append(f"{100 * index + number},F{index},{components},{peaks},{ras},{decs},20.5,{consensus:.2f},1")
    return write_catalogue(tmp_path / "rgz.csv", rows)


def test_labels_consensus_and_mean_positions(catalogue):
    table = read_rgz_dr1(catalogue, min_consensus=0.6)
    assert Counter(table["label"].to_pylist()) == dict.fromkeys(CLASSES, 8)
    assert min(table["consensus"].to_pylist()) == 0.6
    assert "split" not in table.column_names
    double = table.slice(24, 1).to_pylist()[0]
    assert (double["label"], double["n_components"], double["n_peaks"]) == ("2C-2P", 2, 2)
    assert (double["ra_deg"], double["dec_deg"]) == pytest.approx((13.005, 2.005), abs=1e-6)
    assert table.num_rows == len(read_rgz_dr1(catalogue, min_consensus=0)) - 12


def test_means_are_right_across_zero_hours_and_at_the_poles():
    assert mean_direction([359.9, 0.3], [0.0, 0.0]) == pytest.approx((0.1, 0.0))
    assert mean_direction([0.0, 180.0], [89.0, 89.0])[1] == pytest.approx(90.0)
    assert mean_direction([12.0], [-33.0]) == pytest.approx((12.0, -33.0))


def test_draws_are_balanced_disjoint_and_repeatable(catalogue):
    draws = [read_rgz_dr1(catalogue, draw=number, per_class=(4, 3)) for number in range(5)]
    for table in draws:
        counts = Counter(zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True))
        assert counts == {(label, split): n for label in CLASSES for split, n in (("train", 4), ("test", 3))}
        assert len(set(table["catalog_id"].to_pylist())) == 42
    assert len({tuple(table["catalog_id"].to_pylist()) for table in draws}) == 5
    assert read_rgz_dr1(catalogue, draw=2, per_class=(4, 3)).equals(draws[2])
    assert not read_rgz_dr1(catalogue, draw=2, per_class=(4, 3), seed=1).equals(draws[2])


def test_too_few_sources_for_a_draw(catalogue):
    with pytest.raises(RadiosslError, match=r"8 sources of class 1C-1P, a draw of 1000 \+ 600 needs 1600"):
        read_rgz_dr1(catalogue, draw=0)
    with pytest.raises(RadiosslError, match="expected numbers from 0 on"):
        read_rgz_dr1(catalogue, draw=-1)
    with pytest.raises(RadiosslError, match=r"has a consensus of 1\.5; lower it"):
        read_rgz_dr1(catalogue, min_consensus=1.5)


@pytest.mark.parametrize(
    "row",
    ["1,F1,2,2,10.0,5.0,20.0,0.9,1", "1,F1,1,1,10.0,95.0,20.0,0.9,1", "1,F1,2,2,10.0 11.0,5.0 6.0,20.0,0.9,1"],
)
def test_bad_positions_are_named(tmp_path, row):
    with pytest.raises(RadiosslError, match=r"row 1: expected positions of [12] components in degrees"):
        read_rgz_dr1(write_catalogue(tmp_path / "bad.csv", [row]))


def test_other_tables_are_refused(tmp_path):
    (tmp_path / "other.csv").write_text("name,ra\na,1.0\n")
    with pytest.raises(RadiosslError, match=r"other\.csv: no column 'catalog_id'"):
        read_rgz_dr1(tmp_path / "other.csv")


def test_counts_of_the_real_catalogue(real_data):
    path = real_data / "catalogues" / "rgz_d1.csv"
    table = read_rgz_dr1(path)
    expected = {"1C-1P": 5300, "1C-2P": 1331, "1C-3P": 1412, "2C-2P": 1251, "2C-3P": 1208, "3C-3P": 1334}
    assert Counter(table["label"].to_pylist()) == expected
    assert Counter(read_rgz_dr1(path, 0.9)["label"].to_pylist())["3C-3P"] == 56
    with pytest.raises(RadiosslError, match=r"1331 sources of class 1C-2P, a draw of 1000 \+ 600"):
        read_rgz_dr1(path, draw=0)
    assert read_rgz_dr1(path, draw=4, per_class=(750, 450)).num_rows == 7200


def test_real_sources_can_be_cut_from_first(real_data, tmp_path):
    """Bright pixels are where the catalogue says, in images 1.5 times as large as the source."""
    tiles = csv.read_csv(real_data / "first" / "catalogue.csv")
    table = read_rgz_dr1(real_data / "catalogues" / "rgz_d1.csv")
    ra, dec = table["ra_deg"].to_numpy(), table["dec_deg"].to_numpy()
    paths, rows = [], []
    for name, tile_ra, tile_dec in zip(*(tiles[c].to_pylist() for c in ("name", "ra_deg", "dec_deg")), strict=True):
        near = (np.abs(ra - tile_ra) * np.cos(np.radians(tile_dec)) < 0.04) & (np.abs(dec - tile_dec) < 0.04)
        if near.any():
            paths.append(real_data / "first" / "tiles" / f"{name}.fits.fz")
            rows += np.flatnonzero(near).tolist()
        if len(rows) >= 30:
            break
    assert len(rows) >= 30
    csv.write_csv(table.take(pa.array(sorted(set(rows)))), tmp_path / "rgz.csv")
    catalogue = read_catalogue(tmp_path / "rgz.csv")
    assert catalogue.extent_arcsec is not None
    result = cut_sources(paths, catalogue, tmp_path / "store")
    assert len(result.store) == len(set(rows))
    assert set(result.store.column("label")) <= set(CLASSES)
    bright = [result.store.pixels(i).max() > 5 * result.store.column("rms")[i] for i in range(len(result.store))]
    assert np.mean(bright) > 0.9
