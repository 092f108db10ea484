"""Angles between positions on the sky."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.sky.angles import unit_vectors


def test_exchanged_coordinates_are_refused():
    ra, dec = np.array([120.95, 33.0, np.nan]), np.array([21.75, -90.0, np.nan])
    assert np.isnan(unit_vectors(ra, dec)[2]).all()
    with pytest.raises(RadiosslError, match=r"a declination of 120\.95 degrees: is it exchanged"):
        unit_vectors(dec, ra)
