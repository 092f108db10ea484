"""Features of anything with images in it; positions, pixel scales and beams of FITS files are kept."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from radiossl import RadiosslError, open_store
from radiossl.datasets.image_files import FolderOptions, is_store, list_images, sky_facts
from radiossl.features.embedding import embed
from radiossl.features.parts import write_features
from radiossl.features.table import FeatureTable
from radiossl.weights.backbone import load_backbone, save_backbone


@pytest.fixture
def folder(tmp_path, sky):
    """Two FITS images, one in a folder below, a picture, and what is none."""
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 187.5, "CRVAL2": 12.5})
    header.update({"CRPIX1": 16.5, "CRPIX2": 16.5, "CDELT1": -5e-4, "CDELT2": 5e-4})
    header.update({"BMAJ": 5.4 / 3600, "BMIN": 5.0 / 3600, "BPA": 30.0, "BUNIT": "JY/BEAM"})
    (tmp_path / "in" / "below").mkdir(parents=True)
    fits.writeto(tmp_path / "in" / "a.fits", sky(1), header)
    fits.writeto(tmp_path / "in" / "below" / "a.fits", sky(2), header)
    Image.fromarray(np.arange(32 * 32, dtype=np.uint8).reshape(32, 32)).save(tmp_path / "in" / "b.png")
    (tmp_path / "in" / "notes.txt").write_text("no image")
    (tmp_path / "in" / "._a.fits").write_bytes(b"macOS")
    return tmp_path / "in"


def test_images_of_folders_and_patterns(folder):
    expected = (folder / "a.fits", folder / "b.png", folder / "below" / "a.fits")
    assert list_images([folder]).paths == expected
    assert list_images([folder]).ids == ("a", "b", "below/a")
    assert list_images([f"{folder}/*.fits", folder / "b.png"]).paths == expected[:2]
    with pytest.raises(RadiosslError, match=r"\*\.npy: no such file or folder"):
        list_images([f"{folder}/*.npy"])
    (folder / "empty").mkdir()
    with pytest.raises(RadiosslError, match="empty: not a cutout store, and no image is in it"):
        list_images([folder / "empty"])


def test_a_folder_of_stores_and_a_store_among_files_are_not_taken_for_images(small_store, folder):
    store = small_store.paths[0]
    with pytest.raises(RadiosslError, match=f"not a cutout store itself, but it holds {store}"):
        list_images(store.parent)
    with pytest.raises(RadiosslError, match="either cutout stores or images, not both"):
        list_images([store, folder])


def test_the_place_of_an_image(folder):
    facts = sky_facts(folder / "a.fits", {}, FolderOptions())
    assert (facts["ra_deg"], facts["dec_deg"], facts["pixel_scale_arcsec"]) == pytest.approx((187.5, 12.5, 1.8))
    beam = facts["beam"]
    assert (beam.major_arcsec, beam.minor_arcsec, beam.pa_deg) == pytest.approx((5.4, 5.0, 30.0))
    assert np.isnan(sky_facts(folder / "b.png", {}, FolderOptions())["ra_deg"])


def test_positions_stay_with_the_features(folder, tiny_backbone, tmp_path, small_store):
    table = embed(tiny_backbone, folder)
    assert table.column("cutout_id").tolist() == ["a", "b", "below/a"]
    assert table.column("file").tolist()[2] == str(folder / "below" / "a.fits")
    np.testing.assert_allclose(table.column("ra_deg"), [187.5, np.nan, 187.5])
    np.testing.assert_allclose(table.column("beam_major_arcsec"), [5.4, np.nan, 5.4])
    save_backbone(tmp_path / "weights", tiny_backbone.network, tiny_backbone.config)
    write_features(load_backbone(tmp_path / "weights"), [folder], tmp_path / "f.parquet")
    written = FeatureTable.read(tmp_path / "f.parquet")
    np.testing.assert_allclose(written.features, table.features, atol=1e-5)
    assert written.columns.column_names == table.columns.column_names
    assert is_store(small_store.paths[0])
    assert not is_store(folder)


@pytest.mark.parametrize("form", ["file", "frame", "astropy"])
def test_a_catalogue_beside_mosaics_becomes_features_with_positions(folder, tiny_backbone, tmp_path, form):
    frame = pd.DataFrame({"name": ["one", "two"], "ra": [187.5, 187.498], "dec": [12.5, 12.502]})
    frame.to_csv(tmp_path / "c.csv", index=False)
    catalogue = {"file": tmp_path / "c.csv", "frame": frame, "astropy": Table.from_pandas(frame)}[form]
    table = embed(tiny_backbone, catalogue, mosaics=folder / "a.fits", size=16)
    assert table.column("cutout_id").tolist() == ["one", "two"]
    np.testing.assert_allclose(table.column("ra_deg"), [187.5, 187.498])
    save_backbone(tmp_path / "weights", tiny_backbone.network, tiny_backbone.config)
    written = write_features(
        load_backbone(tmp_path / "weights"), catalogue, tmp_path / "f.parquet", mosaics=[folder / "a.fits"], size=16
    )
    np.testing.assert_allclose(FeatureTable.read(tmp_path / "f.parquet").features, table.features, atol=1e-5)
    assert written.table.metadata["stores"] == [str(tmp_path / "f.images")]
    assert len(open_store(tmp_path / "f.images")) == 2


def test_tables_that_name_files_and_arrays_become_features(folder, tiny_backbone, tmp_path, sky):
    frame = pd.DataFrame({"file": [str(folder / "a.fits"), str(folder / "b.png")], "kind": ["x", "y"]})
    table = embed(tiny_backbone, frame)
    assert table.column("kind").tolist() == ["x", "y"]
    np.testing.assert_allclose(table.column("ra_deg"), [187.5, np.nan])
    save_backbone(tmp_path / "weights", tiny_backbone.network, tiny_backbone.config)
    backbone, arrays = load_backbone(tmp_path / "weights"), [sky(1), sky(2)]
    for again in (1, 0):
        assert write_features(backbone, arrays, tmp_path / "f.parquet").made == again
    expected = embed(tiny_backbone, folder).features[[0, 2]]  # of the same pixels
    np.testing.assert_allclose(FeatureTable.read(tmp_path / "f.parquet").features, expected, atol=1e-5)
