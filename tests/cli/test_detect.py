"""`radiossl detect` from annotated images to a catalogue, and one clear line for what goes wrong."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from pycocotools import mask as coco
from regions import Regions

from radiossl.weights.backbone import save_backbone
from tests.command import run


def verdict(folder):
    return re.search('<p class="verdict">(.*?)</p>', (folder / "report.html").read_text())[1]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory, sky):
    """Six images with a source in each, as FITS with coordinates, and their annotations."""
    folder = tmp_path_factory.mktemp("annotated")
    images, objects = [], []
    for number in range(6):
        pixels = sky(number, (64, 64))
        header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 10.0 + number, "CRVAL2": -30.0})
        header.update({"CRPIX1": 32.0, "CRPIX2": 32.0, "CDELT1": -5e-4, "CDELT2": 5e-4, "BUNIT": "JY/BEAM"})
        header.update({"BMAJ": 2e-3, "BMIN": 2e-3})
        fits.PrimaryHDU(pixels, header).writeto(folder / f"i{number}.fits")
        encoded = coco.encode(np.asfortranarray((pixels > 5e-4).astype(np.uint8)))
        encoded["counts"] = encoded["counts"].decode()
        images.append({"id": number, "file_name": f"i{number}.fits", "height": 64, "width": 64})
        entry = {"id": number, "image_id": number, "category_id": 1 + number % 2, "segmentation": encoded}
        objects.append(entry)
    names = [{"id": 1, "name": "COMPACT"}, {"id": 2, "name": "EXTENDED"}]
    content = {"images": images, "annotations": objects, "categories": names}
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


@pytest.fixture(scope="module")
def weights(tiny_backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "backbone"
    save_backbone(folder, tiny_backbone.network, tiny_backbone.config)
    return folder


QUICK = ("--image-size", 64, "--epochs", 1, "--set", "design.pyramid=32", "--set", "design.box_units=32")


@pytest.mark.slow
def test_train_predict_and_evaluate(capsys, annotated, weights, tmp_path):
    given = ("--weights", weights, "--mode", "frozen", *QUICK)
    for fraction in (0.7, 1):
        out = tmp_path / f"run{fraction}"
        watched = ("--valid", annotated) if fraction == 1 else ()
        status, said, error = run(
            capsys, "detect", "train", annotated, *given, *watched, "--fraction", fraction, "--out", out
        )
        assert status == 0, error
        assert "COMPACT, EXTENDED" in said
        assert (out / "report.html").stat().st_size > 10_000
        assert "1 epoch on " in verdict(out)
        assert ("AP50 on the validation images is " in verdict(out)) == bool(watched)
    assert json.loads((tmp_path / "run0.7" / "settings.json").read_text())["images"] == 4

    mosaic = annotated.parent / "i0.fits"
    found = tmp_path / "found"
    status, said, error = run(
        capsys, "detect", "predict", mosaic, "--detector", tmp_path / "run1", "--score", 0.05, "--out", found
    )
    assert status == 0, error
    catalogue, table = pd.read_csv(found / "catalogue.csv"), Table.read(found / "catalogue.fits")
    assert len(catalogue) == len(table) > 0
    assert str(table["flux_jy"].unit) == "Jy"
    np.testing.assert_allclose(table["ra_deg"], catalogue["ra_deg"])
    with fits.open(found / "i0_labels.fits") as labels:
        assert set(np.unique(labels[0].data)) <= set(range(len(catalogue) + 1))
        assert labels[0].data.shape == (64, 64)
        ra, dec = WCS(labels[0].header).all_pix2world(catalogue["x"], catalogue["y"], 0)
    np.testing.assert_allclose(ra, catalogue["ra_deg"], atol=1e-5)
    np.testing.assert_allclose(dec, catalogue["dec_deg"], atol=1e-5)
    assert len(Regions.read(found / "i0.reg", format="ds9")) >= len(catalogue)
    assert (found / "i0_overview.png").stat().st_size > 10_000
    assert not (found / ".parts").exists()
    assert verdict(found).startswith(f"{len(catalogue)} objects in 1 mosaic: ")

    judged = tmp_path / "judged"
    detectors = (tmp_path / "run1", tmp_path / "run0.7" / "detector")
    status, said, error = run(
        capsys, "detect", "evaluate", *detectors, "--annotations", annotated, "--score", 0.05, "--out", judged
    )
    assert status == 0, error
    rows = pd.read_csv(judged / "table.csv")
    assert rows["detector"].tolist() == ["run1", "run0.7"]
    assert rows["true"].tolist() == [6, 6]
    assert rows["images"].tolist() == [6, 4]
    best = rows.loc[rows["f1"].fillna(-1).idxmax()]
    assert verdict(judged).startswith(f"{best['detector']} finds {best['completeness']:.1%} of 6 sources")
    # boxes, of a middle grey that is seen on a dark sky in both themes
    assert (
        len(re.findall('stroke-dasharray[^"]*#8c8c8c; stroke-width: 0.8', (judged / "examples.svg").read_text())) == 6
    )
    for name in ("figure9", "figure10", "by_extent_px", "by_snr", "examples"):
        assert (judged / f"{name}.png").stat().st_size > 5_000, name
    assert pd.read_csv(judged / "classes.csv")["class"].tolist() == ["COMPACT", "EXTENDED", "SOURCE"] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "A", "--weights", "W", "--out", "O", "--mode", "warm"),
            "--mode warm: expected one of frozen, finetune",
        ),
        (("train", "A", "--weights", "W", "--out", "O", "--reader", "fits"), "--reader fits: expected one of plain,"),
        (
            ("train", "A", "--weights", "W", "--out", "O", "--fraction", "2"),
            "fraction: should be less than or equal to 1",
        ),
        (
            ("train", "A", "--weights", "W", "--out", "O", "--set", "rois=3"),
            "--set rois=3: unknown key 'rois'; did you mean 'design.rois'",
        ),
        (("train", "A", "--weights", "W", "--out", "O", "--images", "nowhere"), "--images nowhere: no such folder"),
        (("train", "A", "--weights", "W", "--out", "O", "--infrared"), "--infrared"),
        (("train", "A", "--weights", "nowhere", "--out", "O"), "nowhere: neither a backbone folder"),
        (("train", "none.json", "--weights", "W", "--out", "O"), "none.json: no such file"),
        (("predict", "M", "--detector", "W", "--out", "O"), "not a detector written by radiossl"),
        (("predict", "none.fits", "--detector", "W", "--out", "O"), "none.fits: no such file"),
        (("evaluate", "W", "W", "--annotations", "A", "--out", "O"), "two detectors are called backbone"),
        (("evaluate", "W", "--annotations", "A", "--out", "O", "--score", "2"), "--score 2"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(capsys, annotated, weights, tmp_path, arguments, message):
    paths = {"A": annotated, "W": weights, "O": tmp_path / "out", "M": annotated.parent / "i0.fits"}
    status, _, error = run(capsys, "detect", *(paths.get(argument, argument) for argument in arguments))
    assert status == 1
    assert message in error
    assert error.count("\n") == 1
