"""MiraBest's batches and file names."""

import pickle

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from radiossl import RadiosslError
from radiossl.datasets.mirabest import CODES, parse_name
from radiossl.datasets.published import import_set
from radiossl.survey.mosaic import Mosaic


def name_of(code, ra=10.451, dec=-9.284, redshift=0.0529, size=80.6, end="png"):
    return f"{code}_{ra:07.3f}{dec:+08.3f}_{redshift:06.4f}_{size:07.2f}.{end}"


def test_names_give_class_position_redshift_and_size():
    facts = parse_name("./MiraBest_F/PNG/Scaled_Final/100_010.451-009.284_0.0529_0080.60.png")
    assert (facts.code, facts.ra_deg, facts.dec_deg) == (100, 10.451, -9.284)
    assert (facts.redshift, facts.las_arcsec) == (0.0529, 80.6)
    assert facts.columns["fr_class"] == "FRI"


@pytest.mark.parametrize(
    ("code", "columns"),
    [
        (102, ("FRI", "confident", "wide-angle tail")),
        (104, ("FRI", "confident", "head-tail")),
        (112, ("FRI", "uncertain", "wide-angle tail")),
        (201, ("FRII", "confident", "double-double")),
        (210, ("FRII", "uncertain", "standard")),
        (310, ("hybrid", "uncertain", "standard")),
    ],
)
def test_every_digit_of_a_code_means_something(code, columns):
    facts = parse_name(name_of(code)).columns
    assert (facts["fr_class"], facts["confidence"], facts["morphology"]) == columns


@pytest.mark.parametrize(
    "name",
    [
        "image.png",
        name_of(100) + ".txt",
        name_of(101),
        name_of(100, ra=400.0),
        name_of(100, dec=-95.0),
        "400_1+1_1_1.png",
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(RadiosslError, match=r"\.png"):
        parse_name(name)


def batches(folder, codes=CODES, test=True):
    """A folder of two small batches, the second one the test batch."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, name in enumerate(["data_batch_1", "test_batch"] if test else ["data_batch_1"]):
        names = [name_of(code, ra=10.0 + index, dec=-5.0 + number) for index, code in enumerate(codes)]
        images = [rng.integers(0, 255, (150, 150)).astype(np.uint8) for _ in names]
        labels = [CODES.index(code) for code in codes]
        content = {"batch_label": name, "labels": labels, "data": images, "filenames": names}
        (folder / name).write_bytes(pickle.dumps(content, protocol=4))
    return folder


def test_batches_become_a_store_with_labels_positions_and_splits(tmp_path):
    source = batches(tmp_path / "F")
    imported = import_set("mirabest-f", source, tmp_path / "store")
    store = imported.store
    assert len(store) == 20
    assert store.column("class_code").tolist() == [*CODES, *CODES]
    assert store.column("split").tolist() == ["train"] * 10 + ["test"] * 10
    assert store.column("ra_deg")[:3].tolist() == [10.0, 11.0, 12.0]
    assert set(store.column("dec_deg")) == {-5.0, -4.0}
    image = pickle.loads((source / "data_batch_1").read_bytes())["data"][3]
    np.testing.assert_array_equal(store.pixels(3), image.astype(np.float32))
    assert imported.remarks == ()


def test_selections_and_expressions_choose(tmp_path):
    source = batches(tmp_path / "F", test=False)
    confident = import_set("mirabest-f", source, tmp_path / "a", select="confident")
    assert confident.store.column("class_code").tolist() == [100, 102, 104, 200, 201]
    assert confident.remarks == ("the test batch is not in this folder",)
    both = import_set("mirabest-f", source, tmp_path / "b", select="confident", where="fr_class == 'FRI'").store
    assert both.column("class_code").tolist() == [100, 102, 104]
    with pytest.raises(RadiosslError, match="no selection 'sure'; there are confident"):
        import_set("mirabest-f", source, tmp_path / "c", select="sure")
    with pytest.raises(RadiosslError, match="no cutout of mirabest-f satisfies"):
        import_set("mirabest-f", source, tmp_path / "c", where="redshift > 100")
    assert not (tmp_path / "c").exists()


def test_a_label_that_contradicts_the_name_is_refused(tmp_path):
    source = batches(tmp_path / "F", test=False)
    content = pickle.loads((source / "data_batch_1").read_bytes())
    content["labels"][2] = 5
    (source / "data_batch_1").write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(RadiosslError, match="object 2 has label 5, but its name says class 104"):
        import_set("mirabest-f", source, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_original_fits_keep_their_unit_and_field(tmp_path):
    header = WCS(naxis=2).to_header()
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.451, "CRVAL2": -9.284})
    header.update({"CRPIX1": 10.5, "CRPIX2": 10.5, "CDELT1": -0.0005, "CDELT2": 0.0005, "BUNIT": "JY/BEAM"})
    header.update({"CUNIT1": "deg", "CUNIT2": "deg"})
    folder = tmp_path / "fits"
    folder.mkdir()
    pixels = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    fits.writeto(folder / name_of(300, end="fits"), pixels, header)
    (folder / "notes.txt").write_text("not an image")
    store = import_set("mirabest-fits", folder, tmp_path / "store").store
    np.testing.assert_array_equal(store.pixels(0), pixels)
    assert store.column("fr_class").tolist() == ["hybrid"]
    assert store.column("unit")[0] == "Jy/beam"
    assert store.column("pixel_scale_arcsec")[0] == pytest.approx(1.8)


def test_the_official_batches(real_data, tmp_path):
    imported = import_set("mirabest-f", real_data / "mirabest" / "F_batches", tmp_path / "store", select="hybrid")
    assert len(imported.store) == 30
    assert imported.store.column("redshift").max() < 1


def test_images_of_the_official_batches_are_in_fits_row_order(real_data):
    """Their first row is the lowest in declination: so they agree best with the FIRST tiles as these are."""
    from radiossl.datasets.batches import read_batch
    from radiossl.io.tables import read_table

    batch = read_batch(real_data / "mirabest" / "F_batches" / "data_batch_1")
    catalogue = read_table(real_data / "first" / "catalogue.csv").to_pylist()
    agreement = []
    for name, image in list(zip(batch["filenames"], batch["data"], strict=True))[::15]:
        facts = parse_name(str(name))
        tile = next(
            row["name"]
            for row in catalogue
            if abs(row["ra_deg"] - facts.ra_deg) < 2e-3 and abs(row["dec_deg"] - facts.dec_deg) < 2e-3
        )
        with Mosaic.open(real_data / "first" / "tiles" / f"{tile}.fits.fz") as mosaic:
            sky = np.sqrt(np.clip(np.nan_to_num(mosaic.read(75, 75, 150, 150)), 0, None))
        ours = np.sqrt(image.astype(float))
        turned = [sky, sky[::-1], sky[:, ::-1], sky[::-1, ::-1]]
        agreement.append([np.corrcoef(ours.ravel(), view.ravel())[0, 1] for view in turned])
    upright, *others = np.median(agreement, axis=0)
    assert upright > max(others) + 0.1
