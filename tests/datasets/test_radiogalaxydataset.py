"""The Radio Galaxy Dataset's HDF5 file: labels, splits, positions, orientation."""

from collections import Counter

import h5py
import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.datasets.published import import_set, published_set
from radiossl.datasets.radiogalaxydataset import RadioGalaxyOptions, best_position
from radiossl.io.tables import read_table
from radiossl.survey.mosaic import Mosaic

MIRABEST = "100_256.372+022.269_0.0496_0083.95.png"


def add(file, number, label=1, own=1, written="14 12 31.76 +14 00 41.0", ra=213.132, dec=14.011, source="Gendre"):
    group = file.create_group(f"data_{number}")
    image = group.create_dataset("Img", data=np.full((300, 300), number % 256, np.uint8))
    image.attrs.update({"RA": ra, "DEC": dec, "Source": source, "coord_str": written})
    image.attrs["Filepath_literature"] = f"FRII/{ra}_{dec}_{label}_{source}.png"
    group["Label_literature"], group["Split_literature"] = float(label), "train"
    if own is not None:
        group["Label_CDL1"], group["Split_CDL1"] = float(own), "test"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "galaxy_data_h5.h5"
    with h5py.File(path, "w") as file:
        add(file, 10, label=3, own=4)
        add(file, 9, label=0, own=0, written=MIRABEST, ra=256.372, dec=22.269, source="MiraBest")
    return path


def test_labels_and_splits_of_both_kinds_in_the_order_of_the_numbers(source, tmp_path):
    store = import_set("radiogalaxydataset", source, tmp_path / "store").store
    assert store.column("number").tolist() == [9, 10]
    assert store.column("cutout_id").tolist() == ["256.372+022.269_0009", "213.132+014.011_0010"]
    assert store.column("label").tolist() == store.column("label_literature").tolist() == ["FRI", "Bent"]
    assert store.column("label_cdl1").tolist() == ["FRI-Sta", "FRI-NAT"]
    assert store.column("label_cdl1_code").tolist() == [0, 4]
    assert (store.column("split")[0], store.column("split_cdl1")[0]) == ("train", "test")
    assert store.pixels(0).max() == 9
    assert store.pixels(1).shape == (300, 300)


def test_the_authors_own_labels_can_be_chosen(source, tmp_path):
    store = import_set("radiogalaxydataset", source, tmp_path / "store", options={"labels": "cdl1"}).store
    assert store.column("label").tolist() == ["FRI-Sta", "FRI-NAT"]
    assert store.column("split").tolist() == ["test", "test"]


def test_names_of_mirabest_give_redshift_and_size(source, tmp_path):
    imported = import_set("radiogalaxydataset", source, tmp_path / "store")
    np.testing.assert_array_equal(imported.store.column("redshift"), [0.0496, np.nan])
    np.testing.assert_array_equal(imported.store.column("las_arcsec"), [83.95, np.nan])
    assert imported.remarks[-1] == "this file has 2 of the 2158 sources that are described in the paper"


def test_a_release_without_the_authors_own_labels(tmp_path):
    with h5py.File(tmp_path / "old.h5", "w") as file:
        add(file, 1, own=None)
    store = import_set("radiogalaxydataset", tmp_path / "old.h5", tmp_path / "store").store
    assert store.table["label_cdl1"].to_pylist() == [None]
    with pytest.raises(RadiosslError, match="group data_1: there is no Label_CDL1"):
        import_set("radiogalaxydataset", tmp_path / "old.h5", tmp_path / "b", options={"labels": "cdl1"})


@pytest.mark.parametrize(
    ("written", "rounded", "expected"),
    [
        ("14 12 31.76 +14 00 41.0", (213.132, 14.011), (213.132333, 14.011389)),
        ("14 09 56.27 −02 46 05.10", (212.484, -2.768), (212.484458, -2.768083)),
        ("00 43 26.80 -00 54 21.8", (10.862, -0.906), (10.861667, -0.906056)),
        ("12 39 07.16 + 5 19 24.50", (189.78, 5.323), (189.779833, 5.323472)),
        ("23 59 59.99 +01 00 00", (0.0, 1.0), (359.999958, 1.0)),
        ("14 12 31.76 +14 00 41.0", (213.2, 14.011), (213.2, 14.011)),
        (MIRABEST, (256.372, 22.269), (256.372, 22.269)),
    ],
)
def test_the_finer_position_is_taken_where_it_agrees(written, rounded, expected):
    assert best_position(written, *rounded) == pytest.approx(expected, abs=1e-6)


def test_other_files_are_refused(source, tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(RadiosslError, match=r"text\.h5: not a readable HDF5 file"):
        import_set("radiogalaxydataset", tmp_path / "text.h5", tmp_path / "store")
    with h5py.File(tmp_path / "empty.h5", "w"), pytest.raises(RadiosslError):
        import_set("radiogalaxydataset", tmp_path / "empty.h5", tmp_path / "store")
    with h5py.File(source, "a") as file:
        file["data_9/Label_literature"][()] = 7.0
    with pytest.raises(RadiosslError, match="group data_9: Label_literature is 7, expected 0 to 3"):
        import_set("radiogalaxydataset", source, tmp_path / "store")
    with h5py.File(source, "a") as file:
        del file["data_9/Img"]
    with pytest.raises(RadiosslError, match="group data_9: not as published"):
        import_set("radiogalaxydataset", source, tmp_path / "store")


def test_all_sources_of_the_published_file(real_data):
    dataset = published_set("radiogalaxydataset")
    source = real_data / "radiogalaxydataset" / "galaxy_data.h5"
    options = RadioGalaxyOptions()
    cutouts = [c for part in dataset.reader.parts(source, options) for c in dataset.reader.read(source, part, options)]
    assert len({cutout.cutout_id for cutout in cutouts}) == 1867
    labels = Counter(cutout.extra["label"] for cutout in cutouts)
    assert labels == {"FRI": 413, "FRII": 821, "Compact": 341, "Bent": 292}
    assert Counter(cutout.extra["split"] for cutout in cutouts) == {"train": 1671, "valid": 196}
    rounded = np.array([[float(cutout.cutout_id[:7]), float(cutout.cutout_id[7:15])] for cutout in cutouts])
    fine = np.array([[cutout.ra_deg, cutout.dec_deg] for cutout in cutouts])
    assert np.abs(fine - rounded).max() < 0.00051
    assert (np.abs(fine - rounded).max(axis=1) > 1e-9).sum() > 1200  # all but those of MiraBest
    assert sum(cutout.extra["redshift"] is not None for cutout in cutouts) == 603


def test_images_have_the_rows_of_the_first_survey(real_data):
    tiles = read_table(real_data / "first" / "catalogue.csv")
    positions = np.stack([tiles["ra_deg"].to_numpy(), tiles["dec_deg"].to_numpy()], axis=1)
    dataset, options = published_set("radiogalaxydataset"), RadioGalaxyOptions()
    source = real_data / "radiogalaxydataset" / "galaxy_data.h5"
    straight, turned = [], []
    for cutout in dataset.reader.read(source, "0:200", options):
        distance = np.abs(positions - [cutout.ra_deg, cutout.dec_deg]).max(axis=1)
        if cutout.extra["parent"] != "MiraBest" or distance.min() > 0.001:
            continue
        name = tiles["name"][int(distance.argmin())].as_py()
        with Mosaic.open(real_data / "first" / "tiles" / f"{name}.fits.fz") as mosaic:
            tile = np.clip(np.nan_to_num(mosaic.read(0, 0, 300, 300)), 4.5e-4, None).ravel()
        straight.append(np.corrcoef(cutout.pixels.ravel(), tile)[0, 1])
        turned.append(np.corrcoef(cutout.pixels[::-1].ravel(), tile)[0, 1])
        if len(straight) == 20:
            break
    assert len(straight) == 20
    assert np.median(straight) > 0.9
    assert np.median(turned) < 0.5
