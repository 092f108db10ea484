"""MGCLS cutouts and their scores."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from radiossl import RadiosslError
from radiossl.datasets.published import Options, import_set, published_set

HEADER = "objid,ra_deg,dec_deg,peak_flux_jybeam,size_pixels,original_image,interest_score\n"


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "mgcls"
    (folder / "images").mkdir(parents=True)
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 256, (12, 12)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"img0_isl{index}.png")
    rows = "img0_isl0,10.5,-30.25,1e-4,40,A1.FITS,4\nimg0_isl1,11.5,-30.5,2e-4,50,A1.FITS,\n"
    (folder / "catalogue.csv").write_text(HEADER + rows)
    return folder


def test_scores_are_null_where_nobody_scored(source, tmp_path):
    imported = import_set("mgcls", source, tmp_path / "store")
    store = imported.store
    assert store.table["interest_score"].to_pylist() == [4, None]
    assert store.column("cutout_id").tolist() == ["img0_isl0", "img0_isl1"]
    assert store.column("size_pixels").tolist() == [40, 50]
    assert store.column("ra_deg").tolist() == [10.5, 11.5]
    assert np.isnan(store.column("pixel_scale_arcsec")).all()
    assert imported.remarks[-1] == "1 image in no row of the catalogue: left out"
    assert len(import_set("mgcls", source, tmp_path / "scored", select="scored").store) == 1


def test_pictures_are_turned_to_have_the_lowest_declination_first(source, tmp_path):
    store = import_set("mgcls", source, tmp_path / "store").store
    picture = np.asarray(Image.open(source / "images" / "img0_isl0.png"))
    np.testing.assert_array_equal(store.pixels(0), picture[::-1])


def test_what_is_missing_is_named(source, tmp_path):
    (source / "images" / "img0_isl1.png").unlink()
    with pytest.raises(RadiosslError, match=r"img0_isl1\.png: no such file"):
        import_set("mgcls", source, tmp_path / "store")
    (source / "catalogue.csv").write_text("objid,ra_deg\na,1.0\n")
    with pytest.raises(RadiosslError, match=r"catalogue\.csv: no column 'dec_deg'"):
        import_set("mgcls", source, tmp_path / "store2")
    with pytest.raises(RadiosslError, match="no folder images in there"):
        import_set("mgcls", tmp_path, tmp_path / "store3")


@pytest.fixture(scope="module")
def cutouts(real_data):
    """All of them, with small pixels."""
    dataset, source = published_set("mgcls"), real_data / "mgcls"
    parts = dataset.reader.parts(source, Options())
    assert parts[-1] == "6000:6161"
    return [
        replace(c, pixels=c.pixels.astype(np.uint8))
        for part in parts
        for c in dataset.reader.read(source, part, Options())
    ]


def test_counts_of_the_real_catalogue(real_data, cutouts):
    assert len({cutout.cutout_id for cutout in cutouts}) == 6161
    assert sum(cutout.extra["interest_score"] is not None for cutout in cutouts) == 335
    assert {cutout.pixels.shape for cutout in cutouts} == {(105, 105)}
    assert published_set("mgcls").reader.remarks(real_data / "mgcls", Options()) == []


def test_a_neighbour_is_found_where_its_position_says(cutouts):
    """A large cutout shows smaller ones that lie in it; where it is bright tells which row comes first."""
    ra, dec = np.array([(c.ra_deg, c.dec_deg) for c in cutouts]).T
    sides = np.array([c.extra["size_pixels"] for c in cutouts])  # of the cutout in arcsec, to a few percent
    fields = np.array([c.extra["original_image"] for c in cutouts])
    upright, turned = [], []
    for row, large in enumerate(cutouts):
        x = -3600 * (ra - ra[row]) * np.cos(np.radians(dec[row])) / sides[row]  # in units of the large cutout's side
        y = 3600 * (dec - dec[row]) / sides[row]
        inside = (fields == fields[row]) & (sides > 30) & (np.abs(x) < 0.4) & (np.abs(y) > 0.15) & (np.abs(y) < 0.4)
        for column, line in np.rint(52 + 105 * np.stack([x, y], axis=1)[inside]).astype(int):
            box = np.s_[line - 3 : line + 4, column - 3 : column + 4]
            upright.append(large.pixels[box].max())
            turned.append(large.pixels[::-1][box].max())
    assert len(upright) > 20
    assert np.mean(upright) > 1.5 * np.mean(turned)
