"""The HTML report: it stands alone, is well formed, and trusts no text."""

import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radiossl import RadiosslError
from radiossl.report.figures import drawn_axes
from radiossl.report.html import Report, format_value, index_report

EVIL = '<script>alert("x")</script> & \'"'


class Outline(HTMLParser):
    """Checks that every element is closed in order; keeps tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def png(tmp_path):
    path = tmp_path / "figures" / "curve.png"
    path.parent.mkdir()
    Image.new("RGB", (3, 2), "red").save(path)
    return path


def outline(report, path):
    return Outline(report.write(path).read_text(encoding="utf-8"))


def test_everything_is_in_the_page(tmp_path, png):
    report = (
        Report("kNN")
        .section("Result")
        .text("One.", "Two.")
        .values({"accuracy": 0.87654321, "classes": ["FRI", "FRII"]}, "Scores")
        .table([{"name": "J1", "score": 0.5}, {"name": "J2", "flux": 3}], "Objects")
        .figure(png, "A curve")
        .link("objects.csv")
    )
    page = outline(report, tmp_path / "report.html")
    for text in ("kNN", "Result", "One.", "Two.", "0.8765", "FRI, FRII", "Scores", "J2", "–", "A curve", "objects.csv"):
        assert text in page.texts
    (image,) = page.all("img")
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == png.read_bytes()
    assert image["alt"] == "A curve"


def test_no_script_and_no_outside_resource(tmp_path, png):
    page = outline(Report("t").section("a").figure(png).link("x.csv"), tmp_path / "report.html")
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    text = (tmp_path / "report.html").read_text()
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)
    assert "prefers-color-scheme: dark" in text


def test_every_text_is_escaped(tmp_path, png):
    report = (
        Report(EVIL)
        .section(EVIL)
        .section(EVIL)
        .section(EVIL)
        .text(EVIL)
        .values({EVIL: EVIL}, EVIL)
        .table([{EVIL: EVIL}], EVIL)
        .table([], EVIL)
        .figure(png, EVIL)
        .link(EVIL, EVIL)
    )
    page = outline(report, tmp_path / "report.html")
    assert not page.all("script")
    assert page.texts.count(EVIL) == 17
    assert page.all("img")[0]["alt"] == EVIL
    assert set(page.all("img")[0]) == {"src", "alt"}


def test_link_with_a_scheme_is_disarmed(tmp_path):
    page = outline(Report("t").link("javascript:alert(1)"), tmp_path / "report.html")
    assert page.all("a")[0]["href"] == "javascript%3Aalert%281%29"


def test_links_are_relative_to_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    report = Report("t").link("beside.csv").link(tmp_path / "out" / "a b.csv").link("out/c.csv").link("up/d.csv", "D")
    page = outline(report, "out/report.html")
    assert [a["href"] for a in page.all("a")] == ["beside.csv", "a%20b.csv", "c.csv", "../up/d.csv"]
    assert "D" in page.texts


def test_data_frame_and_alignment(tmp_path):
    frame = pd.DataFrame({"name": ["a", "b"], "score": [0.25, np.nan], "big": [123456.7, 1e-7]})
    page = outline(Report("t").table(frame), tmp_path / "report.html")
    assert [cell.get("class") for cell in page.all("th")] == [None, "number", "number"]
    assert [cell.get("class") for cell in page.all("td")] == [None, "number", "number"] * 2
    assert page.texts.count("–") == 1


def test_contents_link_to_the_sections(tmp_path):
    page = outline(Report("t").section("a").section("b").section("c"), tmp_path / "report.html")
    targets = [attributes["id"] for attributes in page.all("h2")]
    assert [a["href"] for a in page.all("a")] == [f"#{target}" for target in targets]
    assert len(set(targets)) == 3


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (0.123456, "", "0.1235"),
        (123456.7, "", "123457"),
        (1.5e-7, "", "1.5e-07"),
        (3e20, "", "3e+20"),
        (180.123456789, "ra_deg", "180.12346"),
        (np.float32(0.5), "", "0.5"),
        (np.int64(1234567), "", "1234567"),
        (np.array([1.0, 2.0]), "", "1, 2"),
        (True, "", "yes"),
        (np.False_, "", "no"),
        (None, "", "–"),
        (float("nan"), "", "–"),
        (pd.NA, "", "–"),
        (float("-inf"), "", "-inf"),
        ("FRI", "", "FRI"),
    ],
)
def test_format_value(value, name, text):
    assert format_value(value, name) == text


def test_missing_or_other_figures_are_refused(tmp_path):
    with pytest.raises(RadiosslError, match="no such file"):
        Report("t").figure(tmp_path / "a.png")
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(RadiosslError, match="not a PNG file"):
        Report("t").figure(tmp_path / "a.png")


def test_index_ties_folders_together(tmp_path, png):
    knn = tmp_path / "knn"
    knn.mkdir()
    (knn / "metrics.json").write_text(json.dumps({"accuracy": 0.9, "per_class": {"FRI": 0.8}}))
    (knn / "report.html").write_text("the whole")
    (knn / "objects.csv").write_text("")
    (knn / ".tmp-x").write_text("")
    for number in range(7):
        (knn / f"figure_{number}.png").write_bytes(png.read_bytes())
    (tmp_path / "empty").mkdir()
    out = tmp_path / "all" / "index.html"
    index_report(out, "All", [("kNN", knn), ("curves", png.parent), ("nothing", tmp_path / "empty")])
    page = Outline(out.read_text())
    hrefs = [a["href"] for a in page.all("a") if not a["href"].startswith("#")]
    assert hrefs[0] == "../knn/report.html"
    assert {"../knn/objects.csv", "../knn/metrics.json", "../knn/figure_5.png"} <= set(hrefs)
    assert not any("tmp" in href for href in hrefs)
    assert [image["alt"] for image in page.all("img")] == [*(f"figure {number}" for number in range(5)), "curve"]
    for text in ("accuracy", "0.9", "per_class.FRI", "0.8", "No results in this folder."):
        assert text in page.texts


def test_index_refuses_missing_folders_and_damaged_metrics(tmp_path):
    with pytest.raises(RadiosslError, match="no such folder of results"):
        index_report(tmp_path / "i.html", "t", [("a", tmp_path / "nowhere")])
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(RadiosslError, match=r"metrics\.json: not a readable JSON"):
        index_report(tmp_path / "i.html", "t", [("a", tmp_path)])
    assert not (tmp_path / "i.html").exists()


def test_index_opens_with_the_verdict_and_the_picture_of_each_part(tmp_path, png):
    for name in ("knn", "search"):
        (tmp_path / name).mkdir()
        for figure in ("a.png", "lead.png"):
            (tmp_path / name / figure).write_bytes(png.read_bytes())
        report = Report(name).verdict(f"{name} <answers>.").figure(tmp_path / name / "lead.png")
        report.write(tmp_path / name / "report.html")
    index_report(tmp_path / "i.html", "All", [("kNN", tmp_path / "knn"), ("S", tmp_path / "search")])
    text = (tmp_path / "i.html").read_text()
    cards = text.partition('<div class="cards">')[2].partition("</div></div>")[0]
    assert text.index('class="cards"') < text.index("<h2")
    assert re.findall(r"<strong>(.*?)</strong></a>: (.*?)</p>", cards) == [
        ("kNN", "knn &lt;answers&gt;."),
        ("S", "search &lt;answers&gt;."),
    ]
    page = Outline(text)
    assert [image["alt"] for image in page.all("img")] == ["lead"] * 4  # on each card, and in each part
    assert {"knn/a.png", "search/a.png"} < {link["href"] for link in page.all("a")}  # no figure of the report


def test_long_tables_are_folded_and_short_ones_are_not(tmp_path):
    report = Report("t").table([{"a": 1}] * 12, "short").values(dict.fromkeys(map(str, range(13)), 0), "long")
    text = report.write(tmp_path / "r.html").read_text()
    assert text.count("<details>") == 1
    assert "<details><summary>long: 13 rows</summary>" in text
    assert '<p class="caption">short</p><div class="wide"><table>' in text  # not as wide as the table


def test_names_of_sources_are_not_broken_at_their_minus_sign(tmp_path):
    rows = [{"id": "J170834.0-430846", "note": "a long-ish note"}]
    text = Report("t").table(rows).write(tmp_path / "r.html").read_text()
    assert '<td class="word">J170834.0-430846</td><td>a long-ish note</td>' in text


def test_no_script_runs_but_the_page_s_own(tmp_path):
    text = Report("t").write(tmp_path / "r.html").read_text()
    assert "default-src 'none'" in text
    assert "script-src 'none'" in text


def test_columns_that_only_look_like_an_interval_stay(tmp_path):
    row = {"name": "J0", "name_low": 1.5, "name_high": 2.5, "flux": None, "flux_low": 0.1, "flux_high": 0.2}
    text = Report("Catalogue").table([row]).write(tmp_path / "r.html").read_text()
    assert [text.count(f'<td class="number">{value}</td>') for value in (1.5, 2.5, 0.1, 0.2)] == [1, 1, 1, 1]


def test_intervals_stand_behind_their_values(tmp_path):
    known = {"class": "FRI", "f1": 0.8, "f1_low": 0.75, "f1_high": 0.85, "rows": 3}
    page = Report("Scores").table([known, {**known, "f1_low": np.nan}, {"class": "FRII"}]).write(tmp_path / "r.html")
    text = page.read_text(encoding="utf-8")
    assert '<td class="number">0.8 (0.75 to 0.85)</td>' in text
    assert text.count('<td class="number">0.8</td>') == 1  # an interval that is not known
    assert "low" not in text.partition("<body>")[2]


def test_a_long_figure_has_a_card_as_wide_as_the_page(tmp_path):
    parts = []
    for name, height in (("long", 9.0), ("short", 3.0)):
        (tmp_path / name).mkdir()
        with drawn_axes(tmp_path / name / "scores.png", 8.0, height) as axes:
            axes.plot([0, 1])
        Report(name).verdict("Well.").figure(tmp_path / name / "scores.png").write(tmp_path / name / "report.html")
        parts.append((name, tmp_path / name))
    cards = index_report(tmp_path / "all.html", "All", parts).read_text(encoding="utf-8")
    of_long, of_short = re.findall(r'<div><div class="image">(<img[^>]*?)src', cards)
    assert 'class="long"' in of_long
    assert "class" not in of_short
