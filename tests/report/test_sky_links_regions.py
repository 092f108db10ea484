"""DS9 region files, read back."""

import numpy as np
import pytest
from regions import Regions

from radiossl import RadiosslError
from radiossl.report.sky_links import write_regions


def test_regions_read_back_as_written(tmp_path):
    path = tmp_path / "a.reg"
    ra, dec = [359.9999, 10.25, np.nan], [-60.5, 5.0, 1.0]
    assert write_regions(ra, dec, ["one", "two 'b' #x", "lost"], path, [5.0, 20.0, 1.0]) == 2
    first, second = Regions.read(path, format="ds9")
    assert (first.center.ra.deg, first.center.dec.deg) == pytest.approx((359.9999, -60.5), abs=1e-7)
    assert second.radius.to_value("arcsec") == pytest.approx(20.0, abs=1e-3)
    assert (first.meta["text"], second.meta["text"]) == ("one", "two 'b' #x")


def test_a_label_cannot_end_its_line_or_begin_another_region(tmp_path):
    path = tmp_path / "a.reg"
    write_regions([1.0, 2.0], [1.0, 2.0], ["a}\ncircle(9,9,9) # text={b", "c"], path)
    read = Regions.read(path, format="ds9")
    assert [region.center.ra.deg for region in read] == pytest.approx([1.0, 2.0])
    assert read[0].meta["text"] == "a circle(9,9,9) # text= b"


def test_no_position_gives_an_empty_file(tmp_path):
    assert write_regions([np.nan], [np.nan], ["a"], tmp_path / "a.reg") == 0
    assert "circle" not in (tmp_path / "a.reg").read_text()


def test_wrong_input_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(RadiosslError, match="must match"):
        write_regions([1.0], [1.0], ["a", "b"], tmp_path / "a.reg")
    with pytest.raises(RadiosslError, match="above zero"):
        write_regions([1.0], [1.0], ["a"], tmp_path / "a.reg", 0.0)
    assert list(tmp_path.iterdir()) == []
