"""Links by sky position: right coordinates, right surveys, nothing that breaks out of the page."""

import math
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest

from radiossl import RadiosslError
from radiossl.report.html import Report
from radiossl.report.sky_links import link_rows, sky_links


def query(address):
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query, strict_parsing=True).items()}


def test_every_link_is_to_a_public_service_and_carries_the_position():
    links = sky_links(187.7, 12.4, 120.0)
    assert list(links) == ["Aladin", "NVSS", "RACS", "Pan-STARRS", "FIRST", "Legacy Surveys", "NED", "SIMBAD"]
    for address in links.values():
        assert urlsplit(address).scheme == "https"
        assert "187.7" in address
        assert "12.4" in address
    assert query(links["Aladin"]) == {"target": "187.700000 +12.400000", "fov": "0.0500"}
    assert query(links["NVSS"])["hips"] == "CDS/P/NVSS"
    assert query(links["RACS"])["fov"] == "0.0500"
    assert query(links["FIRST"])["Survey"] == "VLA FIRST (1.4 GHz)"
    assert query(links["SIMBAD"])["Coord"] == "187.700000 +12.400000"
    assert query(links["NED"])["dec"] == "12.400000d"
    assert query(links["Legacy Surveys"])["mark"] == "187.700000,12.400000"


@pytest.mark.parametrize(
    ("dec", "surveys"),
    [
        (-60.0, {"RACS"}),
        (-35.0, {"RACS", "NVSS"}),
        (0.0, {"RACS", "NVSS", "FIRST", "Pan-STARRS"}),
        (50.0, {"NVSS", "FIRST", "Pan-STARRS"}),
        (80.0, {"NVSS", "Pan-STARRS"}),
    ],
)
def test_surveys_that_do_not_reach_a_declination_are_left_out(dec, surveys):
    assert set(sky_links(10.0, dec)) & {"RACS", "NVSS", "FIRST", "Pan-STARRS"} == surveys


def test_right_ascension_is_brought_into_its_range_and_fields_into_theirs():
    assert query(sky_links(-10.0, 5.0)["RACS"])["ra"] == "350.000000"
    assert float(query(sky_links(0, 0, 1.0)["Aladin"])["fov"]) == pytest.approx(30 / 3600, abs=1e-4)
    assert float(query(sky_links(0, 0, 1e6)["Aladin"])["fov"]) == 1.0
    assert float(query(sky_links(0, 0, math.nan)["Aladin"])["fov"]) > 0
    with pytest.raises(RadiosslError, match="not a position"):
        sky_links(math.nan, 0.0)
    with pytest.raises(RadiosslError, match="not a position"):
        sky_links(0.0, 91.0)


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.links, self.tags, self.cells = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data):
        self.cells.append(data)


def test_a_table_with_links_is_well_formed_and_escaped(tmp_path):
    rows = [
        {"cutout_id": "<script>x</script>", "ra_deg": 10.0, "dec_deg": -5.0},
        {"cutout_id": "nowhere", "ra_deg": None, "dec_deg": math.nan},
    ]
    page = Page()
    page.feed(Report("t").table(rows, links=link_rows(rows, [60.0, math.nan])).write(tmp_path / "r.html").read_text())
    assert page.links == list(sky_links(10.0, -5.0, 60.0).values())
    assert "script" not in page.tags
    assert {"<script>x</script>", "nowhere", "10.00000"} <= set(page.cells)
    assert "No rows." in Report("t").table([], links=[]).write(tmp_path / "e.html").read_text()
