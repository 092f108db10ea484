"""Angles as people say them."""

import numpy as np

from radiossl.sky.angles import readable_angle


def test_separations_are_written_as_people_say_them():
    said = [readable_angle(angle) for angle in (0.0, 59.94, 60.0, 3599.0, 462415.0, np.nan)]
    assert said == ["0.0 arcsec", "59.9 arcsec", "1.0 arcmin", "60.0 arcmin", "128.4 deg", ""]
