"""Galleries of a page: in the page as written, and as a browser shows it from a file."""

import re
import shutil

import numpy as np
import pytest

from radiossl.report.figures import drawn_axes, score_bars
from radiossl.report.html import Report, index_report
from radiossl.report.sheets import Picture
from radiossl.store.cutout import Beam

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def pictures(count=8):
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(30, 40)) for _ in range(count)]
    known = {"pixel_arcsec": 1.0, "beam": Beam(6.0, 4.0, 30.0)}
    return [
        Picture(image, f"#{number}: 0.{9 - number}\nFRI <b>", framed=number in (0, 5), **known)
        for number, image in enumerate(images)
    ]


@pytest.fixture
def page(tmp_path):
    with drawn_axes(tmp_path / "curve.png", 3, 2, xlabel="x") as axes:
        axes.plot([0, 1], [0, 1], color="black")
    report = Report("Found").verdict("The answer.").figure(tmp_path / "curve.png", "A curve.")
    return report.gallery(pictures(), "Eight.", sheet=tmp_path / "sheet.png").write(tmp_path / "report.html")


def test_a_gallery_has_captions_scale_bars_beams_and_rows(page):
    text = page.read_text()
    assert text.count("<li ") == 8
    assert text.count("FRI &lt;b&gt;</p>") == 8
    assert "<b>" not in text
    assert text.count(">10″</text>") == 8
    assert text.count('rx="2.00" ry="3.00"') == 8
    assert text.count("rotate(-30.0") == 8
    assert text.count('data-scale="1″ per pixel, beam 6″ × 4″"') == 8
    assert re.findall(r'<li class="([^"]+)"', text) == ["framed", "framed first"]
    assert 'href="sheet.png"' in text
    assert "://" not in re.sub(r"base64,[^\"]*", "", text)


def test_a_joined_page_shows_galleries_as_they_are_and_not_their_white_sheets(tmp_path):
    part = tmp_path / "a part"
    part.mkdir()
    report = Report("Found").verdict("The <answer>.").gallery(pictures(), "Eight.", sheet=part / "sheet.png")
    report.write(part / "report.html")
    text = index_report(tmp_path / "all" / "index.html", "All", [("search", part)]).read_text()
    (card,) = re.findall('<div class="cards">.*?</div></div>', text, re.DOTALL) or [""]
    assert "<img" not in text
    assert text.count("<svg") == 6 + 8  # the first row on the card, then all
    assert '<dialog id="enlarged"' in text
    assert "'sha256-" in text
    assert text.count('href="../a%20part/sheet.png"') == 1
    assert "The &lt;answer&gt;." in card


def test_a_joined_page_says_how_many_figures_it_leaves_out_and_its_cards_lead_to_their_parts(tmp_path):
    for name, count in (("few", 5), ("many", 7)):
        report = Report(name).verdict(f"{name} found.")
        for _ in range(count):
            report.gallery(pictures(1), "One.")
        (tmp_path / name).mkdir()
        report.write(tmp_path / name / "report.html")
    parts = [(name, tmp_path / name) for name in ("few", "many")]
    text = index_report(tmp_path / "index.html", "All", parts).read_text()
    assert re.findall(">(full report[^<]*)<", text) == ["full report", "full report, with 2 more figures"]
    assert text.count('<figure class="gallery">') == 5 + 5
    cards = text.partition('<div class="cards">')[2].partition("<h2")[0]
    assert re.findall('<a href="#(part-[0-9])"><strong>([a-z]+)<', cards) == [("part-1", "few"), ("part-2", "many")]


def test_the_page_opens_with_its_verdict(page):
    body = page.read_text().partition("<body>")[2]
    assert body.index("The answer.") < body.index("<figure") < body.index("<ul>")


def test_the_same_pictures_give_the_same_page(page, tmp_path):
    before = page.read_bytes()
    again = Report("Found").verdict("The answer.").figure(tmp_path / "curve.png", "A curve.")
    assert again.gallery(pictures(), "Eight.", sheet=tmp_path / "sheet.png").write(page).read_bytes() == before


# In a browser ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser tests")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (apt-get install chromium): no browser tests")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.slow
def test_keys_alone_enlarge_a_picture_go_on_and_come_back(browser, page):
    shown = browser.new_page(viewport={"width": 1000, "height": 900})
    errors = []
    shown.on("console", lambda message: errors.append(message.text))
    shown.on("pageerror", lambda error: errors.append(str(error)))
    shown.goto(page.as_uri())
    shown.locator(".gallery button").nth(1).focus()
    shown.keyboard.press("Enter")
    enlarged = shown.locator("dialog")
    assert enlarged.locator("p").inner_text().startswith("#1: 0.8\nFRI <b>\n1″ per pixel")
    assert enlarged.locator("svg").bounding_box()["width"] > 500
    shown.keyboard.press("ArrowRight")
    assert enlarged.locator("p").inner_text().startswith("#2")
    shown.keyboard.press("ArrowLeft")
    shown.keyboard.press("ArrowLeft")
    shown.keyboard.press("ArrowLeft")
    assert enlarged.locator("p").inner_text().startswith("#7"), "it goes round"
    shown.keyboard.press("Escape")
    enlarged.wait_for(state="hidden")
    shown.wait_for_function("() => document.activeElement.getAttribute('aria-label')?.includes('#7')")
    assert not errors
    shown.close()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "most", "least"), [(1400, 6, 6), (390, 3, 2)])
def test_at_most_six_pictures_stand_in_a_row_and_the_page_is_never_too_wide(browser, page, width, most, least):
    shown = browser.new_page(viewport={"width": width, "height": 900})
    shown.goto(page.as_uri())
    tops = [item.bounding_box()["y"] for item in shown.locator(".gallery li").all()[:5]]
    row = 5 if width > 1000 else tops.count(tops[0])
    assert len(set(tops[:row])) == 1
    assert least <= row + (width > 1000) <= most  # the sixth is a query, which begins a row of its own
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    shown.close()


@pytest.mark.slow
def test_a_narrow_page_breaks_paths_shows_captions_whole_and_lets_figures_scroll(browser, tmp_path):
    score_bars([("a", 1.0, 0.1)], out=tmp_path / "a.png", xlabel="accuracy")
    report = Report("knn: /data/surveys/first/checkpoints/simclr-first-zoom-and-more").figure(tmp_path / "a.png", "F")
    report.table([{f"column{number}": 1.2345 for number in range(12)}], "What these many columns are. " * 3)
    shown = browser.new_page(viewport={"width": 390, "height": 900})
    shown.goto(report.write(tmp_path / "r.html").as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= 390
    caption = shown.locator(".caption").bounding_box()
    assert caption["x"] + caption["width"] <= 390
    assert shown.locator(".drawn img").bounding_box()["width"] > 500  # letters stay legible
    shown.close()


@pytest.mark.slow
def test_a_joined_page_follows_the_theme_and_enlarges(browser, page, tmp_path):
    from PIL import Image

    joined = index_report(tmp_path / "all" / "index.html", "All", [("search", page.parent)])
    for theme, dark in (("light", False), ("dark", True)):
        shown = browser.new_page(color_scheme=theme, viewport={"width": 1000, "height": 900})
        shown.goto(joined.as_uri())
        shown.locator("figure.gallery").last.screenshot(path=tmp_path / "gallery.png")
        corner = np.asarray(Image.open(tmp_path / "gallery.png").convert("L"))[-3:, -20:]
        assert (corner.mean() < 60) == dark
        shown.locator("figure.gallery button").first.click()
        assert shown.locator("dialog svg").count() == 1
        shown.close()


@pytest.mark.slow
def test_figures_follow_the_theme(browser, page, tmp_path):
    from PIL import Image

    inks = {}
    for theme in ("light", "dark"):
        shown = browser.new_page(color_scheme=theme)
        shown.goto(page.as_uri())
        shown.locator("figure.drawn img").screenshot(path=tmp_path / f"{theme}.png")
        pixels = np.asarray(Image.open(tmp_path / f"{theme}.png").convert("L"))
        inks[theme] = (int(np.median(pixels)), int(pixels.min()), int(pixels.max()))
        shown.close()
    assert inks["light"][0] > 240
    assert inks["light"][1] < 60  # dark ink on white paper
    assert inks["dark"][0] < 40
    assert inks["dark"][2] > 200
