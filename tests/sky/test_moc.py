"""Coverage maps hold every position in a box, and little else."""

import doctest

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from mocpy import MOC

import radiossl.sky.moc as module
from radiossl import RadiosslError
from radiossl.sky.moc import boxes_moc, write_moc


@pytest.mark.parametrize("centre", [(150.0, 2.0), (0.0, -60.0), (359.999, 85.0)])
@pytest.mark.parametrize(
    ("width", "height", "pa"), [(200, 60, 0), (60, 200, 0), (60, 200, 40), (200, 60, 140), (100, 100, 0)]
)
def test_a_map_holds_the_box_and_little_else(centre, width, height, pa):
    moc = boxes_moc([centre[0]], [centre[1]], width, height, pa)
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-200, 200, (2, 4000))  # along the width and the height
    turn = np.radians(pa)
    east, north = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    frame = SkyCoord(*centre, unit="deg").skyoffset_frame()
    places = SkyCoord(east / 3600, north / 3600, unit="deg", frame=frame).icrs
    inside = (np.abs(x) < width / 2) & (np.abs(y) < height / 2)
    covered = moc.contains_skycoords(places)
    assert covered[inside].all()
    far = (np.abs(x) > width / 2 + 20) | (np.abs(y) > height / 2 + 20)
    assert not covered[far].any()


def test_what_has_no_position_or_size(tmp_path):
    moc = boxes_moc([150.0, np.nan], [2.0, 3.0], np.nan, np.nan)
    near = SkyCoord([150.0, 150.0], [2 + 25 / 3600, 2 + 60 / 3600], unit="deg")
    assert moc.contains_skycoords(near).tolist() == [True, False]
    with pytest.raises(RadiosslError, match="no sky coverage"):
        boxes_moc([np.nan], [2.0], 10.0, 10.0)


def test_a_map_is_read_back(tmp_path):
    moc = boxes_moc([150.0, 20.0], [2.0, -80.0], 100.0, 100.0)
    write_moc(moc, tmp_path / "sky.fits")
    assert MOC.from_fits(tmp_path / "sky.fits") == moc


def test_examples_run():
    result = doctest.testmod(module, extraglobs={"SkyCoord": SkyCoord})
    assert (result.attempted > 0, result.failed) == (True, 0)
