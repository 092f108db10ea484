"""Commands take whatever holds images: folders, patterns, catalogues beside mosaics."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table

import radiossl
from radiossl import open_store
from radiossl.cli.main import main
from radiossl.weights.backbone import save_backbone

TINY = ["--epochs", "1", "--batch-size", "8", "--image-size", "32"]


@pytest.fixture
def folder(tmp_path, sky, monkeypatch):
    """The working folder, with ten FITS images in `images` and a catalogue of two sources on the first."""
    (tmp_path / "images").mkdir()
    for number in range(10):
        header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 187.5 + number, "CRVAL2": 12.5})
        header.update({"CRPIX1": 32.5, "CRPIX2": 32.5, "CDELT1": -5e-4, "CDELT2": 5e-4, "BUNIT": "Jy/beam"})
        fits.writeto(tmp_path / "images" / f"{number}.fits", sky(number, (64, 64), sources=2), header)
    pd.DataFrame({"name": ["a", "b"], "ra": [187.5, 187.495], "dec": [12.5, 12.505]}).to_csv(tmp_path / "c.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def weights(tiny_backbone, tmp_path):
    save_backbone(tmp_path / "weights", tiny_backbone.network, tiny_backbone.config)
    return tmp_path / "weights"


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 0


def test_a_folder_of_files_is_embedded_and_searched_with_a_gallery(folder, weights):
    run("embed", weights, "images", "--out", "f.parquet")
    run("search", "f.parquet", "--query", "3", "-k", 2, "--out", "found")
    assert (folder / "found" / "gallery.png").is_file()
    assert len(pd.read_csv(folder / "found" / "neighbours.csv")) == 2


def test_a_catalogue_beside_mosaics_is_embedded(folder, weights):
    run("embed", weights, "c.csv", "--mosaics", "images/0.fits", "--size", 24, "--out", "f.parquet")
    table = pd.read_parquet("f.parquet")
    assert table["cutout_id"].tolist() == ["a", "b"]
    np.testing.assert_allclose(table["ra_deg"], [187.5, 187.495])
    assert open_store("f.images").shapes.tolist() == [[24, 24]] * 2


def test_a_folder_of_files_is_trained_on_and_the_run_resumed(folder):
    run("pretrain", "--recipe", "simclr-banner", "--data", "images", "--out", "run", *TINY)
    store = open_store("run.images")
    np.testing.assert_allclose(store.column("ra_deg"), 187.5 + np.arange(10))
    again = ["--epochs", 2, *TINY[2:], "--resume"]
    run("pretrain", "--recipe", "simclr-banner", "--data", "images", "--out", "run", *again)
    assert (folder / "run" / "further1" / "backbone").is_dir()


def test_a_folder_of_files_is_explored(folder, weights):
    pytest.importorskip("tornado")
    run("explore", "images", "--weights", weights, "--export", "page.html")
    assert (folder / "page.html").stat().st_size > 10_000
    assert len(pd.read_parquet("explored.parquet")) == 10


@pytest.mark.parametrize("kind", ["catalogue", "files", "arrays"])
def test_images_are_explored_from_python_too(folder, weights, kind):
    pytest.importorskip("tornado")
    arrays = [fits.getdata(f"images/{number}.fits") for number in range(10)]
    files = Table({"file": [f"images/{number}.fits" for number in range(10)]})
    places = pd.DataFrame({"id": list("abcdefghijkl"), "ra_deg": 187.5, "dec_deg": 12.494 + np.arange(12) / 1e3})
    source, options = {
        "files": (files, {}),
        "arrays": (arrays, {}),
        "catalogue": (places, {"mosaics": ["images/0.fits"]}),
    }[kind]
    radiossl.explore(source, weights=weights, size=24 if options else None, export="page.html", say=print, **options)
    assert "data:image/jpeg" in (folder / "page.html").read_text()
    assert len(pd.read_parquet("explored.parquet")) >= 10
