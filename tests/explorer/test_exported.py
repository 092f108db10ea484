"""The exported page: opened from the disk in a real browser, without a server."""

from __future__ import annotations

import os
import re
import shutil

import numpy as np
import pytest
from matplotlib.path import Path

from radiossl.cli.main import main
from radiossl.explorer.exported import NEIGHBOURS
from radiossl.explorer.session import Files, Session
from radiossl.io.errors import RadiosslError
from radiossl.ratings.journal import RatingsFile

from .conftest import COUNT, HOSTILE_ID

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser tests")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module", params=["page", "page.html"])
def exported(request, survey, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    RatingsFile(folder / "ratings.csv", "me").add("s05", 4)
    command = ["explore", str(survey.features), "--store", str(survey.store.paths[0])]
    with pytest.raises(SystemExit) as end:
        main([*command, "--ratings", str(folder / "ratings.csv"), "--export", str(folder / request.param)])
    assert not end.value.code
    path = folder / request.param
    return path / "index.html" if path.is_dir() else path


@pytest.fixture
def page(exported):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (apt-get install chromium): no browser tests")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 1300, "height": 800})
        page.set_default_timeout(30_000)
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
        page.goto(exported.as_uri())
        yield page
        assert errors == []
        assert page.evaluate("window.hacked") is None
        browser.close()


def test_the_page_shows_sources_neighbours_and_filters(page, survey, tmp_path):
    session = Session(Files(survey.features, ratings=tmp_path / "r.csv", labels=tmp_path / "l.csv"), survey.store)
    session.load()
    page.locator("#legend", has_text=f"{COUNT} sources").wait_for()
    page.get_by_label("find a source").fill("s05")
    page.get_by_label("find a source").press("Enter")
    page.get_by_role("heading", name="s05", exact=True).wait_for()
    page.get_by_text("rated 4").wait_for()
    page.get_by_text("most like s05").wait_for()
    near = [link.get_attribute("title") for link in page.locator("#panel-Neighbours a").all()]
    expected = session.neighbours(5, NEIGHBOURS)["row"].to_numpy()
    assert near == session.cutout_ids(expected)
    assert page.url.endswith("#source-s05")
    page.locator("#panel-Neighbours a").first.click()
    page.get_by_role("heading", name=near[0], exact=True).wait_for()
    style = page.locator("#source .thumb").evaluate("part => getComputedStyle(part).backgroundImage")
    assert "jpg" in style or "image/jpeg" in style
    page.get_by_role("tab", name="Filter").click()
    page.get_by_label("column to filter by").select_option("kind")
    page.get_by_role("checkbox", name="double").check()
    page.get_by_text(f"{COUNT // 3} of {COUNT} sources").first.wait_for()
    page.get_by_label("column to filter by").select_option("flux")
    page.get_by_label("smallest flux").fill("15")
    page.get_by_label("smallest flux").press("Enter")
    flux = 0.5 * np.arange(COUNT)
    left = int(((np.arange(COUNT) % 3 == 1) & (flux >= 15)).sum())
    page.get_by_text(f"{left} of {COUNT} sources").first.wait_for()
    page.get_by_role("tab", name="Selection").click()
    page.get_by_text(f"{left} sources chosen").first.wait_for()
    assert page.locator("#panel-Selection .rs-thumb").count() == left
    assert page.locator("#panel-Selection").get_by_role("button").all_inner_texts() == ["choose none"]
    page.get_by_role("button", name="choose none").click()
    page.get_by_text("Choose sources with the lasso").wait_for()
    page.get_by_label("map", exact=True).select_option("sky")
    drawn = (
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(one => one > 0)"
    )
    page.wait_for_timeout(200)
    assert page.locator(".map canvas").first.evaluate(drawn)


def test_what_a_catalogue_holds_is_text_on_it(page):
    page.get_by_label("find a source").fill(HOSTILE_ID)
    page.get_by_label("find a source").press("Enter")
    page.get_by_role("heading", name=HOSTILE_ID, exact=True).wait_for()


def test_a_click_on_the_map_goes_to_the_source(page):
    box = page.locator(".map canvas").first.bounding_box()
    for x in np.linspace(0.2, 0.8, 13):
        for y in np.linspace(0.2, 0.8, 13):
            page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
            page.wait_for_timeout(20)
            if page.locator("#source h2").count():
                return
    raise AssertionError("no source was found on the map")


def test_a_position_finds_the_nearest_source(page):
    field = page.get_by_label("find a source")
    for text, said in [("10.7 -5.001", "s07"), ("10.75 -5.0", None), ("10h -5", None)]:
        field.fill(text)
        field.press("Enter")
        if said:
            page.get_by_role("heading", name=said, exact=True).wait_for()
        else:
            page.get_by_role("status").get_by_text(re.compile("within 60 arcsec|nor a position such as")).wait_for()
            page.get_by_role("heading", name="s07", exact=True).wait_for()


def test_a_lasso_chooses_what_is_inside_of_it(page):
    page.locator("#legend", has_text=f"{COUNT} sources").wait_for()
    corners = np.array([[0.5, 0.02], [0.98, 0.5], [0.5, 0.98], [0.45, 0.5]])
    box = page.locator(".map canvas").first.bounding_box()
    page.get_by_role("button", name="lasso").click()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.02 * box["height"])
    page.mouse.down()
    for x, y in [*corners[1:], corners[0]]:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
    page.mouse.up()
    page.get_by_text("sources chosen").first.wait_for()
    places = np.array(page.evaluate("page.mask && Array.from(page.mask, (_, row) => maps[0].toScreen(row))"))
    inside = Path(corners * [box["width"], box["height"]]).contains_points(places)
    assert 0 < inside.sum() < COUNT
    np.testing.assert_array_equal(page.evaluate("[...page.mask]"), inside)


def test_too_many_sources_are_refused(survey, tmp_path, monkeypatch):
    from radiossl.explorer import exported

    monkeypatch.setattr(exported, "MOST_SOURCES", 10)
    files = Files(survey.features, ratings=tmp_path / "r.csv", labels=tmp_path / "l.csv")
    with pytest.raises(RadiosslError, match="at most 10; select some"):
        exported.export_page(files, survey.store, tmp_path / "page")
    assert not (tmp_path / "page").exists()
