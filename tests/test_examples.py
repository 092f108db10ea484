"""The examples of the survey rooms' docstrings run as printed."""

import doctest
import importlib

import numpy as np
import pytest
from astropy.io import fits

from radiossl.survey.mosaic import Mosaic

MODULES = ["survey.blind", "survey.finding", "survey.mosaic", "survey.simulation.survey", "survey.sources"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path):
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---SIN", "DEC--SIN"
    header["CRVAL1"], header["CRVAL2"], header["CRPIX1"], header["CRPIX2"] = 150.0, 2.0, 64.5, 64.5
    header["CDELT1"], header["CDELT2"] = -2 / 3600, 2 / 3600
    path = tmp_path / "mosaic.fits"
    fits.writeto(path, np.random.default_rng(0).normal(0, 1e-4, (128, 128)).astype("f4"), header)
    with Mosaic.open(path) as mosaic:
        ra, dec = mosaic.pixel_to_sky([60, 40, 90], [60, 80, 50])
    rows = "".join(f"{a},{d}\n" for a, d in zip(ra, dec, strict=True))
    (tmp_path / "sources.csv").write_text("ra,dec\n" + rows)
    module = importlib.import_module(f"radiossl.{name}")
    known = {"folder": tmp_path, "mosaic_file": path, "catalogue_file": tmp_path / "sources.csv"}
    result = doctest.testmod(module, extraglobs=known)
    assert result.attempted > 0
    assert result.failed == 0
