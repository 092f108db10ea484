"""The catalogue of several mosaics: one name for each object, and sources seen twice are marked."""

import numpy as np
import pytest
from PIL import Image

from radiossl.detection.network import detector_name
from radiossl.detection.report import SearchedMosaic, draw_overview, make_catalogue, write_detections

from .test_report_measuring import disc, mosaic_of, point_sources


def test_a_source_in_two_mosaics_is_marked_and_named_once(detector, tmp_path):
    searched = []
    for name, found in (("a", [disc(30, 40), disc(70, 30)]), ("b", [disc(31, 40, radius=8), disc(50, 60)])):
        (tmp_path / name).mkdir()
        mosaic = mosaic_of(tmp_path / name, point_sources([(30, 40), (70, 30), (50, 60)], [0.05] * 3))
        searched.append(SearchedMosaic(mosaic, name, found))
    with pytest.warns(UserWarning, match="1 of 4 objects were found in another mosaic, too; column repeated"):
        catalogue = make_catalogue(searched, detector)
    assert catalogue["repeated"].tolist() == [False, False, True, False]
    assert catalogue["source_id"].is_unique
    assert catalogue["source_id"][0].startswith("J10")
    assert catalogue["label"].tolist() == [1, 2, 1, 2]


def test_neighbours_of_one_mosaic_are_not_repeated(detector, tmp_path):
    mosaic = mosaic_of(tmp_path, point_sources([(30, 40)], [0.05]))
    catalogue = make_catalogue([SearchedMosaic(mosaic, "a", [disc(30, 40), disc(32, 40)])], detector)
    assert not catalogue["repeated"].any()
    assert np.isfinite(catalogue["flux_jy"]).all()
    assert len(make_catalogue([SearchedMosaic(mosaic, "a", [])], detector)) == 0


def test_the_sky_is_dark_on_every_page(tmp_path):
    mosaic = mosaic_of(tmp_path, point_sources([(30, 40)], [0.05]))
    draw_overview(SearchedMosaic(mosaic, "a", [disc(30, 40)]), {"R": "#56B4E9"}, tmp_path / "o.png")
    picture = np.asarray(Image.open(tmp_path / "o.png").convert("L"))
    height, width = picture.shape
    middle = picture[height // 3 : 2 * height // 3, width // 3 : 2 * width // 3]
    assert np.median(middle) < 100 < np.median(picture[:10])  # and the paper around it is white


def test_scale_and_beam_are_said_with_the_picture(detector, tmp_path):
    mosaic = mosaic_of(tmp_path, point_sources([(30, 40)], [0.05]))
    searched = [SearchedMosaic(mosaic, "a", [])]
    page = write_detections(searched, make_catalogue(searched, detector), detector, tmp_path / "out").read_text()
    assert "2″ per pixel, beam 10″ × 10″." in page


def test_a_detector_is_called_by_its_run(tmp_path):
    (tmp_path / "detector" / "detector").mkdir(parents=True)
    assert detector_name(tmp_path / "detector") == "detector"
    assert detector_name(tmp_path / "detector" / "detector") == "detector"
    assert detector_name(tmp_path / "mine" / "detector") == "mine"
