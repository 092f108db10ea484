"""Stores matched by positions and by pixels: how each pair was matched is said."""

import numpy as np
import pytest

from radiossl import RadiosslError
from radiossl.duplicates.crossmatch import crossmatch_stores
from tests.pictures import eight_bit, field, make_store

ARCSEC = 1 / 3600


@pytest.fixture(scope="module")
def fields():
    return [field(seed) for seed in range(24)]


def test_pairs_of_stores_say_how_they_were_matched(fields, tmp_path):
    images = [image[22:118, 22:118] for image in fields[:4]]
    a = make_store(tmp_path / "a", images, [(10, 0), (20, 0), (30, 0), (np.nan, np.nan)])
    b = make_store(tmp_path / "b", [images[0], eight_bit(images[1]), fields[9][:96, :96], images[3]],
                   [(10, 30 * ARCSEC), (99, 0), (30, 0), (5, 5)])  # fmt: skip
    frame = crossmatch_stores(a, b, 60.0, "near")
    assert frame[["row_a", "row_b"]].to_numpy().tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    assert frame["matched_by"].tolist() == ["position+exact+near", "near", "position", "exact+near"]
    assert frame["positions_disagree"].tolist() == [False, True, False, False]
    assert frame["separation_arcsec"][0] == pytest.approx(30)
    assert np.isnan(frame["separation_arcsec"][3])
    assert frame["cutout_id_b"].tolist() == ["c0", "c1", "c2", "c3"]
    assert crossmatch_stores(a, b, 60.0, "exact")["row_a"].tolist() == [0, 2, 3]
    assert crossmatch_stores(a, b, 20.0)["row_a"].tolist() == [2]
    with pytest.raises(RadiosslError, match="--pixels odd: expected one of exact, near"):
        crossmatch_stores(a, b, 20.0, "odd")
