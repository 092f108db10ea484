"""Anything with images in it: files, folders, patterns; positions, pixel scales and beams of FITS files are kept."""

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from radiossl import RadiosslError
from radiossl.features.embedding import embed
from radiossl.features.image_files import find_images, image_place, is_store
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
    expected = [folder / "a.fits", folder / "b.png", folder / "below" / "a.fits"]
    assert find_images([folder]) == [str(path) for path in expected]
    assert find_images([f"{folder}/*.fits", folder / "b.png"]) == [str(path) for path in expected[:2]]
    with pytest.raises(RadiosslError, match=r"\*\.npy: no image has such a name"):
        find_images([f"{folder}/*.npy"])
    (folder / "empty").mkdir()
    with pytest.raises(RadiosslError, match="empty: neither a cutout store nor a folder with images"):
        find_images([folder / "empty"])


def test_the_place_of_an_image(folder):
    place = image_place(folder / "a.fits")
    assert (place.ra_deg, place.dec_deg, place.pixel_scale_arcsec) == pytest.approx((187.5, 12.5, 1.8))
    assert (place.beam_major_arcsec, place.beam_minor_arcsec, place.beam_pa_deg) == pytest.approx((5.4, 5.0, 30.0))
    assert np.isnan(image_place(folder / "b.png").ra_deg)


def test_positions_stay_with_the_features(folder, tiny_backbone, tmp_path, small_store):
    table = embed(tiny_backbone, folder)
    assert table.column("cutout_id").tolist() == [str(folder / "a.fits"), "b.png", str(folder / "below" / "a.fits")]
    np.testing.assert_allclose(table.column("ra_deg"), [187.5, np.nan, 187.5])
    np.testing.assert_allclose(table.column("beam_major_arcsec"), [5.4, np.nan, 5.4])
    save_backbone(tmp_path / "weights", tiny_backbone.network, tiny_backbone.config)
    write_features(load_backbone(tmp_path / "weights"), [folder], tmp_path / "f.parquet")
    written = FeatureTable.read(tmp_path / "f.parquet")
    np.testing.assert_allclose(written.features, table.features, atol=1e-5)
    assert written.columns.column_names == table.columns.column_names
    assert is_store(small_store.paths[0])
    assert not is_store(folder)
